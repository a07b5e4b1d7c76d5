//! A small piece of a fleet in which somebody must give way.

use crate::replay::told::Draws;

/// GPUs of a node.
pub(super) const NODE: i64 = 8;
/// Nodes in a rack.
pub(super) const RACK: usize = 4;
/// When the claimant comes.
pub(super) const NOW_MS: i64 = 10 * 86_400_000;
/// The priority of the claimant; victims have less.
pub(super) const CLAIMANT: i32 = 10;

/// Two clusters, full of others, and a claimant.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// Nodes of both clusters, the first half in the first.
    pub(super) nodes: usize,
    pub(super) running: Vec<Running>,
    pub(super) claimant: Claimant,
}

/// Somebody who runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// Node of each pod.
    pub(super) pods: Vec<usize>,
    /// GPUs of each pod.
    pub(super) gpus: i64,
    pub(super) priority: i32,
    pub(super) preemptible: bool,
    pub(super) started_ms: i64,
    /// When it saved its work.
    pub(super) saved_ms: Option<i64>,
}

/// A gang that wants to start.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    pub(super) pods: i64,
    pub(super) gpus: i64,
    /// All pods in one rack, else in one cluster.
    pub(super) in_rack: bool,
}

/// What a set of victims costs; less is better, the fields in the order of their weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// Of the most important victim.
    pub(super) priority: i32,
    /// GPU-milliseconds of lost work.
    pub(super) lost: i64,
    pub(super) victims: usize,
    pub(super) gangs: usize,
}

impl Running {
    /// GPU-milliseconds that are lost if it goes.
    pub(super) fn lost(&self) -> i64 {
        let since = self.saved_ms.unwrap_or(self.started_ms);
        let pods = i64::try_from(self.pods.len()).unwrap_or(0);
        (NOW_MS - since) * self.gpus * pods
    }

    pub(super) fn is_victim(&self) -> bool {
        self.preemptible && self.priority < CLAIMANT
    }

    pub(super) fn is_gang(&self) -> bool {
        self.pods.len() > 1
    }
}

impl Cost {
    pub(super) fn plus(self, one: &Running) -> Self {
        Self {
            priority: self.priority.max(one.priority),
            lost: self.lost + one.lost(),
            victims: self.victims + 1,
            gangs: self.gangs + usize::from(one.is_gang()),
        }
    }
}

impl Cut {
    /// A cut by chance: nine tenths full, the claimant does not fit.
    pub(super) fn draw(seed: u64) -> Self {
        let mut draws = Draws::new(seed);
        loop {
            let cut = Self::try_draw(&mut draws);
            if !cut.fits(&[]) {
                return cut;
            }
        }
    }

    fn try_draw(draws: &mut Draws) -> Self {
        let mut below = |most: u64| usize::try_from(draws.bits() % most).unwrap_or(0);
        let nodes = 2 * (3 + below(4));
        let mut free = vec![NODE; nodes];
        let mut running = Vec::new();
        for _ in 0..nodes * 6 {
            let used: i64 = free.iter().map(|free| NODE - free).sum();
            if used * 10 >= 9 * NODE * i64::try_from(nodes).unwrap_or(0) {
                break;
            }
            // One GPU most of all, whole nodes and gangs of several now and then.
            let (pods, gpus) = match below(20) {
                0..=7 => (1, 1),
                8..=10 => (1, 2),
                11..=13 => (1, 4),
                14..=15 => (1, 8),
                16 => (2, 2),
                17 => (2, 4),
                18 => (2, 8),
                _ => (3, 4),
            };
            let cluster = below(2) * nodes / 2;
            let mut open: Vec<usize> = (cluster..cluster + nodes / 2).collect();
            let mut spot = Vec::new();
            while spot.len() < pods && !open.is_empty() {
                let node = open.swap_remove(below(open.len() as u64));
                if free[node] >= gpus {
                    spot.push(node);
                }
            }
            if spot.len() < pods {
                continue;
            }
            spot.sort_unstable();
            spot.iter().for_each(|node| free[*node] -= gpus);
            let started_ms = NOW_MS - i64::from(60_000 << below(11));
            running.push(Running {
                pods: spot,
                gpus,
                priority: i32::try_from(below(3)).unwrap_or(0),
                preemptible: below(12) > 0,
                started_ms,
                saved_ms: (below(4) == 0).then(|| NOW_MS - (NOW_MS - started_ms) / 8),
            });
        }
        let (pods, gpus) = [
            (1, 1),
            (1, 4),
            (1, 8),
            (2, 4),
            (2, 8),
            (3, 8),
            (4, 4),
            (6, 1),
        ][below(8)];
        Self {
            nodes,
            running,
            claimant: Claimant {
                pods,
                gpus,
                in_rack: below(3) == 0,
            },
        }
    }

    /// Ranges of nodes in one of which the claimant must be.
    pub(super) fn regions(&self) -> Vec<std::ops::Range<usize>> {
        let half = self.nodes / 2;
        let each = if self.claimant.in_rack { RACK } else { half };
        [0, half]
            .into_iter()
            .flat_map(|first| {
                (first..first + half)
                    .step_by(each)
                    .map(move |from| from..(from + each).min(first + half))
            })
            .collect()
    }

    /// Free GPUs by node with these gone.
    pub(super) fn free(&self, gone: &[usize]) -> Vec<i64> {
        let mut free = vec![NODE; self.nodes];
        for (position, one) in self.running.iter().enumerate() {
            if !gone.contains(&position) {
                one.pods.iter().for_each(|node| free[*node] -= one.gpus);
            }
        }
        free
    }

    /// Whether the claimant fits on some of these nodes.
    pub(super) fn fits_in(&self, free: &[i64], region: &std::ops::Range<usize>) -> bool {
        let held = free[region.clone()]
            .iter()
            .map(|free| free / self.claimant.gpus);
        held.sum::<i64>() >= self.claimant.pods
    }

    /// Whether it fits anywhere with these gone.
    pub(super) fn fits(&self, gone: &[usize]) -> bool {
        let free = self.free(gone);
        self.regions()
            .iter()
            .any(|region| self.fits_in(&free, region))
    }

    pub(super) fn cost(&self, gone: &[usize]) -> Cost {
        let one = |cost: Cost, position: &usize| cost.plus(&self.running[*position]);
        gone.iter().fold(
            Cost {
                priority: i32::MIN,
                ..Cost::default()
            },
            one,
        )
    }

    pub(super) fn gangs(&self, gone: &[usize]) -> usize {
        gone.iter()
            .filter(|position| self.running[**position].is_gang())
            .count()
    }
}
