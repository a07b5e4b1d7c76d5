//! The policies that ours is compared with: random, best-fit, dot-product, and FGD (fragmentation gradient descent).
//!
//! As published: scores are whole numbers from 0 to 100, and of equal ones the first node of an order that is drawn once per run wins.

use super::trace::Random;
use super::world::{Class, Gpu, Node, World};

/// Largest node of the lists, for normal forms.
const MOST_CPU: f64 = 128_000.0;
const MOST_GPU: f64 = 8_000.0;

/// A policy chooses a node and a GPU among those where the task fits.
pub(super) trait Policy {
    /// The choice; `None`: it fits nowhere.
    fn choose(&mut self, world: &World, class: usize) -> Option<(usize, Gpu)>;
    /// A node has changed.
    fn changed(&mut self, _node: usize) {}
}

/// A node and a GPU at random.
pub(super) struct Chance(pub(super) Random);

impl Policy for Chance {
    fn choose(&mut self, world: &World, class: usize) -> Option<(usize, Gpu)> {
        let wanted = &world.classes[class];
        let fitting: Vec<usize> = (0..world.nodes.len())
            .filter(|node| world.nodes[*node].fits(wanted))
            .collect();
        let node = *fitting.get(self.0.below(fitting.len()))?;
        let gpus: Vec<usize> = shares(&world.nodes[node], wanted)
            .map(|(gpu, _)| gpu)
            .collect();
        let gpu = gpus.get(self.0.below(gpus.len())).copied();
        Some((node, gpu))
    }
}

/// How a score is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    BestFit,
    DotProduct,
    Fgd,
}

/// Score of every class on every node, computed again where a node has changed.
pub(super) struct Scored {
    rule: Rule,
    target: Vec<(Class, f64)>,
    version: Vec<u32>,
    /// By class and node: version, score, GPU.
    known: Vec<Vec<(u32, i32, Gpu)>>,
    frag: Vec<(u32, f64)>,
}

/// Never a version.
const UNKNOWN: u32 = u32::MAX;
/// It does not fit.
const NONE: i32 = i32::MIN;

impl Scored {
    /// `target` is the workload that FGD measures fragments by.
    pub(super) fn new(rule: Rule, world: &World, target: Vec<(Class, f64)>) -> Self {
        let nodes = world.nodes.len();
        Self {
            rule,
            target,
            version: vec![0; nodes],
            known: vec![vec![(UNKNOWN, NONE, None); nodes]; world.classes.len()],
            frag: vec![(UNKNOWN, 0.0); nodes],
        }
    }

    fn score(&mut self, world: &World, class: usize, index: usize) -> (i32, Gpu) {
        let (node, wanted) = (&world.nodes[index], &world.classes[class]);
        if !node.fits(wanted) {
            return (NONE, None);
        }
        match self.rule {
            Rule::BestFit => {
                let cpu = (node.cpu - wanted.task.cpu) as f64 / MOST_CPU;
                let free: i64 = node.free().iter().sum();
                let gpu = (free - wanted.task.total()) as f64 / MOST_GPU;
                let fullest = shares(node, wanted).min_by_key(|(gpu, free)| (*free, *gpu));
                let score = f64::midpoint(cpu, gpu);
                (
                    whole_number(100.0 * (1.0 - score)),
                    fullest.map(|(gpu, _)| gpu),
                )
            }
            Rule::DotProduct => dot_product(node, wanted),
            Rule::Fgd => {
                if self.frag[index].0 != self.version[index] {
                    self.frag[index] = (self.version[index], fragments(node, &self.target));
                }
                let before = self.frag[index].1;
                let score = |gpu: Gpu| {
                    let mut after = *node;
                    after.take(&wanted.task, gpu);
                    let less = (before - fragments(&after, &self.target)) / 1000.0;
                    whole_number(100.0 / (1.0 + (-less).exp()))
                };
                let mut best: Option<(i32, Gpu)> = None;
                for (gpu, _) in shares(node, wanted) {
                    let score = score(Some(gpu));
                    if best.is_none_or(|(most, _)| score > most) {
                        best = Some((score, Some(gpu)));
                    }
                }
                best.unwrap_or_else(|| (score(None), None))
            }
        }
    }
}

impl Policy for Scored {
    fn choose(&mut self, world: &World, class: usize) -> Option<(usize, Gpu)> {
        let mut best: Option<(i32, usize, Gpu)> = None;
        for node in 0..world.nodes.len() {
            let (version, mut score, mut gpu) = self.known[class][node];
            if version != self.version[node] {
                (score, gpu) = self.score(world, class, node);
                self.known[class][node] = (self.version[node], score, gpu);
            }
            if score != NONE && best.is_none_or(|(most, _, _)| score > most) {
                best = Some((score, node, gpu));
            }
        }
        best.map(|(_, node, gpu)| (node, gpu))
    }

    fn changed(&mut self, node: usize) {
        self.version[node] += 1;
    }
}

/// The GPUs on which a share fits, with what is free there; none where whole ones are asked for.
fn shares<'a>(node: &'a Node, wanted: &Class) -> impl Iterator<Item = (usize, i64)> + use<'a> {
    let milli = wanted.task.milli;
    let share = wanted.task.gpus == 1 && milli < 1000;
    node.free()
        .iter()
        .copied()
        .enumerate()
        .filter(move |(_, free)| share && *free >= milli)
}

#[expect(clippy::cast_possible_truncation, reason = "0 to 100")]
fn whole_number(score: f64) -> i32 {
    score.floor() as i32
}

/// Product of what is free with what is asked, smaller is better; a share sees one GPU.
fn dot_product(node: &Node, wanted: &Class) -> (i32, Gpu) {
    let cpu = node.cpu as f64 / MOST_CPU * (wanted.task.cpu as f64 / MOST_CPU);
    let score = |free: i64| {
        let gpu = free as f64 / MOST_GPU * (wanted.task.total() as f64 / MOST_GPU);
        whole_number(100.0 * (1.0 - f64::midpoint(cpu, gpu)))
    };
    let best = shares(node, wanted)
        .map(|(gpu, free)| (score(free), gpu))
        .max_by_key(|(score, gpu)| (*score, std::cmp::Reverse(*gpu)));
    match best {
        Some((score, gpu)) => (score, Some(gpu)),
        None => (score(node.free().iter().sum()), None),
    }
}

/// Thousandths of free GPU that the target workload cannot use, on average.
fn fragments(node: &Node, target: &[(Class, f64)]) -> f64 {
    let all: i64 = node.free().iter().sum();
    let mut sum = 0.0;
    for (class, part) in target {
        let task = &class.task;
        let usable =
            task.gpus > 0 && class.allows(node.model) && task.cpu <= node.cpu && node.holds(task);
        let lost = if usable {
            let small = node.free().iter().filter(|free| **free < task.milli);
            small.sum()
        } else {
            all
        };
        sum += part * lost as f64;
    }
    sum
}

/// The classes that cover 95 % of the tasks, the most frequent first, with their parts of the whole.
pub(super) fn target(world: &World, tasks: &[usize]) -> Vec<(Class, f64)> {
    // Cores, share and number of GPUs, models: how many tasks ask that, and one of their classes.
    type Shape = (i64, i64, i64, Vec<String>);
    let mut merged: std::collections::BTreeMap<Shape, (usize, usize)> =
        std::collections::BTreeMap::new();
    for class in tasks {
        let task = &world.classes[*class].task;
        let key = (task.cpu, task.milli, task.gpus, task.models.clone());
        merged.entry(key).or_insert((0, *class)).0 += 1;
    }
    let mut all: Vec<(usize, usize)> = merged.into_values().collect();
    all.sort_by_key(|(tasks, _)| std::cmp::Reverse(*tasks));
    let mut covered = 0;
    let mut chosen = Vec::new();
    for (count, class) in all {
        if covered as f64 >= 0.95 * tasks.len() as f64 {
            break;
        }
        covered += count;
        chosen.push((count, class));
    }
    chosen
        .into_iter()
        .map(|(count, class)| (world.classes[class].clone(), count as f64 / covered as f64))
        .collect()
}
