//! A whole Inhaul on a real fleet: hub and members, the scheduler and the agents as processes of their own with exactly
//! the identities that their Deployments would have, registered with the command line. The demo, the tests and the benches
//! stand on it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use client::{ConnectOptions, Connection};
use placement_api::api_type::{ApiType, ObjectKey};
use placement_api::kinds::{SyncTarget, api};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::build::Tools;
use crate::fleet::{Fleet, FleetSpec};
use crate::process::{Process, ProcessSpec, child_exec};

/// How long anything may take before it is held for broken. It says nothing of how fast things are, benches do: a shared machine may be
/// ten times slower for minutes.
pub const PATIENCE: Duration = Duration::from_mins(5);
/// Between two looks at a condition, unless a look takes longer than a quarter of it: then longer, so that looking is no load.
const LOOK: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Clone, Debug)]
pub struct RigSpec {
    /// The clusters.
    pub fleet: FleetSpec,
    /// Which member becomes which target, with labels `key=value`.
    pub targets: Vec<RigTarget>,
    /// Further arguments of the scheduler.
    pub scheduler_args: Vec<String>,
    /// Further arguments of every agent.
    pub agent_args: Vec<String>,
}

/// A member that is registered as a target.
#[derive(Clone, Debug)]
pub struct RigTarget {
    /// Name of the target.
    pub name: String,
    /// Name of the member in the fleet.
    pub member: String,
    /// Labels `key=value`.
    pub labels: Vec<String>,
}

impl RigTarget {
    /// A target of this name on this member.
    pub fn new(name: &str, member: &str, labels: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            member: member.to_owned(),
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
        }
    }
}

/// A running Inhaul. Dropping it ends every process.
pub struct Rig {
    spec: RigSpec,
    fleet: Fleet,
    dir: PathBuf,
    hub: Admin,
    members: BTreeMap<String, Admin>,
    scheduler: Mutex<Option<Process>>,
    agents: Mutex<BTreeMap<String, Process>>,
    operators: Mutex<BTreeMap<String, Process>>,
}

impl Rig {
    /// Starts the clusters, installs Inhaul on the hub, registers the targets, starts the scheduler and the agents, and
    /// waits until every target is Ready. `say` is told of each step.
    pub async fn start(spec: RigSpec, mut say: impl FnMut(&str)) -> Result<Self> {
        let rig = Self::start_clusters(spec).await?;
        say("clusters");
        rig.install().await?;
        rig.start_scheduler()?;
        say("hub");
        for target in &rig.spec.targets {
            rig.register(target).await?;
            rig.start_agent(&target.name)?;
        }
        for target in &rig.spec.targets {
            rig.target_state(&target.name, "Ready").await?;
            say(&target.name);
        }
        Ok(rig)
    }

    /// Starts only the clusters.
    pub async fn start_clusters(spec: RigSpec) -> Result<Self> {
        let fleet_spec = spec.fleet.clone();
        let fleet = tokio::task::spawn_blocking(move || Fleet::start(fleet_spec)).await??;
        let dir = fleet.dir().join("inhaul");
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        let hub = Admin::connect(&fleet.hub().kubeconfig()).await?;
        let mut members = BTreeMap::new();
        for target in &spec.targets {
            let kubeconfig = fleet.member(&target.member).kubeconfig();
            members.insert(target.name.clone(), Admin::connect(&kubeconfig).await?);
        }
        Ok(Self {
            spec,
            fleet,
            dir,
            hub,
            members,
            scheduler: Mutex::default(),
            agents: Mutex::default(),
            operators: Mutex::default(),
        })
    }

    /// The hub, as its admin.
    pub fn hub(&self) -> &Admin {
        &self.hub
    }

    /// The member behind a target, as its admin.
    ///
    /// # Panics
    /// Where there is no such target: a mistake in the caller.
    #[expect(clippy::panic, reason = "a mistake in a test or in the demo itself")]
    pub fn member(&self, target: &str) -> &Admin {
        self.members
            .get(target)
            .unwrap_or_else(|| panic!("no target {target} in this rig"))
    }

    /// The clusters, for faults.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Names of the targets.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.spec.targets.iter().map(|t| t.name.as_str())
    }

    /// Name of the member behind a target.
    pub fn member_name<'a>(&'a self, target: &'a str) -> &'a str {
        self.spec
            .targets
            .iter()
            .find(|t| t.name == target)
            .map_or(target, |t| t.member.as_str())
    }

    /// Folder for files of Inhaul's own processes.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `inhaul install`: kinds and roles on the hub, and a kubeconfig for the scheduler.
    pub async fn install(&self) -> Result<()> {
        let file = self.scheduler_kubeconfig();
        self.inhaul([
            "install",
            "--scheduler",
            "external",
            "--scheduler-kubeconfig",
            &file.to_string_lossy(),
        ])
        .await
        .map(drop)
    }

    /// `inhaul target register`, with an agent that runs as a process.
    pub async fn register(&self, target: &RigTarget) -> Result<()> {
        let member = self
            .member(&target.name)
            .kubeconfig
            .to_string_lossy()
            .into_owned();
        let dir = self.agent_dir(&target.name).to_string_lossy().into_owned();
        let mut args = vec![
            "target",
            "register",
            &target.name,
            "--member-kubeconfig",
            &member,
        ];
        args.extend(["--agent", "external", "--agent-dir", &dir, "--no-wait"]);
        for label in &target.labels {
            args.extend(["--label", label]);
        }
        self.inhaul(args).await.map(drop)
    }

    /// Runs the command line as a process against the hub; an error carries what it printed.
    pub async fn inhaul<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let output = self.inhaul_output(&args).await?;
        if !output.status.success() {
            bail!(
                "inhaul {} ended with {}:\n{}{}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the command line and gives back everything, whatever it ended with.
    pub async fn inhaul_output(&self, args: &[String]) -> Result<Output> {
        let mut command = Command::new(child_exec()?);
        command
            .arg("inhaul")
            .args(args)
            .arg("--kubeconfig")
            .arg(&self.hub.kubeconfig)
            .stdin(Stdio::null());
        let run = tokio::task::spawn_blocking(move || command.output());
        tokio::time::timeout(2 * PATIENCE, run)
            .await
            .with_context(|| format!("inhaul {} did not end", args.join(" ")))??
            .context("cannot run the command line")
    }

    /// Starts the scheduler, or starts it again.
    pub fn start_scheduler(&self) -> Result<()> {
        let mut args: Vec<OsString> = vec!["inhaul-scheduler".into(), "--kubeconfig".into()];
        args.push(self.scheduler_kubeconfig().into());
        // Several fleets share this machine, and so its ports.
        args.extend(["--listen".into(), "127.0.0.1:0".into()]);
        args.extend(self.spec.scheduler_args.iter().map(OsString::from));
        let process = self.spawn("inhaul-scheduler", args)?;
        *lock(&self.scheduler) = Some(process);
        Ok(())
    }

    /// Starts a second scheduler that competes with the first.
    pub fn spawn_scheduler(&self, identity: &str) -> Result<Process> {
        let mut args: Vec<OsString> = vec!["inhaul-scheduler".into(), "--kubeconfig".into()];
        args.push(self.scheduler_kubeconfig().into());
        // Several fleets share this machine, and so its ports.
        args.extend(["--listen".into(), "127.0.0.1:0".into()]);
        args.extend(["--identity".into(), identity.into()]);
        args.extend(self.spec.scheduler_args.iter().map(OsString::from));
        self.spawn(identity, args)
    }

    /// Kills the scheduler as a crash would.
    pub fn kill_scheduler(&self) {
        *lock(&self.scheduler) = None;
    }

    /// Process id of the scheduler.
    pub fn scheduler_pid(&self) -> Option<u32> {
        lock(&self.scheduler).as_ref().map(Process::id)
    }

    /// Process id of an agent.
    pub fn agent_pid(&self, target: &str) -> Option<u32> {
        lock(&self.agents).get(target).map(Process::id)
    }

    /// Starts the agent of a target, or starts it again.
    pub fn start_agent(&self, target: &str) -> Result<()> {
        let dir = self.agent_dir(target);
        let mut args: Vec<OsString> =
            vec!["inhaul-syncer".into(), "--target".into(), target.into()];
        args.extend(["--listen".into(), "127.0.0.1:0".into()]);
        args.extend(["--identity".into(), format!("agent-{target}").into()]);
        args.extend(["--hub-kubeconfig".into(), dir.join("hub.kubeconfig").into()]);
        args.extend([
            "--member-kubeconfig".into(),
            dir.join("member.kubeconfig").into(),
        ]);
        args.extend(self.spec.agent_args.iter().map(OsString::from));
        let process = self.spawn(&format!("inhaul-syncer-{target}"), args)?;
        lock(&self.agents).insert(target.to_owned(), process);
        Ok(())
    }

    /// Kills the agent of a target as a crash would.
    pub fn kill_agent(&self, target: &str) {
        lock(&self.agents).remove(target);
    }

    /// Starts the Model operator of the demo on a member, as its admin.
    pub fn start_operator(&self, target: &str) -> Result<()> {
        let kubeconfig = self.member(target).kubeconfig.clone().into_os_string();
        let args = vec!["model-operator".into(), "--kubeconfig".into(), kubeconfig];
        let process = self.spawn(&format!("model-operator-{target}"), args)?;
        lock(&self.operators).insert(target.to_owned(), process);
        Ok(())
    }

    /// Kills the Model operator of a member.
    pub fn kill_operator(&self, target: &str) {
        lock(&self.operators).remove(target);
    }

    /// Waits until a target is in a state.
    pub async fn target_state(&self, target: &str, state: &str) -> Result<SyncTarget> {
        let key = ObjectKey::cluster(target);
        let what = format!("target {target} is {state}");
        let kind = api::SYNC_TARGETS;
        let reached = self.hub.eventually(&what, &kind, &key, |t| {
            t.is_some_and(|t| t["status"]["state"] == state)
        });
        let found = tokio::select! {
            found = reached => found?,
            error = self.somebody_ended() => return Err(error),
        };
        Ok(serde_json::from_value(found.unwrap_or_default())?)
    }

    /// Ends when a daemon that nobody killed has ended, with what it said last.
    async fn somebody_ended(&self) -> anyhow::Error {
        loop {
            for process in lock(&self.scheduler)
                .iter_mut()
                .chain(lock(&self.agents).values_mut())
            {
                if let Ok(Some(status)) = process.exited() {
                    let log = std::fs::read_to_string(process.log()).unwrap_or_default();
                    let last: Vec<&str> = log.lines().rev().take(10).collect();
                    let last: Vec<&str> = last.into_iter().rev().collect();
                    return anyhow::anyhow!(
                        "{} ended with {status}:\n{}",
                        process.name(),
                        last.join("\n")
                    );
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Starts a process of ours that ends with us; its log is in [`Rig::dir`].
    pub fn spawn(&self, name: &str, args: Vec<OsString>) -> Result<Process> {
        Process::spawn(
            ProcessSpec {
                name: name.to_owned(),
                program: child_exec()?,
                args,
                env: Vec::new(),
                log: self.dir.join(format!("{name}.log")),
            },
            None,
        )
    }

    fn scheduler_kubeconfig(&self) -> PathBuf {
        self.dir.join("scheduler.kubeconfig")
    }

    fn agent_dir(&self, target: &str) -> PathBuf {
        self.dir.join(format!("agent-{target}"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One API server, as its admin, with the few verbs that tests and the demo need.
#[derive(Clone)]
pub struct Admin {
    connection: Connection,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
}

impl Admin {
    /// Connects with a kubeconfig.
    pub async fn connect(kubeconfig: &Path) -> Result<Self> {
        let options = ConnectOptions {
            user_agent: "testbed".into(),
            ..ConnectOptions::default()
        };
        Ok(Self {
            connection: Connection::from_kubeconfig(kubeconfig, None, options).await?,
            kubeconfig: kubeconfig.to_owned(),
            kubectl: Tools::ensure()?.kubectl.path,
        })
    }

    /// The connection itself.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Its kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where kubectl of the same version is.
    pub fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    /// kubectl against this cluster, with text on its standard input; what it printed, or an error that carries it.
    pub async fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        let what = args.join(" ");
        let output = tokio::task::spawn_blocking(move || -> Result<Output> {
            let mut child = command.spawn().context("cannot run kubectl")?;
            if let Some(mut stdin) = child.stdin.take() {
                std::io::Write::write_all(&mut stdin, input.as_bytes())?;
            }
            Ok(child.wait_with_output()?)
        })
        .await??;
        if !output.status.success() {
            bail!(
                "kubectl {what}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `kubectl apply -f -`, as a user would.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.kubectl(&["apply", "-f", "-"], yaml).await.map(drop)
    }

    /// An object, if it is there.
    pub async fn get(&self, api: &ApiType, key: &ObjectKey) -> Result<Option<Value>> {
        Ok(self.connection.get(api, key).await?)
    }

    /// Objects of a namespace (or everywhere), by label.
    pub async fn list(
        &self,
        api: &ApiType,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<Value>> {
        Ok(self.connection.list(api, namespace, selector).await?)
    }

    /// Merge-patches an object.
    pub async fn patch(&self, api: &ApiType, key: &ObjectKey, body: &Value) -> Result<Value> {
        Ok(self
            .connection
            .merge_patch(api, key, None, body, "testbed")
            .await?)
    }

    /// Deletes an object as kubectl does.
    pub async fn delete(&self, api: &ApiType, key: &ObjectKey) -> Result<()> {
        let _ = self
            .connection
            .delete(
                api,
                key,
                client::DeletePreconditions::default(),
                client::Propagation::Background,
            )
            .await?;
        Ok(())
    }

    /// Waits until a condition holds for an object; the error shows how it was when patience ended.
    pub async fn eventually(
        &self,
        what: &str,
        api: &ApiType,
        key: &ObjectKey,
        holds: impl Fn(Option<&Value>) -> bool,
    ) -> Result<Option<Value>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let begun = Instant::now();
            let seen = self.get(api, key).await;
            if let Ok(object) = &seen
                && holds(object.as_ref())
            {
                return Ok(object.clone());
            }
            if Instant::now() > deadline {
                let seen = match seen {
                    Ok(Some(object)) => serde_json::to_string_pretty(&object)?,
                    Ok(None) => "it does not exist".into(),
                    Err(error) => error.to_string(),
                };
                bail!(
                    "waited {} s for: {what}\n{} {key}: {seen}",
                    PATIENCE.as_secs(),
                    api.kind
                );
            }
            sleep(pause(begun)).await;
        }
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, api: &ApiType, key: &ObjectKey) -> Result<()> {
        self.eventually(&format!("{} {key} is gone", api.kind), api, key, |o| {
            o.is_none()
        })
        .await
        .map(drop)
    }

    /// Waits until an object is there.
    pub async fn there(&self, api: &ApiType, key: &ObjectKey) -> Result<Value> {
        let found = self
            .eventually(&format!("{} {key} is there", api.kind), api, key, |o| {
                o.is_some()
            })
            .await?;
        Ok(found.unwrap_or_default())
    }
}

/// Waits until a condition of any kind holds; the error carries what it said last.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        let begun = Instant::now();
        match look().await {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("waited {} s for: {what}", PATIENCE.as_secs())));
            }
            Err(_) => sleep(pause(begun)).await,
        }
    }
}

/// After a look that began then. A look that itself waits for something is no load, however long it takes.
fn pause(begun: Instant) -> Duration {
    (4 * begun.elapsed()).clamp(LOOK, LONGEST_PAUSE)
}
