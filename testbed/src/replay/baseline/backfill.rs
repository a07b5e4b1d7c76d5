//! Backfill behind reservations on nodes: EASY holds a start for the first job, conservative one for each.

use std::collections::BTreeMap;

use crate::replay::drive::{Happened, Moves, Policy, World};
use crate::replay::place::{Spot, give, take};

/// For whom a start is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The first that cannot start.
    Easy,
    /// Everybody.
    Conservative,
}

/// Backfill with the run times that jobs are told; unknown ones last for ever.
#[derive(Clone, Debug)]
pub struct Backfill {
    depth: Depth,
    /// When each job that was once reserved for would have started by its first reservation.
    pub promised_ms: BTreeMap<usize, i64>,
}

impl Backfill {
    /// Reservations for the first, or for all; planned anew at each event.
    pub fn new(depth: Depth) -> Self {
        Self {
            depth,
            promised_ms: BTreeMap::new(),
        }
    }
}

impl Policy for Backfill {
    fn decide(&mut self, world: &World<'_>, _: &Happened) -> Moves {
        if self.depth == Depth::Easy {
            return easy(world, &mut self.promised_ms);
        }
        let mut plan = Timeline::new(world);
        let mut moves = Moves::default();
        for job in world.waiting {
            let gpus = world.jobs[*job].gpus;
            let left = world.told_left_ms(*job).unwrap_or(FOREVER);
            if let Some(spot) = plan.fits_at(world, 0, gpus, left) {
                plan.occupy(0, left, &spot);
                moves.start.push((*job, spot));
                continue;
            }
            if let Some(start) = plan.reserve(world, gpus, left) {
                self.promised_ms.entry(*job).or_insert(start);
            }
        }
        moves
    }
}

/// One reservation: who comes later starts where it ends before, or beside it.
fn easy(world: &World<'_>, promised: &mut BTreeMap<usize, i64>) -> Moves {
    let mut moves = Moves::default();
    let mut free = world.free.to_vec();
    let mut held: Option<(i64, Vec<i64>)> = None;
    for job in world.waiting {
        let gpus = world.jobs[*job].gpus;
        let left = world.told_left_ms(*job).unwrap_or(FOREVER);
        let spot = match &held {
            Some((shadow, later)) if world.now + left > *shadow => {
                let least: Vec<i64> = free
                    .iter()
                    .zip(later)
                    .map(|(now, then)| *now.min(then))
                    .collect();
                world.shape.spot(&least, gpus, |_| true)
            }
            _ => world.shape.spot(&free, gpus, |_| true),
        };
        if let Some(spot) = spot {
            if let Some((shadow, later)) = &mut held
                && world.now + left > *shadow
            {
                take(later, &spot);
            }
            take(&mut free, &spot);
            moves.start.push((*job, spot));
        } else if held.is_none() {
            held = shadow(world, &free, &moves, gpus);
            if let Some((start, _)) = &held {
                promised.entry(*job).or_insert(*start);
            }
        }
        if free.iter().all(|free| *free == 0) {
            break;
        }
    }
    moves
}

/// When so many GPUs are free by the ends that are told, and what is free then beside them.
fn shadow(world: &World<'_>, free: &[i64], moves: &Moves, gpus: i64) -> Option<(i64, Vec<i64>)> {
    let running = world
        .running
        .iter()
        .map(|job| (*job, &world.states[*job].spot));
    let starting = moves.start.iter().map(|(job, spot)| (*job, spot));
    let mut ends: Vec<(i64, usize, &Spot)> = running
        .chain(starting)
        .map(|(job, spot)| {
            let from = world.states[job].useful_ms.max(world.now);
            (from + world.told_left_ms(job).unwrap_or(FOREVER), job, spot)
        })
        .collect();
    ends.sort_unstable();
    let mut later = free.to_vec();
    for (position, (end, _, spot)) in ends.iter().enumerate() {
        give(&mut later, spot);
        let more = ends.get(position + 1).is_some_and(|next| next.0 == *end);
        if more {
            continue;
        }
        if let Some(spot) = world.shape.spot(&later, gpus, |_| true) {
            take(&mut later, &spot);
            return Some((*end, later));
        }
    }
    None
}

const FOREVER: i64 = i64::MAX / 8;

/// Free GPUs of each node from each time on.
struct Timeline {
    now: i64,
    times: Vec<i64>,
    free: Vec<Vec<i64>>,
}

impl Timeline {
    fn new(world: &World<'_>) -> Self {
        let mut ends: Vec<(i64, usize)> = world
            .running
            .iter()
            .map(|job| {
                let start = world.states[*job].useful_ms.max(world.now);
                (start + world.told_left_ms(*job).unwrap_or(FOREVER), *job)
            })
            .collect();
        ends.sort_unstable();
        let mut plan = Self {
            now: world.now,
            times: vec![world.now],
            free: vec![world.free.to_vec()],
        };
        for (end, job) in ends {
            let mut next = plan.free[plan.free.len() - 1].clone();
            for (node, gpus) in &world.states[job].spot {
                next[*node] += gpus;
            }
            if plan.times.last() == Some(&end) {
                plan.free.pop();
            } else {
                plan.times.push(end);
            }
            plan.free.push(next);
        }
        plan
    }

    /// A spot that is free from the time at `from` for so long.
    fn fits_at(&self, world: &World<'_>, from: usize, gpus: i64, length: i64) -> Option<Spot> {
        let end = self.times[from].saturating_add(length);
        let mut least = self.free[from].clone();
        for at in from + 1..self.times.len() {
            if self.times[at] >= end {
                break;
            }
            for (node, free) in least.iter_mut().enumerate() {
                *free = (*free).min(self.free[at][node]);
            }
        }
        world.shape.spot(&least, gpus, |_| true)
    }

    fn reserve(&mut self, world: &World<'_>, gpus: i64, length: i64) -> Option<i64> {
        for at in 1..self.times.len() {
            if let Some(spot) = self.fits_at(world, at, gpus, length) {
                let start = self.times[at];
                self.occupy(at, length, &spot);
                return Some(start);
            }
        }
        None
    }

    fn occupy(&mut self, from: usize, length: i64, spot: &Spot) {
        let end = self.times[from].saturating_add(length);
        let position = self.times.partition_point(|time| *time < end);
        if self.times.get(position) != Some(&end) {
            self.times.insert(position, end);
            self.free.insert(position, self.free[position - 1].clone());
        }
        debug_assert!(self.times[0] == self.now);
        for free in &mut self.free[from..position] {
            take(free, spot);
        }
    }
}
