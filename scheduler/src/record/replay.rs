//! The same run again: what was recorded goes into a fresh planner, and what comes out is compared.

use serde::Serialize;

use super::core::{Core, Step};
use super::decoder::{Damaged, Decoder};
use super::digest::{Decided, Made};

/// Differences that are told one by one.
const TOLD: usize = 20;

/// A run that is being had again.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    decoder: Decoder,
    core: Core,
    summary: Summary,
}

/// How a replay went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// What was recorded, in words.
    pub of: String,
    /// Version of Inhaul that recorded it.
    pub version: String,
    /// Lines.
    pub lines: u64,
    /// Plans.
    pub cycles: u64,
    /// Decisions in them.
    pub decisions: u64,
    /// Time of the first and the last plan, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_ms: Option<(i64, i64)>,
    /// Why it ends; absent: the last line is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Plans that came out otherwise.
    pub different: u64,
    /// The first of them, one for each decision.
    pub differences: Vec<Difference>,
}

/// Something that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Line of the recording.
    pub line: u64,
    /// Plan, from 1.
    pub cycle: u64,
    /// Time of the plan, ms since 1970.
    pub at_ms: i64,
    /// Workload; absent: the report of the plan, or how many decisions there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// What was recorded.
    pub recorded: String,
    /// What came out now.
    pub now: String,
}

impl Replay {
    /// Before the first line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next line, with its line feed.
    ///
    /// # Errors
    /// A line that cannot be used: the replay ends there.
    pub fn line(&mut self, text: &str) -> Result<(), Damaged> {
        let steps = self.decoder.line(text)?;
        self.summary.lines = self.decoder.lines();
        for step in steps {
            self.step(step);
        }
        Ok(())
    }

    /// How it went so far.
    pub fn summary(&self) -> Summary {
        let header = self.decoder.header().cloned().unwrap_or_default();
        Summary {
            of: header.of,
            version: header.version,
            end: self.decoder.end().map(str::to_owned),
            ..self.summary.clone()
        }
    }

    /// What the planner knows at this place of the run.
    pub fn core(&self) -> &Core {
        &self.core
    }

    fn step(&mut self, step: Step) {
        let plan = match &step {
            Step::Plan { now_ms, made, .. } => Some((*now_ms, made.clone())),
            _ => None,
        };
        let made = self.core.redo(step);
        let (Some((at_ms, recorded)), Some(now)) = (plan, made) else {
            return;
        };
        let summary = &mut self.summary;
        summary.cycles += 1;
        summary.decisions += recorded.decisions.len() as u64;
        let from = summary.span_ms.map_or(at_ms, |(from, _)| from);
        summary.span_ms = Some((from, at_ms));
        if recorded == now {
            return;
        }
        summary.different += 1;
        let (line, cycle) = (summary.lines, summary.cycles);
        let told = differences(&recorded, &now);
        let told = told
            .into_iter()
            .map(|(workload, recorded, now)| Difference {
                line,
                cycle,
                at_ms,
                workload,
                recorded,
                now,
            });
        let room = TOLD.saturating_sub(summary.differences.len());
        summary.differences.extend(told.take(room));
    }
}

/// Workload, what was recorded of it, and what came out.
fn differences(recorded: &Made, now: &Made) -> Vec<(Option<String>, String, String)> {
    let mut found = Vec::new();
    let find = |list: &[Decided], id| list.iter().find(|one: &&Decided| one.0 == id).cloned();
    for was in &recorded.decisions {
        let is = find(&now.decisions, was.0.clone());
        if is.as_ref() != Some(was) {
            let (was_told, is_told) = (told(Some(was)), told(is.as_ref()));
            found.push((Some(was.0.to_string()), was_told, is_told));
        }
    }
    for is in &now.decisions {
        if find(&recorded.decisions, is.0.clone()).is_none() {
            found.push((Some(is.0.to_string()), told(None), told(Some(is))));
        }
    }
    if recorded.report != now.report {
        let report = |one: &Made| format!("report {}", one.report);
        found.push((None, report(recorded), report(now)));
    }
    if found.is_empty() {
        let order = |one: &Made| {
            let ids: Vec<&str> = one.decisions.iter().map(|one| one.0.as_str()).collect();
            ids.join(", ")
        };
        found.push((None, order(recorded), order(now)));
    }
    found
}

/// `east 4 (5f3a…)`.
fn told(one: Option<&Decided>) -> String {
    match one {
        None => "no decision".to_owned(),
        Some(Decided(_, digest, words)) if words.is_empty() => {
            format!("nothing changes (digest {digest})")
        }
        Some(Decided(_, digest, words)) => format!("{words} (digest {digest})"),
    }
}
