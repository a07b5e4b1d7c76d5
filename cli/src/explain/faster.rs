//! What would let a workload that waits start earlier: a few changes that people can make, each tried on the fleet as it is.

use std::collections::BTreeSet;

use jiff::Timestamp;
use placement_api::kinds::TopologyMode;
use placement_api::quantity::{Quantity, ResourceVector};
use scheduler::fleet::{TargetState, WorkloadId, is_extended};
use scheduler::plan::Request;
use scheduler::whatif::{Bound, By, Change, Standing, View};
use serde::Serialize;

use crate::words;

/// Products and targets that are tried.
const TRIED: usize = 3;

/// One change and what it would do for the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hint {
    /// The change, in words.
    pub(super) change: String,
    /// When it would start.
    pub(super) starts: String,
    /// Whether that is earlier than as it is.
    pub(super) helps: bool,
}

/// Everything that may help, tried; `was` is how the workload stands without. Empty where it is not planned, or does not wait. `promised_ms` is what
/// the scheduler has promised already; a planner that begins now may promise it to another.
pub(super) fn hints(
    view: &View,
    id: &str,
    was: &Standing,
    promised_ms: Option<i64>,
    now: Timestamp,
) -> Vec<Hint> {
    let Some(request) = view.requests.get(&WorkloadId::from(id)) else {
        return Vec::new();
    };
    if !was.waits() {
        return Vec::new();
    }
    let was = Standing {
        starts_ms: earlier(was.starts_ms.or(was.expected_ms), promised_ms),
        ..was.clone()
    };
    changes(view, request)
        .into_iter()
        .filter_map(|(words, change)| {
            let after = view.change(&change).ok()?.plan();
            let (starts, helps) = starts(&was, after.workloads.get(id)?, now);
            Some(Hint {
                change: words,
                starts,
                helps,
            })
        })
        .collect()
}

fn changes(view: &View, request: &Request) -> Vec<(String, Change)> {
    let workload = request.id.to_string();
    let mut list = Vec::new();
    let required = request.topology.as_ref();
    if required.is_some_and(|asked| asked.mode == TopologyMode::Required) {
        let mode = Some(TopologyMode::Preferred);
        let workload = workload.clone();
        list.push((
            "topology Preferred".to_owned(),
            Change::Topology { workload, mode },
        ));
    }
    for product in other_products(view, request) {
        let workload = workload.clone();
        list.push((
            format!("product {product}"),
            Change::Product { workload, product },
        ));
    }
    let rivals = view.requests.values();
    let rivals = rivals.filter(|one| one.queue == request.queue && one.id != request.id);
    let most = rivals.map(|one| i64::from(one.priority)).max().unwrap_or(0);
    let more = (most - i64::from(request.priority)).max(0) + 1;
    list.push((
        format!("priority +{more}"),
        Change::Priority {
            workload,
            by: By::More(Quantity::from_units(more)),
        },
    ));
    if let Some(spec) = view.queues.iter().find(|one| one.name == request.queue) {
        for (resource, amount) in dearest(request) {
            let shown = words::gpus(&[(resource.clone(), amount)].into());
            let change = |bound| Change::Amount {
                queue: spec.name.clone(),
                bound,
                resource: resource.clone(),
                by: By::More(amount),
            };
            list.push((
                format!("{shown} more guaranteed for queue {}", spec.name),
                change(Bound::Guaranteed),
            ));
            if spec.limit.contains_key(&resource) {
                list.push((
                    format!("{shown} more as limit of queue {}", spec.name),
                    change(Bound::Limit),
                ));
            }
        }
    }
    let targets = view.core.fleet().targets();
    let ready = targets.filter(|(_, target)| target.state == TargetState::Ready);
    for (name, _) in ready.take(TRIED) {
        list.push((
            format!("another target like {name}"),
            Change::Add {
                target: format!("{name}-as-well"),
                like: name.to_string(),
            },
        ));
    }
    list
}

/// What the fleet has beside what its pods select.
fn other_products(view: &View, request: &Request) -> Vec<String> {
    let asks = request.pod_sets.iter();
    let asked: BTreeSet<&String> = asks
        .flat_map(|set| set.node_selector.iter())
        .filter(|(label, _)| label.ends_with("product"))
        .map(|(_, product)| product)
        .collect();
    if asked.is_empty() {
        // Any product will do already.
        return Vec::new();
    }
    let nodes = view.core.fleet().targets().flat_map(|(_, one)| one.nodes());
    let known: BTreeSet<String> = nodes
        .filter_map(|node| node.product().map(str::to_owned))
        .filter(|product| !asked.contains(product))
        .collect();
    known.into_iter().take(TRIED).collect()
}

/// What it asks in all: accelerators, or CPUs where it asks for none.
fn dearest(request: &Request) -> Vec<(String, Quantity)> {
    let mut sum = ResourceVector::new();
    for set in &request.pod_sets {
        for (name, amount) in set.requests.iter() {
            let pods = set.count.saturating_mul(amount);
            sum.set(name, sum.get(name).saturating_add(pods));
        }
    }
    let list = sum.to_list();
    let (devices, rest): (Vec<_>, Vec<_>) = list
        .into_iter()
        .filter(|(_, amount)| !amount.is_zero())
        .partition(|(name, _)| is_extended(name));
    if devices.is_empty() {
        rest.into_iter().filter(|(name, _)| name == "cpu").collect()
    } else {
        devices
    }
}

/// When it would start, and whether that is earlier.
fn starts(was: &Standing, is: &Standing, now: Timestamp) -> (String, bool) {
    if !is.waits() {
        let places: Vec<&str> = is.places.keys().map(String::as_str).collect();
        let place = places.join(" and ");
        let gone = is.after.len();
        if gone == 0 {
            return (format!("now, on {place}"), true);
        }
        let others = words::count(i64::try_from(gone).unwrap_or(i64::MAX), "workload");
        return (format!("on {place}, when {others} gave way"), true);
    }
    match (was.starts_ms, is.starts_ms.or(is.expected_ms)) {
        (None, Some(start)) => (in_about(start, now), true),
        (Some(old), Some(new)) if new < old => (in_about(new, now), true),
        _ if was.reason == is.reason => ("no change".to_owned(), false),
        _ => {
            let reason = is
                .reason
                .map_or_else(String::new, |one| format!(" ({one})"));
            (format!("it waits{reason}"), false)
        }
    }
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

/// `in about 12m`.
pub(super) fn in_about(start_ms: i64, now: Timestamp) -> String {
    let left = (start_ms - now.as_millisecond()) / 1000;
    format!("in about {}", words::span(left.max(0)))
}

#[cfg(test)]
mod tests {
    use scheduler::scenario;

    use super::*;

    const FLEET: &str = "
config: {levels: [rack]}
queues: [{name: vision, limit: {gpu: 12}}]
fleet:
- target: east
  nodes:
  - {name: a, labels: {rack: r1, product: H100}, capacity: {gpu: 4}}
  - {name: b, labels: {rack: r2, product: H100}, capacity: {gpu: 4}}
  - {name: c, labels: {rack: r3, product: A100}, capacity: {gpu: 8}}
workloads:
- {name: old, queue: vision, submitted: -2h, pods: [{count: 2, requests: {gpu: 1}, selector: {product: H100}}],
   state: Running, runsOn: [{target: east, node: a-0, count: 2, started: -2h}]}
- {name: sweep, queue: vision, submitted: -1h, pods: [{count: 6, requests: {gpu: 1}, selector: {product: H100}}], topology: {level: rack}}
";

    #[test]
    fn what_helps_is_told_from_what_does_not() {
        let file = scenario::parse("x.yaml", FLEET).expect("a scenario");
        let view = scenario::view(&file);
        let outlook = view.plan();
        let tried = |id: &str| {
            let was = outlook.workloads.get(id).expect(id);
            hints(&view, id, was, None, Timestamp::UNIX_EPOCH)
        };
        let hints = tried("sweep");
        let told = |change: &str| {
            let found = hints.iter().find(|one| one.change == change);
            let found = found.unwrap_or_else(|| panic!("no {change:?} in {hints:?}"));
            (found.starts.as_str(), found.helps)
        };
        assert_eq!(told("topology Preferred"), ("now, on east", true));
        assert_eq!(told("product A100"), ("now, on east", true));
        assert_eq!(told("priority +1"), ("no change", false));
        assert_eq!(
            told("6 gpu more guaranteed for queue vision"),
            ("no change", false)
        );
        assert_eq!(
            told("6 gpu more as limit of queue vision"),
            ("no change", false)
        );
        // A rack is still too small.
        assert_eq!(told("another target like east"), ("no change", false));
        assert!(tried("old").is_empty());
    }
}
