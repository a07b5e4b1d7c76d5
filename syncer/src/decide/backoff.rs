//! How long to wait before the next try of one assignment.

use std::time::Duration;

/// What the last try met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The network or the server: soon again.
    Transient,
    /// Somebody refused: it takes people or the scheduler to change that.
    Refused,
}

/// Wait before try number `tries` (0 is the first after a failure). `spread` between 0 and 1 takes callers out of step.
pub fn wait(trouble: Trouble, tries: u32, spread: f64) -> Duration {
    let (first, most) = match trouble {
        Trouble::Transient => (200, 15_000),
        Trouble::Refused => (2_000, 30_000),
    };
    let grown = (first << tries.min(10)).min(most);
    Duration::from_millis(grown).mul_f64(0.5 + 0.5 * spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_is_capped() {
        let ms = |trouble, tries| wait(trouble, tries, 1.0).as_millis();
        assert_eq!(
            [0, 1, 2, 6, 9, 40].map(|n| ms(Trouble::Transient, n)),
            [200, 400, 800, 12_800, 15_000, 15_000]
        );
        assert_eq!(
            [0, 1, 4, 40].map(|n| ms(Trouble::Refused, n)),
            [2_000, 4_000, 30_000, 30_000]
        );
        assert_eq!(wait(Trouble::Transient, 0, 0.0).as_millis(), 100);
    }
}
