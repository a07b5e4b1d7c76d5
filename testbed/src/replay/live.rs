//! The planner of the live scheduler in virtual time: jobs become Requests, Decisions become starts and stops.
//!
//! What is not the planner here is what the shell and the agents do: an event wakes whom `Planner::wake` names, who gives way is gone at
//! once and asks again, and who starts is reported as running.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass, QueueOrder};
use placement_api::quantity::Quantity;
use scheduler::fleet::{Event, Fleet, TargetName, TargetState, WorkloadId};
use scheduler::plan::{Change, Current, Decision, Planner, PodSetRequest, Request, Step};

use scheduler::shares::{QueueSpec, QueueTree};

use super::drive::{Happened, Moves, Policy, World};
use super::place::{Shape, Spot};

const GPU: &str = "nvidia.com/gpu";
/// The queue of all jobs.
const QUEUE: &str = "all";
/// Replanning what a decision has set free comes to rest long before this.
const MOST_ROUNDS: usize = 1_000;

/// The live planner.
#[derive(Clone, Debug)]
pub struct Live {
    planner: Planner,
    fleet: Fleet,
    requests: BTreeMap<usize, Request>,
    /// Jobs that time alone may help.
    wakes: BTreeMap<usize, i64>,
    min_runtime_ms: i64,
    restart_ms: i64,
    largest: i64,
    /// Requests that were planned.
    pub planned: u64,
    /// The first start that each job was promised.
    pub promised_ms: BTreeMap<usize, i64>,
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
        let mut planner = Planner::new();
        let queue = QueueSpec {
            name: QUEUE.to_owned(),
            order,
            time_slicing,
            ..QueueSpec::default()
        };
        planner.set_queues(QueueTree::new(vec![queue]).0);
        Self {
            planner,
            fleet: fleet(shape),
            requests: BTreeMap::new(),
            wakes: BTreeMap::new(),
            min_runtime_ms,
            restart_ms,
            largest: shape.largest(),
            planned: 0,
            promised_ms: BTreeMap::new(),
        }
    }

    fn submit(&mut self, world: &World<'_>, job: usize) {
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
        let request = Request {
            id: id(job),
            kind: "Job".to_owned(),
            namespace: "replay".to_owned(),
            name: one.name.clone(),
            pod_sets,
            queue: QUEUE.to_owned(),
            priority: one.priority,
            submitted_ms: one.submit_ms,
            waits_since_ms: one.submit_ms,
            min_runtime_ms: self.min_runtime_ms,
            // Jobs save all the time: an eviction costs a restart and no work.
            checkpoint_ms: Some(i64::MAX / 4),
            runtime_ms: one.told_ms,
            ..Request::default()
        };
        self.requests.insert(job, request);
    }

    /// Takes a decision over. Says whether the job has been stopped.
    fn take(
        &mut self,
        world: &World<'_>,
        job: usize,
        decision: &Decision,
        moves: &mut Moves,
    ) -> bool {
        let Some(request) = self.requests.get_mut(&job) else {
            return false;
        };
        request.epoch = decision.epoch;
        if decision.leaving.iter().any(|part| part.step == Step::Now) {
            request.current.clear();
            if let Some(at) = moves.start.iter().position(|(one, _)| *one == job) {
                moves.start.remove(at);
            } else {
                moves.stop.push(job);
            }
            return true;
        }
        if decision.parts.iter().any(|part| part.change == Change::New) {
            let again = world.states[job].stops > 0 || moves.stop.contains(&job);
            let useful = world.now + if again { self.restart_ms } else { 0 };
            let mut spot = Spot::new();
            for part in &decision.parts {
                for node in &part.nodes {
                    let set = request.pod_set(&node.pod_set).or(request.pod_sets.first());
                    let each = set.map_or(0, |set| set.requests.get(GPU));
                    spot.push((position(&node.name), node.pods * each));
                }
                request.current.push(Current {
                    target: part.target.clone(),
                    epoch: part.epoch,
                    counts: part.counts.clone(),
                    nodes: part.nodes.clone(),
                    domain: part.domain.clone(),
                    evicting: false,
                    started: true,
                    healthy: true,
                    started_ms: Some(useful),
                });
            }
            spot.sort_unstable();
            moves.start.push((job, spot));
            let request = request.clone();
            self.planner.adopt(&mut self.fleet, &request);
        }
        false
    }
}

impl Policy for Live {
    fn decide(&mut self, world: &World<'_>, happened: &Happened) -> Moves {
        let mut moves = Moves::default();
        let mut event = Event::nothing();
        for job in &happened.ended {
            event.merge(self.fleet.release_all(&id(*job)));
            self.planner.forget(&id(*job));
            self.requests.remove(job);
            self.wakes.remove(job);
        }
        let mut look: BTreeSet<usize> = happened.arrived.iter().copied().collect();
        for job in &happened.arrived {
            self.submit(world, *job);
        }
        look.extend(
            self.wakes
                .iter()
                .filter(|(_, wake)| **wake <= world.now)
                .map(|(job, _)| *job),
        );
        for _ in 0..MOST_ROUNDS {
            look.extend(self.planner.wake(&event).iter().map(number));
            if look.is_empty() {
                break;
            }
            let asked: Vec<Request> = look
                .iter()
                .filter_map(|job| self.requests.get(job).cloned())
                .collect();
            self.planned += asked.len() as u64;
            let (decisions, report) = self.planner.plan(&mut self.fleet, &asked, world.now);
            for job in &look {
                self.wakes.remove(job);
            }
            for (id, wake) in &report.wake_ms {
                self.wakes.insert(number(id), *wake);
            }
            for job in &look {
                if let Some(start) = self.planner.promised_ms(&id(*job)) {
                    self.promised_ms.entry(*job).or_insert(start);
                }
            }
            look.clear();
            // Who gives way goes first, so that its room is free for the claimant.
            let (go, rest): (Vec<_>, Vec<_>) = decisions
                .iter()
                .partition(|decision| !decision.leaving.is_empty());
            for decision in go.into_iter().chain(rest) {
                let job = number(&decision.id);
                if self.take(world, job, decision, &mut moves) {
                    look.insert(job);
                }
            }
            event = report.freed;
        }
        moves.wake_ms = self.wakes.values().min().copied();
        moves
    }
}

fn fleet(shape: &Shape) -> Fleet {
    let mut fleet = Fleet::new();
    for cluster in 0..shape.cluster_count() {
        let name = TargetName::from(format!("c{cluster:03}"));
        let mut status = InventoryStatus::default();
        for (node, gpus) in shape
            .gpus
            .iter()
            .enumerate()
            .filter(|(node, _)| shape.cluster[*node] == cluster)
        {
            let class = format!("g{gpus}");
            let amount: placement_api::quantity::ResourceList =
                [(GPU.to_owned(), Quantity::from_units(*gpus))].into();
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
        fleet.set_inventory(&name, &status);
        fleet.serve_everything(&name);
        fleet.set_target(
            &name,
            std::iter::empty().collect(),
            Vec::new(),
            TargetState::Ready,
            0,
        );
    }
    fleet
}

fn id(job: usize) -> WorkloadId {
    WorkloadId::from(format!("job-{job:07}"))
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
