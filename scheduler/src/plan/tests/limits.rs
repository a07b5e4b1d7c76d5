//! Whom a limit refuses is woken only where the limit may let it in by now, and nobody sleeps who could start.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::Strategy as Drawn;

use super::build::*;
use crate::fleet::{Event, Fleet, WorkloadId};
use crate::plan::{Decision, Planner, Request, Step};
use crate::shares::{QueueSpec, QueueTree};
use placement_api::reason::Reason;

pub(super) const QUEUES: [&str; 3] = ["a", "b", "c"];

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// GPUs, priority, queue, and whether it keeps its place for a minute.
    Submit(i64, i32, usize, bool),
    /// One of those that run ends.
    End(usize),
    /// Seconds pass.
    Wait(i64),
}

pub(super) fn an_op() -> impl Drawn<Value = Op> {
    let gpus = prop_oneof![Just(1_i64), Just(2), Just(3), Just(4)];
    prop_oneof![
        4 => (gpus, 0_i32..3, 0_usize..3, any::<bool>()).prop_map(|(gpus, priority, queue, keeps)| Op::Submit(gpus, priority, queue, keeps)),
        3 => (0_usize..8).prop_map(Op::End),
        2 => (1_i64..90).prop_map(Op::Wait),
    ]
}

/// Twelve GPUs. Of the team's two queues one has a limit within that of the team; the third stands alone.
fn queues() -> QueueTree {
    let queue = |name: &str, parent: &str, guaranteed: i64, limit: i64| QueueSpec {
        name: name.to_owned(),
        parent: parent.to_owned(),
        guaranteed: BTreeMap::from([(GPU.to_owned(), guaranteed)]),
        limit: BTreeMap::from([(GPU.to_owned(), limit)]),
        ..QueueSpec::default()
    };
    let all = vec![
        queue("team", "", 6, 7),
        queue("a", "team", 2, 4),
        queue("b", "team", 3, 7),
        queue("c", "", 3, 8),
    ];
    QueueTree::new(all).0
}

/// A planner with what its shell does.
pub(super) struct World {
    pub(super) planner: Planner,
    fleet: Fleet,
    pub(super) requests: BTreeMap<WorkloadId, Request>,
    alarms: BTreeMap<WorkloadId, i64>,
    pub(super) now_ms: i64,
    /// Whom a limit refused when it was planned last.
    refused: BTreeSet<WorkloadId>,
    planned: usize,
}

impl World {
    pub(super) fn new() -> Self {
        let mut fleet = fleet();
        let nodes = [
            node("n1", "", "gpu=4"),
            node("n2", "", "gpu=4"),
            node("n3", "", "gpu=4"),
        ];
        add(&mut fleet, "t", "", &nodes);
        let mut planner = Planner::new();
        planner.set_queues(queues());
        Self {
            planner,
            fleet,
            requests: BTreeMap::new(),
            alarms: BTreeMap::new(),
            now_ms: 1_000_000,
            refused: BTreeSet::new(),
            planned: 0,
        }
    }

    pub(super) fn happen(&mut self, number: usize, op: &Op) {
        let mut event = Event::nothing();
        let mut look = BTreeSet::new();
        match op {
            Op::Submit(gpus, priority, queue, keeps) => {
                let id = format!("w{number:02}");
                let request = Request {
                    queue: QUEUES[*queue].to_owned(),
                    priority: *priority,
                    submitted_ms: self.now_ms,
                    waits_since_ms: self.now_ms,
                    min_runtime_ms: if *keeps { 60_000 } else { 0 },
                    ..gang(&id, 1, &format!("gpu={gpus}"))
                };
                look.insert(request.id.clone());
                self.requests.insert(request.id.clone(), request);
            }
            Op::End(at) => {
                let running = self.requests.values().filter(|one| !one.current.is_empty());
                let Some(id) = running.map(|one| one.id.clone()).nth(*at) else {
                    return;
                };
                self.requests.remove(&id);
                event.merge(self.fleet.release_all(&id));
                self.planner.forget(&id);
            }
            Op::Wait(seconds) => self.now_ms += seconds * 1_000,
        }
        self.settle(event, look);
    }

    pub(super) fn settle(&mut self, mut event: Event, mut look: BTreeSet<WorkloadId>) {
        for _ in 0..50 {
            let freed = std::mem::take(&mut event);
            look.extend(self.planner.wake(&freed));
            let now_ms = self.now_ms;
            look.extend(
                self.alarms
                    .iter()
                    .filter(|(_, at)| **at <= now_ms)
                    .map(|(id, _)| id.clone()),
            );
            let asked: Vec<Request> = std::mem::take(&mut look)
                .iter()
                .filter_map(|id| self.requests.get(id).cloned())
                .collect();
            if asked.is_empty() {
                return;
            }
            self.planned += asked.len();
            for request in &asked {
                self.alarms.remove(&request.id);
            }
            let (decisions, report) = self.planner.plan(&mut self.fleet, &asked, now_ms);
            for (id, at) in report.wake_ms {
                let alarm = self.alarms.entry(id).or_insert(at);
                *alarm = at.min(*alarm);
            }
            event.merge(report.freed);
            for decision in &decisions {
                if decision.explanation.reason == Some(Reason::QueueLimit) {
                    self.refused.insert(decision.id.clone());
                } else {
                    self.refused.remove(&decision.id);
                }
                self.take(decision, &mut look);
            }
        }
        panic!("it does not come to rest");
    }

    fn take(&mut self, decision: &Decision, look: &mut BTreeSet<WorkloadId>) {
        let Some(request) = self.requests.get_mut(&decision.id) else {
            return;
        };
        if decision.leaving.iter().any(|part| part.step == Step::Now) {
            request.epoch = decision.epoch;
            request.current.clear();
            look.insert(decision.id.clone());
            return;
        }
        if decision.parts.is_empty() || !request.current.is_empty() {
            return;
        }
        *request = settled(request, decision);
        for part in &mut request.current {
            part.started = true;
            part.started_ms = Some(self.now_ms);
        }
        self.planner.adopt(&mut self.fleet, request);
    }

    pub(super) fn runs(&self) -> BTreeMap<&str, String> {
        let running = self.requests.values().filter(|one| !one.current.is_empty());
        running
            .map(|one| {
                let nodes = one.current.iter().flat_map(|part| &part.nodes);
                (
                    one.id.as_str(),
                    nodes.map(|node| node.name.clone()).collect(),
                )
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nobody_sleeps_whom_a_limit_would_let_in(ops in prop::collection::vec(an_op(), 1..40)) {
        let mut world = World::new();
        for (number, op) in ops.iter().enumerate() {
            world.happen(number, op);
            // What is owed to whom changes with every arrival, and is claimed when something becomes free.
            if !matches!(op, Op::End(_)) {
                continue;
            }
            for id in &world.refused {
                let Some(request) = world.requests.get(id) else { continue };
                let (mut planner, mut fleet) = (world.planner.clone(), world.fleet.clone());
                let (decisions, _) = planner.plan(&mut fleet, std::slice::from_ref(request), world.now_ms);
                // To ask others to give way it waits for the next event, as it did before.
                prop_assert!(decisions[0].parts.is_empty() || decisions.len() > 1, "{} could start after {} of {:?}: {:?}", id, number, op, decisions);
            }
        }
    }
}

#[test]
fn who_is_refused_sleeps_until_its_limit_has_room() {
    let mut world = World::new();
    let ops = [
        Op::Submit(4, 0, 0, true),
        Op::Submit(2, 0, 2, true),
        Op::Submit(1, 0, 0, true),
    ];
    for (number, op) in ops.iter().enumerate() {
        world.happen(number, op);
    }
    assert_eq!(world.runs().into_keys().collect::<Vec<_>>(), ["w00", "w01"]);
    let before = world.planned;
    world.happen(3, &Op::End(1));
    assert_eq!(
        world.planned, before,
        "another queue's end is none of its business"
    );
    world.happen(4, &Op::End(0));
    assert_eq!(world.runs().into_keys().collect::<Vec<_>>(), ["w02"]);
    assert_eq!(world.planned, before + 1);
}

#[test]
fn who_may_ask_somebody_to_give_way_is_woken_when_that_one_may_be_asked() {
    let mut world = World::new();
    // Three of four in queue a, for a minute; four of higher priority need all of it.
    let ops = [
        Op::Submit(1, 2, 0, true),
        Op::Submit(3, 0, 0, true),
        Op::Submit(4, 1, 0, true),
        Op::Submit(1, 0, 2, true),
    ];
    for (number, op) in ops.iter().enumerate() {
        world.happen(number, op);
    }
    let running = |world: &World| {
        world
            .runs()
            .into_keys()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(running(&world), ["w00", "w01", "w03"]);
    let before = world.planned;
    world.happen(4, &Op::End(2));
    assert_eq!(
        world.planned, before,
        "nobody may be asked yet, and it was told when"
    );
    world.happen(5, &Op::End(0));
    assert_eq!(
        world.planned, before,
        "three of four are used by one that keeps its place"
    );
    world.happen(6, &Op::Wait(70));
    assert_eq!(running(&world), ["w02"]);
}
