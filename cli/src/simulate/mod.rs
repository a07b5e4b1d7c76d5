//! `inhaul simulate`: plans fleets that files describe, with the planner that the live scheduler runs.

mod record;
mod text;
mod what_if;

use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use scheduler::scenario::{self, MOST_BYTES, Outcome, Scenario};
use serde::Serialize;

use crate::args::Simulate;
use crate::failure::Failure;
use crate::output::{self, Format, Paint};

/// How a file came out.
struct Simulated {
    scenario: Scenario,
    outcome: Outcome,
    /// With the changes that were asked about.
    changed: Option<Outcome>,
}

/// One of several files, for machines.
#[derive(Serialize)]
struct Named<'a> {
    file: &'a str,
    name: &'a str,
    #[serde(flatten)]
    outcome: What<'a>,
}

/// The outcome, or both where there is a change.
#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Plain(&'a Outcome),
    Changed {
        before: &'a Outcome,
        after: &'a Outcome,
    },
}

impl Simulated {
    fn what(&self) -> What<'_> {
        match &self.changed {
            None => What::Plain(&self.outcome),
            Some(after) => What::Changed {
                before: &self.outcome,
                after,
            },
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Simulate) -> Result<(), Failure> {
    let yaml = match args.output {
        None => None,
        Some(Format::Json) => Some(false),
        Some(Format::Yaml) => Some(true),
        Some(Format::Name | Format::Wide) => {
            return Err(Failure::typed("simulate prints text, json or yaml")
                .hint("leave out -o, or write -o json"));
        }
    };
    if args.record.is_some() && args.files.len() > 1 {
        return Err(Failure::typed("--record takes one scenario file")
            .hint("record each by a command of its own"));
    }
    let (mut wrong, mut failed) = (false, false);
    let mut results = Vec::new();
    for (index, file) in args.files.iter().enumerate() {
        let scenario = match read(file) {
            Ok(scenario) => scenario,
            Err(problems) => {
                wrong = true;
                problems.iter().for_each(|one| complain(one));
                continue;
            }
        };
        let begun = Instant::now();
        let mut micros = || u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let simulated = match &args.record {
            None => scenario::simulate(&scenario, &mut micros),
            Some(to) => record::simulate(&scenario, to, &mut micros)?,
        };
        let outcome = match simulated {
            Ok(outcome) => outcome,
            Err(broken) => {
                failed = true;
                complain(&format!("{}: {broken}", scenario.file));
                continue;
            }
        };
        if yaml.is_none() && !args.quiet {
            let gap = if index > 0 { "\n" } else { "" };
            let text = text::render(&scenario, &outcome, Paint::stdout());
            output::data(&format!("{gap}{text}"))?;
        }
        let differences = scenario::compare(&scenario, &outcome);
        failed |= !differences.is_empty();
        for difference in &differences {
            complain(&format!("{}:{difference}", scenario.file));
        }
        if yaml.is_none() && !args.quiet && scenario.expect.is_some() && differences.is_empty() {
            output::data("\nAll is as expected.\n")?;
        }
        let changed = what_if::plan(&scenario, &args.what_if, &mut micros)?;
        if let Some(changed) = &changed
            && yaml.is_none()
        {
            output::data(&what_if::render(&args.what_if, &outcome, changed))?;
        }
        results.push(Simulated {
            scenario,
            outcome,
            changed,
        });
    }
    if let Some(yaml) = yaml {
        structured(&results, args.files.len(), yaml)?;
    }
    match (wrong, failed) {
        (true, _) => Err(Failure::said_typed()),
        (false, true) => Err(Failure::said_failed()),
        (false, false) => Ok(()),
    }
}

/// One file: its outcome. Several: a list with their names.
fn structured(results: &[Simulated], files: usize, yaml: bool) -> Result<(), Failure> {
    match results {
        [] => Ok(()),
        [one] if files == 1 => output::structured(&one.what(), yaml),
        _ => {
            let named: Vec<Named<'_>> = results
                .iter()
                .map(|one| Named {
                    file: &one.scenario.file,
                    name: &one.scenario.name,
                    outcome: one.what(),
                })
                .collect();
            output::structured(&named, yaml)
        }
    }
}

fn complain(message: &str) {
    output::talk(&format!("{} {message}", Paint::stderr().red("error:")));
}

/// Reads a file; `-` is the standard input. Errors are one line each.
fn read(file: &Path) -> Result<Scenario, Vec<String>> {
    let name = file.display().to_string();
    let cannot = |error: std::io::Error| {
        vec![format!(
            "{name}: cannot be read: {error}; write the path of a scenario file"
        )]
    };
    // One byte more than allowed tells that there is too much, however long the file or the pipe is.
    let most = MOST_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if name == "-" {
        std::io::stdin()
            .lock()
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(cannot)?;
    } else {
        let open = std::fs::File::open(file).map_err(cannot)?;
        open.take(most).read_to_end(&mut bytes).map_err(cannot)?;
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.split(|byte| *byte == b'\n').skip(1).count();
        vec![format!(
            "{name}:{line}: is not text in UTF-8; write YAML or JSON"
        )]
    })?;
    scenario::parse(&name, &text).map_err(|problems| {
        let one = |problem: &scenario::Problem| format!("{name}:{problem}");
        problems.list.iter().map(one).collect()
    })
}
