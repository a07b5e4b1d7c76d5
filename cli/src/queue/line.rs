//! Who waits in a queue's line, in the order in which they are looked at.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use placement_api::kinds::{Workload, WorkloadPhase};
use placement_api::reason::Reason;
use scheduler::whatif::Standing;
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
    /// When it may be expected to start if everybody runs as long as was said (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_start: Option<String>,
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
                estimated_start: None,
                reason: state.reason,
                message: state.message,
            }
        })
        .collect()
}

/// When a planner expects those to start who wait, by name of the Workload.
pub(super) fn expect(line: &mut [Waiter], planned: &BTreeMap<String, Standing>) {
    for one in line {
        let expected_ms = planned.get(&one.id).and_then(|planned| planned.expected_ms);
        one.estimated_start = expected_ms
            .and_then(|at| Timestamp::from_millisecond(at).ok())
            .map(|at| at.to_string());
    }
}

/// The same line in an order that a planner has found, by name of the Workload. Who has no place comes last.
pub(super) fn reorder(line: &mut [Waiter], planned: &BTreeMap<String, Standing>) {
    for one in line.iter_mut() {
        one.position = planned.get(&one.id).and_then(|planned| planned.position);
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

/// `in 12m`, `due` where the promised time has passed, `about 12m` where nothing is promised.
fn starts(one: &Waiter, now: Timestamp) -> String {
    let left = |at: &Option<String>| -> Option<i64> {
        let at: Timestamp = at.as_ref()?.parse().ok()?;
        Some(at.as_second() - now.as_second())
    };
    match left(&one.expected_start) {
        None => left(&one.estimated_start).map_or_else(
            || "–".to_owned(),
            |left| format!("about {}", words::span(left.max(0))),
        ),
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
        let at = |position, expected_ms| Standing {
            position: Some(position),
            expected_ms,
            ..Standing::default()
        };
        let planned = [
            ("b".to_owned(), at(1, Some(7_200_000))),
            ("a".to_owned(), at(2, None)),
        ]
        .into();
        expect(&mut line, &planned);
        reorder(&mut line, &planned);
        let places: Vec<_> = line
            .iter()
            .map(|one| (one.name.as_str(), one.position))
            .collect();
        assert_eq!(places, [("b", Some(1)), ("a", Some(2)), ("c", None)]);
        let starts = line.iter().map(|one| starts(one, Timestamp::UNIX_EPOCH));
        assert_eq!(starts.collect::<Vec<_>>(), ["about 120m", "–", "–"]);
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
