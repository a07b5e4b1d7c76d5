//! The planner and what it remembers between two cycles.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Book;
use super::needs::Needs;
use super::order::Settings;
use super::orders::Orders;
use super::wake::Waiting;
use super::{Decision, Outcome, Report, Request, draft, give_way, reserve, write_out};
use crate::fleet::{Event, Fleet, WorkloadId};

/// Decides where workloads run. It remembers what everybody has and who waits for what; the fleet is the caller's.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    book: Book,
    waiting: Waiting,
    orders: Orders,
    /// Gone since the last cycle.
    gone: BTreeSet<WorkloadId>,
}

impl Planner {
    /// A planner that knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// How a queue is ordered inside (nothing said: by age), and what it can count on: its entitlement in thousandths of a device.
    pub fn set_order(&mut self, queue: &str, settings: Settings, capacity: i64) {
        self.orders.set(queue, settings, capacity);
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
        for id in std::mem::take(&mut self.gone) {
            self.orders.forget(&id, now_ms);
        }
        for request in requests {
            self.book.ask(request);
            self.orders.ask(request, now_ms);
            let needs = Needs::new(fleet, request);
            report.freed.merge(reserve::adopt(fleet, &needs));
        }
        let hub_degraded = fleet.hub_degraded();
        report.hub_degraded = hub_degraded;
        self.orders.advance(now_ms);
        let mut order: Vec<&Request> = requests.iter().collect();
        self.orders.sort(&mut order);
        let mut decisions: BTreeMap<WorkloadId, Decision> = BTreeMap::new();
        for request in order {
            if decisions.contains_key(&request.id) {
                // It has just given way to somebody.
                continue;
            }
            let needs = Needs::new(fleet, request);
            let mut draft = draft::draft(fleet, &needs, hub_degraded, now_ms);
            let mut evictions = Vec::new();
            if give_way::is_claimant(&needs, &draft) {
                let settled = |id: &WorkloadId| decisions.contains_key(id);
                if let Some(found) =
                    give_way::find(fleet, &self.book, &self.orders, &needs, &settled, now_ms)
                {
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
                self.settle(victim, &mut decisions, now_ms);
            }
            self.settle(decision, &mut decisions, now_ms);
        }
        // Time alone may help those who wait: a promotion, the end of a minimum run time.
        for request in requests {
            let waits = decisions
                .get(&request.id)
                .is_some_and(|decision| decision.outcome == Outcome::Wait);
            if let Some(wake) = self.orders.next_change_ms(&request.queue).filter(|_| waits) {
                let own = report.wake_ms.entry(request.id.clone()).or_insert(wake);
                *own = wake.min(*own);
                report.next_wake_ms = draft::earliest(report.next_wake_ms, Some(wake));
            }
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
        self.book.ask(request);
        self.orders.ask(request, request.submitted_ms);
        let needs = Needs::new(fleet, request);
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
        self.gone.insert(id.clone());
    }

    /// A decision is made.
    fn settle(
        &mut self,
        decision: Decision,
        decisions: &mut BTreeMap<WorkloadId, Decision>,
        now_ms: i64,
    ) {
        if let Some(booked) = self.book.get(&decision.id) {
            self.orders.decide(&decision, &booked.request, now_ms);
            self.waiting.note(&booked.request, &decision);
        } else {
            self.waiting.forget(&decision.id);
        }
        self.book.decide(&decision);
        decisions.insert(decision.id.clone(), decision);
    }
}
