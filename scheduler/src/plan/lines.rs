//! Who is looked at, and in which order: what waits stands in lines of those who are alike ([`super::wake`]), and the heads of the lines
//! race for the room.

use std::cmp::Reverse;

use super::Request;
use super::order::Rule;
use super::planner::{Cycle, Planner, runs};
use super::race::{Asked, Place, Race};
use super::wake::{Refused, Seat};
use crate::fleet::WorkloadId;

impl Planner {
    /// Starts what waits: always the head of the queue with the strongest claim. `early`: the first of their lines since just now.
    pub(super) fn start(
        &mut self,
        cycle: &mut Cycle<'_>,
        pending: &[&Request],
        early: Vec<Request>,
    ) {
        let mut race = Race::default();
        for request in pending {
            race.line_up(&self.accounts, self.place(request), Asked::Woken(request));
        }
        for request in early {
            let place = self.place(&request);
            race.line_up(&self.accounts, place, Asked::Next(Box::new(request)));
        }
        // Who is woken stands for its line, and another may be the first of that by now.
        let firsts = pending
            .iter()
            .filter_map(|request| self.waiting.now_before(&request.id));
        let firsts = firsts.filter_map(|id| self.book.get(id));
        for booked in firsts.filter(|one| !runs(&one.request)) {
            let request = Box::new(booked.request.clone());
            race.line_up(&self.accounts, self.place(&request), Asked::Next(request));
        }
        while let Some((request, claim)) = race.pop(&self.accounts) {
            let next = self.waiting.next(&request.id).cloned();
            let refusal = match claim {
                Some(_) => None,
                None => self.accounts.may_start(&request).err(),
            };
            let others = cycle.decisions.len();
            self.plan_one(cycle, &request, refusal);
            if cycle.decisions.len() > others + 1 {
                race.look_again();
            }
            if let Some(next) = self.follows(cycle, &request.id, next)
                && !self.is_refused(&next)
                && let Some(booked) = self.book.get(&next).filter(|one| !runs(&one.request))
            {
                // Who is like it may have room too.
                let request = Box::new(booked.request.clone());
                race.line_up(&self.accounts, self.place(&request), Asked::Next(request));
            }
        }
    }

    /// Who is looked at after a workload of its line: if it has its place now, the next; else, or if that one was looked at, who ends before a promise
    /// begins that they would be in the way of.
    fn follows(
        &self,
        cycle: &Cycle<'_>,
        id: &WorkloadId,
        next: Option<WorkloadId>,
    ) -> Option<WorkloadId> {
        let open = |id: &WorkloadId| !cycle.decisions.contains_key(id);
        let made = cycle.decisions.get(id);
        let stays = if made.is_some_and(|made| !made.parts.is_empty()) {
            let next = next?;
            if open(&next) {
                return Some(next);
            }
            next
        } else {
            id.clone()
        };
        if self.ahead.is_empty() || !self.waiting.is_first(&stays) {
            return None;
        }
        let (more, left, other) = self.waiting.shortest(&stays, open)?;
        let passes = self.ahead.lets_only(left, more, cycle.now_ms);
        passes.then(|| other.clone())
    }

    /// Where a workload stands in the line of its queue.
    fn place(&self, request: &Request) -> Place {
        (
            Reverse(request.priority),
            self.orders.turn(&request.id),
            request.submitted_ms,
            request.id.clone(),
        )
    }

    /// Whether a limit refuses a workload, and nobody may be asked to make room under it; its line is told.
    fn is_refused(&mut self, id: &WorkloadId) -> bool {
        let Some(queue) = self.accounts.limited_by(id) else {
            return false;
        };
        let refused = Refused { queue, timed: None };
        let stays = !self.may_ask_others(&refused, id);
        if stays {
            self.waiting.refuse(id, refused);
        }
        stays
    }

    /// Whether a limit that refused a workload may not do so now: there is room under it, or somebody may be asked to make some.
    pub(super) fn may_pass(&self, refused: &Refused, id: &WorkloadId) -> bool {
        self.accounts.limited_by(id).is_none() || self.may_ask_others(refused, id)
    }

    /// Whether anybody may give way to a workload that a limit refuses, as far as that is told quickly.
    fn may_ask_others(&self, refused: &Refused, id: &WorkloadId) -> bool {
        let Some(booked) = self.book.get(id) else {
            return true;
        };
        let request = &booked.request;
        let has_ground = self.book.runs_below(&request.queue, request.priority)
            || self.orders.slices(id)
            || self.accounts.is_below(id);
        // Who was told a time is planned again then.
        has_ground
            && (refused.timed.as_ref() != Some(id)
                || self
                    .accounts
                    .is_anybody_evictable(refused.queue, self.now_ms))
    }

    /// Where a workload that waits stands in a line with others, if it does.
    pub(super) fn seat(&self, request: &Request) -> Option<Seat> {
        let rule = self.orders.rule(&request.id);
        let alike = request.is_plain() && !self.ahead.promised(&request.id);
        #[cfg(test)]
        let alike = alike && !self.apart;
        alike.then(|| {
            let (turn, drifts) = self.orders.seat(&request.id);
            Seat {
                turn,
                drifts,
                submitted_ms: request.submitted_ms,
                left_ms: match rule {
                    Rule::Size | Rule::FinishTime => self.ahead.left_ms(&self.orders, request),
                    Rule::Age => None,
                },
            }
        })
    }
}
