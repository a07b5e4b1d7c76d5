//! One target and its nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::kinds::NodeShare;
use placement_api::selector::{Labelled, Labels};
use placement_api::toleration::Taint;
use serde::{Deserialize, Serialize};

use super::fractions::Open;
use super::hold::Hold;
use super::{Amounts, Demand, HOSTNAME, NodeName, Rates, WorkloadId};

/// Node labels that name the product of a node's accelerators: GPU Feature Discovery's, and the short one of scenarios.
pub const PRODUCT_LABELS: [&str; 2] = ["nvidia.com/gpu.product", "product"];
/// Node label with the memory of one device in MiB.
const DEVICE_MEMORY_LABEL: &str = "nvidia.com/gpu.memory";

/// How a target stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TargetState {
    /// Registered; its agent has not reported yet.
    #[default]
    Pending,
    /// Takes work.
    Ready,
    /// Keeps what it has, takes nothing new.
    Cordoned,
    /// Everything that has a refuge moves away.
    Draining,
    /// Has not renewed its lease.
    Lost,
}

/// One target.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Labels of the SyncTarget.
    pub labels: Labels,
    /// Taints of the SyncTarget.
    pub taints: Vec<Taint>,
    /// How it stands.
    pub state: TargetState,
    /// When its lease was last seen renewed, ms since 1970.
    pub last_contact_ms: i64,
    /// Kinds that it serves (`apps/v1/Deployment`); absent: all (simulation).
    pub served: Option<BTreeSet<String>>,
    /// How much it is to be avoided for what went wrong there lately; 0: not at all.
    pub trouble: i64,
    /// The same of its nodes.
    pub(super) troubled: BTreeMap<NodeName, i64>,
    /// What it costs and has beside its nodes, what its Locations say included.
    pub rates: Rates,
    /// What it says itself.
    pub(super) own_rates: Rates,
    pub(super) nodes: Vec<Node>,
    /// Number of the domain of each node by level: `[depth][node]`.
    pub(super) domains: Vec<Vec<usize>>,
    pub(super) counted: BTreeMap<WorkloadId, i64>,
    /// Where the report sees the pods of workloads for which no nodes were decided.
    pub(super) seen: BTreeMap<WorkloadId, Vec<NodeShare>>,
    pub(super) holds: BTreeMap<WorkloadId, Hold>,
    /// Who has claimed something, by node.
    pub(super) claimants: BTreeMap<NodeName, Vec<WorkloadId>>,
}

/// One node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Labels, those of its class included, its host name apart: nodes that differ in nothing else share them.
    pub labels: Arc<Labels>,
    /// Taints.
    pub taints: Arc<[Taint]>,
    /// What it has when empty.
    pub allocatable: Amounts,
    /// What a decision may use now.
    pub free: Amounts,
    /// Why it takes nothing.
    pub unusable: Option<String>,
    /// How much it is to be avoided for what went wrong there lately; 0: not at all.
    pub trouble: i64,
    pub(super) name: NodeName,
    /// What its host name label says.
    pub(super) host: Option<NodeName>,
    /// Free as the agent reports it.
    pub(super) reported: Amounts,
    /// Decided, and not counted in `reported` yet.
    pub(super) assumed: Amounts,
    /// Decided for this very node, counted or not.
    pub(super) claimed: Amounts,
    /// Used in `reported` by those who give way.
    pub(super) passed_on: Amounts,
    /// Devices that are shared.
    pub(super) open: Vec<Open>,
}

impl Target {
    /// Nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Nodes as a slice, by name; positions are stable between two inventories.
    pub fn node_list(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(self.position(name)?)
    }

    /// Whether the report counts this epoch of a workload's assignment.
    pub fn counts(&self, id: &WorkloadId, epoch: i64) -> bool {
        self.counted
            .get(id)
            .is_some_and(|counted| *counted >= epoch)
    }

    /// Where the report sees the pods of a workload for which no nodes were decided.
    pub(crate) fn seen(&self, id: &WorkloadId) -> &[NodeShare] {
        self.seen.get(id).map_or(&[], Vec::as_slice)
    }

    /// Number of each node's domain at a level, in the order of the domains' paths; [`super::NOWHERE`] where the label is missing.
    pub(crate) fn domains(&self, depth: usize) -> &[usize] {
        self.domains.get(depth).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.nodes
            .binary_search_by(|node| node.name.as_str().cmp(name))
            .ok()
    }
}

impl Node {
    /// Name.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        if key == HOSTNAME {
            return self.host.as_ref().map(NodeName::as_str);
        }
        self.labels.get(key).map(String::as_str)
    }

    /// How many pods with this demand have to leave until the node has again what is claimed on it, as far as these resources go.
    pub(crate) fn beyond(&self, demand: &Demand, resources: &[usize]) -> i64 {
        let pods = |number: &usize| {
            let short = self.claimed.get(*number) - self.allocatable.get(*number);
            let each = demand.get(*number);
            if short <= 0 || each <= 0 {
                return 0;
            }
            (short + each - 1) / each
        };
        resources.iter().map(pods).max().unwrap_or(0)
    }

    /// What its accelerators are, as its labels say.
    pub fn product(&self) -> Option<&str> {
        PRODUCT_LABELS
            .iter()
            .find_map(|label| self.labels.get(*label))
            .map(String::as_str)
    }

    /// Memory of one of its devices in MiB, as its labels say; 0: unknown.
    pub fn device_memory_mib(&self) -> i64 {
        self.labels
            .get(DEVICE_MEMORY_LABEL)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// What is not free.
    pub fn in_use(&self) -> Amounts {
        self.allocatable.less(&self.free)
    }

    /// Pods that the report counts, by claim that they have together with whoever names it.
    fn together(&self) -> BTreeMap<String, i64> {
        // What is claimed and not assumed is counted; what is passed on is claimed no more.
        let mut pods = self.claimed.together();
        for (claim, more) in self.passed_on.together() {
            *pods.entry(claim).or_default() += more;
        }
        for (claim, less) in self.assumed.together() {
            *pods.entry(claim).or_default() -= less;
        }
        pods.retain(|_, pods| *pods > 0);
        pods
    }

    /// Computes `free` anew.
    pub(super) fn settle(&mut self) {
        let mut reported = self.reported.clone();
        let there = self.together();
        if !there.is_empty() {
            reported.know(&there);
        }
        reported.add_all(&self.passed_on);
        let mut free = reported
            .less(&self.assumed)
            .lower(&self.allocatable.less(&self.claimed));
        self.close_shared(&mut free);
        self.free = free;
    }
}

impl Labelled for Node {
    fn label(&self, key: &str) -> Option<&str> {
        Self::label(self, key)
    }
}

impl Default for NodeName {
    fn default() -> Self {
        Self::from("")
    }
}
