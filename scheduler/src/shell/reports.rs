//! What the agents report of Assignments, as far as it changes what is decided: refusals, the end of the work, and that
//! everything is gone.

use std::collections::BTreeMap;

use placement_api::kinds::{AssignmentPhase, WorkloadPhase};
use placement_api::reason::Reason;

use super::events::Note;
use super::model::{Key, Model, Now, Refused};
use crate::fleet::{TargetName, WorkloadId};

/// First time for which a target that refused is avoided; doubles with every further refusal.
const AVOID_FIRST_MS: i64 = 30_000;
/// Longest such time.
pub(super) const AVOID_MOST_MS: i64 = 30 * 60_000;

impl Model {
    /// What the agents report of a workload's Assignments.
    pub(super) fn read_reports(&mut self, id: &WorkloadId, now: Now) {
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
                let full = is_unschedulable(&live.status);
                revoked.push((target.clone(), refusal(&live.status), full));
            }
        }
        for (target, message, full) in revoked {
            if full {
                self.core.refused(&target, now.ms);
                self.dirty.push(Key::Target(target.clone()));
            }
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
        entry.ran_ms = entry.ran(now).filter(|_| !failed);
        entry.phase = WorkloadPhase::Finished;
        entry.since_ms = now.ms;
        entry.reason = None;
        (if failed { "failed" } else { "succeeded" }).clone_into(&mut entry.message);
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
}

/// Whether the member found no node: that may happen to others too. What it does not let in is the workload's own affair.
fn is_unschedulable(status: &placement_api::kinds::AssignmentStatus) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|condition| condition.status == "False" && condition.reason == "Unschedulable")
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
