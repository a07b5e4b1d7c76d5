//! Takes over what an earlier leader has decided, from the Workload and from Assignments.

use std::collections::BTreeMap;

use super::intake::milliseconds;
use super::model::{Entry, Now, Part, Refused};
use crate::fleet::TargetName;

impl Entry {
    /// Takes over what an earlier leader has decided.
    pub(super) fn adopt(&mut self, now: Now) {
        let Some(live) = self.live.get() else { return };
        self.spec = live.spec.clone();
        self.spec.assignments = Vec::new();
        self.divided = live
            .spec
            .assignments
            .iter()
            .any(|part| part.replicas.is_some());
        self.close = self.spec.wants.contains(", one ");
        let status = &live.status;
        self.phase = status.state;
        self.reason = status.reason;
        self.message.clone_from(&status.message);
        self.verdicts.clone_from(&status.explanation);
        self.since_ms = milliseconds(&status.since).unwrap_or(now.ms);
        self.moved_ms = status.moved_at.as_deref().and_then(milliseconds);
        self.adopt_runs();
        let Some(live) = self.live.get() else { return };
        let status = &live.status;
        for refusal in &status.refusals {
            let refused = Refused {
                message: refusal.message.clone(),
                count: refusal.count,
                until_ms: milliseconds(&refusal.until).unwrap_or(0),
            };
            self.refused
                .insert(TargetName::from(&refusal.target), refused);
        }
        for written in &live.spec.assignments {
            let part = self
                .parts
                .entry(TargetName::from(&written.target))
                .or_default();
            part.epoch = part.epoch.max(written.epoch);
            part.domain.clone_from(&written.domain);
            part.nodes.clone_from(&written.nodes);
            part.evicting |= written.evicting;
            part.evicted_for = written.evicted_for;
            part.started = true;
            part.render = true;
            if part.counts.is_empty() {
                part.counts = counts_of(written, &self.spec);
            }
        }
    }
}

impl Part {
    /// Takes over an Assignment that no Workload has been seen for yet.
    pub(super) fn adopt(&mut self) {
        let Some(live) = self.live.get() else { return };
        self.epoch = live.spec.epoch;
        self.domain.clone_from(&live.spec.domain);
        self.nodes.clone_from(&live.spec.nodes);
        self.evicting = !live.is_active();
        self.render = true;
        self.counts = live
            .spec
            .pod_sets
            .iter()
            .map(|set| (set.name.clone(), set.count))
            .collect();
    }
}

/// Pods by role, as far as the Workload says.
fn counts_of(
    written: &placement_api::kinds::WorkloadAssignment,
    spec: &placement_api::kinds::WorkloadSpec,
) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    if !written.nodes.is_empty() {
        for node in &written.nodes {
            *counts.entry(node.pod_set.clone()).or_insert(0) += node.pods;
        }
        return counts;
    }
    match (written.replicas, spec.pod_sets.as_slice()) {
        (Some(replicas), [only]) => {
            counts.insert(only.name.clone(), replicas);
        }
        (_, sets) => counts.extend(sets.iter().map(|set| (set.name.clone(), set.count))),
    }
    counts
}
