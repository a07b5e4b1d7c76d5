//! Ours, through the planner that the live scheduler runs: a fleet of one target, and a workload for each task.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass, Packing};
use placement_api::quantity::Quantity;
use placement_api::selector::{
    Labels, NodeOperator, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
};
use scheduler::fleet::{Fleet, TargetName, TargetState};
use scheduler::plan::{Planner, PodSetRequest, Request};

use super::super::busy;
use super::trace::{List, NodeSpec, Task};

const TARGET: &str = "openb";
const GPU: &str = "nvidia.com/gpu";
const MODEL: &str = "gpu-model";

/// The planner and its fleet.
pub(super) struct Ours {
    planner: Planner,
    fleet: Fleet,
    /// A request for each class of tasks; only its name is still to be given.
    requests: Vec<Request>,
    arrived: usize,
    /// What is used of each node, counted beside the planner.
    ledger: Vec<(i64, i64, i64)>,
    specs: Vec<NodeSpec>,
    /// Time of each decision.
    pub(super) times: Vec<Duration>,
}

impl Ours {
    /// An empty fleet. `known`: the mix of tasks is known.
    pub(super) fn new(specs: &[NodeSpec], list: &List, known: bool) -> Self {
        let name = TargetName::from(TARGET);
        let mut fleet = Fleet::new();
        fleet.set_target(&name, Labels::new(), Vec::new(), TargetState::Ready, 0);
        fleet.set_inventory(&name, &inventory(specs));
        fleet.serve_everything(&name);
        let requests: Vec<Request> = list.classes.iter().map(request).collect();
        let mut planner = Planner::new();
        if known {
            let mut counts = vec![0; requests.len()];
            for class in &list.tasks {
                counts[*class] += 1;
            }
            let mix: Vec<(Request, u64)> = requests.iter().cloned().zip(counts).collect();
            planner.expect(&mut fleet, &mix);
        }
        Self {
            planner,
            fleet,
            requests,
            arrived: 0,
            ledger: vec![(0, 0, 0); specs.len()],
            specs: specs.to_vec(),
            times: Vec::new(),
        }
    }

    /// Plans one more task; whether it was placed. An error if a node then holds more than it has.
    pub(super) fn arrive(&mut self, class: usize, task: &Task) -> Result<bool> {
        let mut request = self.requests[class].clone();
        request.id = format!("task-{:07}", self.arrived).into();
        request.submitted_ms = i64::try_from(self.arrived)?;
        self.arrived += 1;
        let began = busy();
        let (decisions, _) = self
            .planner
            .plan(&mut self.fleet, std::slice::from_ref(&request), 0);
        self.times.push(busy().saturating_sub(began));
        let Some(part) = decisions
            .first()
            .and_then(|decision| decision.parts.first())
        else {
            // Each task is tried once.
            self.planner.forget(&request.id);
            return Ok(false);
        };
        // For tasks without GPUs only the target is decided; what was assumed of their nodes is checked at the end.
        let Some(node) = part.nodes.first() else {
            return Ok(true);
        };
        let index = self
            .specs
            .binary_search_by(|spec| spec.name.as_str().cmp(&node.name))
            .ok()
            .context("a node of the list")?;
        let (used, spec) = (&mut self.ledger[index], &self.specs[index]);
        used.0 += task.cpu;
        used.1 += task.memory;
        used.2 += task.total();
        let gpus = 1000 * i64::try_from(spec.gpus)?;
        ensure!(
            used.0 <= spec.cpu && used.1 <= spec.memory && used.2 <= gpus,
            "{} holds more than it has",
            node.name
        );
        Ok(true)
    }

    /// An error if a node holds more than it has, by the planner's own account.
    pub(super) fn check(&self) -> Result<()> {
        for spec in &self.specs {
            let free = self.fleet.free_on(TARGET, &spec.name).context("a node")?;
            for (resource, amount) in free.iter() {
                ensure!(amount >= 0, "{} lacks {amount} of {resource}", spec.name);
            }
        }
        Ok(())
    }
}

fn inventory(specs: &[NodeSpec]) -> InventoryStatus {
    let id = |spec: &NodeSpec| format!("{}-{}-{}-{}", spec.model, spec.gpus, spec.cpu, spec.memory);
    let class = |spec: &NodeSpec| NodeClass {
        id: id(spec),
        labels: [(MODEL.to_owned(), spec.model.clone())].into(),
        allocatable: [
            ("cpu".to_owned(), Quantity::from_milli(spec.cpu)),
            ("memory".to_owned(), Quantity::from_bytes(spec.memory)),
            (
                GPU.to_owned(),
                Quantity::from_units(i64::try_from(spec.gpus).unwrap_or_default()),
            ),
        ]
        .into(),
        ..NodeClass::default()
    };
    let mut classes: Vec<NodeClass> = specs.iter().map(class).collect();
    classes.sort_by(|a, b| a.id.cmp(&b.id));
    classes.dedup_by(|a, b| a.id == b.id);
    let node = |spec: &NodeSpec| InventoryNode {
        name: spec.name.clone(),
        class: id(spec),
        ..InventoryNode::default()
    };
    InventoryStatus {
        classes,
        nodes: specs.iter().map(node).collect(),
        ..InventoryStatus::default()
    }
}

fn request(task: &Task) -> Request {
    let mut requests = vec![
        ("cpu".to_owned(), task.cpu),
        ("memory".to_owned(), task.memory),
    ];
    let whole = task.milli == 1000;
    if whole {
        requests.push((GPU.to_owned(), task.gpus));
    }
    let affinity = (!task.models.is_empty()).then(|| NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm {
            match_expressions: vec![NodeSelectorRequirement {
                key: MODEL.to_owned(),
                operator: NodeOperator::In,
                values: task.models.clone(),
            }],
            ..NodeSelectorTerm::default()
        }],
    });
    let pods = PodSetRequest {
        name: "main".to_owned(),
        count: 1,
        requests: requests.into_iter().collect(),
        gpu_share_milli: if whole { 0 } else { task.milli },
        affinity,
        gateable: true,
        ..PodSetRequest::default()
    };
    Request {
        pod_sets: vec![pods],
        packing: Some(Packing::Pack),
        ..Request::default()
    }
}
