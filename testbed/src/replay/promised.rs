//! First come, first served with the promises of the live scheduler (`scheduler::plan::promise`) under the placement of
//! [`super::place`]: the oldest head has a start on nodes, the rest backfills, overrunners yield. It judges the promises by themselves.

use std::collections::BTreeMap;

use scheduler::fleet::Amounts;
use scheduler::plan::promise::{
    Line, Lines, Promise, Promises, Room, Runner, earliest, overrunners,
};

use super::drive::{Happened, Moves, Policy, World};
use super::place::{Shape, Spot, give, take};

/// Age order with one promise.
#[derive(Clone, Debug, Default)]
pub struct Promised {
    promises: Promises<(), usize, usize>,
    /// Estimates of those who have overrun once.
    told_ms: BTreeMap<usize, i64>,
    /// The first start that each job was promised.
    pub promised_ms: BTreeMap<usize, i64>,
    /// Overrunners stay although a promise is due on their nodes.
    patient: bool,
}

impl Promised {
    /// Overrunners yield, or, to compare, do not.
    pub fn new(yields: bool) -> Self {
        Self {
            patient: !yields,
            ..Self::default()
        }
    }

    /// When a job that starts or runs now should end.
    fn told_end(&self, world: &World<'_>, job: usize) -> Option<i64> {
        let state = &world.states[job];
        let told = self
            .told_ms
            .get(&job)
            .copied()
            .or(world.jobs[job].told_ms)?;
        let from = if state.spot.is_empty() {
            let restart = if state.stops > 0 { 60_000 } else { 0 };
            world.now + restart
        } else {
            state.useful_ms
        };
        Some(from + told - state.done_ms)
    }

    fn lines(&self, world: &World<'_>) -> Lines<usize> {
        let mut ends: Vec<Vec<(i64, Amounts)>> = vec![Vec::new(); world.free.len()];
        for job in world.running {
            // Who has overrun has left the plan: its room counts as free from now on.
            let Some(end) = self.told_end(world, *job) else {
                continue;
            };
            for (node, gpus) in &world.states[*job].spot {
                ends[*node].push((end.max(world.now), amounts(*gpus)));
            }
        }
        let line = |(node, ends): (usize, Vec<(i64, Amounts)>)| {
            (node, Line::new(amounts(world.free[node]), ends))
        };
        ends.into_iter().enumerate().map(line).collect()
    }

    /// Starts the head on what it was promised, with those who overran gone. `None`: it cannot yet.
    fn collect(
        &mut self,
        world: &World<'_>,
        promise: &Promise<usize, usize>,
        free: &mut [i64],
        lines: &mut Lines<usize>,
        moves: &mut Moves,
    ) -> bool {
        let runner = |job: &usize| Runner {
            id: *job,
            room: room(&world.states[*job].spot),
            told_end_ms: self.told_end(world, *job),
            preemptible: !self.patient,
            priority: 0,
        };
        let runners: Vec<Runner<usize, usize>> = world
            .running
            .iter()
            .filter(|job| !moves.stop.contains(job))
            .map(runner)
            .collect();
        let there: Room<usize> = free.iter().map(|gpus| amounts(*gpus)).enumerate().collect();
        let Some(gone) = overrunners(promise, &there, &runners, world.now) else {
            return false;
        };
        for job in gone {
            give(free, &world.states[job].spot);
            for (node, gpus) in &world.states[job].spot {
                if let Some(line) = lines.get_mut(node) {
                    // Its end is no end any more; its room is free now.
                    let ends = line
                        .ends()
                        .map(|(end, freed)| (end, freed.clone()))
                        .collect::<Vec<_>>();
                    let mut ends = ends;
                    if let Some(at) = ends
                        .iter()
                        .position(|(end, freed)| *end <= world.now && freed.get(0) == *gpus)
                    {
                        ends.remove(at);
                    }
                    let mut now = line.free().clone();
                    now.add_all(&amounts(*gpus));
                    *line = Line::new(now, ends);
                }
            }
            let attained = world.states[job].attained_ms(world.now);
            let told = self
                .told_ms
                .get(&job)
                .copied()
                .or(world.jobs[job].told_ms)
                .unwrap_or(0);
            self.told_ms.insert(job, told.max(2 * attained).max(60_000));
            moves.stop.push(job);
        }
        true
    }
}

impl Policy for Promised {
    fn decide(&mut self, world: &World<'_>, _: &Happened) -> Moves {
        let mut moves = Moves::default();
        let mut free = world.free.to_vec();
        let mut lines = self.lines(world);
        for job in world.waiting {
            let job = *job;
            let gpus = world.jobs[job].gpus;
            let end = self.told_end(world, job);
            let promise = self.promises.of(&()).cloned();
            let mine = promise.as_ref().is_some_and(|promise| promise.head == job);
            let mut open = free.clone();
            if let Some(promise) = promise
                .as_ref()
                .filter(|promise| !mine && !promise.lets(end))
            {
                for (node, kept) in promise.closed(&lines, &Room::new()) {
                    open[node] -= kept.get(0);
                }
            }
            let mut spot = world.shape.spot(&open, gpus, |_| true);
            if spot.is_none() && (mine || promise.is_none()) {
                let made = earliest(&lines, world.now, |there| fits(world.shape, there, gpus));
                if let Some((start, room)) = made {
                    let runtime_ms = end.map(|end| end - world.now);
                    let new = Promise {
                        head: job,
                        priority: 0,
                        start_ms: Some(start),
                        room,
                        runtime_ms,
                    };
                    if self.promises.offer(&(), new) {
                        self.promised_ms.entry(job).or_insert(start);
                    }
                }
                if let Some(promise) = self
                    .promises
                    .of(&())
                    .filter(|one| one.head == job && one.is_due(world.now))
                    .cloned()
                    && self.collect(world, &promise, &mut free, &mut lines, &mut moves)
                {
                    spot = Some(
                        promise
                            .room
                            .iter()
                            .map(|(node, held)| (*node, held.get(0)))
                            .collect(),
                    );
                }
            }
            if let Some(spot) = spot {
                self.promises.done(&job);
                take(&mut free, &spot);
                for (node, gpus) in &spot {
                    if let Some(line) = lines.get_mut(node) {
                        line.occupy(&amounts(*gpus), end);
                    }
                }
                moves.start.push((job, spot));
            }
        }
        moves.wake_ms = self.promises.next_due_ms(world.now);
        moves
    }
}

fn fits(shape: &Shape, there: &Room<usize>, gpus: i64) -> Option<Room<usize>> {
    let free: Vec<i64> = there.values().map(|free| free.get(0)).collect();
    Some(room(&shape.spot(&free, gpus, |_| true)?))
}

fn room(spot: &Spot) -> Room<usize> {
    spot.iter()
        .map(|(node, gpus)| (*node, amounts(*gpus)))
        .collect()
}

fn amounts(gpus: i64) -> Amounts {
    let mut amounts = Amounts::default();
    amounts.set(0, gpus);
    amounts
}
