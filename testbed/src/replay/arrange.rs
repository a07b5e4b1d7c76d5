//! The thin placement of the policies that are judged by time alone: who runs is chosen by count in the order given, then
//! put on nodes, and small jobs move where a gang fits by count but not by shape.
//!
//! It is not the live planner's placement; figures that come from it say so.

use std::collections::{BTreeMap, BTreeSet};

use super::drive::{Moves, World};
use super::place::{Spot, give, take};

/// What the placement may do.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Running jobs that stay whatever the order says.
    pub protected: BTreeSet<usize>,
    /// Small running jobs may be moved to make room for the shape of a gang.
    pub moves: bool,
    /// Nodes that are closed to whoever would be there after a time, and for whom: (job, nodes, until).
    pub hold: Option<Hold>,
}

/// Nodes held for one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// For whom.
    pub job: usize,
    /// Where it will run.
    pub spot: Spot,
    /// What else is free on those nodes then.
    pub spare: Spot,
    /// From when on, ms.
    pub at_ms: i64,
}

/// What a move costs beside the GPUs that restart: every move is an eviction.
const MOVE_COST: i64 = 2;

/// Chooses and places. `order` has everybody who waits or runs, the first first.
pub fn arrange(world: &World<'_>, order: &[usize], rules: &Rules) -> Moves {
    let chosen = choose(world, order, rules);
    let mut trial = Trial::new(world, rules);
    for job in world.running.iter().filter(|job| !chosen.contains(job)) {
        trial.stop(*job);
    }
    if let Some(hold) = &rules.hold {
        trial.claim(hold, order);
    }
    let mut new: Vec<usize> = order
        .iter()
        .copied()
        .filter(|job| chosen.contains(job) && world.waiting.contains(job))
        .filter(|job| !trial.placed.contains_key(job))
        .collect();
    new.sort_by_key(|job| -world.jobs[*job].gpus);
    for job in new {
        trial.put(job);
    }
    trial.replace_displaced();
    // What was stopped for nothing stays, and what still fits starts.
    for job in order {
        trial.restore(*job);
    }
    for job in order {
        if !trial.placed.contains_key(job) {
            trial.put_free(*job);
        }
    }
    trial.moves()
}

/// Who runs, by count alone: the protected, then in order whoever fits what is left.
fn choose(world: &World<'_>, order: &[usize], rules: &Rules) -> BTreeSet<usize> {
    let mut left = world.shape.total();
    let mut chosen = rules.protected.clone();
    left -= chosen.iter().map(|job| world.jobs[*job].gpus).sum::<i64>();
    for job in order {
        let gpus = world.jobs[*job].gpus;
        if left == 0 {
            break;
        }
        if gpus <= left && chosen.insert(*job) {
            left -= gpus;
        }
    }
    chosen
}

/// Spots while they are being tried.
struct Trial<'a> {
    world: &'a World<'a>,
    rules: &'a Rules,
    free: Vec<i64>,
    /// Everybody who will run, and where.
    placed: BTreeMap<usize, Spot>,
    /// Running jobs that must make room for a shape.
    displaced: BTreeSet<usize>,
    /// What may start on held nodes and stay: GPUs by node.
    spare: BTreeMap<usize, i64>,
}

impl<'a> Trial<'a> {
    fn new(world: &'a World<'a>, rules: &'a Rules) -> Self {
        let here = |job: &usize| (*job, world.states[*job].spot.clone());
        Self {
            world,
            rules,
            free: world.free.to_vec(),
            placed: world.running.iter().map(here).collect(),
            displaced: BTreeSet::new(),
            spare: rules
                .hold
                .iter()
                .flat_map(|hold| hold.spare.iter().copied())
                .collect(),
        }
    }

    fn stop(&mut self, job: usize) {
        if let Some(spot) = self.placed.remove(&job) {
            give(&mut self.free, &spot);
        }
    }

    fn start(&mut self, job: usize, spot: Spot) {
        take(&mut self.free, &spot);
        if !self.ends_before_hold(job) && self.world.states[job].spot != spot {
            for (node, gpus) in &spot {
                if let Some(spare) = self.spare.get_mut(node) {
                    *spare -= gpus;
                }
            }
        }
        self.placed.insert(job, spot);
    }

    /// The holder takes its nodes as soon as nobody is there who may not be stopped.
    fn claim(&mut self, hold: &Hold, order: &[usize]) {
        if self.placed.contains_key(&hold.job) || !self.world.waiting.contains(&hold.job) {
            return;
        }
        if let Some(spot) = self.spot(hold.job) {
            return self.start(hold.job, spot);
        }
        let mut free = self.free.clone();
        let before: BTreeSet<usize> = order
            .iter()
            .copied()
            .take_while(|job| *job != hold.job)
            .collect();
        let mut gone = Vec::new();
        // The last in the order go first.
        for job in order.iter().rev() {
            let Some(spot) = self.placed.get(job) else {
                continue;
            };
            let short = |node: usize| {
                hold.spot
                    .iter()
                    .any(|(held, gpus)| *held == node && free[node] < *gpus)
            };
            let stays = self.rules.protected.contains(job) || before.contains(job);
            if !stays && spot.iter().any(|(node, _)| short(*node)) {
                give(&mut free, spot);
                gone.push(*job);
            }
        }
        if hold.spot.iter().all(|(node, gpus)| free[*node] >= *gpus) {
            for job in gone {
                self.stop(job);
                self.displaced.insert(job);
            }
            self.start(hold.job, hold.spot.clone());
        }
    }

    /// Whether a job may start on a node: held nodes are for those who end before.
    fn open(&self, job: usize, node: usize) -> bool {
        let Some(hold) = &self.rules.hold else {
            return true;
        };
        if hold.job == job || self.placed.contains_key(&hold.job) {
            return true;
        }
        let needs = self.world.jobs[job].gpus.min(self.world.shape.gpus[node]);
        self.spare.get(&node).is_none_or(|spare| *spare >= needs) || self.ends_before_hold(job)
    }

    fn ends_before_hold(&self, job: usize) -> bool {
        let Some(hold) = &self.rules.hold else {
            return true;
        };
        let restart = if self.world.states[job].stops > 0 || !self.world.states[job].spot.is_empty()
        {
            60_000
        } else {
            0
        };
        let left = self.world.told_left_ms(job);
        left.is_some_and(|left| self.world.now + left + restart <= hold.at_ms)
    }

    fn spot(&self, job: usize) -> Option<Spot> {
        let gpus = self.world.jobs[job].gpus;
        self.world
            .shape
            .spot(&self.free, gpus, |node| self.open(job, node))
    }

    fn put_free(&mut self, job: usize) {
        if let Some(spot) = self.spot(job) {
            self.start(job, spot);
        }
    }

    fn put(&mut self, job: usize) {
        if let Some(spot) = self.spot(job) {
            self.start(job, spot);
        } else if self.rules.moves
            && self.world.jobs[job].gpus >= 4
            && let Some(spot) = self.clear(job)
        {
            self.start(job, spot);
        }
    }

    /// Moves the smallest running jobs off the cheapest nodes.
    fn clear(&mut self, job: usize) -> Option<Spot> {
        let shape = self.world.shape;
        let largest = shape.largest();
        let mut wanted = self.world.jobs[job].gpus;
        let mut by_node: Vec<Vec<usize>> = vec![Vec::new(); shape.gpus.len()];
        for (other, spot) in &self.placed {
            let small = self.world.jobs[*other].gpus < largest && spot.len() == 1;
            if small
                && self.world.running.contains(other)
                && !self.rules.protected.contains(other)
                && !self.displaced.contains(other)
            {
                by_node[spot[0].0].push(*other);
            }
        }
        for jobs in &mut by_node {
            jobs.sort_by_key(|other| (self.world.jobs[*other].gpus, *other));
        }
        // What it costs to have so many GPUs of a node, and who moves.
        let price = |node: usize, gpus: i64| -> Option<(i64, Vec<usize>)> {
            let (mut free, mut cost, mut gone) = (self.free[node], 0, Vec::new());
            for other in &by_node[node] {
                if free >= gpus {
                    break;
                }
                free += self.world.jobs[*other].gpus;
                cost += MOVE_COST + self.world.jobs[*other].gpus;
                gone.push(*other);
            }
            (free >= gpus && self.open(job, node)).then_some((cost, gone))
        };
        let mut best: Option<(i64, Spot, Vec<usize>)> = None;
        let whole = wanted / largest;
        wanted -= whole * largest;
        for cluster in 0..shape.cluster_count() {
            let inside = |node: &usize| shape.cluster[*node] == cluster;
            let mut full: Vec<(i64, usize, Vec<usize>)> = Vec::new();
            if whole > 0 {
                full = (0..self.free.len())
                    .filter(inside)
                    .filter(|node| shape.gpus[*node] == largest)
                    .filter_map(|node| price(node, largest).map(|(cost, gone)| (cost, node, gone)))
                    .collect();
                full.sort();
                full.truncate(usize::try_from(whole).unwrap_or(usize::MAX));
                if i64::try_from(full.len()).unwrap_or(0) < whole {
                    continue;
                }
            }
            if wanted > 0 {
                let rest = (0..self.free.len())
                    .filter(inside)
                    .filter(|node| full.iter().all(|one| one.1 != *node))
                    .filter_map(|node| price(node, wanted).map(|(cost, gone)| (cost, node, gone)))
                    .min();
                match rest {
                    Some(rest) => full.push(rest),
                    None => continue,
                }
            }
            let cost = full.iter().map(|one| one.0).sum();
            if best.as_ref().is_none_or(|(least, _, _)| cost < *least) {
                let last = full.len() - 1;
                let part = |(at, one): (usize, &(i64, usize, Vec<usize>))| {
                    (
                        one.1,
                        if wanted > 0 && at == last {
                            wanted
                        } else {
                            largest
                        },
                    )
                };
                let spot = full.iter().enumerate().map(part).collect();
                best = Some((cost, spot, full.into_iter().flat_map(|one| one.2).collect()));
            }
        }
        let (_, spot, gone) = best?;
        for other in gone {
            self.stop(other);
            self.displaced.insert(other);
        }
        Some(spot)
    }

    fn replace_displaced(&mut self) {
        let mut jobs: Vec<usize> = self.displaced.iter().copied().collect();
        jobs.sort_by_key(|job| (-self.world.jobs[*job].gpus, *job));
        for job in jobs {
            self.put_free(job);
        }
    }

    fn restore(&mut self, job: usize) {
        let spot = &self.world.states[job].spot;
        let out = !spot.is_empty() && !self.placed.contains_key(&job);
        if out && spot.iter().all(|(node, gpus)| self.free[*node] >= *gpus) {
            self.start(job, spot.clone());
        }
    }

    fn moves(self) -> Moves {
        let mut moves = Moves::default();
        for job in self.world.running {
            if self.placed.get(job) != Some(&self.world.states[*job].spot) {
                moves.stop.push(*job);
            }
        }
        for (job, spot) in self.placed {
            if self.world.states[job].spot != spot {
                moves.start.push((job, spot));
            }
        }
        moves
    }
}
