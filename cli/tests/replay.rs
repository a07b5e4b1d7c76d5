//! `inhaul replay` as people run it: the same run again, a changed decision, damaged files, exit codes.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use scheduler::record::{Encoder, Step};
use scheduler::scenario;

fn inhaul(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inhaul"))
        .args(args)
        .output()
        .expect("inhaul runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Records an example of the manual into a folder.
fn recorded(folder: &Path) -> (PathBuf, String) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/priority.yaml");
    let to = folder.join("run.jsonl");
    let out = inhaul(&[
        "simulate",
        "-q",
        "--record",
        to.to_str().expect("a path"),
        example.to_str().expect("a path"),
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let lines = fs::read_to_string(&to).expect("a recording");
    (to, lines)
}

fn replay(file: &Path, more: &[&str]) -> Output {
    let mut args = vec!["replay", file.to_str().expect("a path")];
    args.extend(more);
    inhaul(&args)
}

#[test]
fn a_recorded_run_comes_out_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, _) = recorded(folder.path());
    let out = replay(&file, &[]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    for part in [
        "docs/examples/priority.yaml\n",
        "ends       the simulation is over",
        "every decision came out as it was recorded, bit for bit",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let out = replay(&file, &["-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(json["different"], 0);
    assert!(json["decisions"].as_u64() > Some(3), "{json}");
    // What is there is not written over.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/gang.yaml");
    let path = file.to_str().expect("a path");
    let again = inhaul(&[
        "simulate",
        "-q",
        "--record",
        path,
        example.to_str().expect("a path"),
    ]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stderr));
    assert_eq!(replay(&file, &[]).status.code(), Some(0));
}

#[test]
fn damage_is_told_with_its_line_and_exit_code_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, lines) = recorded(folder.path());
    let count = lines.lines().count();
    let bad = folder.path().join("bad.jsonl");
    let told = |content: &[u8]| {
        fs::write(&bad, content).expect("written");
        let out = replay(&bad, &[]);
        assert_eq!(out.status.code(), Some(1));
        text(&out.stderr)
    };
    let plan = lines
        .lines()
        .position(|line| line.contains("\"plan\""))
        .expect("a plan");
    let changed = lines.replacen("\"plan\":{\"now\":0", "\"plan\":{\"now\":1", 1);
    assert_ne!(changed, lines);
    let said = told(changed.as_bytes());
    assert!(
        said.contains(&format!("line {}: its sum does not fit", plan + 1)),
        "{said}"
    );
    let said = told(&lines.as_bytes()[..lines.len() - 2]);
    assert!(
        said.contains(&format!("line {count}: it is cut off")),
        "{said}"
    );
    assert!(said.contains("up to there: "), "{said}");
    let said = told(b"name: gang\n");
    assert!(said.contains("line 1: this is no recording"), "{said}");
    let said = told(b"");
    assert!(said.contains("is empty"), "{said}");
    let said = told(b"[\"\xff\xfe\n");
    assert!(said.contains("line 1: it is not text in UTF-8"), "{said}");
    let out = inhaul(&["replay", "/nowhere.jsonl"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("cannot be read"),
        "{}",
        text(&out.stderr)
    );
    assert_eq!(replay(&bad, &["-o", "name"]).status.code(), Some(2));
}

#[test]
fn a_decision_that_comes_out_otherwise_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.jsonl");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/priority.yaml");
    let example = fs::read_to_string(example).expect("an example");
    let scenario = scenario::parse("priority.yaml", &example).expect("a scenario");
    let (_, steps) = scenario::recorded(&scenario, &mut || 0).expect("a run");
    let (mut encoder, mut lines) = Encoder::begin("a run of another version", 0);
    for mut step in steps {
        if let Step::Plan { made, .. } = &mut step {
            made.decisions[0].2 = "mars 7".to_owned();
        }
        lines += &encoder.step(step);
    }
    fs::write(&file, lines).expect("written");
    let out = replay(&file, &[]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{said}");
    for part in [
        "came out otherwise",
        "cycle 1",
        "recorded  mars 7",
        "now       ",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let out = replay(&file, &["-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(json["differences"][0]["cycle"], 1);
}

#[test]
fn a_recording_without_its_last_line_is_good_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, lines) = recorded(folder.path());
    let mut open: Vec<&str> = lines.split_inclusive('\n').collect();
    open.pop();
    fs::write(&file, open.concat()).expect("written");
    let out = replay(&file, &[]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("there is no last line"), "{said}");
}
