//! Powers that are not whole, by square roots: unlike `powf` these give the same bits on every machine.

/// `x` to the power of 3/4, for x >= 0.
pub(super) fn three_quarters(x: f64) -> f64 {
    let half = x.sqrt();
    half * half.sqrt()
}

/// `x` to the power of 29/32, close to 0.9, for x >= 0.
pub(super) fn nine_tenths(x: f64) -> f64 {
    let half = x.sqrt();
    let quarter = half.sqrt();
    let eighth = quarter.sqrt();
    half * quarter * eighth * eighth.sqrt().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers() {
        for x in [0.0, 0.001, 0.2, 1.0, 3.0, 100.0_f64] {
            assert!((three_quarters(x) - x.powf(0.75)).abs() < 1e-9, "{x}");
            assert!((nine_tenths(x) - x.powf(29.0 / 32.0)).abs() < 1e-9, "{x}");
        }
    }
}
