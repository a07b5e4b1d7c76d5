//! The fleet as the planner sees it: targets, their nodes, what is free there, and what decisions have reserved.
//!
//! ```text
//! SyncTarget, Lease -> set_target ----\
//! Inventory ---------> set_inventory --> Fleet --> plan() --> hold()
//! Location ----------> set_locations -/      \--> Event (what may have become possible) -> Waiting::wake
//! ```
//!
//! What is free on a node is what the agent reports, less what is decided and not yet counted in the report, and never more than
//! what the node has less the pods that decisions have put on it by name. So no two workloads count the same device.

mod amounts;
pub(crate) mod devices;
mod event;
mod fractions;
mod hold;
mod ids;
mod index;
mod inventory;
mod rates;
mod target;
mod topology;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::devices::DeviceClaim;
use placement_api::quantity::ResourceVector;
use placement_api::selector::{LabelSelector, Labels};
use placement_api::toleration::Taint;

pub use amounts::{Amounts, Demand, Resources, is_extended};
pub(crate) use amounts::{CPU_TIME, MEMORY_BYTES, UNLIMITED};
use devices::Catalog;
pub use devices::DeviceNeed;
pub(crate) use devices::Physical;
pub use event::Event;
pub use hold::Share;
pub(crate) use hold::{Hold, take_off};
pub use ids::{NodeName, TargetName, WorkloadId};
pub(crate) use index::{Change, Index, Kind, Slot, State};
pub use rates::Rates;
pub use target::{Node, PRODUCT_LABELS, Target, TargetState};
pub(crate) use topology::NOWHERE;

/// Losses within this time of each other have one cause: three heartbeats and the time to notice.
pub const MASS_LOSS_WINDOW_MS: i64 = 60_000;
/// Levels of a fleet without a `FleetPolicy`.
pub const DEFAULT_LEVELS: [&str; 4] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/rack",
    "nvidia.com/gpu.clique",
];
/// The device of which pods may ask shares.
pub(crate) const SHARED_DEVICE: &str = "nvidia.com/gpu";
/// Demands that are remembered at most; then it begins anew.
const MOST_DEMANDS: usize = 1 << 16;
/// The last level: one node.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// All targets and what is reserved on them.
#[derive(Clone, Debug)]
pub struct Fleet {
    targets: BTreeMap<TargetName, Target>,
    locations: BTreeMap<String, LabelSelector>,
    /// What is said of the targets of Locations.
    location_rates: BTreeMap<String, Rates>,
    levels: Vec<String>,
    /// Targets that are lost.
    lost: usize,
    resources: Resources,
    devices: Catalog,
    /// Targets on which a workload has something reserved.
    holders: BTreeMap<WorkloadId, Vec<TargetName>>,
    /// Demands that are in use, so that equal ones are one.
    demands: BTreeSet<Arc<Demand>>,
    /// Nodes by what is free on them.
    index: Index,
    /// Nodes that have failed since somebody asked.
    failures: BTreeSet<(TargetName, NodeName)>,
    /// Grows whenever what there is to divide may have changed.
    shape: u64,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            targets: BTreeMap::new(),
            locations: BTreeMap::new(),
            location_rates: BTreeMap::new(),
            levels: DEFAULT_LEVELS.map(str::to_owned).to_vec(),
            lost: 0,
            resources: Resources::default(),
            devices: Catalog::default(),
            holders: BTreeMap::new(),
            demands: BTreeSet::new(),
            index: Index::default(),
            failures: BTreeSet::new(),
            shape: 0,
        }
    }
}

impl Fleet {
    /// A fleet without targets, with the default levels.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is known of a target beside its inventory. `last_contact_ms` is when its lease was last seen renewed (ms since
    /// 1970); failover counts from there.
    pub fn set_target(
        &mut self,
        name: &TargetName,
        labels: Labels,
        taints: Vec<Taint>,
        state: TargetState,
        last_contact_ms: i64,
    ) -> Event {
        let target = self.targets.entry(name.clone()).or_default();
        let same = target.labels == labels && target.taints == taints && target.state == state;
        let lost = |state: TargetState| usize::from(state == TargetState::Lost);
        self.lost = self.lost - lost(target.state) + lost(state);
        target.labels = labels;
        target.taints = taints;
        target.state = state;
        target.last_contact_ms = last_contact_ms;
        if same {
            return Event::nothing();
        }
        self.settle_rates(name);
        self.shape += 1;
        self.index.touch(name, None);
        Event::target(name)
    }

    /// What was said of a target by [`Self::set_rates`].
    pub(crate) fn said_of(&self, name: &TargetName) -> Option<&Rates> {
        self.targets.get(name).map(|target| &target.own_rates)
    }

    /// What was said by [`Self::set_location_rates`].
    pub(crate) fn said_of_locations(&self) -> &BTreeMap<String, Rates> {
        &self.location_rates
    }

    /// What the platform owner says of a target that is known. Nobody waits for a price, and nobody moves for one.
    pub fn set_rates(&mut self, name: &TargetName, rates: Rates) {
        if let Some(target) = self.targets.get_mut(name)
            && target.own_rates != rates
        {
            target.own_rates = rates;
            self.settle_rates(name);
        }
    }

    /// What the platform owner says of the targets of Locations; what a target says itself comes first, then the first Location by name.
    pub fn set_location_rates(&mut self, mut rates: BTreeMap<String, Rates>) {
        rates.retain(|_, one| !one.is_empty());
        if self.location_rates != rates {
            self.location_rates = rates;
            self.settle_all_rates();
        }
    }

    /// Forgets a target and what is reserved there.
    pub fn remove_target(&mut self, name: &TargetName) -> Event {
        let Some(target) = self.targets.remove(name) else {
            return Event::nothing();
        };
        self.shape += 1;
        for id in target.holds.keys() {
            self.forget_holder(id, name);
        }
        self.lost -= usize::from(target.state == TargetState::Lost);
        self.index.touch(name, None);
        Event::target(name)
    }

    /// All Locations by name.
    pub fn set_locations(&mut self, locations: BTreeMap<String, LabelSelector>) -> Event {
        if self.locations == locations {
            return Event::nothing();
        }
        let keys = |selector: &LabelSelector| {
            let exact = selector.match_labels.keys();
            let others = selector.match_expressions.iter().map(|one| &one.key);
            exact.chain(others).cloned().collect::<Vec<_>>()
        };
        self.index
            .set_keys(locations.values().flat_map(keys).collect());
        self.locations = locations;
        self.settle_all_rates();
        Event::everything()
    }

    /// Node labels of the topology levels, from wide to narrow; one node is implied as the last.
    pub fn set_levels(&mut self, levels: Vec<String>) -> Event {
        let levels: Vec<String> = levels
            .into_iter()
            .filter(|level| level != HOSTNAME)
            .collect();
        if self.levels == levels {
            return Event::nothing();
        }
        self.levels = levels;
        for (name, target) in &mut self.targets {
            target.domains = topology::domains(&self.levels, &target.nodes);
            self.index.touch(name, None);
        }
        Event::everything()
    }

    /// The nodes by what is free on them, as they are now.
    pub(crate) fn index(&mut self) -> &Index {
        self.index.sync(&self.targets, &self.resources);
        &self.index
    }

    /// The index as it was when [`Self::index`] was last asked.
    pub(crate) fn indexed(&self) -> &Index {
        &self.index
    }

    /// How many targets there are.
    pub fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// All targets, by name.
    pub fn targets(&self) -> impl Iterator<Item = (&TargetName, &Target)> {
        self.targets.iter()
    }

    /// One target.
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.get(name)
    }

    /// The topology levels from wide to narrow, without the node.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }

    /// Number that grows whenever what there is to divide may have changed: targets, their state, what their nodes have.
    pub fn shape(&self) -> u64 {
        self.shape
    }

    /// The Location of this name.
    pub fn location(&self, name: &str) -> Option<&LabelSelector> {
        self.locations.get(name)
    }

    /// Names of the Locations that a target belongs to.
    pub fn locations_of(&self, target: &str) -> Vec<String> {
        let Some(target) = self.targets.get(target) else {
            return Vec::new();
        };
        self.locations
            .iter()
            .filter(|(_, selector)| selector.matches(&target.labels))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What the usable nodes of a target have.
    pub fn capacity_of(&self, target: &str) -> ResourceVector {
        self.sum(target, |node| node.allocatable.clone())
    }

    /// What is free there, decisions taken off.
    pub fn free_of(&self, target: &str) -> ResourceVector {
        self.sum(target, |node| node.free.clone())
    }

    /// What is free on one node, decisions taken off.
    pub fn free_on(&self, target: &str, node: &str) -> Option<ResourceVector> {
        self.targets
            .get(target)?
            .node(node)
            .map(|node| self.resources.vector(&node.free))
    }

    /// Names and numbers of resources.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// What one pod with these requests and claims for devices asks, by number.
    pub fn demand(&mut self, requests: &ResourceVector, claims: &[DeviceClaim]) -> Demand {
        let devices = self.device_need(requests, claims);
        self.resources.demand(requests).with_devices(devices)
    }

    /// What one pod needs of devices of drivers; `None`: nothing.
    pub(crate) fn device_need(
        &mut self,
        requests: &ResourceVector,
        claims: &[DeviceClaim],
    ) -> Option<Arc<DeviceNeed>> {
        let asked = requests.iter().filter(|(_, amount)| *amount > 0);
        self.devices.need(claims, asked)
    }

    /// The same with so many thousandths of one `nvidia.com/gpu`; equal demands are one.
    pub(crate) fn shared_demand(
        &mut self,
        requests: &ResourceVector,
        claims: &[DeviceClaim],
        share_milli: i64,
    ) -> Arc<Demand> {
        let mut demand = self.demand(requests, claims);
        if share_milli > 0 {
            demand = demand.with_share(self.resources.number(SHARED_DEVICE), share_milli);
        }
        if let Some(known) = self.demands.get(&demand) {
            return Arc::clone(known);
        }
        if self.demands.len() >= MOST_DEMANDS {
            self.demands.clear();
        }
        let demand = Arc::new(demand);
        self.demands.insert(Arc::clone(&demand));
        demand
    }

    /// Whether most targets (at least two and more than half) were lost within [`MASS_LOSS_WINDOW_MS`]: then the fault is
    /// the hub's and nothing may move.
    pub fn hub_degraded(&self) -> bool {
        if self.lost < 2 {
            return false;
        }
        let known = self
            .targets
            .values()
            .filter(|target| target.state != TargetState::Pending)
            .count();
        let mut lost: Vec<i64> = self
            .targets
            .values()
            .filter(|target| target.state == TargetState::Lost)
            .map(|target| target.last_contact_ms)
            .collect();
        lost.sort_unstable();
        let together = |first: &i64| {
            lost.iter()
                .filter(|one| *one >= first && **one - first <= MASS_LOSS_WINDOW_MS)
                .count()
        };
        lost.iter()
            .map(together)
            .max()
            .is_some_and(|most| most >= 2 && 2 * most > known)
    }

    fn settle_all_rates(&mut self) {
        let names: Vec<TargetName> = self.targets.keys().cloned().collect();
        for name in &names {
            self.settle_rates(name);
        }
    }

    fn settle_rates(&mut self, name: &TargetName) {
        let Some(target) = self.targets.get_mut(name) else {
            return;
        };
        let mut rates = target.own_rates.clone();
        for (location, wider) in &self.location_rates {
            let selector = self.locations.get(location);
            if selector.is_some_and(|selector| selector.matches(&target.labels)) {
                rates.complete(wider);
            }
        }
        if target.rates != rates {
            target.rates = rates;
            self.index.touch(name, None);
        }
    }

    fn sum(&self, target: &str, of: impl Fn(&Node) -> Amounts) -> ResourceVector {
        let mut sum = Amounts::default();
        for node in self
            .targets
            .get(target)
            .into_iter()
            .flat_map(Target::nodes)
            .filter(|node| node.unusable.is_none())
        {
            sum.add_all(&of(node));
        }
        self.resources.vector(&sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(states: &[(&str, TargetState, i64)]) -> Fleet {
        let mut fleet = Fleet::new();
        for (name, state, contact) in states {
            fleet.set_target(
                &TargetName::from(*name),
                Labels::new(),
                Vec::new(),
                *state,
                *contact,
            );
        }
        fleet
    }

    #[test]
    fn mass_loss() {
        use TargetState::{Lost, Pending, Ready};
        for (states, degraded) in [
            (vec![], false),
            (vec![("a", Lost, 0)], false),
            (vec![("a", Lost, 0), ("b", Lost, 10)], true),
            (
                vec![
                    ("a", Lost, 0),
                    ("b", Lost, 10),
                    ("c", Ready, 0),
                    ("d", Ready, 0),
                ],
                false,
            ),
            (vec![("a", Lost, 0), ("b", Lost, 10), ("c", Ready, 0)], true),
            (
                vec![
                    ("a", Lost, 0),
                    ("b", Lost, 10),
                    ("c", Ready, 0),
                    ("d", Pending, 0),
                ],
                true,
            ),
            (
                vec![
                    ("a", Lost, 0),
                    ("b", Lost, MASS_LOSS_WINDOW_MS + 1),
                    ("c", Ready, 0),
                ],
                false,
            ),
        ] {
            assert_eq!(fleet(&states).hub_degraded(), degraded, "{states:?}");
        }
    }

    #[test]
    fn setting_the_same_is_no_event() {
        let mut fleet = fleet(&[("a", TargetState::Ready, 0)]);
        let again = fleet.set_target(
            &TargetName::from("a"),
            Labels::new(),
            Vec::new(),
            TargetState::Ready,
            99,
        );
        assert!(again.is_nothing());
        let lost = fleet.set_target(
            &TargetName::from("a"),
            Labels::new(),
            Vec::new(),
            TargetState::Lost,
            99,
        );
        assert!(!lost.is_nothing());
    }
}
