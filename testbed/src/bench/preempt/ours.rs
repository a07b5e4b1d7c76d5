//! Who gives way by the planner that the live scheduler runs.

use std::collections::BTreeMap;

use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass, NodeShare, TopologyMode};
use placement_api::quantity::{Quantity, ResourceList};
use scheduler::fleet::{Fleet, TargetName, WorkloadId};
use scheduler::plan::{Closeness, Current, Planner, PodSetRequest, Request};

use super::cut::{CLAIMANT, Cut, NODE, NOW_MS, RACK};
use crate::replay::shell::{Shell, Step, add_cluster};

const GPU: &str = "nvidia.com/gpu";
const RACKS: &str = "topology.kubernetes.io/rack";
/// Plannings of everybody after the claimant has started, in which nothing may happen any more.
const AFTER: i64 = 3;

/// What the planner did.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// Who gave way to the claimant; nothing: it did not start.
    pub(super) victims: Option<Vec<usize>>,
    /// Evictions after it had come to rest. (Who starts and is stopped again while it does has not run.)
    pub(super) flaps: usize,
}

/// Plans a cut.
pub(super) fn plan(cut: &Cut) -> Done {
    let mut shell = Shell::new(Planner::new(), fleet(cut), 0);
    for position in 0..cut.running.len() {
        shell.adopt(running(cut, position));
    }
    let claimant = id(cut.running.len());
    shell.submit(wanted(cut));
    let steps = shell.cycle(NOW_MS);
    let start = steps
        .iter()
        .position(|step| *step == Step::Start(claimant.clone()));
    let mut done = Done {
        victims: start.map(|start| steps[..start].iter().filter_map(stopped).collect()),
        flaps: 0,
    };
    for round in 1..=AFTER {
        shell.look_at_all();
        let more = shell.cycle(NOW_MS + round * 1000);
        done.flaps += more.iter().filter_map(stopped).count();
    }
    done
}

fn stopped(step: &Step) -> Option<usize> {
    match step {
        Step::Stop(id) => id.as_str().trim_start_matches('w').parse().ok(),
        Step::Start(_) => None,
    }
}

fn cluster(cut: &Cut, node: usize) -> String {
    format!("c{}", usize::from(node >= cut.nodes / 2))
}

fn request(position: usize, pods: i64, gpus: i64, priority: i32) -> Request {
    Request {
        id: id(position),
        kind: "Job".to_owned(),
        namespace: "preempt".to_owned(),
        name: format!("w{position}"),
        pod_sets: vec![PodSetRequest {
            name: "main".to_owned(),
            count: pods,
            requests: [(GPU.to_owned(), gpus)].into_iter().collect(),
            gateable: true,
            ..PodSetRequest::default()
        }],
        priority,
        min_runtime_ms: 0,
        ..Request::default()
    }
}

fn running(cut: &Cut, position: usize) -> Request {
    let one = &cut.running[position];
    let pods = i64::try_from(one.pods.len()).unwrap_or(0);
    let node = |node: &usize| NodeShare {
        name: name(*node),
        pod_set: "main".to_owned(),
        pods: 1,
    };
    Request {
        epoch: 1,
        preemptible: one.preemptible,
        submitted_ms: one.started_ms,
        waits_since_ms: one.started_ms,
        checkpoint_ms: one.saved_ms,
        current: vec![Current {
            target: TargetName::from(cluster(cut, one.pods[0])),
            epoch: 1,
            counts: BTreeMap::from([("main".to_owned(), pods)]),
            nodes: one.pods.iter().map(node).collect(),
            domain: BTreeMap::new(),
            evicting: false,
            started: true,
            healthy: true,
            started_ms: Some(one.started_ms),
        }],
        ..request(position, pods, one.gpus, one.priority)
    }
}

fn wanted(cut: &Cut) -> Request {
    let one = &cut.claimant;
    Request {
        submitted_ms: NOW_MS,
        waits_since_ms: NOW_MS,
        topology: one.in_rack.then(|| Closeness {
            level: RACKS.to_owned(),
            mode: TopologyMode::Required,
            relax_after_ms: None,
        }),
        ..request(cut.running.len(), one.pods, one.gpus, CLAIMANT)
    }
}

fn fleet(cut: &Cut) -> Fleet {
    let mut fleet = Fleet::new();
    let half = cut.nodes / 2;
    let amount: ResourceList = [(GPU.to_owned(), Quantity::from_units(NODE))].into();
    for first in [0, half] {
        let nodes = (first..first + half).map(|node| InventoryNode {
            name: name(node),
            class: "node".to_owned(),
            labels: [(RACKS.to_owned(), format!("r{}", (node - first) / RACK))].into(),
            free: amount.clone(),
            ..InventoryNode::default()
        });
        let status = InventoryStatus {
            classes: vec![NodeClass {
                id: "node".to_owned(),
                allocatable: amount.clone(),
                ..NodeClass::default()
            }],
            nodes: nodes.collect(),
            ..InventoryStatus::default()
        };
        add_cluster(&mut fleet, &cluster(cut, first), &status);
    }
    fleet
}

fn name(node: usize) -> String {
    format!("n{node:02}")
}

fn id(position: usize) -> WorkloadId {
    WorkloadId::from(format!("w{position:03}"))
}
