//! The live planner on one of Kueue's shapes, and the baseline: priority order under the same quota, nobody stopped.

use std::collections::{BTreeMap, VecDeque};

use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass};
use placement_api::quantity::{Quantity, ResourceList};
use placement_api::resources::CPU;
use scheduler::fleet::{Fleet, WorkloadId};
use scheduler::plan::{Closeness, Planner, PodSetRequest, Request};
use scheduler::shares::{QueueSpec, QueueTree};

use super::run::{Act, Engine};
use super::shape::{BORROWED, Class, NODE, NOMINAL, Shape, Work};
use crate::replay::shell::{Shell, Step, add_cluster};

const RACK: &str = "topology.kubernetes.io/rack";

/// What ours is told and allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Whether run times are known.
    pub(super) known: bool,
    /// Who runs shorter than this is not evicted.
    pub(super) min_runtime_ms: i64,
}

/// The planner that the live scheduler runs.
pub(super) struct Ours<'a> {
    shell: Shell,
    works: &'a [Work],
    rules: Rules,
}

impl<'a> Ours<'a> {
    pub(super) fn new(shape: &Shape, works: &'a [Work], rules: Rules) -> Self {
        let mut planner = Planner::new();
        planner.set_queues(QueueTree::new(queues(shape)).0);
        Self {
            shell: Shell::new(planner, fleet(shape), 0),
            works,
            rules,
        }
    }

    fn request(&self, work: usize) -> Request {
        let Work {
            queue,
            set,
            submit_ms,
        } = self.works[work];
        Request {
            id: id(work),
            kind: "Job".to_owned(),
            namespace: format!("q{queue}"),
            name: format!("{}-{work}", set.class.name()),
            pod_sets: vec![PodSetRequest {
                name: "main".to_owned(),
                count: set.pods,
                requests: [(CPU.to_owned(), set.millicores)].into_iter().collect(),
                gateable: true,
                ..PodSetRequest::default()
            }],
            topology: set.rack.map(|mode| Closeness {
                level: RACK.to_owned(),
                mode,
                relax_after_ms: None,
            }),
            queue: format!("q{queue}"),
            priority: set.priority,
            submitted_ms: submit_ms,
            waits_since_ms: submit_ms,
            min_runtime_ms: self.rules.min_runtime_ms,
            runtime_ms: self.rules.known.then_some(set.run_ms),
            ..Request::default()
        }
    }
}

impl Engine for Ours<'_> {
    fn submit(&mut self, work: usize) {
        let request = self.request(work);
        self.shell.submit(request);
    }

    fn end(&mut self, work: usize) {
        self.shell.end(&id(work));
    }

    fn decide(&mut self, now_ms: i64) -> Vec<Act> {
        let act = |step: &Step| match step {
            Step::Start(id) => Act::Start(number(id)),
            Step::Stop(id) => Act::Stop(number(id)),
        };
        self.shell.cycle(now_ms).iter().map(act).collect()
    }

    fn wake_ms(&self) -> Option<i64> {
        self.shell.next_wake_ms()
    }
}

/// In each cohort the highest priority first, then the oldest; what does not fit the quota is passed over; nobody is stopped.
pub(super) struct Greedy<'a> {
    shape: Shape,
    works: &'a [Work],
    /// By class, the highest first, then by queue.
    lines: BTreeMap<(std::cmp::Reverse<Class>, usize), VecDeque<usize>>,
    by_queue: Vec<i64>,
    by_cohort: Vec<i64>,
}

impl<'a> Greedy<'a> {
    pub(super) fn new(shape: Shape, works: &'a [Work]) -> Self {
        Self {
            shape,
            works,
            lines: BTreeMap::new(),
            by_queue: vec![0; shape.cohorts * shape.queues],
            by_cohort: vec![0; shape.cohorts],
        }
    }

    fn count(&mut self, work: usize, sign: i64) {
        let Work { queue, set, .. } = self.works[work];
        self.by_queue[queue] += sign * set.cpu();
        self.by_cohort[queue / self.shape.queues] += sign * set.cpu();
    }
}

impl Engine for Greedy<'_> {
    fn submit(&mut self, work: usize) {
        let Work { queue, set, .. } = self.works[work];
        let line = self.lines.entry((std::cmp::Reverse(set.class), queue));
        line.or_default().push_back(work);
    }

    fn end(&mut self, work: usize) {
        self.count(work, -1);
    }

    fn decide(&mut self, _: i64) -> Vec<Act> {
        let mut acts = Vec::new();
        for class in Class::ALL.into_iter().rev() {
            loop {
                // The oldest head that fits.
                let key = |queue: usize| (std::cmp::Reverse(class), queue);
                let fits = |queue: &usize| {
                    let head = self.lines.get(&key(*queue)).and_then(VecDeque::front);
                    head.is_some_and(|head| {
                        let cpu = self.works[*head].set.cpu();
                        self.by_queue[*queue] + cpu <= NOMINAL + BORROWED
                            && self.by_cohort[*queue / self.shape.queues] + cpu
                                <= self.shape.cohort_cpu()
                    })
                };
                let oldest = (0..self.by_queue.len()).filter(fits).min_by_key(|queue| {
                    let head = self.lines[&key(*queue)][0];
                    (self.works[head].submit_ms, *queue)
                });
                let Some(work) = oldest
                    .and_then(|queue| self.lines.get_mut(&key(queue)))
                    .and_then(VecDeque::pop_front)
                else {
                    break;
                };
                self.count(work, 1);
                acts.push(Act::Start(work));
            }
        }
        acts
    }

    fn wake_ms(&self) -> Option<i64> {
        None
    }
}

/// A cohort is a queue with the sum of its children's guarantees, which is its limit too.
fn queues(shape: &Shape) -> Vec<QueueSpec> {
    let amount = |cpu: i64| BTreeMap::from([(CPU.to_owned(), cpu)]);
    let mut specs = Vec::new();
    for cohort in 0..shape.cohorts {
        specs.push(QueueSpec {
            name: format!("cohort{cohort}"),
            limit: amount(shape.cohort_cpu()),
            ..QueueSpec::default()
        });
        for queue in 0..shape.queues {
            specs.push(QueueSpec {
                name: format!("q{}", cohort * shape.queues + queue),
                parent: format!("cohort{cohort}"),
                guaranteed: amount(NOMINAL),
                limit: amount(NOMINAL + BORROWED),
                ..QueueSpec::default()
            });
        }
    }
    specs
}

fn fleet(shape: &Shape) -> Fleet {
    let cohorts = i64::try_from(shape.cohorts).unwrap_or(0);
    let (racks, each, cpu) = match shape.racks {
        Some((racks, each)) => (racks, each, NODE),
        None => (1, 1, cohorts * shape.cohort_cpu()),
    };
    let amount: ResourceList = [(CPU.to_owned(), Quantity::from_units(cpu / 1000))].into();
    let mut status = InventoryStatus {
        classes: vec![NodeClass {
            id: "node".to_owned(),
            allocatable: amount.clone(),
            ..NodeClass::default()
        }],
        ..InventoryStatus::default()
    };
    for rack in 0..racks {
        status.nodes.extend((0..each).map(|node| InventoryNode {
            name: format!("r{rack:02}n{node:02}"),
            class: "node".to_owned(),
            labels: [(RACK.to_owned(), format!("r{rack:02}"))].into(),
            free: amount.clone(),
            ..InventoryNode::default()
        }));
    }
    let mut fleet = Fleet::new();
    add_cluster(&mut fleet, "kueue", &status);
    fleet
}

fn id(work: usize) -> WorkloadId {
    WorkloadId::from(format!("w{work:06}"))
}

fn number(id: &WorkloadId) -> usize {
    id.as_str()
        .trim_start_matches('w')
        .parse()
        .unwrap_or(usize::MAX)
}
