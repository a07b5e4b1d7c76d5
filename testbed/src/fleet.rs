//! A hub and its members, started side by side. Dropping a fleet ends all of it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    build::Tools,
    cluster::{Cluster, ClusterSpec, Role, render_kubeconfig},
    files,
    nodes::Description,
    process,
};

/// The name of the hub in every fleet.
pub const HUB: &str = "hub";

/// What to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetSpec {
    /// The hub.
    pub hub: ClusterSpec,
    /// The members, named `member1`, `member2` and so on unless a test names them otherwise.
    pub members: Vec<ClusterSpec>,
}

impl FleetSpec {
    /// A hub and `members` members with the nodes of the demo (`nodes/demo.yaml`).
    pub fn new(members: usize) -> Result<Self> {
        Ok(Self::with_nodes(members, &Description::demo()?))
    }

    /// A hub and `members` members with the nodes of a description.
    pub fn with_nodes(members: usize, nodes: &Description) -> Self {
        let member = |number| {
            let mut spec = ClusterSpec::new(format!("member{number}"), Role::Member);
            spec.pools = nodes.pools_of(&spec.name).to_vec();
            spec
        };
        Self {
            hub: ClusterSpec::new(HUB, Role::Hub),
            members: (1..=members).map(member).collect(),
        }
    }
}

/// A running hub with its members.
#[derive(Debug)]
pub struct Fleet {
    clusters: BTreeMap<String, Cluster>,
    dir: PathBuf,
    /// Whether the folder goes with the fleet.
    temporary: bool,
    /// Locked while the fleet or one of its programs lives.
    _held: File,
}

impl Fleet {
    /// Starts a fleet in a temporary folder that goes when it is dropped (or, after a crash, when the next one starts).
    /// Builds the binaries first if there are none.
    pub fn start(spec: FleetSpec) -> Result<Self> {
        let tools = Tools::ensure()?;
        let (dir, held) = temporary_dir()?;
        Self::start_in(spec, &dir, &held, true, &tools, &|_, _| ())
    }

    /// Starts a fleet in a folder that stays; its lock is taken already. `report` hears of each cluster when it is usable.
    pub(crate) fn start_in(
        spec: FleetSpec,
        dir: &Path,
        held: &File,
        temporary: bool,
        tools: &Tools,
        report: &(dyn Fn(&Cluster, Duration) + Sync),
    ) -> Result<Self> {
        let mut fleet = Self {
            clusters: BTreeMap::new(),
            dir: dir.to_path_buf(),
            // Not while it starts: an error names the logs in there.
            temporary: false,
            _held: held.try_clone()?,
        };
        let specs: Vec<ClusterSpec> = std::iter::once(spec.hub).chain(spec.members).collect();
        if specs
            .first()
            .is_none_or(|hub| hub.name != HUB || hub.role != Role::Hub)
        {
            bail!("the hub of a fleet is called {HUB} and has the role of one");
        }
        for (at, spec) in specs.iter().enumerate() {
            if specs[..at].iter().any(|other| other.name == spec.name) {
                bail!("two clusters are called {}", spec.name);
            }
        }
        let started: Vec<Result<Cluster>> = thread::scope(|scope| {
            let threads: Vec<_> = specs
                .into_iter()
                .zip(1_u8..)
                .map(|(spec, index)| {
                    scope.spawn(move || {
                        let since = Instant::now();
                        let dir = dir.join(&spec.name);
                        let cluster = Cluster::start(&spec, &dir, index, tools, held)?;
                        report(&cluster, since.elapsed());
                        Ok(cluster)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| bail!("a thread that starts a cluster panicked"))
                })
                .collect()
        });
        for cluster in started {
            let cluster = cluster?;
            fleet.clusters.insert(cluster.name().to_owned(), cluster);
        }
        let entries: Vec<_> = std::iter::once(fleet.hub())
            .chain(fleet.members())
            .map(|cluster| cluster.admin().clone())
            .collect();
        files::write_private(&fleet.kubeconfig(), render_kubeconfig(&entries))?;
        fleet.temporary = temporary;
        Ok(fleet)
    }

    /// The hub.
    pub fn hub(&self) -> &Cluster {
        self.member(HUB)
    }

    /// A cluster by name.
    ///
    /// # Panics
    ///
    /// If there is none of that name: the caller named them.
    #[expect(
        clippy::panic,
        reason = "the caller chose the names; tests read better without a Result here"
    )]
    pub fn member(&self, name: &str) -> &Cluster {
        self.clusters
            .get(name)
            .unwrap_or_else(|| panic!("no cluster {name} in this fleet"))
    }

    /// All but the hub, by name.
    pub fn members(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters()
            .filter(|cluster| cluster.role() == Role::Member)
    }

    /// All clusters, by name.
    pub fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters.values()
    }

    /// The folder with everything.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One kubeconfig with a context for each cluster; the hub is the current one.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Bytes of memory of all programs, shared pages counted once.
    pub fn memory(&self) -> u64 {
        process::memory(
            self.clusters()
                .flat_map(|cluster| cluster.processes().into_values()),
        )
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.clusters.clear();
        if self.temporary {
            let _ = files::remove_dir(&self.dir);
        }
    }
}

/// Takes the lock of a fleet's folder; none if somebody has it.
pub(crate) fn lock(dir: &Path) -> Result<Option<File>> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// A new folder for a fleet of tests, locked. A test process ends without dropping what it shares, so its folder is swept by
/// the next: no lock, nobody there.
fn temporary_dir() -> Result<(PathBuf, File)> {
    let base = std::env::temp_dir().join(format!(
        "inhaul-testbed-{}",
        rustix::process::getuid().as_raw()
    ));
    files::private_dir(&base)?;
    let path = base.join("sweep.lock");
    let sweep = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    sweep.lock()?;
    for entry in fs::read_dir(&base)?
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
    {
        if lock(&entry.path()).is_ok_and(|lock| lock.is_some()) {
            let _ = files::remove_dir(&entry.path());
        }
    }
    let dir = tempfile::Builder::new()
        .prefix("fleet-")
        .tempdir_in(&base)?
        .keep();
    let held = lock(&dir)?.context("a new folder is locked")?;
    Ok((dir, held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_get_the_nodes_that_the_description_gives_them() {
        let spec = FleetSpec::new(3).unwrap();
        let names: Vec<&str> = spec
            .members
            .iter()
            .map(|member| member.name.as_str())
            .collect();
        assert_eq!(names, ["member1", "member2", "member3"]);
        assert!(spec.hub.pools.is_empty());
        assert!(spec.members.iter().all(|member| !member.pools.is_empty()));
    }

    #[test]
    fn a_folder_is_swept_when_nobody_holds_its_lock() {
        let (first, held) = temporary_dir().unwrap();
        let (second, _held) = temporary_dir().unwrap();
        assert!(first.exists(), "its lock is held");
        drop(held);
        let (third, _held) = temporary_dir().unwrap();
        assert!(!first.exists());
        for dir in [second, third] {
            files::remove_dir(&dir).unwrap();
        }
    }
}
