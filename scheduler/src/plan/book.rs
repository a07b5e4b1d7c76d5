//! What the planner remembers of every workload that it was asked about: what it wants and what it has.

use std::collections::{BTreeMap, BTreeSet};

use super::planner::runs;
use super::{Change, Current, Decision, Request, Step};
use crate::fleet::{TargetName, WorkloadId};

/// Workloads by id, until they finish or go.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Each by itself: they are large, and a tree keeps room for half as many again.
    entries: BTreeMap<WorkloadId, Box<Booked>>,
    running: Running,
}

#[derive(Clone, Debug, Default)]
struct Running {
    /// How many run, by queue and priority.
    by_queue: BTreeMap<String, BTreeMap<i32, usize>>,
    /// How many of them are told how long they run.
    told: usize,
}

/// One workload.
#[derive(Clone, Debug)]
pub(super) struct Booked {
    /// As it was last asked; its `current` is what the last decision left.
    pub(super) request: Request,
    /// Workloads that it gave way to: nobody is evicted twice by the same claimant.
    pub(super) gave_way_to: BTreeSet<WorkloadId>,
}

impl Book {
    pub(super) fn get(&self, id: &WorkloadId) -> Option<&Booked> {
        self.entries.get(id).map(Box::as_ref)
    }

    /// Everybody, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Booked> {
        self.entries.values().map(Box::as_ref)
    }

    /// Takes in what is asked.
    pub(super) fn ask(&mut self, request: &Request) {
        if request.finished {
            self.forget(&request.id);
            return;
        }
        if let Some(entry) = self.entries.get_mut(&request.id) {
            if entry.request == *request {
                return;
            }
            count(&mut self.running, &entry.request, false);
            entry.request.clone_from(request);
            count(&mut self.running, &entry.request, true);
            return;
        }
        count(&mut self.running, request, true);
        let entry = Booked {
            request: request.clone(),
            gave_way_to: BTreeSet::new(),
        };
        self.entries.insert(request.id.clone(), Box::new(entry));
    }

    /// Takes in what was decided.
    pub(super) fn decide(&mut self, decision: &Decision) {
        let Some(entry) = self.entries.get_mut(&decision.id) else {
            return;
        };
        let ran = runs(&entry.request);
        entry.request.current = after(&entry.request, decision);
        entry.request.epoch = decision.epoch;
        if runs(&entry.request) != ran {
            change(&mut self.running, &entry.request, !ran);
        }
    }

    /// Remembers who gave way to whom.
    pub(super) fn gave_way(&mut self, victim: &WorkloadId, claimant: &WorkloadId) {
        if let Some(entry) = self.entries.get_mut(victim) {
            entry.gave_way_to.insert(claimant.clone());
        }
    }

    /// Forgets what is gone or has finished.
    pub(super) fn forget(&mut self, id: &WorkloadId) {
        if let Some(entry) = self.entries.remove(id) {
            count(&mut self.running, &entry.request, false);
        }
    }

    /// How many others of a workload's queue have something on each target. Costs as much as there are workloads.
    pub(super) fn neighbours(&self, request: &Request) -> BTreeMap<TargetName, i64> {
        let others = self.entries.values().map(|booked| &booked.request);
        let mut found = BTreeMap::new();
        for other in others.filter(|one| one.queue == request.queue && one.id != request.id) {
            for part in other.current.iter().filter(|part| !part.evicting) {
                *found.entry(part.target.clone()).or_default() += 1;
            }
        }
        found
    }

    /// Whether anything runs in a queue below this priority.
    pub(super) fn runs_below(&self, queue: &str, priority: i32) -> bool {
        let there = self.running.by_queue.get(queue);
        there.is_some_and(|there| there.range(..priority).next().is_some())
    }

    /// Whether anybody who runs is told how long.
    pub(super) fn knows_ends(&self) -> bool {
        self.running.told > 0
    }
}

fn count(running: &mut Running, request: &Request, more: bool) {
    if runs(request) {
        change(running, request, more);
    }
}

fn change(running: &mut Running, request: &Request, more: bool) {
    let counted = |left: usize| {
        if more {
            left + 1
        } else {
            left.saturating_sub(1)
        }
    };
    if request.runtime_ms.is_some() {
        running.told = counted(running.told);
    }
    if !running.by_queue.contains_key(&request.queue) {
        running
            .by_queue
            .insert(request.queue.clone(), BTreeMap::new());
    }
    let Some(there) = running.by_queue.get_mut(&request.queue) else {
        return;
    };
    let left = there.get(&request.priority).copied().unwrap_or(0);
    match counted(left) {
        0 => there.remove(&request.priority),
        left => there.insert(request.priority, left),
    };
}

/// What a workload has after a decision.
fn after(request: &Request, decision: &Decision) -> Vec<Current> {
    let before = |target: &TargetName| request.current.iter().find(|part| part.target == *target);
    let mut current: Vec<Current> = decision
        .parts
        .iter()
        .map(|part| {
            let old = before(&part.target).filter(|_| part.change != Change::New);
            Current {
                started: old.is_some_and(|old| old.started),
                healthy: old.is_some_and(|old| old.healthy),
                started_ms: old.and_then(|old| old.started_ms),
                ..part.decided()
            }
        })
        .collect();
    let goes = |part: &&Current| {
        part.evicting
            || decision
                .leaving
                .iter()
                .any(|one| one.target == part.target && one.step == Step::Now)
    };
    current.extend(request.current.iter().filter(goes).map(|part| Current {
        evicting: true,
        ..part.clone()
    }));
    current
}
