//! What would be different, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use placement_api::quantity::ResourceList;
use scheduler::whatif::{Difference, Outlook, Standing, View, differences};

use crate::output::Paint;
use crate::table::{Align, Table};
use crate::words;

/// Workloads that are shown one by one.
const SHOWN: usize = 40;
/// Names in a sentence.
const NAMED: usize = 3;

/// A question and its two plans.
pub(super) struct Asked<'a> {
    pub(super) changes: &'a [String],
    pub(super) view: &'a View,
    pub(super) before: &'a Outlook,
    pub(super) after: &'a Outlook,
}

/// The whole answer.
pub(super) fn render(asked: &Asked<'_>, now: Timestamp, paint: Paint) -> String {
    let mut out = format!(
        "{}\n",
        paint.bold(&format!("What if {}", asked.changes.join(" and ")))
    );
    let all = differences(asked.before, asked.after);
    let stands = |one: &&Difference| !one.before.stands_as(&one.after);
    let otherwise: Vec<&Difference> = all.iter().filter(stands).collect();
    let in_line = all.len() - otherwise.len();
    if asked.after.hub_degraded && !asked.before.hub_degraded {
        out.push_str("Most targets would be lost at once: that is taken for a fault of the hub, and nothing moves.\n");
    }
    if otherwise.is_empty() {
        out.push_str("Nothing would start, move or leave.\n");
    } else {
        out.push('\n');
        out.push_str(&table(asked, &otherwise, now).render(paint));
    }
    let queues = queues(asked);
    if !queues.is_empty() {
        out.push('\n');
        out.push_str(&queues);
    }
    out.push('\n');
    if otherwise.len() > SHOWN {
        let more = otherwise.len() - SHOWN;
        let _infallible = writeln!(
            out,
            "{more} more would stand otherwise: -o json has them all."
        );
    }
    if in_line > 0 {
        let _infallible = writeln!(
            out,
            "{} would change place in line and go on waiting.",
            workloads(in_line)
        );
    }
    let same = asked.before.workloads.len() - all.len();
    let rest = if same == 1 {
        "would stay as it is"
    } else {
        "would stay as they are"
    };
    if same > 0 {
        let _infallible = writeln!(out, "{} {rest}.", workloads(same));
    }
    let due = asked.before.workloads.iter().filter(|(id, standing)| {
        let request = asked.view.requests.get(id.as_str());
        request.is_some_and(|one| is_due(one, standing))
    });
    let due = due.count();
    if due > 0 {
        let _infallible = writeln!(
            out,
            "Without any change {} would be placed otherwise than now: the scheduler is at work, or it does not run.",
            workloads(due)
        );
    }
    if otherwise.iter().any(|one| !one.after.leaves.is_empty()) {
        out.push_str("What leaves goes back in line; where it starts next is not planned here.\n");
    }
    out
}

/// `1 workload`, `12 workloads`.
fn workloads(n: usize) -> String {
    words::count(i64::try_from(n).unwrap_or(i64::MAX), "workload")
}

/// Whether a plan of the fleet as it is changes where it runs.
fn is_due(request: &scheduler::plan::Request, standing: &Standing) -> bool {
    let parts = request.current.iter().filter(|part| !part.evicting);
    let has: BTreeMap<String, i64> = parts
        .map(|part| (part.target.to_string(), part.counts.values().sum()))
        .collect();
    has != standing.places
}

fn table(asked: &Asked<'_>, changed: &[&Difference], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        ("NAMESPACE", Align::Left),
        ("WORKLOAD", Align::Left),
        ("QUEUE", Align::Left),
        ("NOW", Align::Left),
        ("THEN", Align::Left),
        ("", Align::Left),
    ]);
    for one in changed.iter().take(SHOWN) {
        let after = &one.after;
        table.row(vec![
            after.namespace.clone(),
            format!("{}/{}", after.kind, after.name),
            after.queue.clone(),
            standing(&one.before, now),
            standing(after, now),
            remark(asked, after),
        ]);
    }
    table
}

/// `eu-1 4 · us-1 2`, or `waits (NoDevice), 2nd in line, starts in 12m`.
pub(super) fn standing(standing: &Standing, now: Timestamp) -> String {
    if !standing.waits() {
        let places: Vec<String> = standing
            .places
            .iter()
            .map(|(target, pods)| format!("{target} {pods}"))
            .collect();
        return places.join(" · ");
    }
    if let Some(exit) = standing.leaves.first() {
        return format!("leaves {} ({})", exit.target, exit.reason);
    }
    let mut text = "waits".to_owned();
    if let Some(reason) = standing.reason {
        let _infallible = write!(text, " ({reason})");
    }
    if let Some(position) = standing.position {
        let _infallible = write!(text, ", {} in line", words::ordinal(position));
    }
    if let Some(start) = standing.starts_ms {
        let left = (start - now.as_millisecond()) / 1000;
        let _infallible = write!(text, ", starts in {}", words::span(left.max(0)));
    } else if let Some(expected) = standing.expected_ms {
        let left = (expected - now.as_millisecond()) / 1000;
        let _infallible = write!(text, ", expected in about {}", words::span(left.max(0)));
    }
    text
}

/// Whose leaving it waits for, what else leaves, what it lacks.
fn remark(asked: &Asked<'_>, standing: &Standing) -> String {
    let mut words = Vec::new();
    if !standing.after.is_empty() {
        let name = |id: &String| {
            let one = asked.after.workloads.get(id);
            one.map_or_else(|| id.clone(), |one| format!("{}/{}", one.kind, one.name))
        };
        let mut names: Vec<String> = standing.after.iter().take(NAMED).map(name).collect();
        let more = standing.after.len().saturating_sub(NAMED);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        words.push(format!("when {} has left", names.join(", ")));
    }
    if standing.waits() {
        let exit = standing.leaves.first();
        words.extend(exit.map(|exit| exit.message.clone()));
    } else {
        for exit in &standing.leaves {
            let verb = if exit.stuck { "should leave" } else { "leaves" };
            words.push(format!("{verb} {} ({})", exit.target, exit.reason));
        }
        let lacks = standing.reason.map(|reason| reason.to_string());
        words.extend(lacks);
    }
    words.join("; ")
}

/// Queues that would be entitled to something else.
fn queues(asked: &Asked<'_>) -> String {
    let mut table = Table::new(&[
        ("QUEUE", Align::Left),
        ("ENTITLED NOW", Align::Left),
        ("THEN", Align::Left),
    ]);
    for (name, after) in &asked.after.queues {
        let before = asked.before.queues.get(name);
        let before = before.map(|one| one.entitled.clone()).unwrap_or_default();
        if before != after.entitled {
            table.row(vec![
                name.clone(),
                amounts(&before),
                amounts(&after.entitled),
            ]);
        }
    }
    if table.is_empty() {
        String::new()
    } else {
        table.render(Paint::plain())
    }
}

fn amounts(list: &ResourceList) -> String {
    match words::gpus(list) {
        words if words.is_empty() => "–".to_owned(),
        words => words,
    }
}

#[cfg(test)]
mod tests {
    use scheduler::scenario;
    use scheduler::whatif::Change;

    use super::*;

    const FLEET: &str = "
queues: [{name: vision}, {name: speech}]
fleet: [{target: east, nodes: [{name: e, capacity: {gpu: 8}}]}]
workloads:
- {name: old, namespace: n, kind: Job, queue: vision, submitted: -2h, pods: [{count: 8, requests: {gpu: 1}}], state: Running, runsOn: [{target: east, node: e-0, count: 8, started: -2h}]}
- {name: next, namespace: n, kind: Job, queue: vision, submitted: -1h, pods: [{count: 2, requests: {gpu: 1}}]}
- {name: last, namespace: n, kind: Job, queue: vision, submitted: -30m, pods: [{count: 9, requests: {gpu: 1}}]}
";

    fn answer(change: &str) -> String {
        let file = scenario::parse("x.yaml", FLEET).expect("a scenario");
        let view = scenario::view(&file);
        let changed = view
            .change(&Change::parse(change).expect("a change"))
            .expect("a view");
        let (before, after) = (view.plan(), changed.plan());
        let asked = Asked {
            changes: &[change.to_owned()],
            view: &view,
            before: &before,
            after: &after,
        };
        render(&asked, Timestamp::UNIX_EPOCH, Paint::plain())
    }

    #[test]
    fn who_starts_and_who_gives_way() {
        let text = answer("workload next priority +1");
        for part in [
            "What if workload next priority +1\n",
            "Job/next",
            "east 2",
            "when Job/old has left",
            "leaves east (PreemptedByPriority)",
            "1 workload would stay as it is.",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn nothing_is_an_answer_too() {
        let text = answer("queue speech weight +1");
        assert!(
            text.contains("Nothing would start, move or leave."),
            "{text}"
        );
        assert!(
            text.contains("3 workloads would stay as they are."),
            "{text}"
        );
    }
}
