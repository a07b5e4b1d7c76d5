//! Policies that are an order: who is first runs, and whoever is left over waits or is stopped.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::replay::arrange::{Rules, arrange};
use crate::replay::drive::{Happened, Moves, Policy, World};
use crate::replay::place::take;

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// First come, first served; the first that does not fit stops the rest.
    Fifo,
    /// First come, first served; what does not fit is skipped.
    FifoSkip,
    /// Shortest run time first, never stopped.
    Sjf,
    /// Shortest remaining time first.
    Srtf,
    /// Smallest remaining time × GPUs first.
    Srsf,
    /// Least attained GPU time first, in queues with these thresholds (GPU-ms), by arrival inside: two-dimensional LAS, as Tiresias.
    Las(Vec<i64>),
    /// Largest finish-time unfairness first: completion so far and to come against `factor` times the run time, in leases.
    Themis {
        /// By how much a fair share is slower.
        factor: f64,
        /// Time between two auctions, ms.
        lease_ms: i64,
    },
    /// Queue with the smallest dominant share first, by arrival inside, never stopped.
    Drf,
}

/// A policy that is an order.
#[derive(Clone, Debug)]
pub struct Ordered {
    order: Order,
    moves: bool,
}

impl Ordered {
    /// Running jobs move where a gang fits by count but not by shape, if `moves`.
    pub fn new(order: Order, moves: bool) -> Self {
        Self { order, moves }
    }

    fn preemptive(&self) -> bool {
        matches!(
            self.order,
            Order::Srtf | Order::Srsf | Order::Las(_) | Order::Themis { .. }
        )
    }

    fn keys(&self, world: &World<'_>, job: usize) -> (i64, i64) {
        let one = &world.jobs[job];
        let left = world.told_left_ms(job).unwrap_or(i64::MAX / 1024);
        match &self.order {
            Order::Fifo | Order::FifoSkip | Order::Drf => (0, one.submit_ms),
            Order::Sjf => (one.told_ms.unwrap_or(i64::MAX), one.submit_ms),
            Order::Srtf => (left, one.submit_ms),
            Order::Srsf => (left.saturating_mul(one.gpus), one.submit_ms),
            Order::Las(thresholds) => {
                let attained = world.states[job].attained_ms(world.now) * one.gpus;
                let level = thresholds
                    .iter()
                    .filter(|limit| attained >= **limit)
                    .count();
                (i64::try_from(level).unwrap_or(i64::MAX), one.submit_ms)
            }
            Order::Themis { factor, .. } => {
                let attained = world.states[job].attained_ms(world.now);
                let rho =
                    (world.now - one.submit_ms + left) as f64 / ((attained + left) as f64 * factor);
                #[expect(clippy::cast_possible_truncation, reason = "rho is small")]
                let rank = -(rho * 1e6) as i64;
                (rank, one.submit_ms)
            }
        }
    }

    /// When the order may change by itself.
    fn wake(&self, world: &World<'_>, moves: &Moves) -> Option<i64> {
        match &self.order {
            Order::Las(thresholds) => {
                let next = |job: &usize| {
                    let gpus = world.jobs[*job].gpus;
                    let state = &world.states[*job];
                    let attained = state.attained_ms(world.now) * gpus;
                    let limit = thresholds.iter().find(|limit| attained < **limit)?;
                    Some(world.now.max(state.useful_ms) + (limit - attained + gpus - 1) / gpus)
                };
                // Those that start now cross their limit later than now by at least this.
                let started = moves.start.iter().filter_map(|(job, _)| {
                    let gpus = world.jobs[*job].gpus;
                    let attained = world.states[*job].attained_ms(world.now) * gpus;
                    let limit = thresholds.iter().find(|limit| attained < **limit)?;
                    let restart =
                        if world.states[*job].stops > 0 || !world.states[*job].spot.is_empty() {
                            60_000
                        } else {
                            0
                        };
                    Some(world.now + restart + (limit - attained + gpus - 1) / gpus)
                });
                world.running.iter().filter_map(next).chain(started).min()
            }
            Order::Themis { lease_ms, .. } => Some((world.now / lease_ms + 1) * lease_ms),
            _ => None,
        }
    }

    fn start_only(&self, world: &World<'_>, waiting: Vec<usize>) -> Moves {
        let mut free = world.free.to_vec();
        let mut moves = Moves::default();
        for job in waiting {
            let spot = world.shape.spot(&free, world.jobs[job].gpus, |_| true);
            match spot {
                Some(spot) => {
                    take(&mut free, &spot);
                    moves.start.push((job, spot));
                }
                None if self.order == Order::Fifo => break,
                None => {}
            }
        }
        moves
    }

    /// The next of the queue that has least, one at a time.
    fn fairest(world: &World<'_>) -> Moves {
        let mut has: BTreeMap<&str, i64> = BTreeMap::new();
        for job in world.running {
            *has.entry(&world.jobs[*job].queue).or_default() += world.jobs[*job].gpus;
        }
        let mut waiting: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for job in world.waiting.iter().rev() {
            waiting
                .entry(&world.jobs[*job].queue)
                .or_default()
                .push(*job);
        }
        let mut free = world.free.to_vec();
        let mut moves = Moves::default();
        while let Some(queue) = waiting
            .keys()
            .copied()
            .min_by_key(|queue| (has.get(queue).copied().unwrap_or(0), *queue))
        {
            let Some(job) = waiting.get_mut(queue).and_then(Vec::pop) else {
                waiting.remove(queue);
                continue;
            };
            if let Some(spot) = world.shape.spot(&free, world.jobs[job].gpus, |_| true) {
                take(&mut free, &spot);
                *has.entry(queue).or_default() += world.jobs[job].gpus;
                moves.start.push((job, spot));
            }
        }
        moves
    }
}

impl Policy for Ordered {
    fn decide(&mut self, world: &World<'_>, _: &Happened) -> Moves {
        if self.order == Order::Drf {
            return Self::fairest(world);
        }
        if !self.preemptive() {
            let mut waiting: Vec<usize> = world.waiting.iter().copied().collect();
            waiting.sort_by_key(|job| (self.keys(world, *job), *job));
            return self.start_only(world, waiting);
        }
        let mut order: Vec<usize> = world.waiting.union(world.running).copied().collect();
        order.sort_by_cached_key(|job| {
            (
                self.keys(world, *job),
                Reverse(world.running.contains(job)),
                *job,
            )
        });
        let rules = Rules {
            moves: self.moves,
            ..Rules::default()
        };
        let mut moves = arrange(world, &order, &rules);
        moves.wake_ms = self.wake(world, &moves);
        moves
    }
}
