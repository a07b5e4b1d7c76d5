//! The tree of queues as a table, and one queue in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use placement_api::kinds::{Queue, QueueStatus};
use placement_api::quantity::{Quantity, ResourceList};
use serde_json::{Value, json};

use super::name_of;
use crate::table::{Align, Table};
use crate::words;

/// Queues with their depth, children below their parent, siblings by name. What has no way to the root stands at the end.
pub(super) fn rows(queues: &[Queue]) -> Vec<(usize, &Queue)> {
    let names: BTreeSet<String> = queues.iter().map(name_of).collect();
    let mut below: BTreeMap<&str, Vec<&Queue>> = BTreeMap::new();
    for queue in queues {
        let parent = queue.spec.parent.as_deref().unwrap_or_default();
        let parent = if names.contains(parent) { parent } else { "" };
        below.entry(parent).or_default().push(queue);
    }
    for children in below.values_mut() {
        children.sort_by_key(|queue| name_of(queue));
    }
    let mut rows: Vec<(usize, &Queue)> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<(usize, &Queue)> = Vec::new();
    open.extend(
        below
            .get("")
            .into_iter()
            .flatten()
            .rev()
            .map(|queue| (0, *queue)),
    );
    let mut rest = queues.iter();
    loop {
        let Some((depth, queue)) = open.pop() else {
            // Queues that are parents of each other in a circle.
            match rest.find(|queue| !seen.contains(&name_of(queue))) {
                Some(queue) => open.push((0, queue)),
                None => return rows,
            }
            continue;
        };
        let name = name_of(queue);
        if !seen.insert(name.clone()) {
            continue;
        }
        rows.push((depth, queue));
        let children = below.get(name.as_str()).into_iter().flatten().rev();
        open.extend(children.map(|child| (depth + 1, *child)));
    }
}

/// The tree as a table. Wide: all resources, else devices alone where there are any.
pub(super) fn table(rows: &[(usize, &Queue)], wide: bool) -> Table {
    let mut table = Table::new(&[
        ("QUEUE", Align::Left),
        ("WEIGHT", Align::Right),
        ("PRIORITY", Align::Right),
        ("GUARANTEED", Align::Left),
        ("LIMIT", Align::Left),
        ("ENTITLED", Align::Left),
        ("USED", Align::Left),
        ("WAITING", Align::Left),
        ("", Align::Left),
    ]);
    let cell = |list: &ResourceList| amounts(list, wide);
    let nothing = QueueStatus::default();
    for (depth, queue) in rows {
        let spec = &queue.spec;
        let status = queue.status.as_ref().unwrap_or(&nothing);
        table.row(vec![
            format!("{}{}", "  ".repeat(*depth), name_of(queue)),
            spec.weight.to_string(),
            spec.priority.to_string(),
            cell(&spec.guaranteed),
            cell(&spec.limit),
            cell(&status.entitled),
            cell(&status.used),
            waiting(&status.waiting, wide),
            invalid(status).map_or_else(String::new, |message| format!("invalid: {message}")),
        ]);
    }
    table
}

/// For machines: in the order of the tree.
pub(super) fn plain(rows: &[(usize, &Queue)]) -> Value {
    let one = |(depth, queue): &(usize, &Queue)| {
        let nothing = QueueStatus::default();
        let status = queue.status.as_ref().unwrap_or(&nothing);
        json!({
            "name": name_of(queue), "depth": depth, "parent": queue.spec.parent,
            "weight": queue.spec.weight, "priority": queue.spec.priority, "order": queue.spec.order,
            "guaranteed": queue.spec.guaranteed, "limit": queue.spec.limit, "lend": queue.spec.lend,
            "accelerators": queue.spec.accelerators,
            "entitled": status.entitled, "used": status.used, "waiting": status.waiting,
            "valid": invalid(status).is_none(), "problem": invalid(status),
        })
    };
    rows.iter().map(one).collect()
}

/// One queue in words.
pub(super) fn describe(queue: &Queue, all: &[Queue]) -> String {
    let spec = &queue.spec;
    let nothing = QueueStatus::default();
    let status = queue.status.as_ref().unwrap_or(&nothing);
    let siblings: u64 = all
        .iter()
        .filter(|other| other.spec.parent == spec.parent)
        .map(|other| u64::from(other.spec.weight))
        .sum();
    let mut text = match &spec.parent {
        Some(parent) => format!("Queue {}, under {parent}\n", name_of(queue)),
        None => format!("Queue {}\n", name_of(queue)),
    };
    let order = if spec.time_slicing {
        format!("{:?} with time slicing", spec.order)
    } else {
        format!("{:?}", spec.order)
    };
    let lends = if spec.lend {
        "lends what it does not use"
    } else {
        "lends nothing"
    };
    let guaranteed = if spec.guaranteed.is_empty() && spec.accelerators.is_empty() {
        "what the queues below it are".to_owned()
    } else {
        amounts(&spec.guaranteed, true)
    };
    let mut lines = vec![
        (
            "weight",
            format!(
                "{} of {siblings}; priority {}; order {order}",
                spec.weight, spec.priority
            ),
        ),
        ("guaranteed", format!("{guaranteed}; {lends}")),
        ("limit", amounts(&spec.limit, true)),
    ];
    for one in &spec.accelerators {
        let said =
            |word: &str, amount: Option<Quantity>| amount.map(|amount| format!("{word} {amount}"));
        let parts: Vec<String> = [said("guaranteed", one.guaranteed), said("limit", one.limit)]
            .into_iter()
            .flatten()
            .collect();
        lines.push(("product", format!("{}: {}", one.product, parts.join(", "))));
    }
    lines.push(("entitled", amounts(&status.entitled, true)));
    lines.push(("used", amounts(&status.used, true)));
    lines.push(("waiting", waiting(&status.waiting, true)));
    if let Some(problem) = invalid(status) {
        lines.push(("invalid", problem));
    }
    for (word, value) in lines {
        let _infallible = writeln!(text, "  {word:<11} {value}");
    }
    text
}

/// `16 gpu`, or, where there are no devices or all is wanted, `16 gpu, 200 cpu, 2Ti memory`.
fn amounts(list: &ResourceList, wide: bool) -> String {
    let is_device = |name: &String| name.contains('/');
    let devices = list.keys().any(is_device);
    let mut parts: Vec<(bool, String)> = list
        .iter()
        .filter(|(name, _)| wide || !devices || is_device(name))
        .filter(|(name, _)| *name != "workloads")
        .map(|(name, amount)| (!is_device(name), one(name, *amount)))
        .collect();
    parts.sort_by_key(|(other, _)| *other);
    if parts.is_empty() {
        return "–".to_owned();
    }
    let parts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
    parts.join(", ")
}

fn one(name: &str, amount: Quantity) -> String {
    let short = name.rsplit('/').next().unwrap_or(name);
    if !name.contains('/') {
        return format!("{} {short}", words::amount(name, amount));
    }
    let devices = amount.as_f64();
    if devices.fract() == 0.0 {
        format!("{devices:.0} {short}")
    } else {
        format!("{devices:.1} {short}")
    }
}

/// `3 (32 gpu)`.
fn waiting(list: &ResourceList, wide: bool) -> String {
    let count = list.get("workloads").map_or(0, |count| count.value());
    if count == 0 {
        return "–".to_owned();
    }
    format!("{count} ({})", amounts(list, wide))
}

/// What its condition `Valid: False` says.
fn invalid(status: &QueueStatus) -> Option<String> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Valid" && condition.status == "False")
        .map(|condition| condition.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;

    fn queue(name: &str, spec: Value, status: Value) -> Queue {
        serde_json::from_value(json!({
            "apiVersion": "inhaul.dev/v1alpha1", "kind": "Queue", "metadata": {"name": name}, "spec": spec, "status": status,
        }))
        .expect("a Queue")
    }

    #[test]
    fn the_tree_in_a_table() {
        let queues = [
            queue(
                "vision",
                json!({"parent": "research", "weight": 3, "guaranteed": {"nvidia.com/gpu": "16", "cpu": "64"}}),
                json!({"entitled": {"nvidia.com/gpu": "21500m", "cpu": "80"}, "used": {"nvidia.com/gpu": "20"},
                       "waiting": {"workloads": "3", "nvidia.com/gpu": "32"}}),
            ),
            queue("research", json!({"limit": {"cpu": "1500m"}}), json!({})),
            queue(
                "b",
                json!({"parent": "a"}),
                json!({"conditions": [{
                "type": "Valid", "status": "False", "reason": "Invalid", "message": "in a circle",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
            ),
            queue("a", json!({"parent": "b"}), json!({})),
        ];
        let text = table(&rows(&queues), false).render(Paint::plain());
        assert_eq!(
            text,
            "QUEUE     WEIGHT  PRIORITY  GUARANTEED  LIMIT    ENTITLED  USED    WAITING\n\
             research       1         0  –           1.5 cpu  –         –       –\n  \
               vision       3         0  16 gpu      –        21.5 gpu  20 gpu  3 (32 gpu)\n\
             b              1         0  –           –        –         –       –           invalid: in a circle\n  \
               a            1         0  –           –        –         –       –\n"
        );
        let names: Vec<String> = rows(&queues)
            .iter()
            .map(|(_, queue)| name_of(queue))
            .collect();
        assert_eq!(names, ["research", "vision", "b", "a"]);
    }

    #[test]
    fn one_queue_in_words() {
        let queues = [
            queue(
                "vision",
                json!({"parent": "research", "weight": 3, "lend": false, "order": "Size", "timeSlicing": true,
                "guaranteed": {"nvidia.com/gpu": "16"}, "accelerators": [{"product": "H100", "limit": "8"}]}),
                json!({}),
            ),
            queue(
                "speech",
                json!({"parent": "research", "weight": 2}),
                json!({}),
            ),
        ];
        let text = describe(&queues[0], &queues);
        assert!(text.starts_with("Queue vision, under research\n"), "{text}");
        for line in [
            "  weight      3 of 5; priority 0; order Size with time slicing\n",
            "  guaranteed  16 gpu; lends nothing\n",
            "  product     H100: limit 8\n",
            "  waiting     –\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }
}
