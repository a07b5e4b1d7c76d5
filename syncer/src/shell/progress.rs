//! How the work on one assignment goes, in this process.

use std::time::Duration;

use placement_api::kinds::NodeShare;

use crate::decide::backoff::{Trouble, wait};
use crate::decide::inventory::Expected;
use crate::decide::status::Failure;

/// So many failures in a row are told to the hub; fewer pass by themselves.
const TOLD_FROM: u32 = 3;

/// Memory of one assignment. Times are milliseconds of the engine's clock.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read by itself"
)]
pub struct Progress {
    /// Failures in a row.
    tries: u32,
    /// No try before this.
    pub not_before: u64,
    /// The last failure.
    failure: Option<(Failure, Trouble)>,
    /// Generation of the order that failed.
    generation: i64,
    /// Since when pods are missing or have no node.
    pub stuck_since: Option<u64>,
    /// A look for why pods are missing is under way.
    pub probing: bool,
    /// What it found.
    pub probed: Option<String>,
    /// Epoch in which the root was healthy once.
    pub healthy_epoch: Option<i64>,
    /// Since when there is something to report.
    pub news_since: Option<u64>,
    /// A report is under way.
    pub reporting: bool,
    /// When the last report was written.
    pub reported: Option<u64>,
    /// Reports that failed in a row.
    report_tries: u32,
    /// No report before this.
    pub report_not_before: u64,
    /// Since when it is being removed.
    pub removing_since: Option<u64>,
    /// Pods are being released.
    pub releasing: bool,
    /// Pods are being marked that go first.
    pub marking: bool,
    /// Generation of the order before which pods were marked; that it failed does not hold up the order.
    pub marked: i64,
    /// Pods that it had when it was healthy once.
    pub healthy_pods: Option<i64>,
    /// Pods stay gated because their node takes nothing now.
    pub held: bool,
    /// What the Inventory has to know of it.
    pub counts: Option<Counts>,
    /// What people should know of it.
    pub problem: Option<String>,
}

impl Progress {
    /// A try has failed, or met a world that was not as thought.
    pub fn failed(
        &mut self,
        failure: Option<(Failure, Trouble)>,
        generation: i64,
        now: u64,
        spread: f64,
    ) {
        let trouble = failure
            .as_ref()
            .map_or(Trouble::Transient, |(_, trouble)| *trouble);
        self.not_before = now + millis(wait(trouble, self.tries, spread));
        self.tries = self.tries.saturating_add(1);
        self.generation = generation;
        if failure.is_some() {
            self.failure = failure;
        }
    }

    /// A try went well, or there is nothing to try.
    pub fn went_well(&mut self) {
        self.tries = 0;
        self.not_before = 0;
        self.failure = None;
    }

    /// A new order is tried at once.
    pub fn see_generation(&mut self, generation: i64) {
        if generation != self.generation {
            self.generation = generation;
            self.removing_since = None;
            self.went_well();
        }
    }

    /// The failure that the hub should know of.
    pub fn told(&self) -> Option<&Failure> {
        let (failure, trouble) = self.failure.as_ref()?;
        (*trouble == Trouble::Refused || self.tries >= TOLD_FROM).then_some(failure)
    }

    /// Whether a failure waits for its next try.
    pub fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// A report did not reach the hub.
    pub fn report_failed(&mut self, now: u64, spread: f64) {
        self.report_not_before = now + millis(wait(Trouble::Transient, self.report_tries, spread));
        self.report_tries = self.report_tries.saturating_add(1);
    }

    /// A report has reached the hub.
    pub fn report_went_well(&mut self, now: u64) {
        self.reported = Some(now);
        self.report_tries = 0;
        self.report_not_before = 0;
    }

    /// For the Inventory.
    pub fn expected(&self) -> Option<Expected<'_>> {
        let counts = self.counts.as_ref()?;
        Some(Expected {
            epoch: counts.epoch,
            pods: counts.pods,
            finished: counts.finished,
            healthy: counts.healthy,
            nodes: &counts.nodes,
        })
    }
}

/// What the Inventory has to know of an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Epoch of the order.
    pub epoch: i64,
    /// Pods that its templates make; `None`: its kind has none.
    pub pods: Option<i64>,
    /// The root has ended.
    pub finished: bool,
    /// The root says that it is healthy.
    pub healthy: bool,
    /// Nodes that the order names.
    pub nodes: Vec<NodeShare>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(trouble: Trouble) -> (Failure, Trouble) {
        (
            Failure {
                id: None,
                reason: "R".into(),
                message: "m".into(),
                refused: trouble == Trouble::Refused,
            },
            trouble,
        )
    }

    #[test]
    fn passing_trouble_is_not_told_and_a_new_order_starts_over() {
        let mut progress = Progress::default();
        progress.failed(Some(failure(Trouble::Transient)), 1, 1_000, 1.0);
        assert_eq!((progress.not_before, progress.told()), (1_200, None));
        progress.failed(Some(failure(Trouble::Transient)), 1, 2_000, 1.0);
        progress.failed(Some(failure(Trouble::Transient)), 1, 3_000, 1.0);
        assert!(progress.told().is_some());
        progress.see_generation(1);
        assert!(progress.is_failing());
        progress.see_generation(2);
        assert!(!progress.is_failing() && progress.not_before == 0);
        progress.failed(Some(failure(Trouble::Refused)), 2, 0, 1.0);
        assert!(progress.told().is_some_and(|f| f.refused));
        progress.went_well();
        progress.failed(None, 2, 0, 1.0);
        assert!(!progress.is_failing() && progress.not_before > 0);
    }
}
