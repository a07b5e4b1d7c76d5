//! How long to wait between tries: growing, capped, and never two callers in step.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Grows by doubling from `first` to `most`, then jittered down to between half and all of it.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
    seed: RandomState,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            tries: 0,
            seed: RandomState::new(),
        }
    }

    /// The next wait. At least `floor` before the jitter, for errors that will not pass soon.
    pub(crate) fn next(&mut self, floor: Duration) -> Duration {
        let grown = self.first.saturating_mul(1_u32 << self.tries.min(16));
        self.tries = self.tries.saturating_add(1);
        grown
            .max(floor)
            .min(self.most)
            .mul_f64(0.5 + 0.5 * self.fraction())
    }

    /// Tries since the last reset.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// What was tried works again.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    /// A number from 0 to 1, different for each try and each instance. The standard library's keyed hasher is random enough
    /// for jitter and saves a dependency.
    fn fraction(&self) -> f64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write_u32(self.tries);
        (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A number from 0 to 1 that differs between callers.
pub(crate) fn random_fraction() -> f64 {
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_cap_with_jitter_and_starts_over() {
        let ms = Duration::from_millis;
        for _ in 0..50 {
            let mut backoff = Backoff::new(ms(200), ms(15_000));
            for nominal in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000] {
                let wait = backoff.next(Duration::ZERO);
                assert!(
                    wait >= ms(nominal / 2) && wait <= ms(nominal),
                    "{wait:?} for {nominal}"
                );
            }
            for _ in 0..100 {
                assert!(backoff.next(Duration::ZERO) <= ms(15_000));
            }
            backoff.reset();
            let floored = backoff.next(ms(1_000));
            assert!(floored >= ms(500) && floored <= ms(1_000), "{floored:?}");
        }
    }

    #[test]
    fn two_callers_do_not_wait_in_step() {
        let waits: std::collections::BTreeSet<Duration> = (0..20)
            .map(|_| {
                Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).next(Duration::ZERO)
            })
            .collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
