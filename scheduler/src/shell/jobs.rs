//! What has to be written for one workload: the difference between what was decided and what the hub has. The Workload
//! comes first, for it is the record of the decision; a crash after it loses nothing.

use std::collections::BTreeMap;

use placement_api::api_type::{GroupKind, ObjectKey, known};
use placement_api::kinds::{
    AssignedPodSet, AssignmentSpec, FailoverMode, Interpretation, Refusal, SecretRef,
    WorkloadAssignment, WorkloadPhase, WorkloadSpec, WorkloadState, api,
};
use placement_api::names::{
    GROUP, VERSION, WORKLOAD_FINALIZER, secret_copy_name, target_namespace,
};
use placement_api::profile::Profile;
use serde_json::{Value, json};

use super::model::{Entry, Key, Model, Part, RootKey};
use super::past_runs::duration;
use super::writer::{Job, Verb, Write};
use crate::ask::level_word;
use crate::fleet::{TargetName, WorkloadId};
use crate::manifest::{self, Order, Source, Unfit, serves};
use crate::select::never_travels;

/// What a write was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// The Workload.
    Workload,
    /// The Assignment on a target.
    Assignment(TargetName),
    /// A user's object, its status, or the copy of a Secret.
    Object,
    /// Whether an object is really gone.
    Check(RootKey),
    /// The Inventory of a target.
    Term(TargetName),
    /// Status of one of our own kinds.
    Own,
    /// An Event.
    Other,
}

impl Model {
    /// The writes of a workload, if there are any.
    pub(super) fn workload_job(&mut self, id: &WorkloadId) -> Option<Job<Key, Tag>> {
        let entry = self.entries.get(id)?;
        if entry.spec.root.kind.is_empty() {
            return None;
        }
        let mut stages = Vec::new();
        if let Some(first) = self.workload_write(entry) {
            let ends = matches!(first.verb, Verb::Delete { .. });
            stages.push(vec![first]);
            if ends {
                return Some(Job {
                    key: Key::Workload(id.clone()),
                    stages,
                });
            }
        }
        if entry.live.get().is_none() && stages.is_empty() {
            return None;
        }
        let rest = self.assignment_writes(id);
        if self
            .entries
            .get(id)
            .is_some_and(|entry| entry.unfit.is_some() && entry.replan)
        {
            // What cannot be made is not recorded as decided either.
            if let Some(entry) = self.entries.get_mut(id) {
                entry.replan = false;
            }
            self.look.insert(id.clone());
            return None;
        }
        if !rest.is_empty() {
            stages.push(rest);
        }
        (!stages.is_empty()).then(|| Job {
            key: Key::Workload(id.clone()),
            stages,
        })
    }

    /// The write of the Workload itself.
    fn workload_write(&self, entry: &Entry) -> Option<Write<Tag>> {
        let key = entry.root.workload_key();
        let write = |verb| {
            Some(Write {
                tag: Tag::Workload,
                api: api::WORKLOADS,
                key: key.clone(),
                verb,
            })
        };
        let Some(live) = entry.live.get() else {
            if entry.gone || self.root(&entry.root).is_none() {
                return None;
            }
            return write(Verb::Create(self.new_workload(entry)));
        };
        let same_uid = || json!({"op": "test", "path": "/metadata/uid", "value": live.uid});
        if live.deleting && entry.parts.is_empty() {
            let others: Vec<&String> = live
                .finalizers
                .iter()
                .filter(|name| *name != WORKLOAD_FINALIZER)
                .collect();
            if others.len() == live.finalizers.len() {
                return None;
            }
            return write(Verb::Patch(json!([
                same_uid(),
                {"op": "add", "path": "/metadata/finalizers", "value": others},
            ])));
        }
        if entry.gone && !live.deleting {
            return write(Verb::Delete {
                uid: live.uid.clone(),
            });
        }
        if entry.is_finished() && live.status.state == WorkloadPhase::Finished && !live.deleting {
            return None;
        }
        let (spec, status) = self.written(entry);
        let mut was = live.spec.clone();
        was.term = spec.term;
        let changed = was != spec || decides_differently(&live.status, &status);
        if !changed {
            return None;
        }
        if live.spec.root != spec.root {
            // Another object of the same name; this Workload is not about it.
            return None;
        }
        write(Verb::Patch(json!([
            same_uid(),
            {"op": "add", "path": "/spec", "value": spec},
            {"op": "add", "path": "/status", "value": status},
        ])))
    }

    /// What the planner has promised to who waits.
    fn expected_start(&self, entry: &Entry) -> Option<String> {
        let waits = entry.phase == WorkloadPhase::Pending;
        let promised = self.promised.get(&entry.root.id()).filter(|_| waits);
        promised.map(|start_ms| timestamp(*start_ms))
    }

    fn new_workload(&self, entry: &Entry) -> Value {
        let (spec, status) = self.written(entry);
        let root = &spec.root;
        let key = entry.root.workload_key();
        let version = if root.group.is_empty() {
            root.version.clone()
        } else {
            format!("{}/{}", root.group, root.version)
        };
        json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Workload",
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "finalizers": [WORKLOAD_FINALIZER],
                "ownerReferences": [{
                    "apiVersion": version, "kind": root.kind, "name": root.name, "uid": root.uid,
                    "controller": false, "blockOwnerDeletion": false,
                }],
            },
            "spec": spec,
            "status": status,
        })
    }

    /// What the Workload should say.
    fn written(&self, entry: &Entry) -> (WorkloadSpec, WorkloadState) {
        let mut spec = entry.spec.clone();
        spec.term = self.term;
        let total: i64 = spec.pod_sets.iter().map(|set| set.count).sum();
        spec.assignments = entry
            .parts
            .iter()
            .map(|(target, part)| WorkloadAssignment {
                target: target.to_string(),
                epoch: part.epoch,
                replicas: replicas(entry, part, total),
                domain: part.domain.clone(),
                nodes: part.nodes.clone(),
                evicting: part.evicting,
                evicted_for: part.evicted_for,
            })
            .collect();
        let status = WorkloadState {
            state: entry.phase,
            place: place(entry, self.core.fleet().levels(), total),
            reason: entry.reason,
            message: entry.message.clone(),
            explanation: entry.verdicts.clone(),
            refusals: entry
                .refused
                .iter()
                .map(|(target, refused)| Refusal {
                    target: target.to_string(),
                    message: refused.message.clone(),
                    count: refused.count,
                    until: timestamp(refused.until_ms),
                })
                .collect(),
            since: timestamp(entry.since_ms),
            expected_start: self.expected_start(entry),
            moved_at: entry.moved_ms.map(timestamp),
            ran_for: entry.ran_ms.and_then(duration),
        };
        (spec, status)
    }

    fn assignment_writes(&mut self, id: &WorkloadId) -> Vec<Write<Tag>> {
        let Some(entry) = self.entries.get(id) else {
            return Vec::new();
        };
        let mut writes = Vec::new();
        let mut rendered: Vec<(TargetName, Result<AssignmentSpec, Unfit>)> = Vec::new();
        let mut copies: Vec<(TargetName, Vec<SecretRef>)> = Vec::new();
        let overlap = entry.spec.failover.mode == Some(FailoverMode::Overlap);
        let leaves = entry.parts.values().any(|part| part.evicting);
        for (target, part) in &entry.parts {
            let registered = self
                .targets
                .get(target)
                .is_some_and(|record| record.object.get().is_some());
            if !registered && part.live.get().is_none() {
                continue;
            }
            if part.evicting {
                writes.extend(self.farewell(id, entry, target, part));
                continue;
            }
            // Who may run once only waits until the member that it leaves has confirmed.
            let new = part.live.get().is_none_or(|live| !live.is_active());
            let awaits = |(other, target): &(WorkloadId, TargetName)| {
                self.entries
                    .get(other)
                    .is_some_and(|entry| entry.parts.get(target).is_some_and(|part| part.evicting))
            };
            if new && (leaves && !overlap || part.after.iter().any(awaits)) {
                continue;
            }
            let fenced = self
                .targets
                .get(target)
                .is_some_and(|record| record.min_term() >= self.term);
            let stale = part
                .live
                .get()
                .is_none_or(|live| live.spec.epoch != part.epoch || !live.is_active());
            if !fenced || !(part.render || stale) || entry.is_finished() {
                continue;
            }
            let Some((order_secrets, spec)) = self.render_part(entry, target, part) else {
                continue;
            };
            copies.push((target.clone(), order_secrets));
            rendered.push((target.clone(), spec));
        }
        for (target, secrets) in copies {
            self.use_copies(&target, &secrets);
        }
        for (target, spec) in rendered {
            match spec {
                Ok(spec) => writes.extend(self.order(id, &target, spec)),
                Err(unfit) => self.cannot_be_made(id, &target, &unfit),
            }
        }
        writes
    }

    /// The write of an Assignment that is to run.
    fn order(
        &mut self,
        id: &WorkloadId,
        target: &TargetName,
        spec: AssignmentSpec,
    ) -> Option<Write<Tag>> {
        let ready = spec
            .secret_refs
            .iter()
            .all(|secret| self.copy_is_there(target, &secret.copy));
        let part = self.entries.get_mut(id)?.parts.get_mut(target)?;
        let key = ObjectKey::new(target_namespace(target.as_str()), id.as_str());
        let verb = match part.live.get() {
            Some(live) if live.deleting => return None,
            Some(live) => {
                let same = live.spec.digest == spec.digest
                    && live.spec.epoch == spec.epoch
                    && live.is_active();
                if same {
                    part.render = false;
                    return None;
                }
                if !ready {
                    return None;
                }
                Verb::Patch(json!([
                    {"op": "test", "path": "/metadata/uid", "value": live.uid},
                    {"op": "add", "path": "/spec", "value": spec},
                ]))
            }
            None if !ready => return None,
            None => Verb::Create(assignment_object(&key, &spec)),
        };
        part.started = true;
        part.render = false;
        Some(Write {
            tag: Tag::Assignment(target.clone()),
            api: api::ASSIGNMENTS,
            key,
            verb,
        })
    }

    /// The write that takes a part away, or what is left of it.
    fn farewell(
        &self,
        id: &WorkloadId,
        entry: &Entry,
        target: &TargetName,
        part: &Part,
    ) -> Option<Write<Tag>> {
        let key = ObjectKey::new(target_namespace(target.as_str()), id.as_str());
        let epoch = part.epoch.max(1);
        let verb = match part.live.get() {
            None if part.removed || !part.started => return None,
            // The member may have it; only its agent can say that it is gone.
            None => {
                let live = AssignmentSpec {
                    workload: entry.spec.root.clone(),
                    epoch,
                    failover: entry.spec.failover.clone(),
                    ..AssignmentSpec::default()
                };
                Verb::Create(assignment_object(
                    &key,
                    &manifest::tombstone(&live, epoch, self.term),
                ))
            }
            Some(live) if live.deleting => return None,
            Some(live) if live.is_active() => {
                let spec = manifest::tombstone(&live.spec, epoch, self.term);
                Verb::Patch(json!([
                    {"op": "test", "path": "/metadata/uid", "value": live.uid},
                    {"op": "add", "path": "/spec", "value": spec},
                ]))
            }
            Some(live) if part.removed => Verb::Delete {
                uid: live.uid.clone(),
            },
            Some(_) => return None,
        };
        Some(Write {
            tag: Tag::Assignment(target.clone()),
            api: api::ASSIGNMENTS,
            key,
            verb,
        })
    }

    /// Makes the Assignment of a part.
    fn render_part(
        &self,
        entry: &Entry,
        target: &TargetName,
        part: &Part,
    ) -> Option<(Vec<SecretRef>, Result<AssignmentSpec, Unfit>)> {
        let root = self.root(&entry.root)?;
        let store = self.kinds.get(&entry.root.kind)?;
        let profile = self.config.profile(&entry.root.kind).unwrap_or_else(|| {
            Profile::generic(&entry.root.kind.group, &entry.root.kind.kind).into()
        });
        let secret_kind = known::SECRET.group_kind();
        let (mut dependencies, mut secrets) = (Vec::new(), Vec::new());
        for need in &entry.needs {
            let Some(store) = self.kinds.get(&need.kind) else {
                continue;
            };
            let Some(object) = store.objects.get(&need.key) else {
                continue;
            };
            if need.kind == secret_kind {
                secrets.extend(secret_ref(object));
            } else {
                dependencies.push(Source {
                    object,
                    api: &store.api,
                });
            }
        }
        if let Some(services) = self.kinds.get(&known::SERVICE.group_kind()) {
            let theirs = self.services_of(entry);
            dependencies.extend(theirs.map(|(_, object)| Source {
                object,
                api: &services.api,
            }));
        }
        let is_secret = entry.root.kind == secret_kind;
        if is_secret {
            secrets.extend(secret_ref(root));
        }
        secrets.sort();
        secrets.dedup();
        let total: i64 = entry.spec.pod_sets.iter().map(|set| set.count).sum();
        let labels = self
            .targets
            .get(target)?
            .object
            .get()
            .map(|object| object.metadata.labels.clone());
        let labels = labels.unwrap_or_default();
        let rule = self.config.rule(&entry.spec.placement);
        if rule.is_none() && part.live.get().is_some() {
            // Its Placement is gone, and with it the overrides: what runs stays as it is.
            return None;
        }
        let order = Order {
            root: (!is_secret).then_some(Source {
                object: root,
                api: &store.api,
            }),
            workload: entry.spec.root.clone(),
            dependencies,
            secrets: secrets.clone(),
            replicas: replicas(entry, part, total).filter(|_| entry.scalable),
            profile: &profile,
            pod_sets: pod_sets(entry, part),
            domain: part.domain.clone(),
            nodes: part.nodes.clone(),
            replaces: part.replaces.as_ref().map(ToString::to_string),
            failover: entry.spec.failover.clone(),
            interpretation: self.interpretation(&entry.root.kind),
            overrides: rule.map_or_else(Vec::new, |rule| rule.overrides_for(&labels)),
            epoch: part.epoch,
            term: self.term,
        };
        Some((secrets, manifest::assignment(&order)))
    }

    fn interpretation(&self, kind: &GroupKind) -> Option<Interpretation> {
        self.config
            .profiles
            .values()
            .find(|record| record.kind == *kind && record.profile.is_some())
            .map(|record| Interpretation::from(&record.fields))
    }

    /// Services that send traffic to the pods of a workload.
    fn services_of<'a>(
        &'a self,
        entry: &'a Entry,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a placement_api::raw::RawObject)> {
        let namespace = entry.root.key.namespace.as_str();
        let store = self.kinds.get(&known::SERVICE.group_kind());
        let first = ObjectKey::new(namespace, "");
        let root_is_service = entry.root.kind == known::SERVICE.group_kind();
        store
            .filter(|_| !entry.pod_labels.is_empty() && !root_is_service)
            .into_iter()
            .flat_map(move |store| store.objects.range(first.clone()..))
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(key, object)| (key, &**object))
            .filter(|(key, object)| {
                let named = RootKey {
                    kind: known::SERVICE.group_kind(),
                    key: (*key).clone(),
                };
                !entry.needs.contains(&named)
                    && entry.pod_labels.iter().any(|labels| serves(object, labels))
            })
    }

    /// The workload cannot be put into an Assignment: what runs stays, the rest waits and says why.
    fn cannot_be_made(&mut self, id: &WorkloadId, target: &TargetName, unfit: &Unfit) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let message = unfit.to_string();
        if entry.unfit.as_deref() == Some(message.as_str()) {
            return;
        }
        entry.unfit = Some(message);
        entry.replan = true;
        let started = entry.parts.get_mut(target).is_some_and(|part| {
            part.render = false;
            part.started
        });
        if !started {
            self.drop_part(id, target);
        }
    }
}

fn pod_sets(entry: &Entry, part: &Part) -> Vec<AssignedPodSet> {
    entry
        .spec
        .pod_sets
        .iter()
        .map(|set| AssignedPodSet {
            name: set.name.clone(),
            count: part.counts.get(&set.name).copied().unwrap_or(0),
            template: entry.templates.get(&set.name).cloned(),
            requests: set.requests.clone(),
        })
        .collect()
}

/// The reference that stands for a Secret in an Assignment.
fn secret_ref(secret: &placement_api::raw::RawObject) -> Option<SecretRef> {
    (!never_travels(secret)).then(|| SecretRef {
        copy: secret_copy_name(&secret.metadata.namespace, &secret.metadata.name),
        namespace: secret.metadata.namespace.clone(),
        name: secret.metadata.name.clone(),
    })
}

fn assignment_object(key: &ObjectKey, spec: &AssignmentSpec) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Assignment",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "spec": spec,
    })
}

/// Replicas of a part; `None` where it is the whole.
fn replicas(entry: &Entry, part: &Part, total: i64) -> Option<i64> {
    let here: i64 = part.counts.values().sum();
    let divided = entry.divided || here != total;
    (divided && !part.counts.is_empty()).then_some(here)
}

/// Whether the part of a status that is worth a write differs: not the wording, which follows the numbers of the fleet.
fn decides_differently(before: &WorkloadState, after: &WorkloadState) -> bool {
    before.state != after.state
        || before.place != after.place
        || before.reason != after.reason
        || before.refusals != after.refusals
        || before.expected_start != after.expected_start
        || (before.message.is_empty() != after.message.is_empty())
}

/// Where it runs, for tables: "eu-1 4 · us-1 2", "us-2 rack r2".
fn place(entry: &Entry, levels: &[String], total: i64) -> String {
    let mut words = Vec::new();
    for (target, part) in entry.parts.iter().filter(|(_, part)| !part.evicting) {
        let mut word = target.to_string();
        if let Some(count) = replicas(entry, part, total) {
            word = format!("{word} {count}");
        }
        let narrow = narrowest(&part.domain, levels).filter(|_| entry.close);
        if let Some((level, value)) = narrow {
            word = format!("{word} {} {value}", level_word(level));
        }
        words.push(word);
    }
    if entry.phase == WorkloadPhase::Finished && words.is_empty() {
        return String::new();
    }
    words.join(" · ")
}

fn narrowest<'a>(
    domain: &'a BTreeMap<String, String>,
    levels: &[String],
) -> Option<(&'a String, &'a String)> {
    levels
        .iter()
        .rev()
        .find_map(|level| domain.get_key_value(level))
        .or_else(|| domain.iter().next_back())
}

/// ms since 1970 to RFC 3339.
pub(super) fn timestamp(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| time.to_string())
        .unwrap_or_default()
}
