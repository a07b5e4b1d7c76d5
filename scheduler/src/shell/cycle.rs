//! One cycle: what happened becomes requests, the planner answers, and its decisions become what is to be written.
//!
//! ```text
//! look, fleet event -> consider() -> Request --plan()--> Decision -> take() -> parts, phase, reason -> Key::Workload
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::api_type::{GroupKind, ObjectKey, known};
use placement_api::kinds::{AssignmentPhase, WorkloadPhase};
use placement_api::profile::{Dependency, Profile};
use placement_api::reason::Reason;
use placement_api::selector::Labels;

use super::events::Note;
use super::model::{Alarm, Entry, Key, Model, Now, Part, Refused, RootKey, Timer};
use crate::ask::{Ask, Surroundings, ask};
use crate::fleet::{TargetName, WorkloadId};
use crate::plan::{Avoid, Change, Current, Decision, Request, Step, adopt, plan};

/// First time for which a target that refused is avoided; doubles with every further refusal.
const AVOID_FIRST_MS: i64 = 30_000;
/// Longest such time.
const AVOID_MOST_MS: i64 = 30 * 60_000;
/// Verdicts that a Workload keeps.
const VERDICTS: usize = 50;

impl Model {
    /// Reserves what is already assigned, before anything is planned.
    pub(super) fn adopt_all(&mut self, now: Now) {
        let ids: Vec<WorkloadId> = self.entries.keys().cloned().collect();
        for id in &ids {
            if self
                .entries
                .get(id)
                .is_none_or(|entry| entry.parts.is_empty() || entry.is_finished())
            {
                continue;
            }
            if let Some(request) = self.consider(id, now) {
                adopt(&mut self.fleet, &request);
            }
        }
        self.look.extend(ids);
    }

    /// Plans everything that has to be looked at. Returns the reasons of the decisions, for the metrics.
    pub(super) fn cycle(&mut self, now: Now) -> Vec<Option<Reason>> {
        let mut reasons = Vec::new();
        // What one round frees may help somebody in the next.
        for _ in 0..8 {
            let event = std::mem::take(&mut self.event);
            let mut ids = std::mem::take(&mut self.look);
            if !event.is_nothing() {
                ids.extend(self.waiting.wake(&event));
                for target in &event.targets {
                    ids.extend(self.by_target.get(target).into_iter().flatten().cloned());
                }
            }
            if ids.is_empty() {
                break;
            }
            let requests: Vec<Request> =
                ids.iter().filter_map(|id| self.consider(id, now)).collect();
            if requests.is_empty() {
                continue;
            }
            let (decisions, report) = plan(&mut self.fleet, &requests, now.ms);
            for (request, decision) in requests.into_iter().zip(decisions) {
                self.waiting.note(&request, &decision);
                reasons.push(decision.explanation.reason);
                self.take(request, decision, now);
            }
            for (id, wake_ms) in report.wake_ms {
                self.alarms
                    .push((Timer::Plan(id), Alarm::At(now.at(wake_ms))));
            }
        }
        reasons
    }

    /// Looks at one workload: what its Assignments report, whether its object is there, and what it asks now. `None`: there
    /// is nothing to plan.
    fn consider(&mut self, id: &WorkloadId, now: Now) -> Option<Request> {
        self.write_later(id);
        self.start_over(id, now);
        self.read_reports(id, now);
        let entry = self.entries.get(id)?;
        if entry.is_deleting() {
            self.evict_all(id, None);
            self.settle_phase(id, now);
            return None;
        }
        let Some(object) = self.root(&entry.root).cloned() else {
            let watched = self
                .kinds
                .get(&entry.root.kind)
                .is_some_and(|store| store.is_root);
            if !entry.gone && watched {
                self.dirty.push(Key::Check(entry.root.clone()));
            }
            self.settle_phase(id, now);
            return None;
        };
        if object.is_deleting()
            || (!entry.spec.root.uid.is_empty() && entry.spec.root.uid != object.metadata.uid)
        {
            // Deleted, or another object of the same name: the old Workload goes first.
            if let Some(entry) = self.entries.get_mut(id) {
                entry.gone = true;
            }
            return None;
        }
        if entry.is_finished() {
            let event = self.fleet.release_all(id);
            self.event.merge(event);
            self.waiting.forget(id);
            return None;
        }
        let request = self.request(id, &object, now)?;
        self.settle_phase(id, now);
        Some(request)
    }

    /// Forgets a workload of which nothing is left. Another object of the same name may be there already.
    fn start_over(&mut self, id: &WorkloadId, now: Now) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let bare = entry.live.get().is_none()
            && entry.parts.values().all(|part| part.live.get().is_none());
        let object = self.root(&entry.root).cloned();
        let mine = |object: &placement_api::raw::RawObject| {
            !object.is_deleting()
                && (entry.spec.root.uid.is_empty() || entry.spec.root.uid == object.metadata.uid)
        };
        if !bare || object.as_deref().is_some_and(mine) && !entry.gone {
            return;
        }
        let root = entry.root.clone();
        self.forget(id);
        let next = object
            .filter(|object| !object.is_deleting() && self.selection(&root.kind, object).is_some());
        if next.is_some() {
            self.entries.insert(id.clone(), Entry::new(root, now.ms));
        }
    }

    /// What a workload asks now. Also takes over into the entry what the Workload says of it.
    fn request(
        &mut self,
        id: &WorkloadId,
        object: &placement_api::raw::RawObject,
        now: Now,
    ) -> Option<Request> {
        let entry = self.entries.get(id)?;
        let store = self.kinds.get(&entry.root.kind)?;
        let kind = entry.root.kind.clone();
        let selection = self.selection(&kind, object);
        let placement = selection
            .as_ref()
            .and_then(|selection| Some((self.config.rule(&selection.placement)?, selection)));
        let known = entry.live.get().is_some() || !entry.parts.is_empty();
        if placement.is_none() && !known {
            self.forget(id);
            return None;
        }
        // A Placement that does not select it any more still says how it is to be treated where it runs.
        let last = crate::select::Selection {
            placement: entry.spec.placement.clone(),
            also: Vec::new(),
        };
        let placement = placement.or_else(|| Some((self.config.rule(&last.placement)?, &last)));
        let profile = self
            .config
            .profile(&kind)
            .unwrap_or_else(|| Arc::new(Profile::generic(&kind.group, &kind.kind)));
        let none = Labels::new();
        let queues = self
            .config
            .queues
            .iter()
            .map(|(name, queue)| (name.clone(), queue.namespaces.clone()))
            .collect();
        let around = Surroundings {
            profile: &profile,
            placement,
            queues: &queues,
            priorities: &self.config.priorities,
            namespace: self
                .config
                .namespaces
                .get(&entry.root.key.namespace)
                .unwrap_or(&none),
        };
        let asked = ask(object, &store.api, &around);
        let unreadable = asked
            .as_ref()
            .err()
            .map(|error| format!("its object cannot be read: {error}"));
        let mut asked = match asked {
            Ok(asked) => asked,
            Err(_) => self.unreadable(id)?,
        };
        if asked.finished && !known {
            // It has ended before anybody placed it, or its Workload was lost: finished work is never started again.
            self.forget(id);
            return None;
        }
        if selection.is_none() {
            let message =
                "no Placement selects it any more; what runs stays, nothing new starts".to_owned();
            asked.request.blocked = Some((Reason::NoPlacement, message));
        }
        if let Some(message) = unreadable {
            asked.request.blocked = Some((Reason::Impossible, message));
        }
        self.take_ask(id, asked, object, now)
    }

    /// What was asked before, for an object that cannot be read now.
    fn unreadable(&self, id: &WorkloadId) -> Option<Ask> {
        let entry = self.entries.get(id)?;
        let mut request = entry.request.as_deref().cloned().unwrap_or_default();
        request.id = id.clone();
        request.kind.clone_from(&entry.root.kind.kind);
        request.namespace.clone_from(&entry.root.key.namespace);
        request.name.clone_from(&entry.root.key.name);
        let mut spec = entry.spec.clone();
        if spec.root.kind.is_empty() {
            let object = self.root(&entry.root)?;
            let api = &self.kinds.get(&entry.root.kind)?.api;
            spec.root = placement_api::kinds::ObjectRef {
                group: api.group.to_string(),
                version: api.version.to_string(),
                kind: api.kind.to_string(),
                namespace: entry.root.key.namespace.clone(),
                name: entry.root.key.name.clone(),
                uid: object.metadata.uid.clone(),
            };
            spec.queue = placement_api::names::DEFAULT_QUEUE.to_owned();
            let selection = self.selection(&entry.root.kind, object);
            spec.placement = selection
                .map(|selection| selection.placement)
                .unwrap_or_default();
        }
        Some(Ask {
            request,
            spec,
            dependencies: Vec::new(),
            pod_labels: entry.pod_labels.clone(),
            templates: entry.templates.clone(),
            scalable: entry.scalable,
            finished: false,
        })
    }

    fn take_ask(
        &mut self,
        id: &WorkloadId,
        asked: Ask,
        object: &placement_api::raw::RawObject,
        now: Now,
    ) -> Option<Request> {
        let mut request = asked.request;
        let needs = self.needs(&asked.dependencies, &object.metadata.namespace);
        let entry = self.entries.get_mut(id)?;
        if entry.spec.placement != asked.spec.placement {
            for name in [&entry.spec.placement, &asked.spec.placement] {
                self.dirty.push(Key::Placement(name.clone()));
            }
            for part in entry.parts.values_mut() {
                part.render = true;
            }
        }
        let (epoch, root) = (entry.spec.epoch, entry.spec.root.clone());
        entry.spec = asked.spec;
        entry.spec.epoch = epoch;
        if entry.live.get().is_some() {
            // What a Workload is about never changes, though the hub may serve it in another version by now.
            entry.spec.root = root;
        }
        entry.templates = asked.templates;
        entry.pod_labels = asked.pod_labels;
        entry.scalable = asked.scalable;
        let gone: Vec<RootKey> = entry.needs.difference(&needs).cloned().collect();
        let new: Vec<RootKey> = needs.difference(&entry.needs).cloned().collect();
        entry.needs = needs;
        if let Some(message) = &entry.unfit {
            request.blocked = Some((Reason::Impossible, message.clone()));
        }
        request.epoch = epoch;
        request.current = entry
            .parts
            .iter()
            .map(|(target, part)| current(target, part))
            .collect();
        entry
            .refused
            .retain(|_, refused| refused.until_ms + AVOID_MOST_MS > now.ms);
        request.avoid = entry
            .refused
            .iter()
            .map(|(target, refused)| {
                let avoid = Avoid {
                    until_ms: refused.until_ms,
                    message: refused.message.clone(),
                };
                (target.clone(), avoid)
            })
            .collect();
        if entry.phase == WorkloadPhase::Pending {
            request.waits_since_ms = entry.since_ms;
        }
        let targets: Vec<TargetName> = entry.parts.keys().cloned().collect();
        for need in gone {
            self.copies_of(&need, &targets);
            if let Some(ids) = self.dependents.get_mut(&need) {
                ids.remove(id);
                if ids.is_empty() {
                    self.dependents.remove(&need);
                }
            }
        }
        for need in new {
            self.dependents.entry(need).or_default().insert(id.clone());
        }
        Some(request)
    }

    /// Objects that a workload names, and those that its ServiceAccount names for it.
    fn needs(&self, dependencies: &[Dependency], namespace: &str) -> BTreeSet<RootKey> {
        #[derive(serde::Deserialize)]
        struct Named {
            #[serde(default)]
            name: String,
        }
        let mut needs = BTreeSet::new();
        for one in dependencies {
            let need = RootKey {
                kind: GroupKind::new(one.group.clone(), one.kind.clone()),
                key: ObjectKey::new(namespace, one.name.clone()),
            };
            if need.kind == known::SERVICE_ACCOUNT.group_kind()
                && let Some(account) = self.root(&need)
            {
                let named: Vec<Named> = account
                    .section_as("imagePullSecrets")
                    .ok()
                    .flatten()
                    .unwrap_or_default();
                needs.extend(
                    named
                        .into_iter()
                        .filter(|named| !named.name.is_empty())
                        .map(|named| RootKey {
                            kind: known::SECRET.group_kind(),
                            key: ObjectKey::new(namespace, named.name),
                        }),
                );
            }
            needs.insert(need);
        }
        needs
    }

    /// What the agents report of a workload's Assignments.
    fn read_reports(&mut self, id: &WorkloadId, now: Now) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let root = entry.spec.root.clone();
        let mut dropped = Vec::new();
        let mut revoked = Vec::new();
        for (target, part) in &mut entry.parts {
            let there = self
                .targets
                .get(target)
                .is_some_and(|record| record.object.get().is_some());
            let Some(live) = part.live.get() else {
                // Gone and confirmed; or never written; or its target is no more, and nobody can act on it.
                if part.evicting && (part.removed || !part.started) || !there {
                    dropped.push(target.clone());
                }
                continue;
            };
            if !root.uid.is_empty() && live.spec.workload.uid != root.uid {
                // About another object of the same name.
                part.evicting = true;
            }
            let current = live.status.epoch >= part.epoch && live.status.epoch >= live.spec.epoch;
            if !live.is_active()
                && live.status.phase == AssignmentPhase::Removed
                && live.status.epoch >= live.spec.epoch
            {
                part.removed = true;
            }
            if !part.evicting
                && live.is_active()
                && current
                && live.status.phase == AssignmentPhase::Refused
            {
                revoked.push((target.clone(), refusal(&live.status)));
            }
        }
        for (target, message) in revoked {
            entry.spec.epoch += 1;
            let count = entry
                .refused
                .get(&target)
                .map_or(0, |refused| refused.count)
                + 1;
            let wait = AVOID_FIRST_MS
                .saturating_mul(1 << (count - 1).clamp(0, 16))
                .min(AVOID_MOST_MS);
            if let Some(part) = entry.parts.get_mut(&target) {
                part.evicting = true;
                part.evicted_for = Some(Reason::RefusedByTarget);
            }
            self.notes.push(Note::warning(
                &root,
                "Refused",
                format!("{target} refused it: {message}"),
            ));
            let refused = Refused {
                message,
                count,
                until_ms: now.ms + wait,
            };
            entry.refused.insert(target, refused);
        }
        for target in dropped {
            self.drop_part(id, &target);
        }
        self.read_end(id, now);
    }

    /// Work that has ended stays so.
    fn read_end(&mut self, id: &WorkloadId, now: Now) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if entry.is_finished() || entry.is_deleting() {
            return;
        }
        let phases: Vec<AssignmentPhase> = entry
            .parts
            .values()
            .filter(|part| !part.evicting)
            .map(|part| match part.live.get() {
                Some(live) if live.status.epoch >= part.epoch => live.status.phase,
                _ => AssignmentPhase::Pending,
            })
            .collect();
        let ended = |phase: &AssignmentPhase| {
            matches!(phase, AssignmentPhase::Succeeded | AssignmentPhase::Failed)
        };
        if phases.is_empty() || !phases.iter().all(ended) {
            return;
        }
        let failed = phases.contains(&AssignmentPhase::Failed);
        entry.phase = WorkloadPhase::Finished;
        entry.since_ms = now.ms;
        entry.reason = None;
        entry.message = if failed { "failed" } else { "succeeded" }.to_owned();
        entry.verdicts = Vec::new();
        entry.leaving = BTreeMap::new();
        if failed {
            let root = entry.spec.root.clone();
            self.notes.push(Note::warning(
                &root,
                "Failed",
                "its work ended without success".to_owned(),
            ));
        }
        let targets: Vec<TargetName> = entry.parts.keys().cloned().collect();
        self.dirty.extend(targets.into_iter().map(Key::Target));
    }

    /// Takes over a decision.
    fn take(&mut self, request: Request, decision: Decision, now: Now) {
        let id = decision.id.clone();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.request = Some(Arc::new(request));
        entry.spec.epoch = entry.spec.epoch.max(decision.epoch);
        let mut touched = BTreeSet::new();
        for planned in decision.parts {
            let part = entry.parts.entry(planned.target.clone()).or_default();
            if part.evicting {
                // Its tombstone is on its way; whatever comes there next comes after that.
                continue;
            }
            let moved = part.epoch != planned.epoch || part.counts != planned.counts;
            if moved || part.nodes != planned.nodes || part.domain != planned.domain {
                part.render = true;
                touched.insert(planned.target.clone());
            }
            if planned.change == Change::New {
                part.replaces.clone_from(&planned.replaces);
                part.removed = false;
            }
            part.epoch = planned.epoch;
            part.counts = planned.counts;
            part.nodes = planned.nodes;
            part.domain = planned.domain;
            self.by_target
                .entry(planned.target)
                .or_default()
                .insert(id.clone());
        }
        let mut never_started = Vec::new();
        let root = entry.spec.root.clone();
        entry.leaving = BTreeMap::new();
        for leaving in decision.leaving {
            if leaving.step != Step::Now {
                entry
                    .leaving
                    .insert(leaving.target, (leaving.step, leaving.message));
                continue;
            }
            let Some(part) = entry.parts.get_mut(&leaving.target) else {
                continue;
            };
            touched.insert(leaving.target.clone());
            if part.started {
                part.evicting = true;
                part.evicted_for = Some(leaving.reason);
                let text = format!("leaves {}: {}", leaving.target, leaving.message);
                self.notes
                    .push(Note::normal(&root, leaving.reason.as_str(), text));
            } else {
                never_started.push(leaving.target);
            }
        }
        let explanation = decision.explanation;
        if explanation.reason != entry.reason
            && let Some(reason) = explanation.reason
        {
            self.notes.push(Note::warning(
                &root,
                reason.as_str(),
                explanation.message.clone(),
            ));
        }
        entry.reason = explanation.reason;
        entry.message = explanation.message;
        entry.verdicts = explanation.verdicts;
        entry.verdicts.truncate(VERDICTS);
        for target in never_started {
            self.drop_part(&id, &target);
        }
        self.dirty.extend(touched.into_iter().map(Key::Target));
        let draining: Vec<TargetName> = self
            .entries
            .get(&id)
            .into_iter()
            .flat_map(|entry| entry.leaving.keys().cloned())
            .collect();
        self.dirty.extend(draining.into_iter().map(Key::Target));
        self.settle_phase(&id, now);
        self.write_later(&id);
    }

    /// Everything of a workload is to go.
    fn evict_all(&mut self, id: &WorkloadId, reason: Option<Reason>) {
        self.waiting.forget(id);
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let mut unstarted = Vec::new();
        for (target, part) in &mut entry.parts {
            if !part.started {
                unstarted.push(target.clone());
            } else if !part.evicting {
                part.evicting = true;
                part.evicted_for = reason;
            }
        }
        for target in unstarted {
            self.drop_part(id, &target);
        }
    }

    /// A part is no more.
    pub(super) fn drop_part(&mut self, id: &WorkloadId, target: &TargetName) {
        let mut needs = Vec::new();
        if let Some(entry) = self.entries.get_mut(id) {
            entry.parts.remove(target);
            needs.extend(entry.needs.iter().cloned());
            needs.push(entry.root.clone());
        }
        for need in needs {
            self.copies_of(&need, std::slice::from_ref(target));
        }
        if let Some(ids) = self.by_target.get_mut(target) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_target.remove(target);
            }
        }
        let event = self.fleet.release(id, target);
        self.event.merge(event);
        self.dirty.push(Key::Target(target.clone()));
        self.dirty.push(Key::Status(id.clone()));
    }

    /// How scheduling stands.
    fn settle_phase(&mut self, id: &WorkloadId, now: Now) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let runs = entry.parts.values().any(|part| !part.evicting);
        let phase = match entry.phase {
            WorkloadPhase::Finished => WorkloadPhase::Finished,
            _ if runs => WorkloadPhase::Assigned,
            _ if entry.parts.is_empty() => WorkloadPhase::Pending,
            _ => WorkloadPhase::Evicting,
        };
        if phase != entry.phase {
            entry.phase = phase;
            entry.since_ms = now.ms;
        }
        let waits = matches!(phase, WorkloadPhase::Pending | WorkloadPhase::Evicting);
        let reason = entry.reason.filter(|_| waits);
        if reason != entry.counted_reason {
            self.recounted.push((entry.counted_reason, reason));
            entry.counted_reason = reason;
        }
    }

    /// Forgets a workload that is gone.
    fn forget(&mut self, id: &WorkloadId) {
        self.waiting.forget(id);
        let event = self.fleet.release_all(id);
        self.event.merge(event);
        let Some(entry) = self.entries.remove(id) else {
            return;
        };
        for need in &entry.needs {
            if let Some(ids) = self.dependents.get_mut(need) {
                ids.remove(id);
                if ids.is_empty() {
                    self.dependents.remove(need);
                }
            }
        }
        let targets: Vec<TargetName> = entry.parts.keys().cloned().collect();
        for target in &targets {
            if let Some(ids) = self.by_target.get_mut(target) {
                ids.remove(id);
            }
        }
        for need in entry.needs.iter().chain([&entry.root]) {
            self.copies_of(need, &targets);
        }
        self.recounted.push((entry.counted_reason, None));
        if !entry.spec.placement.is_empty() {
            self.dirty.push(Key::Placement(entry.spec.placement));
        }
    }

    fn write_later(&mut self, id: &WorkloadId) {
        self.dirty.push(Key::Workload(id.clone()));
    }
}

fn current(target: &TargetName, part: &Part) -> Current {
    let report = part
        .live
        .get()
        .filter(|live| live.status.epoch >= part.epoch && live.is_active());
    Current {
        target: target.clone(),
        epoch: part.epoch,
        counts: part.counts.clone(),
        nodes: part.nodes.clone(),
        domain: part.domain.clone(),
        evicting: part.evicting,
        started: part.started,
        healthy: report.is_some_and(|live| {
            matches!(
                live.status.phase,
                AssignmentPhase::Healthy | AssignmentPhase::Succeeded
            )
        }),
    }
}

/// The member's own words.
fn refusal(status: &placement_api::kinds::AssignmentStatus) -> String {
    let said = status
        .conditions
        .iter()
        .find(|condition| condition.status == "False" && !condition.message.is_empty())
        .map(|condition| condition.message.clone());
    let object = || {
        let bad = status
            .manifests
            .iter()
            .find(|one| !one.message.is_empty())?;
        Some(bad.message.clone())
    };
    said.or_else(object)
        .unwrap_or_else(|| "without a message".to_owned())
}
