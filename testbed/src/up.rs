//! Fleets that outlive the command that started them.
//!
//! ```text
//! testbed up ── spawns ──> testbed supervise DIR (own session) ── holds ──> etcd, kube-apiserver …
//!     │  stdin:  the spec, then "detach"; closed before that = the supervisor ends
//!     │  stdout: one JSON event per line: cluster ready, up, failed
//! testbed down ── SIGTERM ──> supervisor; its children die with it; the lock of DIR is free when the last is gone
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::{
    build::Tools,
    cluster::{Cluster, Component, Role},
    files,
    fleet::{self, Fleet, FleetSpec},
    nodes::Summary,
    process, wait,
};

/// The hidden sub-command that [`supervise`] serves.
pub(crate) const SUPERVISE: &str = "supervise";

/// The name of a testbed that is given none.
pub const DEFAULT: &str = "default";

/// What a running testbed says about itself, in `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The supervisor.
    pub pid: u32,
    /// When it was up, RFC 3339.
    pub since: jiff::Timestamp,
    /// What it runs.
    pub tools: Tools,
    /// Its clusters, the hub first.
    pub clusters: Vec<ClusterState>,
    /// Bytes of memory when it was up.
    pub memory: u64,
}

/// One cluster of a running testbed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Its name.
    pub name: String,
    /// Hub or member.
    pub role: Role,
    /// `https://127.0.0.1:…`
    pub server: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// `7 nodes · 32 × H100 in 2 racks`; empty for a hub.
    pub nodes: String,
    /// Seconds from start to usable.
    pub seconds: f64,
    /// Its programs' process ids.
    pub processes: BTreeMap<Component, u32>,
}

impl ClusterState {
    fn of(cluster: &Cluster, took: Duration) -> Self {
        let pools = &cluster.spec().pools;
        Self {
            name: cluster.name().to_owned(),
            role: cluster.role(),
            server: cluster.server().to_owned(),
            kubeconfig: cluster.kubeconfig(),
            nodes: if pools.is_empty() {
                String::new()
            } else {
                Summary(pools).to_string()
            },
            seconds: took.as_secs_f64(),
            processes: cluster.processes(),
        }
    }

    /// The programs that no longer run.
    pub fn ended(&self) -> Vec<Component> {
        self.processes
            .iter()
            .filter(|(_, id)| !alive(**id))
            .map(|(component, _)| *component)
            .collect()
    }
}

/// What the supervisor says while it starts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// One cluster is usable.
    Ready(ClusterState),
    /// All are.
    Up(Box<State>),
    /// It failed and ends.
    Failed(String),
}

/// A testbed by name, running or not.
#[derive(Debug, Clone)]
pub struct Testbed {
    name: String,
    dir: PathBuf,
}

/// How a testbed is found.
#[derive(Debug)]
pub enum Found {
    /// Nothing there.
    Nothing,
    /// Running.
    Up(Box<State>),
    /// Somebody starts it right now.
    Starting,
    /// It ended without `down`; its folder is left.
    Left,
}

impl Testbed {
    /// The testbed of a name.
    pub fn named(name: &str) -> Result<Self> {
        if name.is_empty()
            || name.starts_with('-')
            || !name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        {
            bail!("{name:?} cannot be a testbed's name: use small letters, digits and -");
        }
        Ok(Self {
            name: name.to_owned(),
            dir: files::state_dir()?.join(name),
        })
    }

    /// All that have a folder, by name.
    pub fn all() -> Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(files::state_dir()?) else {
            return Ok(Vec::new());
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut all: Vec<Self> = names
            .filter_map(|name| Self::named(&name).ok())
            .filter(|testbed| testbed.dir.is_dir())
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One kubeconfig with a context for each cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Whether it runs.
    pub fn find(&self) -> Result<Found> {
        if !self.dir.is_dir() {
            return Ok(Found::Nothing);
        }
        if fleet::lock(&self.dir)?.is_some() {
            return Ok(Found::Left);
        }
        // The supervisor removes what an earlier one left before it starts anything, so a state is the running one's.
        match fs::read_to_string(self.state_file()) {
            Ok(text) => Ok(Found::Up(Box::new(
                serde_json::from_str(&text).context("state.json cannot be read")?,
            ))),
            Err(_) => Ok(Found::Starting),
        }
    }

    /// Starts it in a process of its own and hears its events until it is up. When this process ends before, it ends too.
    pub fn start(
        &self,
        spec: &FleetSpec,
        tools: &Tools,
        mut hear: impl FnMut(&Event),
    ) -> Result<State> {
        files::private_dir(&self.dir)?;
        let log_file = self.dir.join("supervisor.log");
        let log = File::create(&log_file)
            .with_context(|| format!("cannot write {}", log_file.display()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(SUPERVISE)
            .arg(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        // It outlives the terminal and must not keep a folder busy.
        let mut supervisor = command
            .current_dir("/")
            .spawn()
            .context("cannot start the supervisor")?;
        let mut input = supervisor.stdin.take().context("no standard input")?;
        let output = supervisor.stdout.take().context("no standard output")?;
        writeln!(input, "{}", serde_json::to_string(&(spec, tools))?)?;
        for line in BufReader::new(output).lines() {
            let event: Event =
                serde_json::from_str(&line?).context("the supervisor says something strange")?;
            hear(&event);
            match event {
                Event::Ready(_) => {}
                Event::Up(state) => {
                    writeln!(input, "detach")?;
                    return Ok(*state);
                }
                Event::Failed(error) => {
                    let _ = supervisor.wait();
                    bail!(error);
                }
            }
        }
        let status = supervisor.wait()?;
        bail!(
            "the supervisor ended ({status}):\n{}",
            files::tail(&log_file, 8)
        )
    }

    /// Ends it and removes its folder. False if it did not run.
    pub fn down(&self) -> Result<bool> {
        if !self.dir.is_dir() {
            return Ok(false);
        }
        let mut ran = false;
        let what = format!("the end of the programs of testbed {}", self.name);
        let held = wait::until(&what, Duration::from_secs(30), || {
            let held = fleet::lock(&self.dir)?;
            // A supervisor that starts right now writes its id a moment after it took the lock, hence in the loop.
            if held.is_none() && !ran {
                ran = self.end_supervisor()?;
            }
            Ok(held)
        })?;
        files::remove_dir(&self.dir)?;
        drop(held);
        Ok(ran)
    }

    /// False if it is gone already, while its children still end, or has not said its id yet.
    fn end_supervisor(&self) -> Result<bool> {
        let text = fs::read_to_string(self.pid_file()).unwrap_or_default();
        let Ok(pid) = text.trim().parse() else {
            return Ok(false);
        };
        let there = is_supervisor(pid, &self.dir);
        if there {
            process::signal_to(pid, Signal::TERM)?;
        }
        Ok(there)
    }

    fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("supervisor.pid")
    }
}

/// The sub-command `supervise DIR`: starts a fleet as told on standard input, holds it, and never returns while it runs.
pub(crate) fn supervise(dir: &Path) -> Result<()> {
    // Away from the terminal: Ctrl-C there ends `up`, and the end of `up` ends us.
    let _ = rustix::process::setsid();
    let name = dir
        .file_name()
        .and_then(|name| name.to_str())
        .context("no folder given")?;
    let testbed = Testbed {
        name: name.to_owned(),
        dir: dir.to_path_buf(),
    };
    let fleet = hold(&testbed);
    if let Err(error) = &fleet {
        say(&Event::Failed(format!("{error:#}")))?;
    }
    let _fleet = fleet?;
    loop {
        thread::park();
    }
}

fn hold(testbed: &Testbed) -> Result<Fleet> {
    let (first, spec) = mpsc::sync_channel(1);
    let (detached, detach) = mpsc::sync_channel::<()>(1);
    thread::spawn(move || {
        let mut lines = std::io::stdin().lines().map_while(Result::ok);
        if let Some(line) = lines.next() {
            let _ = first.send(line);
        }
        if lines.next().as_deref() != Some("detach") {
            // `up` is gone before we were up: nobody wants us. Our children die with us.
            std::process::exit(1);
        }
        let _ = detached.send(());
    });
    let (spec, tools): (FleetSpec, Tools) =
        serde_json::from_str(&spec.recv().context("no spec given")?)?;
    let Some(lock) = fleet::lock(&testbed.dir)? else {
        bail!("testbed {} is up or starting already", testbed.name)
    };
    // What an earlier one left.
    let _ = fs::remove_file(testbed.state_file());
    for entry in fs::read_dir(&testbed.dir)?.filter_map(Result::ok) {
        if entry.file_type()?.is_dir() {
            files::remove_dir(&entry.path())?;
        }
    }
    files::write_private(&testbed.pid_file(), std::process::id().to_string())?;

    let (ready, states) = mpsc::channel();
    let fleet = Fleet::start_in(
        spec,
        &testbed.dir,
        &lock,
        false,
        &tools,
        &|cluster, took| {
            let state = ClusterState::of(cluster, took);
            let _ = say(&Event::Ready(state.clone()));
            let _ = ready.send(state);
        },
    )?;
    drop(ready);
    let mut clusters: Vec<ClusterState> = states.into_iter().collect();
    clusters
        .sort_by(|a, b| (a.role == Role::Member, &a.name).cmp(&(b.role == Role::Member, &b.name)));
    let state = State {
        pid: std::process::id(),
        since: jiff::Timestamp::now(),
        tools,
        clusters,
        memory: fleet.memory(),
    };
    files::write_private(&testbed.state_file(), serde_json::to_string_pretty(&state)?)?;
    say(&Event::Up(Box::new(state)))?;
    detach.recv().context("`up` is gone")?;
    Ok(fleet)
}

fn say(event: &Event) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(event)?)?;
    Ok(out.flush()?)
}

/// Whether a process runs (and is not merely waiting to be reaped).
fn alive(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Whether a process id still is the supervisor of a folder and not a newcomer with the same number.
fn is_supervisor(id: u32, dir: &Path) -> bool {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.get(1) == Some(&SUPERVISE.as_bytes())
        && words.get(2) == Some(&dir.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_folders() {
        for (name, good) in [
            ("default", true),
            ("a-1", true),
            ("", false),
            ("-x", false),
            ("../x", false),
            ("A", false),
            ("a b", false),
        ] {
            assert_eq!(Testbed::named(name).is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn a_process_is_alive_until_it_ended() {
        assert!(alive(std::process::id()));
        let mut child = Command::new("true").spawn().unwrap();
        wait::until("its end", Duration::from_secs(10), || {
            Ok((!alive(child.id())).then_some(()))
        })
        .unwrap();
        child.wait().unwrap();
        assert!(!alive(child.id()));
        assert!(!is_supervisor(std::process::id(), Path::new("/")));
    }
}
