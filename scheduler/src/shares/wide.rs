//! Products of two 128-bit numbers, so that shares are compared and divided without rounding and without overflow.

use std::cmp::Ordering;

/// `⌊a · b / c⌋`, exactly; `u128::MAX` where the quotient does not fit. Dividing by zero gives `u128::MAX` too.
pub(super) fn mul_div(a: u128, b: u128, c: u128) -> u128 {
    if let Some(product) = a.checked_mul(b) {
        return product.checked_div(c).unwrap_or(u128::MAX);
    }
    let (high, low) = multiply(a, b);
    if high >= c {
        return u128::MAX;
    }
    let (mut rest, mut quotient) = (high, 0_u128);
    for bit in (0..128).rev() {
        let carry = rest >> 127 == 1;
        rest = rest << 1 | (low >> bit & 1);
        if carry || rest >= c {
            rest = rest.wrapping_sub(c);
            quotient |= 1 << bit;
        }
    }
    quotient
}

/// Compares `a / b` with `c / d`, exactly. The denominators are positive.
pub(super) fn cmp_ratios(a: u128, b: u128, c: u128, d: u128) -> Ordering {
    match (a.checked_mul(d), c.checked_mul(b)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => multiply(a, d).cmp(&multiply(c, b)),
    }
}

/// The product as (high, low).
fn multiply(a: u128, b: u128) -> (u128, u128) {
    const HALF: u128 = u64::MAX as u128;
    let (a1, a0) = (a >> 64, a & HALF);
    let (b1, b0) = (b >> 64, b & HALF);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let other = a0 * b1 + (middle & HALF);
    (
        a1 * b1 + (middle >> 64) + (other >> 64),
        other << 64 | (low & HALF),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wide_division() {
        let max = u128::MAX;
        for (a, b, c, expected) in [
            (6, 7, 4, 10),
            (max, max, max, max),
            (max, max - 1, max, max - 1),
            (max, 3, 9, max / 3),
            (max, 2, 1, max),
            (1, 1, 0, max),
            (1 << 100, 1 << 100, 1 << 80, 1 << 120),
        ] {
            assert_eq!(mul_div(a, b, c), expected, "{a} * {b} / {c}");
        }
    }

    proptest! {
        #[test]
        fn quotient_and_rest_give_the_product(a: u128, b: u128, c in 1_u128..) {
            let quotient = mul_div(a, b, c);
            prop_assume!(quotient < u128::MAX);
            let (high, low) = multiply(quotient, c);
            let product = multiply(a, b);
            // product - quotient * c is in 0..c
            let (rest, borrow) = product.1.overflowing_sub(low);
            prop_assert_eq!(product.0 - high - u128::from(borrow), 0);
            prop_assert!(rest < c);
        }

        #[test]
        fn ratios_compare_as_small_ones_do(a: u32, b in 1_u32.., c: u32, d in 1_u32.., by in 1_u128..(1 << 90)) {
            let small = (u64::from(a) * u64::from(d)).cmp(&(u64::from(c) * u64::from(b)));
            let [a, b, c, d] = [a, b, c, d].map(u128::from);
            prop_assert_eq!(cmp_ratios(a * by, b * by, c * by, d * by), small);
        }
    }
}
