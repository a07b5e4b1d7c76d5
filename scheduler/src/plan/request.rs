//! What the planner is asked: one workload with what it wants, what it has, and what it must keep away from.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::devices::DeviceClaim;
use placement_api::kinds::{
    DivideBy, FailoverMode, NodeShare, Packing, SpreadConstraint, Strategy, TopologyMode,
};
use placement_api::quantity::ResourceVector;
use placement_api::selector::{Labels, NodeSelector};
use placement_api::toleration::Toleration;
use serde::{Deserialize, Serialize};

use crate::fleet::{TargetName, WorkloadId};

/// How long a workload runs at least before it is evicted for others, where nothing else is said.
pub const DEFAULT_MIN_RUNTIME_MS: i64 = 10 * 60_000;

/// One workload, as the planner sees it. `Default` is a gang without pods that may go anywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Name of the Workload and of its Assignments.
    pub id: WorkloadId,
    /// Kind of the user's object, for messages and for workloads without pods.
    pub kind: String,
    /// Namespace of the user's object; empty for cluster-scoped ones.
    pub namespace: String,
    /// Name of the user's object.
    pub name: String,
    /// Kinds that a target must serve, as Inventory writes them: `apps/v1/Deployment`, `v1/ConfigMap`.
    pub kinds: BTreeSet<String>,
    /// Pods by role. Empty: it takes no room.
    pub pod_sets: Vec<PodSetRequest>,
    /// How its pods are distributed over targets.
    pub strategy: Strategy,
    /// A gang may use several targets, with at least so many pods in each; absent: one.
    pub gang_per_target: Option<i64>,
    /// Names of Locations in order of preference; empty: every target.
    pub tiers: Vec<String>,
    /// Tolerated taints of targets and, beside those of the pods, of nodes.
    pub tolerations: Vec<Toleration>,
    /// Closeness of its pods.
    pub topology: Option<Closeness>,
    /// Spread over groups of targets or nodes.
    pub spread: Vec<SpreadConstraint>,
    /// What the proportion of a divided workload follows.
    pub divide_by: DivideBy,
    /// Weights by name of a target or of a Location, for `DivideBy::Weight`.
    pub weights: BTreeMap<String, u32>,
    /// Choice of nodes; absent: Pack for what asks for devices, else Spread.
    pub packing: Option<Packing>,
    /// Queue; empty: under the root.
    pub queue: String,
    /// Higher goes first.
    pub priority: i32,
    /// When the user's object was created, ms since 1970.
    pub submitted_ms: i64,
    /// Since when it waits, ms since 1970: `relax_after` counts from here.
    pub waits_since_ms: i64,
    /// What happens when a target is lost.
    pub failover: FailoverRule,
    /// What it has now, parts that are being taken away included, one per target.
    pub current: Vec<Current>,
    /// Targets that refused it.
    pub avoid: BTreeMap<TargetName, Avoid>,
    /// Number of its newest assignment; new and grown parts get the next.
    pub epoch: i64,
    /// Whether it may be evicted for others.
    pub preemptible: bool,
    /// It is not evicted for others before it has run so long.
    pub min_runtime_ms: i64,
    /// When it last saved its work, ms since 1970: what was done before is not lost by an eviction.
    pub checkpoint_ms: Option<i64>,
    /// How long it runs, known or estimated.
    pub runtime_ms: Option<i64>,
    /// Its object says that it is suspended: what it has stays, nothing is added.
    pub suspended: bool,
    /// Its work is done: nothing is decided any more and its room is given back.
    pub finished: bool,
    /// A reason found before planning (unknown queue, unreadable object, no Placement…): what it has stays,
    /// nothing is added.
    pub blocked: Option<(placement_api::reason::Reason, String)>,
}

/// Pods of one role.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSetRequest {
    /// Role; `main` where there is only one.
    pub name: String,
    /// Pods wanted.
    pub count: i64,
    /// Runs from so many on. Absent: all (Gang, Duplicate), 1 (Divide).
    pub min_count: Option<i64>,
    /// What one pod asks, in base units; its slot on the node is added by the planner.
    pub requests: ResourceVector,
    /// Thousandths of one `nvidia.com/gpu` that one pod asks beside `requests`: a time slice or an MPS share. 0: none.
    pub gpu_share_milli: i64,
    /// Claims of one pod for devices (DRA). What they take of each class stands in `requests` too, where it can be told.
    pub claims: Vec<DeviceClaim>,
    /// `spec.nodeSelector` of the pods.
    pub node_selector: Labels,
    /// Required node affinity of the pods.
    pub affinity: Option<NodeSelector>,
    /// Tolerations of the pods.
    pub tolerations: Vec<Toleration>,
    /// The agent can hold and release these pods one by one (their template is in the manifest); nodes are never
    /// named for others.
    pub gateable: bool,
}

/// Closeness of the pods of a gang.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closeness {
    /// Node label of the level; `kubernetes.io/hostname` is one node.
    pub level: String,
    /// A condition or a wish.
    pub mode: TopologyMode,
    /// Required becomes Preferred after waiting so long.
    pub relax_after_ms: Option<i64>,
}

/// What happens when a target is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverRule {
    /// Never, Fenced (acts as Never until there is a fencer) or Overlap.
    pub mode: FailoverMode,
    /// Time since the last renewal of the target's lease.
    pub after_ms: i64,
    /// A fencer runs in the members, so that `Fenced` work stops by itself. Without it `Fenced` acts as `Never`.
    pub fencer: bool,
}

/// What a workload has on one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// Target.
    pub target: TargetName,
    /// Epoch of the Assignment.
    pub epoch: i64,
    /// Pods by role.
    pub counts: BTreeMap<String, i64>,
    /// Nodes that were decided; empty where none were named.
    pub nodes: Vec<NodeShare>,
    /// Domain that was decided.
    pub domain: BTreeMap<String, String>,
    /// A tombstone is written and the member has not confirmed yet: its room is still taken.
    pub evicting: bool,
    /// The Assignment was written at some time, so that the member may run it. When in doubt: true.
    pub started: bool,
    /// The agent reports Healthy (or Succeeded) for this epoch.
    pub healthy: bool,
    /// Since when it runs there, ms since 1970; absent: not yet, or unknown.
    pub started_ms: Option<i64>,
}

/// A target that refused the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Avoid {
    /// Until then, ms since 1970.
    pub until_ms: i64,
    /// The member's own message.
    pub message: String,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            id: WorkloadId::from(""),
            kind: String::new(),
            namespace: String::new(),
            name: String::new(),
            kinds: BTreeSet::new(),
            pod_sets: Vec::new(),
            strategy: Strategy::Gang,
            gang_per_target: None,
            tiers: Vec::new(),
            tolerations: Vec::new(),
            topology: None,
            spread: Vec::new(),
            divide_by: DivideBy::default(),
            weights: BTreeMap::new(),
            packing: None,
            queue: String::new(),
            priority: 0,
            submitted_ms: 0,
            waits_since_ms: 0,
            failover: FailoverRule::default(),
            current: Vec::new(),
            avoid: BTreeMap::new(),
            epoch: 0,
            preemptible: true,
            min_runtime_ms: DEFAULT_MIN_RUNTIME_MS,
            checkpoint_ms: None,
            runtime_ms: None,
            suspended: false,
            finished: false,
            blocked: None,
        }
    }
}

impl Request {
    /// Pods wanted, over all roles.
    pub fn pods(&self) -> i64 {
        self.pod_sets.iter().map(|set| set.count).sum()
    }

    /// The role of this name.
    pub fn pod_set(&self, name: &str) -> Option<&PodSetRequest> {
        self.pod_sets.iter().find(|set| set.name == name)
    }
}

impl PodSetRequest {
    /// Pods from which on a gang may run.
    pub fn gang_minimum(&self) -> i64 {
        self.min_count
            .map_or(self.count, |min| min.clamp(0, self.count))
    }
}
