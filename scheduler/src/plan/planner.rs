//! The planner and what it remembers between two cycles.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::accounts::Accounts;
use super::ahead::{Ahead, Around};
use super::book::Book;
use super::defrag::{Defrag, Moves};
use super::draft::Draft;
use super::history::History;
use super::kept::Kept;
use super::needs::Needs;
use super::occupancy::Occupancy;
use super::order::{Rule, Turn};
use super::orders::Orders;
use super::swap::Swapped;
use super::verdicts::Verdicts;
use super::wake::{Refused, Waiting};
use super::{
    Change, Decision, Dimension, Memory, Outcome, Policy, Report, Request, Trouble, draft,
    give_way, reserve, write_out,
};
use crate::fleet::{Event, Fleet, TargetName, WorkloadId};
use crate::shares::{QueueTree, Refusal, Shares, Standing};
use placement_api::kinds::Strategy;
use placement_api::reason::Reason;

/// Decides where workloads run. It remembers what everybody has, what the queues are entitled to, and who waits for what; the
/// fleet is the caller's.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    policy: Policy,
    pub(super) book: Book,
    pub(super) accounts: Accounts,
    pub(super) waiting: Waiting,
    occupancy: Occupancy,
    verdicts: Verdicts,
    pub(super) orders: Orders,
    pub(super) ahead: Ahead,
    pub(super) kept: Kept,
    defrag: Defrag,
    history: History,
    /// Time of the last cycle.
    pub(super) now_ms: i64,
    /// Nobody stands in a line with others.
    #[cfg(test)]
    pub(super) apart: bool,
}

/// One cycle.
pub(super) struct Cycle<'a> {
    fleet: &'a mut Fleet,
    pub(super) now_ms: i64,
    report: Report,
    pub(super) decisions: BTreeMap<WorkloadId, Decision>,
    /// Whose nodes were lost.
    swaps: BTreeMap<WorkloadId, Swapped>,
}

impl Planner {
    /// A planner that knows nobody; one queue, the root.
    pub fn new() -> Self {
        Self::default()
    }

    /// What holds for the whole fleet.
    pub fn set_policy(&mut self, policy: Policy) {
        self.accounts.shares.set_half_life(policy.half_life_ms);
        self.accounts.recount();
        self.policy = policy;
        self.set_orders();
    }

    /// The tree of queues.
    pub fn set_queues(&mut self, tree: QueueTree) {
        let book = &self.book;
        self.accounts.set_tree(tree, |id| {
            book.get(id).map(|booked| booked.request.queue.clone())
        });
        self.set_orders();
    }

    /// What the queues use, want and are entitled to, as of the last cycle.
    pub fn shares(&self) -> &Shares {
        &self.accounts.shares
    }

    /// Plans these workloads (those that are new, changed, woken, or have a part on a target that changed): pending ones first, the
    /// queue with the strongest claim first and in it by priority, age and id; then those that have something, to move or to grow.
    /// Before anybody is planned, all their reservations in the fleet are brought in line with their `current`; after, they are
    /// those of the decisions. So a decision that could not be written is undone by planning again with the true `current`.
    ///
    /// Every request gets one decision. Decisions about others follow: who gives way to one of them.
    pub fn plan(
        &mut self,
        fleet: &mut Fleet,
        requests: &[Request],
        now_ms: i64,
    ) -> (Vec<Decision>, Report) {
        self.now_ms = now_ms;
        let mut report = Report {
            troubled: self.history.tell(fleet, now_ms),
            ..Report::default()
        };
        self.accounts.count(fleet, &self.policy);
        for request in requests {
            let needs = self.ask(fleet, request);
            report.freed.merge(reserve::adopt(fleet, &needs));
            self.accounts.record(fleet, request, false, now_ms);
            self.orders
                .ask(request, self.accounts.queue(request), now_ms);
            self.kept.ask(request);
        }
        report.hub_degraded = fleet.hub_degraded();
        let (mut running, pending): (Vec<&Request>, Vec<&Request>) =
            requests.iter().partition(|request| runs(request));
        running.sort_by(|a, b| turn(a).cmp(&turn(b)));
        let swaps = self.swap(fleet, &running, now_ms, &mut report.freed);
        let opened = self
            .kept
            .renew_all(fleet, &mut self.accounts, &self.book, now_ms);
        report.freed.merge(opened);
        self.accounts.shares.advance(now_ms);
        self.accounts.shares.divide();
        let early = self.advance_orders(now_ms);
        let mut cycle = Cycle {
            fleet,
            now_ms,
            report,
            decisions: BTreeMap::new(),
            swaps,
        };
        self.start(&mut cycle, &pending, early);
        for request in running {
            let refusal = self.accounts.may_start(request).err();
            self.plan_one(&mut cycle, request, refusal);
        }
        let Cycle {
            mut report,
            mut decisions,
            ..
        } = cycle;
        report.freed.merge(self.recharged());
        report.freed.merge(self.ahead.take_opened());
        let mut answers: Vec<Decision> = requests
            .iter()
            .filter_map(|request| decisions.remove(&request.id))
            .collect();
        answers.extend(decisions.into_values());
        (answers, report)
    }

    /// Takes in what a workload has now, without deciding anything: for a new leader, before its first cycle, for every workload
    /// that is not pending.
    pub fn adopt(&mut self, fleet: &mut Fleet, request: &Request) {
        let needs = self.ask(fleet, request);
        reserve::adopt(fleet, &needs);
        // It may have started before anybody knew of it.
        self.accounts
            .record(fleet, request, false, request.submitted_ms);
        let queue = self.accounts.queue(request);
        self.orders.ask(request, queue, request.submitted_ms);
        self.kept.ask(request);
    }

    /// Takes in what an earlier leader has seen: after everybody is adopted, before the first cycle.
    pub fn remember(&mut self, memory: &Memory) {
        match memory {
            Memory::Moved(id, at_ms) => self.defrag.moved(id, *at_ms),
            Memory::Trouble(target, trouble) => self.history.remember(target, trouble),
            Memory::PastUse(queue, past, now_ms) => {
                self.accounts.shares.remember(queue, past, *now_ms);
            }
        }
    }

    /// What has gone wrong on a target lately, by node.
    pub fn trouble(&self, target: &TargetName) -> Vec<Trouble> {
        self.history.of(target).collect()
    }

    /// A target found no node for the pods that it was given: others keep away from it for a while, where they have a choice.
    pub fn refused(&mut self, target: &TargetName, now_ms: i64) {
        self.history.note(target, None, now_ms);
    }

    /// Those whom an event may help, of equal ones the first: the others follow by themselves while there is room. (Who has a part on one of `event.targets` must be planned too; the caller knows them.)
    pub fn wake(&self, event: &Event) -> BTreeSet<WorkloadId> {
        self.waiting
            .wake_if(event, |refused, id| self.may_pass(refused, id))
    }

    /// When a workload that waits was promised to start, ms since 1970. It starts no later, unless its promise yields to a stronger claim, and
    /// often earlier.
    pub fn promised_ms(&self, id: &WorkloadId) -> Option<i64> {
        self.ahead.start_ms(id)
    }

    /// Those who wait in one queue in the order in which they are looked at.
    pub fn line<'a>(&self, mut waiting: Vec<&'a Request>) -> Vec<&'a Request> {
        let key = |request: &Request| -> (Reverse<i32>, Option<Turn>) {
            (Reverse(request.priority), self.orders.turn(&request.id))
        };
        waiting.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| turn(a).cmp(&turn(b))));
        waiting
    }

    /// Who is promised a start, and when (ms since 1970): at most one of each queue.
    pub fn promises(&self) -> BTreeMap<WorkloadId, i64> {
        self.ahead.starts().collect()
    }

    /// Forgets a workload that is gone, is going, or has finished. Returns what may help others by that, beside what it held.
    pub fn forget(&mut self, id: &WorkloadId) -> Event {
        let mut event = self.waiting.forget(id);
        self.book.forget(id);
        self.accounts.forget(id);
        event.merge(self.recharged());
        self.orders.forget(id);
        self.ahead.forget(id);
        self.kept.forget(id);
        event
    }

    pub(super) fn plan_one(
        &mut self,
        cycle: &mut Cycle<'_>,
        request: &Request,
        mut refusal: Option<Refusal>,
    ) {
        if cycle.decisions.contains_key(&request.id) {
            // It has just given way to somebody.
            return;
        }
        let (now_ms, hub_degraded) = (cycle.now_ms, cycle.report.hub_degraded);
        let swapped = cycle.swaps.remove(&request.id);
        let request = swapped.as_ref().map_or(request, |swapped| &swapped.request);
        let mut needs = Needs::new(cycle.fleet, request);
        if request.scoring.names(Dimension::BlastRadius) {
            needs.neighbours = self.book.neighbours(request);
        }
        if self.accounts.lacks_claims(request) {
            needs.join(cycle.fleet, self.accounts.joined(request), now_ms);
            let targets = needs.tiers(cycle.fleet, now_ms).concat();
            if self.accounts.may_go(request, &targets) {
                refusal = self.accounts.may_start(request).err();
            }
        }
        if refusal.is_none() && draft::is_new(request) && self.accounts.is_guest(request) {
            needs.confine(self.kept.open_to(request));
        }
        if refusal.is_none() {
            // Else others of its queue may give way, and then nothing is closed.
            needs.close(self.accounts.closed(cycle.fleet, request));
        }
        let queue = self.accounts.queue(request);
        let around = Around {
            book: &self.book,
            orders: &self.orders,
            now_ms,
        };
        // Promises yield to a claim within a guarantee, and so do spares.
        let strong = !self.ahead.is_empty() && self.accounts.several() && {
            let asks = self.accounts.asks(request);
            self.accounts.shares.standing(queue, &asks) == Standing::Guaranteed
        };
        let yielding = self.yielding(request);
        let kept = self.kept.close(cycle.fleet, request, &yielding);
        let closed = !self.ahead.is_empty()
            && self
                .ahead
                .close(cycle.fleet, around, request, queue, strong);
        let mut draft = match &refusal {
            Some(refusal) if draft::is_new(request) => {
                Draft::refused(cycle.fleet, &needs, refusal, now_ms)
            }
            _ => self
                .occupancy
                .draft(cycle.fleet, &needs)
                .unwrap_or_else(|| draft::draft(cycle.fleet, &needs, hub_degraded, now_ms)),
        };
        if let Some(refusal) = &refusal {
            draft.refuse(&needs, refusal);
        }
        if request.strategy == Strategy::Duplicate {
            self.accounts.cut_copies(cycle.fleet, &needs, &mut draft);
        }
        let mut evictions = swapped
            .as_ref()
            .map_or_else(Vec::new, |swapped| swapped.evictions.clone());
        let mut evictable_ms = None;
        let claims = !hub_degraded && give_way::is_claimant(&needs, &draft);
        if claims
            && refusal.is_none()
            && let Some(found) = self.ahead.collect(cycle.fleet, around, &needs)
        {
            draft = draft::draft(cycle.fleet, &needs, hub_degraded, now_ms);
            evictions = found;
        } else if claims {
            let decided = &cycle.decisions;
            let settled = |id: &WorkloadId| decided.contains_key(id);
            let claim = give_way::Claim {
                needs: &needs,
                settled: &settled,
                yielding: &yielding,
                now_ms,
            };
            let moves = match &refusal {
                None => self.policy.moves_per_hour,
                Some(_) => 0,
            };
            // Who only moves loses less than who gives way.
            let own = refusal.is_none()
                && self.orders.slices(&request.id)
                && self.orders.rule(&request.id) != Rule::Age;
            let inside = own.then_some(Moves::Inside(&request.queue));
            let mut moved = Err(None);
            for moves in inside.into_iter().chain([Moves::Budget(moves)]) {
                moved = moved.or_else(|_| {
                    self.defrag
                        .find(cycle.fleet, &self.book, &mut self.kept, &claim, moves)
                });
            }
            let found = match moved {
                Ok(moved) => Ok((moved.evictions(), Some(moved))),
                Err(budget) => {
                    self.accounts.hide_spares(request, true);
                    let found = give_way::find(
                        cycle.fleet,
                        &self.book,
                        &self.orders,
                        &mut self.accounts,
                        &claim,
                    );
                    self.accounts.hide_spares(request, false);
                    found
                        .map(|found| (found, None))
                        .map_err(|later| draft::earliest(later, budget))
                }
            };
            match found {
                Ok((found, moved)) => {
                    // What would have ended before a promise begins is not room for who is there longer.
                    if !self.ahead.is_empty() {
                        self.ahead.open(cycle.fleet);
                        self.ahead
                            .close(cycle.fleet, around, request, queue, strong);
                    }
                    let made = draft::draft(cycle.fleet, &needs, hub_degraded, now_ms);
                    if made.added.is_empty() {
                        give_way::take_back(cycle.fleet, &mut self.accounts, &found);
                    } else {
                        draft = made;
                        evictions = found;
                        if let Some(moved) = moved {
                            self.defrag.begin(&mut self.kept, moved, now_ms);
                        }
                    }
                }
                Err(later) => evictable_ms = later,
            }
        }
        if claims && draft.added.is_empty() && refusal.is_none() {
            let head =
                self.ahead.is_head(around, request, queue) && self.accounts.may_promise(request);
            let start = head
                .then(|| self.ahead.promise(cycle.fleet, around, &needs, queue))
                .flatten();
            self.ahead.open(cycle.fleet);
            let overrun = start.and_then(|_| self.ahead.collect(cycle.fleet, around, &needs));
            if let Some(found) = overrun {
                // Only those past their estimate are in the way.
                draft = draft::draft(cycle.fleet, &needs, hub_degraded, now_ms);
                evictions = found;
            } else if let Some(start) = start {
                let again = if start > now_ms {
                    Some(start)
                } else {
                    self.ahead.late_until(cycle.fleet, around, &request.id)
                };
                if let Some(again) = again {
                    cycle.report.wake_at(&request.id, again);
                }
            } else if closed || kept {
                let opened = draft::draft(cycle.fleet, &needs, hub_degraded, now_ms);
                if !opened.added.is_empty() {
                    self.ahead.reserved(&mut draft);
                } else if kept {
                    self.kept.open(cycle.fleet);
                    let opened = draft::draft(cycle.fleet, &needs, hub_degraded, now_ms);
                    if !opened.added.is_empty() {
                        self.kept.reserved(&mut draft);
                    }
                    self.kept.close(cycle.fleet, request, &yielding);
                }
            }
            // What it lacks is counted without what is held for others.
            self.ahead
                .close(cycle.fleet, around, request, queue, strong);
        }
        if let Some(wake) = draft.wake_ms {
            cycle.report.wake_at(&request.id, wake);
        }
        let freed = &mut cycle.report.freed;
        let mut decision = write_out::write_out(
            cycle.fleet,
            &mut self.verdicts,
            &needs,
            draft,
            now_ms,
            freed,
        );
        self.ahead.open(cycle.fleet);
        self.kept.open(cycle.fleet);
        if decision.parts.iter().any(|part| part.change == Change::New) {
            self.ahead.placed(&request.id, cycle.fleet);
            self.kept.placed(&request.id);
        }
        if let Some(swapped) = &swapped {
            swapped.mark(&mut decision);
        }
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
            self.settle(cycle, victim, None);
        }
        let refused = refusal
            .filter(|refusal| {
                refusal.reason == Reason::QueueLimit
                    && decision.explanation.reason == Some(Reason::QueueLimit)
                    && decision.parts.is_empty()
            })
            .map(|refusal| Refused {
                queue: refusal.queue,
                timed: evictable_ms.map(|_| decision.id.clone()),
            });
        self.settle(cycle, decision, refused);
        if let Some(later) = evictable_ms.filter(|_| self.waiting.is_first(&request.id)) {
            cycle.report.wake_at(&request.id, later);
        }
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

    /// The orders of the queues, and everybody in them.
    fn set_orders(&mut self) {
        self.ahead.clear();
        let tree = self.accounts.shares.tree();
        self.orders.set(tree, self.policy.age_limit_ms);
        if !self.orders.is_empty() {
            for booked in self.book.iter() {
                let request = &booked.request;
                let queue = self.accounts.queue(request);
                self.orders.ask(request, queue, request.submitted_ms);
            }
        }
        self.waiting.set_paces(self.orders.paces());
        let waiting: Vec<WorkloadId> = self.waiting.ids().cloned().collect();
        for id in waiting {
            self.waiting.reseat(&id, self.orders.seat(&id));
        }
    }

    /// Tells the orders the time. Returns those who are the first of their lines since now.
    fn advance_orders(&mut self, now_ms: i64) -> Vec<Request> {
        if self.orders.is_empty() {
            return Vec::new();
        }
        let shares = &self.accounts.shares;
        self.orders.entitle(|queue| shares.standings(queue));
        let mut first = Vec::new();
        let promoted = self.orders.advance(now_ms);
        self.waiting.set_paces(self.orders.paces());
        for id in promoted {
            let booked = self.book.get(&id).filter(|one| !runs(&one.request));
            if self.waiting.reseat(&id, self.orders.seat(&id))
                && let Some(booked) = booked
            {
                first.push(booked.request.clone());
            }
        }
        first
    }

    /// A decision is made.
    fn settle(&mut self, cycle: &mut Cycle<'_>, mut decision: Decision, refused: Option<Refused>) {
        self.book.decide(&decision);
        if let Some(booked) = self.book.get(&decision.id) {
            self.orders.decide(&decision, &booked.request, cycle.now_ms);
            let opened = self.waiting.note_in(
                &booked.request,
                &decision,
                self.seat(&booked.request),
                refused,
            );
            cycle.report.freed.merge(opened);
            let hopeless = matches!(
                decision.explanation.reason,
                Some(Reason::Impossible | Reason::NoDevice | Reason::SelectorMismatch)
            );
            self.accounts.record(
                cycle.fleet,
                &booked.request,
                hopeless && decision.parts.is_empty(),
                cycle.now_ms,
            );
        } else {
            self.waiting.forget(&decision.id);
            self.accounts.forget(&decision.id);
            self.orders.forget(&decision.id);
        }
        // What it has is on its account by now.
        let (accounts, book) = (&mut self.accounts, &self.book);
        let opened = self.kept.settle(cycle.fleet, accounts, book, &decision);
        cycle.report.freed.merge(opened);
        self.kept.tell(&mut decision);
        if decision.outcome == Outcome::Wait
            && self.waiting.is_first(&decision.id)
            && let Some(wake) = self.orders.next_change_ms(&decision.id)
        {
            // Time alone may help: a promotion, the end of a minimum run time.
            cycle.report.wake_at(&decision.id, wake);
        }
        cycle.decisions.insert(decision.id.clone(), decision);
    }
}

/// Whether it has anything.
pub(super) fn runs(request: &Request) -> bool {
    request.current.iter().any(|part| !part.evicting)
}

/// Whose turn it is in a queue.
fn turn(request: &Request) -> (Reverse<i32>, i64, &WorkloadId) {
    (Reverse(request.priority), request.submitted_ms, &request.id)
}
