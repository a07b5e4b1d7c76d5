//! The fields of a scenario file, one by one.

mod expect;
mod fleet;
mod queues;
mod workloads;

use std::collections::BTreeMap;

use placement_api::quantity::Quantity;
use placement_api::toleration::{Taint, TaintEffect, Toleration, TolerationOperator};

use super::read::{Fields, Node, Reader};
use super::{Config, Problem, Problems, Scenario, check, tree};

/// Most problems that are shown.
const MOST_PROBLEMS: usize = 20;
/// Most rounds.
const MOST_ROUNDS: i64 = 1000;
/// Most devices of one class on a node, or in a claim.
const MOST_DEVICES: i64 = 1024;

/// Reads a scenario; `file` is its name for errors.
///
/// # Errors
/// Everything that is wrong, each with its line, its field, and what would be right.
pub fn parse(file: &str, text: &str) -> Result<Scenario, Problems> {
    let failed = |mut list: Vec<Problem>| {
        list.sort();
        list.dedup();
        list.truncate(MOST_PROBLEMS);
        Problems {
            file: file.to_owned(),
            list,
        }
    };
    let tree = tree::read(text).map_err(|problem| failed(vec![problem]))?;
    let mut reader = Reader::default();
    let root = Node {
        tree: &tree,
        path: String::new(),
    };
    let scenario = whole(&mut reader, file, &root);
    let located = |mut list: Vec<Problem>| {
        for problem in &mut list {
            problem.line = tree.line_of(&problem.path).max(1);
        }
        failed(list)
    };
    match scenario {
        Some(scenario) if reader.problems.is_empty() => {
            check::check(&scenario, &mut reader);
            if reader.problems.is_empty() {
                Ok(scenario)
            } else {
                Err(located(reader.problems))
            }
        }
        _ => Err(located(reader.problems)),
    }
}

fn whole(r: &mut Reader, file: &str, root: &Node<'_>) -> Option<Scenario> {
    let known = [
        "name",
        "now",
        "config",
        "fleet",
        "queues",
        "workloads",
        "expect",
    ];
    let f = r.fields(root, "a scenario", &known)?;
    let name = f
        .get("name")
        .and_then(|node| r.text(&node, "a gang runs whole"));
    let now_ms = f.get("now").and_then(|node| r.time(&node)).unwrap_or(0);
    let config = config(r, f.get("config"));
    let targets = fleet::targets(r, f.get("fleet"));
    let queues = queues::queues(r, f.get("queues"));
    let workloads = workloads::workloads(r, f.get("workloads"));
    let expect = f
        .get("expect")
        .map(|node| expect::expect(r, &node).unwrap_or_default());
    Some(Scenario {
        file: file.to_owned(),
        name: name.unwrap_or_default(),
        now_ms,
        config,
        fleet: targets,
        queues,
        workloads,
        expect,
    })
}

fn config(r: &mut Reader, node: Option<Node<'_>>) -> Config {
    let mut config = Config {
        levels: Vec::new(),
        throughput: BTreeMap::new(),
        age_limit_ms: None,
        defragment: 0,
        fairness_half_life_ms: 0,
        rounds: 1,
    };
    let known = [
        "levels",
        "throughput",
        "ageLimit",
        "defragment",
        "fairnessHalfLife",
        "rounds",
    ];
    let Some(f) = node.and_then(|node| r.fields(&node, "the configuration", &known)) else {
        return config;
    };
    for node in r.items(f.get("levels"), "[zone, rack]") {
        let Some(level) = r.name(&node) else { continue };
        if config.levels.contains(&level) {
            r.wrong(
                &node,
                format!("{level:?} is given twice; write each level once"),
            );
        } else if level != "node" {
            config.levels.push(level);
        }
    }
    for (key, node) in r.entries(f.get("throughput"), "{H100: 3, A100: 1}") {
        let Some(quantity) = r.quantity(&node) else {
            continue;
        };
        if quantity.is_zero() || quantity > Quantity::from_units(1_000_000) {
            r.wrong(&node, "must be more than 0 and at most 1000000; write how many times faster the type is than one with 1");
        } else {
            config.throughput.insert(key.text.clone(), quantity);
        }
    }
    config.age_limit_ms = f.get("ageLimit").and_then(|node| r.duration(&node));
    if let Some(node) = f.get("defragment") {
        config.defragment = r.integer(&node, 0, 1_000_000).unwrap_or(0);
    }
    if let Some(node) = f.get("fairnessHalfLife") {
        config.fairness_half_life_ms = r.duration(&node).unwrap_or(0);
    }
    if let Some(node) = f.get("rounds") {
        config.rounds = r.integer(&node, 1, MOST_ROUNDS).unwrap_or(1);
    }
    config
}

const EFFECTS: [(&str, TaintEffect); 3] = [
    ("NoSchedule", TaintEffect::NoSchedule),
    ("PreferNoSchedule", TaintEffect::PreferNoSchedule),
    ("NoExecute", TaintEffect::NoExecute),
];

fn taints(r: &mut Reader, node: Option<Node<'_>>) -> Vec<Taint> {
    let mut taints = Vec::new();
    for node in r.items(node, "[{key: maintenance, effect: NoSchedule}]") {
        let Some(f) = r.fields(&node, "a taint", &["key", "value", "effect"]) else {
            continue;
        };
        let key = r
            .required(&f, "key", "maintenance")
            .and_then(|node| r.name(&node));
        let value = f.get("value").and_then(|node| r.text(&node, "\"\""));
        let effect = r
            .required(&f, "effect", "NoSchedule")
            .and_then(|node| r.choice(&node, &EFFECTS));
        if let (Some(key), Some(effect)) = (key, effect) {
            taints.push(Taint {
                key,
                value: value.unwrap_or_default(),
                effect,
            });
        }
    }
    taints
}

fn tolerations(r: &mut Reader, node: Option<Node<'_>>) -> Vec<Toleration> {
    let operators = [
        ("Exists", TolerationOperator::Exists),
        ("Equal", TolerationOperator::Equal),
    ];
    let mut tolerations = Vec::new();
    for node in r.items(node, "[{key: maintenance, operator: Exists}]") {
        let Some(f) = r.fields(
            &node,
            "a toleration",
            &["key", "operator", "value", "effect"],
        ) else {
            continue;
        };
        let operator = f
            .get("operator")
            .and_then(|node| r.choice(&node, &operators));
        let key = f.get("key").and_then(|node| r.name(&node));
        if key.is_none() && operator != Some(TolerationOperator::Exists) {
            let path = format!("{}.key", f.path());
            r.wrong_at(f.line(), &path, "is missing; write the key of a taint, or `operator: Exists` alone to tolerate every taint");
        }
        if let (Some(TolerationOperator::Exists), Some(node)) = (operator, f.get("value")) {
            r.wrong(
                &node,
                "has no meaning with operator Exists; leave it out or write `operator: Equal`",
            );
        }
        tolerations.push(Toleration {
            key,
            operator,
            value: f.get("value").and_then(|node| r.text(&node, "now")),
            effect: f.get("effect").and_then(|node| r.choice(&node, &EFFECTS)),
            ..Toleration::default()
        });
    }
    tolerations
}

/// A list of names.
fn names(r: &mut Reader, node: Option<Node<'_>>, example: &str) -> Vec<String> {
    let items = r.items(node, example);
    items.iter().filter_map(|node| r.name(node)).collect()
}

/// Devices of drivers by class.
fn devices(r: &mut Reader, node: Option<Node<'_>>) -> BTreeMap<String, i64> {
    let mut devices = BTreeMap::new();
    for (key, node) in r.entries(node, "{gpu.nvidia.com: 8}") {
        if let Some(count) = r.integer(&node, 1, MOST_DEVICES) {
            devices.insert(key.text.clone(), count);
        }
    }
    devices
}

/// Notes a name that was there before.
fn unique(
    r: &mut Reader,
    seen: &mut BTreeMap<String, u64>,
    node: &Node<'_>,
    name: &str,
    what: &str,
) {
    if let Some(line) = seen.insert(name.to_owned(), node.line()) {
        r.wrong(
            node,
            format!(
                "{what} {name:?} is already on line {line}; give each {what} a name of its own"
            ),
        );
    }
}

/// Two fields of which one needs the other.
fn only_with(r: &mut Reader, f: &Fields<'_>, field: &str, allowed: bool, way_out: &str) {
    if let (false, Some(node)) = (allowed, f.get(field)) {
        r.wrong(&node, format!("has no meaning here; {way_out}"));
    }
}
