//! The planner of the live scheduler as a [`Policy`]: jobs become Requests, what it decides becomes starts and stops.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass, QueueOrder};
use placement_api::quantity::{Quantity, ResourceList};
use scheduler::fleet::{Fleet, WorkloadId};
use scheduler::plan::{Planner, PodSetRequest, Request};
use scheduler::shares::{QueueSpec, QueueTree};

use super::drive::{Happened, Moves, Policy, World};
use super::place::{Shape, Spot};
use super::shell::{Shell, Step, add_cluster};

/// The resource of all jobs.
pub const GPU: &str = "nvidia.com/gpu";
/// The queue of all jobs.
const QUEUE: &str = "all";

/// The live planner; a job goes to the queue that it names, if there is one, else to the queue of all.
#[derive(Clone, Debug)]
pub struct Live {
    shell: Shell,
    queues: BTreeSet<String>,
    min_runtime_ms: i64,
    largest: i64,
}

impl Live {
    /// A fleet of this shape with one queue of this order.
    pub fn new(
        shape: &Shape,
        order: QueueOrder,
        time_slicing: bool,
        min_runtime_ms: i64,
        restart_ms: i64,
    ) -> Self {
        let queue = QueueSpec {
            name: QUEUE.to_owned(),
            order,
            time_slicing,
            ..QueueSpec::default()
        };
        Self::with_queues(shape, vec![queue], min_runtime_ms, restart_ms)
    }

    /// A fleet of this shape with these queues.
    pub fn with_queues(
        shape: &Shape,
        queues: Vec<QueueSpec>,
        min_runtime_ms: i64,
        restart_ms: i64,
    ) -> Self {
        let mut planner = Planner::new();
        let names = queues.iter().map(|queue| queue.name.clone()).collect();
        planner.set_queues(QueueTree::new(queues).0);
        Self {
            shell: Shell::new(planner, fleet(shape), restart_ms),
            queues: names,
            min_runtime_ms,
            largest: shape.largest(),
        }
    }

    /// The first start that each job was promised.
    pub fn promised_ms(&self) -> BTreeMap<usize, i64> {
        let promised = self.shell.promised_ms().iter();
        promised.map(|(id, at)| (number(id), *at)).collect()
    }

    fn request(&self, world: &World<'_>, job: usize) -> Request {
        let one = &world.jobs[job];
        let pods = |name: &str, count: i64, gpus: i64| PodSetRequest {
            name: name.to_owned(),
            count,
            requests: [(GPU.to_owned(), gpus)].into_iter().collect(),
            gateable: true,
            ..PodSetRequest::default()
        };
        // A gang larger than a node takes whole nodes and one more for the rest.
        let (whole, rest) = (one.gpus / self.largest, one.gpus % self.largest);
        let mut pod_sets = Vec::new();
        if whole > 0 {
            pod_sets.push(pods("whole", whole, self.largest));
        }
        if rest > 0 {
            pod_sets.push(pods("rest", 1, rest));
        }
        Request {
            id: WorkloadId::from(format!("job-{job:07}")),
            kind: "Job".to_owned(),
            namespace: "replay".to_owned(),
            name: one.name.clone(),
            pod_sets,
            queue: if self.queues.contains(&one.queue) {
                one.queue.clone()
            } else {
                QUEUE.to_owned()
            },
            priority: one.priority,
            submitted_ms: one.submit_ms,
            waits_since_ms: one.submit_ms,
            min_runtime_ms: self.min_runtime_ms,
            // Jobs save all the time: an eviction costs a restart and no work.
            checkpoint_ms: Some(i64::MAX / 4),
            runtime_ms: one.told_ms,
            ..Request::default()
        }
    }

    /// Where a job was put.
    fn spot(&self, id: &WorkloadId) -> Spot {
        let mut spot = Spot::new();
        let Some(request) = self.shell.request(id) else {
            return spot;
        };
        for node in request.current.iter().flat_map(|part| &part.nodes) {
            let set = request.pod_set(&node.pod_set).or(request.pod_sets.first());
            let each = set.map_or(0, |set| set.requests.get(GPU));
            spot.push((position(&node.name), node.pods * each));
        }
        spot.sort_unstable();
        spot
    }
}

impl Policy for Live {
    fn decide(&mut self, world: &World<'_>, happened: &Happened) -> Moves {
        for job in &happened.ended {
            self.shell.end(&WorkloadId::from(format!("job-{job:07}")));
        }
        for job in &happened.arrived {
            let request = self.request(world, *job);
            self.shell.submit(request);
        }
        let mut moves = Moves::default();
        for step in self.shell.cycle(world.now) {
            match step {
                Step::Start(id) => moves.start.push((number(&id), self.spot(&id))),
                Step::Stop(id) => {
                    let job = number(&id);
                    if let Some(at) = moves.start.iter().position(|(one, _)| *one == job) {
                        moves.start.remove(at);
                    } else {
                        moves.stop.push(job);
                    }
                }
            }
        }
        moves.wake_ms = self.shell.next_wake_ms();
        moves
    }
}

fn fleet(shape: &Shape) -> Fleet {
    let mut fleet = Fleet::new();
    for cluster in 0..shape.cluster_count() {
        let mut status = InventoryStatus::default();
        for (node, gpus) in shape
            .gpus
            .iter()
            .enumerate()
            .filter(|(node, _)| shape.cluster[*node] == cluster)
        {
            let class = format!("g{gpus}");
            let amount: ResourceList = [(GPU.to_owned(), Quantity::from_units(*gpus))].into();
            if status.classes.iter().all(|one| one.id != class) {
                status.classes.push(NodeClass {
                    id: class.clone(),
                    allocatable: amount.clone(),
                    ..NodeClass::default()
                });
            }
            status.nodes.push(InventoryNode {
                name: format!("n{node:05}"),
                class,
                free: amount,
                ..InventoryNode::default()
            });
        }
        add_cluster(&mut fleet, &format!("c{cluster:03}"), &status);
    }
    fleet
}

fn number(id: &WorkloadId) -> usize {
    id.as_str()
        .trim_start_matches("job-")
        .parse()
        .unwrap_or(usize::MAX)
}

fn position(node: &str) -> usize {
    node.trim_start_matches('n').parse().unwrap_or(usize::MAX)
}
