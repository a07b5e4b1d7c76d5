//! A request made ready for counting: demands by number, tolerations merged, and whether nodes are named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::kinds::{NodeShare, Packing, Strategy};
use placement_api::toleration::{BLOCKING, Taint, TaintEffect, Toleration, tolerates};

use super::closed::Closed;
use super::history::WORST;
use super::{PodSetRequest, Request, eligible};
use crate::fleet::{Amounts, CPU_TIME, Demand, Fleet, HOSTNAME, Node, Target, TargetName};

/// Most copies that are counted on one node: pods that ask nothing fit any number of times.
const MOST_COPIES: i64 = 1 << 20;

/// Soft taints that are told apart.
const MOST_SOFT: i64 = 99;

pub(super) struct Needs<'a> {
    pub(super) request: &'a Request,
    pub(super) sets: Vec<SetNeed<'a>>,
    /// Nodes are part of the decision.
    pub(super) named: bool,
    pub(super) packing: Packing,
    /// For `DivideBy::Weight`: which entry of the weights counts for a target, its own or that of a Location.
    pub(super) weight_keys: BTreeMap<TargetName, String>,
    /// Other workloads of its queue by target, where its Placement weighs them.
    pub(super) neighbours: BTreeMap<TargetName, i64>,
    /// What it has to be beside, in words.
    beside: &'static str,
    /// Where others have claims that it names: on which nodes of which targets all of those are that are there.
    joined: BTreeMap<TargetName, BTreeSet<String>>,
}

pub(super) struct SetNeed<'a> {
    pub(super) set: &'a PodSetRequest,
    pub(super) name: Arc<str>,
    pub(super) demand: Arc<Demand>,
    /// Numbers of the device resources that it asks for.
    pub(super) devices: Vec<usize>,
    /// Resource that its fit is measured by: its first device, else CPU.
    pub(super) main: usize,
    tolerations: Vec<Toleration>,
    closed: Arc<Closed>,
    /// Its pods go to these nodes only, where devices are that they have together with others.
    beside: Option<Arc<BTreeSet<String>>>,
}

impl<'a> Needs<'a> {
    pub(super) fn new(fleet: &mut Fleet, request: &'a Request) -> Self {
        let sets: Vec<SetNeed<'a>> = request
            .pod_sets
            .iter()
            .map(|set| SetNeed::new(fleet, request, set))
            .collect();
        let devices = sets.iter().any(SetNeed::asks_devices);
        let by_node_label = request
            .spread
            .iter()
            .any(|one| !is_target_label(fleet, &one.topology_key));
        let matters = devices || request.topology.is_some() || by_node_label;
        let gateable = sets.iter().all(|set| set.set.gateable);
        let shares = sets.iter().any(|set| set.demand.share().is_some());
        let default = if devices {
            Packing::Pack
        } else {
            Packing::Spread
        };
        Self {
            request,
            // Of shares only what is named is known.
            named: matters && (gateable || shares) && !sets.is_empty(),
            packing: request.packing.unwrap_or(default),
            weight_keys: weight_keys(fleet, request),
            neighbours: BTreeMap::new(),
            beside: "",
            joined: BTreeMap::new(),
            sets,
        }
    }

    /// Keeps what is new away from these nodes.
    pub(super) fn close(&mut self, closed: Closed) {
        let closed = Arc::new(closed);
        for set in &mut self.sets {
            set.closed = Arc::clone(&closed);
        }
    }

    /// Puts what is new where others have the claims that it names (`joined`), if it may be there: a claim has its devices on one node.
    pub(super) fn join(
        &mut self,
        fleet: &Fleet,
        joined: BTreeMap<TargetName, BTreeSet<String>>,
        now_ms: i64,
    ) {
        if joined.is_empty() || self.request.strategy == Strategy::Duplicate {
            return;
        }
        let open: BTreeSet<TargetName> = eligible::tiers(fleet, self.request, now_ms)
            .into_iter()
            .flatten()
            .collect();
        let nodes: BTreeSet<String> = joined
            .iter()
            .filter(|(target, _)| open.contains(*target))
            .flat_map(|(_, nodes)| nodes.iter().cloned())
            .collect();
        if !nodes.is_empty() {
            self.put_beside(nodes);
            self.beside = "the devices that it has together with others are";
        }
        self.joined = joined;
    }

    /// Puts what is new on these nodes alone.
    pub(super) fn confine(&mut self, places: BTreeMap<TargetName, BTreeSet<String>>) {
        if self.joined.is_empty() {
            self.put_beside(places.values().flatten().cloned().collect());
            self.beside = "the spare nodes of its queue, which has no other room for it, are";
            self.joined = places;
        }
    }

    fn put_beside(&mut self, nodes: BTreeSet<String>) {
        let nodes = Arc::new(nodes);
        for set in &mut self.sets {
            set.beside = Some(Arc::clone(&nodes));
        }
    }

    /// Targets that may take it, in tiers.
    pub(super) fn tiers(&self, fleet: &Fleet, now_ms: i64) -> Vec<Vec<TargetName>> {
        let mut tiers = eligible::tiers(fleet, self.request, now_ms);
        for tier in &mut tiers {
            tier.retain(|name| self.apart(name).is_none());
        }
        tiers
    }

    /// Why it is not on a target because of claims that others have.
    pub(super) fn apart(&self, target: &TargetName) -> Option<String> {
        let there = self.joined.get(target);
        let joins = self.sets.iter().any(|set| set.beside.is_some());
        match there {
            Some(nodes) if nodes.is_empty() => Some(
                "the devices that it would have together with others are on several nodes"
                    .to_owned(),
            ),
            None if joins => {
                let known = self.joined.iter().find(|(_, nodes)| !nodes.is_empty());
                known.map(|(other, _)| format!("{} on {other}", self.beside))
            }
            _ => None,
        }
    }

    /// Pods wanted by role.
    pub(super) fn wants(&self) -> Vec<i64> {
        self.sets.iter().map(|need| need.set.count.max(0)).collect()
    }

    /// Pods by role from which on a gang may run.
    pub(super) fn minimums(&self) -> Vec<i64> {
        self.sets
            .iter()
            .map(|need| need.set.gang_minimum())
            .collect()
    }

    /// Position of the role that a share is of.
    pub(super) fn position_of(&self, share: &NodeShare) -> Option<usize> {
        self.sets
            .iter()
            .position(|need| share.pod_set.is_empty() || *need.name == *share.pod_set)
    }

    /// The role that a share is of.
    pub(super) fn of_share(&self, share: &NodeShare) -> Option<&SetNeed<'a>> {
        self.sets.get(self.position_of(share)?)
    }

    /// Divided over targets: only what has one role can be.
    pub(super) fn divides(&self) -> bool {
        self.request.strategy == Strategy::Divide && self.sets.len() == 1
    }

    /// The role that fit is measured by: the first with devices, else the first.
    pub(super) fn leading(&self) -> usize {
        self.sets
            .iter()
            .position(SetNeed::asks_devices)
            .unwrap_or(0)
    }
}

impl<'a> SetNeed<'a> {
    fn new(fleet: &mut Fleet, request: &Request, set: &'a PodSetRequest) -> Self {
        let demand = fleet.shared_demand(&set.requests, &set.claims, set.gpu_share_milli);
        let resources = fleet.resources();
        let devices: Vec<usize> = demand
            .iter()
            .map(|(number, _)| number)
            .chain(demand.share().map(|(number, _)| number))
            .filter(|number| resources.is_extended(*number))
            .collect();
        Self {
            set,
            name: Arc::from(set.name.as_str()),
            main: devices.first().copied().unwrap_or(CPU_TIME),
            devices,
            demand,
            tolerations: set
                .tolerations
                .iter()
                .chain(&request.tolerations)
                .cloned()
                .collect(),
            closed: Arc::default(),
            beside: None,
        }
    }

    /// Tolerations of the pods and of the request.
    pub(super) fn tolerations(&self) -> &[Toleration] {
        &self.tolerations
    }

    /// Whether it asks for devices, by resource or by claim.
    pub(super) fn asks_devices(&self) -> bool {
        !self.devices.is_empty() || self.demand.has_claims()
    }

    /// Pods of this role that a node takes now.
    pub(super) fn copies(&self, node: &Node) -> i64 {
        self.copies_by(node, |_| node.copies(&self.demand))
    }

    fn copies_by(&self, node: &Node, count: impl FnOnce(&Amounts) -> i64) -> i64 {
        if node.unusable.is_some() {
            return 0;
        }
        let copies = count(&node.free).min(MOST_COPIES);
        if copies > 0 && self.tainted(node).is_none() && self.may_use(node) {
            copies
        } else {
            0
        }
    }

    /// Pods of this role on each node of a target.
    pub(super) fn copies_on(&self, target: &Target) -> Vec<i64> {
        self.copies_among(target, 0..target.node_list().len())
    }

    /// Pods of this role on these nodes of a target, by position; on others none.
    pub(super) fn copies_among(
        &self,
        target: &Target,
        nodes: impl Iterator<Item = usize>,
    ) -> Vec<i64> {
        // Devices are costly to count, and most nodes stand like the one before them.
        let mut last: Option<(&Amounts, i64)> = None;
        let mut count = |free| match last {
            Some((same, copies)) if same == free => copies,
            _ => {
                let copies = self.demand.copies_in(free);
                last = Some((free, copies));
                copies
            }
        };
        let all = target.node_list();
        let mut copies = vec![0; all.len()];
        for at in nodes {
            let node = &all[at];
            copies[at] = if self.demand.devices().is_none() {
                self.copies(node)
            } else {
                let count = count(&node.free);
                self.copies_by(node, |_| count)
            };
        }
        copies
    }

    /// Whether the pods may be on this node by their selector and affinity.
    pub(super) fn selects(&self, node: &Node) -> bool {
        let labels = self
            .set
            .node_selector
            .iter()
            .all(|(key, value)| node.label(key) == Some(value.as_str()));
        labels
            && self
                .set
                .affinity
                .as_ref()
                .is_none_or(|affinity| affinity.matches(node.name().as_str(), node))
    }

    /// Whether new pods may be put on this node by their selector and affinity and by the limits of their queue.
    pub(super) fn may_use(&self, node: &Node) -> bool {
        let beside = |nodes: &Arc<BTreeSet<String>>| nodes.contains(node.name().as_str());
        self.selects(node)
            && self.closed_by(node).is_none()
            && self.beside.as_ref().is_none_or(beside)
    }

    /// Whether no limit keeps new pods away from any node.
    pub(super) fn closed_nowhere(&self) -> bool {
        self.closed.is_empty() && self.beside.is_none()
    }

    /// The limit of the queue that keeps new pods away.
    pub(super) fn closed_by(&self, node: &Node) -> Option<&str> {
        if self.closed.is_empty() {
            return None;
        }
        self.closed.on(node)
    }

    /// The taint that keeps the pods away.
    pub(super) fn tainted<'n>(&self, node: &'n Node) -> Option<&'n Taint> {
        if node.taints.is_empty() {
            return None;
        }
        tolerates(&self.tolerations, &node.taints, BLOCKING).err()
    }

    /// The taint that drives running pods away.
    pub(super) fn driven_off<'n>(&self, node: &'n Node) -> Option<&'n Taint> {
        if node.taints.is_empty() {
            return None;
        }
        tolerates(&self.tolerations, &node.taints, &[TaintEffect::NoExecute]).err()
    }

    /// How much a node is to be avoided: later alternatives of prioritised lists first, then soft taints, then devices that the
    /// pods do not ask for, then what went wrong there lately.
    pub(super) fn avoidance(&self, node: &Node, fleet: &Fleet) -> i64 {
        let soft = soft_taints(&self.tolerations, &node.taints).min(MOST_SOFT);
        // Who has claims is among devices of drivers in his place, whatever other classes they belong to.
        let at_home = self.demand.has_claims() && node.allocatable.devices().is_some();
        let idle = !at_home
            && node.allocatable.positive().any(|number| {
                !self.devices.contains(&number) && fleet.resources().is_extended(number)
            });
        let rank = self.demand.rank_in(&node.free);
        let avoided = 2 * (MOST_SOFT + 1) * rank + 2 * soft + i64::from(idle);
        (WORST + 1) * avoided + node.trouble.clamp(0, WORST)
    }
}

fn weight_keys(fleet: &Fleet, request: &Request) -> BTreeMap<TargetName, String> {
    let mut keys = BTreeMap::new();
    if request.weights.is_empty() {
        return keys;
    }
    for (name, target) in fleet.targets() {
        let inside = |key: &&String| {
            fleet
                .location(key)
                .is_some_and(|selector| selector.matches(&target.labels))
        };
        let own = request.weights.keys().find(|key| *key == name.as_str());
        let by_tier = || {
            request
                .tiers
                .iter()
                .filter(|key| request.weights.contains_key(*key))
                .find(inside)
        };
        if let Some(key) = own
            .or_else(by_tier)
            .or_else(|| request.weights.keys().find(inside))
        {
            keys.insert(name.clone(), key.clone());
        }
    }
    keys
}

/// Number of taints that only prefer others.
pub(super) fn soft_taints(tolerations: &[Toleration], taints: &[Taint]) -> i64 {
    let soft = |taint: &&Taint| {
        taint.effect == TaintEffect::PreferNoSchedule
            && !tolerations.iter().any(|one| one.tolerates(taint))
    };
    i64::try_from(taints.iter().filter(soft).count()).unwrap_or(i64::MAX)
}

/// Whether a spread key is a label of targets; else it is one of nodes.
pub(super) fn is_target_label(fleet: &Fleet, key: &str) -> bool {
    key != HOSTNAME
        && fleet
            .targets()
            .any(|(_, target)| target.labels.contains_key(key))
}
