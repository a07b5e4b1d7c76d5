//! Those who stand in one line ([`super::wake`]), in their order.

use std::collections::BTreeSet;

use super::order::{Drift, Pace};
use super::wake::Seat;
use crate::fleet::WorkloadId;

/// Workloads in their order: most stand where they stand, the order of others goes by laxity and changes with time.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    fixed: BTreeSet<(Seat, WorkloadId)>,
    drift: Option<Drift<WorkloadId>>,
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.drift.as_ref().is_none_or(Drift::is_empty)
    }

    /// The first.
    pub(super) fn first(&self) -> Option<&WorkloadId> {
        self.first_but(None)
    }

    /// The first but for one of them.
    pub(super) fn first_but(&self, except: Option<&WorkloadId>) -> Option<&WorkloadId> {
        let mut fixed = self.fixed.iter().map(|(_, id)| id);
        fixed
            .find(|id| Some(*id) != except)
            .or_else(|| self.drift.as_ref()?.first_but(except))
    }

    /// Puts somebody in. `pace`: that of its queue, if the order there goes by laxity.
    pub(super) fn insert(&mut self, seat: Seat, id: &WorkloadId, pace: Option<Pace>) {
        if let (Some(turn), Some((_, times)), Some(pace)) = (seat.turn, seat.drifts, pace) {
            let drift = self.drift.get_or_insert_with(|| Drift::new(pace));
            drift.insert(turn, times, id.clone());
        } else {
            self.fixed.insert((seat, id.clone()));
        }
    }

    /// Takes somebody out.
    pub(super) fn remove(&mut self, seat: Seat, id: &WorkloadId) {
        if !self.fixed.remove(&(seat, id.clone()))
            && let (Some(drift), Some(turn)) = (&mut self.drift, seat.turn)
            && let Some((_, times)) = seat.drifts
        {
            drift.remove(turn, times, id);
        }
    }

    /// Sets the pace of its queue, if the order goes by laxity.
    pub(super) fn set(&mut self, pace: Pace) {
        if let Some(drift) = &mut self.drift {
            drift.set(pace);
        }
    }
}
