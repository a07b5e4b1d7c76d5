//! Trying things out in the fleet itself: room that is closed for a while by holds of nobody, and room that is handed on for a while.
//! Whoever does it undoes it before the next workload is planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::draft::Draft;
use super::needs::Needs;
use super::promise::Room;
use crate::fleet::{Fleet, NodeName, Share, TargetName, WorkloadId};

/// A node of the fleet.
pub(super) type Place = (TargetName, NodeName);

/// Holds room in the name of nobody; returns where. `id` is a name that no object has.
pub(super) fn put(fleet: &mut Fleet, id: &WorkloadId, room: &Room<Place>) -> Vec<TargetName> {
    let mut by_target: BTreeMap<&TargetName, Vec<Share>> = BTreeMap::new();
    for ((target, node), amounts) in room {
        let vector = fleet.resources().vector(amounts);
        if vector.iter().all(|(_, amount)| amount <= 0) {
            continue;
        }
        let share = Share {
            node: node.clone(),
            pod_set: "".into(),
            demand: Arc::new(fleet.demand(&vector, &[])),
            pods: 1,
            devices: Vec::new(),
        };
        by_target.entry(target).or_default().push(share);
    }
    let mut targets = Vec::new();
    for (target, shares) in by_target {
        fleet.hold(id, target, 0, shares, Vec::new());
        targets.push(target.clone());
    }
    targets
}

/// Hands all that a workload holds on, or gives it back.
pub(super) fn hand_on(fleet: &mut Fleet, id: &WorkloadId, on: bool) {
    for target in fleet.holders(id) {
        let held = fleet
            .target(target.as_str())
            .and_then(|there| there.held(id));
        let shares = held.map_or_else(Vec::new, |hold| hold.claimed.clone());
        fleet.pass_on(id, &target, if on { shares } else { Vec::new() });
    }
}

/// What a draft takes on each node.
pub(super) fn room_of(fleet: &Fleet, needs: &Needs<'_>, draft: &Draft) -> Room<Place> {
    let mut room: Room<Place> = Room::new();
    for added in &draft.added {
        let Some(target) = fleet.target(added.target.as_str()) else {
            continue;
        };
        for pick in &added.picks {
            let node = target.node_list()[pick.node].name().clone();
            let there = room.entry((added.target.clone(), node)).or_default();
            there.add(&needs.sets[pick.set].demand, pick.pods);
        }
    }
    room
}
