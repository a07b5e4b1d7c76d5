//! What the planner asks.

use placement_api::reason::Reason;

use super::*;

/// 16 devices; prod is guaranteed 8, research the rest of the surplus three to one.
fn two() -> Shares {
    shares(
        vec![
            queue("prod").guaranteed(&[("gpu", 8)]),
            queue("research").weight(3).limit(&[("gpu", 12)]),
            queue("vision").under("research"),
            queue("speech").under("research"),
        ],
        &[("gpu", 16)],
        &[],
    )
}

fn refusal(shares: &Shares, name: &str, ask: &Ask, preemptible: bool) -> (Reason, String) {
    let refusal = shares
        .may_start(shares.id(name), ask, preemptible)
        .expect_err("refused");
    (refusal.reason, refusal.message)
}

#[test]
fn strength_of_claims() {
    let mut shares = two();
    let (four, eight) = (shares.gpus(4), shares.gpus(8));
    let [prod, vision, speech] = ["prod", "vision", "speech"].map(|name| shares.id(name));
    shares.wait(prod, &eight);
    for queue in [vision, speech] {
        shares.wait(queue, &eight);
    }
    shares.divide();
    // prod 8, vision and speech 4 each.
    assert_eq!(shares.entitled("vision", "gpu"), 4000);
    assert_eq!(shares.standing(prod, &eight), Standing::Guaranteed);
    assert_eq!(shares.standing(vision, &four), Standing::Entitled);
    assert_eq!(shares.standing(vision, &eight), Standing::Reaches);
    shares.charge(vision, &four, true);
    assert_eq!(shares.standing(vision, &four), Standing::Borrows);
    // Nobody else wants anything: what is idle is its own as soon as it is divided.
    shares.unwait(prod, &eight);
    shares.unwait(speech, &eight);
    shares.divide();
    assert_eq!(shares.standing(vision, &four), Standing::Entitled);
}

#[test]
fn limits_of_all_levels_say_who_and_how_much() {
    let mut shares = two();
    let (four, eight) = (shares.gpus(4), shares.gpus(8));
    let [vision, speech] = ["vision", "speech"].map(|name| shares.id(name));
    shares.charge(vision, &eight, true);
    shares.divide();
    assert!(shares.may_start(speech, &four, true).is_ok());
    let (reason, message) = refusal(&shares, "speech", &eight, true);
    assert_eq!(reason, Reason::QueueLimit);
    assert_eq!(
        message,
        "queue research has a limit of 12 nvidia.com/gpu; 8 are used, 8 more are asked"
    );
    assert!(shares.may_start(shares.id("prod"), &eight, true).is_ok());
}

#[test]
fn zero_is_a_limit() {
    let mut shares = shares(
        vec![queue("none").limit(&[("gpu", 0)])],
        &[("gpu", 16)],
        &[],
    );
    let one = shares.gpus(1);
    assert_eq!(refusal(&shares, "none", &one, true).0, Reason::QueueLimit);
    let queue = shares.id("none");
    shares.wait(queue, &one);
    shares.divide();
    assert_eq!(shares.entitled("none", "gpu"), 0);
    assert!(shares.may_start(queue, &Ask::default(), true).is_ok());
}

#[test]
fn limits_of_products() {
    let mut shares = shares(
        vec![queue("q").product("H100", None, Some(2))],
        &[("gpu", 16)],
        &[],
    );
    let queue = shares.id("q");
    let (fast, any) = (shares.gpus_of("H100", 4), shares.gpus(4));
    assert!(shares.may_start(queue, &any, true).is_ok());
    let (reason, message) = refusal(&shares, "q", &fast, true);
    assert_eq!(reason, Reason::QueueLimit);
    assert!(message.contains("limit of 2 H100"), "{message}");
    let (one, two) = (shares.gpus_of("H100", 1), shares.gpus_of("H100", 2));
    let others = shares.gpus_of("A100", 4);
    assert_eq!(shares.limited_by(queue, &two), None);
    assert_eq!(shares.limited_by(queue, &others), None);
    shares.charge(queue, &one, true);
    assert_eq!(shares.limited_by(queue, &one), None);
    assert_eq!(shares.limited_by(queue, &two), Some(queue));
}

#[test]
fn what_is_kept_is_not_borrowed() {
    let mut shares = shares(
        vec![
            queue("keeper").guaranteed(&[("gpu", 8)]).keeps(),
            queue("other"),
            queue("third"),
        ],
        &[("gpu", 16)],
        &[],
    );
    let (four, eight) = (shares.gpus(4), shares.gpus(8));
    let [keeper, other, third] = ["keeper", "other", "third"].map(|name| shares.id(name));
    shares.wait(other, &eight);
    shares.wait(third, &eight);
    shares.divide();
    assert_eq!(shares.entitled("other", "gpu"), 4000);
    shares.unwait(other, &eight);
    shares.charge(other, &eight, true);
    let (reason, message) = refusal(&shares, "other", &four, true);
    assert_eq!(reason, Reason::ShareExhausted);
    assert_eq!(
        message,
        "queue other is entitled to 4 nvidia.com/gpu and uses 8; what is free beyond that is kept for queue keeper (8 nvidia.com/gpu, lend: false)"
    );
    // The third is entitled, but what is free is the keeper's: somebody has to give way first.
    assert_eq!(shares.may_start(third, &four, true), Ok(Standing::Entitled));
    assert!(shares.keeps_out(third, &four).is_some());
    shares.refund(other, &four, true);
    assert!(shares.keeps_out(third, &four).is_none());
    shares.charge(other, &four, true);
    // The keeper itself may use what is kept for it.
    shares.wait(keeper, &eight);
    shares.divide();
    assert_eq!(
        shares.may_start(keeper, &eight, true),
        Ok(Standing::Guaranteed)
    );
    assert!(shares.keeps_out(keeper, &eight).is_none());
}

#[test]
fn what_cannot_be_taken_away_leaves_room_for_every_guarantee() {
    let mut shares = two();
    let (one, four, eight) = (shares.gpus(1), shares.gpus(4), shares.gpus(8));
    let [prod, vision] = ["prod", "vision"].map(|name| shares.id(name));
    shares.wait(vision, &eight);
    shares.divide();
    assert!(shares.may_start(vision, &eight, false).is_ok());
    shares.charge(vision, &eight, false);
    let (reason, message) = refusal(&shares, "vision", &four, false);
    assert_eq!(reason, Reason::ShareExhausted);
    assert!(
        message.contains("queue prod: 8 nvidia.com/gpu"),
        "{message}"
    );
    assert!(
        shares.may_start(vision, &four, true).is_ok(),
        "preemptible work may"
    );
    // Within its own guarantee everybody may, even where capacity has shrunk.
    shares.set_capacity(Capacity {
        resources: vector(&[("gpu", 12)]),
        products: BTreeMap::new(),
    });
    shares.wait(prod, &eight);
    shares.divide();
    assert!(shares.would_pin(prod, &eight).is_none());
    shares.charge(prod, &eight, false);
    assert!(shares.would_pin(prod, &one).is_some());
}

#[test]
fn use_within_the_parents_guarantee_is_no_loan() {
    let mut shares = shares(
        vec![
            queue("research").guaranteed(&[("gpu", 8)]),
            queue("vision").under("research"),
            queue("prod").guaranteed(&[("gpu", 8)]),
        ],
        &[("gpu", 16)],
        &[],
    );
    let eight = shares.gpus(8);
    let vision = shares.id("vision");
    shares.wait(vision, &eight);
    shares.divide();
    assert_eq!(shares.standing(vision, &eight), Standing::Guaranteed);
    assert!(shares.may_start(vision, &eight, false).is_ok());
}

#[test]
fn who_starts_next() {
    let mut shares = two();
    let (two_, four, eight) = (shares.gpus(2), shares.gpus(4), shares.gpus(8));
    let [prod, vision, speech] = ["prod", "vision", "speech"].map(|name| shares.id(name));
    for queue in [prod, vision, speech] {
        shares.wait(queue, &eight);
    }
    shares.charge(vision, &two_, true);
    shares.divide();
    let order = |shares: &Shares, ask: &Ask| {
        let mut queues = vec![vision, speech, prod];
        queues.sort_by(|a, b| {
            shares.compare(*a, shares.standing(*a, ask), *b, shares.standing(*b, ask))
        });
        queues
    };
    assert_eq!(order(&shares, &two_), [prod, speech, vision]);
    // All borrow: weight decides between prod and research.
    for queue in [prod, vision, speech] {
        shares.charge(queue, &four, true);
        shares.charge(queue, &four, true);
    }
    assert_eq!(
        order(&shares, &two_)[0],
        prod,
        "the least above its entitlement"
    );
}

#[test]
fn past_use_breaks_ties() {
    let mut shares = shares(vec![queue("a"), queue("b")], &[("gpu", 16)], &[]);
    let four = shares.gpus(4);
    let [a, b] = ["a", "b"].map(|name| shares.id(name));
    shares.set_half_life(3_600_000);
    shares.advance(0);
    shares.charge(a, &four, true);
    shares.advance(600_000);
    shares.refund(a, &four, true);
    shares.wait(a, &four);
    shares.wait(b, &four);
    shares.divide();
    let next = |shares: &Shares| {
        shares.compare(a, shares.standing(a, &four), b, shares.standing(b, &four))
    };
    assert!(next(&shares).is_gt(), "b has had nothing yet");
    // It fades: after many half-lives only the name decides.
    shares.advance(600_000 + 400 * 3_600_000);
    assert!(next(&shares).is_lt());
}

#[test]
fn what_a_queue_itself_used_before_counts_beside_its_children() {
    let mut shares = shares(
        vec![queue("p"), queue("child").under("p")],
        &[("gpu", 16)],
        &[],
    );
    let four = shares.gpus(4);
    let [own, child] = ["p", "child"].map(|name| shares.id(name));
    shares.set_half_life(3_600_000);
    shares.advance(0);
    for (uses, other) in [(own, child), (child, own)] {
        shares.charge(uses, &four, false);
        shares.advance(600_000 + i64::from(uses == child) * 3_600_000);
        shares.refund(uses, &four, false);
        for queue in [own, child] {
            shares.wait(queue, &four);
        }
        shares.divide();
        let (a, b) = (shares.standing(uses, &four), shares.standing(other, &four));
        assert!(
            shares.compare(uses, a, other, b).is_gt(),
            "the other had less"
        );
        for queue in [own, child] {
            shares.unwait(queue, &four);
        }
    }
}

#[test]
fn past_use_goes_over_to_a_new_leader() {
    const HOUR: i64 = 3_600_000;
    let new = || {
        let specs = vec![queue("a"), queue("b")];
        let mut shares = shares(
            specs,
            &[("gpu", 16), ("cpu", 64_000), ("memory", 1 << 40)],
            &[],
        );
        shares.set_half_life(24 * HOUR);
        shares
    };
    let mut old = new();
    let a = old.id("a");
    assert_eq!(old.past_use(a), None, "no time has passed");
    let amounts = [("gpu", 4), ("cpu", 1_500), ("memory", 3 << 30)];
    let some = old.ask(&vector(&amounts), &Devices::default());
    old.advance(0);
    old.charge(a, &some, true);
    let h100 = old.gpus_of("H100", 2);
    old.charge(a, &h100, true);
    old.advance(10 * HOUR);
    old.refund(a, &h100, true);
    old.advance(11 * HOUR);
    // Written then; nothing changes until another leads, three hours later.
    let written = old.past_use(a).expect("past use");
    assert_eq!(written.at_ms, 11 * HOUR);
    old.advance(14 * HOUR);
    let mut after = new();
    after.charge(a, &some, true);
    after.remember("a", &written, 14 * HOUR);
    after.remember("gone", &written, 14 * HOUR);
    after.advance(14 * HOUR);
    let (old, after) = (old.past_use(a), after.past_use(a));
    let (old, after) = (old.expect("old"), after.expect("new"));
    for (then, now) in [
        (&old.resources, &after.resources),
        (&old.products, &after.products),
    ] {
        assert_eq!(then.len(), now.len());
        for (name, amount) in then {
            let (was, is) = (amount.as_f64(), now[name].as_f64());
            assert!((was - is).abs() <= was / 1000.0, "{name}: {was} {is}");
        }
    }
    assert!(old.products["H100"].as_f64() > 10.0, "{old:?}");
}

#[test]
fn who_pays_and_how_far() {
    let mut shares = shares(
        vec![
            queue("claimant").guaranteed(&[("gpu", 4)]),
            queue("big").weight(2),
            queue("small"),
        ],
        &[("gpu", 16)],
        &[],
    );
    let (one, four, eight) = (shares.gpus(1), shares.gpus(4), shares.gpus(8));
    let [claimant, big, small] = ["claimant", "big", "small"].map(|name| shares.id(name));
    shares.charge(big, &eight, true);
    shares.charge(small, &eight, true);
    shares.wait(claimant, &four);
    shares.divide();
    // 4 + 8 + 4.
    let excess = |shares: &Shares, queue| shares.excess(claimant, queue, &four).expect("others");
    assert_eq!(excess(&shares, big).share, 0);
    assert!(excess(&shares, small) > excess(&shares, big));
    assert!(shares.is_below(claimant, &four));
    let root = QueueTree::ROOT;
    assert!(!shares.falls_below(small, root, &four, false));
    assert!(shares.falls_below(big, root, &one, false));
    shares.refund(small, &four, true);
    assert!(shares.falls_below(small, root, &one, false));
    assert!(
        !shares.falls_below(small, root, &one, true),
        "it has no guarantee"
    );
    assert_eq!(shares.excess(big, big, &one), None);
}

#[test]
fn bound_devices_are_divided_by_product() {
    let mut shares = shares(vec![queue("a"), queue("b"), queue("c")], &[], &[]);
    let product = |devices, throughput| ProductCapacity {
        resource: GPU.to_owned(),
        devices,
        throughput,
        memory_mib: 0,
    };
    shares.set_capacity(Capacity {
        resources: vector(&[("gpu", 16)]),
        products: BTreeMap::from([
            ("H100".to_owned(), product(8, 3000)),
            ("A100".to_owned(), product(8, 1000)),
        ]),
    });
    let (fast, any) = (shares.gpus_of("H100", 8), shares.gpus(8));
    for name in ["a", "b"] {
        let queue = shares.id(name);
        shares.wait(queue, &fast);
    }
    let c = shares.id("c");
    shares.wait(c, &any);
    shares.divide();
    // There are 8 H100 for a and b, and c can have the rest: what a and b cannot get keeps nothing from c.
    let got: Vec<i64> = ["a", "b", "c"]
        .iter()
        .map(|name| shares.entitled(name, "gpu"))
        .collect();
    assert_eq!(got, [4000, 4000, 8000]);
    let standings = shares.standings(shares.id("a"));
    assert_eq!(standings.entitled.products["H100"], 4000);
}

#[test]
fn guarantees_of_products() {
    let mut shares = shares(
        vec![
            queue("a").product("H100", Some(6), None),
            queue("b").weight(9),
        ],
        &[],
        &[],
    );
    shares.set_capacity(Capacity {
        resources: vector(&[("gpu", 8)]),
        products: BTreeMap::from([(
            "H100".to_owned(),
            ProductCapacity {
                resource: GPU.to_owned(),
                devices: 8,
                throughput: 1000,
                memory_mib: 0,
            },
        )]),
    });
    let eight = shares.gpus_of("H100", 8);
    for name in ["a", "b"] {
        let queue = shares.id(name);
        shares.wait(queue, &eight);
    }
    shares.divide();
    let a = shares.id("a");
    assert_eq!(shares.standings(a).entitled.products["H100"], 6200);
    let six = shares.gpus_of("H100", 6);
    assert_eq!(shares.standing(a, &six), Standing::Guaranteed);
}

#[test]
fn workloads_of_an_inner_queue_are_one_more_child() {
    let shares = shares(
        vec![
            queue("inner"),
            queue("x").under("inner").weight(2),
            queue("y").under("inner"),
        ],
        &[("gpu", 16)],
        &[
            ("inner", &[("gpu", 99)]),
            ("x", &[("gpu", 99)]),
            ("y", &[("gpu", 99)]),
            ("", &[("gpu", 99)]),
        ],
    );
    let inner = shares.id("inner");
    // The root's own line and inner have weight 1 each; inside it is 2 : 1 : 1.
    assert_eq!(shares.entitled("inner", "gpu"), 8000);
    assert_eq!(shares.entitled("x", "gpu"), 4000);
    assert_eq!(shares.entitled("y", "gpu"), 2000);
    assert_eq!(shares.standings(inner).workloads, 3);
    assert_eq!(shares.entitled("", "gpu"), 16_000);
}

#[test]
fn a_parents_guarantee_caps_those_below() {
    let shares = shares(
        vec![
            queue("p").guaranteed(&[("gpu", 10)]).weight(0),
            queue("x").under("p").guaranteed(&[("gpu", 10)]),
            queue("y").under("p").guaranteed(&[("gpu", 10)]),
            queue("q"),
        ],
        &[("gpu", 20)],
        &[
            ("x", &[("gpu", 10)]),
            ("y", &[("gpu", 10)]),
            ("q", &[("gpu", 99)]),
        ],
    );
    assert_eq!(shares.entitled("x", "gpu"), 5000);
    assert_eq!(shares.entitled("q", "gpu"), 10_000);
}

#[test]
fn another_tree_keeps_what_is_counted() {
    let mut shares = two();
    let (four, eight) = (shares.gpus(4), shares.gpus(8));
    let [prod, vision] = ["prod", "vision"].map(|name| shares.id(name));
    shares.charge(vision, &four, false);
    shares.charge(prod, &eight, true);
    shares.wait(vision, &eight);
    let (tree, _) = QueueTree::new(vec![queue("vision").limit(&[("cpu", 1), ("gpu", 5)])]);
    shares.set_tree(tree);
    shares.divide();
    let standings = shares.standings(shares.id("vision"));
    assert_eq!(standings.used.resources[GPU], 4000);
    assert_eq!(standings.workloads, 1);
    assert_eq!(
        shares.standings(QueueTree::ROOT).used.resources[GPU],
        12_000
    );
    let vision = shares.id("vision");
    shares.refund(vision, &four, false);
    shares.refund(QueueTree::ROOT, &eight, true);
    assert!(shares.standings(QueueTree::ROOT).used.resources.is_empty());
}

#[test]
fn a_million_nodes_do_not_overflow() {
    let nodes = 1 << 20;
    let capacity = [
        ("cpu", 256_000 * nodes),
        ("memory", (2 << 40) * nodes),
        ("gpu", 16 * nodes),
    ];
    let specs = (0..1000)
        .map(|n| queue(&format!("q{n}")).weight(u32::MAX - n))
        .collect();
    let (tree, _) = QueueTree::new(specs);
    let mut shares = Shares::new(tree);
    shares.set_capacity(Capacity {
        resources: vector(&capacity),
        products: BTreeMap::new(),
    });
    let huge = shares.ask(
        &vector(&[("cpu", i64::MAX), ("memory", i64::MAX), ("gpu", i64::MAX)]),
        &Devices::default(),
    );
    for n in 0..1000 {
        let queue = shares.id(&format!("q{n}"));
        for _ in 0..1000 {
            shares.wait(queue, &huge);
        }
    }
    shares.divide();
    let sum: i64 = (0..1000)
        .map(|n| shares.entitled(&format!("q{n}"), "gpu") / 1000)
        .sum();
    assert!((sum - 16 * nodes).abs() <= 1000, "{sum}");
}
