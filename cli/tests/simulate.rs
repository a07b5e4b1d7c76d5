//! `inhaul simulate` as people run it: text, JSON, exit codes, and the examples of the manual.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn inhaul(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inhaul"))
        .arg("simulate")
        .args(args)
        .output()
        .expect("inhaul runs")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn scenario(name: &str) -> String {
    let path = root().join("testbed/scenarios").join(name);
    path.to_str().expect("a path").to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_says_what_runs_where_and_who_gave_way() {
    let out = inhaul(&[&scenario("give-way/01-priority-in-one-queue.yaml")]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    for part in [
        "a workload of higher priority in the same queue takes the place of a lower one",
        "Evicted",
        "for high: PreemptedByPriority",
        "east e-0 1",
        "All is as expected.",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

#[test]
fn json_has_rounds_and_metrics() {
    let out = inhaul(&[
        "-o",
        "json",
        &scenario("give-way/01-priority-in-one-queue.yaml"),
    ]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let round = &json["rounds"][0];
    assert_eq!(round["evicted"]["low"]["by"], "high");
    assert_eq!(round["evicted"]["low"]["reason"], "PreemptedByPriority");
    assert_eq!(
        round["placed"]["high"],
        serde_json::json!([{"target": "east", "node": "e-0", "pods": "main", "count": 1}])
    );
    assert_eq!(json["metrics"]["allocated"]["gpu"], 1.0);
    assert_eq!(json["metrics"]["cycles"], 1);
}

#[test]
fn several_files_are_a_list() {
    let files = [
        "rules/01-insufficient-capacity.yaml",
        "rules/02-no-device.yaml",
    ]
    .map(scenario);
    let out = inhaul(&["-o", "json", &files[0], &files[1]]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    assert_eq!(json[1]["file"], files[1].as_str());
    assert_eq!(
        json[1]["rounds"][0]["pending"]["train"]["reason"],
        "NoDevice"
    );
}

#[test]
fn what_if_says_what_would_change() {
    let file = scenario("shares/10-limit.yaml");
    let out = inhaul(&[&file, "--what-if", "queue a limit gpu +1"]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("what if queue a limit gpu +1"), "{said}");
    assert!(
        said.contains("a-2  waits (QueueLimit) → east e-0 1"),
        "{said}"
    );
    assert!(said.contains("1 workload stays as it is"), "{said}");
    let out = inhaul(&["-o", "json", &file, "--what-if", "queue a limit gpu +1"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(
        json["before"]["rounds"][0]["pending"]["a-2"]["reason"],
        "QueueLimit"
    );
    assert!(json["after"]["rounds"][0]["placed"]["a-2"].is_array());
    let out = inhaul(&[&file, "--what-if", "queue b limit gpu +1"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("there is no queue \"b\""));
}

#[test]
fn what_is_not_as_expected_is_exit_code_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.yaml");
    let yaml = "name: it cannot be there\nfleet: [{target: east}]\nworkloads: [{name: a, pods: [{}]}]\nexpect: {placed: {a: [{target: east}]}}\n";
    std::fs::write(&file, yaml).expect("written");
    let out = inhaul(&["--quiet", file.to_str().expect("a path")]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.contains("wrong.yaml:4: a: expected placed some on east, found pending for"),
        "{said}"
    );
    assert!(out.stdout.is_empty(), "quiet says only what is wrong");
}

#[test]
fn what_is_written_wrong_is_exit_code_2() {
    let out = inhaul(&[&scenario("broken/negative-quantity.yaml")]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(
        said.contains("negative-quantity.yaml:11: workloads[2].pods[0].requests.gpu: \"-1\" is negative; write a quantity of 0 or more"),
        "{said}"
    );
    for args in [vec!["nowhere.yaml"], vec![], vec!["-o", "name", "x.yaml"]] {
        assert_eq!(inhaul(&args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_examples_of_the_manual_come_out_as_written() {
    let folder = root().join("docs/examples");
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .expect("docs/examples")
        .map(|entry| {
            entry
                .expect("an entry")
                .path()
                .to_str()
                .expect("a path")
                .to_owned()
        })
        .collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    let manual = std::fs::read_to_string(root().join("docs/scheduling.md")).expect("the manual");
    for file in &files {
        let name = Path::new(file)
            .file_name()
            .expect("a name")
            .to_string_lossy();
        assert!(
            manual.contains(&format!("docs/examples/{name}")),
            "the manual does not mention {name}"
        );
    }
    let out = inhaul(&files.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(
        out.status.code(),
        Some(0),
        "{}{}",
        text(&out.stdout),
        text(&out.stderr)
    );
}
