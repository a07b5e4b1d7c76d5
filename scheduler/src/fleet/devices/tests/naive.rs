//! A naive second implementation.

use std::collections::BTreeMap;
use std::sync::Arc;

use placement_api::devices::class_resource;
use placement_api::kinds::InventoryStatus;
use placement_api::quantity::ResourceVector;
use proptest::prelude::*;
use serde_json::json;

use super::{claim, class, copies, exactly, fleet, group, shape, status};
use crate::fleet::{NodeName, Share, TargetName, WorkloadId};

/// A small node: groups of three shapes with uses of two counters, and what is taken.
#[derive(Clone, Debug)]
struct Small {
    counters: [i64; 2],
    groups: Vec<(usize, i64, [i64; 2], i64)>,
}

fn small() -> impl Strategy<Value = Small> {
    let group = (0_usize..3, 1_i64..3, [0_i64..3, 0_i64..3], 0_i64..2);
    ([2_i64..7, 2_i64..7], prop::collection::vec(group, 1..5))
        .prop_map(|(counters, groups)| Small { counters, groups })
}

impl Small {
    fn status(&self) -> InventoryStatus {
        let groups = self.groups.iter().map(|(of, count, uses, _)| {
            let uses: Vec<(&str, i64)> = [("0/s/a", uses[0]), ("0/s/b", uses[1])]
                .into_iter()
                .filter(|(_, amount)| *amount > 0)
                .collect();
            group(&of.to_string(), *count, &uses)
        });
        let taken: Vec<i64> = self
            .groups
            .iter()
            .map(|(_, count, _, taken)| (*taken).min(*count))
            .collect();
        status(
            (0..3)
                .map(|i| {
                    class(
                        &format!("from-{i}"),
                        &format!(r#"device.attributes["d"].kind >= {i}"#),
                    )
                })
                .collect(),
            (0..3)
                .map(|i| shape(&i.to_string(), json!({"kind": {"int": i}})))
                .collect(),
            &[("0/s/a", self.counters[0]), ("0/s/b", self.counters[1])],
            groups.collect(),
            &taken,
        )
    }

    /// Devices one by one that are not taken, and the counters that are left.
    fn devices(&self) -> (Vec<(usize, [i64; 2])>, [i64; 2]) {
        let (mut devices, mut left) = (Vec::new(), self.counters);
        for (of, count, uses, taken) in &self.groups {
            let taken = (*taken).min(*count);
            left[0] -= uses[0] * taken;
            left[1] -= uses[1] * taken;
            devices.extend((taken..*count).map(|_| (*of, *uses)));
        }
        (devices, left)
    }
}

/// The naive way: every device for every request.
fn naive(
    devices: &[(usize, [i64; 2])],
    left: [i64; 2],
    asks: &[usize],
    used: &mut Vec<bool>,
) -> bool {
    let Some((first, rest)) = asks.split_first() else {
        return true;
    };
    for (at, (kind, uses)) in devices.iter().enumerate() {
        if used[at] || kind < first || (0..2).any(|i| uses[i] > left[i]) {
            continue;
        }
        used[at] = true;
        let less = [left[0] - uses[0], left[1] - uses[1]];
        let found = naive(devices, less, rest, used);
        used[at] = false;
        if found {
            return true;
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Counters, overlapping classes and what others have reserved: exactly as many pods as the naive way finds.
    #[test]
    fn as_many_as_the_naive_way_finds(small in small(), held in prop::collection::vec((0_usize..3, 1_i64..3), 0..3), ask in (0_usize..3, 1_i64..3)) {
        let (devices, left) = small.devices();
        // A member would not have allocated more than there is.
        prop_assume!(left.iter().all(|left| *left >= 0));
        let mut fleet = fleet(&small.status());
        let of = |class: usize, count: i64| claim(json!([exactly(&format!("from-{class}"), json!({"count": count}))]));
        let mut asks: Vec<usize> = Vec::new();
        for (number, (class, count)) in held.iter().enumerate() {
            let more: Vec<usize> = asks.iter().copied().chain((0..*count).map(|_| *class)).collect();
            if naive(&devices, left, &more, &mut vec![false; devices.len()]) {
                asks = more;
                let demand = Arc::new(fleet.demand(&ResourceVector::new(), &[of(*class, *count)]));
                let share = Share { node: NodeName::from("n"), pod_set: Arc::from("main"), demand, pods: 1, devices: Vec::new() };
                fleet.hold(&WorkloadId::from(format!("w{number}")), &TargetName::from("t"), 1, vec![share.clone()], vec![share]);
            }
        }
        let mut expected = 0;
        loop {
            asks.extend((0..ask.1).map(|_| ask.0));
            if !naive(&devices, left, &asks, &mut vec![false; devices.len()]) {
                break;
            }
            expected += 1;
        }
        prop_assert_eq!(copies(&mut fleet, &[of(ask.0, ask.1)]), expected);
        // No counter and no class is ever below zero by what is reserved.
        let free = fleet.free_of("t");
        let classes: BTreeMap<String, i64> = (0..3).map(|i| class_resource(&format!("from-{i}"))).map(|name| (name.clone(), free.get(&name))).collect();
        prop_assert!(classes.values().all(|amount| *amount >= 0), "{:?}", classes);
    }
}
