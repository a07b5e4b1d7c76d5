//! Workloads.

use std::collections::BTreeMap;

use placement_api::kinds::{
    DivideBy, FailoverMode, Packing, SpreadConstraint, Strategy, TopologyMode,
};

use super::super::read::{Fields, Node, Reader};
use super::super::{ClaimSpec, PodSpec, RunsOn, Stage, WorkloadSpec};
use super::{names, only_with, tolerations, unique};
use crate::plan::Scoring;
use crate::runs;

/// Most pods of one role.
const MOST_PODS: i64 = 1_000_000;
/// Most spare nodes of one gang.
const MOST_SPARES: i64 = 1000;
/// `after`, where the file says nothing.
const AFTER_MS: i64 = 15 * 60_000;
/// `after` of `Overlap`.
const OVERLAP_AFTER_MS: i64 = 5 * 60_000;

pub(super) fn workloads(r: &mut Reader, node: Option<Node<'_>>) -> Vec<WorkloadSpec> {
    let mut seen = BTreeMap::new();
    let nodes = r.items(
        node,
        "[{name: train-1, pods: [{count: 4, requests: {gpu: 2}}]}]",
    );
    nodes
        .iter()
        .filter_map(|node| workload(r, node, &mut seen))
        .collect()
}

fn workload(
    r: &mut Reader,
    node: &Node<'_>,
    seen: &mut BTreeMap<String, u64>,
) -> Option<WorkloadSpec> {
    let known = [
        "name",
        "queue",
        "namespace",
        "kind",
        "priority",
        "submitted",
        "pods",
        "strategy",
        "divide",
        "gangPerTarget",
        "minCount",
        "topology",
        "preemptible",
        "minRuntime",
        "checkpoint",
        "runtime",
        "pastRuns",
        "locations",
        "tolerations",
        "spread",
        "packing",
        "scoring",
        "data",
        "spares",
        "failover",
        "after",
        "state",
        "runsOn",
        "refused",
    ];
    let f = r.fields(node, "a workload", &known)?;
    let name_node = r.required(&f, "name", "train-1");
    let name = name_node.as_ref().and_then(|node| r.name(node));
    if let (Some(node), Some(name)) = (&name_node, &name) {
        unique(r, seen, node, name, "workload");
    }
    let strategies = [
        ("Gang", Strategy::Gang),
        ("Divide", Strategy::Divide),
        ("Duplicate", Strategy::Duplicate),
    ];
    let strategy = f
        .get("strategy")
        .and_then(|node| r.choice(&node, &strategies))
        .unwrap_or(Strategy::Gang);
    let pods = pods(r, &f);
    if let (Strategy::Divide, 2.., Some(node)) = (strategy, pods.len(), f.get("pods")) {
        r.wrong(&node, "has several pod sets, which are one gang; write one pod set to divide, or `strategy: Gang`");
    }
    let (divide_by, weights) = divide(r, &f);
    only_with(
        r,
        &f,
        "gangPerTarget",
        strategy == Strategy::Gang,
        "it is for `strategy: Gang`",
    );
    let topology = topology(r, &f);
    let failovers = [
        ("Never", FailoverMode::Never),
        ("Fenced", FailoverMode::Fenced),
        ("Overlap", FailoverMode::Overlap),
    ];
    let failover = f
        .get("failover")
        .and_then(|node| r.choice(&node, &failovers))
        .unwrap_or(FailoverMode::Never);
    let after = if failover == FailoverMode::Overlap {
        OVERLAP_AFTER_MS
    } else {
        AFTER_MS
    };
    let stages = [
        ("Pending", Stage::Pending),
        ("Running", Stage::Running),
        ("Suspended", Stage::Suspended),
    ];
    let stage = f
        .get("state")
        .and_then(|node| r.choice(&node, &stages))
        .unwrap_or(Stage::Pending);
    let runs_on = runs_on(r, &f, &pods);
    only_with(
        r,
        &f,
        "runsOn",
        stage != Stage::Pending,
        "write `state: Running` beside it",
    );
    if stage == Stage::Running && f.get("runsOn").is_none() {
        let path = format!("{}.runsOn", f.path());
        r.wrong_at(f.line(), &path, "is missing; a Running workload needs for example `runsOn: [{target: east, node: e-a-0, count: 4}]`");
    }
    let locations = r.items(f.get("locations"), "[{region: eu}, {}]");
    let priority = f
        .get("priority")
        .and_then(|node| r.integer(&node, i64::from(i32::MIN), i64::from(i32::MAX)));
    let packings = [("Pack", Packing::Pack), ("Spread", Packing::Spread)];
    let mut text = |field: &str| f.get(field).and_then(|node| r.name(&node));
    let (queue, namespace, kind) = (text("queue"), text("namespace"), text("kind"));
    let mut length = |field: &str| f.get(field).and_then(|node| r.duration(&node));
    let (min_runtime_ms, runtime_ms, after_ms) =
        (length("minRuntime"), length("runtime"), length("after"));
    let told = past_runs(r, &f);
    let mut flag = |field: &str| f.get(field).and_then(|node| r.bool(&node));
    let preemptible = flag("preemptible");
    let mut moment = |field: &str| f.get(field).and_then(|node| r.time(&node));
    let (submitted_ms, checkpoint_ms) = (moment("submitted"), moment("checkpoint"));
    Some(WorkloadSpec {
        line: node.line(),
        name: name?,
        queue,
        namespace: namespace.unwrap_or_else(|| "default".to_owned()),
        kind,
        priority: priority
            .and_then(|one| i32::try_from(one).ok())
            .unwrap_or(0),
        submitted_ms: submitted_ms.unwrap_or(0),
        pods,
        strategy,
        divide_by,
        weights,
        gang_per_target: f
            .get("gangPerTarget")
            .and_then(|node| r.integer(&node, 1, MOST_PODS)),
        topology,
        preemptible: preemptible.unwrap_or(true),
        min_runtime_ms: min_runtime_ms.unwrap_or(0),
        checkpoint_ms,
        runtime_ms: runtime_ms.or(told),
        locations: locations
            .into_iter()
            .map(|node| r.labels(Some(node), "{region: eu}"))
            .collect(),
        tolerations: tolerations(r, f.get("tolerations")),
        spread: spread(r, &f),
        packing: f
            .get("packing")
            .and_then(|node| r.choice(&node, &packings))
            .unwrap_or(Packing::Pack),
        scoring: scoring(r, &f),
        data: names(r, f.get("data"), "[imagenet]"),
        spares: f
            .get("spares")
            .and_then(|node| r.integer(&node, 0, MOST_SPARES))
            .unwrap_or(0),
        failover,
        after_ms: after_ms.unwrap_or(after),
        stage,
        runs_on,
        refused: refused(r, &f),
    })
}

/// What earlier runs of its series tell; too few of them tell nothing.
fn past_runs(r: &mut Reader, f: &Fields<'_>) -> Option<i64> {
    let nodes = r.items(f.get("pastRuns"), "[50m, 1h, 55m]");
    let open = f.get("runtime").is_none();
    let way_out = "`runtime` says already how long it runs";
    only_with(r, f, "pastRuns", open, way_out);
    let runs: Vec<i64> = nodes.iter().filter_map(|node| r.duration(node)).collect();
    runs::estimate(runs).map(|one| one.runtime_ms)
}

fn pods(r: &mut Reader, f: &Fields<'_>) -> Vec<PodSpec> {
    let node = r.required(f, "pods", "[{count: 4, requests: {gpu: 2}}]");
    let nodes = r.items(node, "[{name: main, count: 4, requests: {gpu: 2}}]");
    let mut seen = BTreeMap::new();
    let mut sets: Vec<PodSpec> = Vec::new();
    for node in &nodes {
        let known = [
            "name",
            "count",
            "requests",
            "claims",
            "selector",
            "tolerations",
        ];
        let Some(p) = r.fields(node, "a pod set", &known) else {
            continue;
        };
        let name = p
            .get("name")
            .map_or(Some("main".to_owned()), |node| r.name(&node));
        let count = p
            .get("count")
            .map_or(Some(1), |node| r.integer(&node, 0, MOST_PODS));
        let requests = r.amounts(p.get("requests"));
        let claims = claims(r, &p);
        let selector = r.labels(p.get("selector"), "{product: H100}");
        let tolerations = tolerations(r, p.get("tolerations"));
        if let (Some(name), Some(count)) = (name, count) {
            unique(r, &mut seen, node, &name, "pod set");
            sets.push(PodSpec {
                name,
                count,
                min_count: None,
                requests: requests.into_iter().collect(),
                claims,
                selector,
                tolerations,
            });
        }
    }
    min_counts(r, f, &mut sets);
    sets
}

fn claims(r: &mut Reader, f: &Fields<'_>) -> Vec<ClaimSpec> {
    let mut claims = Vec::new();
    let example = "[{devices: {gpu.nvidia.com: 2}, shared: model}]";
    for node in r.items(f.get("claims"), example) {
        let Some(c) = r.fields(&node, "a claim", &["devices", "shared"]) else {
            continue;
        };
        let devices = r.required(&c, "devices", "{gpu.nvidia.com: 2}");
        claims.push(ClaimSpec {
            shared: c.get("shared").and_then(|node| r.name(&node)),
            devices: super::devices(r, devices),
        });
    }
    claims
}

fn min_counts(r: &mut Reader, f: &Fields<'_>, sets: &mut [PodSpec]) {
    let Some(node) = f.get("minCount") else {
        return;
    };
    if let super::super::tree::Value::Map(_) = node.tree.value {
        for (key, node) in r.entries(Some(node), "{main: 2}") {
            let Some(set) = sets.iter_mut().find(|set| set.name == key.text) else {
                r.wrong(
                    &node,
                    format!(
                        "{:?} is no pod set of this workload; write the name of one",
                        key.text
                    ),
                );
                continue;
            };
            set.min_count = r.integer(&node, 0, set.count);
        }
    } else if let [set] = sets {
        set.min_count = r.integer(&node, 0, set.count);
    } else if !sets.is_empty() {
        r.wrong(
            &node,
            "is one number for several pod sets; write a map such as {main: 2}",
        );
    }
}

fn divide(r: &mut Reader, f: &Fields<'_>) -> (DivideBy, BTreeMap<String, u32>) {
    let mut weights = BTreeMap::new();
    let known = ["by", "weights"];
    let Some(d) = f
        .get("divide")
        .and_then(|node| r.fields(&node, "a division", &known))
    else {
        return (DivideBy::default(), weights);
    };
    let words = [
        ("FreeCapacity", DivideBy::FreeCapacity),
        ("Weight", DivideBy::Weight),
    ];
    let by = d
        .get("by")
        .and_then(|node| r.choice(&node, &words))
        .unwrap_or_default();
    only_with(
        r,
        &d,
        "weights",
        by == DivideBy::Weight,
        "write `by: Weight` beside it",
    );
    if by == DivideBy::Weight {
        let node = r.required(&d, "weights", "{east: 2, west: 1}");
        for (key, node) in r.entries(node, "{east: 2}") {
            if let Some(weight) = r
                .integer(&node, 0, 1_000_000)
                .and_then(|one| u32::try_from(one).ok())
            {
                weights.insert(key.text.clone(), weight);
            }
        }
    }
    (by, weights)
}

fn topology(r: &mut Reader, f: &Fields<'_>) -> Option<(String, TopologyMode, Option<i64>)> {
    let node = f.get("topology")?;
    let t = r.fields(&node, "a topology", &["level", "mode", "relaxAfter"])?;
    let level = r
        .required(&t, "level", "rack")
        .and_then(|node| r.name(&node));
    let words = [
        ("Required", TopologyMode::Required),
        ("Preferred", TopologyMode::Preferred),
    ];
    let mode = t
        .get("mode")
        .and_then(|node| r.choice(&node, &words))
        .unwrap_or(TopologyMode::Required);
    only_with(
        r,
        &t,
        "relaxAfter",
        mode == TopologyMode::Required,
        "it makes Required to Preferred; leave it out",
    );
    let relax = t.get("relaxAfter").and_then(|node| match &node.tree.value {
        super::super::tree::Value::Text(text) if text == "never" => None,
        _ => r.duration(&node),
    });
    Some((level?, mode, relax))
}

fn spread(r: &mut Reader, f: &Fields<'_>) -> Vec<SpreadConstraint> {
    let mut rules = Vec::new();
    for node in r.items(f.get("spread"), "[{key: region, minGroups: 2}]") {
        let known = ["key", "minGroups", "maxGroups", "maxSkew"];
        let Some(s) = r.fields(&node, "a spread", &known) else {
            continue;
        };
        let key = r
            .required(&s, "key", "region")
            .and_then(|node| r.name(&node));
        let mut groups = |field: &str| {
            let node = s.get(field)?;
            u32::try_from(r.integer(&node, 1, 1_000_000)?).ok()
        };
        let (min_groups, max_groups, max_skew) =
            (groups("minGroups"), groups("maxGroups"), groups("maxSkew"));
        if let (Some(min), Some(max)) = (min_groups, max_groups)
            && min > max
        {
            r.wrong(&node, format!("asks for at least {min} and at most {max} groups; write a minGroups that is not above maxGroups"));
        }
        if let Some(topology_key) = key {
            rules.push(SpreadConstraint {
                topology_key,
                min_groups,
                max_groups,
                max_skew,
            });
        }
    }
    rules
}

fn scoring(r: &mut Reader, f: &Fields<'_>) -> Scoring {
    let mut tiers = Vec::new();
    for node in r.items(f.get("scoring"), "[{occupancy: 1}, {cost: 2, carbon: 1}]") {
        let mut tier = BTreeMap::new();
        for (key, node) in r.entries(Some(node), "{cost: 2, carbon: 1}") {
            let weight = r.integer(&node, 1, 1_000_000);
            if let Some(weight) = weight.and_then(|one| u32::try_from(one).ok()) {
                tier.insert(key.text.clone(), weight);
            }
        }
        tiers.push(tier);
    }
    if !r.problems.is_empty() {
        return Scoring::default();
    }
    Scoring::read(&tiers).unwrap_or_else(|(place, what)| {
        r.wrong_at(f.line(), &format!("{}.scoring{place}", f.path()), what);
        Scoring::default()
    })
}

fn runs_on(r: &mut Reader, f: &Fields<'_>, sets: &[PodSpec]) -> Vec<RunsOn> {
    let nodes = r.items(
        f.get("runsOn"),
        "[{target: east, node: e-a-0, count: 4, started: -5m}]",
    );
    let alone = nodes.len() == 1;
    let mut parts = Vec::new();
    for node in &nodes {
        let known = ["target", "node", "pods", "count", "started"];
        let Some(p) = r.fields(node, "a place", &known) else {
            continue;
        };
        let target = r
            .required(&p, "target", "east")
            .and_then(|node| r.name(&node));
        let on = p.get("node").map(|node| r.name(&node));
        let pods = match (p.get("pods"), sets) {
            (Some(node), _) => r.name(&node),
            (None, [only]) => Some(only.name.clone()),
            (None, []) => None,
            (None, _) => {
                let path = format!("{}.pods", p.path());
                r.wrong_at(
                    p.line(),
                    &path,
                    "is missing; the workload has several pod sets: write the name of one",
                );
                None
            }
        };
        let all = sets
            .iter()
            .find(|set| Some(&set.name) == pods.as_ref())
            .map_or(1, |set| set.count);
        let count = p
            .get("count")
            .map_or(Some(if alone { all } else { 1 }), |node| {
                r.integer(&node, 0, MOST_PODS)
            });
        let started = p.get("started").and_then(|node| r.time(&node)).unwrap_or(0);
        if let (Some(target), Some(pods), Some(count), false) =
            (target, pods, count, on == Some(None))
        {
            parts.push(RunsOn {
                line: node.line(),
                path: node.path.clone(),
                target,
                node: on.flatten(),
                pods,
                count,
                started_ms: started,
            });
        }
    }
    parts
}

fn refused(r: &mut Reader, f: &Fields<'_>) -> Vec<(String, String, i64)> {
    let mut list = Vec::new();
    for node in r.items(
        f.get("refused"),
        "[{target: east, message: quota exceeded, until: 10m}]",
    ) {
        let Some(p) = r.fields(&node, "a refusal", &["target", "message", "until"]) else {
            continue;
        };
        let target = r
            .required(&p, "target", "east")
            .and_then(|node| r.name(&node));
        let message = p
            .get("message")
            .and_then(|node| r.text(&node, "quota exceeded"));
        let until = r
            .required(&p, "until", "10m")
            .and_then(|node| r.time(&node));
        if let (Some(target), Some(until)) = (target, until) {
            list.push((
                target,
                message.unwrap_or_else(|| "refused".to_owned()),
                until,
            ));
        }
    }
    list
}
