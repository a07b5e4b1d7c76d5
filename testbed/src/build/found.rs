//! Binaries that the user has already, and whether their versions fit.

use std::{path::PathBuf, process::Command};

use super::{Binary, Group, Tool};

/// The programs of a group, looked for in folders in this order; none unless all are there in one version that fits.
pub(super) fn in_folders(group: &Group, folders: &[PathBuf]) -> Option<Vec<Tool>> {
    let tools: Vec<Tool> = group
        .binaries
        .iter()
        .map(|binary| first(binary, folders))
        .collect::<Option<_>>()?;
    fits(
        group,
        &tools
            .iter()
            .map(|tool| tool.version.as_str())
            .collect::<Vec<_>>(),
    )
    .then_some(tools)
}

fn first(binary: &Binary, folders: &[PathBuf]) -> Option<Tool> {
    let path = folders
        .iter()
        .map(|folder| folder.join(binary.name))
        .find(|path| path.is_file())?;
    // It may be started from another folder than ours.
    let path = std::path::absolute(path).ok()?;
    let output = Command::new(&path)
        .args(binary.version_args)
        .output()
        .ok()?;
    let version = version_in(&String::from_utf8_lossy(&output.stdout))?;
    Some(Tool { path, version })
}

/// The first word of a `--version` text that is a version: `Kubernetes v1.36.3`, `etcd Version: 3.6.16`.
fn version_in(text: &str) -> Option<String> {
    let word = text
        .split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| minor(word).is_some())?;
    Some(word.to_owned())
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let pair = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().map(|_| pair)
}

/// Not older than what we can use, not of another major version, and servers of one minor version among themselves.
fn fits(group: &Group, versions: &[&str]) -> bool {
    let minors: Option<Vec<(u32, u32)>> = versions.iter().map(|version| minor(version)).collect();
    minors.is_some_and(|minors| {
        minors.iter().all(|version| {
            *version >= group.oldest
                && version.0 == group.oldest.0
                && Some(version) == minors.first()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::GROUPS;
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_print() {
        let cases = [
            ("Kubernetes v1.36.3\n", Some("1.36.3")),
            (
                "Client Version: v1.36.3\nKustomize Version: v5.8.1\n",
                Some("1.36.3"),
            ),
            (
                "etcd Version: 3.6.16\nGit SHA: Not provided (use ./build instead of go build)\n",
                Some("3.6.16"),
            ),
            (
                "kwok version v0.8.0 go1.26.8 (linux/amd64)\n",
                Some("0.8.0"),
            ),
            ("kwok version v0.8\n", None),
            ("flag provided but not defined: -version\n", None),
        ];
        for (text, version) in cases {
            assert_eq!(version_in(text).as_deref(), version, "{text}");
        }
    }

    #[test]
    fn only_versions_of_the_same_kind_that_are_new_enough_fit() {
        let [etcd, kubernetes, kwok] = &GROUPS;
        let cases: [(&Group, &[&str], bool); 8] = [
            (etcd, &["3.6.0"], true),
            (etcd, &["3.5.16"], false),
            (etcd, &["4.0.0"], false),
            (kubernetes, &["1.34.0", "1.34.2"], true),
            (kubernetes, &["1.36.3-rc.1", "1.36.3"], true),
            (kubernetes, &["1.33.9", "1.33.9"], false),
            (kubernetes, &["1.36.3", "1.35.4"], false),
            (kwok, &["0.8.0"], true),
        ];
        for (group, versions, fit) in cases {
            assert_eq!(fits(group, versions), fit, "{} {versions:?}", group.name);
        }
    }
}
