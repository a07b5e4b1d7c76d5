//! The virtual clock: arrivals, ends and timers in order of time; after all that happens at one time the policy decides once.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use anyhow::{Result, bail};

use super::place::{Shape, Spot, give, take};
use super::{Job, Trace};

/// Who decides.
pub trait Policy {
    /// Decides after these have arrived and those have ended. Nothing is done about a job that is not named.
    fn decide(&mut self, world: &World<'_>, happened: &Happened) -> Moves;
}

/// What happened since the last decision.
#[derive(Clone, Debug, Default)]
pub struct Happened {
    /// Jobs that arrived.
    pub arrived: Vec<usize>,
    /// Jobs that ended.
    pub ended: Vec<usize>,
}

/// What the policy wants. Stops are done before starts, so a move is both.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// Running jobs that are stopped.
    pub stop: Vec<usize>,
    /// Waiting jobs that start, and where.
    pub start: Vec<(usize, Spot)>,
    /// Ask again at this time although nothing else happens.
    pub wake_ms: Option<i64>,
}

/// The world as the policy sees it.
#[derive(Debug)]
pub struct World<'a> {
    /// Now, ms.
    pub now: i64,
    /// All jobs, those that have not arrived included.
    pub jobs: &'a [Job],
    /// How each job stands.
    pub states: &'a [State],
    /// Jobs that wait.
    pub waiting: &'a BTreeSet<usize>,
    /// Jobs that run.
    pub running: &'a BTreeSet<usize>,
    /// The nodes.
    pub shape: &'a Shape,
    /// Free GPUs of each node.
    pub free: &'a [i64],
}

/// How a job stands.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Work done before the present start, ms.
    pub done_ms: i64,
    /// When it was started, if it runs.
    pub started_ms: i64,
    /// From when on it does useful work: after its restart.
    pub useful_ms: i64,
    /// Where it runs; empty: it does not.
    pub spot: Spot,
    /// Times that it was stopped.
    pub stops: u64,
}

impl State {
    /// Work done so far, ms.
    pub fn attained_ms(&self, now: i64) -> i64 {
        self.done_ms + self.recent_ms(now)
    }

    /// Work done since the present start, ms.
    pub fn recent_ms(&self, now: i64) -> i64 {
        if self.spot.is_empty() {
            0
        } else {
            (now - self.useful_ms).max(0)
        }
    }
}

impl World<'_> {
    /// What is left of a job, as far as the policy is told; at least 1 ms.
    pub fn told_left_ms(&self, job: usize) -> Option<i64> {
        let told = self.jobs[job].told_ms?;
        Some((told - self.states[job].attained_ms(self.now)).max(1))
    }
}

/// How a replay is run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The nodes.
    pub shape: Shape,
    /// What a start after a stop costs before work goes on, ms.
    pub restart_ms: i64,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// End of each job.
    pub ends_ms: Vec<Option<i64>>,
    /// First start of each job.
    pub starts_ms: Vec<Option<i64>>,
    /// Stops of running jobs.
    pub preemptions: u64,
    /// GPU-milliseconds spent on restarts.
    pub lost_gpu_ms: i64,
    /// Decisions asked for.
    pub decisions: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    End { job: usize, start: u64 },
    Arrival { job: usize },
    Timer,
}

/// Runs a trace to its end. Fails where the policy breaks the rules of the world, or leaves jobs waiting for ever.
pub fn drive(trace: &Trace, setting: &Setting, policy: &mut dyn Policy) -> Result<Outcome> {
    let jobs = &trace.jobs;
    let mut queue: BinaryHeap<Reverse<(i64, Event)>> = jobs
        .iter()
        .enumerate()
        .map(|(job, one)| Reverse((one.submit_ms, Event::Arrival { job })))
        .collect();
    let mut states = vec![State::default(); jobs.len()];
    let mut generations = vec![0_u64; jobs.len()];
    let mut outcome = Outcome {
        ends_ms: vec![None; jobs.len()],
        starts_ms: vec![None; jobs.len()],
        ..Outcome::default()
    };
    let (mut waiting, mut running) = (BTreeSet::new(), BTreeSet::new());
    let mut free = setting.shape.gpus.clone();
    let mut timer = None;
    let mut idle_timers = 0_u32;
    let mut arrivals_left = jobs.len();
    while let Some(Reverse((now, _))) = queue.peek().copied() {
        let mut happened = Happened::default();
        let mut due = false;
        while let Some(Reverse((time, event))) = queue.peek().copied()
            && time == now
        {
            queue.pop();
            match event {
                Event::Arrival { job } => {
                    waiting.insert(job);
                    happened.arrived.push(job);
                }
                Event::End { job, start } if generations[job] == start => {
                    give(&mut free, &states[job].spot);
                    states[job].done_ms = jobs[job].run_ms;
                    states[job].spot.clear();
                    running.remove(&job);
                    outcome.ends_ms[job] = Some(now);
                    happened.ended.push(job);
                }
                Event::End { .. } => {}
                Event::Timer => due |= timer == Some(now),
            }
        }
        if happened.arrived.is_empty() && happened.ended.is_empty() && !due {
            continue;
        }
        let world = World {
            now,
            jobs,
            states: &states,
            waiting: &waiting,
            running: &running,
            shape: &setting.shape,
            free: &free,
        };
        let moves = policy.decide(&world, &happened);
        outcome.decisions += 1;
        let idle =
            happened.arrived.is_empty() && happened.ended.is_empty() && moves.start.is_empty();
        idle_timers = if idle && running.is_empty() {
            idle_timers + 1
        } else {
            0
        };
        if idle_timers > 10_000 {
            bail!("{} jobs wait and nothing runs at {now} ms", waiting.len());
        }
        for job in moves.stop {
            if !running.remove(&job) {
                bail!("job {job} is stopped at {now} ms and does not run");
            }
            let state = &mut states[job];
            outcome.lost_gpu_ms += (now.min(state.useful_ms) - state.started_ms) * jobs[job].gpus;
            state.done_ms = state.attained_ms(now);
            give(&mut free, &std::mem::take(&mut state.spot));
            state.stops += 1;
            generations[job] += 1;
            outcome.preemptions += 1;
            waiting.insert(job);
        }
        for (job, spot) in moves.start {
            if !waiting.remove(&job) {
                bail!("job {job} is started at {now} ms and does not wait");
            }
            take(&mut free, &spot);
            let whole: i64 = spot.iter().map(|(_, gpus)| gpus).sum();
            if whole != jobs[job].gpus || spot.iter().any(|(node, _)| free[*node] < 0) {
                bail!("job {job} is started at {now} ms on {spot:?}, where it does not fit");
            }
            let state = &mut states[job];
            let restart = if state.stops > 0 {
                setting.restart_ms
            } else {
                0
            };
            state.started_ms = now;
            state.useful_ms = now + restart;
            state.spot = spot;
            generations[job] += 1;
            outcome.starts_ms[job].get_or_insert(now);
            let end = state.useful_ms + jobs[job].run_ms - state.done_ms;
            let start = generations[job];
            queue.push(Reverse((end, Event::End { job, start })));
            running.insert(job);
        }
        let arrived = happened.arrived.len();
        for job in happened.ended {
            let state = &states[job];
            outcome.lost_gpu_ms += (state.useful_ms - state.started_ms) * jobs[job].gpus;
        }
        timer = moves.wake_ms.map(|wake| wake.max(now + 1));
        if let Some(wake) = timer {
            queue.push(Reverse((wake, Event::Timer)));
        }
        // Nobody is left to be asked about.
        arrivals_left -= arrived;
        if waiting.is_empty() && running.is_empty() && arrivals_left == 0 {
            break;
        }
    }
    if !waiting.is_empty() {
        bail!("{} jobs never started or never ended", waiting.len());
    }
    Ok(outcome)
}
