//! What the planner answers: for each workload the parts that it has from now on, what leaves, and why.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{NodeShare, TargetVerdict};
use placement_api::reason::Reason;
use serde::Serialize;

use super::Current;
use crate::fleet::{Event, TargetName, WorkloadId};

/// The decision about one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Workload.
    pub id: WorkloadId,
    /// What there is to do.
    pub outcome: Outcome,
    /// Everything that it has from now on, unchanged parts included, by target; without what leaves at once and what is
    /// already being taken away. Their room is reserved in the fleet.
    pub parts: Vec<Part>,
    /// Parts that go, or should and cannot.
    pub leaving: Vec<Leaving>,
    /// Number of the newest assignment after this decision.
    pub epoch: i64,
    /// Why, for the Workload's status.
    pub explanation: Explanation,
    /// What it lacks: when more of one of these resources becomes free, planning again may help.
    pub lacks: BTreeSet<String>,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Outcome {
    /// Nothing changes; the explanation may be new.
    Keep,
    /// Parts were added, moved, grown, shrunk or leave.
    Place,
    /// It has nothing and waits.
    Wait,
}

/// A workload's share of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Target.
    pub target: TargetName,
    /// Epoch of its Assignment: that of the workload's decision where it is new or has grown, else as it was.
    pub epoch: i64,
    /// What happened to it.
    pub change: Change,
    /// Pods by role; a role without pods here is left out.
    pub counts: BTreeMap<String, i64>,
    /// Label and value of every level of the domain that was decided.
    pub domain: BTreeMap<String, String>,
    /// Nodes, if they are part of the decision; empty means that the member's scheduler chooses.
    pub nodes: Vec<NodeShare>,
    /// The part on another target that it takes the place of. With `Overlap` it starts at once, else only when that one
    /// is seen gone.
    pub replaces: Option<TargetName>,
    /// Who gives way to it: it starts when all of these are seen gone.
    pub after: BTreeSet<(WorkloadId, TargetName)>,
}

impl Part {
    /// What the workload has of it before anything of it is seen.
    pub fn decided(&self) -> Current {
        Current {
            target: self.target.clone(),
            epoch: self.epoch,
            counts: self.counts.clone(),
            nodes: self.nodes.clone(),
            domain: self.domain.clone(),
            evicting: false,
            started: false,
            healthy: false,
            started_ms: None,
        }
    }
}

/// What happened to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Change {
    /// Nothing.
    Kept,
    /// It was not there before.
    New,
    /// More pods: a new epoch, so that its room counts until the member has counted it.
    Grown,
    /// Fewer pods, same epoch.
    Shrunk,
    /// As many pods, some of them on other nodes because theirs were lost: a new epoch, as for more pods.
    Swapped,
}

/// A part that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leaving {
    /// Target.
    pub target: TargetName,
    /// Why it goes.
    pub reason: Reason,
    /// When.
    pub step: Step,
    /// One sentence for people.
    pub message: String,
}

/// When a part goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Step {
    /// Write its tombstone now.
    Now,
    /// When what replaces it is healthy; planning again then says `Now`.
    WhenReplaced,
    /// It should go and has no refuge; it stays (`message` says what is missing).
    Stuck,
}

/// Why.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Explanation {
    /// The first reason; absent where all is placed without trouble.
    pub reason: Option<Reason>,
    /// One sentence for people.
    pub message: String,
    /// Every target that was rejected, and why, and what spoke for the chosen (`Placed`).
    pub verdicts: Vec<TargetVerdict>,
}

/// What a planning cycle found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Most targets were lost at once: nothing moves.
    pub hub_degraded: bool,
    /// Earliest time at which planning one of these workloads again may help although nothing else happens.
    pub next_wake_ms: Option<i64>,
    /// What became free by these decisions and may help others that wait: hand it to [`super::Waiting::wake`].
    pub freed: Event,
    /// The same as `next_wake_ms` per workload.
    pub wake_ms: BTreeMap<WorkloadId, i64>,
    /// Targets where something has failed since the last plan: see [`super::Planner::trouble`]. No part of what was decided.
    #[serde(skip)]
    pub troubled: BTreeSet<TargetName>,
}

impl Report {
    /// Planning a workload again at this time may help, though nothing else happens.
    pub(super) fn wake_at(&mut self, id: &WorkloadId, wake_ms: i64) {
        let own = self.wake_ms.entry(id.clone()).or_insert(wake_ms);
        *own = wake_ms.min(*own);
        self.next_wake_ms = Some(self.next_wake_ms.map_or(wake_ms, |next| next.min(wake_ms)));
    }
}

impl Decision {
    /// Pods that run or will, over all parts and roles.
    pub fn pods(&self) -> i64 {
        self.parts
            .iter()
            .map(|part| part.counts.values().sum::<i64>())
            .sum()
    }
}
