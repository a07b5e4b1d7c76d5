//! A second implementation, straight from the text, slow and in small steps, in floating point. It judges the first on random trees.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["cpu", "memory", "gpu"];
/// The level rises by so much of the whole in a step.
const STEP: f64 = 1.0 / 8192.0;

type Amounts = [f64; 3];

/// One queue of a random tree; parents come before children.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    pub(super) parent: Option<usize>,
    pub(super) weight: u32,
    pub(super) priority: i32,
    pub(super) guaranteed: [Option<i64>; 3],
    pub(super) limit: [Option<i64>; 3],
    pub(super) lend: bool,
    pub(super) demand: [i64; 3],
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) capacity: [i64; 3],
    pub(super) queues: Vec<Plain>,
    pub(super) root_demand: [i64; 3],
}

impl World {
    pub(super) fn specs(&self) -> Vec<QueueSpec> {
        let name = |number: usize| format!("q{number}");
        let amounts = |list: &[Option<i64>; 3]| -> Vec<(&'static str, i64)> {
            let some = NAMES.iter().zip(list);
            some.filter_map(|(name, amount)| Some((*name, (*amount)?)))
                .collect()
        };
        let spec = |(number, plain): (usize, &Plain)| {
            let mut spec = queue(&name(number))
                .under(&plain.parent.map(name).unwrap_or_default())
                .weight(plain.weight)
                .priority(plain.priority)
                .guaranteed(&amounts(&plain.guaranteed))
                .limit(&amounts(&plain.limit));
            spec.lend = plain.lend;
            spec
        };
        self.queues.iter().enumerate().map(spec).collect()
    }

    pub(super) fn pairs(list: &[i64; 3]) -> Vec<(&'static str, i64)> {
        NAMES.iter().copied().zip(list.iter().copied()).collect()
    }

    pub(super) fn shares(&self) -> Shares {
        let mut shares = shares(self.specs(), &Self::pairs(&self.capacity), &[]);
        self.ask_all(&mut shares);
        shares.divide();
        shares
    }

    pub(super) fn ask_all(&self, shares: &mut Shares) {
        for (number, plain) in self.queues.iter().enumerate() {
            let ask = shares.ask(&vector(&Self::pairs(&plain.demand)), &Devices::default());
            let queue = shares.id(&format!("q{number}"));
            shares.wait(queue, &ask);
        }
        let ask = shares.ask(
            &vector(&Self::pairs(&self.root_demand)),
            &Devices::default(),
        );
        shares.wait(QueueTree::ROOT, &ask);
    }

    fn children(&self, parent: Option<usize>) -> Vec<usize> {
        (0..self.queues.len())
            .filter(|number| self.queues[*number].parent == parent)
            .collect()
    }

    fn demand(&self, queue: usize) -> Amounts {
        let plain = &self.queues[queue];
        let mut sum = plain.demand.map(|amount| amount as f64);
        for child in self.children(Some(queue)) {
            let claim = self.claim(child);
            sum = [0, 1, 2].map(|r| sum[r] + claim[r]);
        }
        [0, 1, 2].map(|r| sum[r].min(plain.limit[r].map_or(f64::MAX, |limit| limit as f64)))
    }

    fn claim(&self, queue: usize) -> Amounts {
        let mut demand = self.demand(queue);
        if !self.queues[queue].lend {
            for (r, amount) in demand.iter_mut().enumerate() {
                *amount = amount.max(self.guarantee(queue, r));
            }
        }
        demand
    }

    fn guarantee(&self, queue: usize, r: usize) -> f64 {
        let plain = &self.queues[queue];
        let below = || {
            self.children(Some(queue))
                .iter()
                .map(|child| self.guarantee(*child, r))
                .sum()
        };
        let guarantee: f64 = plain.guaranteed[r].map_or_else(below, |amount| amount as f64);
        guarantee.min(plain.limit[r].map_or(f64::MAX, |limit| limit as f64))
    }

    /// Entitlement of every queue's own line.
    fn divide(&self) -> Vec<Amounts> {
        let mut lines = vec![[0.0; 3]; self.queues.len()];
        let all = self.capacity.map(|amount| amount as f64);
        self.divide_at(None, all, all, &mut lines);
        lines
    }

    fn divide_at(
        &self,
        parent: Option<usize>,
        got: Amounts,
        sure: Amounts,
        lines: &mut Vec<Amounts>,
    ) {
        let children = self.children(parent);
        let line = parent.map_or(self.root_demand, |queue| self.queues[queue].demand);
        let line = line.map(|amount| amount as f64);
        if children.is_empty() {
            if let Some(queue) = parent {
                lines[queue] = [0, 1, 2].map(|r| got[r].min(line[r]));
            }
            return;
        }
        // Guaranteed first.
        let mut first: Vec<Amounts> = children
            .iter()
            .map(|child| [0, 1, 2].map(|r| self.claim(*child)[r].min(self.guarantee(*child, r))))
            .collect();
        for r in 0..3 {
            let sum: f64 = first.iter().map(|row| row[r]).sum();
            let there = got[r].min(sure[r]);
            if sum > there {
                first.iter_mut().for_each(|row| row[r] *= there / sum);
            }
        }
        let mut free = got;
        for row in &first {
            for r in 0..3 {
                free[r] -= row[r];
            }
        }
        // Then the surplus, class by class.
        let mut wants: Vec<Amounts> = children
            .iter()
            .zip(&first)
            .map(|(child, first)| [0, 1, 2].map(|r| (self.demand(*child)[r] - first[r]).max(0.0)))
            .collect();
        wants.push(line);
        let mut gets = vec![[0.0; 3]; wants.len()];
        let class = |number: usize| {
            children.get(number).map_or((false, 0), |child| {
                (
                    self.queues[*child].weight == 0,
                    -self.queues[*child].priority,
                )
            })
        };
        let weight = |number: usize| {
            children
                .get(number)
                .map_or(1.0, |child| f64::from(self.queues[*child].weight.max(1)))
        };
        let mut classes: Vec<_> = (0..wants.len()).map(class).collect();
        classes.sort_unstable();
        classes.dedup();
        for one in classes {
            let members: Vec<usize> = (0..wants.len())
                .filter(|number| class(*number) == one)
                .collect();
            self.pour(&members, &mut free, &mut wants, &mut gets, weight);
        }
        for (number, child) in children.iter().enumerate() {
            let got = [0, 1, 2].map(|r| first[number][r] + gets[number][r]);
            self.divide_at(Some(*child), got, first[number], lines);
        }
        if let Some(queue) = parent {
            lines[queue] = gets[children.len()];
        }
    }

    /// The one with the smallest dominant share / weight grows first, by a little, until nobody can.
    fn pour(
        &self,
        members: &[usize],
        free: &mut Amounts,
        wants: &mut [Amounts],
        gets: &mut [Amounts],
        weight: impl Fn(usize) -> f64,
    ) {
        let capacity = self.capacity.map(|amount| amount as f64);
        let share = |row: &Amounts, open: &[bool; 3]| {
            let shares = (0..3).filter(|r| open[*r]).map(|r| row[r] / capacity[r]);
            shares.fold(0.0, f64::max)
        };
        loop {
            let open = [0, 1, 2].map(|r| free[r] > 1e-9 && capacity[r] > 0.0);
            let wanting = members
                .iter()
                .copied()
                .filter(|number| share(&wants[*number], &open) > 0.0);
            let level = |number: usize| share(&gets[number], &open) / weight(number);
            let Some(next) = wanting.min_by(|a, b| level(*a).total_cmp(&level(*b))) else {
                return;
            };
            let step = (STEP * weight(next).min(4.0) / share(&wants[next], &open)).min(1.0);
            // As far as what it needs is there.
            let step = (0..3)
                .filter(|r| open[*r] && wants[next][*r] > 0.0)
                .map(|r| free[r] / wants[next][r])
                .fold(step, f64::min);
            for r in 0..3 {
                if open[r] {
                    let amount = wants[next][r] * step;
                    gets[next][r] += amount;
                    wants[next][r] -= amount;
                    free[r] -= amount;
                    if wants[next][r] < 1e-9 {
                        wants[next][r] = 0.0;
                    }
                }
            }
        }
    }
}

pub(super) fn worlds(lend: bool) -> impl Strategy<Value = World> {
    let amounts = |most: i64| [0..=most, 0..=most, 0..=most];
    let some = move |most: i64| {
        [
            prop::option::weighted(0.4, 0..=most),
            prop::option::weighted(0.3, 0..=most),
            prop::option::weighted(0.4, 0..=most),
        ]
    };
    let one = (
        prop::option::weighted(0.6, any::<prop::sample::Index>()),
        0_u32..4,
        0_i32..2,
        some(4000),
        some(9000),
        prop::bool::weighted(0.7).prop_map(move |lends| lend || lends),
        amounts(9000),
    );
    let queues = prop::collection::vec(one, 1..8);
    (
        [1000_i64..9000, 1000_i64..9000, 1000_i64..9000],
        queues,
        amounts(3000),
    )
        .prop_map(|(capacity, queues, root_demand)| World {
            capacity,
            root_demand,
            queues: queues
                .into_iter()
                .enumerate()
                .map(
                    |(number, (parent, weight, priority, guaranteed, limit, lend, demand))| Plain {
                        parent: parent
                            .filter(|_| number > 0)
                            .map(|parent| parent.index(number)),
                        weight,
                        priority,
                        guaranteed,
                        limit,
                        lend,
                        demand,
                    },
                )
                .collect(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn both_divide_alike(world in prop_oneof![worlds(true), worlds(false)]) {
        let shares = world.shares();
        for (number, naive) in world.divide().into_iter().enumerate() {
            let queue = shares.id(&format!("q{number}"));
            let line = shares.division.line.row(queue.0);
            let ours = shares.dims.name(line).resources;
            for (r, name) in NAMES.iter().enumerate() {
                let name = if *name == "gpu" { GPU } else { name };
                let ours = ours.get(name).copied().unwrap_or(0) as f64 / 1000.0;
                let slack = world.capacity[r] as f64 * 0.01 + 1.0;
                prop_assert!((ours - naive[r]).abs() <= slack, "q{} {}: {} is not {}", number, name, ours, naive[r]);
            }
        }
    }
}
