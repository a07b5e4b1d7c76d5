//! The index chooses what a scan over all nodes would.

use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass};
use placement_api::quantity::Quantity;
use proptest::prelude::*;
use proptest::strategy::Strategy as Drawn;

use super::*;
use crate::fleet::{Node, Rates, TargetState};
use crate::plan::{Planner, PodSetRequest};

const MODELS: [&str; 2] = ["a", "b"];
const GPU: &str = "nvidia.com/gpu";

/// Nodes by target: model and size.
fn fleet(targets: &[Vec<(usize, i64)>], backwards: bool) -> Fleet {
    let mut fleet = Fleet::new();
    let mut order: Vec<usize> = (0..targets.len()).collect();
    if backwards {
        order.reverse();
    }
    for number in order {
        let name = TargetName::from(format!("t{number}"));
        fleet.set_target(&name, Labels::new(), Vec::new(), TargetState::Ready, 0);
        let class = |model: usize, gpus: i64| NodeClass {
            id: format!("{model}-{gpus}"),
            labels: [("model".to_owned(), MODELS[model].to_owned())].into(),
            allocatable: [
                ("cpu".to_owned(), Quantity::from_units(12 * gpus + 4)),
                ("memory".to_owned(), Quantity::from_units((48 * gpus) << 30)),
                (GPU.to_owned(), Quantity::from_units(gpus)),
            ]
            .into(),
            ..NodeClass::default()
        };
        let nodes = targets[number].iter().enumerate();
        let mut status = InventoryStatus {
            classes: targets[number]
                .iter()
                .map(|(model, gpus)| class(*model, *gpus))
                .collect(),
            nodes: nodes
                .map(|(position, (model, gpus))| InventoryNode {
                    name: format!("n{position}"),
                    class: format!("{model}-{gpus}"),
                    ..InventoryNode::default()
                })
                .collect(),
            ..InventoryStatus::default()
        };
        if backwards {
            status.nodes.reverse();
        }
        fleet.set_inventory(&name, &status);
        fleet.serve_everything(&name);
    }
    fleet
}

/// CPU, whole devices, thousandths of one more, pods, model.
type Wanted = (i64, i64, i64, i64, Option<usize>);

fn request(number: usize, (cpu, devices, share, pods, model): Wanted) -> Request {
    let mut requests = vec![
        ("cpu".to_owned(), cpu * 1000),
        ("memory".to_owned(), cpu << 32),
    ];
    if share == 0 && devices > 0 {
        requests.push((GPU.to_owned(), devices));
    }
    let set = PodSetRequest {
        name: "main".to_owned(),
        count: if share > 0 { 1 } else { pods },
        requests: requests.into_iter().collect(),
        gpu_share_milli: share,
        node_selector: model
            .map(|model| ("model".to_owned(), MODELS[model].to_owned()))
            .into_iter()
            .collect(),
        gateable: true,
        ..PodSetRequest::default()
    };
    Request {
        id: crate::fleet::WorkloadId::from(format!("w{number:04}")),
        submitted_ms: i64::try_from(number).expect("small"),
        packing: Some(Packing::Pack),
        pod_sets: vec![set],
        ..Request::default()
    }
}

/// The choice by looking at every node of every target.
fn scan(occupancy: &Occupancy, fleet: &Fleet, needs: &Needs<'_>) -> Option<(TargetName, usize)> {
    let need = &needs.sets[0];
    let index = fleet.indexed();
    let mut best: Option<((i64, Price), TargetName, usize)> = None;
    for (name, target) in fleet.targets() {
        for (position, node) in target.node_list().iter().enumerate() {
            if need.copies(node) < need.set.count {
                continue;
            }
            let kind_of = |kind: &Kind| {
                kind.target.rates == target.rates
                    && kind.node.labels.get("model") == node.labels.get("model")
                    && kind.node.allocatable == node.allocatable
            };
            let kind = index.kinds().iter().position(kind_of).expect("a kind");
            let (spot, used) = by_hand(kind, &index.kinds()[kind], node, need);
            let (cost, _) = occupancy
                .worth
                .cost(&spot.spot(), occupancy.worth.value(&spot.spot()), &used)
                .expect("it fits");
            let cost = (cost, price(needs, target, &[need.set.count]));
            if best.as_ref().is_none_or(|(least, _, _)| cost < *least) {
                best = Some((cost, name.clone(), position));
            }
        }
    }
    best.map(|(_, name, position)| (name, position))
}

struct Held {
    kind: usize,
    cpu: i64,
    memory: i64,
    whole: i64,
    open: Vec<i64>,
}

impl Held {
    fn spot(&self) -> Spot<'_> {
        Spot {
            kind: self.kind,
            cpu: self.cpu,
            memory: self.memory,
            whole: self.whole,
            open: &self.open,
        }
    }
}

fn by_hand(number: usize, kind: &Kind, node: &Node, need: &SetNeed<'_>) -> (Held, Use) {
    let mut open = Vec::new();
    for one in node.open() {
        open.push(one.free());
    }
    open.sort_unstable();
    let device = kind.device.expect("a device");
    let held = Held {
        kind: number,
        cpu: node.free.get(CPU_TIME),
        memory: node.free.get(MEMORY_BYTES),
        whole: node.free.get(device),
        open,
    };
    (held, used(kind, &need.demand, need.set.count))
}

fn wanted() -> impl Drawn<Value = Wanted> {
    let share = prop_oneof![
        Just(0_i64),
        Just(0),
        Just(810),
        Just(460),
        Just(220),
        1..1000_i64
    ];
    let model = prop_oneof![Just(None), Just(None), Just(Some(0)), Just(Some(1))];
    (0..9_i64, 0..5_i64, share, 1..3_i64, model)
}

fn targets() -> impl Drawn<Value = Vec<Vec<(usize, i64)>>> {
    let node = (0..2_usize, prop_oneof![Just(2_i64), Just(4), Just(8)]);
    prop::collection::vec(prop::collection::vec(node, 1..5), 1..4)
}

/// Which requests leave after which arrival.
fn departures() -> impl Drawn<Value = Vec<usize>> {
    prop::collection::vec(0..40_usize, 0..20)
}

fn places(planner: &mut Planner, fleet: &mut Fleet, request: &Request) -> Option<(String, String)> {
    let (decisions, _) = planner.plan(fleet, std::slice::from_ref(request), 0);
    let part = decisions.first()?.parts.first()?;
    Some((part.target.to_string(), part.nodes.first()?.name.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_index_chooses_what_a_scan_would(targets in targets(), wanted in prop::collection::vec(wanted(), 1..60), leave in departures(), prices in prop::collection::vec(0_i64..3, 0..4)) {
        let mut fleet = fleet(&targets, false);
        for (target, price) in prices.into_iter().enumerate() {
            let rates = Rates { cost: [(GPU.to_owned(), price)].into(), ..Rates::default() };
            fleet.set_rates(&TargetName::from(format!("t{target}")), rates);
        }
        let mut occupancy = Occupancy::default();
        for (number, one) in wanted.into_iter().enumerate() {
            let request = request(number, one);
            let needs = Needs::new(&mut fleet, &request);
            occupancy.learn(&needs);
            let need = &needs.sets[0];
            let choice = occupancy.choose(&mut fleet, &needs, need, need.set.count);
            let found = choice.and_then(|choice| fleet.indexed().place(choice.slot)).map(|(name, position)| (name.clone(), position));
            prop_assert_eq!(&found, &scan(&occupancy, &fleet, &needs), "{}", number);
            let draft = occupancy.draft(&mut fleet, &needs);
            if let Some(added) = draft.as_ref().and_then(|draft| draft.added.first()) {
                crate::plan::reserve::reserve(&mut fleet, &needs, &added.target, 1, added, true);
            }
            if let Some(gone) = leave.get(number) {
                fleet.release_all(&crate::fleet::WorkloadId::from(format!("w{gone:04}")));
            }
        }
    }

    #[test]
    fn no_device_and_no_node_holds_more_than_it_has(targets in targets(), wanted in prop::collection::vec(wanted(), 1..80), leave in departures()) {
        let mut fleet = fleet(&targets, false);
        let mut planner = Planner::new();
        for (number, one) in wanted.into_iter().enumerate() {
            places(&mut planner, &mut fleet, &request(number, one));
            if let Some(gone) = leave.get(number) {
                fleet.release_all(&crate::fleet::WorkloadId::from(format!("w{gone:04}")));
            }
            for (_, target) in fleet.targets() {
                for node in target.node_list() {
                    for number in 0..5 {
                        prop_assert!(node.free.get(number) >= 0, "{} {number} {:?}", node.name(), node.free);
                    }
                    for open in node.open() {
                        prop_assert!((0..1000).contains(&open.free()), "{open:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_order_of_nodes_does_not_matter(targets in targets(), wanted in prop::collection::vec(wanted(), 1..40)) {
        let (mut one, mut two) = (fleet(&targets, false), fleet(&targets, true));
        let (mut first, mut second) = (Planner::new(), Planner::new());
        for (number, wanted) in wanted.into_iter().enumerate() {
            let request = request(number, wanted);
            prop_assert_eq!(places(&mut first, &mut one, &request), places(&mut second, &mut two, &request));
        }
    }
}

#[test]
fn what_is_released_is_whole_again() {
    let mut fleet = fleet(&[vec![(0, 2)]], false);
    let mut planner = Planner::new();
    let free = |fleet: &Fleet| fleet.free_on("t0", "n0").expect("node").get(GPU);
    for number in 0..4 {
        assert!(
            places(
                &mut planner,
                &mut fleet,
                &request(number, (1, 0, 460, 1, None))
            )
            .is_some()
        );
    }
    assert_eq!(free(&fleet), 0, "two and two");
    assert!(places(&mut planner, &mut fleet, &request(9, (1, 0, 460, 1, None))).is_none());
    for number in 0..4 {
        fleet.release_all(&crate::fleet::WorkloadId::from(format!("w{number:04}")));
    }
    assert_eq!(free(&fleet), 2);
    assert!(places(&mut planner, &mut fleet, &request(10, (1, 2, 0, 1, None))).is_some());
}
