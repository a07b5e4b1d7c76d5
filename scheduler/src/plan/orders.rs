//! The orders of all queues, as the planner uses them: it tells them what it is asked and what it decides, and asks whose turn it is.
//!
//! A queue that nothing was said about is ordered by age and costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::QueueOrder;

use super::order::{DEVICE, Facts, OrderState, Pace, Rule, Settings, Times, Turn};
use super::{Decision, Request, Step};
use crate::fleet::{WorkloadId, is_extended};
use crate::shares::{Named, QueueId, QueueTree, Standings};

/// A workload without devices counts as one device for so many CPUs, as a size.
const CPUS_PER_DEVICE: i64 = 8;

/// One order per queue that has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    states: BTreeMap<QueueId, OrderState<WorkloadId>>,
    /// In which queue a workload is.
    queues: BTreeMap<WorkloadId, QueueId>,
    /// Gone since the last cycle.
    gone: BTreeSet<WorkloadId>,
}

impl Orders {
    /// The queues and how they are ordered. Everybody has to be asked again.
    pub(super) fn set(&mut self, tree: &QueueTree, age_limit_ms: Option<i64>) {
        let before = std::mem::take(self);
        for queue in tree.ids() {
            let spec = tree.spec(queue);
            let settings = Settings {
                rule: match spec.order {
                    QueueOrder::Age => Rule::Age,
                    QueueOrder::Size => Rule::Size,
                    QueueOrder::FinishTime => Rule::FinishTime,
                },
                time_slicing: spec.time_slicing,
                age_limit_ms,
            };
            if settings.rule == Rule::Age && age_limit_ms.is_none() {
                continue;
            }
            let state = before
                .states
                .get(&queue)
                .filter(|state| *state.settings() == settings)
                .cloned();
            let state = state.unwrap_or_else(|| OrderState::new(settings, DEVICE));
            self.states.insert(queue, state);
        }
        let known = |queue: &QueueId| self.states.contains_key(queue);
        self.queues = before
            .queues
            .into_iter()
            .filter(|(_, queue)| known(queue))
            .collect();
    }

    /// Whether any queue has an order of its own.
    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// What the queues can count on: what they are guaranteed, for what they borrow comes and goes; where that is nothing, the most that they were
    /// entitled to.
    pub(super) fn entitle(&mut self, stands: impl Fn(QueueId) -> Standings) {
        for (queue, state) in &mut self.states {
            let stands = stands(*queue);
            let own = capacity(&stands.guaranteed);
            state.set_capacity(if own > 0 {
                own
            } else {
                state.capacity().max(capacity(&stands.entitled))
            });
        }
    }

    /// Takes in what is asked: what it wants, and whether it runs.
    pub(super) fn ask(&mut self, request: &Request, queue: QueueId, now_ms: i64) {
        let moved = self
            .queues
            .get(&request.id)
            .is_some_and(|old| *old != queue);
        if request.finished || moved {
            self.end(&request.id, now_ms);
        }
        let Some(state) = self.states.get_mut(&queue).filter(|_| !request.finished) else {
            return;
        };
        self.queues.insert(request.id.clone(), queue);
        self.gone.remove(&request.id);
        let facts = Facts {
            submitted_ms: request.submitted_ms,
            size: size(request),
            runtime_ms: request.runtime_ms,
            min_runtime_ms: request.min_runtime_ms,
        };
        state.submit(request.id.clone(), facts);
        let mut parts = request
            .current
            .iter()
            .filter(|part| !part.evicting)
            .peekable();
        if parts.peek().is_none() {
            state.stop(&request.id, now_ms, request.checkpoint_ms);
        } else {
            let started = parts.filter_map(|part| part.started_ms).min();
            state.start(&request.id, started.unwrap_or(now_ms));
        }
    }

    /// Takes in what was decided.
    pub(super) fn decide(&mut self, decision: &Decision, request: &Request, now_ms: i64) {
        let Some(state) = self.of(&decision.id) else {
            return;
        };
        let stays = |part: &super::Leaving| part.step != Step::Now;
        if !decision.parts.is_empty() {
            state.begin(&decision.id, now_ms);
        } else if !decision.leaving.iter().any(stays) {
            state.stop(&decision.id, now_ms, request.checkpoint_ms);
        }
    }

    /// Sets the time for all questions of a cycle. Returns those whose turn is earlier now.
    pub(super) fn advance(&mut self, now_ms: i64) -> Vec<WorkloadId> {
        for id in std::mem::take(&mut self.gone) {
            self.end(&id, now_ms);
        }
        let states = self.states.values_mut();
        states.flat_map(|state| state.advance(now_ms)).collect()
    }

    /// A workload is gone: it is taken to end when the next cycle begins.
    pub(super) fn forget(&mut self, id: &WorkloadId) {
        if self.queues.contains_key(id) {
            self.gone.insert(id.clone());
        }
    }

    /// Whose turn it is inside its queue, after priority; nothing: by age.
    pub(super) fn turn(&self, id: &WorkloadId) -> Option<Turn> {
        self.states.get(self.queues.get(id)?)?.turn(id)
    }

    /// Where a workload stands among its like: its turn, as far as time does not change that, and what the rest is computed from.
    pub(super) fn seat(&self, id: &WorkloadId) -> (Option<Turn>, Option<(QueueId, Times)>) {
        let Some(queue) = self.queues.get(id) else {
            return (None, None);
        };
        let state = self.states.get(queue);
        let turn = state.and_then(|state| state.turn(id));
        match state.and_then(|state| state.times(id)) {
            Some(times) => (
                turn.map(|turn| Turn { rank: 0, ..turn }),
                Some((*queue, times)),
            ),
            None => (turn, None),
        }
    }

    /// What laxities are computed with in queues that go by them.
    pub(super) fn paces(&self) -> BTreeMap<QueueId, Pace> {
        let states = self.states.iter();
        states
            .filter_map(|(queue, state)| Some((*queue, state.pace()?)))
            .collect()
    }

    /// By what its queue goes inside a priority.
    pub(super) fn rule(&self, id: &WorkloadId) -> Rule {
        let state = self.queues.get(id).and_then(|queue| self.states.get(queue));
        state.map_or(Rule::Age, |state| state.settings().rule)
    }

    /// Whether running workloads of its queue may give way to a workload although they have the same priority.
    pub(super) fn slices(&self, id: &WorkloadId) -> bool {
        let state = self.queues.get(id).and_then(|queue| self.states.get(queue));
        state.is_some_and(|state| state.settings().time_slicing)
    }

    /// Whether a running workload gives way to one of the same queue and priority.
    pub(super) fn may_replace(&self, claimant: &WorkloadId, victim: &WorkloadId) -> bool {
        let queue = self.queues.get(claimant);
        queue.is_some_and(|queue| {
            self.queues.get(victim) == Some(queue)
                && self
                    .states
                    .get(queue)
                    .is_some_and(|state| state.may_replace(claimant, victim))
        })
    }

    /// Whether a workload that cannot start may hold nodes: by age everybody who is at the head; in other orders
    /// only who was promoted, the first of them.
    pub(super) fn may_hold(&self, id: &WorkloadId) -> bool {
        let state = self.queues.get(id).and_then(|queue| self.states.get(queue));
        state.is_none_or(|state| {
            state.settings().rule == Rule::Age || state.first_promoted() == Some(id)
        })
    }

    /// The longest wait, where the workload's queue has one.
    pub(super) fn age_limit_ms(&self, id: &WorkloadId) -> Option<i64> {
        self.states.get(self.queues.get(id)?)?.age_limit_ms()
    }

    /// From when on a running workload may be stopped for another of its queue, if its turn is later.
    pub(super) fn gives_way_from(
        &self,
        claimant: &WorkloadId,
        victim: &WorkloadId,
        now_ms: i64,
    ) -> Option<i64> {
        let queue = self.queues.get(claimant)?;
        let state = self.states.get(queue)?;
        let slices = state.settings().time_slicing && state.settings().rule != Rule::Age;
        let later = state.turn(claimant)? < state.turn(victim)?;
        (slices && later).then(|| state.protected_until(victim).unwrap_or(now_ms))
    }

    /// Useful work that a workload has done before its present start, ms, where its queue keeps account.
    pub(super) fn done_ms(&self, id: &WorkloadId) -> i64 {
        let state = self.queues.get(id).and_then(|queue| self.states.get(queue));
        state.map_or(0, |state| state.done_ms(id))
    }

    /// The next time at which an answer about a workload that waits may change.
    pub(super) fn next_change_ms(&self, id: &WorkloadId) -> Option<i64> {
        self.states.get(self.queues.get(id)?)?.next_change_ms()
    }

    fn of(&mut self, id: &WorkloadId) -> Option<&mut OrderState<WorkloadId>> {
        self.states.get_mut(self.queues.get(id)?)
    }

    fn end(&mut self, id: &WorkloadId, now_ms: i64) {
        if let Some(state) = self.of(id) {
            state.end(id, now_ms);
        }
        self.queues.remove(id);
    }
}

/// Thousandths of devices; without devices, of CPUs.
fn capacity(amounts: &Named) -> i64 {
    let amounts = &amounts.resources;
    let devices = amounts.iter().filter(|(name, _)| is_extended(name));
    let devices: i64 = devices.map(|(_, amount)| *amount).sum();
    if devices > 0 {
        return devices;
    }
    let cpu = amounts.get(placement_api::resources::CPU).copied();
    cpu.unwrap_or(0) / 1000 / CPUS_PER_DEVICE
}

/// What a workload takes from others while it runs: its devices; without devices, its CPUs.
fn size(request: &Request) -> i64 {
    let (mut devices, mut cpu) = (0_i64, 0_i64);
    for set in &request.pod_sets {
        for (name, amount) in set.requests.iter() {
            let amount = amount.saturating_mul(set.count);
            if is_extended(name) {
                devices = devices.saturating_add(amount.saturating_mul(DEVICE));
            } else if name == placement_api::resources::CPU {
                cpu = cpu.saturating_add(amount);
            }
        }
    }
    if devices > 0 {
        devices
    } else {
        (cpu / CPUS_PER_DEVICE).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::QueueSpec;

    #[test]
    fn who_is_guaranteed_something_counts_on_that_and_not_on_what_it_borrows() {
        let sized = |name: &str| QueueSpec {
            name: name.to_owned(),
            order: QueueOrder::Size,
            ..QueueSpec::default()
        };
        let (tree, _) = QueueTree::new(vec![sized("own"), sized("none")]);
        let [own, none] = ["own", "none"].map(|name| tree.find(name).expect(name));
        let mut orders = Orders::default();
        orders.set(&tree, None);
        let gpus = |count: i64| Named {
            resources: [("nvidia.com/gpu".to_owned(), count * DEVICE)].into(),
            ..Named::default()
        };
        for entitled in [4, 300, 20] {
            orders.entitle(|queue| Standings {
                entitled: gpus(entitled),
                guaranteed: if queue == own {
                    gpus(16)
                } else {
                    Named::default()
                },
                ..Standings::default()
            });
        }
        assert_eq!(orders.states[&own].capacity(), 16 * DEVICE);
        assert_eq!(orders.states[&none].capacity(), 300 * DEVICE);
    }
}
