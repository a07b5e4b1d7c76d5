//! Spare nodes: kept while a gang runs, used when it loses one, free again when it ends.

use placement_api::kinds::TopologyMode;
use placement_api::reason::Reason;

use super::build::*;
use crate::fleet::{Fleet, WorkloadId};
use crate::plan::{Change, Decision, Planner, Report, Request, Step};

const HOUR: i64 = 3_600_000;

struct Case {
    fleet: Fleet,
    nodes: Vec<N>,
    planner: Planner,
}

impl Case {
    /// One target with so many nodes of eight GPUs in one rack.
    fn new(nodes: usize) -> Self {
        let nodes: Vec<N> = (0..nodes)
            .map(|n| node(&format!("a{n}"), "zone=z1 rack=r1", "gpu=8 cpu=64 pods=110"))
            .collect();
        let mut fleet = fleet();
        add(&mut fleet, "east", "region=eu", &nodes);
        Self {
            fleet,
            nodes,
            planner: Planner::new(),
        }
    }

    fn plan(&mut self, requests: &[&Request]) -> (Vec<Decision>, Report) {
        let requests: Vec<Request> = requests.iter().map(|one| (*one).clone()).collect();
        self.planner.plan(&mut self.fleet, &requests, HOUR)
    }

    /// Plans one, and takes over what was decided.
    fn run(&mut self, request: &mut Request) -> Decision {
        let decision = self.plan(&[request]).0.remove(0);
        *request = settled(request, &decision);
        decision
    }

    fn lose(&mut self, name_: &str) {
        let lost = self.nodes.iter_mut().find(|node| node.name == name_);
        lost.expect("a node").unusable = true;
        let inventory = inventory(&self.nodes, &[]);
        self.fleet.set_inventory(&name("east"), &inventory);
    }
}

fn train(pods: i64, spares: i64) -> Request {
    Request {
        spares,
        topology: in_one("rack", TopologyMode::Required),
        ..gang("train", pods, "gpu=8")
    }
}

/// It may be stopped at any time.
fn guest() -> Request {
    Request {
        min_runtime_ms: 0,
        ..gang("guest", 1, "gpu=8")
    }
}

fn said(decision: &Decision) -> &str {
    let verdict = &decision.explanation.verdicts[0];
    assert_eq!(verdict.reason, Reason::Placed);
    &verdict.message
}

#[test]
fn a_spare_is_kept_used_and_given_back() {
    let mut case = Case::new(4);
    let mut train = train(2, 1);
    let placed = case.run(&mut train);
    assert_eq!(nodes(&placed), "a0 1 · a1 1");
    assert!(
        said(&placed).ends_with("; spare node a2"),
        "{}",
        said(&placed)
    );
    let firm = gang("firm", 2, "gpu=8");
    let waits = case.plan(&[&firm]).0.remove(0);
    assert_eq!(waits.explanation.reason, Some(Reason::ReservedForOlder));
    assert!(
        waits.explanation.message.contains("kept for train"),
        "{}",
        waits.explanation.message
    );
    let mut small = gang("small", 1, "gpu=8");
    assert_eq!(nodes(&case.run(&mut small)), "a3 1", "beside the spare");
    case.lose("a0");
    let swapped = case.run(&mut train);
    assert_eq!(swapped.parts[0].change, Change::Swapped);
    assert_eq!(nodes(&swapped), "a1 1 · a2 1");
    assert!(
        said(&swapped).ends_with("; no spare node"),
        "{}",
        said(&swapped)
    );
    let end = Request {
        finished: true,
        ..train
    };
    let (_, report) = case.plan(&[&end]);
    let woken = case.planner.wake(&report.freed);
    assert!(woken.contains(&WorkloadId::from("firm")));
}

#[test]
fn spares_that_nobody_wants_any_more_help_those_who_wait() {
    let mut case = Case::new(3);
    let mut train = train(2, 1);
    case.run(&mut train);
    let firm = gang("firm", 1, "gpu=8");
    assert!(case.plan(&[&firm]).0[0].parts.is_empty());
    train.spares = 0;
    let (_, report) = case.plan(&[&train]);
    let woken = case.planner.wake(&report.freed);
    assert!(woken.contains(&WorkloadId::from("firm")));
    assert_eq!(nodes(&case.plan(&[&firm]).0[0]), "a2 1");
}

#[test]
fn a_guest_uses_the_spare_until_it_is_needed() {
    let mut case = Case::new(3);
    let (mut train, mut guest) = (train(2, 1), guest());
    case.run(&mut train);
    assert_eq!(nodes(&case.run(&mut guest)), "a2 1");
    let again = case.run(&mut train);
    assert!(again.parts.iter().all(|part| part.change == Change::Kept));
    case.lose("a1");
    let (decisions, _) = case.plan(&[&train]);
    let [train, evicted] = &decisions[..] else {
        panic!("{decisions:?}");
    };
    assert_eq!(nodes(train), "a0 1 · a2 1");
    assert_eq!(evicted.id, guest.id);
    let leaving = &evicted.leaving[0];
    assert_eq!(
        (leaving.step, leaving.reason),
        (Step::Now, Reason::ReclaimedByEntitledQueue)
    );
    let claims = train.parts[0].after.iter();
    assert!(claims.clone().any(|(id, _)| *id == guest.id));
}

#[test]
fn guests_beside_what_is_needed_stay() {
    let mut case = Case::new(4);
    let (mut train, mut one) = (train(2, 2), guest());
    let mut two = Request {
        id: WorkloadId::from("second"),
        ..guest()
    };
    case.run(&mut train);
    case.run(&mut one);
    case.run(&mut two);
    case.lose("a0");
    let (decisions, _) = case.plan(&[&train]);
    assert_eq!(decisions.len(), 2, "one guest is enough: {decisions:?}");
    let left: i64 = case.fleet.free_on("east", "a3").expect("a node").get(GPU);
    assert_eq!(left, 0, "the other keeps its room");
}

#[test]
fn nobody_takes_the_spare_of_another_for_a_swap() {
    let mut case = Case::new(5);
    let mut kept = train(2, 1);
    let mut other = Request {
        id: WorkloadId::from("other"),
        ..train(2, 0)
    };
    case.run(&mut kept);
    case.run(&mut other);
    assert_eq!(other.current[0].nodes.len(), 2);
    let lost = other.current[0].nodes[0].name.clone();
    case.lose(&lost);
    let waits = case.run(&mut other);
    assert!(waits.parts[0].change == Change::Kept, "{waits:?}");
    assert_eq!(waits.explanation.reason, Some(Reason::InsufficientCapacity));
    let mine = kept.current[0].nodes[1].name.clone();
    case.lose(&mine);
    assert_eq!(case.run(&mut kept).parts[0].change, Change::Swapped);
}

#[test]
fn a_domain_with_spares_comes_before_a_tight_one() {
    let mut fleet = fleet();
    let mut all = vec![node("t0", "zone=z1 rack=r1", "gpu=8 cpu=64 pods=110")];
    all.extend((0..3).map(|n| {
        let taken = if n == 2 { "gpu=4" } else { "gpu=8" };
        node(
            &format!("w{n}"),
            "zone=z1 rack=r2",
            &format!("{taken} cpu=64 pods=110"),
        )
    }));
    add(&mut fleet, "east", "region=eu", &all);
    let place = |fleet: &mut Fleet, spares| {
        let request = Request {
            spares,
            ..train(1, 0)
        };
        let (decisions, _) = Planner::new().plan(&mut fleet.clone(), &[request], HOUR);
        nodes(&decisions[0])
    };
    assert_eq!(place(&mut fleet, 0), "t0 1");
    assert_eq!(place(&mut fleet, 1), "w0 1");
    assert_eq!(
        place(&mut fleet, 2),
        "w0 1",
        "as many as there are: w2 is too small"
    );
}
