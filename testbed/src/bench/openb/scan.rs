//! Our policy as a plain scan over all nodes, with nothing but the value potential: what the planner's index must agree with.

use scheduler::plan::value::{Ask, Mix, Spot, Stock, Use, Worth};

use super::baselines::Policy;
use super::trace::NodeSpec;
use super::world::{Gpu, World};

/// Every class on every node, computed again where a node or the mix has changed.
pub(super) struct Scan {
    mix: Mix,
    worth: Worth,
    stocks: Vec<Stock>,
    kinds: Vec<usize>,
    asks: Vec<Ask>,
    updated: u64,
    version: Vec<u32>,
    values: Vec<(u32, f64)>,
    known: Vec<Vec<Known>>,
}

/// The version of a node for which a score is known, and the score with its device.
type Known = (u32, Option<(i64, Gpu)>);

const UNKNOWN: u32 = u32::MAX;

impl Scan {
    /// `tasks`: the mix, where it is known.
    pub(super) fn new(world: &World, specs: &[NodeSpec], known: Option<&[usize]>) -> Self {
        let mut places: Vec<Vec<String>> = world
            .classes
            .iter()
            .map(|class| class.task.models.clone())
            .chain([Vec::new()])
            .collect();
        places.sort_unstable();
        places.dedup();
        let asks: Vec<Ask> = world
            .classes
            .iter()
            .map(|class| Ask {
                cpu: class.task.cpu,
                memory: class.task.memory,
                devices: class.task.gpus,
                share: class.task.milli,
                place: places
                    .iter()
                    .position(|models| *models == class.task.models)
                    .unwrap_or(0),
            })
            .collect();
        let shape = |spec: &NodeSpec| (spec.model.clone(), spec.gpus, spec.cpu, spec.memory);
        let mut shapes: Vec<_> = specs.iter().map(shape).collect();
        shapes.sort_unstable();
        shapes.dedup();
        let kinds: Vec<usize> = specs
            .iter()
            .map(|spec| shapes.binary_search(&shape(spec)).unwrap_or(0))
            .collect();
        let stocks = shapes
            .iter()
            .enumerate()
            .map(|(kind, (model, gpus, cpu, memory))| Stock {
                nodes: kinds.iter().map(|have| i64::from(*have == kind)).sum(),
                devices: i64::try_from(*gpus).unwrap_or_default(),
                cpu: *cpu,
                memory: *memory,
                allowed: places
                    .iter()
                    .map(|models| models.is_empty() || models.contains(model))
                    .collect(),
            })
            .collect();
        let mut scan = Self {
            mix: known.map_or_else(Mix::default, |tasks| {
                Mix::known(tasks.iter().map(|class| (asks[*class], 1)))
            }),
            worth: Worth::default(),
            stocks,
            kinds,
            asks,
            updated: 0,
            version: Vec::new(),
            values: Vec::new(),
            known: Vec::new(),
        };
        scan.update(world);
        scan
    }

    fn update(&mut self, world: &World) {
        self.worth = Worth::new(&self.mix, &self.stocks);
        self.updated = self.mix.arrivals();
        self.version = vec![0; world.nodes.len()];
        self.values = vec![(UNKNOWN, 0.0); world.nodes.len()];
        self.known = vec![vec![(UNKNOWN, None); world.nodes.len()]; world.classes.len()];
    }

    fn cost(&mut self, world: &World, class: usize, index: usize) -> Option<(i64, Gpu)> {
        let (node, wanted) = (&world.nodes[index], &world.classes[class]);
        if !wanted.allows(node.model) {
            return None;
        }
        let mut open: Vec<(i64, usize)> = node
            .free()
            .iter()
            .enumerate()
            .filter(|(_, free)| **free > 0 && **free < 1000)
            .map(|(gpu, free)| (*free, gpu))
            .collect();
        open.sort_unstable();
        let free: Vec<i64> = open.iter().map(|(free, _)| *free).collect();
        let spot = Spot {
            kind: self.kinds[index],
            cpu: node.cpu,
            memory: node.memory,
            whole: node.whole(),
            open: &free,
        };
        if self.values[index].0 != self.version[index] {
            self.values[index] = (self.version[index], self.worth.value(&spot));
        }
        let whole = wanted.task.milli == 1000;
        let used = Use {
            cpu: wanted.task.cpu,
            memory: wanted.task.memory,
            devices: if whole { wanted.task.gpus } else { 0 },
            share: if whole { 0 } else { wanted.task.milli },
        };
        let (cost, place) = self.worth.cost(&spot, self.values[index].1, &used)?;
        let fresh = || node.free().iter().position(|free| *free == 1000);
        let gpu = (used.share > 0)
            .then(|| place.map(|position| open[position].1).or_else(fresh))
            .flatten();
        Some((cost, gpu))
    }
}

impl Policy for Scan {
    fn choose(&mut self, world: &World, class: usize) -> Option<(usize, Gpu)> {
        if !self.mix.is_known() {
            self.mix.arrive(self.asks[class], 1);
            if self.mix.arrivals() >= Mix::next_update(self.updated) {
                self.update(world);
            }
        }
        let mut best: Option<(i64, usize, Gpu)> = None;
        for node in 0..world.nodes.len() {
            let (version, mut found) = self.known[class][node];
            if version != self.version[node] {
                found = self.cost(world, class, node);
                self.known[class][node] = (self.version[node], found);
            }
            if let Some((cost, gpu)) = found
                && best.is_none_or(|(least, _, _)| cost < least)
            {
                best = Some((cost, node, gpu));
            }
        }
        best.map(|(_, node, gpu)| (node, gpu))
    }

    fn changed(&mut self, node: usize) {
        self.version[node] += 1;
    }
}
