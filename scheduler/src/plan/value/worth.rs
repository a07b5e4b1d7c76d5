//! What a node is worth for the mix, and so what it costs to put a pod somewhere.

use std::collections::BTreeMap;

use super::WHOLE;
use super::dual::Sizes;
use super::mix::{Ask, Mix, Place};
use super::roots::{nine_tenths, three_quarters};

/// How full CPU and memory of a node become at best: later pods are steered, not random, but they do not fit exactly either.
const CPU_FILL: f64 = 0.78;
const MEMORY_FILL: f64 = 0.70;
/// Weight of whole free devices for pods that ask for several.
const RESERVE: f64 = 0.2;
/// Most that scarcity multiplies.
const MOST_SCARCE: f64 = 30.0;
/// What stays free on a device counts so much, per device: of equal ones the fullest.
const LEFT_ON_DEVICE: f64 = 0.05;
/// The same for CPU, per thousandth: of equal nodes the fullest.
const LEFT_CPU: f64 = 0.0001 / 100_000.0;
/// Sizes below this are nothing.
const NOTHING: f64 = 0.01;
/// Costs are compared as whole numbers of this part.
const UNIT: f64 = (1_u64 << 36) as f64;

/// Equal nodes, for what is scarce.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stock {
    /// How many.
    pub nodes: i64,
    /// Devices of one.
    pub devices: i64,
    /// Thousandths of CPU of one.
    pub cpu: i64,
    /// Bytes of memory of one.
    pub memory: i64,
    /// Whether pods may run there, by [`Place`]; what lies beyond the end may not.
    pub allowed: Vec<bool>,
}

/// What is free on a node.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// Position of its kind among the stocks.
    pub kind: usize,
    /// Thousandths of CPU.
    pub cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Wholly free devices.
    pub whole: i64,
    /// Free thousandths of the devices that are shared already.
    pub open: &'a [i64],
}

/// What is taken off a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Thousandths of CPU.
    pub cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Whole devices.
    pub devices: i64,
    /// Thousandths of one more device; 0 for none.
    pub share: i64,
}

/// The value of nodes for one mix and one fleet.
#[derive(Clone, Debug, Default)]
pub struct Worth {
    sizes: Option<Sizes>,
    /// What may run, once for all kinds of nodes on which the same may.
    lists: Vec<List>,
    /// Position of its list, by kind.
    of_kind: Vec<usize>,
    /// Position of the list by what may run there.
    known: BTreeMap<Vec<bool>, usize>,
    pods: Vec<Pod>,
    /// Places that the pods tell apart.
    places: usize,
}

/// What may run on nodes of some kinds.
#[derive(Clone, Debug, Default)]
struct List {
    /// Weight, and devices per thousandth of CPU and per byte, of each kind of pod; in fours, so that four are summed at once.
    weight: Vec<[f64; 4]>,
    per_cpu: Vec<[f64; 4]>,
    per_byte: Vec<[f64; 4]>,
    gangs: Vec<Gang>,
}

#[derive(Clone, Copy, Debug)]
struct Gang {
    weight: f64,
    ask: Ask,
}

impl Worth {
    /// The value of nodes of these kinds for this mix.
    pub fn new(mix: &Mix, stocks: &[Stock]) -> Self {
        let weights = mix.weights(stocks);
        let mut demand: BTreeMap<i64, f64> = BTreeMap::new();
        for (ask, weight) in weights.iter().filter(|(ask, _)| ask.devices == 1) {
            *demand.entry(ask.share).or_insert(0.0) += weight;
        }
        let demand: Vec<(i64, f64)> = demand.into_iter().collect();
        let sizes = Sizes::new(&demand);
        let pods = pods(&weights, &sizes, stocks);
        let mut worth = Self {
            sizes: Some(sizes),
            pods,
            places: stocks.first().map_or(0, |stock| stock.allowed.len()),
            ..Self::default()
        };
        for stock in stocks {
            worth.admit(&stock.allowed);
        }
        worth
    }

    /// Takes in one more kind of nodes, without asking what it makes scarce: that is for the next computation.
    pub fn admit(&mut self, allowed: &[bool]) {
        let allowed = &allowed[..allowed.len().min(self.places)];
        let number = self.known.get(allowed).copied().unwrap_or_else(|| {
            let may = |pod: &&Pod| allowed.get(pod.ask.place).copied().unwrap_or(false);
            self.lists.push(List::new(self.pods.iter().filter(may)));
            self.known.insert(allowed.to_vec(), self.lists.len() - 1);
            self.lists.len() - 1
        });
        self.of_kind.push(number);
    }

    /// What a node is worth.
    pub fn value(&self, spot: &Spot<'_>) -> f64 {
        let (Some(sizes), Some(list)) = (&self.sizes, self.of_kind.get(spot.kind)) else {
            return 0.0;
        };
        let open: f64 = spot.open.iter().map(|free| sizes.left(*free)).sum();
        let usable = open + spot.whole.max(0) as f64 * sizes.left(WHOLE);
        self.lists[*list].value(spot, usable)
    }

    /// What taking `used` off a node costs, and which of `spot.open` the share is on (`None`: on a device of its own). `None`: it
    /// does not fit. `before` is the node's [`Self::value`].
    pub fn cost(&self, spot: &Spot<'_>, before: f64, used: &Use) -> Option<(i64, Option<usize>)> {
        let (cpu, memory) = (spot.cpu - used.cpu, spot.memory - used.memory);
        let whole = spot.whole - used.devices;
        // A node that lost devices may lack some that nobody asks for here.
        let lacks = |used: i64, left: i64| used > 0 && left < 0;
        if lacks(used.cpu, cpu) || lacks(used.memory, memory) || lacks(used.devices, whole) {
            return None;
        }
        let cpu_left = LEFT_CPU * cpu as f64;
        let Some(sizes) = &self.sizes else {
            return Some((in_units(cpu_left), None)).filter(|_| used.share == 0 || whole > 0);
        };
        let empty = List::default();
        let list = self
            .of_kind
            .get(spot.kind)
            .map_or(&empty, |list| &self.lists[*list]);
        let open: f64 = spot.open.iter().map(|free| sizes.left(*free)).sum();
        let per_whole = sizes.left(WHOLE);
        let after = |whole: i64, open: f64, left: i64| {
            let left_spot = Spot {
                cpu,
                memory,
                whole,
                ..*spot
            };
            let usable = open + whole.max(0) as f64 * per_whole;
            let value = list.value(&left_spot, usable);
            let left = LEFT_ON_DEVICE * left as f64 / WHOLE as f64;
            in_units(before - value + left + cpu_left)
        };
        if used.share == 0 {
            return Some((after(whole, open, 0), None));
        }
        let mut best: Option<(i64, Option<usize>)> = None;
        let mut tried = -1;
        for (index, free) in spot.open.iter().enumerate() {
            // Equally free devices are one choice; the list is sorted.
            if *free < used.share || *free == tried {
                continue;
            }
            tried = *free;
            let left = free - used.share;
            let cost = after(whole, open - sizes.left(*free) + sizes.left(left), left);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, Some(index)));
            }
        }
        if whole > 0 {
            let left = WHOLE - used.share;
            let cost = after(whole - 1, open + sizes.left(left), left);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, None));
            }
        }
        best
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "costs are far below 2^27 devices"
)]
fn in_units(cost: f64) -> i64 {
    (cost * UNIT).round() as i64
}

fn may(stock: &Stock, place: Place) -> bool {
    stock.allowed.get(place).copied().unwrap_or(false)
}

/// One kind of pod with its weights.
#[derive(Clone, Debug)]
struct Pod {
    ask: Ask,
    /// Devices that it really uses up.
    size: f64,
    weight: f64,
    /// Of the reserve; 0 for pods with one device.
    gang: f64,
}

fn pods(weights: &BTreeMap<Ask, f64>, sizes: &Sizes, stocks: &[Stock]) -> Vec<Pod> {
    let size = |ask: &Ask| match ask.devices {
        0 => 0.0,
        1 => sizes.of(ask.share),
        many => many as f64,
    };
    let total = |of: &dyn Fn(&Ask) -> f64| -> f64 {
        weights.iter().map(|(ask, weight)| weight * of(ask)).sum()
    };
    let asked = |ask: &Ask| (ask.devices * ask.share) as f64;
    let (all_sizes, all_asked) = (total(&size), total(&asked));
    let devices: i64 = stocks.iter().map(|stock| stock.nodes * stock.devices).sum();
    let part = |usable: i64| usable.max(1) as f64 / devices.max(1) as f64;
    let mut pods = Vec::new();
    for (ask, weight) in weights {
        let size = size(ask);
        if size <= NOTHING {
            continue;
        }
        let allowed = || stocks.iter().filter(|stock| may(stock, ask.place));
        let there = allowed().map(|stock| stock.nodes * stock.devices).sum();
        let scarce = (1.0 / three_quarters(part(there))).min(MOST_SCARCE);
        let mut gang = 0.0;
        if ask.devices > 1 {
            let usable = allowed()
                .map(|stock| {
                    let free = (stock.cpu, stock.memory, stock.devices);
                    stock.nodes * ask.devices * copies(ask, free)
                })
                .sum::<i64>()
                .max(8);
            let scarce = (1.0 / nine_tenths(part(usable))).min(MOST_SCARCE);
            gang = RESERVE * weight * asked(ask) / all_asked * scarce * ask.devices as f64;
        }
        pods.push(Pod {
            ask: *ask,
            size,
            weight: weight * size / all_sizes * scarce,
            gang,
        });
    }
    pods
}

fn copies(ask: &Ask, (cpu, memory, devices): (i64, i64, i64)) -> i64 {
    let fit = |free: i64, one: i64| if one > 0 { free.max(0) / one } else { i64::MAX };
    fit(devices, ask.devices)
        .min(fit(cpu, ask.cpu))
        .min(fit(memory, ask.memory))
}

impl List {
    fn new<'a>(pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut list = Self::default();
        let per = |size: f64, fill: f64, one: i64| {
            if one > 0 {
                size / (fill * one as f64)
            } else {
                1e9
            }
        };
        for (index, pod) in pods.enumerate() {
            let lane = index % 4;
            if lane == 0 {
                list.weight.push([0.0; 4]);
                list.per_cpu.push([0.0; 4]);
                list.per_byte.push([0.0; 4]);
            }
            let row = index / 4;
            list.weight[row][lane] = pod.weight;
            list.per_cpu[row][lane] = per(pod.size, CPU_FILL, pod.ask.cpu);
            list.per_byte[row][lane] = per(pod.size, MEMORY_FILL, pod.ask.memory);
            if pod.gang > 0.0 {
                list.gangs.push(Gang {
                    weight: pod.gang,
                    ask: pod.ask,
                });
            }
        }
        list
    }

    /// Over the mix, what could still run beside each other kind of pod, and the reserve for gangs.
    fn value(&self, spot: &Spot<'_>, usable: f64) -> f64 {
        let mut sums = [0.0_f64; 4];
        if usable > 0.0 {
            let (cpu, memory) = (spot.cpu.max(0) as f64, spot.memory.max(0) as f64);
            let rows = self.weight.iter().zip(&self.per_cpu).zip(&self.per_byte);
            for ((weight, per_cpu), per_byte) in rows {
                for lane in 0..4 {
                    let by_cpu = lower(usable, per_cpu[lane] * cpu);
                    sums[lane] += weight[lane] * lower(by_cpu, per_byte[lane] * memory);
                }
            }
        }
        let mut reserve = 0.0;
        if spot.whole > 1 {
            for gang in &self.gangs {
                let free = (spot.cpu, spot.memory, spot.whole);
                if gang.ask.devices <= spot.whole {
                    reserve += gang.weight * copies(&gang.ask, free) as f64;
                }
            }
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3]) + reserve
    }
}

/// The lower of two; unlike `f64::min` one instruction.
fn lower(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}
