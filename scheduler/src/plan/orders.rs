//! The orders of all queues, as the planner uses them: it tells them what it is asked and what it decides, and asks whose turn it is.
//!
//! A queue that nothing was said about is ordered by age and costs nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::order::{DEVICE, Facts, OrderState, Settings, Turn};
use super::{Decision, Request, Step};
use crate::fleet::{WorkloadId, is_extended};

/// A workload without devices counts as one device for so many CPUs, as a size.
const CPUS_PER_DEVICE: i64 = 8;

/// One order per queue that has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    states: BTreeMap<String, OrderState<WorkloadId>>,
    /// In which queue a workload is.
    queues: BTreeMap<WorkloadId, String>,
}

impl Orders {
    /// How a queue is ordered, and what it can count on (thousandths of a device).
    pub(super) fn set(&mut self, queue: &str, settings: Settings, capacity: i64) {
        match self.states.get_mut(queue) {
            Some(state) => {
                state.set(settings);
                state.set_capacity(capacity);
            }
            None => {
                self.states
                    .insert(queue.to_owned(), OrderState::new(settings, capacity));
            }
        }
    }

    /// Takes in what is asked: what it wants, and whether it runs.
    pub(super) fn ask(&mut self, request: &Request, now_ms: i64) {
        if request.finished
            || self
                .queues
                .get(&request.id)
                .is_some_and(|queue| *queue != request.queue)
        {
            self.forget(&request.id, now_ms);
        }
        let Some(state) = self.states.get_mut(&request.queue) else {
            return;
        };
        if request.finished {
            return;
        }
        self.queues
            .insert(request.id.clone(), request.queue.clone());
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
        let Some(state) = self.states.get_mut(&request.queue) else {
            return;
        };
        let stays = |part: &super::Leaving| part.step != Step::Now;
        if decision.parts.is_empty() && !decision.leaving.iter().any(stays) {
            state.stop(&decision.id, now_ms, request.checkpoint_ms);
        } else if !decision.parts.is_empty() {
            state.begin(&decision.id, now_ms);
        }
    }

    /// Sets the time for all questions of a cycle.
    pub(super) fn advance(&mut self, now_ms: i64) {
        for state in self.states.values_mut() {
            state.advance(now_ms);
        }
    }

    /// Forgets a workload that is gone.
    pub(super) fn forget(&mut self, id: &WorkloadId, now_ms: i64) {
        let state = self
            .queues
            .remove(id)
            .and_then(|queue| self.states.get_mut(&queue));
        if let Some(state) = state {
            state.end(id, now_ms);
        }
    }

    /// Whose turn it is: free room that pending work and growth both want goes to pending work; then priority, then age over all queues. The turns
    /// that fall to a queue are taken in its own order.
    pub(super) fn sort(&self, requests: &mut [&Request]) {
        requests.sort_by(|a, b| by_age(a).cmp(&by_age(b)));
        for (queue, state) in &self.states {
            // Turns of one group: who may not pass whom is not for the queue to say.
            let mut groups: BTreeMap<(bool, Reverse<i32>), Vec<usize>> = BTreeMap::new();
            for (at, request) in requests.iter().enumerate() {
                if request.queue == *queue {
                    let group = (runs(request), Reverse(request.priority));
                    groups.entry(group).or_default().push(at);
                }
            }
            for group in groups.into_values() {
                let mut own: Vec<&Request> = group.iter().map(|at| requests[*at]).collect();
                own.sort_by_cached_key(|request| (state.turn(&request.id), request.id.clone()));
                for (at, request) in group.into_iter().zip(own) {
                    requests[at] = request;
                }
            }
        }
    }

    /// Whether a running workload gives way to one of the same queue and priority.
    pub(super) fn may_replace(&self, claimant: &Request, victim: &Request) -> bool {
        claimant.queue == victim.queue
            && claimant.priority == victim.priority
            && self
                .states
                .get(&claimant.queue)
                .is_some_and(|state| state.may_replace(&claimant.id, &victim.id))
    }

    /// Whose turn it is inside its queue.
    pub(super) fn turn(&self, request: &Request) -> Option<Turn> {
        self.states.get(&request.queue)?.turn(&request.id)
    }

    /// The next time at which an answer about a queue may change.
    pub(super) fn next_change_ms(&self, queue: &str) -> Option<i64> {
        self.states.get(queue)?.next_change_ms()
    }
}

fn runs(request: &Request) -> bool {
    request.current.iter().any(|part| !part.evicting)
}

fn by_age(request: &Request) -> (bool, Reverse<i32>, i64, &WorkloadId) {
    (
        runs(request),
        Reverse(request.priority),
        request.submitted_ms,
        &request.id,
    )
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
