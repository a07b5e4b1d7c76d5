//! Whose nodes were lost, one after the other: what [`super::swap`] finds for one, and what guests leave, serves the next.

use std::collections::{BTreeMap, BTreeSet};

use super::Request;
use super::needs::Needs;
use super::planner::Planner;
use super::swap::{self, Swapped};
use crate::fleet::{Event, Fleet, WorkloadId};

impl Planner {
    /// Replaces lost nodes of what runs, before anybody else takes the room.
    pub(super) fn swap(
        &mut self,
        fleet: &mut Fleet,
        order: &[&Request],
        now_ms: i64,
        freed: &mut Event,
    ) -> BTreeMap<WorkloadId, Swapped> {
        let mut swaps: BTreeMap<WorkloadId, Swapped> = BTreeMap::new();
        for request in order.iter().filter(|request| swap::concerns(request)) {
            let needs = Needs::new(fleet, request);
            if !swap::is_hit(fleet, &needs) {
                continue;
            }
            self.kept.close(fleet, request, &BTreeSet::new());
            let mut found = swap::swap(fleet, &needs, now_ms, freed);
            let mut guests = Vec::new();
            if found.as_ref().is_some_and(Swapped::lacks) {
                // Who uses its spare nodes in the meantime leaves them. A new leader has yet to see which they are.
                freed.merge(self.renew_spares(fleet, &request.id));
                guests = self.kept.clear(fleet, &self.book, &request.id);
                if !guests.is_empty() {
                    found = found.map(|one| swap::again(fleet, one, &guests, now_ms, freed));
                }
            }
            self.kept.open(fleet);
            if let Some(swapped) = found {
                self.book.ask(&swapped.request);
                swaps.insert(request.id.clone(), swapped);
                // Its spares may be others now.
                freed.merge(self.renew_spares(fleet, &request.id));
            }
            if !guests.is_empty() {
                self.swap_again(fleet, order, now_ms, (freed, &mut swaps));
            }
        }
        swaps
    }

    fn renew_spares(&mut self, fleet: &mut Fleet, id: &WorkloadId) -> Event {
        let accounts = &mut self.accounts;
        self.kept.renew(fleet, accounts, &self.book, id)
    }

    /// Those whose turn was before may use what guests have left.
    fn swap_again(
        &mut self,
        fleet: &mut Fleet,
        order: &[&Request],
        now_ms: i64,
        (freed, swaps): (&mut Event, &mut BTreeMap<WorkloadId, Swapped>),
    ) {
        for request in order {
            let Some(swapped) = swaps.get_mut(&request.id).filter(|one| one.lacks()) else {
                continue;
            };
            self.kept.close(fleet, request, &BTreeSet::new());
            *swapped = swap::again(fleet, swapped.clone(), &[], now_ms, freed);
            self.kept.open(fleet);
            self.book.ask(&swapped.request);
            freed.merge(self.renew_spares(fleet, &request.id));
        }
    }
}
