//! When an assignment does not get going: pods without a node, or no pods at all.

use placement_api::kinds::{AssignmentPhase, AssignmentState};

use super::engine::Engine;
use super::event::Event;
use super::order::Order;
use super::probe::probe;
use crate::decide::diff::Decision;
use crate::decide::pod::{Pod, cut};
use crate::decide::status::{Reading, UNSCHEDULABLE};

impl Engine {
    /// The member's message, when pods have been missing or without a node for too long and the work never ran here.
    #[expect(
        clippy::too_many_arguments,
        reason = "what one look has found, used once"
    )]
    pub(super) fn stuck(
        &mut self,
        name: &str,
        order: &Order,
        decision: &Decision,
        reading: Option<&Reading>,
        replica_failure: Option<String>,
        root_uid: Option<String>,
        now: u64,
    ) -> Option<String> {
        let epoch = order.spec.epoch;
        let expected: i64 = order
            .spec
            .pod_sets
            .iter()
            .filter(|set| set.template.is_some())
            .map(|set| set.count)
            .sum();
        let pods = self.state.pods(name);
        let waiting = |pod: &&&Pod| pod.is_live() && !pod.gated && pod.node.is_empty();
        let no_node = pods
            .iter()
            .filter(waiting)
            .find_map(|pod| pod.unschedulable.clone());
        let there = pods.iter().filter(|pod| !pod.deleting).count();
        let short = i64::try_from(there).unwrap_or(i64::MAX) < expected;
        let finished = reading.is_some_and(|reading| reading.finished.is_some());
        let progress = self.progress.entry(name.to_owned()).or_default();
        let was_healthy = order.status.as_ref().is_some_and(|status| {
            status.epoch == epoch && status.phase == AssignmentPhase::Healthy
        });
        if was_healthy || reading.is_some_and(|reading| reading.healthy) {
            progress.healthy_epoch = Some(epoch);
            progress.healthy_pods = Some(expected);
        }
        if order.spec.state == AssignmentState::Removed {
            progress.healthy_pods = None;
        }
        // A swap of nodes gives it a new epoch; what ran here before is not given up for it.
        let ran = progress.healthy_epoch == Some(epoch)
            || progress.healthy_pods.is_some_and(|had| had >= expected);
        let said = no_node.or(replica_failure);
        let trouble = (said.is_some() || short) && expected > 0 && root_uid.is_some();
        if !trouble
            || ran
            || finished
            || !decision.complete
            || order.spec.state == AssignmentState::Removed
        {
            progress.stuck_since = None;
            progress.probed = None;
            return None;
        }
        // Said before a restart, it still holds.
        let refused = order
            .status
            .as_ref()
            .filter(|status| status.epoch == epoch && status.phase == AssignmentPhase::Refused);
        let before = refused.and_then(|status| {
            let applied = status
                .conditions
                .iter()
                .find(|c| c.type_ == "Applied" && c.reason == UNSCHEDULABLE)?;
            Some(applied.message.clone())
        });
        let after = u64::try_from(self.fixed.unschedulable_after.as_millis()).unwrap_or(u64::MAX);
        let due = progress
            .stuck_since
            .get_or_insert(now)
            .saturating_add(after);
        if now < due && before.is_none() {
            self.queue.push_at(name, due);
            return None;
        }
        let said = said.or_else(|| progress.probed.clone()).or(before);
        if let Some(message) = said {
            return Some(cut(&message));
        }
        if !progress.probing {
            progress.probing = true;
            let (member, namespace) = (
                self.fixed.member.clone(),
                order.spec.workload.namespace.clone(),
            );
            let (name, uid) = (name.to_owned(), root_uid.unwrap_or_default());
            self.spawn(async move { Event::Probed(name, probe(&member, &namespace, &uid).await) });
        }
        None
    }

    /// Takes in why pods are missing.
    pub(super) fn probed(&mut self, name: &str, found: Option<String>) {
        let now = self.now();
        let Some(progress) = self.progress.get_mut(name) else {
            return;
        };
        progress.probing = false;
        if found.is_none() {
            // Nothing refuses them: they are only slow. Ask again after the same time.
            progress.stuck_since = Some(now);
        }
        progress.probed = found;
        self.queue.push(name);
    }
}
