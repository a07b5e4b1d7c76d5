//! Size classes: remaining work in powers of two. Without a run time, the attained service says in which decade a job is.

use super::{DEVICE, FIRST_CLASS, Job};

/// Attained service that a job of unknown run time passes on its way down (policies-time.md, A, 6): device-seconds as work.
const THRESHOLDS: [i64; 4] = [
    3_600_000 * DEVICE,
    36_000_000 * DEVICE,
    360_000_000 * DEVICE,
    3_600_000_000 * DEVICE,
];

/// The class, from 0: `max(0, ceil(log2(work / FIRST_CLASS)))`.
pub(super) fn class(job: &Job, now: i64) -> i64 {
    let size = job.facts.size.max(1);
    if let Some(left) = job.left_ms(now) {
        return class_of(left.saturating_mul(size));
    }
    let attained = job.attained_ms(now).saturating_mul(size);
    let next = THRESHOLDS.into_iter().find(|limit| attained < *limit);
    class_of(next.unwrap_or(THRESHOLDS[3].saturating_mul(10)))
}

/// The next time at which a running job is in another class although nothing happens.
pub(super) fn next_class_ms(job: &Job, now: i64) -> Option<i64> {
    let useful = job.useful_ms?.max(now);
    let size = job.facts.size.max(1);
    let run = if let Some(left) = job.left_ms(now) {
        // Smaller classes do not make it give way; one that overruns only grows.
        let runtime = job.facts.runtime_ms?;
        if runtime > job.attained_ms(now) {
            return None;
        }
        left
    } else {
        let attained = job.attained_ms(now).saturating_mul(size);
        let next = THRESHOLDS.into_iter().find(|limit| attained < *limit)?;
        (next - attained + size - 1) / size
    };
    Some(useful.saturating_add(run.max(1)))
}

fn class_of(work: i64) -> i64 {
    let units = u64::try_from(work)
        .unwrap_or(0)
        .div_ceil(FIRST_CLASS.unsigned_abs());
    i64::from(units.max(1).next_power_of_two().trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_powers_of_two() {
        for (seconds, class) in [
            (0, 0),
            (1, 0),
            (60, 0),
            (61, 1),
            (120, 1),
            (121, 2),
            (240, 2),
            (3600, 6),
        ] {
            assert_eq!(class_of(seconds * 1000 * DEVICE), class, "{seconds}");
        }
        assert_eq!(class_of(-5), 0);
        assert!(class_of(i64::MAX) > 30);
    }
}
