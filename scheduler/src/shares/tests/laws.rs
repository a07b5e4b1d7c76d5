//! Laws of the division, on random trees.

use proptest::prelude::*;

use super::naive::{World, worlds};
use super::*;

/// Crumbs that rounding may leave, in thousandths of a unit: a grain for each queue. The grain of memory is a byte.
const CRUMBS: [i64; 3] = [20, 20_000, 20];

fn names(world: &World) -> Vec<String> {
    (0..world.queues.len())
        .map(|number| format!("q{number}"))
        .collect()
}

fn get(named: &Named, r: usize) -> i64 {
    let name = ["cpu", "memory", GPU][r];
    named.resources.get(name).copied().unwrap_or(0)
}

/// The same world with devices alone.
fn devices_only(mut world: World) -> World {
    let only = |row: &mut [i64; 3]| (row[0], row[1]) = (0, 0);
    only(&mut world.capacity);
    only(&mut world.root_demand);
    world
        .queues
        .iter_mut()
        .for_each(|queue| only(&mut queue.demand));
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobody_gets_more_than_limit_demand_or_parent(world in worlds(false)) {
        let shares = world.shares();
        for (number, name) in names(&world).iter().enumerate() {
            let queue = shares.id(name);
            let standings = shares.standings(queue);
            for r in 0..3 {
                let entitled = get(&standings.entitled, r);
                prop_assert!(entitled <= get(&standings.waiting, r));
                if let Some(limit) = world.queues[number].limit[r] {
                    prop_assert!(entitled <= limit * 1000);
                }
            }
        }
        for queue in shares.tree().ids() {
            let mut sum = vec![0; shares.dims.len()];
            for child in shares.tree().children(queue) {
                for (cell, amount) in sum.iter_mut().zip(shares.division.entitled.row(child.0)) {
                    *cell += amount;
                }
            }
            for (dim, sum) in sum.into_iter().enumerate() {
                prop_assert!(sum <= shares.division.entitled.row(queue.0)[dim]);
            }
        }
        for (r, capacity) in world.capacity.iter().enumerate() {
            prop_assert!(get(&shares.standings(QueueTree::ROOT).entitled, r) <= capacity * 1000);
        }
    }

    #[test]
    fn nothing_idles_that_somebody_could_use(world in worlds(true)) {
        let shares = world.shares();
        let root = shares.standings(QueueTree::ROOT);
        for (r, crumbs) in CRUMBS.into_iter().enumerate() {
            // What is wanted, limits on every level applied.
            let mut wanted: Vec<i64> = world.queues.iter().map(|queue| queue.demand[r]).collect();
            let mut all = world.root_demand[r];
            for number in (0..world.queues.len()).rev() {
                let queue = &world.queues[number];
                let capped = wanted[number].min(queue.limit[r].unwrap_or(i64::MAX));
                match queue.parent {
                    Some(parent) => wanted[parent] += capped,
                    None => all += capped,
                }
            }
            let expected = all.min(world.capacity[r]) * 1000;
            let got = get(&root.entitled, r);
            prop_assert!(got >= expected - crumbs, "{}: {} of {}", r, got, expected);
        }
    }

    #[test]
    fn guarantees_are_met_where_they_fit(world in worlds(false)) {
        let shares = world.shares();
        for r in 0..3 {
            let top: Vec<usize> = (0..world.queues.len())
                .filter(|number| world.queues[*number].parent.is_none())
                .collect();
            let guaranteed = |number: usize| get(&shares.standings(shares.id(&format!("q{number}"))).guaranteed, r);
            if top.iter().map(|number| guaranteed(*number)).sum::<i64>() > world.capacity[r] * 1000 {
                continue;
            }
            for number in top {
                let queue = &world.queues[number];
                if world.queues.iter().any(|other| other.parent == Some(number)) {
                    continue;
                }
                let entitled = shares.entitled(&format!("q{number}"), ["cpu", "memory", "gpu"][r]);
                let due = guaranteed(number).min(queue.demand[r] * 1000);
                prop_assert!(entitled >= due - 1, "q{}: {} of {}", number, entitled, due);
            }
        }
    }

    #[test]
    fn the_order_of_insertion_does_not_matter(world in worlds(false), seed: u64) {
        let shares = world.shares();
        let mut specs = world.specs();
        let rotate = usize::try_from(seed % specs.len() as u64).expect("small");
        specs.rotate_left(rotate);
        if seed % 2 == 0 {
            specs.reverse();
        }
        let (tree, problems) = QueueTree::new(specs);
        prop_assert!(problems.is_empty());
        let mut other = Shares::new(tree);
        world.ask_all(&mut other);
        other.set_capacity(Capacity {
            resources: vector(&World::pairs(&world.capacity)),
            products: BTreeMap::new(),
        });
        other.divide();
        for name in names(&world) {
            prop_assert_eq!(shares.standings(shares.id(&name)), other.standings(other.id(&name)));
        }
    }

    /// With one resource: with several, dominant shares are not monotone, as everybody knows.
    #[test]
    fn more_weight_never_means_less(world in worlds(true), at: prop::sample::Index, by in 1_u32..5) {
        let world = devices_only(world);
        let at = at.index(world.queues.len());
        let before = world.shares();
        let mut heavier = world.clone();
        heavier.queues[at].weight += by;
        let after = heavier.shares();
        let name = format!("q{at}");
        prop_assert!(after.entitled(&name, "gpu") >= before.entitled(&name, "gpu") - 1);
    }

    #[test]
    fn more_capacity_never_means_less(world in worlds(true), by in 1_i64..5000) {
        let world = devices_only(world);
        let before = world.shares();
        let mut larger = world.clone();
        larger.capacity[2] += by;
        let after = larger.shares();
        for name in names(&world) {
            prop_assert!(after.entitled(&name, "gpu") >= before.entitled(&name, "gpu") - CRUMBS[2], "{}", name);
        }
    }

    /// Whatever comes and goes, the result is that of a division from the beginning; and opposites undo each other.
    #[test]
    fn counting_on_is_counting_anew(
        world in worlds(false),
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, 0_i64..3000, any::<bool>()), 1..12),
    ) {
        let mut shares = world.shares();
        let mut lines: Vec<(QueueId, u8, Ask, bool)> = Vec::new();
        for (at, what, amount, flag) in steps {
            let queue = shares.id(&format!("q{}", at.index(world.queues.len())));
            let ask = shares.ask(&vector(&[("gpu", amount), ("cpu", amount / 3)]), &Devices::default());
            match what {
                0 => shares.wait(queue, &ask),
                1 => shares.charge(queue, &ask, flag),
                _ if lines.is_empty() => {}
                2 => {
                    let (queue, what, ask, flag) = lines.remove(at.index(lines.len()));
                    if what == 0 { shares.unwait(queue, &ask) } else { shares.refund(queue, &ask, flag) }
                }
                _ => shares.divide(),
            }
            if what < 2 {
                lines.push((queue, what, ask, flag));
            }
        }
        shares.divide();
        let mut fresh = world.shares();
        for (queue, what, ask, flag) in &lines {
            if *what == 0 { fresh.wait(*queue, ask) } else { fresh.charge(*queue, ask, *flag) }
        }
        fresh.divide();
        let probe = shares.gpus(500);
        for queue in shares.tree().ids() {
            prop_assert_eq!(shares.standings(queue), fresh.standings(queue));
            for preemptible in [true, false] {
                prop_assert_eq!(
                    shares.may_start(queue, &probe, preemptible),
                    fresh.may_start(queue, &probe, preemptible)
                );
            }
        }
        // What if the last were gone, and back again.
        if let Some((queue, 1, ask, flag)) = lines.last() {
            shares.refund(*queue, ask, *flag);
            shares.charge(*queue, ask, *flag);
            for one in shares.tree().ids() {
                prop_assert_eq!(shares.standings(one), fresh.standings(one));
                prop_assert_eq!(shares.would_pin(one, &probe), fresh.would_pin(one, &probe));
                prop_assert_eq!(shares.keeps_out(one, &probe), fresh.keeps_out(one, &probe));
            }
        }
    }
}
