//! Backfill behind reservations on nodes: EASY holds a start for the first job, conservative one for each.

use crate::replay::drive::{Happened, Moves, Policy, World};
use crate::replay::place::{Spot, take};

/// For whom a start is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The first that cannot start.
    Easy,
    /// Everybody.
    Conservative,
}

/// Backfill with the run times that jobs are told; unknown ones last for ever.
#[derive(Clone, Copy, Debug)]
pub struct Backfill(pub Depth);

impl Policy for Backfill {
    fn decide(&mut self, world: &World<'_>, _: &Happened) -> Moves {
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
            if self.0 == Depth::Easy && plan.reserved > 0 {
                continue;
            }
            plan.reserve(world, gpus, left);
        }
        moves
    }
}

const FOREVER: i64 = i64::MAX / 8;

/// Free GPUs of each node from each time on.
struct Timeline {
    now: i64,
    times: Vec<i64>,
    free: Vec<Vec<i64>>,
    reserved: usize,
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
            reserved: 0,
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

    fn reserve(&mut self, world: &World<'_>, gpus: i64, length: i64) {
        self.reserved += 1;
        for at in 1..self.times.len() {
            if let Some(spot) = self.fits_at(world, at, gpus, length) {
                self.occupy(at, length, &spot);
                return;
            }
        }
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
