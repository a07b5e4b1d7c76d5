//! What a bench of policies prints: runs with their figures, then every target with our figure beside it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::replay::measure::Figures;

/// Prints a line; nobody reading any more is no reason to fail.
macro_rules! out {
    ($($arg:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($arg)*);
    }};
}

/// Arguments of the benches that replay traces.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// Folder of the traces.
    #[arg(long, default_value = "../shared/traces", value_name = "DIR")]
    pub traces: PathBuf,
    /// Only inputs whose name has one of these words in it.
    #[arg(long, value_delimiter = ',', value_name = "WORD")]
    pub only: Vec<String>,
    /// Output: a table, or one JSON document.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

impl ReplayArgs {
    /// Whether an input is asked for.
    pub(super) fn wants(&self, input: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| input.contains(word.as_str()))
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// What a bench found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Table {
    /// Name of the bench.
    bench: &'static str,
    /// What the reader must know about the figures.
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<Run>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<Row>,
    targets: Vec<Target>,
}

/// One policy on one trace.
#[derive(Debug, Serialize)]
struct Run {
    trace: String,
    policy: String,
    #[serde(flatten)]
    figures: Figures,
}

/// One policy on one input, in figures of the bench's own.
#[derive(Debug, Serialize)]
struct Row {
    input: String,
    policy: String,
    figures: BTreeMap<&'static str, f64>,
    /// In which order they are printed.
    #[serde(skip)]
    order: Vec<&'static str>,
}

/// One target of `figures.md`.
#[derive(Debug, Serialize)]
struct Target {
    what: String,
    ours: f64,
    /// At most (or, where `at_least`, at least) this is to be reached.
    bound: f64,
    #[serde(rename = "atLeast")]
    at_least: bool,
    reached: bool,
    /// Others' figures.
    others: String,
}

impl Table {
    /// An empty one.
    pub(super) fn new(bench: &'static str) -> Self {
        Self {
            bench,
            ..Self::default()
        }
    }

    /// Something to know about the figures.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// A policy on a trace.
    pub(super) fn run(&mut self, trace: &str, policy: &str, figures: &Figures) {
        // Whole replays take minutes: whoever waits sees how far it is.
        let _ = writeln!(
            std::io::stderr(),
            "{trace}, {policy}: mean JCT {:.0} s, longest wait {:.0} s, {} evicted",
            figures.jct.mean,
            figures.wait.max,
            figures.preemptions
        );
        self.runs.push(Run {
            trace: trace.to_owned(),
            policy: policy.to_owned(),
            figures: figures.clone(),
        });
    }

    /// A policy on an input, in figures that only this bench has.
    pub(super) fn figures(
        &mut self,
        input: &str,
        policy: &str,
        figures: impl IntoIterator<Item = (&'static str, f64)>,
    ) {
        let figures: Vec<(&'static str, f64)> = figures.into_iter().collect();
        self.rows.push(Row {
            input: input.to_owned(),
            policy: policy.to_owned(),
            order: figures.iter().map(|(name, _)| *name).collect(),
            figures: figures.into_iter().collect(),
        });
    }

    /// A figure that must not be above a bound.
    pub(super) fn at_most(
        &mut self,
        what: impl Into<String>,
        ours: f64,
        bound: f64,
        others: impl Into<String>,
    ) {
        self.target(what.into(), ours, bound, false, others.into());
    }

    /// A figure that must not be below a bound.
    pub(super) fn at_least(
        &mut self,
        what: impl Into<String>,
        ours: f64,
        bound: f64,
        others: impl Into<String>,
    ) {
        self.target(what.into(), ours, bound, true, others.into());
    }

    fn target(&mut self, what: String, ours: f64, bound: f64, at_least: bool, others: String) {
        // What is printed is what is compared.
        let ours = (ours * 1000.0).round() / 1000.0;
        let reached = if at_least {
            ours >= bound
        } else {
            ours <= bound
        };
        self.targets.push(Target {
            what,
            ours,
            bound,
            at_least,
            reached,
            others,
        });
    }

    /// Prints all of it.
    pub(super) fn print(&self, output: Output) -> Result<()> {
        if output == Output::Json {
            out!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        for note in &self.notes {
            out!("# {note}");
        }
        if !self.runs.is_empty() {
            self.print_runs();
        }
        for row in &self.rows {
            let figures = row
                .order
                .iter()
                .map(|name| format!("{name} {}", rounded(row.figures[name])));
            out!(
                "{:<16} {:<40} {}",
                row.input,
                row.policy,
                figures.collect::<Vec<_>>().join(", ")
            );
        }
        out!("");
        for target in &self.targets {
            out!(
                "{} {:<66} {:>10.3} (to reach {} {}) {}",
                if target.reached { '✓' } else { '✗' },
                target.what,
                target.ours,
                if target.at_least { '≥' } else { '≤' },
                target.bound,
                target.others
            );
        }
        let reached = self.targets.iter().filter(|target| target.reached).count();
        out!(
            "{}: {reached} of {} targets reached",
            self.bench,
            self.targets.len()
        );
        Ok(())
    }

    fn print_runs(&self) {
        out!(
            "{:<16} {:<34} {:>10} {:>9} {:>10} {:>10} {:>10} {:>10} {:>7} {:>8}",
            "trace",
            "policy",
            "mean JCT",
            "p50",
            "p95",
            "p99",
            "max wait",
            "makespan",
            "evicted",
            "lost"
        );
        for run in &self.runs {
            let one = &run.figures;
            let fairness = one.fairness.map_or(String::new(), |fairness| {
                format!(
                    "  rho {:.3}, {:.1} % unfair",
                    fairness.worst, fairness.unfair_percent
                )
            });
            out!(
                "{:<16} {:<34} {:>10.0} {:>9.0} {:>10.0} {:>10.0} {:>10.0} {:>10.0} {:>7} {:>7.3}%{fairness}",
                run.trace,
                run.policy,
                one.jct.mean,
                one.jct.p50,
                one.jct.p95,
                one.jct.p99,
                one.wait.max,
                one.makespan,
                one.preemptions,
                one.lost_percent
            );
        }
    }
}

/// As many digits as anybody reads.
fn rounded(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

/// Fails where a baseline does not come out as published: then the harness is wrong, and so is every figure of it.
pub(super) fn must_match(what: &str, ours: f64, published: f64, percent: f64) -> Result<()> {
    let off = 100.0 * (ours - published).abs() / published;
    if off > percent {
        bail!(
            "the harness is wrong: {what} is {ours:.0}, published {published:.0}, {off:.2} % off"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_harness_is_an_error() {
        assert!(must_match("x", 100.9, 100.0, 1.0).is_ok());
        assert!(must_match("x", 101.1, 100.0, 1.0).is_err());
        assert!(must_match("x", 98.9, 100.0, 1.0).is_err());
    }

    #[test]
    fn targets_compare_what_they_print() {
        let mut table = Table::new("t");
        table.at_most("a", 1.1304, 1.13, "");
        table.at_most("b", 1.1306, 1.13, "");
        table.at_least("c", 78.0, 78.0, "");
        let reached: Vec<bool> = table.targets.iter().map(|target| target.reached).collect();
        assert_eq!(reached, [true, false, true]);
    }
}
