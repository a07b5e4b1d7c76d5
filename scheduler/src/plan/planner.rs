//! The planner and what it remembers between two cycles.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::book::Book;
use super::needs::Needs;
use super::occupancy::Occupancy;
use super::wake::Waiting;
use super::{Decision, Report, Request, draft, give_way, reserve, write_out};
use crate::fleet::{Event, Fleet, WorkloadId};

/// Decides where workloads run. It remembers what everybody has and who waits for what; the fleet is the caller's.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    book: Book,
    waiting: Waiting,
    occupancy: Occupancy,
}

impl Planner {
    /// A planner that knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans these workloads (those that are new, changed, woken, or have a part on a target that changed): pending ones and moves
    /// first, growth last, each in the order of priority, age and id. Before anybody is planned, all their reservations in the fleet
    /// are brought in line with their `current`; after, they are those of the decisions. So a decision that could not be written is
    /// undone by planning again with the true `current`.
    ///
    /// Every request gets one decision. Decisions about others follow: who gives way to one of them.
    pub fn plan(
        &mut self,
        fleet: &mut Fleet,
        requests: &[Request],
        now_ms: i64,
    ) -> (Vec<Decision>, Report) {
        let mut report = Report::default();
        for request in requests {
            let needs = self.ask(fleet, request);
            report.freed.merge(reserve::adopt(fleet, &needs));
        }
        let hub_degraded = fleet.hub_degraded();
        report.hub_degraded = hub_degraded;
        let mut order: Vec<&Request> = requests.iter().collect();
        order.sort_by(|a, b| turn(a).cmp(&turn(b)));
        let mut decisions: BTreeMap<WorkloadId, Decision> = BTreeMap::new();
        for request in order {
            if decisions.contains_key(&request.id) {
                // It has just given way to somebody.
                continue;
            }
            let needs = Needs::new(fleet, request);
            let mut draft = self
                .occupancy
                .draft(fleet, &needs)
                .unwrap_or_else(|| draft::draft(fleet, &needs, hub_degraded, now_ms));
            let mut evictions = Vec::new();
            if give_way::is_claimant(&needs, &draft) {
                let settled = |id: &WorkloadId| decisions.contains_key(id);
                if let Some(found) = give_way::find(fleet, &self.book, &needs, &settled, now_ms) {
                    draft = draft::draft(fleet, &needs, hub_degraded, now_ms);
                    evictions = found;
                }
            }
            if let Some(wake) = draft.wake_ms {
                report.wake_ms.insert(request.id.clone(), wake);
                report.next_wake_ms = draft::earliest(report.next_wake_ms, Some(wake));
            }
            let mut decision =
                write_out::write_out(fleet, &needs, draft, now_ms, &mut report.freed);
            for eviction in evictions {
                let Some(victim) = give_way::decision(&self.book, &needs, &eviction) else {
                    continue;
                };
                self.book.gave_way(&eviction.victim, &request.id);
                for leaving in &victim.leaving {
                    let there = decision
                        .parts
                        .iter_mut()
                        .find(|part| part.target == leaving.target);
                    if let Some(part) = there {
                        part.after
                            .insert((victim.id.clone(), leaving.target.clone()));
                    }
                }
                self.settle(victim, &mut decisions);
            }
            self.settle(decision, &mut decisions);
        }
        let asked: BTreeSet<&WorkloadId> = requests.iter().map(|request| &request.id).collect();
        let mut answers: Vec<Decision> = requests
            .iter()
            .filter_map(|request| decisions.get(&request.id).cloned())
            .collect();
        answers.extend(
            decisions
                .into_values()
                .filter(|decision| !asked.contains(&decision.id)),
        );
        (answers, report)
    }

    /// Takes in what a workload has now, without deciding anything: for a new leader, before its first cycle, for every workload
    /// that is not pending.
    pub fn adopt(&mut self, fleet: &mut Fleet, request: &Request) {
        let needs = self.ask(fleet, request);
        reserve::adopt(fleet, &needs);
    }

    /// Those whom an event may help. (Who has a part on one of `event.targets` must be planned too; the caller knows them.)
    pub fn wake(&self, event: &Event) -> BTreeSet<WorkloadId> {
        self.waiting.wake(event)
    }

    /// Forgets a workload that is gone, is going, or has finished.
    pub fn forget(&mut self, id: &WorkloadId) {
        self.waiting.forget(id);
        self.book.forget(id);
    }

    /// Says beforehand what will arrive, instead of learning it: requests, and how many pods like theirs.
    pub fn expect(&mut self, fleet: &mut Fleet, mix: &[(Request, u64)]) {
        self.occupancy.know(fleet, mix);
    }

    /// Takes in what is asked.
    fn ask<'a>(&mut self, fleet: &mut Fleet, request: &'a Request) -> Needs<'a> {
        let new = self.book.get(&request.id).is_none();
        self.book.ask(request);
        let needs = Needs::new(fleet, request);
        if new && !request.finished {
            self.occupancy.learn(&needs);
        }
        needs
    }

    /// A decision is made.
    fn settle(&mut self, decision: Decision, decisions: &mut BTreeMap<WorkloadId, Decision>) {
        if let Some(booked) = self.book.get(&decision.id) {
            self.waiting.note(&booked.request, &decision);
        } else {
            self.waiting.forget(&decision.id);
        }
        self.book.decide(&decision);
        decisions.insert(decision.id.clone(), decision);
    }
}

/// Whose turn it is: free room that pending work and growth both want goes to pending work.
fn turn(request: &Request) -> (bool, Reverse<i32>, i64, &WorkloadId) {
    let runs = request.current.iter().any(|part| !part.evicting);
    (
        runs,
        Reverse(request.priority),
        request.submitted_ms,
        &request.id,
    )
}
