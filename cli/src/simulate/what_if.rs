//! `--what-if`: the same file with a change, and what would be different.

use std::fmt::Write as _;

use scheduler::scenario::{self, Outcome, Round, Scenario};

use super::text;
use crate::failure::Failure;

/// Plans the changed file; `None` where no change was asked about.
pub(super) fn plan(
    scenario: &Scenario,
    changes: &[String],
    micros: &mut dyn FnMut() -> u64,
) -> Result<Option<Outcome>, Failure> {
    if changes.is_empty() {
        return Ok(None);
    }
    let mut changed = scenario.clone();
    for change in changes {
        changed = scenario::change(&changed, change)
            .map_err(|error| Failure::typed(format!("--what-if: {error}")))?;
    }
    scenario::simulate(&changed, micros)
        .map(Some)
        .map_err(|broken| Failure::failed(format!("{}: {broken}", scenario.file)))
}

/// What is different after the last round.
pub(super) fn render(changes: &[String], before: &Outcome, after: &Outcome) -> String {
    let mut out = format!("\nwhat if {}\n", changes.join(" and "));
    let (Some(before), Some(after)) = (before.rounds.last(), after.rounds.last()) else {
        return out;
    };
    let mut names: Vec<&String> = [before, after]
        .into_iter()
        .flat_map(|round| {
            round
                .placed
                .keys()
                .chain(round.evicted.keys())
                .chain(round.pending.keys())
        })
        .collect();
    names.sort();
    names.dedup();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut same = 0;
    for name in names {
        let (was, is) = (standing(before, name), standing(after, name));
        if was == is {
            same += 1;
            continue;
        }
        let _infallible = writeln!(out, "  {name:width$}  {was} → {is}");
    }
    let rest = match same {
        0 => String::new(),
        1 => "  1 workload stays as it is\n".to_owned(),
        same => format!("  {same} workloads stay as they are\n"),
    };
    out + &rest
}

fn standing(round: &Round, name: &str) -> String {
    if let Some(places) = round.placed.get(name) {
        return text::place(places);
    }
    if let Some(one) = round.evicted.get(name) {
        let by = one
            .by
            .as_ref()
            .map_or_else(String::new, |by| format!(" for {by}"));
        return format!("evicted{by} ({})", one.reason);
    }
    round
        .pending
        .get(name)
        .map_or_else(|| "–".to_owned(), |one| format!("waits ({})", one.reason))
}
