//! The outcome of a scenario for people: what runs where, who waits and why, who was evicted for whom.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use scheduler::scenario::{Outcome, Placed, Round, Scenario, WorkloadSpec};

use crate::output::Paint;
use crate::table::{Align, Table};
use crate::words;

/// Nodes that are named one by one.
const NODES: usize = 6;
/// Targets that are listed for one that waits.
const VERDICTS: usize = 12;

/// The whole text.
pub(super) fn render(scenario: &Scenario, outcome: &Outcome, paint: Paint) -> String {
    let title = if scenario.name.is_empty() {
        &scenario.file
    } else {
        &scenario.name
    };
    let mut text = format!("{}\n", paint.bold(title));
    text.push_str(&fleet(scenario, outcome));
    let rounds = outcome.rounds.len();
    for (index, round) in outcome.rounds.iter().enumerate() {
        if rounds > 1 {
            let _infallible = write!(text, "\nround {} of {rounds}\n", index + 1);
        } else {
            text.push('\n');
        }
        text.push_str(&workloads(scenario, round, paint));
        if index + 1 == rounds {
            text.push_str(&shares(round, paint));
            text.push_str(&verdicts(round));
        }
    }
    text
}

/// `fleet    3 targets · 6 nodes · gpu 75% of 48 used · 4 gpu free where nothing fits`.
fn fleet(scenario: &Scenario, outcome: &Outcome) -> String {
    let nodes: i64 = scenario
        .fleet
        .iter()
        .flat_map(|target| &target.nodes)
        .map(|node| node.count)
        .sum();
    let targets = i64::try_from(scenario.fleet.len()).unwrap_or(i64::MAX);
    let mut parts = vec![words::count(targets, "target"), words::count(nodes, "node")];
    let used = &outcome.metrics.allocated;
    for resource in ["gpu", "cpu", "memory"] {
        // What nobody uses is not worth a word, except for what is dear.
        if let Some(share) = used
            .get(resource)
            .filter(|share| resource == "gpu" || **share > 0.0)
        {
            parts.push(format!("{resource} {:.0}% used", share * 100.0));
        }
    }
    if outcome.metrics.fragmented_gpu > 0.0 {
        let share = outcome.metrics.fragmented_gpu * 100.0;
        parts.push(format!("gpu {share:.0}% free where nothing fits"));
    }
    format!("  {}\n", parts.join(" · "))
}

fn workloads(scenario: &Scenario, round: &Round, paint: Paint) -> String {
    let queues = scenario.workloads.iter().any(|one| one.queue.is_some());
    let mut columns = vec![("WORKLOAD", Align::Left)];
    if queues {
        columns.push(("QUEUE", Align::Left));
    }
    columns.extend([
        ("WANTS", Align::Left),
        ("STATE", Align::Left),
        ("WHERE", Align::Left),
        ("", Align::Left),
    ]);
    let mut table = Table::new(&columns);
    for workload in &scenario.workloads {
        let mut row = vec![workload.name.clone()];
        if queues {
            row.push(workload.queue.clone().unwrap_or_else(|| "–".to_owned()));
        }
        row.push(wants(workload));
        let [state, place, remark] = standing(round, &workload.name);
        row.extend([state, place, remark]);
        table.row(row);
    }
    table.render(paint)
}

fn standing(round: &Round, name: &str) -> [String; 3] {
    if let Some(places) = round.placed.get(name) {
        let moved = round
            .moved
            .get(name)
            .map(|one| format!("left {} ({})", one.from, one.reason));
        let note = round
            .notes
            .get(name)
            .map(|one| format!("{}: {}", one.reason, one.message));
        let remark: Vec<String> = moved.into_iter().chain(note).collect();
        return ["Running".to_owned(), place(places), remark.join("; ")];
    }
    if let Some(one) = round.evicted.get(name) {
        let by = one
            .by
            .as_ref()
            .map_or_else(String::new, |by| format!("for {by}: "));
        let remark = format!("{by}{}: {}", one.reason, one.message);
        return ["Evicted".to_owned(), "–".to_owned(), remark];
    }
    let Some(one) = round.pending.get(name) else {
        return [String::new(), "–".to_owned(), String::new()];
    };
    let start = one
        .expected_start
        .as_ref()
        .map_or_else(String::new, |start| format!("; starts at {start}"));
    let remark = format!("{}: {}{start}", one.reason, one.message);
    ["Pending".to_owned(), "–".to_owned(), remark]
}

/// `east e-a-0 4, e-a-1 2 · west 3`.
pub(super) fn place(places: &[Placed]) -> String {
    let mut targets: BTreeMap<&str, Vec<&Placed>> = BTreeMap::new();
    for place in places {
        targets.entry(&place.target).or_default().push(place);
    }
    let one = |(target, places): (&str, Vec<&Placed>)| {
        let mut nodes: BTreeMap<&str, i64> = BTreeMap::new();
        for place in &places {
            *nodes
                .entry(place.node.as_deref().unwrap_or(""))
                .or_default() += place.count;
        }
        let all: i64 = nodes.values().sum();
        if nodes.contains_key("") {
            return format!("{target} {all}");
        }
        let named: Vec<String> = nodes
            .iter()
            .take(NODES)
            .map(|(node, pods)| format!("{node} {pods}"))
            .collect();
        let more = nodes.len().saturating_sub(NODES);
        let tail = if more > 0 {
            format!(" and {more} more nodes ({all} in all)")
        } else {
            String::new()
        };
        format!("{target} {}{tail}", named.join(", "))
    };
    targets.into_iter().map(one).collect::<Vec<_>>().join(" · ")
}

/// `4 × 2 gpu, one rack`.
fn wants(workload: &WorkloadSpec) -> String {
    let sets: Vec<String> = workload
        .pods
        .iter()
        .map(|set| {
            let each = words::requests(&set.requests.to_list()).replace("nvidia.com/gpu", "gpu");
            if each.is_empty() {
                words::count(set.count, "pod")
            } else {
                format!("{} × {each}", set.count)
            }
        })
        .collect();
    let level = workload
        .topology
        .as_ref()
        .map_or_else(String::new, |(level, mode, _)| {
            let wish = match mode {
                placement_api::kinds::TopologyMode::Required => "",
                placement_api::kinds::TopologyMode::Preferred => " if it can be",
            };
            format!(", one {level}{wish}")
        });
    format!("{}{level}", sets.join(" and "))
}

fn shares(round: &Round, paint: Paint) -> String {
    if round.shares.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("QUEUE", Align::Left),
        ("USES", Align::Left),
        ("ENTITLED", Align::Left),
        ("SHARE", Align::Right),
    ]);
    let amounts = |list: &BTreeMap<String, f64>| {
        let words: Vec<String> = list
            .iter()
            .filter(|(_, amount)| **amount > 0.0)
            .map(|(name, amount)| format!("{name} {amount}"))
            .collect();
        if words.is_empty() {
            "–".to_owned()
        } else {
            words.join(", ")
        }
    };
    for (name, share) in &round.shares {
        let percent = format!("{:.0}%", share.dominant_share * 100.0);
        table.row(vec![
            name.clone(),
            amounts(&share.used),
            amounts(&share.entitled),
            percent,
        ]);
    }
    format!("\n{}", table.render(paint))
}

/// For each that waits, its targets one by one.
fn verdicts(round: &Round) -> String {
    let mut text = String::new();
    for (name, verdicts) in round.verdicts.iter().filter(|(_, list)| list.len() > 1) {
        let _infallible = write!(text, "\n{name} waits\n");
        let width = verdicts
            .iter()
            .map(|one| one.target.chars().count())
            .max()
            .unwrap_or(0);
        for one in verdicts.iter().take(VERDICTS) {
            let _infallible = writeln!(
                text,
                "  {:width$}  {}  {}",
                one.target, one.reason, one.message
            );
        }
        let more = verdicts.len().saturating_sub(VERDICTS);
        if more > 0 {
            let _infallible = writeln!(text, "  and {more} more");
        }
    }
    text
}
