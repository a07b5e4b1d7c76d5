use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000;

fn facts(submitted_ms: i64, gpus: i64, runtime_ms: Option<i64>) -> Facts {
    Facts {
        submitted_ms,
        size: gpus * DEVICE,
        runtime_ms,
        min_runtime_ms: 600_000,
    }
}

fn state(rule: Rule, age_limit_ms: Option<i64>) -> OrderState<&'static str> {
    let settings = Settings {
        rule,
        time_slicing: true,
        age_limit_ms,
    };
    OrderState::new(settings, 8 * DEVICE)
}

#[test]
fn age_is_first_come_first_served() {
    let mut state = state(Rule::Age, None);
    state.submit("long", facts(0, 8, Some(100 * HOUR)));
    state.submit("short", facts(1, 1, Some(1)));
    state.advance(2);
    assert_eq!(state.order(), ["long", "short"]);
    state.start(&"short", 2);
    state.advance(50 * HOUR);
    assert!(!state.may_replace(&"long", &"short"), "age never slices");
    assert_eq!(state.age_limit_ms(), None);
}

#[test]
fn smaller_work_goes_first_and_age_inside_a_class() {
    let mut state = state(Rule::Size, Some(1000 * HOUR));
    state.submit("wide", facts(0, 8, Some(HOUR)));
    state.submit("later", facts(2, 1, Some(HOUR)));
    state.submit("earlier", facts(1, 1, Some(HOUR - 60_000)));
    state.submit("unknown", facts(3, 1, None));
    state.advance(4);
    assert_eq!(state.order(), ["earlier", "later", "unknown", "wide"]);
}

#[test]
fn what_has_run_is_not_left_any_more() {
    let mut state = state(Rule::Size, Some(1000 * HOUR));
    state.submit("long", facts(0, 1, Some(10 * HOUR)));
    state.submit("short", facts(0, 1, Some(2 * HOUR)));
    state.start(&"long", 0);
    state.advance(HOUR);
    assert_eq!(state.order()[0], "short");
    assert!(state.may_replace(&"short", &"long"));
    assert!(!state.may_replace(&"long", &"short"));
    state.advance(9 * HOUR);
    assert_eq!(state.order()[0], "long", "an hour is left");
    state.stop(&"long", 9 * HOUR, Some(HOUR));
    assert_eq!(state.order()[0], "short", "eight of nine hours are lost");
    assert_eq!(state.left_ms(&"long"), Some(9 * HOUR));
}

#[test]
fn the_minimum_run_time_counts_useful_work() {
    let mut state = state(Rule::Size, Some(1000 * HOUR));
    state.submit("long", facts(0, 1, Some(10 * HOUR)));
    state.submit("short", facts(0, 1, Some(1000)));
    state.start(&"long", 60_000);
    for (now, protected) in [
        (0, true),
        (600_000, true),
        (659_999, true),
        (660_000, false),
    ] {
        state.advance(now);
        assert_eq!(state.is_protected(&"long"), protected, "{now}");
        assert_eq!(state.may_replace(&"short", &"long"), !protected, "{now}");
    }
    assert_eq!(state.next_change_ms(), Some(HOUR));
}

#[test]
fn who_waits_too_long_is_promoted_until_it_ends() {
    let mut state = state(Rule::Size, Some(2 * HOUR));
    state.submit("large", facts(0, 8, Some(50 * HOUR)));
    state.submit("small", facts(10, 1, Some(50 * HOUR)));
    state.submit("new", facts(2 * HOUR, 1, Some(1)));
    state.advance(HOUR);
    assert_eq!(state.first_promoted(), None);
    state.advance(3 * HOUR);
    assert_eq!(state.first_promoted(), Some(&"large"));
    assert_eq!(
        state.order(),
        ["large", "small", "new"],
        "in the order of promotion"
    );
    state.start(&"large", 3 * HOUR);
    state.advance(20 * HOUR);
    assert!(!state.may_replace(&"new", &"large"));
    state.stop(&"large", 20 * HOUR, Some(20 * HOUR));
    assert_eq!(state.order()[0], "large", "it sticks");
    state.end(&"large", 21 * HOUR);
    assert_eq!(state.promoted_ms(&"large"), None);
}

#[test]
fn the_age_limit_is_what_first_come_first_served_would_show() {
    let mut state = state(Rule::Size, None);
    // 8 devices, 3 jobs of 8 devices and 10 hours at once: the last one's end is 30 hours away.
    for id in ["a", "b", "c"] {
        state.submit(id, facts(0, 8, Some(10 * HOUR)));
    }
    state.advance(0);
    assert_eq!(state.age_limit_ms(), Some(30 * HOUR));
    // It turns out that they take an hour.
    for (at, id) in [(0, "a"), (1, "b"), (2, "c")] {
        state.start(&id, at * HOUR);
        state.end(&id, (at + 1) * HOUR);
    }
    state.advance(4 * HOUR);
    assert_eq!(state.age_limit_ms(), Some(3 * HOUR));
    state.advance(100 * 24 * HOUR);
    assert_eq!(state.age_limit_ms(), Some(LEAST_AGE_LIMIT_MS), "long ago");
}

#[test]
fn estimates_are_corrected_by_what_came_of_earlier_ones() {
    let mut state = OrderState::new(
        Settings {
            rule: Rule::Size,
            time_slicing: true,
            age_limit_ms: None,
        },
        DEVICE,
    );
    for job in 0..100_i64 {
        state.submit(job, facts(job * HOUR, 1, Some(10 * HOUR)));
        state.start(&job, job * HOUR);
        state.end(&job, (job + 1) * HOUR);
    }
    state.submit(100, facts(100 * HOUR, 1, Some(100 * HOUR)));
    state.advance(100 * HOUR);
    let limit = state.age_limit_ms().expect("learned");
    assert!((10 * HOUR..11 * HOUR).contains(&limit), "{limit}");
}

#[test]
fn the_least_slack_goes_first() {
    let mut state = state(Rule::FinishTime, None);
    for id in [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p",
    ] {
        state.submit(id, facts(0, 1, Some(10 * HOUR)));
    }
    // K = 16 / 8 = 2: due after 2 hours, an hour of work: an hour of slack, and it shrinks.
    state.submit("short", facts(0, 1, Some(HOUR)));
    state.advance(0);
    let first = state.turn(&"short").expect("known").rank;
    state.advance(HOUR / 2);
    let then = state.turn(&"short").expect("known").rank;
    assert_eq!(first - then, HOUR / 2);
    assert_eq!(state.order()[0], "short");
    state.start(&"a", HOUR / 2);
    state.advance(HOUR / 2 + 1);
    let (runs, waits) = (state.turn(&"a").expect("a"), state.turn(&"b").expect("b"));
    assert!(runs < waits, "who runs keeps running");
    assert!(
        state
            .next_change_ms()
            .is_some_and(|next| next <= HOUR / 2 + 1 + ROUND_MS)
    );
}

#[test]
fn without_run_times_who_lags_most_goes_first() {
    let mut state = state(Rule::FinishTime, None);
    state.submit("ran", facts(0, 1, None));
    state.submit("waited", facts(0, 1, None));
    state.start(&"ran", 0);
    state.advance(HOUR);
    assert_eq!(state.order(), ["waited", "ran"]);
}

#[derive(Clone, Debug)]
enum Step {
    Submit(u8, i64, Option<i64>),
    Start(u8),
    Stop(u8),
    End(u8),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        (0..12_u8, 1..9_i64, proptest::option::of(1..200 * HOUR))
            .prop_map(|(id, gpus, run)| Step::Submit(id, gpus, run)),
        (0..12_u8).prop_map(Step::Start),
        (0..12_u8).prop_map(Step::Stop),
        (0..12_u8).prop_map(Step::End),
        (1..30 * HOUR).prop_map(Step::Wait),
    ];
    proptest::collection::vec(one, 1..80)
}

proptest! {
    /// Whatever happens: the order is a total one, replacing follows it and never goes both ways, promotion sticks, and
    /// the learned limit is that of a computation from the whole history.
    #[test]
    fn laws(steps in steps(), rule in 0..3_u8) {
        let rule = [Rule::Age, Rule::Size, Rule::FinishTime][usize::from(rule)];
        let mut state = OrderState::new(Settings { rule, time_slicing: true, age_limit_ms: None }, 8 * DEVICE);
        let mut now = 0;
        let mut promoted: BTreeMap<u8, i64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Submit(id, gpus, run) => state.submit(id, facts(now, gpus, run)),
                Step::Start(id) => state.start(&id, now),
                Step::Stop(id) => state.stop(&id, now, None),
                Step::End(id) => {
                    state.end(&id, now);
                    promoted.remove(&id);
                }
                Step::Wait(ms) => now += ms,
            }
            state.advance(now);
            let order = state.order();
            for (first, second) in order.iter().zip(order.iter().skip(1)) {
                prop_assert!(state.turn(first) <= state.turn(second));
                prop_assert!(!state.may_replace(second, first));
            }
            for (id, at) in &promoted {
                prop_assert_eq!(state.promoted_ms(id), Some(*at));
            }
            promoted = order.iter().filter_map(|id| Some((*id, state.promoted_ms(id)?))).collect();
            prop_assert!(state.next_change_ms().is_none_or(|next| next > now));
        }
    }
}
