//! A fleet for the baselines: nodes with free CPU, memory and thousandths of each GPU, and classes of tasks.

use super::trace::{List, NodeSpec, Task};

/// Most GPUs of a node in the lists.
const MOST: usize = 8;

/// A node now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) cpu: i64,
    pub(super) memory: i64,
    /// Number of the node's model.
    pub(super) model: usize,
    gpus: [i64; MOST],
    count: usize,
}

/// Which GPUs a task takes: the position of one for a share, else the first that are wholly free.
pub(super) type Gpu = Option<usize>;

/// A class of tasks, with its models by number.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) task: Task,
    allowed: Vec<bool>,
}

/// Nodes and classes of one run.
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) classes: Vec<Class>,
}

impl World {
    /// An empty fleet, in the order of `specs`.
    pub(super) fn new(specs: &[NodeSpec], list: &List) -> Self {
        let mut models: Vec<String> = specs.iter().map(|spec| spec.model.clone()).collect();
        models.sort_unstable();
        models.dedup();
        let nodes = specs.iter().map(|spec| {
            let mut gpus = [0; MOST];
            gpus[..spec.gpus].fill(1000);
            Node {
                cpu: spec.cpu,
                memory: spec.memory,
                model: models
                    .iter()
                    .position(|model| *model == spec.model)
                    .unwrap_or(0),
                gpus,
                count: spec.gpus,
            }
        });
        let nodes = nodes.collect();
        let class = |task: &Task| Class {
            task: task.clone(),
            allowed: models
                .iter()
                .map(|model| task.models.is_empty() || task.models.contains(model))
                .collect(),
        };
        Self {
            classes: list.classes.iter().map(class).collect(),
            nodes,
        }
    }

    /// Puts a task on a node.
    pub(super) fn take(&mut self, class: usize, node: usize, gpu: Gpu) {
        let task = &self.classes[class].task;
        self.nodes[node].take(task, gpu);
    }
}

impl Class {
    /// Whether the task may run on nodes of this model.
    pub(super) fn allows(&self, model: usize) -> bool {
        self.allowed.get(model).copied().unwrap_or(false)
    }
}

impl Node {
    /// Free thousandths of each GPU.
    pub(super) fn free(&self) -> &[i64] {
        &self.gpus[..self.count]
    }

    /// Wholly free GPUs.
    pub(super) fn whole(&self) -> i64 {
        self.free()
            .iter()
            .map(|free| i64::from(*free == 1000))
            .sum()
    }

    /// Whether the task fits now.
    pub(super) fn fits(&self, class: &Class) -> bool {
        let task = &class.task;
        class.allows(self.model)
            && task.cpu <= self.cpu
            && task.memory <= self.memory
            && self.holds(task)
    }

    /// Whether the GPUs suffice.
    pub(super) fn holds(&self, task: &Task) -> bool {
        match (task.gpus, task.milli) {
            (0, _) => true,
            (1, milli) if milli < 1000 => self.free().iter().any(|free| *free >= milli),
            (gpus, _) => self.whole() >= gpus,
        }
    }

    pub(super) fn take(&mut self, task: &Task, gpu: Gpu) {
        self.cpu -= task.cpu;
        self.memory -= task.memory;
        if let Some(gpu) = gpu {
            self.gpus[gpu] -= task.milli;
            return;
        }
        let mut left = task.gpus;
        for free in &mut self.gpus[..self.count] {
            if left > 0 && *free == 1000 {
                *free = 0;
                left -= 1;
            }
        }
    }
}
