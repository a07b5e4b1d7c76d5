//! What an earlier leader has seen and the objects still tell: a new one begins with it.

use serde::{Deserialize, Serialize};

use crate::fleet::{NodeName, TargetName, WorkloadId};
use crate::shares::PastUse;

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Memory {
    /// A workload was moved for another, ms since 1970: it counts in the budget of moves.
    Moved(WorkloadId, i64),
    /// Something went wrong on a target.
    Trouble(TargetName, Trouble),
    /// A queue used this before; the last is the time now, ms since 1970.
    PastUse(String, PastUse, i64),
}

/// Something went wrong on a node, or on a target as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trouble {
    /// Node; absent: the whole target.
    pub node: Option<NodeName>,
    /// Weight at that time: each event adds 1024.
    pub weight: i64,
    /// When it happened last, ms since 1970.
    pub at_ms: i64,
}
