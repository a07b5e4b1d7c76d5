//! A shape under a policy, in virtual time: arrivals, ends and wake-ups; after all of one time the policy decides once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use anyhow::{Result, bail};

use super::super::busy;
use super::shape::{Class, Shape, Work};

/// Who decides, by positions of workloads.
pub(super) trait Engine {
    /// A workload arrives.
    fn submit(&mut self, work: usize);
    /// A workload has ended.
    fn end(&mut self, work: usize);
    /// Who starts and who is stopped, in this order of events.
    fn decide(&mut self, now_ms: i64) -> Vec<Act>;
    /// Ask again then.
    fn wake_ms(&self) -> Option<i64>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Start(usize),
    Stop(usize),
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) makespan_ms: i64,
    pub(super) starts: u64,
    pub(super) stops: u64,
    /// Work that was done and thrown away, of all that was done, in percent.
    pub(super) lost_percent: f64,
    /// Stops of one workload at most.
    pub(super) most_stops: u64,
    /// Time that the policy took, all cycles.
    pub(super) deciding: Duration,
    /// The same by cycle, sorted.
    pub(super) cycles: Vec<Duration>,
    /// From arrival to first start: mean and longest by class, in seconds.
    pub(super) waits: BTreeMap<Class, (f64, f64)>,
}

impl Outcome {
    /// Starts per second of deciding.
    pub(super) fn per_second(&self) -> f64 {
        self.starts as f64 / self.deciding.as_secs_f64().max(1e-9)
    }

    /// The cycle that so many of a thousand do not exceed, in ms.
    pub(super) fn cycle_ms(&self, per_mille: usize) -> f64 {
        let last = self.cycles.len().saturating_sub(1);
        let at = (self.cycles.len() * per_mille / 1000).min(last);
        self.cycles
            .get(at)
            .map_or(0.0, |one| one.as_secs_f64() * 1e3)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    End { work: usize, start: u64 },
    Arrival(usize),
    Wake,
}

/// Runs all workloads to their end. What is stopped begins from nothing, as at Kueue.
pub(super) fn run(shape: &Shape, works: &[Work], engine: &mut dyn Engine) -> Result<Outcome> {
    let mut queue: BinaryHeap<Reverse<(i64, Event)>> = works
        .iter()
        .enumerate()
        .map(|(work, one)| Reverse((one.submit_ms, Event::Arrival(work))))
        .collect();
    let mut runs: Vec<Option<i64>> = vec![None; works.len()];
    let mut first: Vec<Option<i64>> = vec![None; works.len()];
    let mut starts = vec![0_u64; works.len()];
    let mut stops = vec![0_u64; works.len()];
    let mut use_by_cohort = vec![0_i64; shape.cohorts];
    let cohort = |work: usize| works[work].queue / shape.queues;
    let mut outcome = Outcome::default();
    let (mut ended, mut lost) = (0, 0_i64);
    let mut wake = None;
    while let Some(Reverse((now, _))) = queue.peek().copied() {
        let mut due = false;
        while let Some(Reverse((time, event))) = queue.peek().copied()
            && time == now
        {
            queue.pop();
            match event {
                Event::Arrival(work) => {
                    engine.submit(work);
                    due = true;
                }
                Event::End { work, start } if starts[work] == start && runs[work].is_some() => {
                    engine.end(work);
                    runs[work] = None;
                    use_by_cohort[cohort(work)] -= works[work].set.cpu();
                    outcome.makespan_ms = now;
                    ended += 1;
                    due = true;
                }
                Event::End { .. } => {}
                Event::Wake => due |= wake == Some(now),
            }
        }
        if !due {
            continue;
        }
        let began = busy();
        let acts = engine.decide(now);
        let took = busy().saturating_sub(began);
        outcome.deciding += took;
        outcome.cycles.push(took);
        for act in acts {
            match act {
                Act::Stop(work) => {
                    let Some(since) = runs[work].take() else {
                        bail!("workload {work} is stopped at {now} ms and does not run");
                    };
                    use_by_cohort[cohort(work)] -= works[work].set.cpu();
                    if since < now {
                        lost += (now - since) * works[work].set.cpu();
                        stops[work] += 1;
                        outcome.stops += 1;
                    } else {
                        outcome.starts -= 1;
                    }
                }
                Act::Start(work) => {
                    if runs[work].replace(now).is_some() {
                        bail!("workload {work} is started at {now} ms and runs");
                    }
                    use_by_cohort[cohort(work)] += works[work].set.cpu();
                    starts[work] += 1;
                    outcome.starts += 1;
                    first[work].get_or_insert(now);
                    let start = starts[work];
                    queue.push(Reverse((
                        now + works[work].set.run_ms,
                        Event::End { work, start },
                    )));
                }
            }
        }
        if let Some(over) = use_by_cohort.iter().find(|cpu| **cpu > shape.cohort_cpu()) {
            bail!("a cohort uses {over} millicores at {now} ms, more than it has");
        }
        wake = engine.wake_ms().map(|at| at.max(now + 1));
        if let Some(at) = wake {
            queue.push(Reverse((at, Event::Wake)));
        }
        if ended == works.len() {
            break;
        }
    }
    if ended < works.len() {
        bail!("{} workloads never ended", works.len() - ended);
    }
    let work: i64 = works.iter().map(|one| one.set.run_ms * one.set.cpu()).sum();
    outcome.lost_percent = 100.0 * lost as f64 / (work + lost) as f64;
    outcome.most_stops = stops.iter().copied().max().unwrap_or(0);
    outcome.cycles.sort_unstable();
    for class in Class::ALL {
        let waits = works
            .iter()
            .zip(&first)
            .filter(|(one, _)| one.set.class == class)
            .filter_map(|(one, first)| Some(first.as_ref()? - one.submit_ms));
        let waits: Vec<i64> = waits.collect();
        let mean = waits.iter().sum::<i64>() as f64 / waits.len().max(1) as f64 / 1e3;
        let longest = waits.iter().copied().max().unwrap_or(0) as f64 / 1e3;
        outcome.waits.insert(class, (mean, longest));
    }
    Ok(outcome)
}
