//! What decisions have reserved: room that is assumed to be used until the member's report counts it, and nodes that
//! belong to a workload by decision for as long as it has its part there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Amounts, Demand, Event, Fleet, NodeName, Target, TargetName, WorkloadId};

/// Pods of one role on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Node.
    pub node: NodeName,
    /// Role.
    pub pod_set: Arc<str>,
    /// What one pod takes.
    pub demand: Arc<Demand>,
    /// Pods.
    pub pods: i64,
    /// Where a share of a device is asked for: the number of the device, by pod. Empty: the fleet chooses.
    pub devices: Vec<u16>,
}

/// What one workload has reserved on one target.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hold {
    /// Epoch of the assignment: a report that counts it (or a newer one) ends the assumption.
    pub(crate) epoch: i64,
    /// Not counted yet.
    pub(crate) assumed: Vec<Share>,
    /// On nodes that the decision names, counted or not.
    pub(crate) claimed: Vec<Share>,
    /// What belongs to somebody else already, though the pods may still be there: of what is claimed, or, where no nodes were decided, of
    /// what is assumed or seen.
    pub(crate) passed_on: Vec<Share>,
}

/// Takes the pods of some shares off others.
pub(crate) fn take_off(shares: &mut Vec<Share>, gone: &[Share]) {
    for gone in gone {
        let same = |share: &&mut Share| share.node == gone.node && share.pod_set == gone.pod_set;
        if let Some(share) = shares.iter_mut().find(same) {
            share.pods -= gone.pods;
        }
    }
    shares.retain(|share| share.pods > 0);
}

impl Hold {
    /// What is assumed without what is passed on of it.
    pub(crate) fn left(&self) -> Vec<Share> {
        let mut left = self.assumed.clone();
        take_off(&mut left, &self.passed_on);
        left
    }

    /// Everything that stands on nodes because of it. What is passed on of claims is among the claims.
    fn all(&self) -> [&[Share]; 3] {
        let unnamed = if self.claimed.is_empty() {
            &self.passed_on[..]
        } else {
            &[]
        };
        [&self.assumed, &self.claimed, unnamed]
    }
}

impl Fleet {
    /// Reserves room of a workload on a target in place of what it had reserved there. `assumed` is what the target's report
    /// does not count yet, `claimed` everything on nodes that the decision names. The event says what became free by it.
    pub fn hold(
        &mut self,
        id: &WorkloadId,
        name: &TargetName,
        epoch: i64,
        assumed: Vec<Share>,
        claimed: Vec<Share>,
    ) -> Event {
        let Some(target) = self.targets.get_mut(name) else {
            return Event::nothing();
        };
        let old = target.holds.remove(id);
        let assumed = if target.counts(id, epoch) {
            Vec::new()
        } else {
            assumed
        };
        let mut new = Hold {
            epoch,
            assumed,
            claimed,
            passed_on: Vec::new(),
        };
        if let Some(old) = &old {
            target.take(old, -1);
        }
        target.seat_shares(old.as_ref(), &mut new);
        if let Some(old) = &old {
            target.take(old, 1);
        }
        if let Some(old) = old
            .as_ref()
            .filter(|old| old.epoch == epoch && old.claimed == new.claimed)
        {
            new.passed_on.clone_from(&old.passed_on);
        }
        let mut freed = BTreeSet::new();
        if let Some(old) = &old {
            let before = target.free_on_nodes_of(old);
            target.take(old, -1);
            target.take(&new, 1);
            target.settle(old);
            target.settle(&new);
            for (position, before) in before {
                freed.extend(target.nodes[position].free.above(&before));
            }
            if old.claimed != new.claimed {
                freed.extend(shared(&old.claimed));
            }
        } else {
            target.take(&new, 1);
            target.settle(&new);
        }
        for hold in old.iter().chain([&new]) {
            target.touch(hold, name, &mut self.index);
        }
        if let Some(old) = &old {
            target.sign_off(id, old);
        }
        target.sign_on(id, &new);
        target.holds.insert(id.clone(), new);
        if old.is_none() {
            let targets = self.holders.entry(id.clone()).or_default();
            if let Err(place) = targets.binary_search(name) {
                targets.reserve_exact(1);
                targets.insert(place, name.clone());
            }
        }
        Event::freed(
            freed
                .into_iter()
                .map(|number| self.resources.name(number).to_owned())
                .collect(),
        )
    }

    /// Gives back what a workload has reserved on a target: when the member has confirmed its removal, or it has finished.
    pub fn release(&mut self, id: &WorkloadId, name: &TargetName) -> Event {
        self.forget_holder(id, name);
        let Some(target) = self.targets.get_mut(name) else {
            return Event::nothing();
        };
        let Some(hold) = target.holds.remove(id) else {
            return Event::nothing();
        };
        target.sign_off(id, &hold);
        target.take(&hold, -1);
        target.settle(&hold);
        target.touch(&hold, name, &mut self.index);
        let shares = hold.assumed.iter().chain(&hold.claimed);
        let numbers = shares.flat_map(|share| share.demand.iter().map(|(number, _)| number));
        Event::freed(
            numbers
                .chain(shared(&hold.claimed))
                .map(|number| self.resources.name(number).to_owned())
                .collect(),
        )
    }

    /// Gives back everything that a workload has reserved.
    pub fn release_all(&mut self, id: &WorkloadId) -> Event {
        let mut event = Event::nothing();
        for target in self.holders(id) {
            event.merge(self.release(id, &target));
        }
        event
    }

    /// Gives these pods' room on nodes that were decided to others, although the pods may still be there; nothing takes it back.
    pub(crate) fn pass_on(&mut self, id: &WorkloadId, name: &TargetName, shares: Vec<Share>) {
        let Some(target) = self.targets.get_mut(name) else {
            return;
        };
        let Some(mut hold) = target.holds.remove(id) else {
            return;
        };
        target.take(&hold, -1);
        let back = std::mem::replace(&mut hold.passed_on, shares);
        target.take(&hold, 1);
        target.settle(&hold);
        target.touch(&hold, name, &mut self.index);
        if hold.claimed.is_empty() {
            target.settle_shares(&back);
            target.touch_shares(&back, name, &mut self.index);
        }
        target.holds.insert(id.clone(), hold);
    }

    /// Takes what a workload has on a target out of the target's report: it is assumed from now on, and free again once it is released.
    pub(crate) fn uncount(&mut self, id: &WorkloadId, name: &TargetName, shares: Vec<Share>) {
        let Some(target) = self.targets.get_mut(name) else {
            return;
        };
        target.counted.remove(id);
        let counted = |hold: &mut Hold| hold.assumed.is_empty().then(|| std::mem::take(hold));
        let Some(mut hold) = target.holds.get_mut(id).and_then(counted) else {
            return;
        };
        target.take(&hold, -1);
        target.add(&shares, 1, |node| &mut node.reported);
        hold.assumed = shares;
        target.take(&hold, 1);
        target.settle(&hold);
        target.touch(&hold, name, &mut self.index);
        target.holds.insert(id.clone(), hold);
    }

    /// Targets on which a workload has something reserved.
    pub(crate) fn holders(&self, id: &WorkloadId) -> Vec<TargetName> {
        self.holders.get(id).cloned().unwrap_or_default()
    }

    pub(super) fn forget_holder(&mut self, id: &WorkloadId, target: &TargetName) {
        if let Some(targets) = self.holders.get_mut(id) {
            targets.retain(|one| one != target);
            if targets.is_empty() {
                self.holders.remove(id);
            }
        }
    }
}

impl Target {
    /// Everything that is reserved here.
    pub(crate) fn holds(&self) -> impl Iterator<Item = (&WorkloadId, &Hold)> {
        self.holds.iter()
    }

    pub(crate) fn held(&self, id: &WorkloadId) -> Option<&Hold> {
        self.holds.get(id)
    }

    /// Who has claimed something on a node.
    pub(crate) fn claimants(&self, node: &NodeName) -> &[WorkloadId] {
        self.claimants.get(node).map_or(&[], Vec::as_slice)
    }

    fn sign_on(&mut self, id: &WorkloadId, hold: &Hold) {
        for share in &hold.claimed {
            let ids = self.claimants.entry(share.node.clone()).or_default();
            if let Err(place) = ids.binary_search(id) {
                ids.insert(place, id.clone());
            }
        }
    }

    fn sign_off(&mut self, id: &WorkloadId, hold: &Hold) {
        for share in &hold.claimed {
            let Some(ids) = self.claimants.get_mut(&share.node) else {
                continue;
            };
            if let Ok(place) = ids.binary_search(id) {
                ids.remove(place);
            }
            if ids.is_empty() {
                self.claimants.remove(&share.node);
            }
        }
    }

    /// Takes a hold off the nodes (`sign` 1) or gives it back (-1), without settling them.
    pub(super) fn take(&mut self, hold: &Hold, sign: i64) {
        let counted = hold.assumed.is_empty();
        self.add(&hold.assumed, sign, |node| &mut node.assumed);
        self.add(&hold.claimed, sign, |node| &mut node.claimed);
        self.use_shares(&hold.claimed, sign);
        // What is passed on is claimed no more; if the report has it, it will be free, else it will not be used.
        if !hold.claimed.is_empty() {
            self.add(&hold.passed_on, -sign, |node| &mut node.claimed);
            self.use_shares(&hold.passed_on, -sign);
        }
        if counted {
            self.add(&hold.passed_on, sign, |node| &mut node.passed_on);
        } else {
            self.add(&hold.passed_on, -sign, |node| &mut node.assumed);
        }
    }

    fn add(&mut self, shares: &[Share], sign: i64, of: impl Fn(&mut super::Node) -> &mut Amounts) {
        for share in shares {
            if let Some(position) = self.position(share.node.as_str()) {
                of(&mut self.nodes[position]).add(&share.demand, sign * share.pods);
            }
        }
    }

    fn free_on_nodes_of(&self, hold: &Hold) -> Vec<(usize, Amounts)> {
        let shares = hold.assumed.iter().chain(&hold.claimed);
        let positions: BTreeSet<usize> = shares
            .filter_map(|share| self.position(share.node.as_str()))
            .collect();
        positions
            .into_iter()
            .map(|position| (position, self.nodes[position].free.clone()))
            .collect()
    }

    /// Tells the index which nodes a hold has changed.
    fn touch(&self, hold: &Hold, name: &TargetName, index: &mut super::Index) {
        for shares in hold.all() {
            self.touch_shares(shares, name, index);
        }
    }

    fn touch_shares(&self, shares: &[Share], name: &TargetName, index: &mut super::Index) {
        let mut last = None;
        for share in shares {
            if last != Some(&share.node) {
                last = Some(&share.node);
                if let Some(position) = self.position(share.node.as_str()) {
                    index.touch(name, Some(position));
                }
            }
        }
    }

    fn settle(&mut self, hold: &Hold) {
        for shares in hold.all() {
            self.settle_shares(shares);
        }
    }

    fn settle_shares(&mut self, shares: &[Share]) {
        for share in shares {
            if let Some(position) = self.position(share.node.as_str()) {
                self.nodes[position].settle();
            }
        }
    }
}

/// Numbers of the resources of which shares are claimed.
fn shared(claimed: &[Share]) -> impl Iterator<Item = usize> + '_ {
    claimed
        .iter()
        .filter_map(|share| share.demand.share().map(|(number, _)| number))
}

#[cfg(test)]
mod tests {
    use placement_api::kinds::{
        CountedAssignment, InventoryNode, InventoryStatus, NodeClass, NodeShare,
    };
    use placement_api::quantity::Quantity;
    use placement_api::selector::Labels;

    use super::*;
    use crate::fleet::TargetState;

    fn inventory(free: i64, counted: &[(&str, i64)]) -> InventoryStatus {
        let amount = |units| [("gpu".to_owned(), Quantity::from_units(units))].into();
        InventoryStatus {
            classes: vec![NodeClass {
                id: "c".to_owned(),
                allocatable: amount(8),
                ..NodeClass::default()
            }],
            nodes: vec![InventoryNode {
                name: "n".to_owned(),
                class: "c".to_owned(),
                free: amount(free),
                ..InventoryNode::default()
            }],
            counted: counted
                .iter()
                .map(|(name, epoch)| CountedAssignment {
                    name: (*name).to_owned(),
                    epoch: *epoch,
                    ..CountedAssignment::default()
                })
                .collect(),
            ..InventoryStatus::default()
        }
    }

    fn fleet() -> (Fleet, TargetName, WorkloadId, Vec<Share>) {
        let mut fleet = Fleet::new();
        let target = TargetName::from("t");
        fleet.set_target(&target, Labels::new(), Vec::new(), TargetState::Ready, 0);
        fleet.set_inventory(&target, &inventory(8, &[]));
        let demand = Arc::new(fleet.demand(&[("gpu".to_owned(), 2)].into_iter().collect(), &[]));
        let share = Share {
            node: NodeName::from("n"),
            pod_set: Arc::from("main"),
            demand,
            pods: 3,
            devices: Vec::new(),
        };
        (fleet, target, WorkloadId::from("w"), vec![share])
    }

    fn free(fleet: &Fleet) -> i64 {
        fleet.free_on("t", "n").expect("node").get("gpu")
    }

    #[test]
    fn an_assumption_lasts_until_its_epoch_is_counted() {
        let (mut fleet, target, id, shares) = fleet();
        fleet.hold(&id, &target, 2, shares, Vec::new());
        assert_eq!(free(&fleet), 2);
        let event = fleet.set_inventory(&target, &inventory(6, &[("w", 1)]));
        assert_eq!(
            (free(&fleet), event.is_nothing()),
            (0, true),
            "an older epoch counts nothing"
        );
        let event = fleet.set_inventory(&target, &inventory(2, &[("w", 2)]));
        assert_eq!(free(&fleet), 2, "reported use wins");
        assert!(event.freed.contains("gpu"));
        fleet.set_inventory(&target, &inventory(4, &[]));
        assert_eq!(free(&fleet), 4, "counted once, counted for good");
    }

    #[test]
    fn a_named_node_stays_claimed_while_a_pod_is_being_replaced() {
        let (mut fleet, target, id, shares) = fleet();
        fleet.hold(&id, &target, 1, shares.clone(), shares);
        fleet.set_inventory(&target, &inventory(2, &[("w", 1)]));
        assert_eq!(free(&fleet), 2);
        fleet.set_inventory(&target, &inventory(4, &[]));
        assert_eq!(free(&fleet), 2, "its pod comes back");
        let event = fleet.release(&id, &target);
        assert_eq!(free(&fleet), 4);
        assert!(event.freed.contains("gpu"));
    }

    #[test]
    fn what_was_given_away_unseen_is_not_free_twice() {
        let (mut fleet, target, id, shares) = fleet();
        fleet.hold(&id, &target, 1, shares.clone(), Vec::new());
        let seen = |free: i64, pods: i64| {
            let mut report = inventory(free, &[("w", 1)]);
            let share = |pods| NodeShare {
                name: "n".to_owned(),
                pods,
                ..NodeShare::default()
            };
            report.counted[0].nodes = (pods > 0).then(|| share(pods)).into_iter().collect();
            report
        };
        fleet.set_inventory(&target, &seen(2, 3));
        assert_eq!(free(&fleet), 2);
        fleet.pass_on(&id, &target, shares.clone());
        assert_eq!(free(&fleet), 8, "all that its three pods have");
        fleet.pass_on(&id, &target, Vec::new());
        assert_eq!(free(&fleet), 2, "taken back");
        fleet.pass_on(&id, &target, shares);
        for (reported, pods) in [(4, 2), (6, 1), (8, 0)] {
            fleet.set_inventory(&target, &seen(reported, pods));
            assert_eq!(free(&fleet), 8, "{pods} are there still");
        }
        fleet.release(&id, &target);
        assert_eq!(free(&fleet), 8);
    }

    #[test]
    fn what_is_no_longer_counted_is_free_when_it_goes() {
        for named in [true, false] {
            let (mut fleet, target, id, shares) = fleet();
            let claimed = if named { shares.clone() } else { Vec::new() };
            fleet.hold(&id, &target, 1, shares.clone(), claimed);
            fleet.set_inventory(&target, &inventory(2, &[("w", 1)]));
            fleet.uncount(&id, &target, shares);
            assert_eq!(free(&fleet), 2, "as before");
            fleet.release(&id, &target);
            assert_eq!(free(&fleet), 8, "though the report stands still");
        }
    }

    #[test]
    fn holding_twice_replaces() {
        let (mut fleet, target, id, shares) = fleet();
        fleet.hold(&id, &target, 1, shares.clone(), shares.clone());
        fleet.hold(&id, &target, 1, shares.clone(), shares);
        assert_eq!(free(&fleet), 2);
        assert!(
            fleet
                .release(&WorkloadId::from("other"), &target)
                .is_nothing()
        );
        assert_eq!(fleet.release_all(&id).freed.len(), 2, "devices and slots");
        assert_eq!(free(&fleet), 8);
    }
}
