//! One cycle: what happened becomes requests, the planner answers, and its decisions become what is to be written.
//!
//! ```text
//! look, fleet event -> consider() -> Request --plan()--> Decision -> take() -> parts, phase, reason -> Key::Workload
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::kinds::WorkloadPhase;
use placement_api::reason::Reason;

use super::events::Note;
use super::model::{Alarm, Entry, Key, Model, Now, Timer};
use crate::fleet::{TargetName, WorkloadId};
use crate::plan::{Change, Decision, Memory, Outcome, Request, Step};

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
                self.core.adopt(&request);
            }
        }
        let moved = self.entries.iter();
        let moved =
            moved.filter_map(|(id, entry)| Some(Memory::Moved(id.clone(), entry.moved_ms?)));
        for memory in moved.collect::<Vec<_>>() {
            self.core.remember(memory);
        }
        self.remember_trouble();
        self.remember_use(now);
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
                ids.extend(self.core.wake(&event));
                for target in &event.targets {
                    ids.extend(self.by_target.get(target).into_iter().flatten().cloned());
                }
            }
            // What has failed is taken in at once, also where it concerns nobody yet.
            let failed = self.core.fleet().has_failures();
            if ids.is_empty() && !failed {
                break;
            }
            let requests: Vec<Request> =
                ids.iter().filter_map(|id| self.consider(id, now)).collect();
            if requests.is_empty() && !failed {
                continue;
            }
            let (decisions, report) = self.core.plan(&requests, now.ms);
            self.event.merge(report.freed);
            self.dirty
                .extend(report.troubled.into_iter().map(Key::Target));
            for request in requests {
                if let Some(entry) = self.entries.get_mut(&request.id) {
                    entry.request = Some(Arc::new(request));
                }
            }
            for decision in decisions {
                reasons.push(decision.explanation.reason);
                self.take(decision, now);
            }
            for (id, wake_ms) in report.wake_ms {
                self.alarms
                    .push((Timer::Plan(id), Alarm::At(now.at(wake_ms))));
            }
            self.compare_promises();
        }
        reasons
    }

    /// Who is promised another start than before shows it. There is at most one of each queue.
    fn compare_promises(&mut self) {
        let promised = self.core.planner().promises();
        if promised == self.promised {
            return;
        }
        let before = std::mem::replace(&mut self.promised, promised);
        let ids = before.keys().chain(self.promised.keys());
        let moved = ids.filter(|id| before.get(*id) != self.promised.get(*id));
        let keys: Vec<Key> = moved.map(|id| Key::Workload(id.clone())).collect();
        self.dirty.extend(keys);
    }

    /// Looks at one workload: what its Assignments report, whether its object is there, and what it asks now. `None`: there
    /// is nothing to plan.
    pub(super) fn consider(&mut self, id: &WorkloadId, now: Now) -> Option<Request> {
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
            self.remember_run(id, &object);
            let mut event = self.core.release_all(id);
            event.merge(self.core.forget(id));
            self.event.merge(event);
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

    /// Takes over a decision.
    fn take(&mut self, decision: Decision, now: Now) {
        let id = decision.id.clone();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
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
            let verdicts = &decision.explanation.verdicts;
            if let (Change::Swapped, Some(verdict)) = (
                planned.change,
                verdicts
                    .iter()
                    .find(|verdict| planned.target.as_str() == verdict.target),
            ) {
                let text = format!("on {}: {}", planned.target, verdict.message);
                self.notes
                    .push(Note::normal(&entry.spec.root, "NodesReplaced", text));
            }
            if planned.change == Change::New {
                part.replaces.clone_from(&planned.replaces);
                part.removed = false;
                part.after = planned.after;
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
                if leaving.reason == Reason::Defragmented {
                    entry.moved_ms = Some(now.ms);
                }
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
        // What spoke for a decision is kept for as long as that stands.
        let stands = decision.outcome == Outcome::Keep
            && explanation.reason.is_none()
            && entry.reason.is_none();
        if !stands {
            entry.reason = explanation.reason;
            entry.message = explanation.message;
            entry.verdicts = explanation.verdicts;
            entry.verdicts.truncate(VERDICTS);
        }
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
        let event = self.core.forget(id);
        self.event.merge(event);
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
        let event = self.core.release(id, target);
        self.event.merge(event);
        self.dirty.push(Key::Target(target.clone()));
        self.dirty.push(Key::Status(id.clone()));
        // Who waits for its place starts when its last part there is gone.
        let gone = (id.clone(), target.clone());
        let next: Vec<WorkloadId> = self
            .by_target
            .get(target)
            .into_iter()
            .flatten()
            .filter(|other| {
                self.entries
                    .get(*other)
                    .and_then(|entry| entry.parts.get(target))
                    .is_some_and(|part| part.after.contains(&gone))
            })
            .cloned()
            .collect();
        self.dirty.extend(next.into_iter().map(Key::Workload));
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
    pub(super) fn forget(&mut self, id: &WorkloadId) {
        let mut event = self.core.forget(id);
        event.merge(self.core.release_all(id));
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
