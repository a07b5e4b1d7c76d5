//! The orders of the live scheduler (`scheduler::plan::order`) under the thin placement of [`super::arrange`]: it judges the
//! policy by itself, where placement, shares and limits play no part. Its figures are labelled so.

use scheduler::plan::order::{DEVICE, Facts, OrderState, Settings};

use super::arrange::{Hold, Rules, arrange};
use super::drive::{Happened, Moves, Policy, World};
use super::place::Spot;

/// One queue that has everything.
#[derive(Clone, Debug)]
pub struct Sliced {
    state: OrderState<usize>,
    settings: Settings,
    min_runtime_ms: i64,
    restart_ms: i64,
    moves: bool,
    hold: Option<Hold>,
    /// Decide only when so much time is up; 0: at each event.
    round_ms: i64,
}

impl Sliced {
    /// An order on so many GPUs.
    pub fn new(settings: Settings, gpus: i64) -> Self {
        Self {
            state: OrderState::new(settings, gpus * DEVICE),
            settings,
            min_runtime_ms: 600_000,
            restart_ms: 60_000,
            moves: true,
            hold: None,
            round_ms: 0,
        }
    }

    /// Another minimum run time, restart cost, and whether jobs may be moved.
    #[must_use]
    pub fn with(mut self, min_runtime_ms: i64, restart_ms: i64, moves: bool) -> Self {
        (self.min_runtime_ms, self.restart_ms, self.moves) = (min_runtime_ms, restart_ms, moves);
        self
    }

    /// Another learned age limit, in percent.
    #[must_use]
    pub fn with_age_factor(mut self, percent: i64) -> Self {
        self.state.set_age_factor(percent);
        self
    }

    /// Decides once per round only.
    #[must_use]
    pub fn in_rounds(mut self, round_ms: i64) -> Self {
        self.round_ms = round_ms;
        self
    }

    fn learn(&mut self, world: &World<'_>, happened: &Happened) {
        for job in &happened.arrived {
            let one = &world.jobs[*job];
            let facts = Facts {
                submitted_ms: one.submit_ms,
                size: one.gpus * DEVICE,
                runtime_ms: one.told_ms,
                min_runtime_ms: self.min_runtime_ms,
            };
            self.state.submit(*job, facts);
        }
        for job in &happened.ended {
            self.state.end(job, world.now);
        }
    }

    /// Keeps, makes or ends the hold for the first promoted one.
    fn hold(&mut self, world: &World<'_>, order: &[usize], blocked: bool) {
        let first = self.state.holder().copied();
        // With time slicing a hold sticks: it falls due when the last protected one may be stopped.
        if self.settings.time_slicing
            && self
                .hold
                .as_ref()
                .is_some_and(|hold| Some(hold.job) == first)
        {
            return;
        }
        self.hold = first
            .filter(|_| blocked)
            .and_then(|job| self.earliest(world, order, job));
    }

    /// Where and when so many GPUs are released first by those who may not be stopped for it.
    fn earliest(&self, world: &World<'_>, order: &[usize], job: usize) -> Option<Hold> {
        let before: Vec<usize> = order
            .iter()
            .copied()
            .take_while(|one| *one != job)
            .collect();
        let mut free = world.shape.gpus.clone();
        let mut releases: Vec<(i64, Spot)> = Vec::new();
        for other in world.running {
            let end = world.now + self.state.left_ms(other).unwrap_or(i64::MAX / 4);
            let at = if before.contains(other) || !self.settings.time_slicing {
                end
            } else if let Some(until) = self.state.protected_until(other) {
                until.min(end)
            } else {
                continue;
            };
            releases.push((at, world.states[*other].spot.clone()));
        }
        for (_, spot) in &releases {
            super::place::take(&mut free, spot);
        }
        releases.sort();
        let gpus = world.jobs[job].gpus;
        let mut at_ms = world.now;
        for (time, gone) in std::iter::once((world.now, Spot::new())).chain(releases) {
            super::place::give(&mut free, &gone);
            at_ms = at_ms.max(time);
            if let Some(spot) = world.shape.spot(&free, gpus, |_| true) {
                let over = |(node, gpus): &(usize, i64)| (*node, free[*node] - gpus);
                let spare = spot.iter().map(over).collect();
                return Some(Hold {
                    job,
                    spot,
                    spare,
                    at_ms,
                });
            }
        }
        None
    }
}

impl Policy for Sliced {
    fn decide(&mut self, world: &World<'_>, happened: &Happened) -> Moves {
        self.learn(world, happened);
        if self.round_ms > 0 && world.now % self.round_ms != 0 {
            return Moves {
                wake_ms: Some((world.now / self.round_ms + 1) * self.round_ms),
                ..Moves::default()
            };
        }
        self.state.advance(world.now);
        let order = self.state.order();
        if self
            .hold
            .as_ref()
            .is_some_and(|hold| !world.waiting.contains(&hold.job))
        {
            self.hold = None;
        }
        let protects = |job: &&usize| !self.settings.time_slicing || self.state.is_protected(job);
        let mut rules = Rules {
            protected: world.running.iter().filter(protects).copied().collect(),
            moves: self.moves && self.settings.time_slicing,
            hold: self.hold.clone(),
        };
        let mut moves = arrange(world, &order, &rules);
        let starts = |moves: &Moves, job: usize| moves.start.iter().any(|(one, _)| *one == job);
        if let Some(first) = self.state.holder().copied()
            && (!starts(&moves, first) || !self.settings.time_slicing)
        {
            self.hold(world, &order, true);
            if rules.hold != self.hold {
                rules.hold.clone_from(&self.hold);
                moves = arrange(world, &order, &rules);
            }
        }
        for job in &moves.stop {
            self.state.stop(job, world.now, Some(world.now));
        }
        for (job, _) in &moves.start {
            let again = world.states[*job].stops > 0 || !world.states[*job].spot.is_empty();
            let restart = if again { self.restart_ms } else { 0 };
            self.state.start(job, world.now + restart);
        }
        moves.wake_ms = if self.round_ms > 0 {
            Some((world.now / self.round_ms + 1) * self.round_ms)
        } else {
            self.state.next_change_ms()
        };
        moves
    }
}
