//! The cores stay pure: plain data in, plain data out. No client, no runtime, no clock, no files, no randomness, and no
//! collection whose order differs from run to run.

use std::fs;
use std::path::{Path, PathBuf};

/// Sources that must be pure, from the root of the workspace.
const CORES: &[&str] = &[
    "scheduler/src/plan",
    "scheduler/src/fleet",
    "scheduler/src/record",
    "scheduler/src/scenario",
    "scheduler/src/shares",
    "scheduler/src/whatif",
    "syncer/src/decide",
];

/// What must not occur in them, outside comments and tests.
const FORBIDDEN: &[&str] = &[
    "tokio",
    "async fn",
    "async move",
    ".await",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "HashMap",
    "HashSet",
    "client::",
    "std::fs",
    "std::net",
    "std::env",
    "std::io",
    "std::thread",
    "std::process",
    "rand::",
    "RefCell",
    "Mutex",
    "static mut",
];

#[test]
fn the_cores_are_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let mut found = Vec::new();
    for core in CORES {
        let files = sources(&root.join(core));
        assert!(
            !files.is_empty(),
            "{core} has no sources: the list is out of date"
        );
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file");
            found.extend(
                impurities(&text)
                    .into_iter()
                    .map(|(line, word)| format!("{}:{line}: {word}", file.display())),
            );
        }
    }
    assert!(
        found.is_empty(),
        "the cores must stay pure:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_check_can_fail() {
    for (text, expected) in [
        ("use tokio::time;", vec![(1, "tokio")]),
        ("\npub async fn plan() {}", vec![(2, "async fn")]),
        ("let now = Instant::now();", vec![(1, "Instant::now")]),
        ("use std::collections::HashMap;", vec![(1, "HashMap")]),
        ("use crate::client::Client;", vec![(1, "client::")]),
        (
            "std::fs::read(x); std::net::lookup(x)",
            vec![(1, "std::fs"), (1, "std::net")],
        ),
        ("// no tokio here\n/// nor Instant::now", vec![]),
        (
            "fn pure() {}\n#[cfg(test)]\nmod tests { use std::collections::HashMap; }",
            vec![],
        ),
        (
            "#[cfg(test)]\nuse crate::x;\nuse tokio::y;",
            vec![(3, "tokio")],
        ),
        (
            "#[cfg(test)]\nmod tests;\nuse tokio::y;",
            vec![(3, "tokio")],
        ),
    ] {
        assert_eq!(impurities(text), expected, "{text}");
    }
}

/// All sources below a folder, without those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name == "tests" || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Line and word of everything forbidden. A module of tests (`#[cfg(test)] mod x {`) ends the file.
fn impurities(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    let mut for_tests = false;
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default().trim();
        if for_tests && code.starts_with("mod ") && !code.ends_with(';') {
            break;
        }
        if !for_tests {
            found.extend(
                FORBIDDEN
                    .iter()
                    .filter(|word| code.contains(**word))
                    .map(|word| (number + 1, *word)),
            );
        }
        for_tests = code == "#[cfg(test)]" || for_tests && code.starts_with("#[");
    }
    found
}
