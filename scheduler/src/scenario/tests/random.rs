//! Any text is answered, and any fleet keeps the invariants.

use proptest::prelude::*;

use super::super::{Scenario, change, parse, recorded, simulate, view};
use super::SMALL;
use super::fleets::{cases, config};
use crate::record::{Encoder, Replay};

fn read(text: &str) -> Result<Scenario, TestCaseError> {
    parse("random.yaml", text)
        .map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))
}

proptest! {
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
    #![proptest_config(config())]

    #[test]
    fn any_fleet_keeps_the_invariants(case in cases()) {
        let text = case.text();
        let scenario = read(&text)?;
        if let Err(broken) = simulate(&scenario, &mut || 0) {
            prop_assert!(false, "{broken}\n{text}");
        }
    }

    #[test]
    fn any_run_is_recorded_and_had_again(case in cases()) {
        let text = case.text();
        let scenario = read(&text)?;
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
        prop_assert!(summary.cycles >= 3 && summary.decisions >= scenario.workloads.len() as u64, "{text}");
    }

    #[test]
    fn asking_what_if_is_simulating_the_changed_file(case in cases(), asked in 0..6_usize) {
        let text = case.plain().text();
        let scenario = read(&text)?;
        let asked = [
            "queue q0 guaranteed gpu =12", "queue q0 limit gpu =2", "queue q0 weight +3", "workload w0 priority +5",
            "target cordon t0", "target add north like t0",
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
