//! What queues have used before, fading with a half-life: of two that stand equal, the one that had less goes first.

use std::collections::BTreeMap;

use super::dims::{Dims, Table};
use super::tree::QueueTree;

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
                // What was used meanwhile has faded by half of the time in the mean.
                let meanwhile = used * i128::from(passed);
                *sum = fade(*sum, passed, self.half_life_ms)
                    + fade(meanwhile, passed / 2, self.half_life_ms);
            }
        }
    }

    /// Carries over what queues of the same name have used; `numbers` are the new numbers of the dimensions.
    pub(super) fn take_over(
        &mut self,
        old: &Self,
        from: &QueueTree,
        to: &QueueTree,
        numbers: &[usize],
    ) {
        self.half_life_ms = old.half_life_ms;
        self.at_ms = old.at_ms;
        for queue in to.ids() {
            let name = to.name(queue);
            let before = from.ids().find(|id| from.name(*id) == name);
            let Some(before) = before else { continue };
            let row = self.sums.row_mut(queue.0);
            for (dim, amount) in old.sums.row(before.0).iter().enumerate() {
                row[numbers[dim]] = *amount;
            }
        }
    }
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
