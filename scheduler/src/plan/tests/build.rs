//! Small fleets and requests in few words.

use placement_api::kinds::{
    CountedAssignment, FailoverMode, InventoryNode, InventoryStatus, NodeClass, Strategy,
    TopologyMode,
};
use placement_api::quantity::Quantity;
use placement_api::selector::{LabelSelector, Labels};
use placement_api::toleration::{Taint, TaintEffect};

use crate::fleet::{Fleet, TargetName, TargetState, WorkloadId};
use crate::plan::{
    Change, Closeness, Current, Decision, FailoverRule, PodSetRequest, Request, Step,
};

pub(super) const GPU: &str = "nvidia.com/gpu";

/// A node: name, labels ("zone=z1 rack=r1"), allocatable ("gpu=8 cpu=64").
#[derive(Clone, Debug)]
pub(super) struct N {
    pub(super) name: String,
    pub(super) labels: String,
    pub(super) has: String,
    pub(super) taints: Vec<Taint>,
    pub(super) unusable: bool,
}

pub(super) fn node(name: &str, labels: &str, has: &str) -> N {
    N {
        name: name.to_owned(),
        labels: labels.to_owned(),
        has: has.to_owned(),
        taints: Vec::new(),
        unusable: false,
    }
}

pub(super) fn pairs(text: &str) -> Labels {
    text.split_whitespace()
        .map(|pair| pair.split_once('=').expect("key=value"))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn full_name(name: &str) -> String {
    if name == "gpu" {
        GPU.to_owned()
    } else {
        name.to_owned()
    }
}

pub(super) fn amounts(text: &str) -> placement_api::quantity::ResourceList {
    pairs(text)
        .into_iter()
        .map(|(name, amount)| {
            (
                full_name(&name),
                amount.parse::<Quantity>().expect("quantity"),
            )
        })
        .collect()
}

pub(super) fn taint(key: &str, effect: TaintEffect) -> Taint {
    Taint {
        key: key.to_owned(),
        value: String::new(),
        effect,
    }
}

pub(super) fn name(text: &str) -> TargetName {
    TargetName::from(text)
}

/// A fleet with levels zone and rack, without targets.
pub(super) fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    fleet.set_levels(vec!["zone".to_owned(), "rack".to_owned()]);
    fleet
}

pub(super) fn inventory(nodes: &[N], counted: &[(&str, i64)]) -> InventoryStatus {
    let class = |n: &N| NodeClass {
        id: n.name.clone(),
        labels: pairs(&n.labels),
        taints: n.taints.clone(),
        allocatable: amounts(&n.has),
    };
    let one = |n: &N| InventoryNode {
        name: n.name.clone(),
        class: n.name.clone(),
        unusable: n.unusable.then(|| "NotReady".to_owned()),
        ..InventoryNode::default()
    };
    InventoryStatus {
        classes: nodes.iter().map(class).collect(),
        nodes: nodes.iter().map(one).collect(),
        counted: counted
            .iter()
            .map(|(name, epoch)| CountedAssignment {
                name: (*name).to_owned(),
                epoch: *epoch,
                ..CountedAssignment::default()
            })
            .collect(),
        served: vec!["batch/v1/Job".to_owned()],
        ..InventoryStatus::default()
    }
}

/// Adds a Ready target.
pub(super) fn add(fleet: &mut Fleet, target: &str, labels: &str, nodes: &[N]) {
    fleet.set_inventory(&name(target), &inventory(nodes, &[]));
    fleet.set_target(
        &name(target),
        pairs(labels),
        Vec::new(),
        TargetState::Ready,
        0,
    );
}

pub(super) fn state(fleet: &mut Fleet, target: &str, state: TargetState, contact_ms: i64) {
    let labels = fleet.target(target).expect("target").labels.clone();
    fleet.set_target(&name(target), labels, Vec::new(), state, contact_ms);
}

pub(super) fn taints(fleet: &mut Fleet, target: &str, taints: Vec<Taint>) {
    let (labels, state) = fleet
        .target(target)
        .map(|target| (target.labels.clone(), target.state))
        .expect("target");
    fleet.set_target(&name(target), labels, taints, state, 0);
}

pub(super) fn location(fleet: &mut Fleet, list: &[(&str, &str)]) {
    let selector = |labels: &str| LabelSelector {
        match_labels: pairs(labels),
        ..LabelSelector::default()
    };
    fleet.set_locations(
        list.iter()
            .map(|(name, labels)| ((*name).to_owned(), selector(labels)))
            .collect(),
    );
}

/// A gang of `count` pods that ask for `requests`.
pub(super) fn gang(id: &str, count: i64, requests: &str) -> Request {
    Request {
        id: WorkloadId::from(id),
        kind: "Job".to_owned(),
        namespace: "default".to_owned(),
        name: id.to_owned(),
        pod_sets: vec![set("main", count, requests)],
        ..Request::default()
    }
}

pub(super) fn divide(id: &str, count: i64, requests: &str) -> Request {
    Request {
        strategy: Strategy::Divide,
        failover: FailoverRule {
            mode: FailoverMode::Overlap,
            after_ms: 300_000,
            fencer: false,
        },
        ..gang(id, count, requests)
    }
}

pub(super) fn set(name: &str, count: i64, requests: &str) -> PodSetRequest {
    PodSetRequest {
        name: name.to_owned(),
        count,
        requests: (&amounts(requests)).into(),
        gateable: true,
        ..PodSetRequest::default()
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it is the value of an optional field"
)]
pub(super) fn in_one(level: &str, mode: TopologyMode) -> Option<Closeness> {
    Some(Closeness {
        level: level.to_owned(),
        mode,
        relax_after_ms: None,
    })
}

/// What the workload has after this decision, as the shell would say it in the next request; the member runs all of it.
pub(super) fn after(request: &Request, decision: &Decision) -> Request {
    let now = |target: &TargetName| {
        decision
            .leaving
            .iter()
            .any(|one| one.target == *target && one.step == Step::Now)
    };
    let mut current: Vec<Current> = decision
        .parts
        .iter()
        .map(|part| Current {
            target: part.target.clone(),
            epoch: part.epoch,
            counts: part.counts.clone(),
            nodes: part.nodes.clone(),
            domain: part.domain.clone(),
            evicting: false,
            started: true,
            healthy: part.change == Change::Kept,
            started_ms: Some(0),
        })
        .collect();
    for part in request
        .current
        .iter()
        .filter(|part| part.evicting || now(&part.target))
    {
        current.push(Current {
            evicting: true,
            ..part.clone()
        });
    }
    Request {
        current,
        epoch: decision.epoch,
        ..request.clone()
    }
}

/// The same, and all of it is healthy and confirmed: nothing is being taken away any more.
pub(super) fn settled(request: &Request, decision: &Decision) -> Request {
    let mut next = after(request, decision);
    next.current.retain(|part| !part.evicting);
    next.current.iter_mut().for_each(|part| part.healthy = true);
    next
}

/// "eu-1 4 · us-1 2": targets and pods, for comparing.
pub(super) fn place(decision: &Decision) -> String {
    let part =
        |part: &crate::plan::Part| format!("{} {}", part.target, part.counts.values().sum::<i64>());
    decision
        .parts
        .iter()
        .map(part)
        .collect::<Vec<_>>()
        .join(" · ")
}

/// "n1 2 · n2 1": nodes and pods over all parts.
pub(super) fn nodes(decision: &Decision) -> String {
    let all = decision.parts.iter().flat_map(|part| &part.nodes);
    all.map(|node| format!("{} {}", node.name, node.pods))
        .collect::<Vec<_>>()
        .join(" · ")
}
