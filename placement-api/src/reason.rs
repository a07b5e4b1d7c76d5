//! Why a workload waits, why a target was rejected, why something was evicted: one enum for
//! conditions, events, metrics, `explain` and scenarios.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A reason. The order is "nearest to starting first": of several, the smallest is shown first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Reason {
    /// Placed.
    Placed,
    /// An older workload holds a promise on the room.
    ReservedForOlder,
    /// The room that is there does not hold it.
    InsufficientCapacity,
    /// There is room, but no single domain of the required level holds the gang.
    TopologyTooSmall,
    /// The queue has used what it is entitled to.
    ShareExhausted,
    /// A limit of the queue or of one above it.
    QueueLimit,
    /// The target refused it, with a message of its own; avoided for a while.
    RefusedByTarget,
    /// The spread that the Placement demands cannot be met.
    SpreadImpossible,
    /// The target is cordoned.
    TargetCordoned,
    /// The target has not renewed its lease.
    TargetLost,
    /// A taint that the workload does not tolerate.
    TaintNotTolerated,
    /// No node has the labels that the pods ask for.
    SelectorMismatch,
    /// No node has a device that the pods ask for.
    NoDevice,
    /// The target's API server does not serve the kind.
    KindNotServed,
    /// No Ready target in the locations of the Placement.
    NoLocation,
    /// It waits until the lost target comes back or is confirmed dead.
    FailoverNever,
    /// It moves when `after` has passed since the last renewal.
    FencePending,
    /// Its object says that it is suspended.
    Suspended,
    /// Its submission time has not come (simulation).
    NotYetSubmitted,
    /// It was evicted and waits again.
    Evicted,
    /// The queue that it names does not exist.
    UnknownQueue,
    /// Its namespace may not use the queue that it names.
    QueueNotAllowed,
    /// No node of the fleet, empty, could hold it; or its object cannot be read.
    Impossible,
    /// No Placement selects it any more; what runs stays.
    NoPlacement,
    /// Most targets were lost at once: the fault is the hub's and nothing moves.
    HubDegraded,
    /// Evicted for a workload of the same queue with higher priority.
    PreemptedByPriority,
    /// Evicted for a queue below its entitlement.
    ReclaimedByEntitledQueue,
    /// Evicted for a smaller workload of the same queue.
    ReplacedInTimeSlice,
    /// Ran past its estimate when a promise fell due.
    OverranEstimate,
    /// A NoExecute taint.
    TargetTainted,
    /// Its target is being drained.
    Drained,
    /// Moved by the defragmentation pass.
    Defragmented,
}

impl Reason {
    /// The word as it stands in conditions and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "Placed",
            Self::ReservedForOlder => "ReservedForOlder",
            Self::InsufficientCapacity => "InsufficientCapacity",
            Self::TopologyTooSmall => "TopologyTooSmall",
            Self::ShareExhausted => "ShareExhausted",
            Self::QueueLimit => "QueueLimit",
            Self::RefusedByTarget => "RefusedByTarget",
            Self::SpreadImpossible => "SpreadImpossible",
            Self::TargetCordoned => "TargetCordoned",
            Self::TargetLost => "TargetLost",
            Self::TaintNotTolerated => "TaintNotTolerated",
            Self::SelectorMismatch => "SelectorMismatch",
            Self::NoDevice => "NoDevice",
            Self::KindNotServed => "KindNotServed",
            Self::NoLocation => "NoLocation",
            Self::FailoverNever => "FailoverNever",
            Self::FencePending => "FencePending",
            Self::Suspended => "Suspended",
            Self::NotYetSubmitted => "NotYetSubmitted",
            Self::Evicted => "Evicted",
            Self::UnknownQueue => "UnknownQueue",
            Self::QueueNotAllowed => "QueueNotAllowed",
            Self::Impossible => "Impossible",
            Self::NoPlacement => "NoPlacement",
            Self::HubDegraded => "HubDegraded",
            Self::PreemptedByPriority => "PreemptedByPriority",
            Self::ReclaimedByEntitledQueue => "ReclaimedByEntitledQueue",
            Self::ReplacedInTimeSlice => "ReplacedInTimeSlice",
            Self::OverranEstimate => "OverranEstimate",
            Self::TargetTainted => "TargetTainted",
            Self::Drained => "Drained",
            Self::Defragmented => "Defragmented",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
