//! What queues have used before, fading with a half-life: of two that stand equal, the one that had less goes first.

use std::collections::BTreeMap;

use placement_api::quantity::{Quantity, ResourceList};
use serde::{Deserialize, Serialize};

use super::Shares;
use super::dims::{DEFAULT_DEVICE, Unit};
use super::dims::{Dims, Table};
use super::tree::{QueueId, QueueTree};

const MS_PER_HOUR: i128 = 3_600_000;
/// 2^(-1/2), 2^(-1/4), 2^(-1/8)… in 2⁻⁶⁴: what is left after that part of a half-life. Sixteen of them are exact to 10 ms of a week.
const ROOTS: [u64; 16] = [
    13_043_817_825_332_782_212,
    15_511_800_964_685_064_948,
    16_915_738_899_553_466_670,
    17_664_662_643_191_237_676,
    18_051_468_387_014_017_850,
    18_248_035_989_933_441_396,
    18_347_121_020_861_646_923,
    18_396_865_112_328_554_661,
    18_421_787_711_448_657_617,
    18_434_261_669_329_232_139,
    18_440_501_815_349_552_981,
    18_443_622_680_442_407_997,
    18_445_183_311_048_607_332,
    18_445_963_675_871_538_003,
    18_446_353_870_663_572_145,
    18_446_548_971_154_807_802,
];

/// What a queue with all below it used before, faded, in resource-hours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PastUse {
    /// As of when, ms since 1970.
    pub at_ms: i64,
    /// By resource.
    pub resources: ResourceList,
    /// Devices by product.
    pub products: ResourceList,
}

impl Shares {
    /// What a queue has used before, as of the last cycle. `None`: past use does not count, or there is none.
    pub fn past_use(&self, queue: QueueId) -> Option<PastUse> {
        let at_ms = self.past.at_ms.filter(|_| self.past.half_life_ms > 0)?;
        let mut past = PastUse {
            at_ms,
            ..PastUse::default()
        };
        let row = self.past.row(queue.0).iter().enumerate();
        for (dim, sum) in row.filter(|(_, sum)| **sum > 0) {
            let one = self.dims.get(dim);
            let hours = |parts: i128| {
                i64::try_from(sum * parts / one.grain / MS_PER_HOUR).unwrap_or(i64::MAX)
            };
            let amount = match one.unit() {
                Unit::Thousandth => Quantity::from_milli(hours(1)),
                Unit::Byte => Quantity::from_bytes(hours(1)),
                Unit::Whole => Quantity::from_milli(hours(1000)),
            };
            let list = match one.of {
                Some(_) => &mut past.products,
                None => &mut past.resources,
            };
            if !amount.is_zero() {
                list.insert(one.name.clone(), amount);
            }
        }
        let something = !past.resources.is_empty() || !past.products.is_empty();
        something.then_some(past)
    }

    /// An earlier leader has counted this; since then the queue has used what it uses now.
    pub fn remember(&mut self, queue: &str, past: &PastUse, now_ms: i64) {
        let Some(queue) = self.tree.known(queue) else {
            return;
        };
        let mut line = Vec::new();
        let resources = past.resources.iter().map(|one| (one, false));
        for ((name, amount), product) in
            resources.chain(past.products.iter().map(|one| (one, true)))
        {
            let dim = if product {
                self.dims.product(name, DEFAULT_DEVICE)
            } else {
                self.dims.resource(name)
            };
            let one = self.dims.get(dim);
            let grains = match one.unit() {
                Unit::Thousandth => i128::from(amount.milli_value()) * one.grain,
                Unit::Byte => i128::from(amount.value()) * one.grain,
                Unit::Whole => i128::from(amount.milli_value()) * one.grain / 1000,
            };
            line.push((dim, grains.max(0) * MS_PER_HOUR));
        }
        self.widen();
        let passed = now_ms.saturating_sub(past.at_ms);
        let used = self.used.row(queue.0);
        self.past.restore(queue.0, &line, used, passed);
    }

    /// What those used before who name a queue itself and none of its children.
    pub(super) fn past_of_line(&self, queue: QueueId) -> Vec<i128> {
        let mut line = self.past.row(queue.0).to_vec();
        for child in self.tree.children(queue) {
            for (left, sum) in line.iter_mut().zip(self.past.row(child.0)) {
                *left = (*left - sum).max(0);
            }
        }
        line
    }
}

/// Past use of every queue with all below it, in grains times milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    sums: Table,
    half_life_ms: i64,
    at_ms: Option<i64>,
}

impl Past {
    /// As the queues say (in resource-hours).
    pub(super) fn new(tree: &QueueTree, dims: &mut Dims) -> Self {
        let mut lines: Vec<BTreeMap<usize, i128>> = Vec::new();
        for queue in tree.ids() {
            let mut line = BTreeMap::new();
            for (name, hours) in tree.spec(queue).past_use.iter() {
                let dim = dims.resource(name);
                line.insert(dim, i128::from(hours) * dims.get(dim).grain * MS_PER_HOUR);
            }
            lines.push(line);
        }
        let mut sums = Table::new(lines.len(), dims.len());
        for (queue, line) in tree.ids().zip(lines) {
            for one in tree.path(queue) {
                for (dim, amount) in &line {
                    sums.row_mut(one.0)[*dim] += amount;
                }
            }
        }
        Self {
            sums,
            half_life_ms: 0,
            at_ms: None,
        }
    }

    /// What a queue has used; zeros where past use does not count.
    pub(super) fn row(&self, queue: usize) -> &[i128] {
        self.sums.row(queue)
    }

    pub(super) fn widen(&mut self, width: usize) {
        self.sums.widen(width);
    }

    pub(super) fn set_half_life(&mut self, half_life_ms: i64) {
        self.half_life_ms = half_life_ms.max(0);
    }

    /// A queue had used this (in grains times milliseconds) so long ago, and this ever since.
    fn restore(&mut self, queue: usize, line: &[(usize, i128)], used: &[i128], passed_ms: i64) {
        let row = self.sums.row_mut(queue);
        row.fill(0);
        for (dim, sum) in line {
            row[*dim] = *sum;
        }
        if passed_ms > 0 && self.half_life_ms > 0 {
            for (sum, used) in row.iter_mut().zip(used) {
                *sum = later(*sum, *used, passed_ms, self.half_life_ms);
            }
        }
    }

    /// Time has passed, in which every queue used what it uses.
    pub(super) fn advance(&mut self, used: &Table, now_ms: i64) {
        let passed = now_ms - self.at_ms.unwrap_or(now_ms);
        self.at_ms = Some(now_ms.max(self.at_ms.unwrap_or(now_ms)));
        if passed <= 0 || self.half_life_ms == 0 {
            return;
        }
        for queue in 0..self.sums.rows() {
            let now = used.row(queue);
            for (sum, used) in self.sums.row_mut(queue).iter_mut().zip(now) {
                *sum = later(*sum, *used, passed, self.half_life_ms);
            }
        }
    }

    /// Carries over what queues of the same name have used; `numbers` are the new numbers of the dimensions.
    pub(super) fn take_over(&mut self, old: &Self, from: &QueueTree, to: &QueueTree) {
        self.half_life_ms = old.half_life_ms;
        self.at_ms = old.at_ms;
        for queue in to.ids() {
            let name = to.name(queue);
            let before = from.ids().find(|id| from.name(*id) == name);
            let Some(before) = before else { continue };
            let row = old.sums.row(before.0);
            self.sums.row_mut(queue.0)[..row.len()].copy_from_slice(row);
        }
    }
}

/// What was used before, and what is used since.
fn later(sum: i128, used: i128, passed_ms: i64, half_life_ms: i64) -> i128 {
    // What was used meanwhile has faded by half of the time in the mean.
    let meanwhile = used * i128::from(passed_ms);
    fade(sum, passed_ms, half_life_ms) + fade(meanwhile, passed_ms / 2, half_life_ms)
}

/// What is left of an amount.
fn fade(amount: i128, passed_ms: i64, half_life_ms: i64) -> i128 {
    let (halvings, mut rest) = (passed_ms / half_life_ms, passed_ms % half_life_ms);
    let mut left = if halvings > 120 {
        0
    } else {
        amount >> halvings
    };
    for root in ROOTS {
        rest *= 2;
        if rest >= half_life_ms {
            rest -= half_life_ms;
            left = scale(left, root);
        }
    }
    left
}

/// `amount · factor / 2⁶⁴`, rounded down.
fn scale(amount: i128, factor: u64) -> i128 {
    let scaled = super::wide::mul_div(amount.max(0).unsigned_abs(), u128::from(factor), 1 << 64);
    i128::try_from(scaled).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_left_after_a_half_life() {
        const WEEK: i64 = 7 * 24 * 3_600_000;
        for (passed, permille) in [
            (0, 1000),
            (WEEK, 500),
            (2 * WEEK, 250),
            (WEEK / 2, 707),
            (WEEK / 4, 840),
            (WEEK / 3, 793),
            (200 * WEEK, 0),
        ] {
            let left = fade(1_000_000_000, passed, WEEK) / 1_000_000;
            assert!((left - permille).abs() <= 1, "{passed}: {left}");
        }
    }

    #[test]
    fn the_table_holds_the_roots() {
        // Each squared is the one before; the first squared is a half.
        let square = |root: u64| (u128::from(root) * u128::from(root)) >> 64;
        assert!(square(ROOTS[0]).abs_diff(1 << 63) <= 2);
        for pair in ROOTS.windows(2) {
            assert!(
                square(pair[1]).abs_diff(u128::from(pair[0])) <= 2,
                "{pair:?}"
            );
        }
    }
}
