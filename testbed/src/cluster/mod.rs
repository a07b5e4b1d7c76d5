//! One control plane: etcd and a kube-apiserver, with controllers, and on members a scheduler and kwok in place of kubelets.
//!
//! ```text
//! start -> pki, ports, kubeconfigs -> etcd -> kube-apiserver -> readyz -> controllers, scheduler, kwok -> nodes -> usable
//!            ^------------- a port was taken: from the start -----+
//! ```

mod args;
mod kubeconfig;
mod pki;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::{
    args::{Layout, Ports},
    pki::Pki,
};
pub use crate::process::set_child_exec;
use crate::{
    build::Tools,
    files,
    https::Https,
    nodes::Pool,
    ports,
    process::{Process, ProcessSpec},
    wait,
};
pub(crate) use kubeconfig::{Entry, render as render_kubeconfig};

/// How long a start may take: seconds on a quiet machine, much more where several test runs share two cores.
const START: Duration = Duration::from_mins(3);

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);

/// The pods' and nodes' life as kwok plays it.
const STAGES: &str = include_str!("../../kwok/stages.yaml");

/// The log of every pod, in the kubelet's format: nothing really runs in them.
const POD_LOG: &str = "2026-01-01T00:00:00.000000000Z stdout F kwok plays this pod: it has a state, but nothing runs in it\n";

/// What a cluster is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the objects of users; runs no pod.
    Hub,
    /// Runs pods, on nodes that kwok plays.
    Member,
}

impl Role {
    /// The programs of such a cluster, in the order in which they start.
    pub fn components(self) -> &'static [Component] {
        match self {
            Self::Hub => &Component::ALL[..3],
            Self::Member => &Component::ALL,
        }
    }
}

/// One of a cluster's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    #[serde(rename = "kube-apiserver")]
    Apiserver,
    /// kube-controller-manager.
    #[serde(rename = "kube-controller-manager")]
    ControllerManager,
    /// kube-scheduler.
    #[serde(rename = "kube-scheduler")]
    Scheduler,
    /// kwok.
    Kwok,
}

impl Component {
    /// All, in the order in which they start.
    pub const ALL: [Self; 5] = [
        Self::Etcd,
        Self::Apiserver,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kwok,
    ];

    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Apiserver => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
        }
    }

    fn program(self, tools: &Tools) -> &Path {
        let tool = match self {
            Self::Etcd => &tools.etcd,
            Self::Apiserver => &tools.apiserver,
            Self::ControllerManager => &tools.controller_manager,
            Self::Scheduler => &tools.scheduler,
            Self::Kwok => &tools.kwok,
        };
        &tool.path
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Its name, and that of its context in the kubeconfig.
    pub name: String,
    /// Hub or member.
    pub role: Role,
    /// Its nodes; a hub has none.
    #[serde(default)]
    pub pools: Vec<Pool>,
    /// Flags on top of the testbed's own, for tests of timing and feature gates.
    #[serde(default)]
    pub flags: BTreeMap<Component, Vec<String>>,
}

impl ClusterSpec {
    /// A cluster without nodes.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self {
            name: name.into(),
            role,
            pools: Vec::new(),
            flags: BTreeMap::new(),
        }
    }
}

/// A running control plane. Dropping it kills its programs.
#[derive(Debug)]
pub struct Cluster {
    spec: ClusterSpec,
    dir: PathBuf,
    tools: Tools,
    pki: Pki,
    ports: Ports,
    index: u8,
    admin: Entry,
    https: Https,
    /// Held open by every child as its standard input: the lock on it is free when the last one is gone.
    held: File,
    running: Mutex<BTreeMap<Component, Process>>,
}

impl Cluster {
    /// Starts a cluster in an empty folder and waits until it is usable: API ready, service accounts made, nodes Ready.
    /// `held` is a locked file that its programs keep open; `index` (1 to 127) tells its address ranges from its neighbours'.
    pub fn start(
        spec: &ClusterSpec,
        dir: &Path,
        index: u8,
        tools: &Tools,
        held: &File,
    ) -> Result<Self> {
        let what = format!("cannot start {}", spec.name);
        for _ in 0..3 {
            let cluster = Self::prepare(spec, dir, index, tools, held).context(what.clone())?;
            match cluster.bring_up() {
                Ok(()) => return Ok(cluster),
                Err(error) if !cluster.a_port_was_taken() => return Err(error).context(what),
                // Somebody was faster; other ports then.
                Err(_) => drop(cluster),
            }
        }
        bail!("{what}: three times another program took one of its ports")
    }

    fn prepare(
        spec: &ClusterSpec,
        dir: &Path,
        index: u8,
        tools: &Tools,
        held: &File,
    ) -> Result<Self> {
        files::remove_dir(dir)?;
        files::private_dir(&dir.join("logs"))?;
        let pki = Pki::create(&dir.join("pki"), Ipv4Addr::new(10, index % 128, 0, 1))?;
        let ports = Ports {
            api: ports::free()?,
            etcd: ports::free()?,
            etcd_peer: ports::free()?,
            kubelet: ports::free()?,
        };
        let identity = pki.client("admin", &["system:masters"])?;
        let https = Https::new(ports.api, &pki.ca(), &identity.cert, &identity.key)?;
        let admin = Entry {
            name: spec.name.clone(),
            server: format!("https://127.0.0.1:{}", ports.api),
            ca: pki.ca(),
            identity,
        };
        let cluster = Self {
            spec: spec.clone(),
            dir: dir.to_path_buf(),
            tools: tools.clone(),
            pki,
            ports,
            index,
            admin,
            https,
            held: held.try_clone()?,
            running: Mutex::default(),
        };
        files::write_private(
            &cluster.kubeconfig(),
            render_kubeconfig(std::slice::from_ref(&cluster.admin)),
        )?;
        cluster.write_kubeconfig("controller-manager", "system:kube-controller-manager", &[])?;
        cluster.write_kubeconfig("scheduler", "system:kube-scheduler", &[])?;
        cluster.write_kubeconfig("kwok", "testbed:kwok", &["system:masters"])?;
        let stages = STAGES.replace("@DIR@", &dir.display().to_string());
        files::write_private(&dir.join("kwok.yaml"), stages)?;
        files::write_private(&dir.join("pod.log"), POD_LOG)?;
        Ok(cluster)
    }

    fn bring_up(&self) -> Result<()> {
        self.start_again()?;
        self.add_nodes(&self.spec.pools)?;
        self.wait("its first service account", || {
            self.exists("/api/v1/namespaces/default/serviceaccounts/default")
        })?;
        self.wait("the aggregated roles", || {
            Ok(self
                .read("/apis/rbac.authorization.k8s.io/v1/clusterroles/view")?
                .is_some_and(|role| !role["rules"].is_null()))
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Hub or member.
    pub fn role(&self) -> Role {
        self.spec.role
    }

    /// What it was started from.
    pub fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    /// The folder with its keys, data and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `https://127.0.0.1:…`
    pub fn server(&self) -> &str {
        &self.admin.server
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    pub(crate) fn admin(&self) -> &Entry {
        &self.admin
    }

    /// A kubeconfig of its own for a user in groups, made with the cluster's authority: for tests of what roles allow.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        files::private_dir(&self.dir.join("users"))?;
        self.write_kubeconfig(
            &format!("users/{}", user.replace(['/', ':'], "-")),
            user,
            groups,
        )
    }

    /// `kubectl` for this cluster, as its administrator.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.tools.kubectl.path);
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command
    }

    /// Creates the nodes of pools with the devices that drivers publish there, and waits until all are Ready. A node that is there already stays as it is.
    pub fn add_nodes(&self, pools: &[Pool]) -> Result<()> {
        let nodes: Vec<Value> = pools.iter().flat_map(Pool::nodes).collect();
        for node in &nodes {
            let answer = self
                .https
                .post("/api/v1/nodes", &node.to_string(), REQUEST)?;
            if !matches!(answer.status, 201 | 409) {
                bail!(
                    "node {} was refused ({}): {}",
                    node["metadata"]["name"],
                    answer.status,
                    answer.body
                );
            }
        }
        let devices: Vec<(&str, Value)> = pools.iter().flat_map(Pool::devices).collect();
        for (plural, object) in &devices {
            let path = format!("/apis/resource.k8s.io/v1/{plural}");
            let answer = self.https.post(&path, &object.to_string(), REQUEST)?;
            if !matches!(answer.status, 201 | 409) {
                bail!(
                    "{plural} {} were refused ({}): {}",
                    object["metadata"]["name"],
                    answer.status,
                    answer.body
                );
            }
        }
        self.wait("its nodes", || {
            let list = self.read("/api/v1/nodes")?.unwrap_or_default();
            let ready = list["items"].as_array().map_or(0, |nodes| {
                nodes.iter().filter(|node| schedulable(node)).count()
            });
            Ok(ready >= nodes.len())
        })
    }

    /// Waits until the API server says that it is ready and gives an answer that only its store can know. Fails at once when
    /// one of the programs ends.
    pub fn wait_ready(&self) -> Result<()> {
        // Until it listens, the connection is refused; that is no error here.
        let status = |path| {
            self.https
                .get(path, REQUEST)
                .map_or(0, |answer| answer.status)
        };
        self.wait("/readyz", || Ok(status("/readyz") == 200))?;
        // /readyz remembers an etcd that is gone for a while.
        self.wait("the store", || {
            Ok(matches!(status("/api/v1/namespaces/default"), 200 | 404))
        })
    }

    /// Kills a program (SIGKILL) and waits until it is gone. Killing it twice is no error.
    pub fn kill(&self, component: Component) -> Result<()> {
        match self.running().remove(&component) {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Starts a program again, on the same port and data, and waits until the API server is ready.
    pub fn restart(&self, component: Component) -> Result<()> {
        self.kill(component)?;
        self.start_one(component)?;
        self.wait_ready()
    }

    /// Stops a program where it stands (SIGSTOP): a paused API server is a partitioned cluster.
    pub fn pause(&self, component: Component) -> Result<()> {
        self.with(component, Process::pause)
    }

    /// Lets a paused program go on.
    pub fn resume(&self, component: Component) -> Result<()> {
        self.with(component, Process::resume)
    }

    /// Kills all programs; the data stay.
    pub fn stop(&self) -> Result<()> {
        self.spec
            .role
            .components()
            .iter()
            .rev()
            .try_for_each(|component| self.kill(*component))
    }

    /// Starts what does not run, on the same ports and data, and waits until the API server is ready.
    pub fn start_again(&self) -> Result<()> {
        for component in self.spec.role.components() {
            if !self.running().contains_key(component) {
                self.start_one(*component)?;
            }
        }
        self.wait_ready()
    }

    /// The process ids of what runs.
    pub fn processes(&self) -> BTreeMap<Component, u32> {
        self.running()
            .iter()
            .map(|(component, process)| (*component, process.id()))
            .collect()
    }

    /// Starts a program, and waits for those that the next ones need from the start.
    fn start_one(&self, component: Component) -> Result<()> {
        match component {
            Component::Etcd => {
                self.spawn(component)?;
                let etcd = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.etcd));
                self.wait("etcd", || {
                    Ok(TcpStream::connect_timeout(&etcd, REQUEST).is_ok())
                })
            }
            Component::Apiserver => {
                self.spawn(component)?;
                self.wait_ready()
            }
            Component::Kwok => {
                // A killed kwok holds its nodes' leases for 40 s more, and its successor would wait for that.
                let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
                let _ = self.https.delete(leases, REQUEST);
                self.spawn(component)
            }
            Component::ControllerManager | Component::Scheduler => self.spawn(component),
        }
    }

    fn spawn(&self, component: Component) -> Result<()> {
        let layout = Layout {
            role: self.spec.role,
            dir: &self.dir,
            pki: &self.pki,
            ports: self.ports,
            index: self.index,
        };
        let mut args = layout.of(component);
        args.extend(
            self.spec
                .flags
                .get(&component)
                .into_iter()
                .flatten()
                .cloned(),
        );
        let spec = ProcessSpec {
            name: format!("{component} of {}", self.spec.name),
            program: component.program(&self.tools).to_path_buf(),
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            log: self.dir.join("logs").join(format!("{component}.log")),
        };
        let process = Process::spawn(spec, Some(&self.held))?;
        self.running().insert(component, process);
        Ok(())
    }

    /// Waits for something of the cluster; fails at once when one of its programs ends.
    fn wait(&self, what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
        let waited = wait::until(&format!("{what} of {}", self.spec.name), START, || {
            self.nobody_ended()?;
            Ok(look()?.then_some(()))
        });
        waited.with_context(|| format!("logs are in {}", self.dir.join("logs").display()))
    }

    fn nobody_ended(&self) -> Result<()> {
        for process in self.running().values_mut() {
            if let Some(status) = process.exited()? {
                bail!(
                    "{} ended ({status}):\n{}",
                    process.name(),
                    files::tail(process.log(), 8)
                );
            }
        }
        Ok(())
    }

    fn a_port_was_taken(&self) -> bool {
        self.running()
            .values()
            .any(|process| files::tail(process.log(), 200).contains("address already in use"))
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.read(path)?.is_some())
    }

    /// An object as JSON; none if it is not there, or the server does not answer yet.
    fn read(&self, path: &str) -> Result<Option<Value>> {
        match self.https.get(path, REQUEST) {
            Ok(answer) if answer.status == 200 => Ok(Some(serde_json::from_str(&answer.body)?)),
            _ => Ok(None),
        }
    }

    fn with(&self, component: Component, act: impl FnOnce(&Process) -> Result<()>) -> Result<()> {
        act(self
            .running()
            .get(&component)
            .with_context(|| format!("{component} of {} does not run", self.spec.name))?)
    }

    fn write_kubeconfig(&self, file: &str, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let entry = Entry {
            identity: self.pki.client(user, groups)?,
            ..self.admin.clone()
        };
        let path = self.dir.join(format!("{file}.kubeconfig"));
        files::write_private(&path, render_kubeconfig(&[entry]))?;
        Ok(path)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Component, Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Clients first: an API server with open connections complains into its log.
        let _ = self.stop();
    }
}

/// Whether a node is Ready and its controllers have taken note: a new node is tainted until they have.
fn schedulable(node: &Value) -> bool {
    let list = |path: &str| {
        node.pointer(path)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let ready = list("/status/conditions")
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    ready
        && !list("/spec/taints").iter().any(|taint| {
            taint["key"]
                .as_str()
                .is_some_and(|key| key.starts_with("node.kubernetes.io/"))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_counts_when_it_is_ready_and_its_taint_is_gone() {
        let node = |ready: &str, taint: &str| json!({"spec": {"taints": [{"key": taint}]}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        assert!(schedulable(&node("True", "nvidia.com/gpu")));
        assert!(!schedulable(&node("True", "node.kubernetes.io/not-ready")));
        assert!(!schedulable(&node("Unknown", "nvidia.com/gpu")));
        assert!(!schedulable(&json!({})));
    }

    #[test]
    fn components_are_named_as_their_programs_in_states_and_specs_too() {
        for component in Component::ALL {
            assert_eq!(serde_json::to_value(component).unwrap(), component.name());
        }
    }
}
