use proptest::prelude::*;

use super::*;

fn gpus(amount: i64) -> Amounts {
    let mut amounts = Amounts::default();
    amounts.set(0, amount);
    amounts
}

fn room(list: &[(&'static str, i64)]) -> Room<&'static str> {
    list.iter()
        .map(|(node, amount)| (*node, gpus(*amount)))
        .collect()
}

fn promise(
    start_ms: Option<i64>,
    held: &[(&'static str, i64)],
) -> Promise<&'static str, &'static str> {
    Promise {
        head: "head",
        priority: 0,
        start_ms,
        room: room(held),
        runtime_ms: Some(100),
    }
}

/// Pods of so many GPUs each, first nodes first.
fn pods<N: Ord + Clone>(count: i64, each: i64) -> impl Fn(&Room<N>) -> Option<Room<N>> {
    move |free| {
        let mut left = count;
        let mut taken = Room::new();
        for (node, amounts) in free {
            let fit = (amounts.get(0) / each).clamp(0, left);
            if fit > 0 {
                taken.insert(node.clone(), gpus(fit * each));
                left -= fit;
            }
        }
        (left == 0).then_some(taken)
    }
}

#[test]
fn the_earliest_start_is_the_first_end_that_makes_room() {
    let lines: Lines<&str> = [
        ("a", Line::new(gpus(1), vec![(50, gpus(3)), (20, gpus(4))])),
        ("b", Line::new(gpus(0), vec![(30, gpus(8))])),
    ]
    .into();
    assert_eq!(
        earliest(&lines, 0, pods(1, 1)),
        Some((0, room(&[("a", 1)])))
    );
    assert_eq!(
        earliest(&lines, 0, pods(1, 5)),
        Some((20, room(&[("a", 5)])))
    );
    assert_eq!(
        earliest(&lines, 0, pods(2, 8)),
        Some((50, room(&[("a", 8), ("b", 8)])))
    );
    assert_eq!(earliest(&lines, 0, pods(3, 8)), None, "never");
    assert_eq!(
        earliest(&lines, 40, pods(1, 8)),
        Some((40, room(&[("b", 8)]))),
        "an end that is past is now"
    );
}

#[test]
fn only_what_is_held_is_closed() {
    // 4 are free now, 8 from 100 on; 6 are held then: 2 remain for those who are still there.
    let lines: Lines<&str> = [
        ("a", Line::new(gpus(4), vec![(100, gpus(4))])),
        ("b", Line::new(gpus(8), vec![])),
    ]
    .into();
    let dated = promise(Some(100), &[("a", 6)]);
    assert_eq!(dated.closed(&lines, &Room::new()), room(&[("a", 2)]));
    assert!(dated.lets(Some(100)), "ending exactly then is in time");
    assert!(!dated.lets(Some(101)));
    assert!(!dated.lets(None), "nobody of unknown run time");
    let undated = promise(None, &[("a", 6)]);
    assert_eq!(
        undated.closed(&lines, &Room::new()),
        room(&[("a", 4)]),
        "all that becomes free is kept"
    );
    assert!(!undated.lets(Some(1)));
}

#[test]
fn a_promise_is_replaced_by_an_earlier_one_only() {
    let mut promises: Promises<&str, &str, &str> = Promises::default();
    assert!(promises.offer(&"q", promise(Some(100), &[("a", 8)])));
    assert!(!promises.offer(&"q", promise(Some(100), &[("b", 8)])));
    assert!(!promises.offer(&"q", promise(Some(120), &[("b", 8)])));
    assert!(promises.offer(&"q", promise(Some(90), &[("b", 8)])));
    let other = |priority| Promise {
        head: "other",
        priority,
        ..promise(Some(10), &[("a", 1)])
    };
    assert!(!promises.offer(&"q", other(0)), "one per queue");
    assert!(promises.offer(&"q2", other(0)), "another queue");
    assert!(promises.offer(&"q", other(1)), "higher priority");
    assert_eq!(promises.of(&"q").map(|one| one.head), Some("other"));
    assert_eq!(promises.next_due_ms(5), Some(10));
    promises.withdraw(&"q");
    promises.offer(&"q", promise(Some(200), &[("a", 8)]));
    let (_, why) = promises.for_head(&"head").expect("promised");
    assert_eq!(why, Replaced::Withdrawn, "made anew, and says why");
    promises.done(&"head");
    assert!(promises.of(&"q").is_none());
}

#[test]
fn who_overran_yields_when_the_promise_is_due() {
    let runner = |id, node, amount, told_end_ms| Runner {
        id,
        room: room(&[(node, amount)]),
        told_end_ms,
        preemptible: true,
        priority: 0,
    };
    let due = promise(Some(100), &[("a", 6)]);
    let mut runners = vec![
        runner("old", "a", 4, Some(90)),
        runner("small", "a", 1, Some(95)),
        runner("elsewhere", "b", 8, Some(1)),
        runner("late", "a", 2, Some(150)),
        runner("unknown", "a", 1, None),
    ];
    let free = room(&[("a", 2)]);
    assert_eq!(
        overrunners(&due, &free, &runners, 99),
        Some(vec![]),
        "not before"
    );
    assert_eq!(
        overrunners(&due, &free, &runners, 100),
        Some(vec!["old"]),
        "small is not needed"
    );
    runners[0].preemptible = false;
    assert_eq!(overrunners(&due, &free, &runners, 100), None);
    runners[0].preemptible = true;
    runners[0].priority = 1;
    assert_eq!(
        overrunners(&due, &free, &runners, 100),
        None,
        "higher priority does not yield"
    );
}

#[test]
fn without_a_date_the_emptiest_nodes_are_held() {
    let empty = room(&[("a", 8), ("b", 8), ("c", 8)]);
    let work = [("a", 50), ("b", 10), ("c", 20)].into();
    assert_eq!(
        least_work(&empty, &work, pods(1, 8)),
        Some(room(&[("b", 8)]))
    );
    assert_eq!(
        least_work(&empty, &work, pods(2, 8)),
        Some(room(&[("b", 8), ("c", 8)]))
    );
    assert_eq!(least_work(&empty, &work, pods(4, 8)), None);
}

fn lines() -> impl Strategy<Value = Lines<u8>> {
    let line = (
        0..9_i64,
        proptest::collection::vec((0..50_i64, 1..5_i64), 0..6),
    )
        .prop_map(|(free, ends)| {
            Line::new(
                gpus(free),
                ends.into_iter()
                    .map(|(time, amount)| (time, gpus(amount)))
                    .collect(),
            )
        });
    proptest::collection::btree_map(0..5_u8, line, 0..5)
}

/// Second by second, nothing clever.
fn naive(lines: &Lines<u8>, now: i64, count: i64, each: i64) -> Option<i64> {
    (now..=now.max(60)).find(|time| {
        let copies: i64 = lines
            .values()
            .map(|line| {
                let freed: i64 = line
                    .ends()
                    .filter(|(end, _)| end <= time)
                    .map(|(_, amounts)| amounts.get(0))
                    .sum();
                (line.free().get(0) + freed).max(0) / each
            })
            .sum();
        copies >= count
    })
}

proptest! {
    #[test]
    fn the_same_as_second_by_second(lines in lines(), now in 0..40_i64, count in 1..6_i64, each in 1..9_i64) {
        let found = earliest(&lines, now, pods(count, each));
        prop_assert_eq!(found.map(|(start, _)| start), naive(&lines, now, count, each));
    }

    /// Whoever starts on what `closed` leaves, for ever, does not delay the promise; whoever it lets does not either.
    #[test]
    fn backfill_delays_nobody(lines in lines(), count in 1..6_i64, each in 1..9_i64, jobs in proptest::collection::vec((0..5_u8, 1..9_i64, proptest::option::of(1..60_i64)), 0..12)) {
        let Some((start, room)) = earliest(&lines, 0, pods(count, each)) else { return Ok(()) };
        let promise = Promise { head: 0_u8, priority: 0, start_ms: Some(start), room, runtime_ms: None };
        let mut lines = lines;
        for (node, amount, end) in jobs {
            let closed = promise.closed(&lines, &Room::new());
            let Some(line) = lines.get_mut(&node) else { continue };
            let kept = if promise.lets(end) { 0 } else { closed.get(&node).map_or(0, |closed| closed.get(0)) };
            if line.free().get(0) - kept >= amount {
                line.occupy(&gpus(amount), end);
            }
        }
        for (node, held) in &promise.room {
            prop_assert!(lines[node].free_at(start).get(0) >= held.get(0));
        }
    }

    /// Two queues are promised something: whoever starts on what both leave delays neither.
    #[test]
    fn backfill_delays_neither_of_two(lines in lines(), pods_of in prop::array::uniform2((1..6_i64, 1..9_i64)), jobs in prop::collection::vec((0..5_u8, 1..9_i64, prop::option::of(1..60_i64)), 0..12)) {
        let mut promises: Vec<Promise<u8, u8>> = Vec::new();
        for (head, (count, each)) in (0..).zip(pods_of) {
            // Beside what is held for the other one, whenever that begins.
            let mut beside = lines.clone();
            for (node, held) in promises.iter().flat_map(|promise| &promise.room) {
                beside.get_mut(node).expect("a node").occupy(held, None);
            }
            if let Some((start, room)) = earliest(&beside, 0, pods(count, each)) {
                promises.push(Promise { head, priority: 0, start_ms: Some(start), room, runtime_ms: None });
            }
        }
        let mut lines = lines;
        let others = |promise: &Promise<u8, u8>| {
            let mut room: Room<u8> = Room::new();
            let held = promises.iter().filter(|other| other.head != promise.head && other.holds_by(promise));
            held.flat_map(|other| &other.room).for_each(|(node, held)| room.entry(*node).or_default().add_all(held));
            room
        };
        for (node, amount, end) in jobs {
            let heeded = promises.iter().filter(|promise| !promise.lets(end));
            let closed = heeded.map(|promise| promise.closed(&lines, &others(promise)));
            let kept = closed.filter_map(|closed| Some(closed.get(&node)?.get(0))).max().unwrap_or(0);
            let Some(line) = lines.get_mut(&node) else { continue };
            if line.free().get(0) - kept >= amount {
                line.occupy(&gpus(amount), end);
            }
        }
        for promise in &promises {
            let (start, others) = (promise.start_ms.expect("a date"), others(promise));
            for (node, held) in &promise.room {
                let both = held.get(0) + others.get(node).map_or(0, |held| held.get(0));
                prop_assert!(lines[node].free_at(start).get(0) >= both, "{node} at {start}");
            }
        }
    }
}
