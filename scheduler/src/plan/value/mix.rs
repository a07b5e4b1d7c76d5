//! What arrives: which pods, how often, and what is assumed before anything has.

use std::collections::BTreeMap;

use super::{Stock, WHOLE};

/// Number of a condition on nodes (selector, affinity, tolerations, device), given by who keeps the mix; 0 is none.
pub type Place = usize;

/// What one pod asks, as far as the mix knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Devices, 0 for none.
    pub devices: i64,
    /// Thousandths of each device.
    pub share: i64,
    /// Where it may run.
    pub place: Place,
}

/// Pods that arrived, by what they ask.
#[derive(Clone, Debug, Default)]
pub struct Mix {
    counts: BTreeMap<Ask, u64>,
    arrivals: u64,
    /// It is known and not learned: no prior, and arrivals do not change it.
    known: bool,
}

/// Pseudo-pods of the prior before anything has arrived; a tenth of the arrivals comes on top.
const PRIOR: f64 = 20.0;
/// Part of the prior that asks for a whole node: without it a fleet that has never seen a gang is cut to pieces.
const PRIOR_NODES: f64 = 0.02;
/// Arrivals after which the mix is recomputed: at first on every doubling, then every thousand, then every tenth.
const FIRST: [u64; 9] = [1, 10, 20, 40, 80, 160, 320, 640, 1_280];
const THEN: u64 = 1_000;
/// More kinds of pods than that are rounded to eighths of a power of two.
const MOST: usize = 512;

impl Mix {
    /// A mix that is known beforehand.
    pub fn known(counts: impl IntoIterator<Item = (Ask, u64)>) -> Self {
        let mut mix = Self {
            known: true,
            ..Self::default()
        };
        for (ask, pods) in counts {
            mix.add(ask, pods);
        }
        mix
    }

    /// Whether it is known beforehand.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Counts an arrival of so many equal pods.
    pub fn arrive(&mut self, ask: Ask, pods: u64) {
        if !self.known {
            self.add(ask, pods);
        }
    }

    /// Pods that arrived.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Number of arrivals at which what was computed at `arrivals` is out of date.
    pub fn next_update(arrivals: u64) -> u64 {
        let first = FIRST.iter().copied().find(|at| *at > arrivals);
        first.unwrap_or_else(|| {
            let step = THEN.max(arrivals / 10);
            (arrivals / THEN) * THEN + step
        })
    }

    /// Weights of what is expected, the prior included, at most [`MOST`] kinds.
    pub(super) fn weights(&self, stocks: &[Stock]) -> BTreeMap<Ask, f64> {
        let mut weights = BTreeMap::new();
        for (ask, pods) in &self.counts {
            let ask = if self.counts.len() > MOST {
                coarse(*ask)
            } else {
                *ask
            };
            *weights.entry(ask).or_insert(0.0) += *pods as f64;
        }
        if !self.known {
            let pseudo = PRIOR + 0.1 * self.arrivals as f64;
            let (one, node) = prior(stocks);
            if one.devices > 0 {
                *weights.entry(one).or_insert(0.0) += (1.0 - PRIOR_NODES) * pseudo;
                *weights.entry(node).or_insert(0.0) += PRIOR_NODES * pseudo;
            }
        }
        weights
    }

    /// How far what is expected now is from what was expected then, over all kinds: 0 to 2.
    pub fn moved(&self, then: &BTreeMap<Ask, f64>, stocks: &[Stock]) -> f64 {
        let now = self.expected(stocks);
        let part = |of: &BTreeMap<Ask, f64>, ask: &Ask| of.get(ask).copied().unwrap_or(0.0);
        let gone = then.iter().filter(|(ask, _)| !now.contains_key(*ask));
        let gone: f64 = gone.map(|(_, part)| part).sum();
        let moved = now.iter().map(|(ask, now)| (now - part(then, ask)).abs());
        gone + moved.sum::<f64>()
    }

    /// Parts of what is expected, by what is asked.
    pub fn expected(&self, stocks: &[Stock]) -> BTreeMap<Ask, f64> {
        let mut weights = self.weights(stocks);
        let total: f64 = weights.values().sum();
        for weight in weights.values_mut() {
            *weight /= total.max(1.0);
        }
        weights
    }

    fn add(&mut self, ask: Ask, pods: u64) {
        *self.counts.entry(ask).or_insert(0) += pods;
        self.arrivals += pods;
    }
}

/// One whole device and the largest node, both with the fleet's median of CPU and memory per device.
fn prior(stocks: &[Stock]) -> (Ask, Ask) {
    let median = |per: fn(&Stock) -> i64| {
        let mut all: Vec<(i64, i64)> = stocks
            .iter()
            .filter(|stock| stock.devices > 0)
            .map(|stock| (per(stock) / stock.devices, stock.nodes * stock.devices))
            .collect();
        all.sort_unstable();
        let total: i64 = all.iter().map(|(_, devices)| devices).sum();
        let mut seen = 0;
        let middle = all.iter().find(|(_, devices)| {
            seen += devices;
            2 * seen >= total
        });
        middle.map_or(0, |(value, _)| *value)
    };
    let largest = stocks.iter().map(|stock| stock.devices).max().unwrap_or(0);
    let one = Ask {
        cpu: median(|stock| stock.cpu),
        memory: median(|stock| stock.memory),
        devices: largest.min(1),
        share: WHOLE,
        place: 0,
    };
    let node = Ask {
        cpu: one.cpu * largest,
        memory: one.memory * largest,
        devices: largest,
        ..one
    };
    (one, node)
}

fn coarse(ask: Ask) -> Ask {
    Ask {
        cpu: rounded(ask.cpu),
        memory: rounded(ask.memory),
        share: (ask.share + 9) / 10 * 10,
        ..ask
    }
}

/// Up to the next eighth of a power of two.
fn rounded(amount: i64) -> i64 {
    if amount < 8 {
        return amount;
    }
    let step = 1_i64 << (60 - amount.leading_zeros());
    (amount + step - 1) / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_become_rarer() {
        let mut at = 0;
        let mut all = Vec::new();
        while at < 20_000 {
            at = Mix::next_update(at);
            all.push(at);
        }
        assert_eq!(
            all[..12],
            [1, 10, 20, 40, 80, 160, 320, 640, 1280, 2000, 3000, 4000]
        );
        assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn more_of_the_same_does_not_move_it() {
        let ask = |devices| Ask {
            devices,
            share: WHOLE,
            ..Ask::default()
        };
        let mut mix = Mix::default();
        mix.arrive(ask(1), 30);
        mix.arrive(ask(8), 10);
        let then = mix.expected(&[]);
        mix.arrive(ask(1), 300);
        mix.arrive(ask(8), 100);
        assert!(mix.moved(&then, &[]) < 1e-9);
        mix.arrive(ask(4), 440);
        assert!(
            (mix.moved(&then, &[]) - 1.0).abs() < 1e-9,
            "half of it is new"
        );
    }

    #[test]
    fn rounding_keeps_an_eighth() {
        for amount in [1, 7, 8, 9, 1000, 12_345, 1 << 40] {
            let up = rounded(amount);
            assert!(
                up >= amount && up - amount <= amount / 8 + 1,
                "{amount} {up}"
            );
        }
    }

    #[test]
    fn a_known_mix_does_not_learn() {
        let ask = Ask {
            devices: 1,
            share: 500,
            ..Ask::default()
        };
        let mut mix = Mix::known([(ask, 3)]);
        mix.arrive(ask, 5);
        assert_eq!(mix.arrivals(), 3);
        assert_eq!(mix.weights(&[]), [(ask, 3.0)].into());
        let mut learned = Mix::default();
        learned.arrive(ask, 5);
        let stock = Stock {
            nodes: 2,
            devices: 8,
            cpu: 96_000,
            memory: 384 << 30,
            allowed: vec![true],
        };
        let weights = learned.weights(&[stock]);
        assert_eq!(weights.len(), 3, "{weights:?}");
    }
}
