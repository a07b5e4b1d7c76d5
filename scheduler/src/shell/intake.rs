//! Takes in what the watches and the answers to writes say, and notes what has to be looked at because of it.

use std::sync::Arc;

use placement_api::api_type::{GroupKind, ObjectKey, known};
use placement_api::kinds::{Assignment, AssignmentPhase, Workload};
use placement_api::names::target_of_namespace;
use placement_api::raw::RawObject;
use placement_api::selector::Labels;
use tracing::warn;

use super::lease::spec_of;
use super::model::{Alarm, Entry, Key, LiveAssignment, LiveWorkload, Model, Now, RootKey, Timer};
use super::watch::Source;
use crate::fleet::{TargetName, WorkloadId};
use crate::manifest::serves;
use crate::select::{self, Kind};

impl Model {
    /// An object is there, new or changed or as before.
    pub(crate) fn applied(&mut self, source: &Source, object: RawObject, now: Now) {
        match source {
            Source::Targets => self.target_applied(&object, now),
            Source::Inventories => self.inventory_applied(&object, now),
            Source::Leases => self.lease_applied(&object, now),
            Source::Locations => self.location_applied(&object),
            Source::Placements => self.placement_applied(&object),
            Source::Queues => self.queue_applied(&object),
            Source::Policies => self.policy_applied(&object),
            Source::Profiles => self.profile_applied(&object),
            Source::Workloads => self.workload_applied(&object, now),
            Source::Assignments => self.assignment_applied(&object, now),
            Source::Priorities => {
                let value: Option<i32> = object.section_as("value").ok().flatten();
                let name = object.metadata.name.clone();
                if self.config.priorities.insert(name, value.unwrap_or(0)) != value {
                    self.look_at_all();
                }
            }
            Source::Namespaces => {
                let name = object.metadata.name.clone();
                let labels = object.metadata.labels;
                if self.config.namespaces.get(&name) != Some(&labels) {
                    self.config.namespaces.insert(name.clone(), labels);
                    self.reselect(Some(&name), now);
                }
            }
            Source::Definitions => self.definition_applied(&object),
            Source::Objects(_) => self.object_applied(object, now),
        }
    }

    /// An object is gone, or was missing from a list (then there is no version).
    pub(crate) fn deleted(
        &mut self,
        source: &Source,
        key: &ObjectKey,
        version: Option<&str>,
        now: Now,
    ) {
        match source {
            Source::Targets => self.target_gone(&TargetName::from(&key.name), version, now),
            Source::Inventories => self.inventory_gone(&key.namespace, version, now),
            Source::Leases => {}
            Source::Locations => {
                self.config.locations.remove(&key.name);
                self.locations_changed();
            }
            Source::Placements => {
                self.config.placements.remove(&key.name);
                self.placements_changed(&key.name, now);
            }
            Source::Queues => {
                self.queue_gone(&key.name);
            }
            Source::Policies => {
                self.policy_gone();
            }
            Source::Profiles => {
                if let Some(record) = self.config.profiles.remove(&key.name) {
                    self.profile_changed(&record.kind, now);
                }
            }
            Source::Workloads => self.workload_gone(key, version),
            Source::Assignments => self.assignment_gone(key, version),
            Source::Priorities => {
                self.config.priorities.remove(&key.name);
                self.look_at_all();
            }
            Source::Namespaces => {
                self.config.namespaces.remove(&key.name);
            }
            Source::Definitions => self.alarms.push((Timer::Discover, Alarm::By(now.instant))),
            Source::Objects(api) => {
                if *api == known::SECRET && self.copy_gone(key, version) {
                    return;
                }
                let root = RootKey {
                    kind: api.group_kind(),
                    key: key.clone(),
                };
                self.object_missing(&root);
            }
        }
    }

    /// Looks at every workload in the next cycle.
    pub(crate) fn look_at_all(&mut self) {
        self.look.extend(self.entries.keys().cloned());
    }

    fn definition_applied(&mut self, object: &RawObject) {
        #[derive(Default, serde::Deserialize)]
        struct Spec {
            #[serde(default)]
            group: String,
            #[serde(default)]
            names: Names,
        }
        #[derive(Default, serde::Deserialize)]
        struct Names {
            #[serde(default)]
            kind: String,
        }
        let spec: Spec = object.section_as("spec").ok().flatten().unwrap_or_default();
        self.defined
            .insert(GroupKind::new(spec.group, spec.names.kind));
        self.alarms
            .push((Timer::Discover, Alarm::By(tokio::time::Instant::now())));
    }

    /// Finds the Placement of every object again, in one namespace or in all.
    pub(crate) fn reselect(&mut self, namespace: Option<&str>, now: Now) {
        let mut found = Vec::new();
        for (kind, store) in self.kinds.iter().filter(|(_, store)| store.is_root) {
            for (key, object) in &store.objects {
                if namespace.is_some_and(|namespace| namespace != key.namespace) {
                    continue;
                }
                let root = RootKey {
                    kind: kind.clone(),
                    key: key.clone(),
                };
                let id = root.id();
                if self.entries.contains_key(&id) || self.selection(kind, object).is_some() {
                    found.push((id, root));
                }
            }
        }
        for (id, root) in found {
            self.entries
                .entry(id.clone())
                .or_insert_with(|| Entry::new(root, now.ms));
            self.look.insert(id);
        }
        if namespace.is_none() {
            self.look_at_all();
        }
    }

    /// The Placement of an object.
    pub(crate) fn selection(
        &self,
        kind: &GroupKind,
        object: &RawObject,
    ) -> Option<select::Selection> {
        let none = Labels::new();
        let namespace = match object.metadata.namespace.as_str() {
            "" => None,
            name => Some(self.config.namespaces.get(name).unwrap_or(&none)),
        };
        let kind = Kind {
            has_pods: self
                .config
                .profile(kind)
                .is_some_and(|profile| profile.has_pods()),
            name: kind.clone(),
        };
        select::select(&self.config.rules, object, namespace, &kind)
    }

    /// An object that may be placed or that others depend on.
    pub(crate) fn object_applied(&mut self, object: RawObject, now: Now) {
        let root = RootKey {
            kind: object.group_kind(),
            key: object.key(),
        };
        if root.kind == known::SECRET.group_kind() && self.copy_applied(&object) {
            return;
        }
        let Some(store) = self.kinds.get_mut(&root.kind) else {
            return;
        };
        let is_root = store.is_root;
        let object = Arc::new(object);
        let before = store.objects.insert(root.key.clone(), Arc::clone(&object));
        if let Some(before) = &before
            && newer(before, &object)
        {
            store.objects.insert(root.key.clone(), Arc::clone(before));
            return;
        }
        let same = before
            .as_deref()
            .is_some_and(|before| same_order(before, &object));
        if !same {
            self.dependency_changed(&root, before.as_deref(), Some(&object));
        }
        if !is_root {
            return;
        }
        let id = root.id();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.gone = false;
            if !same {
                self.look.insert(id.clone());
                self.render(&id);
            }
        } else if self.selection(&root.kind, &object).is_some() {
            self.entries.insert(id.clone(), Entry::new(root, now.ms));
            self.look.insert(id);
        }
    }

    /// An object is not there any more, it seems. What nobody needs is forgotten; the rest is read first, for nothing is
    /// taken away because it is missing from a list.
    fn object_missing(&mut self, root: &RootKey) {
        let needed = self.dependents.contains_key(root) || self.entries.contains_key(&root.id());
        if needed || self.services_matter(root) {
            self.dirty.push(Key::Check(root.clone()));
        } else if let Some(store) = self.kinds.get_mut(&root.kind) {
            store.objects.remove(&root.key);
        }
    }

    /// A live read has shown that an object is gone.
    pub(crate) fn object_gone(&mut self, root: &RootKey) {
        let before = self
            .kinds
            .get_mut(&root.kind)
            .and_then(|store| store.objects.remove(&root.key));
        self.dependency_changed(root, before.as_deref(), None);
        let id = root.id();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.gone = true;
            self.look.insert(id.clone());
            self.write(&id);
        }
    }

    fn services_matter(&self, root: &RootKey) -> bool {
        root.kind == known::SERVICE.group_kind()
            && self
                .entries
                .values()
                .any(|entry| entry.root.key.namespace == root.key.namespace)
    }

    /// Who needs an object has to be rendered again.
    fn dependency_changed(
        &mut self,
        root: &RootKey,
        before: Option<&RawObject>,
        after: Option<&RawObject>,
    ) {
        let mut concerned: Vec<WorkloadId> = self
            .dependents
            .get(root)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        if root.kind == known::SERVICE.group_kind() {
            let versions: Vec<&RawObject> = before.into_iter().chain(after).collect();
            let touched = self.entries.iter().filter(|(_, entry)| {
                entry.root.key.namespace == root.key.namespace
                    && entry
                        .pod_labels
                        .iter()
                        .any(|labels| versions.iter().any(|service| serves(service, labels)))
            });
            concerned.extend(touched.map(|(id, _)| id.clone()));
        }
        for id in concerned {
            self.look.insert(id.clone());
            self.render(&id);
        }
        if root.kind == known::SECRET.group_kind() {
            let copies = self
                .copies
                .iter()
                .filter(|(_, copy)| copy.source == root.key);
            self.dirty
                .extend(copies.map(|((target, name), _)| Key::Copy(target.clone(), name.clone())));
        }
    }

    fn workload_applied(&mut self, object: &RawObject, now: Now) {
        let Some(workload) = parsed::<Workload>(object) else {
            return;
        };
        let reference = &workload.spec.root;
        let root = RootKey {
            kind: GroupKind::new(reference.group.clone(), reference.kind.clone()),
            key: ObjectKey::new(reference.namespace.clone(), reference.name.clone()),
        };
        let id = root.id();
        if root.workload_key() != object.key() {
            // Not one of ours: its name is not that of its root object.
            return;
        }
        let known_kind = self
            .kinds
            .get(&root.kind)
            .is_some_and(|store| store.is_root);
        self.kinds_changed |= !known_kind;
        let entry = self
            .entries
            .entry(id.clone())
            .or_insert_with(|| Entry::new(root, now.ms));
        let before = entry
            .live
            .get()
            .map(|live| (live.uid.clone(), live.deleting));
        let live = LiveWorkload {
            uid: object.metadata.uid.clone(),
            deleting: object.is_deleting(),
            finalizers: object.metadata.finalizers.clone(),
            spec: workload.spec,
            status: workload.status.unwrap_or_default(),
        };
        let after = Some((live.uid.clone(), live.deleting));
        if !entry
            .live
            .accept(&object.metadata.resource_version, || live)
        {
            return;
        }
        if before.is_none() && entry.spec.root.kind.is_empty() {
            entry.adopt(now);
            let targets: Vec<TargetName> = entry.parts.keys().cloned().collect();
            for target in targets {
                self.by_target.entry(target).or_default().insert(id.clone());
            }
        }
        if before != after {
            self.look.insert(id.clone());
        }
        self.write(&id);
    }

    fn workload_gone(&mut self, key: &ObjectKey, version: Option<&str>) {
        let id = WorkloadId::from(&key.name);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.root.workload_key() == *key && entry.live.gone(version) {
            self.look.insert(id.clone());
            self.write(&id);
        }
    }

    fn assignment_applied(&mut self, object: &RawObject, now: Now) {
        let Some(target) = target_of_namespace(&object.metadata.namespace).map(TargetName::from)
        else {
            return;
        };
        let Some(mut assignment) = parsed::<Assignment>(object) else {
            return;
        };
        assignment.spec.manifests = Vec::new();
        let reference = &assignment.spec.workload;
        let root = RootKey {
            kind: GroupKind::new(reference.group.clone(), reference.kind.clone()),
            key: ObjectKey::new(reference.namespace.clone(), reference.name.clone()),
        };
        let id = root.id();
        if id.as_str() != object.metadata.name {
            return;
        }
        let entry = self
            .entries
            .entry(id.clone())
            .or_insert_with(|| Entry::new(root, now.ms));
        let known = entry.parts.contains_key(&target);
        let part = entry.parts.entry(target.clone()).or_default();
        let status = assignment.status.unwrap_or_default();
        let live = LiveAssignment {
            uid: object.metadata.uid.clone(),
            generation: object.metadata.generation.unwrap_or(0),
            created_ms: crate::ask::created(object),
            deleting: object.is_deleting(),
            spec: assignment.spec,
            status,
        };
        let was = part.live.get().map(|live| {
            (
                live.status.phase,
                live.status.epoch,
                live.spec.state,
                live.uid.clone(),
            )
        });
        let said = part.live.get().map(|live| live.status.root_status.clone());
        let version = &object.metadata.resource_version;
        if !part.live.accept(version, || live) {
            return;
        }
        part.started = true;
        if !known {
            part.adopt();
            self.by_target.entry(target).or_default().insert(id.clone());
        }
        let Some(live) = part.live.get() else { return };
        let is = (
            live.status.phase,
            live.status.epoch,
            live.spec.state,
            live.uid.clone(),
        );
        let says = Some(live.status.root_status.clone());
        let changed = was.as_ref() != Some(&is);
        if changed {
            self.look.insert(id.clone());
        }
        if changed || said != says {
            self.dirty.push(Key::Status(id.clone()));
        }
        self.write(&id);
    }

    fn assignment_gone(&mut self, key: &ObjectKey, version: Option<&str>) {
        let Some(target) = target_of_namespace(&key.namespace).map(TargetName::from) else {
            return;
        };
        let id = WorkloadId::from(&key.name);
        let Some(part) = self
            .entries
            .get_mut(&id)
            .and_then(|entry| entry.parts.get_mut(&target))
        else {
            return;
        };
        let removed = part
            .live
            .get()
            .is_some_and(|live| !live.is_active() && live.status.phase == AssignmentPhase::Removed);
        if part.live.gone(version) {
            part.removed |= removed;
            part.render = true;
            self.look.insert(id.clone());
            self.write(&id);
        }
    }

    /// A heartbeat.
    fn lease_applied(&mut self, object: &RawObject, now: Now) {
        let Some(name) = target_of_namespace(&object.metadata.namespace).map(TargetName::from)
        else {
            return;
        };
        let spec = spec_of(object);
        let record = self.targets.entry(name.clone()).or_default();
        let first = record.lease.is_none();
        let renewed = record
            .lease
            .as_ref()
            .is_none_or(|lease| lease.renew_time != spec.renew_time);
        let written = spec.renew_time.as_deref().and_then(milliseconds);
        record.lease = Some(spec);
        let Some(written) = written.filter(|_| renewed) else {
            return;
        };
        record.renewed = Some(now.instant);
        // Before the first renewal that we see ourselves, only the agent's own clock tells.
        record.contact_ms = if first { written.min(now.ms) } else { now.ms };
        if !first {
            record.heard = true;
            record.lost = false;
        }
        let at = now.instant + self.lost_after;
        self.alarms.push((Timer::Lost(name.clone()), Alarm::At(at)));
        self.refresh_target(&name);
    }
}

/// Whether `after` is an older version than `before`.
fn newer(before: &RawObject, after: &RawObject) -> bool {
    let number = |object: &RawObject| object.metadata.resource_version.parse::<u64>().ok();
    matches!((number(before), number(after)), (Some(before), Some(after)) if before > after)
}

/// Whether two versions of an object ask for the same: all but status and bookkeeping is equal.
fn same_order(before: &RawObject, after: &RawObject) -> bool {
    let sections = |object: &RawObject| -> Vec<(String, String)> {
        object
            .section_names()
            .filter(|name| *name != "status")
            .map(|name| {
                (
                    name.to_owned(),
                    object
                        .section(name)
                        .map_or(String::new(), |text| text.get().to_owned()),
                )
            })
            .collect()
    };
    before.metadata.uid == after.metadata.uid
        && before.metadata.labels == after.metadata.labels
        && before.metadata.annotations == after.metadata.annotations
        && before.metadata.owner_references == after.metadata.owner_references
        && before.is_deleting() == after.is_deleting()
        && sections(before) == sections(after)
}

/// An object of one of our kinds. What cannot be read is left alone: the API server has checked it against the schema, so
/// it was written by a newer version of us.
pub(crate) fn parsed<T: serde::de::DeserializeOwned>(object: &RawObject) -> Option<T> {
    object
        .parse()
        .inspect_err(|error| warn!(%error, "an object cannot be read"))
        .ok()
}

/// RFC 3339 to ms since 1970.
pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
}
