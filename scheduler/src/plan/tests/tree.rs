//! Gangs on small random trees, judged by trying every choice: the lowest level that holds the gang, there the tightest domain of the whole
//! fleet, and inside it the fewest children, level by level. Trees are uneven: racks and zones of any size, nodes without a label.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::TopologyMode;
use proptest::prelude::*;

use super::build::*;
use crate::fleet::Fleet;
use crate::plan::{Decision, plan};

const LEVELS: [&str; 2] = ["zone", "rack"];

/// A node, as this judge sees it.
#[derive(Clone, Debug)]
struct Leaf {
    target: usize,
    name: String,
    zone: Option<u8>,
    rack: Option<u8>,
    gpus: i64,
}

impl Leaf {
    /// Its domain at a depth (0 target, 1 zone, 2 rack, 3 itself); `None`: it is in none.
    fn domain(&self, depth: usize) -> Option<(usize, Option<u8>, Option<u8>, String)> {
        match depth {
            0 => Some((self.target, None, None, String::new())),
            1 => Some((self.target, Some(self.zone?), None, String::new())),
            2 => Some((self.target, self.zone, Some(self.rack?), String::new())),
            _ => Some((self.target, self.zone, self.rack, self.name.clone())),
        }
    }
}

fn leaves() -> impl Strategy<Value = Vec<Leaf>> {
    let leaf = (
        0_usize..2,
        prop::option::weighted(0.9, 0_u8..2),
        prop::option::weighted(0.85, 0_u8..3),
        0_i64..5,
    );
    prop::collection::vec(leaf, 1..9).prop_map(|leaves| {
        let named = leaves.into_iter().enumerate();
        named
            .map(|(at, (target, zone, rack, gpus))| Leaf {
                target,
                name: format!("n{at}"),
                zone,
                rack,
                gpus,
            })
            .collect()
    })
}

fn build(leaves: &[Leaf]) -> Fleet {
    let mut fleet = fleet();
    for target in 0..2 {
        let of = leaves.iter().filter(|leaf| leaf.target == target);
        let nodes: Vec<N> = of
            .map(|leaf| {
                let label = |key: &str, value: Option<u8>| {
                    value.map_or_else(String::new, |value| format!("{key}={key}{value} "))
                };
                let labels = format!("{}{}", label("zone", leaf.zone), label("rack", leaf.rack));
                node(
                    &leaf.name,
                    &labels,
                    &format!("gpu={} cpu=64 pods=110", leaf.gpus),
                )
            })
            .collect();
        add(&mut fleet, &format!("t{target}"), "", &nodes);
    }
    fleet
}

type Groups<'a> = BTreeMap<(usize, Option<u8>, Option<u8>, String), Vec<&'a Leaf>>;

/// Domains of a depth.
fn domains<'a>(leaves: &[&'a Leaf], depth: usize) -> Groups<'a> {
    let mut groups = Groups::new();
    for leaf in leaves {
        if let Some(domain) = leaf.domain(depth) {
            groups.entry(domain).or_default().push(*leaf);
        }
    }
    groups
}

/// The same, and who is in none is one by itself.
fn children<'a>(leaves: &[&'a Leaf], depth: usize) -> Vec<Vec<&'a Leaf>> {
    let alone = leaves.iter().filter(|leaf| leaf.domain(depth).is_none());
    let alone: Vec<Vec<&Leaf>> = alone.map(|leaf| vec![*leaf]).collect();
    domains(leaves, depth).into_values().chain(alone).collect()
}

fn room(leaves: &[&Leaf]) -> i64 {
    leaves.iter().map(|leaf| leaf.gpus).sum()
}

/// The fewest of these that hold so many, by trying all.
fn fewest(rooms: &[i64], want: i64) -> u32 {
    let holds = |subset: &u32| {
        let chosen = (0..rooms.len()).filter(|at| subset & (1 << at) != 0);
        chosen.map(|at| rooms[at]).sum::<i64>() >= want
    };
    let subsets = 0_u32..1 << rooms.len();
    subsets
        .filter(holds)
        .map(u32::count_ones)
        .min()
        .expect("all of them hold it")
}

/// Whether each part of the domain uses the fewest children for what it got.
fn fewest_inside(
    leaves: &[&Leaf],
    depth: usize,
    taken: &BTreeMap<&str, i64>,
) -> Result<(), String> {
    if depth > 3 || leaves.len() < 2 {
        return Ok(());
    }
    let of = |leaves: &[&Leaf]| -> i64 {
        let each = leaves
            .iter()
            .filter_map(|leaf| taken.get(leaf.name.as_str()));
        each.sum()
    };
    let parts = children(leaves, depth);
    let used = parts.iter().filter(|part| of(part) > 0).count();
    let rooms: Vec<i64> = parts.iter().map(|part| room(part)).collect();
    let least = fewest(&rooms, of(leaves));
    if used != usize::try_from(least).unwrap() {
        return Err(format!(
            "{used} children at depth {depth} where {least} do: {taken:?}"
        ));
    }
    for part in parts.iter().filter(|part| of(part) > 0) {
        fewest_inside(part, depth + 1, taken)?;
    }
    Ok(())
}

fn taken(decision: &Decision) -> BTreeMap<&str, i64> {
    let shares = decision.parts.iter().flat_map(|part| &part.nodes);
    shares
        .map(|share| (share.name.as_str(), share.pods))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn gangs_are_exact_on_trees(leaves in leaves(), want in 1_i64..14, asked in 1_usize..4, required in any::<bool>()) {
        let mut fleet = build(&leaves);
        let mode = if required { TopologyMode::Required } else { TopologyMode::Preferred };
        let level = [LEVELS[0], LEVELS[1], "kubernetes.io/hostname"][asked - 1];
        let mut request = gang("w", want, "gpu=1");
        request.topology = in_one(level, mode);
        let (decisions, _) = plan(&mut fleet, &[request], 0);
        let decision = &decisions[0];

        // Who must be in one rack cannot be on a node that is in none.
        let all: Vec<&Leaf> = leaves.iter().filter(|leaf| !required || leaf.domain(asked).is_some()).collect();
        let widest = if required { asked } else { 0 };
        let holding = |depth: usize| -> Groups<'_> {
            domains(&all, depth).into_iter().filter(|(_, leaves)| room(leaves) >= want).collect()
        };
        let Some(depth) = (widest..=3).rev().find(|depth| !holding(*depth).is_empty()) else {
            prop_assert!(decision.parts.is_empty(), "placed where nothing holds it: {:?}", decision);
            return Ok(());
        };
        prop_assert_eq!(decision.pods(), want);
        let taken = taken(decision);
        let target = decision.parts[0].target.as_str();
        let chosen: BTreeSet<_> = all.iter()
            .filter(|leaf| taken.contains_key(leaf.name.as_str()))
            .map(|leaf| leaf.domain(depth))
            .collect();
        prop_assert_eq!(chosen.len(), 1, "not in one domain of depth {}: {:?}", depth, taken);
        let chosen = chosen.into_iter().next().flatten().expect("a domain");
        prop_assert_eq!(format!("t{}", chosen.0), target);
        let candidates = holding(depth);
        // Wider than was asked, it is in as few domains of what was asked as can be; of those the tightest.
        let fit = |leaves: &Vec<&Leaf>| {
            let rooms: Vec<i64> = children(leaves, asked).iter().map(|part| room(part)).collect();
            (if depth < asked { fewest(&rooms, want) } else { 0 }, room(leaves))
        };
        let tightest = candidates.values().map(fit).min();
        prop_assert_eq!(Some(fit(&candidates[&chosen])), tightest, "not the tightest: {:?}", taken);
        if let Err(why) = fewest_inside(&candidates[&chosen], depth + 1, &taken) {
            prop_assert!(false, "{}", why);
        }
    }
}

#[test]
fn all_roles_of_a_workload_are_in_one_domain() {
    let mut fleet = fleet();
    let rack = |rack: &str, gpus: &[i64]| -> Vec<N> {
        let nodes = gpus.iter().enumerate();
        nodes
            .map(|(at, gpus)| {
                let labels = format!("zone=z1 rack={rack}");
                node(
                    &format!("{rack}-{at}"),
                    &labels,
                    &format!("gpu={gpus} cpu=16 pods=110"),
                )
            })
            .collect()
    };
    // r1 holds either role, r2 both: the workers there, and the leader beside them.
    let nodes: Vec<N> = [rack("r1", &[8, 8]), rack("r2", &[8, 8, 1])].concat();
    add(&mut fleet, "east", "", &nodes);
    let mut request = gang("w", 2, "gpu=8");
    request.pod_sets.push(set("leader", 1, "gpu=1"));
    request.topology = in_one("rack", TopologyMode::Required);
    let (decisions, _) = plan(&mut fleet, &[request.clone()], 0);
    assert_eq!(nodes_of(&decisions[0]), ["r2-0", "r2-1", "r2-2"]);
    assert_eq!(decisions[0].parts[0].domain, pairs("zone=z1 rack=r2"));
    let second = crate::plan::Request {
        id: "v".into(),
        ..request
    };
    let (decisions, _) = plan(&mut fleet, &[second], 0);
    assert!(
        decisions[0].parts.is_empty(),
        "r1 holds each role, but not both"
    );
}

fn nodes_of(decision: &Decision) -> Vec<&str> {
    let names: BTreeSet<&str> = taken(decision).into_keys().collect();
    names.into_iter().collect()
}
