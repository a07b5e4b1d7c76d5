//! Gangs that come and go on a fleet that is kept at one load.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::map::{Free, Map};
use super::rules::Placer;
use crate::replay::told::Draws;

/// Run times, as published of a fleet of a cloud (spot-gpu-2026): half are below this, and nine of ten below e^(1.28 σ) of it.
const MEDIAN_S: f64 = 1_216.0;
const SIGMA: f64 = 2.83;
/// One in twenty runs longer; nobody here.
const LONGEST_S: f64 = 461_465.0;
/// The largest gang: 1,024 GPUs.
const LARGEST: i64 = 128;
/// Placements in each run before anything is counted, as a multiple of the hosts.
const WARM: usize = 2;

/// How many gangs have so many hosts.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    /// Hosts, and gangs with at most so many.
    upto: Vec<(i64, i64)>,
}

impl Sizes {
    /// `worker_num,jobs`: workers are taken for hosts of 8 GPUs.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut gangs = Vec::new();
        for (number, line) in text.lines().enumerate().skip(1) {
            let pair = line.trim().split_once(',');
            let pair =
                pair.and_then(|(hosts, jobs)| Some((hosts.parse().ok()?, jobs.parse().ok()?)));
            let Some((hosts, jobs)) = pair else {
                bail!(
                    "{}, line {}: {line:?} is not worker_num,jobs",
                    path.display(),
                    number + 1
                );
            };
            gangs.push((hosts, jobs));
        }
        Ok(Self::of(&gangs))
    }

    /// Hosts and how many gangs have so many.
    pub(super) fn of(gangs: &[(i64, i64)]) -> Self {
        let mut sum = 0;
        let upto = gangs
            .iter()
            .filter(|(hosts, jobs)| (1..=LARGEST).contains(hosts) && *jobs > 0);
        Self {
            upto: upto
                .map(|(hosts, jobs)| {
                    sum += jobs;
                    (*hosts, sum)
                })
                .collect(),
        }
    }

    fn draw(&self, draws: &mut Draws) -> i64 {
        let all = self.upto.last().map_or(1, |(_, upto)| *upto);
        let at = i64::try_from(draws.bits() % all.unsigned_abs().max(1)).unwrap_or(0);
        let position = self.upto.partition_point(|(_, upto)| *upto <= at);
        self.upto.get(position).map_or(1, |(hosts, _)| *hosts)
    }
}

/// Spans of the gangs of two and more hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    gangs: f64,
    /// Racks by the fewest that hold so many hosts in the empty fleet.
    of_minimum: f64,
    worst: f64,
    /// The same by the fewest with what was free just then.
    of_free: f64,
    /// Gangs in more racks than what was free just then needs.
    above: f64,
    /// Gangs in more than one block.
    torn: f64,
    /// The same for all gangs, single hosts included.
    all: f64,
    all_of_minimum: f64,
    /// Hosts in use, summed over placements.
    load: f64,
}

impl Spans {
    pub(super) fn mean(&self) -> f64 {
        self.of_minimum / self.gangs.max(1.0)
    }

    pub(super) fn figures(&self) -> [(&'static str, f64); 8] {
        [
            ("span / minimum", self.mean()),
            ("worst", self.worst),
            ("span / fewest free", self.of_free / self.gangs.max(1.0)),
            ("above that, %", 100.0 * self.above / self.gangs.max(1.0)),
            (
                "in several blocks, %",
                100.0 * self.torn / self.gangs.max(1.0),
            ),
            ("with single hosts", self.all_of_minimum / self.all.max(1.0)),
            ("load %", 100.0 * self.load / self.all.max(1.0)),
            ("gangs", self.gangs),
        ]
    }

    fn add(&mut self, map: &Map, free: &Free, hosts: i64, racks: &[(usize, i64)]) {
        let span = racks.len() as f64;
        let minimum = map.fewest(&map.empty(), hosts) as f64;
        self.all += 1.0;
        self.all_of_minimum += span / minimum;
        let used = map.hosts() - free.iter().sum::<i64>() + hosts;
        self.load += used as f64 / map.hosts() as f64;
        if hosts > 1 {
            let fewest = map.fewest(free, hosts) as f64;
            self.gangs += 1.0;
            self.of_minimum += span / minimum;
            self.worst = self.worst.max(span / minimum);
            self.of_free += span / fewest;
            self.above += f64::from(u8::from(span > fewest));
            self.torn += f64::from(u8::from(map.blocks(racks) > 1));
        }
    }
}

/// Places so many gangs; the next comes as soon as the fleet with it is at most at this load.
pub(super) fn churn(
    map: &Map,
    sizes: &Sizes,
    load_percent: i64,
    gangs: usize,
    seed: u64,
    placer: &mut dyn Placer,
    spans: &mut Spans,
) -> Result<()> {
    let mut draws = Draws::new(seed);
    let mut free = map.empty();
    let most = map.hosts() * load_percent / 100;
    let warm = WARM * usize::try_from(map.hosts()).unwrap_or(0);
    let mut ends: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
    let mut spots: BTreeMap<usize, Vec<(usize, i64)>> = BTreeMap::new();
    let mut now = 0;
    for gang in 0..warm + gangs {
        let hosts = sizes.draw(&mut draws).min(most);
        let run_s = (MEDIAN_S * (SIGMA * draws.normal()).exp()).clamp(1.0, LONGEST_S);
        while map.hosts() - free.iter().sum::<i64>() + hosts > most {
            let Some(Reverse((end, over))) = ends.pop() else {
                bail!("nobody ends and {hosts} hosts are asked for");
            };
            now = end;
            placer.end(over, now);
            for (rack, hosts) in spots.remove(&over).unwrap_or_default() {
                free[rack] += hosts;
            }
        }
        let racks = placer.place(gang, hosts, now, &free)?;
        if racks.iter().map(|(_, hosts)| hosts).sum::<i64>() != hosts {
            bail!("gang {gang} of {hosts} hosts got {racks:?}");
        }
        if gang >= warm {
            spans.add(map, &free, hosts, &racks);
        }
        for (rack, hosts) in &racks {
            free[*rack] -= hosts;
            if free[*rack] < 0 {
                bail!("gang {gang} was put on a full rack");
            }
        }
        spots.insert(gang, racks);
        #[expect(clippy::cast_possible_truncation, reason = "below LONGEST_S")]
        let run_ms = (run_s * 1000.0) as i64;
        ends.push(Reverse((now + run_ms, gang)));
    }
    Ok(())
}
