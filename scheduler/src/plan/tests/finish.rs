//! In queues that go by laxity the first of each sort of work is woken, whoever that is by then: what is decided is what is decided when
//! everybody stands alone, what it costs is not. (With time slicing all but this: those behind a workload that may not ask somebody to give way
//! again do not ask in its place, as elsewhere.)

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::QueueOrder;
use proptest::prelude::*;
use proptest::strategy::Strategy as Drawn;

use super::build::*;
use crate::fleet::{Event, Fleet, WorkloadId};
use crate::plan::{Change, Planner, Request, Step};
use crate::shares::{QueueSpec, QueueTree};

const MINUTE: i64 = 60_000;

/// A planner, and what the shell does around it.
struct World {
    planner: Planner,
    fleet: Fleet,
    requests: BTreeMap<WorkloadId, Request>,
    look: BTreeSet<WorkloadId>,
    event: Event,
    wakes: BTreeMap<WorkloadId, i64>,
    planned: usize,
}

impl World {
    fn new(time_slicing: bool, apart: bool, gpus: &str) -> Self {
        let mut fleet = fleet();
        add(
            &mut fleet,
            "t",
            "",
            &[node("a", "", gpus), node("b", "", gpus)],
        );
        let mut planner = Planner::new();
        planner.apart = apart;
        let queue = QueueSpec {
            name: "q".to_owned(),
            order: QueueOrder::FinishTime,
            time_slicing,
            ..QueueSpec::default()
        };
        planner.set_queues(QueueTree::new(vec![queue]).0);
        Self {
            planner,
            fleet,
            requests: BTreeMap::new(),
            look: BTreeSet::new(),
            event: Event::nothing(),
            wakes: BTreeMap::new(),
            planned: 0,
        }
    }

    fn submit(&mut self, id: &str, gpus: i64, runtime_ms: Option<i64>, now_ms: i64) {
        let request = Request {
            queue: "q".to_owned(),
            submitted_ms: now_ms,
            waits_since_ms: now_ms,
            runtime_ms,
            min_runtime_ms: 2 * MINUTE,
            checkpoint_ms: Some(i64::MAX / 4),
            ..gang(id, 1, &format!("gpu={gpus}"))
        };
        self.look.insert(request.id.clone());
        self.requests.insert(request.id.clone(), request);
    }

    fn end(&mut self, id: &WorkloadId) {
        self.event.merge(self.fleet.release_all(id));
        self.event.merge(self.planner.forget(id));
        self.requests.remove(id);
        self.look.remove(id);
        self.wakes.remove(id);
    }

    /// Who runs, the first first.
    fn running(&self) -> Vec<WorkloadId> {
        let running = self.requests.values().filter(|one| !one.current.is_empty());
        running.map(|one| one.id.clone()).collect()
    }

    /// Whether somebody waits who has had others give way, and may not ask them again.
    fn may_not_ask_again(&self) -> bool {
        let waits = |id: &WorkloadId| {
            self.requests
                .get(id)
                .is_some_and(|one| one.current.is_empty())
        };
        let mut booked = self.planner.book.iter();
        booked.any(|one| one.gave_way_to.iter().any(waits))
    }

    /// Plans until it comes to rest; says who runs where.
    fn cycle(&mut self, now_ms: i64) -> Vec<(WorkloadId, String)> {
        let due = self.wakes.iter().filter(|(_, at)| **at <= now_ms);
        self.look
            .extend(due.map(|(id, _)| id.clone()).collect::<Vec<_>>());
        for round in 0..100 {
            let event = std::mem::replace(&mut self.event, Event::nothing());
            if !event.is_nothing() {
                self.look.extend(self.planner.wake(&event));
            }
            // Who is gone ends when the next cycle begins, so there is one at each step.
            if self.look.is_empty() && round > 0 {
                break;
            }
            self.round(now_ms);
        }
        let running = self.requests.values().filter(|one| !one.current.is_empty());
        running
            .map(|one| (one.id.clone(), format!("{:?}", one.current[0].nodes)))
            .collect()
    }

    fn round(&mut self, now_ms: i64) {
        let look = std::mem::take(&mut self.look);
        let asked: Vec<Request> = look
            .iter()
            .filter_map(|id| self.requests.get(id).cloned())
            .collect();
        let (decisions, report) = self.planner.plan(&mut self.fleet, &asked, now_ms);
        self.planned += decisions.len();
        self.event.merge(report.freed);
        for request in &asked {
            self.wakes.remove(&request.id);
        }
        self.wakes.extend(report.wake_ms);
        for decision in decisions {
            let Some(request) = self.requests.get_mut(&decision.id) else {
                continue;
            };
            request.epoch = decision.epoch;
            if decision.leaving.iter().any(|part| part.step == Step::Now) {
                request.current.clear();
                self.look.insert(decision.id.clone());
            } else if decision.parts.iter().any(|part| part.change == Change::New) {
                *request = settled(request, &decision);
                for part in &mut request.current {
                    part.started_ms = Some(now_ms);
                }
                self.planner.adopt(&mut self.fleet, request);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// GPUs and minutes.
    Submit(i64, Option<i64>),
    /// Of those who run.
    End(usize),
    /// Of those who wait.
    Gone(usize),
    Later(i64),
}

fn an_op() -> impl Drawn<Value = Op> {
    let minutes = prop_oneof![
        2 => (1_i64..4).prop_map(|hours| Some(60 * hours)),
        2 => (1_i64..400).prop_map(Some),
        1 => Just(None),
    ];
    prop_oneof![
        6 => (prop_oneof![Just(1_i64), Just(2), Just(4)], minutes).prop_map(|(gpus, minutes)| Op::Submit(gpus, minutes)),
        2 => any::<usize>().prop_map(Op::End),
        1 => any::<usize>().prop_map(Op::Gone),
        4 => (1_i64..60).prop_map(Op::Later),
    ]
}

proptest! {
    #[test]
    fn lines_decide_nothing(ops in prop::collection::vec(an_op(), 1..60), time_slicing in any::<bool>()) {
        let mut worlds = [true, false].map(|apart| World::new(time_slicing, apart, "gpu=4"));
        let mut now = 1000 * MINUTE;
        for (number, op) in ops.into_iter().enumerate() {
            let mut until = now;
            if let Op::Later(minutes) = op {
                until += minutes * MINUTE;
            }
            for world in &mut worlds {
                let ids = |runs: bool| -> Vec<WorkloadId> {
                    let all = world.requests.values().filter(|one| one.current.is_empty() != runs);
                    all.map(|one| one.id.clone()).collect()
                };
                match op {
                    Op::Submit(gpus, minutes) => {
                        let runtime = minutes.map(|minutes| minutes * MINUTE);
                        world.submit(&format!("w{:03}", number * 37 % 100), gpus, runtime, now);
                    }
                    Op::End(at) => {
                        let running = ids(true);
                        if let Some(id) = running.get(at % running.len().max(1)) {
                            world.end(id);
                        }
                    }
                    // Where time alone may help, those behind who is gone need not wait for their time.
                    Op::Gone(at) if !time_slicing => {
                        let waiting = ids(false);
                        if let Some(id) = waiting.get(at % waiting.len().max(1)) {
                            world.end(id);
                        }
                    }
                    Op::Gone(_) | Op::Later(_) => {}
                }
            }
            loop {
                let [apart, lines] = worlds.each_mut().map(|world| world.cycle(now));
                if worlds.iter().any(World::may_not_ask_again) {
                    return Ok(());
                }
                prop_assert_eq!(apart, lines);
                let next = worlds.iter().flat_map(|world| world.wakes.values()).min().copied();
                match next.filter(|next| *next <= until && *next > now) {
                    Some(next) => now = next,
                    None => break,
                }
            }
            now = until;
        }
    }
}

/// How many are planned for so many ends, with so many waiting.
fn planned(waiting: usize) -> usize {
    let mut world = World::new(true, false, "gpu=8");
    let mut now = 1000 * MINUTE;
    for number in 0..waiting {
        let gpus = [1, 2, 4][number % 3];
        let minutes = 60 + i64::try_from(number * 7919 % 1000).unwrap();
        world.submit(&format!("w{number:06}"), gpus, Some(minutes * MINUTE), now);
        now += 1;
    }
    world.cycle(now);
    world.planned = 0;
    for _ in 0..50 {
        now += MINUTE;
        let first = world.running().remove(0);
        world.end(&first);
        world.cycle(now);
    }
    world.planned
}

#[test]
fn who_is_planned_does_not_grow_with_who_waits() {
    let (few, many) = (planned(100), planned(1_000));
    assert!(few <= 1_000 && many <= 1_000, "{few} {many}");
}
