//! What a policy is told of the run times, and the numbers drawn for it.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::Trace;

/// How the estimates of run times are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Told {
    /// The truth.
    Exact,
    /// So many times the truth, for all.
    Times(f64),
    /// The truth times a number between 1 and this, evenly, one draw per job.
    Uniform(f64),
    /// The truth times e^(σ·N), one draw per job.
    Lognormal(f64),
    /// A quantile (in percent) of the run times of jobs with as many GPUs that had arrived before; an hour where there is none.
    History(usize),
    /// Nothing.
    Nothing,
}

impl Told {
    /// Reads `exact`, `times:10`, `uniform:3`, `lognormal:0.7`, `history:50`, `none`.
    pub fn parse(text: &str) -> Result<Self> {
        let (kind, number) = text.split_once(':').unwrap_or((text, ""));
        let value: Option<f64> = number
            .parse()
            .ok()
            .filter(|value| (0.0..=1e6).contains(value));
        Ok(match (kind, value) {
            ("exact", None) if number.is_empty() => Self::Exact,
            ("none", None) if number.is_empty() => Self::Nothing,
            ("times", Some(value)) => Self::Times(value),
            ("uniform", Some(value)) if value >= 1.0 => Self::Uniform(value),
            ("lognormal", Some(value)) => Self::Lognormal(value),
            ("history", Some(_)) => match number.parse() {
                Ok(percent @ 0..=100) => Self::History(percent),
                _ => bail!("{text:?}: history:50 is the median"),
            },
            _ => bail!(
                "{text:?} is none of exact, times:10, uniform:3, lognormal:0.7, history:50, none"
            ),
        })
    }

    /// Sets what is told in a trace.
    pub fn tell(self, trace: &mut Trace, seed: u64) {
        let mut draws = Draws::new(seed);
        let mut history: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for job in &mut trace.jobs {
            job.told_ms = match self {
                Self::Exact => Some(job.run_ms),
                Self::Times(factor) => Some(scaled(job.run_ms, factor)),
                Self::Uniform(most) => Some(scaled(job.run_ms, 1.0 + (most - 1.0) * draws.next())),
                Self::Lognormal(sigma) => Some(scaled(job.run_ms, (sigma * draws.normal()).exp())),
                Self::History(percent) => {
                    let known = history.entry(job.gpus).or_default();
                    let last = known.len().saturating_sub(1);
                    let told = known
                        .get(last * percent / 100)
                        .copied()
                        .unwrap_or(3_600_000);
                    known.insert(known.partition_point(|one| *one < job.run_ms), job.run_ms);
                    Some(told.max(1))
                }
                Self::Nothing => None,
            };
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "run times of traces are far below 2^53 ms, and `as` saturates"
)]
fn scaled(ms: i64, factor: f64) -> i64 {
    ((ms as f64 * factor).round() as i64).max(1)
}

/// Random numbers of a seed (splitmix64), the same on every machine.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// Draws of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 even bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, not including, 1.
    #[expect(clippy::should_implement_trait, reason = "there is always a next one")]
    pub fn next(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal, mean 0, deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.next(), self.next());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Job;

    #[test]
    fn words() {
        assert_eq!(Told::parse("times:10").expect("times"), Told::Times(10.0));
        assert_eq!(Told::parse("history:90").expect("p90"), Told::History(90));
        for wrong in [
            "",
            "exact:1",
            "times",
            "times:-1",
            "lognormal:x",
            "history:101",
            "uniform:0.5",
        ] {
            assert!(Told::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn history_knows_only_what_came_before() {
        let job = |run_ms| Job {
            name: String::new(),
            submit_ms: 0,
            run_ms,
            gpus: 1,
            queue: String::new(),
            priority: 0,
            told_ms: None,
        };
        let mut trace = Trace::new([10, 30, 20, 5].map(job).to_vec());
        Told::History(50).tell(&mut trace, 1);
        let told: Vec<_> = trace.jobs.iter().map(|job| job.told_ms).collect();
        assert_eq!(told, [Some(3_600_000), Some(10), Some(10), Some(20)]);
    }
}
