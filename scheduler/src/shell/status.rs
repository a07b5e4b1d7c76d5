//! What goes back to people: the status of their objects, made of what the members report, and how Locations, Placements
//! and KindProfiles stand. Written only where it differs.

use std::time::Duration;

use placement_api::api_type::ObjectKey;
use placement_api::kinds::{KindProfileStatus, LocationStatus, PlacementStatus, api};
use placement_api::profile::{Part as Copy, Profile};
use serde_json::{Value, json};

use super::jobs::Tag;
use super::model::{Alarm, Key, Model, Now, Timer};
use super::targets::{condition, status_key};
use super::writer::{Job, Verb, Write};
use crate::fleet::{TargetName, TargetState, WorkloadId};
use crate::merge::merge_diff;

/// The first status of an object waits so long for all its targets to report: one write instead of one for each.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Two writes of one object's status are at least so far apart.
const SPACING: Duration = Duration::from_millis(100);
/// The same for numbers that only people look at.
pub(super) const NUMBERS: Duration = Duration::from_secs(1);

impl Model {
    /// The write of an object's status, if there is one and it is due.
    pub(super) fn status_job(&mut self, id: &WorkloadId, now: Now) -> Option<Job<Key, Tag>> {
        let entry = self.entries.get(id)?;
        let store = self
            .kinds
            .get(&entry.root.kind)
            .filter(|store| store.has_status)?;
        let object = store.objects.get(&entry.root.key)?;
        if entry.is_deleting() || entry.gone || entry.spec.root.uid != object.metadata.uid {
            return None;
        }
        let nothing = Value::Null;
        let (mut silent, mut heard) = (false, false);
        let mut copies = Vec::new();
        for (target, part) in entry.parts.iter().filter(|(_, part)| !part.evicting) {
            let live = part
                .live
                .get()
                .filter(|live| live.status.epoch >= part.epoch && live.is_active());
            let lost = self
                .targets
                .get(target)
                .is_none_or(|record| record.state == TargetState::Lost);
            silent |= live.is_none() && !lost;
            heard |= live.is_some();
            copies.push(Copy {
                target: target.as_str(),
                generation: live.and_then(|live| live.status.root_generation),
                current: live.is_some_and(|live| {
                    !part.render && live.status.observed_generation >= live.generation
                }),
                status: live
                    .and_then(|live| live.status.root_status.as_ref())
                    .unwrap_or(&nothing),
            });
        }
        if !heard {
            return None;
        }
        let due = match (entry.status_at, entry.status_waits) {
            (Some(at), _) => Some(at + SPACING),
            (None, Some(until)) if silent => Some(until),
            (None, None) if silent => Some(now.instant + FIRST_WAIT),
            (None, _) => None,
        };
        if let Some(due) = due.filter(|due| *due > now.instant) {
            if let Some(entry) = self.entries.get_mut(id)
                && entry.status_at.is_none()
            {
                entry.status_waits = Some(due);
            }
            self.alarms
                .push((Timer::Write(Key::Status(id.clone())), Alarm::By(due)));
            return None;
        }
        let profile = self.config.profile(&entry.root.kind);
        let profile = profile.unwrap_or_else(|| {
            Profile::generic(&entry.root.kind.group, &entry.root.kind.kind).into()
        });
        let root = object.to_value();
        let desired = profile.aggregate(&root, &copies);
        if desired.is_null() {
            return None;
        }
        let current = root.get("status").cloned().unwrap_or_else(|| json!({}));
        let patch = merge_diff(&current, &desired)?;
        if entry.refused_status.as_ref() == Some(&desired) {
            return None;
        }
        let write = Write {
            tag: Tag::Object,
            api: store.api.clone(),
            key: entry.root.key.clone(),
            verb: Verb::MergeStatus(json!({ "status": patch })),
        };
        let entry = self.entries.get_mut(id)?;
        entry.status_at = Some(now.instant);
        entry.sent_status = Some(desired);
        Some(Job {
            key: Key::Status(id.clone()),
            stages: vec![vec![write]],
        })
    }

    pub(super) fn target_job(&mut self, name: &TargetName, now: Now) -> Option<Job<Key, Tag>> {
        let patch = self.target_patch(name, now)?;
        let (api, key) = status_key(name);
        Some(status_write(Key::Target(name.clone()), api, key, patch))
    }

    pub(super) fn location_job(&self, name: &str) -> Option<Job<Key, Tag>> {
        let record = self.config.locations.get(name)?;
        let members = || {
            self.core.fleet().targets().filter(|(_, target)| {
                record
                    .selector
                    .as_ref()
                    .is_some_and(|one| one.matches(&target.labels))
            })
        };
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let desired = LocationStatus {
            targets: count(members().count()),
            ready: count(
                members()
                    .filter(|(_, target)| target.state == TargetState::Ready)
                    .count(),
            ),
        };
        let patch = difference(&record.status, &desired)?;
        Some(status_write(
            Key::Location(name.to_owned()),
            api::LOCATIONS,
            ObjectKey::cluster(name),
            patch,
        ))
    }

    pub(super) fn placement_job(&mut self, name: &str, now: Now) -> Option<Job<Key, Tag>> {
        let selected = self
            .entries
            .values()
            .filter(|entry| entry.spec.placement == name)
            .count();
        let record = self.config.placements.get_mut(name)?;
        let (holds, reason, message) = match &record.problem {
            Some(problem) => (false, "Invalid", problem.as_str()),
            None => (true, "Valid", ""),
        };
        let generation = Some(record.generation);
        let desired = PlacementStatus {
            observed_generation: generation,
            conditions: vec![condition(
                &record.status.conditions,
                "Valid",
                holds,
                reason,
                message,
                generation,
            )],
            selected: i64::try_from(selected).unwrap_or(i64::MAX),
        };
        let patch = difference(&record.status, &desired)?;
        let urgent = record.status.conditions != desired.conditions;
        let due = record
            .status_at
            .map(|at| at + NUMBERS)
            .filter(|due| !urgent && *due > now.instant);
        if let Some(due) = due {
            self.alarms.push((
                Timer::Write(Key::Placement(name.to_owned())),
                Alarm::By(due),
            ));
            return None;
        }
        record.status_at = Some(now.instant);
        Some(status_write(
            Key::Placement(name.to_owned()),
            api::PLACEMENTS,
            ObjectKey::cluster(name),
            patch,
        ))
    }

    pub(super) fn profile_job(&self, name: &str) -> Option<Job<Key, Tag>> {
        let record = self.config.profiles.get(name)?;
        let (holds, reason, message) = match &record.problem {
            Some(problem) => (false, "Invalid", problem.as_str()),
            None => (true, "Valid", ""),
        };
        let generation = Some(record.generation);
        let desired = KindProfileStatus {
            observed_generation: generation,
            conditions: vec![condition(
                &record.status.conditions,
                "Valid",
                holds,
                reason,
                message,
                generation,
            )],
        };
        let patch = difference(&record.status, &desired)?;
        Some(status_write(
            Key::Profile(name.to_owned()),
            api::KIND_PROFILES,
            ObjectKey::cluster(name),
            patch,
        ))
    }

    /// The fence of this leadership: an agent starts nothing of an older one.
    pub(super) fn term_job(&self, name: &TargetName) -> Option<Job<Key, Tag>> {
        let record = self.targets.get(name)?;
        let inventory = record.inventory.get()?;
        if inventory.min_term >= self.term {
            return None;
        }
        let key = ObjectKey::new(
            placement_api::names::target_namespace(name.as_str()),
            placement_api::names::INVENTORY,
        );
        let patch = json!({"metadata": {"uid": inventory.uid}, "spec": {"minTerm": self.term}});
        let write = Write {
            tag: Tag::Term(name.clone()),
            api: api::INVENTORIES,
            key,
            verb: Verb::Merge(patch),
        };
        Some(Job {
            key: Key::Term(name.clone()),
            stages: vec![vec![write]],
        })
    }
}

pub(super) fn difference<T: serde::Serialize>(from: &T, to: &T) -> Option<Value> {
    let from = serde_json::to_value(from).unwrap_or_default();
    let to = serde_json::to_value(to).unwrap_or_default();
    merge_diff(&from, &to).map(|patch| json!({ "status": patch }))
}

pub(super) fn status_write(
    key: Key,
    api: placement_api::api_type::ApiType,
    object: ObjectKey,
    patch: Value,
) -> Job<Key, Tag> {
    let write = Write {
        tag: Tag::Own,
        api,
        key: object,
        verb: Verb::MergeStatus(patch),
    };
    Job {
        key,
        stages: vec![vec![write]],
    }
}
