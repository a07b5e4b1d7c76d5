//! Who is next inside a queue, and who gives way to whom there: the orders `Age`, `Size` and `FinishTime`, pure.
//!
//! ```text
//! submit, start, stop, end ---> OrderState (one per queue) ---> turn: whose turn it is, smaller first
//! capacity (entitlement) ----/        ^                   \--> may_replace: time slicing
//!                                     | advance(now)       \-> promoted, age_limit_ms, next_change_ms
//! ```
//!
//! The planner keeps one [`OrderState`] per queue, tells it what happens, calls [`OrderState::advance`] once at the beginning of a cycle and then asks
//! as often as it likes: questions take no notice of the real time, so that all answers of one cycle agree.
//!
//! - `Age`: the first submitted is the first planned.
//! - `Size`: who has waited longer than the age limit is promoted until it ends; then the smallest remaining work, in
//!   classes of powers of two; then age. A job of unknown run time counts as if the next threshold of attained service were its size.
//! - `FinishTime`: smallest laxity first, against the finish that a fair share alone would give.
//!
//! With time slicing, who runs beyond its minimum run time gives way to whoever is before it. Definitions and what they were measured to do:
//! `shared/research/policies-time.md`, A and B. All arithmetic is on integers: milliseconds, and sizes in thousandths of a device.

mod age_limit;
mod drift;
mod laxity;
mod served;
mod size;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use age_limit::AgeLimit;
pub(super) use drift::Drift;
pub(super) use laxity::{Pace, Times};
use served::Served;

/// Remaining work up to this is the first size class: 60 device-seconds, in thousandths of a device.
pub const FIRST_CLASS: i64 = 60_000 * DEVICE;
/// One device, as a size.
pub const DEVICE: i64 = 1_000;
/// Promotions are looked for this often.
pub const TICK_MS: i64 = 3_600_000;
/// The age limit is never shorter, however empty the past was.
pub const LEAST_AGE_LIMIT_MS: i64 = 3_600_000;
/// Laxities drift while jobs wait, so a `FinishTime` queue with time slicing is looked at this often.
pub const ROUND_MS: i64 = 120_000;

/// Who runs gives way inside its class only to who is so much older: a sixth fewer evictions at the same mean.
const HEAD_START_MS: i64 = 12 * 3_600_000;
/// The learned age limit in percent of the wait that first come, first served would show, with time slicing.
const SLICED_PERCENT: i64 = 100;
/// The same where a promoted job must wait for others to end.
const WHOLE_PERCENT: i64 = 80;

/// The orders of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// First submitted, first planned.
    #[default]
    Age,
    /// Smallest remaining work first, in classes, with an age limit.
    Size,
    /// Smallest laxity first.
    FinishTime,
}

/// How a queue is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The order.
    pub rule: Rule,
    /// Running jobs may be stopped for others of the same priority.
    pub time_slicing: bool,
    /// Longest wait before promotion; absent: learned from the wait that first come, first served would show.
    pub age_limit_ms: Option<i64>,
}

/// What does not change about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When it was submitted.
    pub submitted_ms: i64,
    /// Devices, normalised, in thousandths ([`DEVICE`]): what it takes from others while it runs.
    pub size: i64,
    /// Whole run time, known or estimated.
    pub runtime_ms: Option<i64>,
    /// Useful work of one start before which it may not be stopped.
    pub min_runtime_ms: i64,
}

/// Whose turn it is: the smaller is first. Ties end in the id, which the caller adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// When it was promoted; `i64::MAX`: it was not.
    pub promoted_ms: i64,
    /// Size class, or laxity in ms; 0 in `Age`.
    pub rank: i64,
    /// When it was submitted; in `Size`, who runs counts as 12 hours older.
    pub submitted_ms: i64,
}

/// The order of one queue.
#[derive(Clone, Debug)]
pub struct OrderState<I> {
    settings: Settings,
    /// What the queue can count on, as a size.
    capacity: i64,
    jobs: BTreeMap<I, Job>,
    served: Served<I>,
    limit: AgeLimit<I>,
    promoted: BTreeMap<I, i64>,
    /// Those who were promoted and do not run, the first first: when they were promoted and submitted.
    held_up: BTreeSet<(i64, i64, I)>,
    running: BTreeSet<I>,
    /// Work of those who wait, in `FinishTime`.
    waiting: Waiting,
    horizon: laxity::Horizon,
    now_ms: i64,
    ticked_ms: Option<i64>,
    factor_percent: Option<i64>,
}

/// A job that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    facts: Facts,
    /// Useful work before the present start, ms.
    done_ms: i64,
    /// From when on it does useful work, if it runs.
    useful_ms: Option<i64>,
}

impl Job {
    fn recent_ms(&self, now: i64) -> i64 {
        self.useful_ms.map_or(0, |from| (now - from).max(0))
    }

    fn attained_ms(&self, now: i64) -> i64 {
        self.done_ms + self.recent_ms(now)
    }

    fn times(&self, now: i64) -> Times {
        Times {
            left_ms: self.left_ms(now),
            attained_ms: self.attained_ms(now),
        }
    }

    /// What is left, as far as is known. A job past its estimate is taken to last as long again as it has overrun, and at least a minute.
    fn left_ms(&self, now: i64) -> Option<i64> {
        let runtime = self.facts.runtime_ms?;
        let left = runtime - self.attained_ms(now);
        Some(if left > 0 { left } else { (-left).max(60_000) })
    }
}

impl<I: Ord + Clone> OrderState<I> {
    /// An empty queue that can count on `capacity` (thousandths of a device).
    pub fn new(settings: Settings, capacity: i64) -> Self {
        Self {
            settings,
            capacity: capacity.max(1),
            jobs: BTreeMap::new(),
            served: Served::default(),
            limit: AgeLimit::default(),
            promoted: BTreeMap::new(),
            held_up: BTreeSet::new(),
            running: BTreeSet::new(),
            waiting: Waiting::default(),
            horizon: laxity::Horizon::default(),
            // Long ago, but not so long that differences are too large.
            now_ms: i64::MIN / 4,
            ticked_ms: None,
            factor_percent: None,
        }
    }

    /// Another learned age limit than the tuned one, in percent of the wait that first come, first served would show.
    pub fn set_age_factor(&mut self, percent: i64) {
        self.factor_percent = Some(percent);
    }

    /// What the queue can count on has changed: its entitlement, in thousandths of a device.
    pub fn set_capacity(&mut self, capacity: i64) {
        self.capacity = capacity.max(1);
    }

    /// What the queue can count on.
    pub fn capacity(&self) -> i64 {
        self.capacity
    }

    /// How the queue is ordered.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A job was submitted, or what is known of it has changed.
    pub fn submit(&mut self, id: I, facts: Facts) {
        if let Some(job) = self.jobs.get_mut(&id) {
            if job.facts != facts {
                if let Some(key) = held_up(&self.promoted, &id, job)
                    && self.held_up.remove(&key)
                {
                    self.held_up.insert((key.0, facts.submitted_ms, key.2));
                }
                let served = self.served.until(self.now_ms.max(facts.submitted_ms));
                self.waiting.count(self.settings.rule, job, -1);
                job.facts = facts;
                self.waiting.count(self.settings.rule, job, 1);
                self.limit.arrive(id, facts, served);
            }
            return;
        }
        let served = self.served.until(facts.submitted_ms.max(self.now_ms));
        self.limit.arrive(id.clone(), facts, served);
        let job = Job {
            facts,
            done_ms: 0,
            useful_ms: None,
        };
        self.waiting.count(self.settings.rule, &job, 1);
        self.jobs.insert(id, job);
        self.horizon.most_active = self.horizon.most_active.max(self.jobs.len());
    }

    /// A job has started; it does useful work from `useful_ms` on (later than the start where it must first load what it had saved). Said again, the
    /// time is corrected.
    pub fn start(&mut self, id: &I, useful_ms: i64) {
        if let Some(job) = self.jobs.get_mut(id)
            && job.useful_ms != Some(useful_ms)
        {
            if job.useful_ms.is_none()
                && let Some(key) = held_up(&self.promoted, id, job)
            {
                self.held_up.remove(&key);
            }
            self.waiting.count(self.settings.rule, job, -1);
            job.useful_ms = Some(useful_ms);
            self.running.insert(id.clone());
            self.served.start(id, job.facts.size, useful_ms);
        }
    }

    /// The same, where it is not known to run already.
    pub fn begin(&mut self, id: &I, useful_ms: i64) {
        if self.jobs.get(id).is_some_and(|job| job.useful_ms.is_none()) {
            self.start(id, useful_ms);
        }
    }

    /// A job was stopped, if it ran. What it did until it last saved will not be done again; absent: all since its start is lost.
    pub fn stop(&mut self, id: &I, now_ms: i64, saved_at_ms: Option<i64>) {
        if let Some(job) = self.jobs.get_mut(id)
            && let Some(useful_ms) = job.useful_ms.take()
        {
            let end = now_ms.max(useful_ms);
            job.done_ms += saved_at_ms.map_or(0, |saved| saved.clamp(useful_ms, end) - useful_ms);
            self.served.stop(id, now_ms);
            self.running.remove(id);
            self.waiting.count(self.settings.rule, job, 1);
            self.held_up.extend(held_up(&self.promoted, id, job));
        }
    }

    /// A job has ended, or is gone.
    pub fn end(&mut self, id: &I, now_ms: i64) {
        if let Some(job) = self.jobs.remove(id) {
            self.waiting.count(self.settings.rule, &job, -1);
            self.served.stop(id, now_ms);
            self.running.remove(id);
            if let Some(key) = held_up(&self.promoted, id, &job) {
                self.held_up.remove(&key);
            }
            self.limit.end(id, job.attained_ms(now_ms));
            self.promoted.remove(id);
        }
    }

    /// Sets the time for all questions that follow: promotes who has waited too long, and measures the age limit anew (each hour). Returns those
    /// whose turn is earlier now.
    pub fn advance(&mut self, now_ms: i64) -> Vec<I> {
        let mut promoted = Vec::new();
        self.now_ms = self.now_ms.max(now_ms);
        let now = self.now_ms;
        let due = self
            .ticked_ms
            .is_none_or(|last| now.div_euclid(TICK_MS) > last.div_euclid(TICK_MS));
        if due {
            self.ticked_ms = Some(now);
            if self.settings.rule == Rule::Size && self.settings.age_limit_ms.is_none() {
                let factor = self
                    .factor_percent
                    .unwrap_or(if self.settings.time_slicing {
                        SLICED_PERCENT
                    } else {
                        WHOLE_PERCENT
                    });
                self.limit
                    .measure(&self.jobs, self.capacity, factor.into(), now);
            }
            promoted = self.promote(now);
        }
        if self.settings.rule == Rule::FinishTime {
            self.horizon.honest = self.limit.honesty(self.capacity);
            let running = self.running.iter().filter_map(|id| self.jobs.get(id));
            self.horizon
                .measure(self.waiting.sums(), running, self.capacity, now);
        }
        promoted
    }

    /// Jobs that have not ended, the first first.
    pub fn order(&self) -> Vec<I> {
        let mut order: Vec<(Turn, bool, &I)> = self
            .jobs
            .iter()
            .map(|(id, job)| (self.turn_of(id, job), job.useful_ms.is_none(), id))
            .collect();
        order.sort();
        order.into_iter().map(|(_, _, id)| id.clone()).collect()
    }

    /// Whose turn it is; `None`: not known here.
    pub fn turn(&self, id: &I) -> Option<Turn> {
        Some(self.turn_of(id, self.jobs.get(id)?))
    }

    /// What laxities are computed with, in `FinishTime`.
    pub(super) fn pace(&self) -> Option<Pace> {
        let pace = || self.horizon.pace(self.capacity, self.now_ms);
        (self.settings.rule == Rule::FinishTime).then(pace)
    }

    /// What the laxity of a job is computed from, if its turn depends on that.
    pub(super) fn times(&self, id: &I) -> Option<Times> {
        let job = self.jobs.get(id)?;
        (self.settings.rule == Rule::FinishTime).then(|| job.times(self.now_ms))
    }

    /// Whether a running job gives way to a waiting one of the same priority.
    pub fn may_replace(&self, claimant: &I, victim: &I) -> bool {
        self.settings.time_slicing
            && self.settings.rule != Rule::Age
            && !self.is_protected(victim)
            && self.turn(claimant) < self.turn(victim)
            && self.jobs.contains_key(claimant)
    }

    /// Whether it runs and has not yet done the useful work of its minimum run time.
    pub fn is_protected(&self, id: &I) -> bool {
        self.protected_until(id).is_some()
    }

    /// Until when it may not be stopped, if it may not now.
    pub fn protected_until(&self, id: &I) -> Option<i64> {
        let job = self.jobs.get(id)?;
        let until = job.useful_ms? + job.facts.min_runtime_ms;
        (until > self.now_ms).then_some(until)
    }

    /// When it was promoted, if it was.
    pub fn promoted_ms(&self, id: &I) -> Option<i64> {
        self.promoted.get(id).copied()
    }

    /// Who holds nodes, if it cannot start now: the first promoted one that does not run; without time slicing in `Size`, where nobody
    /// makes room for it, the first of the order.
    pub fn holder(&self) -> Option<&I> {
        let first = || {
            let whole = self.settings.rule == Rule::Size && !self.settings.time_slicing;
            let waiting = self
                .jobs
                .iter()
                .filter(|(_, job)| whole && job.useful_ms.is_none());
            waiting
                .min_by_key(|(id, job)| (self.turn_of(id, job), (*id).clone()))
                .map(|(id, _)| id)
        };
        self.first_promoted().or_else(first)
    }

    /// The promoted one that is first and does not run.
    pub fn first_promoted(&self) -> Option<&I> {
        self.held_up.first().map(|(_, _, id)| id)
    }

    /// Useful work done before the present start, ms.
    pub fn done_ms(&self, id: &I) -> i64 {
        self.jobs.get(id).map_or(0, |job| job.done_ms)
    }

    /// What is left of a job's run time, as far as is known.
    pub fn left_ms(&self, id: &I) -> Option<i64> {
        self.jobs.get(id)?.left_ms(self.now_ms)
    }

    /// The longest wait before promotion; `None`: nobody is promoted in this order.
    pub fn age_limit_ms(&self) -> Option<i64> {
        match (self.settings.age_limit_ms, self.settings.rule) {
            (Some(limit), _) => Some(limit),
            (None, Rule::Size) => Some(self.limit.limit_ms()),
            (None, Rule::Age | Rule::FinishTime) => None,
        }
    }

    /// Next time at which an answer may change although nothing happens.
    pub fn next_change_ms(&self) -> Option<i64> {
        let now = self.now_ms;
        if self.running.len() == self.jobs.len() {
            // Nobody waits.
            return None;
        }
        let sliced = self.settings.time_slicing && self.settings.rule != Rule::Age;
        let running = || self.running.iter().filter_map(|id| self.jobs.get(id));
        let promotion = self
            .age_limit_ms()
            .map(|_| (now.div_euclid(TICK_MS) + 1) * TICK_MS);
        let release = running()
            .filter(|_| sliced)
            .filter_map(|job| Some(job.useful_ms? + job.facts.min_runtime_ms))
            .filter(|until| *until > now);
        let class = running()
            .filter(|_| sliced && self.settings.rule == Rule::Size)
            .filter_map(|job| size::next_class_ms(job, now));
        let round = (sliced && self.settings.rule == Rule::FinishTime)
            .then(|| (now.div_euclid(ROUND_MS) + 1) * ROUND_MS);
        promotion
            .into_iter()
            .chain(release)
            .chain(class)
            .chain(round)
            .min()
    }

    fn turn_of(&self, id: &I, job: &Job) -> Turn {
        let rank = match self.settings.rule {
            Rule::Age => 0,
            Rule::Size => size::class(job, self.now_ms),
            Rule::FinishTime => self.horizon.laxity(job, self.capacity, self.now_ms),
        };
        let promoted = self.promoted.get(id).copied();
        let ahead = self.settings.rule == Rule::Size && job.useful_ms.is_some();
        let head_start = if ahead { HEAD_START_MS } else { 0 };
        Turn {
            promoted_ms: promoted
                .filter(|_| self.settings.rule != Rule::Age)
                .unwrap_or(i64::MAX),
            rank,
            submitted_ms: job.facts.submitted_ms - head_start,
        }
    }

    fn promote(&mut self, now: i64) -> Vec<I> {
        let Some(limit) = self.age_limit_ms() else {
            return Vec::new();
        };
        let waited = |job: &Job| now - job.facts.submitted_ms - job.attained_ms(now);
        let due = self
            .jobs
            .iter()
            .filter(|(id, job)| waited(job) >= limit && !self.promoted.contains_key(*id));
        let due: Vec<(I, i64)> = due
            // The one that crossed the limit first goes first.
            .map(|(id, job)| (id.clone(), now - (waited(job) - limit)))
            .collect();
        self.promoted.extend(due.iter().cloned());
        let ids: Vec<I> = due.into_iter().map(|(id, _)| id).collect();
        for id in &ids {
            if let Some(job) = self.jobs.get(id).filter(|job| job.useful_ms.is_none()) {
                self.held_up.extend(held_up(&self.promoted, id, job));
            }
        }
        ids
    }
}

/// Where a promoted job that does not run stands among its like.
fn held_up<I: Ord + Clone>(
    promoted: &BTreeMap<I, i64>,
    id: &I,
    job: &Job,
) -> Option<(i64, i64, I)> {
    Some((*promoted.get(id)?, job.facts.submitted_ms, id.clone()))
}

/// What is left of those who wait, kept so that an event costs no walk over them.
#[derive(Clone, Debug, Default)]
struct Waiting {
    work: i128,
    /// How many have so much left.
    left: BTreeMap<i64, i64>,
}

impl Waiting {
    /// Counts a job in or out, if it waits and that matters.
    fn count(&mut self, rule: Rule, job: &Job, times: i64) {
        if rule != Rule::FinishTime || job.useful_ms.is_some() {
            return;
        }
        let left = job.left_ms(0).unwrap_or(0);
        self.work += i128::from(left) * i128::from(job.facts.size) * i128::from(times);
        let many = self.left.entry(left).or_default();
        *many += times;
        if *many == 0 {
            self.left.remove(&left);
        }
    }

    /// All work, and the longest.
    fn sums(&self) -> (i128, i64) {
        let longest = self.left.last_key_value();
        (self.work, longest.map_or(0, |(left, _)| *left))
    }
}
