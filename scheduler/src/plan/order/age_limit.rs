//! The longest wait before promotion, learned: the wait that first come, first served would have shown at its worst.
//!
//! `D(s)`, at the submission `s` of each job: (work submitted up to `s` − work served up to `s`) / capacity. The limit is its largest value in the
//! last 30 to 60 days. It is computed in hindsight: a job that has ended counts with its real work, one that has not with its estimate, corrected by how
//! estimates of ended jobs compare with the truth, and at least with what it has already done.

use std::collections::{BTreeMap, VecDeque};

use super::{Facts, Job, LEAST_AGE_LIMIT_MS};

/// The past is dropped in blocks so long; the present block and the one before count.
const BLOCK_MS: i64 = 30 * 24 * 3_600_000;
/// Before estimates are known to be good or bad they count as right for so much work: this long on the whole capacity.
const PRIOR_MS: i64 = 3_600_000;
/// Submissions that are remembered; beyond it the oldest go first. Keeps the hourly computation below a few milliseconds.
const MOST_RECORDS: usize = 100_000;

#[derive(Clone, Debug)]
pub(super) struct AgeLimit<I> {
    records: VecDeque<Record<I>>,
    /// Position of a job's record, counted from the first record ever.
    positions: BTreeMap<I, usize>,
    dropped: usize,
    /// Work of ended jobs whose records were dropped.
    base: i128,
    /// Jobs that have not ended whose records were dropped.
    old: BTreeMap<I, Facts>,
    /// Real and estimated work of ended jobs.
    real: i128,
    estimated: i128,
    /// Jobs and run time of ended ones by power of two of their run time, by size; by nothing: all.
    runs: BTreeMap<Option<i64>, BTreeMap<u32, (i128, i128)>>,
    limit_ms: i64,
}

#[derive(Clone, Debug)]
struct Record<I> {
    id: I,
    facts: Facts,
    /// Work served when it was submitted.
    served: i128,
    /// Work, once it has ended.
    real: Option<i128>,
}

impl<I> Default for AgeLimit<I> {
    fn default() -> Self {
        Self {
            records: VecDeque::new(),
            positions: BTreeMap::new(),
            dropped: 0,
            base: 0,
            old: BTreeMap::new(),
            real: 0,
            estimated: 0,
            runs: BTreeMap::new(),
            limit_ms: LEAST_AGE_LIMIT_MS,
        }
    }
}

impl<I: Ord + Clone> AgeLimit<I> {
    pub(super) fn limit_ms(&self) -> i64 {
        self.limit_ms
    }

    pub(super) fn arrive(&mut self, id: I, facts: Facts, served: i128) {
        if let Some(old) = self.old.get_mut(&id) {
            *old = facts;
            return;
        }
        if let Some(at) = self.positions.get(&id) {
            if let Some(record) = self.records.get_mut(at - self.dropped) {
                record.facts = facts;
            }
            return;
        }
        self.positions
            .insert(id.clone(), self.dropped + self.records.len());
        self.records.push_back(Record {
            id,
            facts,
            served,
            real: None,
        });
    }

    /// `ran_ms` is all the useful work that it has done.
    pub(super) fn end(&mut self, id: &I, ran_ms: i64) {
        let at = self.positions.remove(id);
        let record = at.and_then(|at| self.records.get_mut(at - self.dropped));
        let facts = if let Some(record) = record {
            record.real = Some(i128::from(ran_ms) * i128::from(record.facts.size));
            record.facts
        } else {
            let Some(facts) = self.old.remove(id) else {
                return;
            };
            self.base += i128::from(ran_ms) * i128::from(facts.size);
            facts
        };
        let size = i128::from(facts.size);
        if let Some(told) = facts.runtime_ms {
            self.real += i128::from(ran_ms) * size;
            self.estimated += i128::from(told) * size;
        }
        for key in [Some(facts.size), None] {
            let octaves = self.runs.entry(key).or_default();
            let (jobs, ran) = octaves.entry(octave(ran_ms)).or_default();
            *jobs += 1;
            *ran += i128::from(ran_ms);
        }
    }

    /// Real by estimated work of ended jobs as a fraction of at most 1, with the prior.
    pub(super) fn honesty(&self, capacity: i64) -> (i128, i128) {
        let prior = i128::from(capacity) * i128::from(PRIOR_MS);
        let told = self.estimated + prior;
        ((self.real + prior).min(told), told)
    }

    /// Computes the limit: `percent` of the largest `D(s)`.
    pub(super) fn measure(
        &mut self,
        jobs: &BTreeMap<I, Job>,
        capacity: i64,
        percent: i128,
        now: i64,
    ) {
        self.forget(now);
        let capacity = i128::from(capacity);
        let prior = capacity * i128::from(PRIOR_MS);
        let work = |id: &I, facts: &Facts| -> i128 {
            let size = i128::from(facts.size);
            let attained = jobs
                .get(id)
                .map_or(0, |job| i128::from(job.attained_ms(now)));
            let expected = match facts.runtime_ms {
                Some(told) => {
                    i128::from(told) * (self.real + prior) / (self.estimated + prior).max(1)
                }
                None => self.expected_ms(facts.size, attained),
            };
            size * expected.max(attained)
        };
        let mut submitted: i128 = self.base
            + self
                .old
                .iter()
                .map(|(id, facts)| work(id, facts))
                .sum::<i128>();
        let mut most: i128 = 0;
        for record in &self.records {
            submitted += record
                .real
                .unwrap_or_else(|| work(&record.id, &record.facts));
            most = most.max(submitted - record.served);
        }
        let limit = most * percent / 100 / capacity;
        self.limit_ms = i64::try_from(limit)
            .unwrap_or(i64::MAX)
            .max(LEAST_AGE_LIMIT_MS);
    }

    /// Mean run time of those ended ones of the same size that ran longer than this; twice as long where there is none.
    fn expected_ms(&self, size: i64, attained: i128) -> i128 {
        let from = octave(i64::try_from(attained).unwrap_or(i64::MAX));
        let mean = |key: Option<i64>| {
            let longer = self.runs.get(&key)?.range(from..);
            let (jobs, ran) = longer.fold((0, 0), |sum, (_, one)| (sum.0 + one.0, sum.1 + one.1));
            (jobs > 0).then(|| ran / jobs)
        };
        mean(Some(size))
            .or_else(|| mean(None))
            .unwrap_or(0)
            .max(attained)
    }

    fn forget(&mut self, now: i64) {
        let first = (now.div_euclid(BLOCK_MS) - 1) * BLOCK_MS;
        while let Some(record) = self.records.front()
            && (record.facts.submitted_ms < first || self.records.len() > MOST_RECORDS)
        {
            if let Some(real) = record.real {
                self.base += real;
            } else {
                self.old.insert(record.id.clone(), record.facts);
                self.positions.remove(&record.id);
            }
            self.records.pop_front();
            self.dropped += 1;
        }
    }
}

/// Power of two of a run time.
fn octave(ms: i64) -> u32 {
    ms.max(1).ilog2()
}
