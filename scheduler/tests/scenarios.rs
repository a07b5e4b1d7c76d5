//! Runs every scenario of `testbed/scenarios`. Those in `open/` say what the planner does not do yet: when one of them comes out as
//! written, it is to be moved to its section. Those in `broken/` are files with mistakes, and beside each stands what is said of it.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use placement_api::reason::Reason;
use scheduler::scenario::{compare, parse, simulate};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/scenarios")
}

/// Files below a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "json")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    let below = path.strip_prefix(root()).unwrap_or(path);
    below.display().to_string()
}

/// What is not as the file says; empty where all is.
fn trouble(path: &Path) -> Vec<String> {
    let file = name(path);
    let text = fs::read_to_string(path).expect("a scenario file");
    let scenario = match parse(&file, &text) {
        Ok(scenario) => scenario,
        Err(problems) => return vec![problems.to_string()],
    };
    let mut trouble = Vec::new();
    if scenario.name.split_whitespace().count() < 4 {
        trouble.push(format!("{file}: its name is no sentence"));
    }
    if scenario.expect.is_none() {
        trouble.push(format!("{file}: it expects nothing"));
    }
    match simulate(&scenario, &mut || 0) {
        Ok(outcome) => {
            let differences = compare(&scenario, &outcome);
            trouble.extend(differences.iter().map(|one| format!("{file}:{one}")));
        }
        Err(broken) => trouble.push(format!("{file}: {broken}")),
    }
    trouble
}

#[test]
fn everything_comes_out_as_written() {
    let apart = ["open", "broken"].map(|folder| root().join(folder));
    let all: Vec<PathBuf> = files(&root())
        .into_iter()
        .filter(|path| !apart.iter().any(|folder| path.starts_with(folder)))
        .collect();
    assert!(all.len() >= 90, "only {} scenarios were found", all.len());
    let trouble: Vec<String> = all.iter().flat_map(|path| trouble(path)).collect();
    assert!(trouble.is_empty(), "\n{}", trouble.join("\n"));
}

#[test]
fn what_is_open_does_not_come_out_yet() {
    let done: Vec<String> = files(&root().join("open"))
        .iter()
        .filter(|path| trouble(path).is_empty())
        .map(|path| {
            format!(
                "{}: comes out as written: move it to its section",
                name(path)
            )
        })
        .collect();
    assert!(done.is_empty(), "\n{}", done.join("\n"));
}

#[test]
fn open_scenarios_are_well_formed() {
    for path in files(&root().join("open")) {
        let text = fs::read_to_string(&path).expect("a scenario file");
        let scenario = parse(&name(&path), &text).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(
            scenario.expect.is_some(),
            "{}: it expects nothing",
            name(&path)
        );
    }
}

#[test]
fn every_reason_to_wait_has_a_scenario() {
    let mut seen = BTreeSet::new();
    let broken = root().join("broken");
    for path in files(&root())
        .iter()
        .filter(|path| !path.starts_with(&broken))
    {
        let text = fs::read_to_string(path).expect("a scenario file");
        let scenario = parse(&name(path), &text).unwrap_or_else(|problems| panic!("{problems}"));
        let expect = scenario.expect.unwrap_or_default();
        seen.extend(
            expect
                .pending
                .into_values()
                .filter_map(|(_, reason)| reason),
        );
    }
    use Reason::{
        FailoverNever, FencePending, HubDegraded, Impossible, InsufficientCapacity, KindNotServed,
        NoDevice, NoLocation, NotYetSubmitted, QueueLimit, QueueNotAllowed, RefusedByTarget,
        ReservedForOlder, SelectorMismatch, ShareExhausted, SpreadImpossible, Suspended,
        TaintNotTolerated, TargetCordoned, TargetLost, TopologyTooSmall, UnknownQueue,
    };
    // `Evicted` is shown while a member still takes something away; between two rounds nothing is under way.
    let all = [
        InsufficientCapacity,
        TopologyTooSmall,
        NoDevice,
        SelectorMismatch,
        TaintNotTolerated,
        NoLocation,
        SpreadImpossible,
        TargetCordoned,
        TargetLost,
        KindNotServed,
        QueueLimit,
        ShareExhausted,
        ReservedForOlder,
        UnknownQueue,
        QueueNotAllowed,
        Suspended,
        NotYetSubmitted,
        FailoverNever,
        FencePending,
        RefusedByTarget,
        Impossible,
        HubDegraded,
    ];
    let missing: Vec<Reason> = all
        .into_iter()
        .filter(|reason| !seen.contains(reason))
        .collect();
    assert!(missing.is_empty(), "no scenario expects {missing:?}");
}

#[test]
fn mistakes_are_named_with_line_field_and_what_would_be_right() {
    let all = files(&root().join("broken"));
    assert!(
        all.len() >= 30,
        "only {} broken files were found",
        all.len()
    );
    let mut wrong = Vec::new();
    for path in all {
        let said = path.with_extension("error");
        let expected =
            fs::read_to_string(&said).unwrap_or_else(|error| panic!("{}: {error}", said.display()));
        let text = fs::read_to_string(&path).expect("a broken file");
        let file = path.file_name().expect("a name").to_string_lossy();
        let found = match parse(&file, &text) {
            Ok(_) => "no mistake was found".to_owned(),
            Err(problems) => problems.to_string(),
        };
        if found.trim() != expected.trim() {
            wrong.push(format!("{file}: expected\n{expected}found\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let text = format!("name: {}\n", "x".repeat(scheduler::scenario::MOST_BYTES));
    let problems = parse("long.yaml", &text).expect_err("too long");
    assert!(
        problems
            .to_string()
            .starts_with("long.yaml:1: the file has "),
        "{problems}"
    );
}
