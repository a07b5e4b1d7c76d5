//! How long a division takes: prints, and judges nothing. `cargo test --release -p scheduler --lib shares::tests::speed -- --ignored
//! --nocapture`.

use std::time::Instant;

use super::*;

#[test]
#[ignore = "prints figures for people"]
fn a_thousand_queues() {
    for (shape, fan) in [("flat", 1000), ("32 x 32", 32), ("10 x 10 x 10", 10)] {
        let mut specs = Vec::new();
        let parent = |number: usize| {
            let above = number / fan;
            if above == 0 {
                String::new()
            } else {
                format!("q{above}")
            }
        };
        for number in 1..=1000 {
            specs.push(
                queue(&format!("q{number}"))
                    .under(&parent(number))
                    .weight(1 + u32::try_from(number % 7).expect("small"))
                    .guaranteed(&[("gpu", i64::try_from(number % 5).expect("small"))]),
            );
        }
        let (tree, problems) = QueueTree::new(specs);
        assert!(problems.is_empty());
        let mut shares = Shares::new(tree);
        let queues: Vec<QueueId> = shares.tree().ids().collect();
        for (number, queue) in queues.iter().enumerate() {
            let number = i64::try_from(number).expect("small");
            let amounts = [
                ("gpu", number * 37 % 29),
                ("cpu", number * 7919 % 800_000),
                ("memory", number * 104_729 % 9_000 * 1_000_000_000),
            ];
            let ask = shares.ask(&vector(&amounts), &Devices::default());
            shares.wait(*queue, &ask);
        }
        // The least of many: others use the machine too.
        let least = |times: usize, one: &mut dyn FnMut(usize)| {
            let timed = (0..times).map(|turn| {
                let begun = Instant::now();
                one(turn);
                begun.elapsed()
            });
            timed.min().unwrap_or_default()
        };
        let capacity = |gpus: i64| Capacity {
            resources: vector(&[
                ("gpu", gpus),
                ("cpu", 400_000_000),
                ("memory", 2_000_000_000_000_000),
            ]),
            products: BTreeMap::new(),
        };
        let whole = least(50, &mut |turn| {
            shares.set_capacity(capacity(8000 + i64::try_from(turn % 2).expect("small")));
            shares.divide();
        });
        let one = shares.gpus(1);
        let again = least(500, &mut |turn| {
            shares.wait(queues[turn * 2], &one);
            shares.divide();
        });
        let ask = least(50, &mut |_| {
            for queue in &queues {
                shares.charge(*queue, &one, true);
                assert!(shares.may_start(*queue, &one, true).is_ok());
                shares.refund(*queue, &one, true);
            }
        }) / 1001;
        let clone = least(50, &mut |_| drop(shares.clone()));
        println!(
            "{shape}: divide {whole:?}, one demand changed {again:?}, charge + may_start + refund {ask:?}, clone {clone:?}"
        );
    }
}
