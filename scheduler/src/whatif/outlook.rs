//! What one plan of a view comes to, workload by workload, and how two of them differ.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::quantity::ResourceList;
use placement_api::reason::Reason;
use placement_api::resources::PODS;
use serde::Serialize;

use super::view::View;
use crate::fleet::WorkloadId;
use crate::plan::{Decision, Request, Step};
use crate::record::Core;

/// What a plan would come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// By id.
    pub workloads: BTreeMap<String, Standing>,
    /// By name.
    pub queues: BTreeMap<String, QueueOutlook>,
    /// Most targets are lost at once: nothing would move.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hub_degraded: bool,
}

/// How a workload would stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Kind of the user's object.
    pub kind: String,
    /// Its namespace; empty for objects outside namespaces.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Queue.
    pub queue: String,
    /// Priority.
    pub priority: i32,
    /// Pods by target: what runs and what would start.
    pub places: BTreeMap<String, i64>,
    /// What would leave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<Exit>,
    /// Whose leaving it would wait for, by id.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<String>,
    /// Why it would wait, or what it would lack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Place in the line of its queue, from 1; absent where it does not wait in line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// When it would be promised to start, ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_ms: Option<i64>,
    /// When it may be expected to start if everybody runs as long as was said and nothing else arrives, ms since 1970; absent where that
    /// cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<i64>,
}

/// A part that would leave a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Target.
    pub target: String,
    /// Why.
    pub reason: Reason,
    /// The same in a sentence.
    pub message: String,
    /// It should go and has no refuge: it stays.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stuck: bool,
}

/// How a queue would stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueOutlook {
    /// What it would be entitled to.
    pub entitled: ResourceList,
    /// What it would use.
    pub used: ResourceList,
}

/// A workload that would stand otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Id.
    pub id: String,
    /// Without the change.
    pub before: Standing,
    /// With it.
    pub after: Standing,
}

/// Who would stand otherwise: in where it runs, what leaves, why it waits, when it starts or its place in line.
pub fn differences(before: &Outlook, after: &Outlook) -> Vec<Difference> {
    before
        .workloads
        .iter()
        .filter_map(|(id, was)| {
            let is = after.workloads.get(id)?;
            let same = was.stands_as(is) && was.position == is.position;
            (!same).then(|| Difference {
                id: id.clone(),
                before: was.clone(),
                after: is.clone(),
            })
        })
        .collect()
}

impl Standing {
    /// Whether it runs, leaves and waits as the other does, wherever it stands in line.
    pub fn stands_as(&self, other: &Self) -> bool {
        let leaves = |one: &Self| -> Vec<(String, Reason, bool)> {
            let exits = one.leaves.iter();
            exits
                .map(|exit| (exit.target.clone(), exit.reason, exit.stuck))
                .collect()
        };
        self.places == other.places
            && self.after == other.after
            && self.reason == other.reason
            && self.starts_ms == other.starts_ms
            && self.expected_ms == other.expected_ms
            && leaves(self) == leaves(other)
    }

    /// Whether nothing of it runs or would start.
    pub fn waits(&self) -> bool {
        self.places.is_empty()
    }
}

impl Outlook {
    pub(super) fn of(view: &View, core: &Core, decisions: &BTreeMap<WorkloadId, Decision>) -> Self {
        let shares = core.planner().shares();
        let shown = |named: &crate::shares::Named| {
            let mut list = named.to_list();
            // Every pod has one; nobody thinks of them as a share.
            list.remove(PODS);
            list
        };
        let queues = view.queues.iter().filter_map(|spec| {
            let standings = shares.standings(shares.tree().known(&spec.name)?);
            let outlook = QueueOutlook {
                entitled: shown(&standings.entitled),
                used: shown(&standings.used),
            };
            Some((spec.name.clone(), outlook))
        });
        let mut outlook = Self {
            workloads: BTreeMap::new(),
            queues: queues.collect(),
            hub_degraded: core.fleet().hub_degraded(),
        };
        let mut lines: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
        for (id, request) in &view.requests {
            let Some(decision) = decisions.get(id) else {
                continue;
            };
            let standing = Standing::of(request, decision, core.planner().promised_ms(id));
            if standing.waits() && stands_in_line(standing.reason) {
                lines.entry(&request.queue).or_default().push(request);
            }
            outlook.workloads.insert(id.to_string(), standing);
        }
        for line in lines.into_values() {
            for (index, request) in core.planner().line(line).into_iter().enumerate() {
                if let Some(standing) = outlook.workloads.get_mut(request.id.as_str()) {
                    standing.position = Some(index + 1);
                }
            }
        }
        outlook
    }
}

impl Standing {
    fn of(request: &Request, decision: &Decision, promised_ms: Option<i64>) -> Self {
        let leaving = decision.leaving.iter();
        let going = |part: &&crate::plan::Part| {
            let mut leaving = decision.leaving.iter();
            !leaving.any(|one| one.target == part.target && one.step == Step::Now)
        };
        let parts: Vec<&crate::plan::Part> = decision.parts.iter().filter(going).collect();
        let waits = parts.is_empty();
        Self {
            kind: request.kind.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            queue: request.queue.clone(),
            priority: request.priority,
            places: parts
                .iter()
                .map(|part| (part.target.to_string(), part.counts.values().sum()))
                .collect(),
            leaves: leaving
                .map(|one| Exit {
                    target: one.target.to_string(),
                    reason: one.reason,
                    message: one.message.clone(),
                    stuck: one.step == Step::Stuck,
                })
                .collect(),
            after: parts
                .iter()
                .flat_map(|part| &part.after)
                .map(|(id, _)| id.to_string())
                .collect(),
            reason: decision.explanation.reason,
            message: decision.explanation.message.clone(),
            position: None,
            starts_ms: promised_ms.filter(|_| waits),
            expected_ms: None,
        }
    }
}

/// Whether it would start if there were room.
fn stands_in_line(reason: Option<Reason>) -> bool {
    !matches!(
        reason,
        Some(
            Reason::Suspended
                | Reason::UnknownQueue
                | Reason::QueueNotAllowed
                | Reason::Impossible
                | Reason::NoPlacement
        )
    )
}
