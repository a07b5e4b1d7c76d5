//! What a scenario file says, read and checked. Times are ms from the start of the file, amounts base units.

use std::collections::BTreeMap;

use placement_api::kinds::{
    DivideBy, FailoverMode, Packing, QueueOrder, SpreadConstraint, Strategy, TopologyMode,
};
use placement_api::quantity::{Quantity, ResourceVector};
use placement_api::reason::Reason;
use placement_api::selector::Labels;
use placement_api::toleration::{Taint, Toleration};

use crate::fleet::TargetState;
use crate::plan::Scoring;

/// A whole file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name of the file, as it was given.
    pub file: String,
    /// What it shows, one sentence.
    pub name: String,
    /// Time of the first cycle.
    pub now_ms: i64,
    /// Settings.
    pub config: Config,
    /// Targets.
    pub fleet: Vec<TargetSpec>,
    /// Queues.
    pub queues: Vec<QueueSpec>,
    /// Workloads.
    pub workloads: Vec<WorkloadSpec>,
    /// What must come out; absent: whatever comes.
    pub expect: Option<Expect>,
}

/// Settings of the scheduler.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Label keys of the topology levels from coarse to fine.
    pub levels: Vec<String>,
    /// Throughput of accelerator types by the node label `product`.
    pub throughput: BTreeMap<String, Quantity>,
    /// Longest wait before promotion.
    pub age_limit_ms: Option<i64>,
    /// Moves that defragmentation may make.
    pub defragment: i64,
    /// Half-life of past use; 0: only current use counts.
    pub fairness_half_life_ms: i64,
    /// Cycles.
    pub rounds: i64,
}

/// One target.
#[derive(Clone, Debug)]
pub struct TargetSpec {
    /// Line in the file.
    pub line: u64,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Vec<Taint>,
    /// How it stands.
    pub state: TargetState,
    /// If Lost: since the last renewal of its lease.
    pub lost_for_ms: i64,
    /// Kinds that it serves; absent: all.
    pub kinds: Option<Vec<String>>,
    /// Price per unit and hour.
    pub cost: BTreeMap<String, Quantity>,
    /// Grams of CO2 per kWh.
    pub carbon_intensity: Option<Quantity>,
    /// Names of the data that is there.
    pub data: Vec<String>,
    /// Nodes, those of one line together.
    pub nodes: Vec<NodeSpec>,
}

/// Nodes that are alike.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Beginning of their names: `e-a` makes `e-a-0` and so on.
    pub name: String,
    /// How many.
    pub count: i64,
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Whether they take work.
    pub healthy: bool,
    /// What one has when empty.
    pub capacity: ResourceVector,
    /// Devices of drivers (DRA), by driver, which is also the name of their class.
    pub devices: BTreeMap<String, i64>,
}

/// One queue.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// Line in the file.
    pub line: u64,
    /// Name.
    pub name: String,
    /// Parent; absent: the root.
    pub parent: Option<String>,
    /// Share of the surplus among siblings.
    pub weight: u32,
    /// Orders siblings for the surplus.
    pub priority: i32,
    /// What is its own; absent is not the same as 0 for inner queues.
    pub guaranteed: BTreeMap<String, i64>,
    /// What it never exceeds.
    pub limit: BTreeMap<String, i64>,
    /// Whether the unused guarantee is lent.
    pub lend: bool,
    /// Who is next inside.
    pub order: QueueOrder,
    /// Whether running work gives way to others of equal priority.
    pub time_slicing: bool,
    /// Decayed past use in resource-hours.
    pub past_use: BTreeMap<String, Quantity>,
    /// Product, guaranteed and limit in devices.
    pub accelerators: Vec<(String, Option<i64>, Option<i64>)>,
    /// Namespaces that may use it; absent: any.
    pub namespaces: Option<Vec<String>>,
}

/// How a workload stands at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits.
    Pending,
    /// It runs where `runs_on` says.
    Running,
    /// Its object says that it is suspended.
    Suspended,
}

/// One workload.
#[derive(Clone, Debug)]
pub struct WorkloadSpec {
    /// Line in the file.
    pub line: u64,
    /// Name.
    pub name: String,
    /// Queue; absent: the root.
    pub queue: Option<String>,
    /// Namespace.
    pub namespace: String,
    /// Kind; absent: any target serves it.
    pub kind: Option<String>,
    /// Priority.
    pub priority: i32,
    /// When it arrives.
    pub submitted_ms: i64,
    /// Pods by role.
    pub pods: Vec<PodSpec>,
    /// How the pods are distributed.
    pub strategy: Strategy,
    /// What a division follows.
    pub divide_by: DivideBy,
    /// Weights by target.
    pub weights: BTreeMap<String, u32>,
    /// A gang may use several targets, with so many pods in each.
    pub gang_per_target: Option<i64>,
    /// Level, mode, and when Required becomes Preferred.
    pub topology: Option<(String, TopologyMode, Option<i64>)>,
    /// May be evicted for others.
    pub preemptible: bool,
    /// Not evicted before it has run so long.
    pub min_runtime_ms: i64,
    /// Last save.
    pub checkpoint_ms: Option<i64>,
    /// Run time, known or estimated.
    pub runtime_ms: Option<i64>,
    /// Tiers of target selectors.
    pub locations: Vec<Labels>,
    /// Tolerated taints of targets.
    pub tolerations: Vec<Toleration>,
    /// Spread.
    pub spread: Vec<SpreadConstraint>,
    /// Choice of nodes.
    pub packing: Packing,
    /// Choice among places that all could take it.
    pub scoring: Scoring,
    /// Names of the data that it reads.
    pub data: Vec<String>,
    /// Nodes that are kept beside its own.
    pub spares: i64,
    /// What happens when its target is lost.
    pub failover: FailoverMode,
    /// Since the last renewal of the target's lease.
    pub after_ms: i64,
    /// How it stands.
    pub stage: Stage,
    /// Where it runs.
    pub runs_on: Vec<RunsOn>,
    /// Targets that refused it, with their message, and until when they are avoided.
    pub refused: Vec<(String, String, i64)>,
}

/// Pods of one role.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// Role.
    pub name: String,
    /// Pods.
    pub count: i64,
    /// Runs from so many on.
    pub min_count: Option<i64>,
    /// What one asks.
    pub requests: ResourceVector,
    /// Claims for devices of drivers.
    pub claims: Vec<ClaimSpec>,
    /// Labels of its node.
    pub selector: Labels,
    /// Tolerated taints of nodes.
    pub tolerations: Vec<Toleration>,
}

/// A claim for devices of drivers (DRA).
#[derive(Clone, Debug)]
pub struct ClaimSpec {
    /// The ResourceClaim that all pods of the namespace which name it have together; absent: each pod has its own.
    pub shared: Option<String>,
    /// Devices by class.
    pub devices: BTreeMap<String, i64>,
}

/// Pods that run.
#[derive(Clone, Debug)]
pub struct RunsOn {
    /// Line in the file.
    pub line: u64,
    /// Field, for errors.
    pub path: String,
    /// Target.
    pub target: String,
    /// Node, where it is known.
    pub node: Option<String>,
    /// Role.
    pub pods: String,
    /// Pods.
    pub count: i64,
    /// Since when.
    pub started_ms: i64,
}

/// What must come out.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// After the last round: where these workloads run; no place: nowhere.
    pub placed: BTreeMap<String, (u64, Vec<ExpectedPlace>)>,
    /// Evicted in any round: at least these, and nobody where the list is empty.
    pub evicted: Option<(u64, Vec<String>)>,
    /// After the last round: why these wait; absent: for whatever reason.
    pub pending: BTreeMap<String, (u64, Option<Reason>)>,
}

/// Where pods must run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedPlace {
    /// Target.
    pub target: String,
    /// Labels of the nodes.
    pub domain: Labels,
    /// Node.
    pub node: Option<String>,
    /// Role.
    pub pods: Option<String>,
    /// How many; absent: at least one.
    pub count: Option<i64>,
}

impl TargetSpec {
    /// Names of all nodes with what they are.
    pub fn all_nodes(&self) -> impl Iterator<Item = (String, &NodeSpec)> {
        self.nodes.iter().flat_map(|node| {
            (0..node.count).map(move |number| (format!("{}-{number}", node.name), node))
        })
    }
}

impl WorkloadSpec {
    /// The pods of this role.
    pub fn pod_set(&self, name: &str) -> Option<&PodSpec> {
        self.pods.iter().find(|set| set.name == name)
    }
}

impl Scenario {
    /// The workload of this name.
    pub fn workload(&self, name: &str) -> Option<&WorkloadSpec> {
        self.workloads.iter().find(|one| one.name == name)
    }

    /// The target of this name.
    pub fn target(&self, name: &str) -> Option<&TargetSpec> {
        self.fleet.iter().find(|one| one.name == name)
    }
}
