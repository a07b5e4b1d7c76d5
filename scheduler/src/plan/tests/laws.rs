//! The seven laws of preemption of YuniKorn, on random trees of queues; where ours differ on purpose the law says so.
//!
//! 1. Nobody gives way in vain: whoever takes room starts, whole.
//! 2. No queue is left below its guarantee, except by the one gang that reaches across that line, for a claim within a guarantee.
//! 3. Nobody takes room from itself.
//! 4. Room of another queue is taken only for a queue that is below its entitlement (YuniKorn: its guarantee).
//! 5. Only who is above its guarantee loses anything to another queue.
//! 6. Inside a queue only lower priority gives way (YuniKorn: or equal). Between queues entitlement decides, not priority.
//! 7. What is short only because a branch of the tree is at its limit is paid inside that branch (YuniKorn: inside a fence).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::build::{GPU, add, fleet, gang, node, settled};
use crate::fleet::{Fleet, WorkloadId};
use crate::plan::{Decision, Outcome, Planner, Request};
use crate::shares::{QueueSpec, QueueTree};

const HOUR: i64 = 3_600_000;
const PER_NODE: i64 = 4;
/// Leaves of the tree: `a` and `b` are under `p`, `c` is under the root.
const QUEUES: [&str; 3] = ["a", "b", "c"];

/// Queues with their guarantees, and the limit of `p`.
#[derive(Clone, Debug)]
struct Owned {
    guaranteed: [i64; 3],
    limit: Option<i64>,
}

/// Queue, pods, GPUs of each, priority.
type Job = (usize, i64, i64, i32);

struct World {
    fleet: Fleet,
    planner: Planner,
    live: BTreeMap<WorkloadId, Request>,
    owned: Owned,
}

impl Owned {
    fn specs(&self) -> Vec<QueueSpec> {
        let amount = |gpus: i64| BTreeMap::from([(GPU.to_owned(), gpus)]);
        let leaf = |(name, gpus): (&str, i64)| QueueSpec {
            name: name.to_owned(),
            parent: if name == "c" { "" } else { "p" }.to_owned(),
            guaranteed: amount(gpus),
            ..QueueSpec::default()
        };
        let parent = QueueSpec {
            name: "p".to_owned(),
            limit: self.limit.map(amount).unwrap_or_default(),
            ..QueueSpec::default()
        };
        let leaves = QUEUES.into_iter().zip(self.guaranteed).map(leaf);
        std::iter::once(parent).chain(leaves).collect()
    }

    /// Thousandths of a GPU that are a leaf's or `p`'s own: guarantees that do not fit the limit of `p` are cut alike.
    fn of(&self, queue: &str) -> i64 {
        let sum = self.guaranteed[0] + self.guaranteed[1];
        let both = sum.min(self.limit.unwrap_or(i64::MAX));
        match QUEUES.iter().position(|one| *one == queue) {
            Some(2) => self.guaranteed[2] * 1000,
            Some(at) => self.guaranteed[at] * 1000 * both / sum.max(1),
            None => both * 1000,
        }
    }
}

fn size(request: &Request) -> i64 {
    let set = &request.pod_sets[0];
    set.count * set.requests.get(GPU)
}

/// The branch of a queue as another one sees it: its own name inside `p`, the child of the root outside.
fn branch<'a>(queue: &'a str, seen_from: &str) -> &'a str {
    if queue != "c" && seen_from == "c" {
        "p"
    } else {
        queue
    }
}

impl World {
    fn new(nodes: usize, mut owned: Owned) -> Self {
        // Guarantees that do not fit are cut by what is asked just then; here they fit.
        let mut left = PER_NODE * i64::try_from(nodes).expect("few");
        for gpus in &mut owned.guaranteed {
            *gpus = left.min(*gpus);
            left -= *gpus;
        }
        let mut fleet = fleet();
        let all: Vec<_> = (0..nodes)
            .map(|n| {
                node(
                    &format!("n{n}"),
                    "zone=z1 rack=r1",
                    &format!("gpu={PER_NODE} pods=110"),
                )
            })
            .collect();
        add(&mut fleet, "east", "", &all);
        let mut planner = Planner::new();
        let (tree, problems) = QueueTree::new(owned.specs());
        assert!(problems.is_empty(), "{problems:?}");
        planner.set_queues(tree);
        Self {
            fleet,
            planner,
            live: BTreeMap::new(),
            owned,
        }
    }

    /// GPUs that a leaf or `p` uses.
    fn used(&self, queue: &str) -> i64 {
        let inside = |one: &&Request| one.queue == queue || queue == "p" && one.queue != "c";
        let running = self.live.values().filter(|one| !one.current.is_empty());
        running.filter(inside).map(size).sum()
    }

    fn entitled(&self, queue: &str) -> i64 {
        let shares = self.planner.shares();
        let id = shares.tree().find(queue).expect("queue");
        let standings = shares.standings(id);
        standings.entitled.resources.get(GPU).copied().unwrap_or(0)
    }

    /// Plans one; says what was decided about it, and who gave way.
    fn plan(&mut self, request: &Request, now_ms: i64) -> (Decision, Vec<Request>) {
        let (decisions, _) =
            self.planner
                .plan(&mut self.fleet, std::slice::from_ref(request), now_ms);
        let mut victims = Vec::new();
        for decision in &decisions {
            let before = self.live.get(&decision.id).unwrap_or(request);
            if !decision.leaving.is_empty() {
                victims.push(before.clone());
            }
            let mut next = settled(before, decision);
            next.current
                .iter_mut()
                .for_each(|part| part.started_ms = Some(now_ms));
            self.live.insert(decision.id.clone(), next);
        }
        (decisions[0].clone(), victims)
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    (prop::array::uniform3(0_i64..6), prop::option::of(2_i64..9))
        .prop_map(|(guaranteed, limit)| Owned { guaranteed, limit })
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    prop::collection::vec((0_usize..3, 1_i64..=2, 1_i64..=3, 0_i32..3), 4..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_seven_laws_of_preemption(nodes in 1_usize..4, owned in owned(), jobs in jobs()) {
        let mut world = World::new(nodes, owned);
        let whole = PER_NODE * i64::try_from(nodes).expect("few");
        for (at, (queue, pods, gpus, priority)) in jobs.into_iter().enumerate() {
            let now = HOUR * i64::try_from(at + 1).expect("few");
            let request = Request {
                queue: QUEUES[queue].to_owned(),
                priority,
                min_runtime_ms: 0,
                submitted_ms: now,
                ..gang(&format!("w{at:02}"), pods, &format!("gpu={gpus}"))
            };
            let mine = request.queue.clone();
            let names = ["a", "b", "c", "p"];
            let before = names.map(|name| (name, world.used(name)));
            let before: BTreeMap<&str, i64> = before.into();
            let (decision, victims) = world.plan(&request, now);
            let after: BTreeMap<&str, i64> = names.map(|name| (name, world.used(name))).into();
            if let Some(limit) = world.owned.limit {
                prop_assert!(after["p"] <= limit, "p uses {} of {limit}", after["p"]);
            }
            if victims.is_empty() {
                continue;
            }
            prop_assert_eq!(decision.outcome, Outcome::Place, "1: {:?} gave way in vain", &victims);
            prop_assert_eq!(decision.pods(), pods, "1: not whole");
            // What it replaces in its own queue does not count.
            let own: i64 = victims.iter().filter(|one| one.queue == mine).map(size).sum();
            let grows = |queue: &str| (before[queue] - own + size(&request)) * 1000 <= world.owned.of(queue);
            let within = grows(&mine) || mine != "c" && grows("p");
            for victim in &victims {
                prop_assert_ne!(&victim.id, &request.id, "3");
                if victim.queue == mine {
                    prop_assert!(victim.priority < priority, "6: {:?}", victim.id);
                    continue;
                }
                let entitled = world.entitled(branch(&mine, &victim.queue));
                let (me, other) = (branch(&mine, &victim.queue), branch(&victim.queue, &mine));
                prop_assert!(before[me] * 1000 < entitled, "4: {} uses {} and is entitled to {}", me, before[me], entitled);
                prop_assert!(before[other] * 1000 > world.owned.of(other), "5: {} uses {} of {}", other, before[other], world.owned.of(other));
                let floor = world.owned.of(&victim.queue).min(before[victim.queue.as_str()] * 1000);
                let left = after[victim.queue.as_str()] * 1000;
                if left < floor {
                    let reaches = victims.iter().filter(|one| one.queue == victim.queue).map(size).max().unwrap_or(0);
                    prop_assert!(within && left + reaches * 1000 > floor, "2: {} is left with {left} of {floor}", victim.queue);
                }
            }
            let free = whole - before["p"] - before["c"];
            if let Some(limit) = world.owned.limit
                && mine != "c"
                && before["p"] + size(&request) > limit
                && gpus * pods <= free
                && nodes == 1
            {
                prop_assert!(victims.iter().all(|one| one.queue != "c"), "7: {victims:?}");
            }
        }
    }
}
