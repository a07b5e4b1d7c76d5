//! What came out, in the shape that `-o json` prints.

use std::collections::BTreeMap;

use placement_api::kinds::TargetVerdict;
use placement_api::reason::Reason;
use serde::Serialize;

/// All rounds, and figures over all of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Round by round.
    pub rounds: Vec<Round>,
    /// Figures.
    pub metrics: Metrics,
}

/// One round. Every workload is in exactly one of `placed`, `evicted`, `pending`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// All that runs after the round.
    pub placed: BTreeMap<String, Vec<Placed>>,
    /// Who ran before and runs nowhere now.
    pub evicted: BTreeMap<String, Evicted>,
    /// Who waits.
    pub pending: BTreeMap<String, Pending>,
    /// Queues.
    pub shares: BTreeMap<String, QueueShare>,
    /// Who runs elsewhere than before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<String, Moved>,
    /// What those that run still lack, or what is wrong where they run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, Pending>,
    /// Targets one by one, for those that wait.
    #[serde(skip)]
    pub verdicts: BTreeMap<String, Vec<TargetVerdict>>,
}

/// Pods of one role on one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Placed {
    /// Target.
    pub target: String,
    /// Node; absent where nobody can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Role.
    pub pods: String,
    /// How many.
    pub count: i64,
}

/// Why somebody was evicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evicted {
    /// For whom; absent: for nobody.
    pub by: Option<String>,
    /// Why.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

/// Why somebody was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Target that it left.
    pub from: String,
    /// Why.
    pub reason: Reason,
}

/// Why somebody waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The first reason.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
    /// Place in its queue, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<usize>,
    /// When it starts, from the start of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_start: Option<String>,
}

/// How a queue stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueShare {
    /// What it may use now.
    pub entitled: BTreeMap<String, f64>,
    /// What it uses.
    pub used: BTreeMap<String, f64>,
    /// Largest share of the fleet that it uses, of any resource.
    pub dominant_share: f64,
}

/// Figures over all rounds; shares are those after the last.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Used part of what the fleet has, by resource.
    pub allocated: BTreeMap<String, f64>,
    /// Part of the GPUs that is free where none of the pods of this file fits.
    pub fragmented_gpu: f64,
    /// Cycles that were planned.
    pub cycles: usize,
    /// Time per decision.
    pub decision_micros: u64,
}
