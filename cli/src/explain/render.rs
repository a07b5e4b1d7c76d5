//! The explanation of one workload, as text on one screen.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use placement_api::duration::GoDuration;
use placement_api::kinds::{
    AssignmentPhase, AssignmentStatus, FailoverMode, NodeShare, WorkloadAssignment, WorkloadPhase,
};
use placement_api::reason::Reason;

use super::Facts;
use crate::get::state::{self, Standing};
use crate::lines::Lines;
use crate::output::Paint;
use crate::views::AssignmentView;
use crate::words;

/// Width of the first column.
const WIDTH: usize = 9;
/// So many nodes are named.
const NODES: usize = 8;

/// The whole text.
pub(super) fn render(facts: &Facts, now: Timestamp, paint: Paint) -> String {
    let mut out = Lines::new(&headline(facts, paint), WIDTH);
    asks(facts, &mut out);
    lasts(facts, &mut out);
    queue(facts, &mut out);
    placement(facts, &mut out);
    runs(facts, &mut out, now);
    targets(facts, &mut out);
    starts(facts, &mut out, now);
    faster(facts, &mut out);
    refusals(facts, &mut out, now);
    trouble(facts, &mut out);
    since(facts, &mut out, now);
    out.finish()
}

/// `Job vision/sweep waits: …`.
fn headline(facts: &Facts, paint: Paint) -> String {
    let root = &facts.workload.spec.root;
    let status = facts.workload.status.clone().unwrap_or_default();
    let slash = if root.namespace.is_empty() { "" } else { "/" };
    let name = format!("{} {}{slash}{}", root.kind, root.namespace, root.name);
    let own: Vec<&AssignmentView> = facts.assignments.values().flatten().collect();
    let standing = state::standing(
        &facts.workload,
        facts.may_read.then_some(own.as_slice()),
        &state::lost(&facts.targets),
    );
    let Standing { word, remark } = standing;
    let sentence = match status.state {
        _ if facts.workload.metadata.deletion_timestamp.is_some() => {
            format!("{}: {remark}", paint.yellow("is being deleted"))
        }
        WorkloadPhase::Pending => {
            let why = if remark.is_empty() {
                status.reason.map_or_else(
                    || "the scheduler has not looked at it yet".to_owned(),
                    |r| r.to_string(),
                )
            } else {
                remark
            };
            format!("{}: {why}", paint.yellow("waits"))
        }
        WorkloadPhase::Evicting => {
            let from: Vec<&str> = facts
                .workload
                .spec
                .assignments
                .iter()
                .filter(|a| a.evicting)
                .map(|a| a.target.as_str())
                .collect();
            let why = if remark.is_empty() {
                String::new()
            } else {
                format!(": {remark}")
            };
            format!(
                "{} from {}{why}",
                paint.yellow("is being taken away"),
                from.join(", ")
            )
        }
        WorkloadPhase::Finished => match word {
            "Failed" => format!("{}: {remark}", paint.red("has failed")),
            "Succeeded" => paint.green("has succeeded"),
            _ => "is finished".to_owned(),
        },
        WorkloadPhase::Assigned => {
            let place = place(&facts.workload.spec.assignments);
            let tail = if remark.is_empty() {
                String::new()
            } else {
                format!(": {remark}")
            };
            match word {
                "Running" => format!("{} on {place}{tail}", paint.green("runs")),
                "Assigned" => format!("is assigned to {place}{tail}"),
                "Starting" => format!("{} on {place}{tail}", paint.yellow("is starting")),
                "Succeeded" => format!("{} on {place}{tail}", paint.green("has succeeded")),
                "Lost" => format!("{} on {place}{tail}", paint.red("was last seen")),
                other => format!(
                    "is on {place}, {}{tail}",
                    paint.red(&other.to_ascii_lowercase())
                ),
            }
        }
    };
    format!("{name} {}", full_stop(&sentence))
}

fn full_stop(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// `eu-1 (4) and us-1 (2)`.
fn place(assignments: &[WorkloadAssignment]) -> String {
    let parts: Vec<String> = assignments
        .iter()
        .filter(|a| !a.evicting)
        .map(|a| {
            a.replicas
                .filter(|_| assignments.len() > 1)
                .map_or_else(|| a.target.clone(), |n| format!("{} ({n})", a.target))
        })
        .collect();
    match parts.as_slice() {
        [] => "no target".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

fn asks(facts: &Facts, out: &mut Lines) {
    let spec = &facts.workload.spec;
    let sets: Vec<String> = spec
        .pod_sets
        .iter()
        .map(|set| {
            let least = set.min_count.filter(|min| *min < set.count);
            let least = least
                .map(|min| format!(" (at least {min})"))
                .unwrap_or_default();
            let pods = words::count(set.count, "pod");
            match words::requests(&set.requests).as_str() {
                "" => format!("{pods}{least} without requests"),
                requests => format!("{pods}{least} × {requests}"),
            }
        })
        .collect();
    match sets.as_slice() {
        [] => out.line("asks", &spec.wants),
        [one] if spec.wants.is_empty() => out.line("asks", one),
        [one] => out.line("asks", &format!("{}: {one}", spec.wants)),
        several => {
            out.line("asks", &spec.wants);
            for (set, text) in spec.pod_sets.iter().zip(several) {
                out.line("asks", &format!("{}: {text}", set.name));
            }
        }
    }
}

/// How long it is expected to run, and who says so.
fn lasts(facts: &Facts, out: &mut Lines) {
    let spec = &facts.workload.spec;
    let Some(expected) = &spec.expected_runtime else {
        return;
    };
    let read = GoDuration::parse(expected).ok();
    let seconds = read.and_then(|one| i64::try_from(one.as_secs()).ok());
    let span = seconds.map_or_else(|| expected.clone(), words::span);
    let text = match spec.past_runs {
        Some(runs) => format!("{span} or less, as nine of ten of its {runs} last runs did"),
        None => format!("{span}, as it says"),
    };
    out.line("lasts", &text);
}

fn queue(facts: &Facts, out: &mut Lines) {
    let spec = &facts.workload.spec;
    let text = match &facts.in_line {
        Some(line) => format!("{}: {}priority {}", spec.queue, line.words(), spec.priority),
        None => format!("{}, priority {}", spec.queue, spec.priority),
    };
    out.line("queue", &text);
}

/// When it is promised to start, or may be expected to.
fn starts(facts: &Facts, out: &mut Lines, now: Timestamp) {
    let status = facts.workload.status.as_ref();
    let promised = status.and_then(|status| status.expected_start.as_ref());
    let Some(start) = promised.and_then(|text| text.parse::<Timestamp>().ok()) else {
        if let Some(expected_ms) = facts.expected_ms {
            let about = super::faster::in_about(expected_ms, now);
            let text =
                format!("{about}, if everybody runs as long as was said: an estimate, no promise");
            out.line("starts", &text);
        }
        return;
    };
    let left = start.as_second() - now.as_second();
    let text = if left > 0 {
        format!("in about {}, or earlier: promised", words::span(left))
    } else {
        format!(
            "it was promised a start {} ago; who is in its way has run longer than it said",
            words::span(-left)
        )
    };
    out.line("starts", &text);
}

/// What would let it start earlier.
fn faster(facts: &Facts, out: &mut Lines) {
    let Some(hints) = &facts.hints else { return };
    if hints.is_empty() {
        out.line("faster", "it does not wait for room");
    }
    for hint in hints {
        out.line("faster", &format!("{}: {}", hint.change, hint.starts));
    }
}

fn placement(facts: &Facts, out: &mut Lines) {
    let spec = &facts.workload.spec;
    let others = match spec.also_selected_by.as_slice() {
        [] => String::new(),
        others => format!(
            "; {} would select it too, and lost by precedence, being less specific, or being younger",
            others.join(", ")
        ),
    };
    out.line("placement", &format!("{}{others}", spec.placement));
    let after = spec
        .failover
        .after
        .as_ref()
        .map(|after| format!(" after {after}"))
        .unwrap_or_default();
    let text = match spec.failover.mode {
        Some(FailoverMode::Overlap) => {
            format!("replaced elsewhere{after} when its target is lost (Overlap)")
        }
        Some(FailoverMode::Fenced) => {
            "Fenced; acts as Never for now: there is no fencer yet".to_owned()
        }
        Some(FailoverMode::Never) => "waits for its target when that is lost (Never)".to_owned(),
        None => String::new(),
    };
    out.line("failover", &text);
}

fn runs(facts: &Facts, out: &mut Lines, now: Timestamp) {
    let rows: Vec<[String; 4]> = facts
        .workload
        .spec
        .assignments
        .iter()
        .map(|assignment| {
            let view = facts
                .assignments
                .get(&assignment.target)
                .and_then(Option::as_ref);
            [
                assignment.target.clone(),
                phase(facts, assignment, view),
                pods(view),
                detail(assignment),
            ]
        })
        .collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2), 0];
    let first = widths[0];
    for (row, assignment) in rows.iter().zip(&facts.workload.spec.assignments) {
        let cells = row.iter().zip(widths);
        // A column that is empty everywhere takes no room.
        let cells = cells.filter(|(cell, width)| *width > 0 || !cell.is_empty());
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out.line("runs", cells.join("  ").trim_end());
        let nodes = nodes(&assignment.nodes);
        if !nodes.is_empty() {
            out.line("", &format!("{:first$}  {nodes}", ""));
        }
    }
    let lost: Vec<&str> = facts
        .targets
        .iter()
        .filter(|t| t.status.as_ref().is_some_and(|s| s.state == "Lost"))
        .filter_map(|t| t.metadata.name.as_deref())
        .filter(|name| facts.assignments.contains_key(*name))
        .collect();
    for target in lost {
        let condition = facts
            .targets
            .iter()
            .find(|t| t.metadata.name.as_deref() == Some(target))
            .and_then(|t| t.status.as_ref())
            .and_then(|s| s.conditions.iter().find(|c| c.type_ == "Ready"));
        let for_how_long = condition
            .map(|c| format!(" for {}", words::since(Some(c.last_transition_time.0), now)))
            .unwrap_or_default();
        out.line(
            "runs",
            &format!(
                "{target} has been lost{for_how_long}; what is said of it is what was last seen"
            ),
        );
    }
    if !facts.may_read && !facts.workload.spec.assignments.is_empty() {
        out.line(
            "",
            "(how it does there is for platform owners to see; its own status is in the object)",
        );
    }
}

fn phase(facts: &Facts, assignment: &WorkloadAssignment, view: Option<&AssignmentView>) -> String {
    if assignment.evicting {
        let why = assignment
            .evicted_for
            .map(|r| format!(" ({r})"))
            .unwrap_or_default();
        return format!("being taken away{why}");
    }
    match view {
        Some(view) => format!("{:?}", view.phase()),
        None if facts.may_read => "not written yet".to_owned(),
        None => String::new(),
    }
}

fn pods(view: Option<&AssignmentView>) -> String {
    let Some(pods) = view
        .and_then(|v| v.status.as_ref())
        .and_then(|s| s.pods.as_ref())
    else {
        return String::new();
    };
    let mut text = format!(
        "{} of {} ready",
        pods.ready,
        words::count(pods.total, "pod")
    );
    if pods.pending > 0 {
        let _infallible = write!(text, ", {} not bound", pods.pending);
    }
    if pods.failed > 0 {
        let _infallible = write!(text, ", {} failed", pods.failed);
    }
    text
}

fn detail(assignment: &WorkloadAssignment) -> String {
    let mut parts = Vec::new();
    if let Some(replicas) = assignment.replicas {
        parts.push(words::count(replicas, "replica"));
    }
    if !assignment.domain.is_empty() {
        parts.push(words::domain(&assignment.domain));
    }
    parts.push(format!("epoch {}", assignment.epoch));
    parts.join(" · ")
}

/// `gpu-1 ×4, gpu-2 ×4`.
fn nodes(nodes: &[NodeShare]) -> String {
    let mut parts: Vec<String> = nodes
        .iter()
        .take(NODES)
        .map(|n| {
            if n.pods == 1 {
                n.name.clone()
            } else {
                format!("{} ×{}", n.name, n.pods)
            }
        })
        .collect();
    if nodes.len() > NODES {
        parts.push(format!("… ({} nodes in all)", nodes.len()));
    }
    parts.join(", ")
}

fn targets(facts: &Facts, out: &mut Lines) {
    let Some(status) = &facts.workload.status else {
        return;
    };
    let name_width = status
        .explanation
        .iter()
        .map(|v| v.target.chars().count())
        .max()
        .unwrap_or_default();
    let text_width = status
        .explanation
        .iter()
        .map(|v| v.message.chars().count())
        .max()
        .unwrap_or_default()
        .min(60);
    for verdict in &status.explanation {
        // Of a target that it runs on, the reason adds nothing.
        let reason = if verdict.reason == Reason::Placed {
            String::new()
        } else {
            verdict.reason.to_string()
        };
        out.line(
            "targets",
            format!(
                "{:name_width$}  {:text_width$}  {reason}",
                verdict.target, verdict.message
            )
            .trim_end(),
        );
    }
}

fn refusals(facts: &Facts, out: &mut Lines, now: Timestamp) {
    for refusal in facts.workload.status.iter().flat_map(|s| &s.refusals) {
        let until: Option<Timestamp> = refusal.until.parse().ok();
        let avoided = match until.map(|t| t.as_second() - now.as_second()) {
            Some(left) if left > 0 => format!(", avoided for another {}", words::span(left)),
            _ => String::new(),
        };
        let times = if refusal.count > 1 {
            format!(" ({} times in a row)", refusal.count)
        } else {
            String::new()
        };
        out.line(
            "refused",
            &format!("by {}{times}{avoided}: {}", refusal.target, refusal.message),
        );
    }
}

/// What the members say of objects and pods that fail; of what is on its way, how far it is.
fn trouble(facts: &Facts, out: &mut Lines) {
    for (target, view) in &facts.assignments {
        let Some(status) = view.as_ref().and_then(|v| v.status.as_ref()) else {
            continue;
        };
        if let Some(condition) = status.conditions.iter().find(|c| is_progress(status, c)) {
            out.line("progress", &format!("{target}  {}", condition.message));
        }
        for line in problems(status) {
            out.line("trouble", &format!("{target}  {line}"));
        }
    }
}

/// Not healthy yet is no trouble while it is on its way.
fn is_progress(status: &AssignmentStatus, condition: &Condition) -> bool {
    matches!(
        status.phase,
        AssignmentPhase::Pending | AssignmentPhase::Applied
    ) && condition.type_ == "Healthy"
        && condition.status != "True"
        && !condition.message.is_empty()
}

fn problems(status: &AssignmentStatus) -> Vec<String> {
    let mut lines: Vec<String> = status
        .conditions
        .iter()
        .filter(|c| c.status == "False" && !c.message.is_empty() && !is_progress(status, c))
        .map(|c| format!("{} ({})", c.message, c.reason))
        .collect();
    for manifest in status.manifests.iter().filter(|m| !m.message.is_empty()) {
        // The condition has said it already.
        let known = |c: &Condition| c.message.contains(&manifest.message);
        if !status.conditions.iter().any(known) {
            lines.push(format!("{}: {}", manifest.reference, manifest.message));
        }
    }
    for pod in status.pods.iter().flat_map(|p| &p.failing) {
        let container = match pod.container.as_str() {
            "" => String::new(),
            name => format!(", container {name}"),
        };
        let exit = pod
            .exit_code
            .map(|code| format!(", exit code {code}"))
            .unwrap_or_default();
        let message = match pod.message.trim() {
            "" => String::new(),
            text => format!(": {text}"),
        };
        lines.push(format!(
            "pod {}{container}: {}{exit}{message}",
            pod.name, pod.reason
        ));
    }
    lines
}

fn since(facts: &Facts, out: &mut Lines, now: Timestamp) {
    let since = facts
        .workload
        .status
        .as_ref()
        .map(|s| s.since.clone())
        .unwrap_or_default();
    if !since.is_empty() {
        out.line("since", &format!("{} ago", words::since_text(&since, now)));
    }
}

#[cfg(test)]
mod tests;
