//! Any text is answered, and any fleet keeps the invariants.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::super::{change, parse, recorded, simulate, view};
use super::SMALL;
use crate::record::{Encoder, Replay};

/// One workload of a random fleet.
#[derive(Clone, Debug)]
struct Job {
    queue: usize,
    priority: i32,
    age: u32,
    pods: i64,
    gpus: i64,
    least: Option<i64>,
    strategy: usize,
    rack: usize,
    preemptible: bool,
    min_runtime: u32,
    runtime: Option<u32>,
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let job = (
        (0..3_usize, 0..3_i32, 0..100_u32, 1..6_i64, 0..5_i64),
        (prop::option::of(1..3_i64), 0..5_usize, 0..4_usize),
        (
            prop::bool::weighted(0.8),
            0..90_u32,
            prop::option::of(1..600_u32),
        ),
    );
    let job = job.prop_map(
        |((queue, priority, age, pods, gpus), (least, strategy, rack), rest)| Job {
            queue,
            priority,
            age,
            pods,
            gpus,
            least: least.map(|least| least.min(pods)),
            strategy,
            rack,
            preemptible: rest.0,
            min_runtime: rest.1,
            runtime: rest.2,
        },
    );
    prop::collection::vec(job, 1..10)
}

/// A fleet of two targets on which the first jobs that fit run already, one node each.
fn text(
    jobs: &[Job],
    nodes: (usize, usize),
    state: usize,
    running: usize,
    guaranteed: (i64, i64),
) -> String {
    let mut text = format!(
        "name: random\nconfig: {{levels: [rack], rounds: 3}}\nqueues:\n- {{name: q0, guaranteed: {{gpu: {}}}}}\n- {{name: q1, weight: 2, limit: {{gpu: {}}}}}\n- {{name: q2, parent: q1}}\nfleet:\n",
        guaranteed.0, guaranteed.1
    );
    let states = ["Ready", "Ready", "Cordoned", "Draining"];
    for (target, count) in [("east", nodes.0), ("west", nodes.1)] {
        let state = if target == "west" {
            states[state]
        } else {
            "Ready"
        };
        let _infallible = write!(text, "- target: {target}\n  state: {state}\n  nodes:\n");
        for node in 0..count {
            let _infallible = writeln!(
                text,
                "  - {{name: n{node}, labels: {{rack: r{}}}, capacity: {{gpu: 8, cpu: 32}}}}",
                node / 2
            );
        }
    }
    text.push_str("workloads:\n");
    let mut free: Vec<(String, i64)> = (0..nodes.0)
        .map(|node| ("east".to_owned(), node))
        .chain((0..nodes.1).map(|node| ("west".to_owned(), node)))
        .map(|(target, node)| (format!("target: {target}, node: n{node}-0"), 8))
        .collect();
    for (index, job) in jobs.iter().enumerate() {
        let strategy = ["Gang", "Gang", "Gang", "Divide", "Duplicate"][job.strategy];
        let _infallible = write!(
            text,
            "- {{name: w{index}, queue: q{}, priority: {}, submitted: -{}m, strategy: {strategy}, preemptible: {}, minRuntime: {}m, pods: [{{count: {}, requests: {{gpu: {}, cpu: 1}}}}]",
            job.queue, job.priority, job.age, job.preemptible, job.min_runtime, job.pods, job.gpus
        );
        if let Some(least) = job.least.filter(|_| strategy != "Duplicate") {
            let _infallible = write!(text, ", minCount: {least}");
        }
        if let Some(runtime) = job.runtime {
            let _infallible = write!(text, ", runtime: {runtime}m");
        }
        if job.rack < 2 && strategy == "Gang" {
            let mode = ["Required", "Preferred"][job.rack];
            let _infallible = write!(text, ", topology: {{level: rack, mode: {mode}}}");
        }
        let room = free
            .iter_mut()
            .find(|(_, free)| *free >= job.pods * job.gpus);
        if let (true, Some((node, free))) = (index < running && strategy == "Gang", room) {
            *free -= job.pods * job.gpus;
            let _infallible = write!(
                text,
                ", state: Running, runsOn: [{{{node}, count: {}, started: -{}m}}]",
                job.pods, job.age
            );
        }
        text.push_str("}\n");
    }
    text
}

proptest! {
    #[test]
    fn any_fleet_keeps_the_invariants(
        jobs in jobs(),
        nodes in (1..5_usize, 0..3_usize),
        state in 0..4_usize,
        running in 0..8_usize,
        guaranteed in (0..17_i64, 0..33_i64),
    ) {
        let text = text(&jobs, nodes, state, running, guaranteed);
        let scenario = parse("random.yaml", &text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;
        if let Err(broken) = simulate(&scenario, &mut || 0) {
            prop_assert!(false, "{broken}\n{text}");
        }
    }

    #[test]
    fn any_text_is_answered_with_lines(
        place in 0..1000_usize,
        cut in 0..12_usize,
        put in "[ -~\n]{0,6}",
    ) {
        let mut letters: Vec<char> = SMALL.chars().collect();
        let at = place % letters.len();
        let end = (at + cut).min(letters.len());
        letters.splice(at..end, put.chars());
        let text: String = letters.into_iter().collect();
        let lines = text.lines().count() as u64 + 1;
        match parse("any.yaml", &text) {
            Ok(scenario) => {
                let outcome = simulate(&scenario, &mut || 0);
                prop_assert!(outcome.is_ok(), "{outcome:?}\n{text}");
            }
            Err(problems) => {
                prop_assert!(!problems.list.is_empty());
                for problem in &problems.list {
                    prop_assert!((1..=lines).contains(&problem.line) && !problem.message.is_empty(), "{problem:?}\n{text}");
                }
            }
        }
    }
}

proptest! {
    // Each plans the same run several times.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn any_run_is_recorded_and_had_again(
        jobs in jobs(),
        nodes in (1..5_usize, 0..3_usize),
        state in 0..4_usize,
        running in 0..8_usize,
        guaranteed in (0..17_i64, 0..33_i64),
    ) {
        let text = text(&jobs, nodes, state, running, guaranteed);
        let scenario = parse("random.yaml", &text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;
        let recorded = recorded(&scenario, &mut || 0);
        let Ok((outcome, steps)) = recorded else { return Ok(()) };
        let plain = simulate(&scenario, &mut || 0).map_err(|broken| TestCaseError::fail(broken.to_string()))?;
        let json = |outcome| serde_json::to_string(outcome).expect("JSON");
        prop_assert_eq!(json(&outcome), json(&plain), "recording changes nothing");
        let (mut encoder, mut lines) = Encoder::begin("random", 0);
        for step in steps {
            lines += &encoder.step(step);
        }
        lines += &encoder.end("over");
        let mut replay = Replay::new();
        for line in lines.split_inclusive('\n') {
            replay.line(line).map_err(|damaged| TestCaseError::fail(format!("{damaged}\n{lines}")))?;
        }
        let summary = replay.summary();
        prop_assert_eq!(summary.differences, [], "{}", text);
        prop_assert!(summary.cycles >= 3 && summary.decisions >= jobs.len() as u64, "{text}");
    }

    #[test]
    fn asking_what_if_is_simulating_the_changed_file(
        jobs in jobs(),
        nodes in (1..5_usize, 1..3_usize),
        running in 0..8_usize,
        guaranteed in (0..17_i64, 0..33_i64),
        asked in 0..6_usize,
    ) {
        let text = text(&jobs, nodes, 0, running, guaranteed);
        let mut scenario = parse("random.yaml", &text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;
        scenario.config.rounds = 1;
        let asked = [
            "queue q0 guaranteed gpu +4", "queue q1 limit gpu =2", "queue q2 weight +3", "workload w0 priority +5",
            "target cordon west", "target add north like west",
        ][asked];
        let simulated = change(&scenario, asked).map_err(TestCaseError::fail)?;
        let Ok(outcome) = simulate(&simulated, &mut || 0) else { return Ok(()) };
        let changed = crate::whatif::Change::parse(asked).and_then(|change| view(&scenario).change(&change));
        let outlook = changed.map_err(TestCaseError::fail)?.plan();
        for (name, standing) in &outlook.workloads {
            let placed = outcome.rounds[0].placed.get(name);
            let pods: i64 = placed.into_iter().flatten().map(|place| place.count).sum();
            prop_assert_eq!(standing.places.values().sum::<i64>(), pods, "{} with {}\n{}", name, asked, text);
        }
    }
}
