//! Who waits in a queue's line, in the order in which they are looked at.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use placement_api::kinds::{Workload, WorkloadPhase};
use placement_api::reason::Reason;
use serde::Serialize;

use crate::output::Paint;
use crate::table::{Align, Table};
use crate::words;

/// One workload that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Waiter {
    /// Name of the Workload.
    #[serde(skip)]
    id: String,
    /// Place in the line, from 1; absent where it stands in no line: its object is suspended, or something has to be repaired
    /// first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<usize>,
    pub(crate) namespace: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    priority: i32,
    wants: String,
    /// When it was submitted (RFC 3339).
    #[serde(skip_serializing_if = "String::is_empty")]
    submitted: String,
    /// When it is promised to start (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

/// The line of a queue: higher priority first, then who was submitted first. Those without a position come last.
pub(crate) fn of(queue: &str, workloads: &[Workload]) -> Vec<Waiter> {
    let mut waiting: Vec<&Workload> = workloads
        .iter()
        .filter(|one| one.spec.queue == queue)
        .filter(|one| state(one).state == WorkloadPhase::Pending)
        .collect();
    waiting.sort_by_key(|one| {
        (
            !stands(one),
            Reverse(one.spec.priority),
            submitted(one),
            one.metadata.name.clone(),
        )
    });
    let mut position = 0;
    waiting
        .into_iter()
        .map(|one| {
            let stands = stands(one);
            position += usize::from(stands);
            let state = state(one);
            Waiter {
                id: one.metadata.name.clone().unwrap_or_default(),
                position: stands.then_some(position),
                namespace: one.spec.root.namespace.clone(),
                kind: one.spec.root.kind.clone(),
                name: one.spec.root.name.clone(),
                priority: one.spec.priority,
                wants: one.spec.wants.clone(),
                submitted: submitted(one).map(|at| at.to_string()).unwrap_or_default(),
                expected_start: state.expected_start,
                reason: state.reason,
                message: state.message,
            }
        })
        .collect()
}

/// The same line in an order that a planner has found: places by name of the Workload. Who has none comes last.
pub(super) fn reorder(line: &mut [Waiter], places: &BTreeMap<String, usize>) {
    for one in line.iter_mut() {
        one.position = places.get(&one.id).copied();
    }
    line.sort_by_key(|one| one.position.unwrap_or(usize::MAX));
}

fn state(workload: &Workload) -> placement_api::kinds::WorkloadState {
    workload.status.clone().unwrap_or_default()
}

fn submitted(workload: &Workload) -> Option<Timestamp> {
    crate::views::created(&workload.metadata)
}

/// Whether it would start if there were room.
fn stands(workload: &Workload) -> bool {
    !matches!(
        state(workload).reason,
        Some(
            Reason::Suspended
                | Reason::UnknownQueue
                | Reason::QueueNotAllowed
                | Reason::Impossible
                | Reason::NoPlacement
        )
    )
}

/// The line as a table. Wide: with the whole message.
pub(super) fn render(line: &[Waiter], wide: bool, now: Timestamp, paint: Paint) -> String {
    if line.is_empty() {
        return "Nobody waits in its own line.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("#", Align::Right),
        ("NAMESPACE", Align::Left),
        ("WORKLOAD", Align::Left),
        ("PRIORITY", Align::Right),
        ("WANTS", Align::Left),
        ("AGE", Align::Left),
        ("STARTS", Align::Left),
        ("WAITS FOR", Align::Left),
        ("", Align::Left),
    ]);
    for one in line {
        let place = one
            .position
            .map_or_else(|| "–".to_owned(), |place| place.to_string());
        let reason = one.reason.map_or("–", Reason::as_str).to_owned();
        table.row(vec![
            place,
            one.namespace.clone(),
            format!("{}/{}", one.kind, one.name),
            one.priority.to_string(),
            one.wants.clone(),
            words::since_text(&one.submitted, now),
            starts(one, now),
            reason,
            if wide {
                one.message.clone()
            } else {
                String::new()
            },
        ]);
    }
    table.render(paint)
}

/// `in 12m`, `due` where the promised time has passed.
fn starts(one: &Waiter, now: Timestamp) -> String {
    let promised: Option<Timestamp> = one.expected_start.as_ref().and_then(|at| at.parse().ok());
    match promised.map(|at| at.as_second() - now.as_second()) {
        None => "–".to_owned(),
        Some(left) if left > 0 => format!("in {}", words::span(left)),
        Some(_) => "due".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workload(
        name: &str,
        queue: &str,
        priority: i32,
        created: &str,
        state: &str,
        reason: Option<&str>,
    ) -> Workload {
        serde_json::from_value(json!({
            "apiVersion": "inhaul.dev/v1alpha1", "kind": "Workload",
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"root": {"group": "batch", "version": "v1", "kind": "Job", "namespace": "ns", "name": name, "uid": "u"},
                     "placement": "p", "queue": queue, "priority": priority, "wants": "4 gpu"},
            "status": {"state": state, "reason": reason},
        }))
        .expect("a Workload")
    }

    #[test]
    fn a_queue_may_have_an_order_of_its_own() {
        let at = "2026-01-01T00:00:00Z";
        let waits = |name: &str| workload(name, "q", 0, at, "Pending", None);
        let mut line = of("q", &["a", "b", "c"].map(waits));
        reorder(
            &mut line,
            &[("b".to_owned(), 1), ("a".to_owned(), 2)].into(),
        );
        let places: Vec<_> = line
            .iter()
            .map(|one| (one.name.as_str(), one.position))
            .collect();
        assert_eq!(places, [("b", Some(1)), ("a", Some(2)), ("c", None)]);
    }

    #[test]
    fn the_line_goes_by_priority_and_age() {
        let early = "2026-01-01T00:00:00Z";
        let late = "2026-01-01T00:01:00Z";
        let mut promised = workload("first", "q", 100, late, "Pending", None);
        if let Some(status) = &mut promised.status {
            status.expected_start = Some("2026-01-01T00:12:00Z".to_owned());
        }
        let line = of(
            "q",
            &[
                workload(
                    "late",
                    "q",
                    0,
                    late,
                    "Pending",
                    Some("InsufficientCapacity"),
                ),
                workload("early", "q", 0, early, "Pending", Some("QueueLimit")),
                promised,
                workload("sleeps", "q", 200, early, "Pending", Some("Suspended")),
                workload("runs", "q", 0, early, "Assigned", None),
                workload("elsewhere", "r", 0, early, "Pending", None),
            ],
        );
        let places: Vec<_> = line
            .iter()
            .map(|one| (one.name.as_str(), one.position))
            .collect();
        assert_eq!(
            places,
            [
                ("first", Some(1)),
                ("early", Some(2)),
                ("late", Some(3)),
                ("sleeps", None)
            ]
        );
        let now: Timestamp = "2026-01-01T00:02:00Z".parse().expect("a time");
        let text = render(&line, false, now, Paint::plain());
        assert!(
            text.lines()
                .nth(1)
                .is_some_and(|line| line.contains("in 10m")),
            "{text}"
        );
        assert!(
            text.lines()
                .nth(2)
                .is_some_and(|line| line.starts_with("2  ns") && line.ends_with("QueueLimit")),
            "{text}"
        );
        assert_eq!(
            render(&[], false, now, Paint::plain()),
            "Nobody waits in its own line.\n"
        );
    }
}
