//! Who waits in a queue's line, in the order in which they are looked at.

use std::cmp::Reverse;

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
pub(super) struct Waiter {
    /// Place in the line, from 1; absent where it stands in no line: its object is suspended, or something has to be repaired
    /// first.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    namespace: String,
    kind: String,
    name: String,
    priority: i32,
    wants: String,
    /// When it was submitted (RFC 3339).
    #[serde(skip_serializing_if = "String::is_empty")]
    submitted: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

/// The line of a queue: higher priority first, then who was submitted first. Those without a position come last.
pub(super) fn of(queue: &str, workloads: &[Workload]) -> Vec<Waiter> {
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
                position: stands.then_some(position),
                namespace: one.spec.root.namespace.clone(),
                kind: one.spec.root.kind.clone(),
                name: one.spec.root.name.clone(),
                priority: one.spec.priority,
                wants: one.spec.wants.clone(),
                submitted: submitted(one).map(|at| at.to_string()).unwrap_or_default(),
                reason: state.reason,
                message: state.message,
            }
        })
        .collect()
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
    fn the_line_goes_by_priority_and_age() {
        let early = "2026-01-01T00:00:00Z";
        let late = "2026-01-01T00:01:00Z";
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
                workload("first", "q", 100, late, "Pending", None),
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
