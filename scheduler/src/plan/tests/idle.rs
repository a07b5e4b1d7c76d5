//! Spare nodes on the accounts: they count as use, never beyond a limit, and what guests use of them counts once.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::Strategy as Drawn;

use super::build::*;
use super::limits::{self, QUEUES, World, an_op};
use crate::fleet::{Event, WorkloadId};
use crate::plan::Request;

/// What happens.
#[derive(Clone, Debug)]
enum Op {
    Plain(limits::Op),
    /// A gang of so many pods with a whole node each, of this priority in this queue, that wants so many spares.
    Gang(i64, i32, usize, i64),
}

fn any_op() -> impl Drawn<Value = Op> {
    let gang = (1_i64..3, 0_i32..3, 0_usize..3, 1_i64..3);
    prop_oneof![
        3 => an_op().prop_map(Op::Plain),
        1 => gang.prop_map(|(pods, priority, queue, spares)| Op::Gang(pods, priority, queue, spares)),
    ]
}

fn submit(world: &mut World, id: &str, request: Request) {
    let request = Request {
        submitted_ms: world.now_ms,
        waits_since_ms: world.now_ms,
        ..request
    };
    let id = WorkloadId::from(id);
    world.requests.insert(id.clone(), request);
    world.settle(Event::nothing(), BTreeSet::from([id]));
}

fn used(world: &World, queue: &str) -> i64 {
    let shares = world.planner.shares();
    let used = shares.standings(shares.tree().home(queue)).used.resources;
    used.get(GPU).copied().unwrap_or(0) / 1000
}

/// GPUs that workloads of a queue use themselves.
fn own(world: &World, queue: &str) -> i64 {
    let of = world.requests.values().filter(|one| one.queue == queue);
    let gpus = |one: &Request| {
        let pods = one.current.iter().flat_map(|part| part.counts.values());
        pods.sum::<i64>() * one.pod_sets[0].requests.get(GPU)
    };
    of.map(gpus).sum()
}

fn train(queue: &str, pods: i64, spares: i64) -> Request {
    Request {
        queue: queue.to_owned(),
        spares,
        min_runtime_ms: 0,
        ..gang("train", pods, "gpu=4")
    }
}

#[test]
fn a_spare_is_use_and_a_guest_on_it_counts_instead() {
    let mut world = World::new();
    // Of eight under the limit, four are in use and four are kept.
    submit(&mut world, "train", train("c", 1, 1));
    assert_eq!((own(&world, "c"), used(&world, "c")), (4, 8));
    let guest = |id: &str, gpus: i64| Request {
        queue: "c".to_owned(),
        min_runtime_ms: 0,
        ..gang(id, 1, &format!("gpu={gpus}"))
    };
    submit(&mut world, "guest", guest("guest", 3));
    assert_eq!((own(&world, "c"), used(&world, "c")), (7, 8));
    submit(&mut world, "large", guest("large", 2));
    assert_eq!(
        world.runs().into_keys().collect::<Vec<_>>(),
        ["guest", "train"]
    );
    world.happen(0, &limits::Op::End(0));
    // What was asked for next has the place of the guest.
    assert_eq!(
        world.runs().into_keys().collect::<Vec<_>>(),
        ["large", "train"]
    );
    assert_eq!((own(&world, "c"), used(&world, "c")), (6, 8));
}

#[test]
fn a_gang_without_room_for_spares_runs_and_has_them_when_there_is_room() {
    let mut world = World::new();
    let firm = Request {
        queue: "c".to_owned(),
        preemptible: false,
        ..gang("firm", 1, "gpu=2")
    };
    submit(&mut world, "firm", firm);
    submit(&mut world, "train", train("c", 1, 1));
    assert_eq!((own(&world, "c"), used(&world, "c")), (6, 6));
    world.happen(0, &limits::Op::End(0));
    let train = world.requests[&WorkloadId::from("train")].id.clone();
    world.settle(Event::nothing(), BTreeSet::from([train]));
    assert_eq!((own(&world, "c"), used(&world, "c")), (4, 8));
    world.happen(1, &limits::Op::Submit(4, 0, 2, true));
    assert_eq!(world.runs().into_keys().collect::<Vec<_>>(), ["train"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn spares_never_break_a_limit_and_count_once(ops in prop::collection::vec(any_op(), 1..30)) {
        let mut world = World::new();
        for (number, op) in ops.iter().enumerate() {
            match op {
                Op::Plain(op) => world.happen(number, op),
                Op::Gang(pods, priority, queue, spares) => {
                    let id = format!("g{number:02}");
                    let request = Request {
                        priority: *priority,
                        spares: *spares,
                        queue: QUEUES[*queue].to_owned(),
                        ..gang(&id, *pods, "gpu=4")
                    };
                    submit(&mut world, &id, request);
                }
            }
            let mut all = 0;
            for (queue, limit) in [("a", 4), ("b", 7), ("c", 8), ("team", 7)] {
                let used = used(&world, queue);
                prop_assert!(used <= limit, "{queue} uses {used} after {op:?}");
                let own = own(&world, queue);
                prop_assert!(own <= used, "{queue} uses {own} itself after {op:?}");
                all += own;
            }
            // Each GPU is on one account, be it in use or kept.
            prop_assert!(used(&world, "") <= 12, "{} of 12 after {op:?}: {all} in use", used(&world, ""));
        }
    }
}
