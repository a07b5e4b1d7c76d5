//! Defragmentation: what moves, for whom, and never more than allowed.

use std::collections::{BTreeMap, VecDeque};

use placement_api::reason::Reason;
use proptest::prelude::*;

use super::build::*;
use crate::fleet::{Fleet, WorkloadId};
use crate::plan::{Decision, Planner, Policy, Report, Request};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

struct Case {
    fleet: Fleet,
    planner: Planner,
    live: BTreeMap<WorkloadId, Request>,
    now_ms: i64,
    /// When somebody was moved.
    moves_ms: VecDeque<i64>,
}

impl Case {
    /// Nodes of eight GPUs.
    fn new(nodes: usize, moves_per_hour: u32) -> Self {
        let nodes: Vec<N> = (0..nodes)
            .map(|n| node(&format!("n{n}"), "zone=z1 rack=r1", "gpu=8 cpu=64 pods=110"))
            .collect();
        let mut fleet = fleet();
        add(&mut fleet, "east", "region=eu", &nodes);
        let mut planner = Planner::new();
        planner.set_policy(Policy {
            moves_per_hour,
            ..Policy::default()
        });
        Self {
            fleet,
            planner,
            live: BTreeMap::new(),
            now_ms: 0,
            moves_ms: VecDeque::new(),
        }
    }

    /// One pod with so many GPUs on a node, since the beginning.
    fn runs(&mut self, id: &str, gpus: i64, on: &str) {
        let request = gang(id, 1, &format!("gpu={gpus}"));
        let elsewhere = (self.now_ms, on.to_owned());
        let mut request = Request {
            epoch: 1,
            submitted_ms: elsewhere.0,
            ..request
        };
        request.current = vec![crate::plan::Current {
            target: name("east"),
            epoch: 1,
            counts: [("main".to_owned(), 1)].into(),
            nodes: vec![placement_api::kinds::NodeShare {
                pod_set: "main".to_owned(),
                name: elsewhere.1,
                pods: 1,
            }],
            domain: BTreeMap::new(),
            evicting: false,
            started: true,
            healthy: true,
            started_ms: Some(self.now_ms),
        }];
        self.planner.adopt(&mut self.fleet, &request);
        self.live.insert(request.id.clone(), request);
    }

    fn wants(&mut self, id: &str, gpus: i64) {
        let request = Request {
            submitted_ms: self.now_ms,
            ..gang(id, 1, &format!("gpu={gpus}"))
        };
        self.live.insert(request.id.clone(), request);
    }

    /// One cycle over everybody; what was decided happens at once.
    fn cycle(&mut self) -> (Vec<Decision>, Report) {
        let requests: Vec<Request> = self.live.values().cloned().collect();
        let (decisions, report) = self.planner.plan(&mut self.fleet, &requests, self.now_ms);
        for decision in &decisions {
            let moved = |one: &&crate::plan::Leaving| one.reason == Reason::Defragmented;
            let count = decision.leaving.iter().filter(moved).count();
            self.moves_ms
                .extend(std::iter::repeat_n(self.now_ms, count));
            let request = self.live.get_mut(&decision.id).expect("asked");
            let before = request.current.first().and_then(|part| part.started_ms);
            *request = settled(request, decision);
            for part in &mut request.current {
                part.started_ms = before.or(Some(self.now_ms));
            }
        }
        (decisions, report)
    }

    fn node_of(&self, id: &str) -> Option<&str> {
        let parts = &self.live[&WorkloadId::from(id)].current;
        parts.first().map(|part| part.nodes[0].name.as_str())
    }
}

#[test]
fn a_move_makes_room_and_ends_in_its_new_place() {
    let mut case = Case::new(2, 1);
    case.runs("a", 4, "n0");
    case.runs("b", 4, "n1");
    case.now_ms = HOUR;
    case.wants("large", 8);
    let (decisions, _) = case.cycle();
    let moved = decisions.iter().find(|one| !one.leaving.is_empty());
    let leaving = &moved.expect("one moves").leaving[0];
    assert_eq!(leaving.reason, Reason::Defragmented);
    assert_eq!(
        leaving.message,
        "moves to other nodes, so that Job default/large has its room in one piece"
    );
    assert!(case.node_of("large").is_some());
    case.wants("small", 4);
    case.cycle();
    assert!(case.node_of("a").is_some() && case.node_of("b").is_some());
    assert_eq!(case.node_of("small"), None, "the new place was kept");
    assert_eq!(case.moves_ms.len(), 1);
}

#[test]
fn the_budget_is_one_of_an_hour_and_tells_when_there_is_more() {
    let mut case = Case::new(4, 1);
    for (id, on) in [("a", "n0"), ("b", "n1"), ("c", "n2"), ("d", "n3")] {
        case.runs(id, 4, on);
    }
    case.now_ms = HOUR;
    case.wants("first", 8);
    case.wants("second", 8);
    let (_, report) = case.cycle();
    assert_eq!(case.moves_ms.len(), 1);
    assert!(case.node_of("first").is_some() && case.node_of("second").is_none());
    let wake = report.wake_ms.get(&WorkloadId::from("second"));
    assert_eq!(wake, Some(&(2 * HOUR)));
    case.now_ms = 2 * HOUR - 1;
    case.cycle();
    assert_eq!(case.moves_ms.len(), 1);
    case.now_ms = 2 * HOUR;
    case.cycle();
    assert_eq!(case.moves_ms.len(), 2);
    assert!(case.node_of("second").is_some());
}

#[test]
fn a_new_leader_counts_what_was_moved_before_it() {
    let mut case = Case::new(2, 1);
    case.runs("a", 4, "n0");
    case.runs("b", 4, "n1");
    case.now_ms = HOUR;
    for id in ["gone", "gone"] {
        case.planner
            .remember(&crate::plan::Memory::Moved(WorkloadId::from(id), HOUR / 2));
    }
    case.wants("large", 8);
    let (_, report) = case.cycle();
    assert_eq!(case.node_of("large"), None);
    assert_eq!(
        report.wake_ms.get(&WorkloadId::from("large")),
        Some(&(HOUR / 2 + HOUR))
    );
    case.now_ms = HOUR / 2 + HOUR;
    case.cycle();
    assert!(case.node_of("large").is_some());
}

#[test]
fn the_minimum_run_time_holds_for_moves() {
    let mut case = Case::new(2, 9);
    case.now_ms = HOUR;
    case.runs("a", 4, "n0");
    case.runs("b", 4, "n1");
    case.now_ms += 10 * MINUTE - 1;
    case.wants("large", 8);
    case.cycle();
    assert_eq!(case.node_of("large"), None);
    case.now_ms += 1;
    case.cycle();
    assert!(case.node_of("large").is_some());
}

#[test]
fn the_fewest_move_then_those_who_lose_least() {
    let mut case = Case::new(3, 9);
    case.runs("old", 4, "n0");
    case.runs("two", 2, "n1");
    case.runs("twin", 2, "n1");
    case.now_ms = HOUR;
    case.runs("young", 4, "n2");
    case.now_ms = 2 * HOUR;
    case.wants("large", 8);
    case.cycle();
    assert_eq!(case.node_of("large"), Some("n2"));
    case.cycle();
    assert_eq!(case.moves_ms.len(), 1);
    assert!(case.node_of("young").is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Never more moves in an hour than allowed; who moves runs again as soon as it has stopped; without arrivals it comes to rest.
    #[test]
    fn never_more_than_allowed(
        nodes in 2..5_usize,
        budget in 0..4_u32,
        steps in prop::collection::vec((1..9_i64, prop::option::of(0..12_usize), 5..40_i64), 1..25),
    ) {
        let mut case = Case::new(nodes, budget);
        for (number, (gpus, ends, minutes)) in steps.into_iter().enumerate() {
            case.now_ms += minutes * MINUTE;
            case.wants(&format!("w{number}"), gpus);
            let (decisions, _) = case.cycle();
            let moved = decisions.iter().filter(|one| !one.leaving.is_empty());
            let displaced: Vec<WorkloadId> = moved.map(|one| one.id.clone()).collect();
            // Its member has confirmed that it stopped.
            case.cycle();
            for id in &displaced {
                prop_assert!(!case.live[id].current.is_empty(), "{id} was moved to nowhere");
            }
            let free = case.fleet.targets().flat_map(|(_, target)| target.nodes());
            for node in free {
                let left = case.fleet.free_on("east", node.name().as_str()).expect("node");
                prop_assert!(!left.has_negative(), "{}: {left:?}", node.name());
            }
            let recent = case.moves_ms.iter().filter(|at| **at + HOUR > case.now_ms).count();
            prop_assert!(recent <= budget as usize, "{recent} of {budget}");
            // What ends leaves holes.
            let gone = ends.and_then(|at| case.live.keys().nth(at).cloned());
            if let Some(id) = gone {
                let request = case.live.remove(&id).expect("there");
                let end = Request { finished: true, ..request };
                case.planner.plan(&mut case.fleet, &[end], case.now_ms);
                case.planner.forget(&id);
            }
        }
        let moves = case.moves_ms.len();
        for _ in 0..3 {
            case.cycle();
        }
        let rest = case.moves_ms.len();
        case.cycle();
        prop_assert!(rest >= moves && case.moves_ms.len() == rest, "it does not come to rest");
    }
}
