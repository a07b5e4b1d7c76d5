//! What every test needs: the shared fleet, a namespace of its own, manifests in one line.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use placement_api::api_type::{ApiType, ObjectKey, known};
use placement_api::kinds::api;
use placement_api::names;
use serde_json::{Value, json};
use testbed::fleet::FleetSpec;
use testbed::rig::{Admin, Rig, RigSpec, RigTarget, eventually};
use tokio::runtime::Runtime;

/// The targets of the shared fleet: GPUs in eu and us, none in cpu.
pub(crate) const EU: &str = "eu";
pub(crate) const US: &str = "us";
pub(crate) const CPU: &str = "cpu";
pub(crate) const ALL: [&str; 3] = [EU, US, CPU];

/// One runtime for all tests: connections live in it, whichever test opened them.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        testbed::process::set_child_exec(env!("CARGO_BIN_EXE_testbed"));
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    })
}

/// A fleet whose waiting is that of production but for two things that tests wait for. No test rests on how fast the machine is:
/// a target that is slow is not lost, and a pod without a node for a moment is not refused.
pub(crate) fn calm(targets: Vec<RigTarget>, members: usize) -> RigSpec {
    RigSpec {
        fleet: FleetSpec::new(members).expect("the nodes of the demo"),
        targets,
        scheduler_args: ["--lost-after", "2m"].map(String::from).to_vec(),
        agent_args: ["--heartbeat", "5s", "--unschedulable-after", "20s"]
            .map(String::from)
            .to_vec(),
    }
}

/// Like [`calm`], but loss is noticed in seconds: for the tests in which something is lost.
pub(crate) fn quick(targets: Vec<RigTarget>, members: usize) -> RigSpec {
    RigSpec {
        scheduler_args: ["--lost-after", "15s", "--lease-duration", "10s"]
            .map(String::from)
            .to_vec(),
        agent_args: ["--heartbeat", "2s", "--unschedulable-after", "20s"]
            .map(String::from)
            .to_vec(),
        ..calm(targets, members)
    }
}

/// The fleet that all tests share; nobody drains, cordons or kills anything in it.
pub(crate) fn shared() -> &'static Arc<Rig> {
    static RIG: OnceLock<Arc<Rig>> = OnceLock::new();
    RIG.get_or_init(|| {
        start(calm(
            vec![
                RigTarget::new(EU, "member1", &["region=eu", "tier=gpu"]),
                RigTarget::new(US, "member2", &["region=us", "tier=gpu"]),
                RigTarget::new(CPU, "member3", &["region=us"]),
            ],
            3,
        ))
    })
}

/// Starts a fleet for several tests; the first that asks is inside the runtime already.
pub(crate) fn start(spec: RigSpec) -> Arc<Rig> {
    let start = || runtime().block_on(async { Rig::start(spec, |_| ()).await });
    let rig = std::thread::scope(|scope| scope.spawn(start).join());
    Arc::new(rig.expect("no panic").expect("a fleet"))
}

/// Starts a fleet of one test's own: it ends with the last Arc, so that idle control planes do not slow the other tests.
pub(crate) async fn own(spec: RigSpec) -> Result<Arc<Rig>> {
    Ok(Arc::new(Rig::start(spec, |_| ()).await?))
}

/// A fleet of a test's own with one target, of two nodes with eight GPUs each.
pub(crate) async fn two_nodes() -> Result<Arc<Rig>> {
    let targets = vec![RigTarget::new(US, "member2", &["region=us", "tier=gpu"])];
    own(calm(targets, 2)).await
}

/// The PriorityClass `urgent`, on the hub and on the member of [`two_nodes`].
pub(crate) async fn urgent(rig: &Rig) -> Result<()> {
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "urgent"}, "value": 1000,
    });
    rig.hub().apply(&class.to_string()).await?;
    rig.member(US).apply(&class.to_string()).await
}

/// Writes a Queue.
pub(crate) async fn queue(hub: &Admin, name: &str, spec: Value) -> Result<()> {
    let queue = json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Queue", "metadata": {"name": name}, "spec": spec});
    hub.apply(&queue.to_string()).await
}

/// A namespace and a Placement of its own.
pub(crate) struct Case {
    pub(crate) rig: Arc<Rig>,
    pub(crate) namespace: String,
}

impl Case {
    /// On the shared fleet, with a Placement whose further fields are `placement`.
    pub(crate) async fn new(name: &str, placement: Value) -> Result<Self> {
        Self::on(shared(), name, placement).await
    }

    pub(crate) async fn on(rig: &Arc<Rig>, name: &str, placement: Value) -> Result<Self> {
        let case = Self {
            rig: Arc::clone(rig),
            namespace: format!("t-{name}"),
        };
        case.hub()
            .apply(&format!(
                "{{apiVersion: v1, kind: Namespace, metadata: {{name: {}}}}}",
                case.namespace
            ))
            .await?;
        case.place(&case.namespace, placement).await?;
        Ok(case)
    }

    /// Writes a Placement for this namespace.
    pub(crate) async fn place(&self, name: &str, fields: Value) -> Result<()> {
        let mut spec = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}});
        merge(&mut spec, fields);
        let placement = json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": name}, "spec": spec});
        self.hub().apply(&placement.to_string()).await
    }

    pub(crate) fn hub(&self) -> &Admin {
        self.rig.hub()
    }

    pub(crate) fn member(&self, target: &str) -> &Admin {
        self.rig.member(target)
    }

    pub(crate) fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(&self.namespace, name)
    }

    pub(crate) async fn apply(&self, object: Value) -> Result<()> {
        self.hub().apply(&object.to_string()).await
    }

    /// The Workload of a root object.
    pub(crate) async fn workload(
        &self,
        group: &str,
        kind: &str,
        name: &str,
    ) -> Result<Option<Value>> {
        let name = names::workload_name(group, kind, &self.namespace, name);
        self.hub().get(&api::WORKLOADS, &self.key(&name)).await
    }

    /// Waits until a Workload satisfies a condition.
    pub(crate) async fn workload_is(
        &self,
        group: &str,
        kind: &str,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let key = self.key(&names::workload_name(group, kind, &self.namespace, name));
        let found = self
            .hub()
            .eventually(what, &api::WORKLOADS, &key, |w| w.is_some_and(&holds))
            .await?;
        found.context("no Workload")
    }

    /// Waits until a Workload waits with this reason; its message.
    pub(crate) async fn waits(
        &self,
        group: &str,
        kind: &str,
        name: &str,
        reason: &str,
    ) -> Result<String> {
        let w = self
            .workload_is(
                group,
                kind,
                name,
                &format!("{kind} {name} waits: {reason}"),
                |w| w["status"]["state"] == "Pending" && w["status"]["reason"] == reason,
            )
            .await?;
        Ok(w["status"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// Targets on whose member an object is.
    pub(crate) async fn targets_of(
        &self,
        kind: &ApiType,
        name: &str,
        among: &[&'static str],
    ) -> Result<Vec<&'static str>> {
        let mut found = Vec::new();
        for target in among {
            if self
                .member(target)
                .get(kind, &self.key(name))
                .await?
                .is_some()
            {
                found.push(*target);
            }
        }
        Ok(found)
    }

    /// Waits until an object is on exactly one member, and says on which.
    pub(crate) async fn lands(&self, kind: &ApiType, name: &str) -> Result<&'static str> {
        eventually(
            &format!("{} {name} is on one member", kind.kind),
            || async {
                let found = self.targets_of(kind, name, &ALL).await?;
                anyhow::ensure!(found.len() == 1, "it is on {found:?}");
                Ok(found[0])
            },
        )
        .await
    }

    /// Waits until an object on a member satisfies a condition.
    pub(crate) async fn on_member(
        &self,
        target: &str,
        kind: &ApiType,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let found = self
            .member(target)
            .eventually(what, kind, &self.key(name), |o| o.is_some_and(&holds))
            .await?;
        found.context("gone")
    }

    /// Waits until an object of a user on the hub satisfies a condition.
    pub(crate) async fn on_hub(
        &self,
        kind: &ApiType,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let found = self
            .hub()
            .eventually(what, kind, &self.key(name), |o| o.is_some_and(&holds))
            .await?;
        found.context("gone")
    }

    pub(crate) fn deployment(&self, name: &str, replicas: i64) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {"app": name}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [container("10m", &[])]},
                },
            },
        })
    }

    pub(crate) fn job(&self, name: &str, pods: i64, gpus: i64, run_for: &str) -> Value {
        let limits: Vec<(&str, String)> = if gpus > 0 {
            vec![("nvidia.com/gpu", gpus.to_string())]
        } else {
            vec![]
        };
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "parallelism": pods, "completions": pods, "backoffLimit": 0,
                "template": {
                    "metadata": {"annotations": {"testbed.inhaul.dev/run-for": run_for}},
                    "spec": {"restartPolicy": "Never", "containers": [container("10m", &limits)]},
                },
            },
        })
    }

    pub(crate) fn config_map(&self, name: &str, value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": self.namespace}, "data": {"key": value}})
    }
}

pub(crate) fn container(cpu: &str, limits: &[(&str, String)]) -> Value {
    let limits: serde_json::Map<String, Value> = limits
        .iter()
        .map(|(k, v)| ((*k).to_owned(), json!(v)))
        .collect();
    json!({"name": "main", "image": "registry.example/app:1", "resources": {"requests": {"cpu": cpu, "memory": "16Mi"}, "limits": limits}})
}

/// Puts an environment from ConfigMaps and Secrets into the first container.
pub(crate) fn env_from(mut object: Value, config_maps: &[&str], secrets: &[&str]) -> Value {
    let sources: Vec<Value> = config_maps
        .iter()
        .map(|n| json!({"configMapRef": {"name": n}}))
        .chain(secrets.iter().map(|n| json!({"secretRef": {"name": n}})))
        .collect();
    object["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!(sources);
    object
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        for (key, value) in from {
            into.insert(key, value);
        }
    }
}

/// Runs a test on the one runtime.
pub(crate) fn run(test: impl Future<Output = Result<()>>) {
    if let Err(error) = runtime().block_on(test) {
        panic!("{error:#}");
    }
}

pub(crate) const DEPLOYMENT: &ApiType = &known::DEPLOYMENT;
pub(crate) const JOB: &ApiType = &known::JOB;
