//! Targets: from SyncTarget, Inventory and Lease to their state in the fleet, and to what their status says.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use placement_api::kinds::{
    DeviceSummary, DrainStatus, Inventory, StuckWorkload, SyncTarget, SyncTargetSpec,
    SyncTargetStatus, Trouble, api,
};
use placement_api::names::target_of_namespace;
use placement_api::raw::RawObject;
use serde_json::json;

use super::intake::{milliseconds, parsed};
use super::jobs::timestamp;
use super::model::{Alarm, Key, LiveInventory, LiveTarget, Model, Now, TargetRecord, Timer};
use crate::fleet::{NodeName, Rates, TargetName, TargetState};
use crate::plan::{self, Memory, Step};

/// Stuck workloads that a target's status names.
const STUCK_NAMED: usize = 50;
/// Nodes with trouble that a target's status names.
const TROUBLE_NAMED: usize = 64;

/// Kinds without which next to nothing can be placed.
const USUAL_KINDS: [&str; 4] = [
    "apps/v1/Deployment",
    "batch/v1/Job",
    "v1/ConfigMap",
    "v1/Service",
];

impl Model {
    pub(super) fn target_applied(&mut self, object: &RawObject, now: Now) {
        let name = TargetName::from(&object.metadata.name);
        let Some(target) = parsed::<SyncTarget>(object) else {
            return;
        };
        let record = self.targets.entry(name.clone()).or_default();
        let first = record.object.get().is_none();
        let live = LiveTarget {
            metadata: object.metadata.clone(),
            spec: target.spec,
            status: target.status.unwrap_or_default(),
        };
        if !record
            .object
            .accept(&object.metadata.resource_version, || live)
        {
            return;
        }
        if first {
            // An earlier leader has given it up; one renewal will show that it is back.
            let lost = record
                .object
                .get()
                .is_some_and(|live| live.status.state == "Lost");
            record.lost = lost && !record.heard;
            // In doubt whether anybody is there at all, the time runs from now.
            self.alarms.push((
                Timer::Lost(name.clone()),
                Alarm::By(now.instant + self.lost_after),
            ));
        }
        self.refresh_target(&name);
        self.dirty.push(Key::Target(name));
    }

    pub(super) fn target_gone(&mut self, name: &TargetName, version: Option<&str>, now: Now) {
        let Some(record) = self.targets.get_mut(name) else {
            return;
        };
        if !record.object.gone(version) {
            return;
        }
        let event = self.core.remove_target(name);
        self.event.merge(event);
        let concerned = self.by_target.get(name).into_iter().flatten().cloned();
        self.look.extend(concerned);
        self.dirty
            .extend(self.config.locations.keys().cloned().map(Key::Location));
        self.alarms.push((
            Timer::Lost(name.clone()),
            Alarm::At(now.instant + self.lost_after),
        ));
    }

    pub(super) fn inventory_applied(&mut self, object: &RawObject, _: Now) {
        let Some(name) = target_of_namespace(&object.metadata.namespace).map(TargetName::from)
        else {
            return;
        };
        let Some(inventory) = parsed::<Inventory>(object) else {
            return;
        };
        let record = self.targets.entry(name.clone()).or_default();
        let raised = record.min_term() >= self.term;
        let live = LiveInventory {
            uid: object.metadata.uid.clone(),
            min_term: inventory.spec.min_term,
            status: inventory.status,
        };
        if !record
            .inventory
            .accept(&object.metadata.resource_version, || live)
        {
            return;
        }
        if record.min_term() < self.term {
            self.dirty.push(Key::Term(name.clone()));
        } else if !raised {
            let waiting: Vec<_> = self
                .by_target
                .get(&name)
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            for id in waiting {
                self.write(&id);
            }
        }
        self.take_inventory(&name);
        self.refresh_target(&name);
        self.dirty.push(Key::Target(name));
    }

    pub(super) fn inventory_gone(&mut self, namespace: &str, version: Option<&str>, now: Now) {
        let Some(name) = target_of_namespace(namespace).map(TargetName::from) else {
            return;
        };
        let Some(record) = self.targets.get_mut(&name) else {
            return;
        };
        if record.inventory.gone(version) {
            record.lost = true;
            record.contact_ms = record.contact_ms.min(now.ms);
            self.refresh_target(&name);
        }
    }

    /// Nothing has been heard of a target for too long.
    pub(super) fn target_silent(&mut self, name: &TargetName, now: Now) {
        let Some(record) = self.targets.get_mut(name) else {
            return;
        };
        if record
            .renewed
            .is_some_and(|at| at + self.lost_after > now.instant)
        {
            return;
        }
        record.lost = true;
        self.refresh_target(name);
    }

    fn take_inventory(&mut self, name: &TargetName) {
        let Some(record) = self.targets.get(name) else {
            return;
        };
        if record.object.get().is_none() {
            return;
        }
        if let Some(status) = record
            .inventory
            .get()
            .and_then(|inventory| inventory.status.as_ref())
        {
            let event = self.core.set_inventory(name, status);
            self.event.merge(event);
        }
    }

    /// Tells the fleet how a target stands.
    pub(super) fn refresh_target(&mut self, name: &TargetName) {
        let term = self.term;
        let Some(record) = self.targets.get_mut(name) else {
            return;
        };
        let state = record.stands(term);
        let Some(object) = record.object.get() else {
            return;
        };
        let new = self.core.fleet().target(name.as_str()).is_none();
        let event = self.core.set_target(
            name,
            object.metadata.labels.clone(),
            object.spec.taints.clone(),
            state,
            record.contact_ms,
        );
        let (rates, _) = rates(&object.spec);
        self.core.set_rates(name, rates);
        let changed = record.state != state || new;
        record.state = state;
        if !event.is_nothing() || changed {
            self.dirty.push(Key::Target(name.clone()));
            self.dirty
                .extend(self.config.locations.keys().cloned().map(Key::Location));
        }
        self.event.merge(event);
        if new {
            self.take_inventory(name);
        }
    }

    /// What the status of a SyncTarget should be.
    pub(super) fn target_status(&self, name: &TargetName) -> Option<SyncTargetStatus> {
        let record = self.targets.get(name)?;
        let object = record.object.get()?;
        let inventory = record
            .inventory
            .get()
            .and_then(|inventory| inventory.status.as_ref());
        let ids = || self.by_target.get(name).into_iter().flatten();
        let parts = || {
            ids().filter_map(|id| {
                let entry = self.entries.get(id)?;
                entry.parts.get(name).map(|part| (entry, part))
            })
        };
        let drain = object.spec.drain.then(|| {
            let mut drain = DrainStatus::default();
            for (entry, part) in parts().filter(|(entry, _)| !entry.is_finished()) {
                match entry.leaving.get(name) {
                    Some((Step::Stuck, message)) if !part.evicting => {
                        drain.stuck += 1;
                        if drain.stuck_workloads.len() < STUCK_NAMED {
                            drain.stuck_workloads.push(StuckWorkload {
                                workload: entry.reference().to_string(),
                                message: message.clone(),
                            });
                        }
                    }
                    _ => drain.moving += 1,
                }
            }
            drain
        });
        let drained = drain
            .as_ref()
            .is_some_and(|drain| drain.moving + drain.stuck == 0);
        let state = match record.state {
            TargetState::Pending => "Pending",
            TargetState::Ready => "Ready",
            TargetState::Cordoned => "Cordoned",
            TargetState::Draining if drained => "Drained",
            TargetState::Draining => "Draining",
            TargetState::Lost => "Lost",
        };
        Some(SyncTargetStatus {
            observed_generation: object.metadata.generation,
            conditions: conditions(record, object),
            state: state.to_owned(),
            nodes: inventory.map_or(0, |status| {
                i64::try_from(status.nodes.len()).unwrap_or(i64::MAX)
            }),
            capacity: self.core.fleet().capacity_of(name.as_str()).to_list(),
            free: self.core.fleet().free_of(name.as_str()).to_list(),
            devices: inventory.map_or_else(Vec::new, |status| self.devices(name, &status.devices)),
            locations: self.core.fleet().locations_of(name.as_str()),
            workloads: i64::try_from(
                parts()
                    .filter(|(entry, part)| !part.evicting && !entry.is_finished())
                    .count(),
            )
            .unwrap_or(i64::MAX),
            kubernetes_version: inventory
                .map_or_else(String::new, |status| status.kubernetes_version.clone()),
            cluster_uid: inventory
                .map(|status| status.cluster_uid.clone())
                .filter(|uid| !uid.is_empty())
                .or_else(|| object.status.cluster_uid.clone()),
            drain,
            trouble: self.trouble(name),
        })
    }

    /// Where something went wrong on a target lately, the worst if there is much.
    fn trouble(&self, name: &TargetName) -> Vec<Trouble> {
        let mut known = self.core.planner().trouble(name);
        known.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.node.cmp(&b.node)));
        known.truncate(TROUBLE_NAMED);
        let said = known.into_iter().map(|one| Trouble {
            node: one.node.map(|node| node.to_string()),
            weight: one.weight,
            at: timestamp(one.at_ms),
        });
        said.collect()
    }

    /// What went wrong, as an earlier leader has written it.
    pub(super) fn remember_trouble(&mut self) {
        let mut all = Vec::new();
        for (name, record) in &self.targets {
            let said = record.object.get().map(|live| &live.status.trouble);
            for one in said.into_iter().flatten() {
                let Some(at_ms) = milliseconds(&one.at) else {
                    continue;
                };
                let trouble = plan::Trouble {
                    node: one.node.as_deref().map(NodeName::from),
                    weight: one.weight,
                    at_ms,
                };
                all.push(Memory::Trouble(name.clone(), trouble));
            }
        }
        for memory in all {
            self.core.remember(memory);
        }
    }

    /// As the agent reports them, but no more free than decisions leave.
    fn devices(&self, name: &TargetName, reported: &[DeviceSummary]) -> Vec<DeviceSummary> {
        let free = self.core.fleet().free_of(name.as_str());
        let mut left: BTreeMap<&str, i64> = BTreeMap::new();
        let mut devices = reported.to_vec();
        for device in &mut devices {
            let sum: i64 = reported
                .iter()
                .filter(|other| other.resource == device.resource)
                .map(|other| other.free)
                .sum();
            let resource = reported
                .iter()
                .find(|other| other.resource == device.resource)
                .map_or("", |other| other.resource.as_str());
            // Taken by decisions that the report does not count yet; of which product is not worth knowing for a second.
            let pending = left
                .entry(resource)
                .or_insert_with(|| (sum - free.get(resource)).max(0));
            let taken = (*pending).min(device.free);
            device.free -= taken;
            *pending -= taken;
        }
        devices
    }

    /// The write of a target's status, if it is due: state and conditions at once, numbers once per second.
    pub(super) fn target_patch(
        &mut self,
        name: &TargetName,
        now: Now,
    ) -> Option<serde_json::Value> {
        let record = self.targets.get(name)?;
        let due = record
            .status_at
            .map(|at| at + std::time::Duration::from_secs(1));
        if let Some(due) = due.filter(|due| *due > now.instant && record.only_numbers()) {
            self.alarms
                .push((Timer::Write(Key::Target(name.clone())), Alarm::By(due)));
            return None;
        }
        let desired = self.target_status(name)?;
        let record = self.targets.get_mut(name)?;
        let object = record.object.get()?;
        let current = &object.status;
        if *current == desired {
            return None;
        }
        let urgent = current.state != desired.state
            || current.conditions != desired.conditions
            || current.locations != desired.locations
            || current.observed_generation != desired.observed_generation
            || current.drain != desired.drain
            || current.cluster_uid != desired.cluster_uid;
        if let Some(due) = due.filter(|due| !urgent && *due > now.instant) {
            self.alarms
                .push((Timer::Write(Key::Target(name.clone())), Alarm::By(due)));
            return None;
        }
        record.status_at = Some(now.instant);
        let from = serde_json::to_value(current).unwrap_or_default();
        let to = serde_json::to_value(&desired).unwrap_or_default();
        crate::merge::merge_diff(&from, &to).map(|patch| json!({ "status": patch }))
    }
}

impl TargetRecord {
    /// The term below which the target's agent starts nothing.
    pub(super) fn min_term(&self) -> i64 {
        self.inventory
            .get()
            .map_or(i64::MIN, |inventory| inventory.min_term)
    }

    /// Its state, as far as it can be told without counting, is what its status says already.
    fn only_numbers(&self) -> bool {
        let Some(object) = self.object.get() else {
            return true;
        };
        let said = object.status.state.as_str();
        let settled = match self.state {
            TargetState::Pending => said == "Pending",
            TargetState::Ready => said == "Ready",
            TargetState::Cordoned => said == "Cordoned",
            TargetState::Lost => said == "Lost",
            TargetState::Draining => false,
        };
        settled && object.status.observed_generation == object.metadata.generation
    }

    fn stands(&self, term: i64) -> TargetState {
        let Some(object) = self.object.get() else {
            return TargetState::Pending;
        };
        let reported = self
            .inventory
            .get()
            .and_then(|inventory| inventory.status.as_ref())
            .is_some_and(|status| !status.cluster_uid.is_empty());
        let was_there = reported || object.status.cluster_uid.is_some();
        // What it takes to be Ready for the first time: a report, a heartbeat, and the fence of this leadership.
        if !was_there || (self.renewed.is_none() && !self.lost) {
            return TargetState::Pending;
        }
        if self.lost || !reported {
            return TargetState::Lost;
        }
        if self.state == TargetState::Pending && self.min_term() < term {
            return TargetState::Pending;
        }
        match (object.spec.drain, object.spec.unschedulable) {
            (true, _) => TargetState::Draining,
            (false, true) => TargetState::Cordoned,
            (false, false) => TargetState::Ready,
        }
    }
}

/// What the platform owner says of a target, and what of it cannot be used.
fn rates(spec: &SyncTargetSpec) -> (Rates, Vec<(String, String)>) {
    let carbon = spec.carbon_intensity.map(i64::from);
    Rates::read(&spec.cost, carbon, &spec.data)
}

fn conditions(record: &TargetRecord, object: &LiveTarget) -> Vec<Condition> {
    let inventory = record
        .inventory
        .get()
        .and_then(|inventory| inventory.status.as_ref());
    let last = record
        .lease
        .as_ref()
        .and_then(|lease| lease.renew_time.clone())
        .unwrap_or_else(|| "never".to_owned());
    let (ready, ready_reason, ready_message) = match record.state {
        TargetState::Pending => (
            false,
            "NoAgent",
            "its agent has not reported yet".to_owned(),
        ),
        // The time would change with the heartbeat; it does not here, for a lost target has none.
        TargetState::Lost => (
            false,
            "AgentLost",
            format!("its agent last renewed its lease at {last}"),
        ),
        _ => (true, "AgentReports", "its agent reports".to_owned()),
    };
    let (schedulable, why) = match record.state {
        TargetState::Ready => (true, "Ready"),
        TargetState::Cordoned => (false, "Cordoned"),
        TargetState::Draining => (false, "Draining"),
        TargetState::Lost => (false, "Lost"),
        TargetState::Pending => (false, "NotReady"),
    };
    let missing: Vec<&str> = USUAL_KINDS
        .into_iter()
        .filter(|kind| {
            inventory.is_none_or(|status| !status.served.iter().any(|have| have == kind))
        })
        .collect();
    let (compatible, message) = if inventory.is_none() {
        (false, "nothing is known of it yet".to_owned())
    } else if missing.is_empty() {
        (true, "it serves the usual kinds".to_owned())
    } else {
        (
            false,
            format!(
                "it does not serve {}, or its agent may not write them",
                missing.join(", ")
            ),
        )
    };
    let registered = inventory.is_some() || object.status.cluster_uid.is_some();
    let list = [
        (
            "APIsCompatible",
            compatible,
            if compatible { "Served" } else { "NotServed" },
            message,
        ),
        ("Ready", ready, ready_reason, ready_message),
        (
            "Registered",
            registered,
            if registered { "Reported" } else { "Waiting" },
            if registered {
                "the agent has reported the cluster"
            } else {
                "no agent has reported yet"
            }
            .to_owned(),
        ),
        ("Schedulable", schedulable, why, String::new()),
    ];
    let (_, problems) = rates(&object.spec);
    let invalid = problems.first().map(|(field, problem)| {
        let message = format!("spec.{field}: {problem}; it counts as unset");
        ("Valid", false, "Invalid", message)
    });
    list.into_iter()
        .chain(invalid)
        .map(|(name, holds, reason, message)| {
            condition(
                &object.status.conditions,
                name,
                holds,
                reason,
                &message,
                object.metadata.generation,
            )
        })
        .collect()
}

/// A condition that keeps the time of its last transition.
pub(super) fn condition(
    before: &[Condition],
    name: &str,
    holds: bool,
    reason: &str,
    message: &str,
    generation: Option<i64>,
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let since = before
        .iter()
        .find(|have| have.type_ == name && have.status == status)
        .map(|have| have.last_transition_time.clone());
    Condition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: since.unwrap_or_else(now_in_seconds),
    }
}

/// Times of conditions have whole seconds; more would not come back from the server as it was sent.
fn now_in_seconds() -> Time {
    let now = jiff::Timestamp::now();
    Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Types of the writes of this file.
pub(super) fn status_key(
    name: &TargetName,
) -> (
    placement_api::api_type::ApiType,
    placement_api::api_type::ObjectKey,
) {
    (
        api::SYNC_TARGETS,
        placement_api::api_type::ObjectKey::cluster(name.as_str()),
    )
}
