//! The lines of a recording, as they are written.

use std::collections::BTreeMap;

use placement_api::kinds::{CountedAssignment, InventoryNode, InventoryStatus};
use placement_api::reason::Reason;
use placement_api::selector::{LabelSelector, Labels};
use placement_api::toleration::Taint;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::digest::Made;
use crate::fleet::{Rates, TargetName, TargetState, WorkloadId};
use crate::plan::{Avoid, Current, Memory, Policy, Request};
use crate::shares::QueueSpec;

/// The format that this program writes and reads.
pub(super) const FORMAT: u32 = 2;

/// The first line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Version of the format.
    pub format: u32,
    /// Version of Inhaul that wrote it.
    pub version: String,
    /// What was recorded, in words.
    pub of: String,
    /// When it began, ms since 1970.
    pub began_ms: i64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Line {
    Recording(Header),
    Target {
        name: TargetName,
        #[serde(default, skip_serializing_if = "Labels::is_empty")]
        labels: Labels,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        taints: Vec<Taint>,
        state: TargetState,
        contact: i64,
    },
    /// Heartbeats of targets of which nothing else has changed.
    Beats(BTreeMap<TargetName, i64>),
    TargetGone(TargetName),
    Inventory(Inventory),
    ServesAll(TargetName),
    Locations(BTreeMap<String, LabelSelector>),
    Rates(TargetName, Rates),
    LocationRates(BTreeMap<String, Rates>),
    Levels(Vec<String>),
    Memory(Memory),
    Policy(Policy),
    Queues(Vec<QueueSpec>),
    Adopt(Asked),
    Plan {
        now: i64,
        ask: Vec<Asked>,
        made: Made,
    },
    Refused(TargetName, i64),
    Release(WorkloadId, TargetName),
    ReleaseAll(WorkloadId),
    Forget(WorkloadId),
    /// Why nothing follows.
    End(String),
}

/// What one workload asks. What is left out is as in the line before that names it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) id: String,
    /// What is its own and never changes much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) who: Option<Who>,
    /// Number of its shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shape: Option<usize>,
    /// A shape that no line before has; it gets the next number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) new: Option<Box<Request>>,
    /// How it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<Box<Stands>>,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Who(
    pub(super) String,
    pub(super) String,
    pub(super) String,
    pub(super) i64,
);

/// What of a request changes while the workload lives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Stands {
    /// Since it was submitted.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) waits_since: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) current: Vec<Current>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) avoid: BTreeMap<TargetName, Avoid>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) epoch: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runtime: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) suspended: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) finished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blocked: Option<(Reason, String)>,
}

/// What a target reports: the whole, or what differs from the report before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Inventory {
    pub(super) target: TargetName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) whole: Option<Box<InventoryStatus>>,
    /// Fields without the two lists; null: it is there no more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fields: BTreeMap<String, Value>,
    /// New, or other than before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) nodes: Vec<InventoryNode>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) nodes_gone: Vec<String>,
    /// New, or other than before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) counted: Vec<CountedAssignment>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) counted_gone: Vec<String>,
}

impl Inventory {
    pub(super) fn of(target: TargetName) -> Self {
        Self {
            target,
            whole: None,
            fields: BTreeMap::new(),
            nodes: Vec::new(),
            nodes_gone: Vec::new(),
            counted: Vec::new(),
            counted_gone: Vec::new(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A request in its three parts.
pub(super) fn split(request: &Request) -> (Who, Request, Stands) {
    let who = Who(
        request.kind.clone(),
        request.namespace.clone(),
        request.name.clone(),
        request.submitted_ms,
    );
    let stands = Stands {
        waits_since: request.waits_since_ms.wrapping_sub(request.submitted_ms),
        current: request.current.clone(),
        avoid: request.avoid.clone(),
        epoch: request.epoch,
        checkpoint: request.checkpoint_ms,
        runtime: request.runtime_ms,
        suspended: request.suspended,
        finished: request.finished,
        blocked: request.blocked.clone(),
    };
    let nobody = Request::default();
    let shape = Request {
        id: nobody.id,
        kind: nobody.kind,
        namespace: nobody.namespace,
        name: nobody.name,
        submitted_ms: nobody.submitted_ms,
        waits_since_ms: nobody.waits_since_ms,
        current: nobody.current,
        avoid: nobody.avoid,
        epoch: nobody.epoch,
        checkpoint_ms: nobody.checkpoint_ms,
        runtime_ms: nobody.runtime_ms,
        suspended: nobody.suspended,
        finished: nobody.finished,
        blocked: nobody.blocked,
        ..request.clone()
    };
    (who, shape, stands)
}

/// The inverse of [`split`].
pub(super) fn join(id: &str, who: Who, shape: Request, stands: Stands) -> Request {
    let Who(kind, namespace, name, submitted_ms) = who;
    Request {
        id: WorkloadId::from(id),
        kind,
        namespace,
        name,
        submitted_ms,
        waits_since_ms: submitted_ms.wrapping_add(stands.waits_since),
        current: stands.current,
        avoid: stands.avoid,
        epoch: stands.epoch,
        checkpoint_ms: stands.checkpoint,
        runtime_ms: stands.runtime,
        suspended: stands.suspended,
        finished: stands.finished,
        blocked: stands.blocked,
        ..shape
    }
}
