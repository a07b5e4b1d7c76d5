//! What a share of a device really costs: the dual prices of cutting stock.
//!
//! max sum d(s) w(s), such that no multiset of shares that fits one device is worth more than 1 and no share less than 0. It is solved
//! from the other side, the fewest devices that hold all demand, by simplex with generated columns: a pattern enters while
//! a knapsack finds one that is worth more than 1 at the present prices.

use super::WHOLE;

/// Below this a number is zero.
const EPSILON: f64 = 1e-9;
/// Steps after which the present prices are taken as they are; a hundred shares need fewer.
const STEPS: usize = 4_000;

/// Prices of shares and of what is left free on a device.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizes {
    /// Most that fits into so many thousandths.
    best: Vec<f64>,
    /// Price of a share of so many thousandths, where it is in demand; else the best that fits into it.
    price: Vec<f64>,
}

impl Sizes {
    /// Prices for demands (share in thousandths 1..=1000, weight > 0), ascending by share, each share once.
    pub(super) fn new(demand: &[(i64, f64)]) -> Self {
        let demand: Vec<(usize, f64)> = demand
            .iter()
            .filter_map(|(share, weight)| Some((usize::try_from(*share).ok()?, *weight)))
            .filter(|(share, weight)| (1..=whole()).contains(share) && *weight > 0.0)
            .collect();
        let shares: Vec<usize> = demand.iter().map(|(share, _)| *share).collect();
        let prices = Simplex::new(&demand).solve();
        let (best, _) = knapsack(&shares, &prices);
        let mut price = best.clone();
        for (share, worth) in shares.iter().zip(&prices) {
            price[*share] = *worth;
        }
        Self { best, price }
    }

    /// Part of a device that a share really uses up.
    pub(super) fn of(&self, share: i64) -> f64 {
        at(&self.price, share)
    }

    /// What so many free thousandths of one device are worth.
    pub(super) fn left(&self, free: i64) -> f64 {
        at(&self.best, free)
    }
}

fn whole() -> usize {
    usize::try_from(WHOLE).unwrap_or_default()
}

fn at(table: &[f64], thousandths: i64) -> f64 {
    let index = usize::try_from(thousandths.clamp(0, WHOLE)).unwrap_or_default();
    table.get(index).copied().unwrap_or_default()
}

/// The most valuable multiset of shares for every size of free room: its value, and the share to take first there.
fn knapsack(shares: &[usize], prices: &[f64]) -> (Vec<f64>, Vec<Option<usize>>) {
    let mut best = vec![0.0_f64; whole() + 1];
    let mut first = vec![None; whole() + 1];
    for room in 1..=whole() {
        best[room] = best[room - 1];
        for (index, share) in shares.iter().enumerate() {
            if *share > room {
                break;
            }
            let value = best[room - share] + prices[index];
            if value > best[room] + EPSILON {
                best[room] = value;
                first[room] = Some(index);
            }
        }
    }
    (best, first)
}

/// Fewest devices for all demand. Rows are shares; `inverse` is that of the columns in use.
struct Simplex {
    shares: Vec<usize>,
    inverse: Vec<Vec<f64>>,
    amounts: Vec<f64>,
    costs: Vec<f64>,
}

impl Simplex {
    /// Starts with devices that hold only one kind of share each.
    fn new(demand: &[(usize, f64)]) -> Self {
        let rows = demand.len();
        let mut inverse = vec![vec![0.0; rows]; rows];
        let mut amounts = Vec::with_capacity(rows);
        for (row, (share, weight)) in demand.iter().enumerate() {
            let copies = (whole() / share) as f64;
            inverse[row][row] = 1.0 / copies;
            amounts.push(weight / copies);
        }
        Self {
            shares: demand.iter().map(|(share, _)| *share).collect(),
            inverse,
            amounts,
            costs: vec![1.0; rows],
        }
    }

    fn solve(mut self) -> Vec<f64> {
        for _ in 0..STEPS {
            let prices = self.prices();
            let Some((column, cost)) = self.entering(&prices) else {
                break;
            };
            if !self.pivot(&column, cost) {
                break;
            }
        }
        self.prices()
            .into_iter()
            .map(|price| price.max(0.0))
            .collect()
    }

    fn prices(&self) -> Vec<f64> {
        let mut prices = vec![0.0; self.shares.len()];
        for (row, cost) in self.inverse.iter().zip(&self.costs) {
            for (price, value) in prices.iter_mut().zip(row) {
                *price += cost * value;
            }
        }
        prices
    }

    /// A pattern that is worth more than the device that it takes, or demand that is overfilled at a negative price.
    fn entering(&self, prices: &[f64]) -> Option<(Vec<f64>, f64)> {
        let (best, first) = knapsack(&self.shares, prices);
        let mut column = vec![0.0; self.shares.len()];
        if best[whole()] > 1.0 + 1e-7 {
            let mut room = whole();
            while room > 0 {
                match first[room] {
                    Some(index) => {
                        column[index] += 1.0;
                        room -= self.shares[index];
                    }
                    None => room -= 1,
                }
            }
            return Some((column, 1.0));
        }
        let negative = prices.iter().position(|price| *price < -1e-7)?;
        column[negative] = -1.0;
        Some((column, 0.0))
    }

    fn pivot(&mut self, column: &[f64], cost: f64) -> bool {
        let direction: Vec<f64> = self
            .inverse
            .iter()
            .map(|row| row.iter().zip(column).map(|(a, b)| a * b).sum())
            .collect();
        let mut leaving: Option<(usize, f64)> = None;
        for (row, step) in direction.iter().enumerate() {
            if *step > EPSILON {
                let ratio = self.amounts[row] / step;
                if leaving.is_none_or(|(_, least)| ratio < least) {
                    leaving = Some((row, ratio));
                }
            }
        }
        let Some((out, ratio)) = leaving else {
            return false;
        };
        let pivot = direction[out];
        for value in &mut self.inverse[out] {
            *value /= pivot;
        }
        let base = self.inverse[out].clone();
        for (row, step) in direction.iter().enumerate() {
            if row == out {
                continue;
            }
            for (value, above) in self.inverse[row].iter_mut().zip(&base) {
                *value -= step * above;
            }
            self.amounts[row] = (self.amounts[row] - step * ratio).max(0.0);
        }
        self.amounts[out] = ratio;
        self.costs[out] = cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fits_beside_nothing_costs_a_whole_device() {
        let sizes = Sizes::new(&[(460, 30.0), (810, 20.0), (1000, 50.0)]);
        assert!((sizes.of(1000) - 1.0).abs() < 1e-9);
        assert!((sizes.of(810) - 1.0).abs() < 1e-9, "{}", sizes.of(810));
        assert!((sizes.of(460) - 0.5).abs() < 1e-9);
        assert!(sizes.left(190).abs() < 1e-9);
        assert!((sizes.left(540) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn no_demand_no_price() {
        assert!(Sizes::new(&[]).left(1000).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn prices_are_dual_feasible_and_meet_the_primal(
            demand in prop::collection::btree_map(20_i64..=1000, 1_u32..100, 1..14),
        ) {
            let demand: Vec<(i64, f64)> = demand.into_iter().map(|(share, weight)| (share, f64::from(weight))).collect();
            let sizes = Sizes::new(&demand);
            prop_assert!(sizes.left(1000) <= 1.0 + 1e-6);
            // Bounds of the fewest devices: at least the sum of sizes, at most one kind per device.
            let worth: f64 = demand.iter().map(|(share, weight)| weight * sizes.of(*share)).sum();
            let volume: f64 = demand.iter().map(|(share, weight)| weight * *share as f64 / 1000.0).sum();
            let apart: f64 = demand.iter().map(|(share, weight)| weight / (1000 / share) as f64).sum();
            prop_assert!(worth >= volume - 1e-6 && worth <= apart + 1e-6, "{volume} {worth} {apart}");
        }
    }
}
