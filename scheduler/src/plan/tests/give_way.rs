//! Who gives way, and who does not.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{Strategy, TopologyMode};
use placement_api::reason::Reason;
use proptest::prelude::*;

use super::build::{add, divide, fleet, gang, in_one, node, settled};
use crate::fleet::{Fleet, WorkloadId};
use crate::plan::{Decision, Outcome, Planner, Request, Step};
use crate::shares::{QueueSpec, QueueTree};

const HOUR: i64 = 3_600_000;

/// A fleet with a planner that has seen everything since the beginning.
struct World {
    fleet: Fleet,
    planner: Planner,
    live: BTreeMap<WorkloadId, Request>,
}

impl World {
    /// Nodes of 4 GPUs, two to a rack.
    fn new(nodes: usize) -> Self {
        let mut fleet = fleet();
        let all: Vec<_> = (0..nodes)
            .map(|n| {
                let labels = format!("zone=z1 rack=r{}", n / 2);
                node(&format!("n{n}"), &labels, "gpu=4 cpu=32 pods=110")
            })
            .collect();
        add(&mut fleet, "east", "region=eu", &all);
        Self {
            fleet,
            planner: Planner::new(),
            live: BTreeMap::new(),
        }
    }

    /// Plans one; what it gets runs at once, since one hour after the beginning of time.
    fn run(&mut self, request: Request) -> Decision {
        let decision = self.plan(&request, HOUR);
        let mut next = settled(&request, &decision);
        for part in &mut next.current {
            part.started_ms = Some(HOUR);
        }
        self.planner.adopt(&mut self.fleet, &next);
        self.live.insert(next.id.clone(), next);
        decision
    }

    fn queues(&mut self, specs: &[QueueSpec]) {
        let (tree, problems) = QueueTree::new(specs.to_vec());
        assert!(problems.is_empty(), "{problems:?}");
        self.planner.set_queues(tree);
    }

    fn plan(&mut self, request: &Request, now_ms: i64) -> Decision {
        self.evicted(request, now_ms).0
    }

    /// The decision about a claimant, and who gives way to it.
    fn evicted(&mut self, request: &Request, now_ms: i64) -> (Decision, Vec<Decision>) {
        let (mut decisions, _) =
            self.planner
                .plan(&mut self.fleet, std::slice::from_ref(request), now_ms);
        let own = decisions.remove(0);
        (own, decisions)
    }
}

fn job(id: &str, pods: i64, gpus: i64, priority: i32) -> Request {
    Request {
        priority,
        min_runtime_ms: 0,
        ..gang(id, pods, &format!("gpu={gpus} cpu=1"))
    }
}

fn names(decisions: &[Decision]) -> Vec<String> {
    decisions.iter().map(|one| one.id.to_string()).collect()
}

/// Makes one thing different.
type Change = fn(&mut Request);

#[test]
fn grounds_and_protection() {
    let table: [(&str, Change, Change, &[&str]); 8] = [
        ("higher priority", |_| {}, |c| c.priority = 10, &["old"]),
        ("equal priority", |_| {}, |_| {}, &[]),
        ("lower priority", |v| v.priority = 5, |_| {}, &[]),
        (
            "not preemptible",
            |v| v.preemptible = false,
            |c| c.priority = 10,
            &[],
        ),
        (
            "inside its minimum run time",
            |v| v.min_runtime_ms = 2 * HOUR,
            |c| c.priority = 10,
            &[],
        ),
        (
            "another queue",
            |v| v.queue = "other".to_owned(),
            |c| c.priority = 10,
            &[],
        ),
        (
            "a claimant that would still not fit",
            |_| {},
            |c| {
                c.priority = 10;
                c.pod_sets[0].count = 9;
            },
            &[],
        ),
        (
            "a claimant that is suspended",
            |_| {},
            |c| {
                c.priority = 10;
                c.suspended = true;
            },
            &[],
        ),
    ];
    for (case, victim, claimant, expected) in table {
        let mut world = World::new(1);
        world.queues(&[QueueSpec {
            name: "other".to_owned(),
            ..QueueSpec::default()
        }]);
        let mut old = job("old", 1, 4, 0);
        victim(&mut old);
        world.run(old);
        let mut new = job("new", 1, 4, 0);
        claimant(&mut new);
        let (decision, others) = world.evicted(&new, 2 * HOUR);
        assert_eq!(names(&others), expected, "{case}");
        let outcome = if expected.is_empty() {
            Outcome::Wait
        } else {
            Outcome::Place
        };
        assert_eq!(decision.outcome, outcome, "{case}");
        if let [other] = &others[..] {
            assert_eq!(other.leaving[0].step, Step::Now);
            assert_eq!(other.leaving[0].reason, Reason::PreemptedByPriority);
            assert_eq!(
                other.explanation.message,
                "gives way to Job default/new, which has priority 10 over 0"
            );
            assert_eq!(
                decision.parts[0].after,
                [(other.id.clone(), other.leaving[0].target.clone())].into(),
                "it starts when the room is seen free"
            );
        }
    }
}

#[test]
fn nobody_gives_way_to_who_fits_elsewhere() {
    let mut world = World::new(2);
    world.run(job("old", 1, 4, 0));
    let (decision, others) = world.evicted(&job("new", 1, 4, 10), 2 * HOUR);
    assert_eq!((decision.outcome, others.len()), (Outcome::Place, 0));
}

#[test]
fn the_cheapest_go() {
    // Lowest priority first, then least lost work, then fewest.
    let mut world = World::new(3);
    world.run(job("a-low", 1, 4, 1));
    world.run(job("b-lower", 1, 4, 0));
    world.run(job("c-saved", 1, 4, 0));
    let saved = world.live.get_mut(&WorkloadId::from("c-saved"));
    let mut saved = saved.expect("it runs").clone();
    saved.checkpoint_ms = Some(2 * HOUR - 1000);
    world.planner.adopt(&mut world.fleet, &saved);
    let (_, others) = world.evicted(&job("new", 1, 4, 10), 2 * HOUR);
    assert_eq!(names(&others), ["c-saved"]);
    let (_, others) = world.evicted(&job("newer", 1, 4, 10), 2 * HOUR);
    assert_eq!(names(&others), ["b-lower"]);
    let (_, others) = world.evicted(&job("newest", 1, 4, 10), 2 * HOUR);
    assert_eq!(names(&others), ["a-low"]);
    let (decision, others) = world.evicted(&job("too-late", 1, 4, 10), 2 * HOUR);
    assert_eq!((decision.outcome, others.len()), (Outcome::Wait, 0));
}

#[test]
fn only_as_many_as_needed_and_gangs_whole() {
    let mut world = World::new(2);
    world.run(job("big", 2, 3, 0));
    for name in ["s1", "s2"] {
        world.run(job(name, 1, 1, 0));
    }
    // One GPU more than is free: a small one is enough, the gang is left alone.
    let (_, others) = world.evicted(&job("one", 1, 1, 10), HOUR + 1000);
    assert_eq!(names(&others), ["s1"]);
    let (decision, others) = world.evicted(&job("whole", 1, 4, 10), HOUR + 2000);
    assert_eq!(
        names(&others),
        ["big", "s2"],
        "no node but s2's is without the claimant above"
    );
    assert_eq!(decision.outcome, Outcome::Place);
    let big = &others[0];
    assert_eq!(
        (big.parts.len(), big.leaving.len()),
        (0, 1),
        "a gang goes whole"
    );
}

#[test]
fn a_gang_needs_its_rack() {
    let mut world = World::new(4);
    for (name, priority) in [("a", 0), ("b", 5), ("c", 1), ("d", 1)] {
        world.run(job(name, 1, 4, priority));
    }
    let mut claimant = job("new", 2, 4, 10);
    claimant.topology = in_one("rack", TopologyMode::Required);
    let (decision, others) = world.evicted(&claimant, 2 * HOUR);
    assert_eq!(
        names(&others),
        ["c", "d"],
        "rack r1 costs less than r0 with b"
    );
    assert_eq!(
        decision.parts[0].domain.get("rack").map(String::as_str),
        Some("r1")
    );
}

#[test]
fn who_has_shrunk_is_woken_when_there_is_room_again() {
    let mut world = World::new(1);
    let mut elastic = job("elastic", 4, 1, 0);
    elastic.pod_sets[0].min_count = Some(1);
    world.run(elastic);
    let claimant = job("new", 1, 2, 10);
    let (_, others) = world.evicted(&claimant, 2 * HOUR);
    assert_eq!(names(&others), ["elastic"]);
    let end = Request {
        finished: true,
        ..claimant
    };
    let ends = std::slice::from_ref(&end);
    let (_, report) = world.planner.plan(&mut world.fleet, ends, 3 * HOUR);
    let woken = world.planner.wake(&report.freed);
    assert!(woken.contains(&WorkloadId::from("elastic")), "{woken:?}");
}

#[test]
fn the_elastic_shrink_first() {
    let mut world = World::new(2);
    let mut elastic = job("elastic", 4, 1, 0);
    elastic.pod_sets[0].min_count = Some(2);
    world.run(elastic);
    world.run(job("rigid", 1, 4, 0));
    let (decision, others) = world.evicted(&job("new", 1, 2, 10), 2 * HOUR);
    assert_eq!(decision.outcome, Outcome::Place);
    assert_eq!(names(&others), ["elastic"]);
    assert!(others[0].leaving.is_empty(), "to shrink is no eviction");
    assert_eq!(others[0].parts[0].counts["main"], 2);
    assert_eq!(
        others[0].parts[0].nodes.iter().map(|n| n.pods).sum::<i64>(),
        2
    );
    let (_, others) = world.evicted(&job("newer", 1, 3, 10), 2 * HOUR);
    assert_eq!(
        names(&others),
        ["rigid"],
        "what is left of it would have to go whole as well"
    );
}

#[test]
fn who_waits_for_a_minimum_run_time_is_woken_when_it_ends() {
    let mut world = World::new(1);
    let mut old = job("old", 1, 4, 0);
    old.min_runtime_ms = 2 * HOUR;
    world.run(old);
    let new = job("new", 1, 4, 10);
    let (decisions, report) =
        world
            .planner
            .plan(&mut world.fleet, std::slice::from_ref(&new), 2 * HOUR);
    assert_eq!(decisions[0].outcome, Outcome::Wait);
    assert_eq!(report.wake_ms.get(&new.id), Some(&(3 * HOUR)));
    let (decision, others) = world.evicted(&new, 3 * HOUR);
    assert_eq!(
        (decision.outcome, names(&others)),
        (Outcome::Place, vec!["old".to_owned()])
    );
}

#[test]
fn replicas_give_way_one_by_one() {
    let mut world = World::new(1);
    let web = Request {
        min_runtime_ms: 0,
        strategy: Strategy::Divide,
        ..divide("web", 4, "gpu=1 cpu=1")
    };
    world.run(web);
    let (_, others) = world.evicted(&job("new", 1, 3, 10), 2 * HOUR);
    assert_eq!(names(&others), ["web"]);
    assert_eq!(others[0].parts[0].counts["main"], 1, "one replica stays");
}

#[test]
fn nobody_twice_to_the_same() {
    let mut world = World::new(1);
    world.run(job("old", 1, 4, 0));
    let claimant = job("new", 1, 4, 10);
    let (_, others) = world.evicted(&claimant, 2 * HOUR);
    assert_eq!(names(&others), ["old"]);
    // The claimant leaves again, the victim is back, and the claimant returns.
    let old = world.live[&WorkloadId::from("old")].clone();
    world.planner.plan(
        &mut world.fleet,
        &[Request {
            suspended: true,
            ..claimant.clone()
        }],
        2 * HOUR,
    );
    world.fleet.release_all(&old.id);
    world.planner.adopt(&mut world.fleet, &old);
    let (decision, others) = world.evicted(&claimant, 4 * HOUR);
    assert_eq!((decision.outcome, others.len()), (Outcome::Wait, 0));
}

/// Queues with so many GPUs guaranteed.
fn guaranteed(list: &[(&str, i64)]) -> Vec<QueueSpec> {
    list.iter()
        .map(|(name, gpus)| QueueSpec {
            name: (*name).to_owned(),
            guaranteed: [(super::build::GPU.to_owned(), *gpus)]
                .into_iter()
                .collect(),
            ..QueueSpec::default()
        })
        .collect()
}

fn of(queue: &str, request: Request) -> Request {
    Request {
        queue: queue.to_owned(),
        ..request
    }
}

#[test]
fn an_entitled_queue_takes_its_guarantee_back() {
    let mut world = World::new(2);
    world.queues(&guaranteed(&[("a", 4), ("b", 4)]));
    for name in ["b1", "b2", "b3", "b4"] {
        world.run(of("b", job(name, 1, 2, 0)));
    }
    // b borrows what a does not use; a wants one device, then all of its own, then more.
    let (decision, others) = world.evicted(&of("a", job("a1", 1, 2, 0)), 2 * HOUR);
    assert_eq!(
        (decision.outcome, names(&others).len()),
        (Outcome::Place, 1)
    );
    assert_eq!(
        others[0].leaving[0].reason,
        Reason::ReclaimedByEntitledQueue
    );
    assert_eq!(
        others[0].explanation.message,
        "gives way to Job default/a1 of queue a, which is entitled to this room"
    );
    let (_, others) = world.evicted(&of("a", job("a2", 1, 2, 0)), 2 * HOUR);
    assert_eq!(names(&others).len(), 1);
    let (decision, others) = world.evicted(&of("a", job("a3", 1, 2, 0)), 2 * HOUR);
    assert_eq!(
        (decision.outcome, others.len()),
        (Outcome::Wait, 0),
        "b has no more than its own"
    );
}

#[test]
fn a_limit_holds_whatever_is_free_and_a_queue_at_it_evicts_its_own() {
    let mut world = World::new(2);
    let limited = QueueSpec {
        name: "a".to_owned(),
        limit: [(super::build::GPU.to_owned(), 4)].into(),
        ..QueueSpec::default()
    };
    world.queues(&[limited]);
    world.run(of("a", job("low", 1, 4, 0)));
    let decision = world.run(of("a", job("same", 1, 2, 0)));
    assert_eq!(decision.outcome, Outcome::Wait);
    assert_eq!(decision.explanation.reason, Some(Reason::QueueLimit));
    assert!(
        decision.explanation.message.contains("limit of 4"),
        "{}",
        decision.explanation.message
    );
    let (decision, others) = world.evicted(&of("a", job("high", 1, 2, 5)), 2 * HOUR);
    assert_eq!(
        (decision.outcome, names(&others)),
        (Outcome::Place, vec!["low".to_owned()])
    );
}

#[test]
fn the_strongest_claim_starts_first_and_idle_room_is_lent() {
    let mut world = World::new(2);
    world.queues(&guaranteed(&[("a", 6), ("b", 0)]));
    // Both want everything; in the same cycle a gets its guarantee and half of the rest, b the other half.
    let requests: Vec<Request> = (0..8)
        .flat_map(|n| {
            [
                of("a", job(&format!("a{n}"), 1, 1, 0)),
                of("b", job(&format!("b{n}"), 1, 1, 0)),
            ]
        })
        .collect();
    let (decisions, _) = world.planner.plan(&mut world.fleet, &requests, HOUR);
    let placed = |queue: &str| {
        decisions
            .iter()
            .filter(|one| one.id.as_str().starts_with(queue) && one.outcome == Outcome::Place)
            .count()
    };
    assert_eq!((placed("a"), placed("b")), (7, 1));
    let mut world = World::new(2);
    world.queues(&guaranteed(&[("a", 6), ("b", 0)]));
    let alone: Vec<Request> = requests
        .into_iter()
        .filter(|one| one.queue == "b")
        .collect();
    let (decisions, _) = world.planner.plan(&mut world.fleet, &alone, HOUR);
    assert!(
        decisions.iter().all(|one| one.outcome == Outcome::Place),
        "what a does not use is lent"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// One pod: no set of victims that makes room costs less, by trying all of them.
    #[test]
    fn one_pod_evicts_the_cheapest_set(
        running in prop::collection::vec((1_i64..=3, 0_i32..3), 1..8),
        asks in 1_i64..=4,
    ) {
        let mut world = World::new(2);
        for (position, (gpus, priority)) in running.iter().enumerate() {
            let decision = world.run(job(&format!("w{position}"), 1, *gpus, *priority));
            if decision.outcome != Outcome::Place {
                world.live.remove(&decision.id);
                world.planner.forget(&decision.id);
            }
        }
        // Those who had to give way while the fleet was filled do not run.
        let running: Vec<Request> = world
            .live
            .values()
            .filter(|one| {
                let target = world.fleet.target("east").expect("east");
                target.held(&one.id).is_some_and(|hold| hold.passed_on.is_empty())
            })
            .cloned()
            .collect();
        let claimant = job("claimant", 1, asks, 2);
        let node_of = |one: &Request| one.current[0].nodes[0].name.clone();
        let gpus = |one: &Request| one.pod_sets[0].requests.get(super::build::GPU);
        let fits = |gone: &BTreeSet<WorkloadId>| {
            ["n0", "n1"].iter().any(|node| {
                let used: i64 = running
                    .iter()
                    .filter(|one| node_of(one) == *node && !gone.contains(&one.id))
                    .map(gpus)
                    .sum();
                4 - used >= asks
            })
        };
        let cost = |gone: &BTreeSet<WorkloadId>| {
            let all = || running.iter().filter(|one| gone.contains(&one.id));
            (all().map(|one| one.priority).max(), all().map(gpus).sum::<i64>(), gone.len())
        };
        let victims: Vec<&Request> = running.iter().filter(|one| one.priority < 2).collect();
        let best = (0_u32..1 << victims.len())
            .map(|subset| {
                victims
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| subset & (1 << at) != 0)
                    .map(|(_, one)| one.id.clone())
                    .collect::<BTreeSet<_>>()
            })
            .filter(|gone| fits(gone))
            .map(|gone| cost(&gone))
            .min();
        let (decision, others) = world.evicted(&claimant, 2 * HOUR);
        let gone: BTreeSet<WorkloadId> = others.iter().map(|one| one.id.clone()).collect();
        prop_assert_eq!(decision.outcome == Outcome::Place, best.is_some());
        if let Some(best) = best {
            prop_assert_eq!(cost(&gone), best, "{:?}", gone);
        }
    }
}

/// Plans everything again and again, as the shell does: who gave way is gone in the next round and waits. Returns the evictions
/// of each round until nothing happens any more.
fn rounds(
    world: &mut World,
    all: &mut BTreeMap<WorkloadId, Request>,
) -> Vec<Vec<(String, String)>> {
    let mut history = Vec::new();
    for round in 0..60 {
        let now = 2 * HOUR + round * 1000;
        let requests: Vec<Request> = all.values().cloned().collect();
        let (decisions, _) = world.planner.plan(&mut world.fleet, &requests, now);
        let changed = decisions.iter().any(|one| one.outcome == Outcome::Place);
        let mut evicted = Vec::new();
        for decision in decisions {
            let before = &all[&decision.id];
            let mut next = settled(before, &decision);
            for part in &mut next.current {
                let old = before.current.iter().find(|old| old.target == part.target);
                part.started_ms = old.and_then(|old| old.started_ms).or(Some(now));
            }
            for leaving in &decision.leaving {
                evicted.push((decision.id.to_string(), leaving.message.clone()));
            }
            all.insert(decision.id.clone(), next);
        }
        history.push(evicted);
        if !changed {
            return history;
        }
    }
    panic!("it does not end: {history:?}");
}

fn jobs() -> impl proptest::strategy::Strategy<Value = Vec<(usize, i64, i64, i32)>> {
    prop::collection::vec((0_usize..3, 1_i64..=2, 1_i64..=4, 0_i32..3), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    /// On random fleets, trees and workloads it comes to rest, never gives a device away twice, and then stays as it is.
    #[test]
    fn it_ends_and_nothing_flaps(
        nodes in 1_usize..4,
        owned in prop::collection::vec(0_i64..6, 3),
        first in jobs(),
        second in jobs(),
    ) {
        let mut world = World::new(nodes);
        let names = ["a", "b", "c"];
        let list: Vec<(&str, i64)> = names.iter().copied().zip(owned).collect();
        world.queues(&guaranteed(&list));
        let mut all: BTreeMap<WorkloadId, Request> = BTreeMap::new();
        let mut pairs: BTreeSet<(String, String)> = BTreeSet::new();
        for (wave, list) in [first, second].into_iter().enumerate() {
            for (at, (queue, pods, gpus, priority)) in list.into_iter().enumerate() {
                let request = of(names[queue], job(&format!("w{wave}-{at}"), pods, gpus, priority));
                all.insert(request.id.clone(), request);
            }
            for evicted in rounds(&mut world, &mut all).into_iter().flatten() {
                prop_assert!(pairs.insert(evicted.clone()), "twice: {evicted:?}");
            }
            for node in 0..nodes {
                let used: i64 = all
                    .values()
                    .flat_map(|one| one.current.iter().map(move |part| (one, part)))
                    .flat_map(|(one, part)| part.nodes.iter().map(move |share| (one, share)))
                    .filter(|(_, share)| share.name == format!("n{node}"))
                    .map(|(one, share)| share.pods * one.pod_sets[0].requests.get(super::build::GPU))
                    .sum();
                prop_assert!(used <= 4, "n{node} has 4 GPUs and {used} are given away");
            }
            for one in all.values() {
                let runs: i64 = one.current.iter().flat_map(|part| part.counts.values()).sum();
                prop_assert!(runs == 0 || runs == one.pod_sets[0].count, "a gang runs in part");
            }
        }
    }
}
