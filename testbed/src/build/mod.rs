//! The servers' binaries: found where the user has them, or built with Go, once per version, into the user's cache.
//!
//! ```text
//! KUBEBUILDER_ASSETS -> cache -> PATH -> go build (under a lock, into a folder of its own, then renamed)
//! ```

mod compile;
mod found;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{files, wait};

/// How long another process may build: a first build takes minutes, and much longer on a machine that does much else.
const A_BUILD: Duration = Duration::from_hours(1);

/// Everything that a cluster is made of, as paths of programs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tools {
    /// `etcd`.
    pub etcd: Tool,
    /// `kube-apiserver`.
    pub apiserver: Tool,
    /// `kube-controller-manager`.
    pub controller_manager: Tool,
    /// `kube-scheduler`.
    pub scheduler: Tool,
    /// `kubectl`.
    pub kubectl: Tool,
    /// `kwok`, which plays the kubelets.
    pub kwok: Tool,
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tool {
    /// Where it is.
    pub path: PathBuf,
    /// Its version without the `v`, as in `1.36.3`.
    pub version: String,
}

impl Tools {
    /// Finds the binaries, or builds them and says so on standard error. Safe to call in several processes at once.
    pub fn ensure() -> Result<Self> {
        let cache = cache()?;
        let mut found = [None, None, None];
        for (group, slot) in GROUPS.iter().zip(&mut found) {
            *slot = find(group, &cache);
        }
        if found.iter().any(Option::is_none) {
            build_missing(&cache, &mut found)?;
        }
        let [Some(etcd), Some(kubernetes), Some(kwok)] = found else {
            anyhow::bail!(
                "binaries are missing after the build; remove {} and try again",
                cache.display()
            );
        };
        let [Some(etcd), Some(kwok)] = [etcd.into_iter().next(), kwok.into_iter().next()] else {
            anyhow::bail!("a group of tools is empty");
        };
        let [apiserver, controller_manager, scheduler, kubectl] = <[Tool; 4]>::try_from(kubernetes)
            .ok()
            .context("four Kubernetes tools are expected")?;
        Ok(Self {
            etcd,
            apiserver,
            controller_manager,
            scheduler,
            kubectl,
            kwok,
        })
    }

    /// `kubernetes v1.36.3, etcd v3.6.16, kwok v0.8.0`.
    pub fn versions(&self) -> String {
        format!(
            "kubernetes v{}, etcd v{}, kwok v{}",
            self.apiserver.version, self.etcd.version, self.kwok.version
        )
    }
}

/// Programs of one upstream project, built from one Go module.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// The module whose version counts.
    module: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    binaries: &'static [Binary],
    /// The oldest version that is taken from elsewhere.
    oldest: (u32, u32),
    /// How long a first build takes on two cores, with downloads.
    first_build: &'static str,
}

#[derive(Debug)]
struct Binary {
    name: &'static str,
    package: &'static str,
    version_args: &'static [&'static str],
}

const fn binary(name: &'static str, package: &'static str) -> Binary {
    Binary {
        name,
        package,
        version_args: &["--version"],
    }
}

/// In the order in which they are built: the quick one first, so that a broken Go shows within a minute.
pub(crate) static GROUPS: [Group; 3] = [
    Group {
        name: "etcd",
        module: "go.etcd.io/etcd/server/v3",
        go_mod: include_str!("../../etcd/go.mod"),
        go_sum: include_str!("../../etcd/go.sum"),
        binaries: &[binary("etcd", "go.etcd.io/etcd/server/v3")],
        // Older ones cannot serve the watch lists of Kubernetes 1.34 and later.
        oldest: (3, 6),
        first_build: "1 min",
    },
    Group {
        name: "kubernetes",
        module: "k8s.io/kubernetes",
        go_mod: include_str!("../../kubernetes/go.mod"),
        go_sum: include_str!("../../kubernetes/go.sum"),
        binaries: &[
            binary("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            binary(
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
            ),
            binary("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            Binary {
                name: "kubectl",
                package: "k8s.io/kubernetes/cmd/kubectl",
                version_args: &["version", "--client"],
            },
        ],
        oldest: (1, 34),
        first_build: "5 min",
    },
    Group {
        name: "kwok",
        module: "sigs.k8s.io/kwok",
        go_mod: include_str!("../../kwok/go.mod"),
        go_sum: include_str!("../../kwok/go.sum"),
        binaries: &[binary("kwok", "sigs.k8s.io/kwok/cmd/kwok")],
        oldest: (0, 7),
        first_build: "90 s",
    },
];

impl Group {
    /// The version that its go.mod names, without the `v`.
    fn version(&self) -> &'static str {
        let version = self.go_mod.lines().find_map(|line| {
            let (module, version) = line.trim().trim_start_matches("require ").split_once(' ')?;
            (module == self.module).then(|| version.split_whitespace().next())?
        });
        version.unwrap_or_default().trim_start_matches('v')
    }

    /// Why the user's folder does not do.
    fn not_in(&self, dir: &str) -> String {
        let names: Vec<&str> = self.binaries.iter().map(|binary| binary.name).collect();
        let (major, minor) = self.oldest;
        format!(
            "KUBEBUILDER_ASSETS={dir} does not hold {} in version {major}.{minor} or newer.",
            names.join(", ")
        )
    }

    /// Its programs in a folder of the cache, if all are there.
    fn cached(&self, cache: &Path) -> Option<Vec<Tool>> {
        let one = |binary: &Binary| {
            let path = cache.join("bin").join(binary.name);
            path.is_file().then(|| Tool {
                path,
                version: self.version().to_owned(),
            })
        };
        self.binaries.iter().map(one).collect()
    }
}

/// The cache of exactly these versions.
fn cache() -> Result<PathBuf> {
    let [etcd, kubernetes, kwok] = GROUPS.each_ref().map(Group::version);
    Ok(files::cache_dir()?.join(format!("{kubernetes}-{etcd}-{kwok}")))
}

fn find(group: &Group, cache: &Path) -> Option<Vec<Tool>> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    assets
        .and_then(|dir| found::in_folders(group, &[dir]))
        .or_else(|| group.cached(cache))
        .or_else(|| {
            found::in_folders(
                group,
                &std::env::split_paths(&std::env::var_os("PATH")?).collect::<Vec<_>>(),
            )
        })
}

fn build_missing(cache: &Path, found: &mut [Option<Vec<Tool>>; 3]) -> Result<()> {
    files::private_dir(cache)?;
    let path = cache.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let started = Instant::now();
    let mut said = 0;
    wait::until(
        "another process that builds the testbed's binaries",
        A_BUILD,
        || {
            if lock.try_lock().is_ok() {
                return Ok(Some(()));
            }
            let waited = started.elapsed().as_secs();
            if waited >= said {
                eprintln!(
                    "Another process builds the testbed's binaries; waiting for it since {waited} s …"
                );
                said = waited + 20;
            }
            Ok(None)
        },
    )?;
    let missing: Vec<&Group> = GROUPS
        .iter()
        .zip(&*found)
        .filter(|(group, found)| found.is_none() && group.cached(cache).is_none())
        .map(|(group, _)| group)
        .collect();
    if !missing.is_empty() {
        if let Some(dir) = std::env::var_os("KUBEBUILDER_ASSETS") {
            for group in &missing {
                eprintln!("{}", group.not_in(&dir.to_string_lossy()));
            }
        }
        compile::all(&missing, cache)?;
    }
    for (group, slot) in GROUPS.iter().zip(found) {
        if slot.is_none() {
            *slot = group.cached(cache);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_modules() {
        for group in &GROUPS {
            let parts: Vec<u32> = group
                .version()
                .split('.')
                .map(|part| part.parse().unwrap())
                .collect();
            assert_eq!(parts.len(), 3, "{}: {}", group.name, group.version());
            assert!(
                (parts[0], parts[1]) >= group.oldest,
                "{} is older than what we take from others",
                group.name
            );
        }
    }

    #[test]
    fn every_program_is_a_tool_of_its_module() {
        for group in &GROUPS {
            for binary in group.binaries {
                assert!(
                    group.go_mod.contains(binary.package),
                    "{} is not in go.mod",
                    binary.package
                );
            }
        }
    }

    #[test]
    fn a_cache_counts_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let kubernetes = &GROUPS[1];
        for (i, binary) in kubernetes.binaries.iter().enumerate() {
            assert_eq!(
                kubernetes.cached(dir.path()),
                None,
                "{i} of {} are there",
                kubernetes.binaries.len()
            );
            std::fs::write(dir.path().join("bin").join(binary.name), "").unwrap();
        }
        assert_eq!(
            kubernetes.cached(dir.path()).unwrap().len(),
            kubernetes.binaries.len()
        );
    }
}
