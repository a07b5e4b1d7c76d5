//! The division of what there is among the queues (`scheduling.md`, "Shares"), from the root down.

use super::capacity::Measures;
use super::dims::{Dims, Table, UNLIMITED};
use super::fill::{Cup, fill};
use super::tree::{QueueId, QueueTree};
use super::wide::mul_div;

/// What the tree says, in grains.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// What each queue is guaranteed: its own word, else the sum of its children's.
    pub(super) guaranteed: Table,
    /// The same, cut so that the guarantees of children fit into an explicit one of their parent.
    pub(super) firm: Table,
    /// Limits; [`UNLIMITED`] where there is none.
    pub(super) limit: Table,
}

/// What a division is made of.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) tree: &'a QueueTree,
    pub(super) terms: &'a Terms,
    pub(super) dims: &'a Dims,
    pub(super) measures: &'a Measures,
    /// What each line uses and waits for.
    pub(super) demand: &'a Table,
}

/// The result, and what it was computed from.
#[derive(Clone, Debug, Default)]
pub(super) struct Division {
    /// What a queue and those below it want, limits applied.
    wants: Table,
    /// The same with what it keeps though it does not want it (`lend: false`).
    claims: Table,
    /// What it got, kept amounts included.
    got: Table,
    /// The part of that which is guaranteed.
    pub(super) sure: Table,
    /// Entitlement of the queue's own line.
    pub(super) line: Table,
    /// Entitlement of the queue with all below it.
    pub(super) entitled: Table,
}

impl Terms {
    pub(super) fn new(tree: &QueueTree, dims: &mut Dims) -> Self {
        for queue in tree.ids() {
            let spec = tree.spec(queue);
            spec.guaranteed.keys().for_each(|name| {
                dims.resource(name);
            });
            spec.limit.keys().for_each(|name| {
                dims.resource(name);
            });
            spec.accelerators.iter().for_each(|one| {
                dims.product(&one.product, super::dims::DEFAULT_DEVICE);
            });
        }
        let rows = tree.ids().count();
        let mut guaranteed = Table::new(rows, dims.len());
        let mut limit = Table::new(rows, dims.len());
        let queues: Vec<QueueId> = tree.ids().collect();
        for queue in queues.iter().rev() {
            let (guarantees, limits) = of_one(tree, *queue, &guaranteed, dims);
            guaranteed.row_mut(queue.0).copy_from_slice(&guarantees);
            limit.row_mut(queue.0).copy_from_slice(&limits);
        }
        let mut firm = guaranteed.clone();
        for queue in &queues {
            // The root's is the sum of its children's: nothing to cut.
            for dim in 0..dims.len() {
                let have = firm.row(queue.0)[dim];
                let asked: i128 = tree
                    .children(*queue)
                    .map(|child| firm.row(child.0)[dim])
                    .sum();
                if asked > have {
                    for child in tree.children(*queue) {
                        let cut = &mut firm.row_mut(child.0)[dim];
                        *cut = fraction(*cut, have, asked);
                    }
                }
            }
        }
        firm.row_mut(0).fill(0);
        Self {
            guaranteed,
            firm,
            limit,
        }
    }

    pub(super) fn widen(&mut self, width: usize) {
        self.guaranteed.widen(width);
        self.firm.widen(width);
        let old = self.limit.row(0).len();
        self.limit.widen(width);
        for row in 0..self.limit.rows() {
            self.limit.row_mut(row)[old..].fill(UNLIMITED);
        }
    }
}

/// Guarantee and limit of one queue, those of its children being known.
fn of_one(
    tree: &QueueTree,
    queue: QueueId,
    known: &Table,
    dims: &mut Dims,
) -> (Vec<i128>, Vec<i128>) {
    let spec = tree.spec(queue);
    let mut guaranteed: Vec<Option<i128>> = vec![None; dims.len()];
    let mut limit = vec![UNLIMITED; dims.len()];
    for (name, amount) in &spec.guaranteed {
        let dim = dims.resource(name);
        guaranteed[dim] = Some(i128::from(*amount) * dims.get(dim).grain);
    }
    for (name, amount) in &spec.limit {
        let dim = dims.resource(name);
        limit[dim] = i128::from(*amount) * dims.get(dim).grain;
    }
    let mut finer = vec![0; dims.len()];
    for one in &spec.accelerators {
        let dim = dims.product(&one.product, super::dims::DEFAULT_DEVICE);
        let grain = dims.get(dim).grain;
        if let Some(amount) = one.guaranteed {
            guaranteed[dim] = Some(i128::from(amount) * grain);
            if let Some(of) = dims.get(dim).of {
                finer[of] += i128::from(amount) * grain;
            }
        }
        if let Some(amount) = one.limit {
            limit[dim] = i128::from(amount) * grain;
        }
    }
    let below = |dim: usize| {
        tree.children(queue)
            .map(|child| known.row(child.0)[dim])
            .sum()
    };
    let guaranteed = guaranteed
        .into_iter()
        .enumerate()
        .map(|(dim, own)| {
            own.unwrap_or_else(|| below(dim))
                .max(finer[dim])
                .min(limit[dim])
        })
        .collect();
    (guaranteed, limit)
}

impl Division {
    pub(super) fn new(rows: usize, width: usize) -> Self {
        let table = || Table::new(rows, width);
        Self {
            wants: table(),
            claims: table(),
            got: table(),
            sure: table(),
            line: table(),
            entitled: table(),
        }
    }

    pub(super) fn widen(&mut self, width: usize) {
        for table in [
            &mut self.wants,
            &mut self.claims,
            &mut self.got,
            &mut self.sure,
            &mut self.line,
            &mut self.entitled,
        ] {
            table.widen(width);
        }
    }

    /// Counts again what the stale queues want (a queue is stale if its line or a queue below it changed), and divides where
    /// that changes anything. `capacity_changed` divides at the root whatever else did not change.
    pub(super) fn refresh(&mut self, given: Given<'_>, stale: &mut [bool], capacity_changed: bool) {
        let tree = given.tree;
        let mut divide = vec![false; stale.len()];
        divide[0] = capacity_changed;
        for queue in tree.ids().collect::<Vec<_>>().into_iter().rev() {
            if std::mem::take(&mut stale[queue.0]) {
                divide[queue.0] = true;
                self.count(given, queue);
            }
        }
        if !divide.iter().any(|one| *one) {
            return;
        }
        for (dim, cell) in self.got.row_mut(0).iter_mut().enumerate() {
            *cell = given.measures.capacity(dim);
        }
        for queue in tree.ids() {
            if std::mem::take(&mut divide[queue.0]) {
                let changed = self.divide_at(given, queue);
                changed.into_iter().for_each(|child| divide[child] = true);
            }
        }
        for queue in tree.ids().collect::<Vec<_>>().into_iter().rev() {
            let mut sum = self.line.row(queue.0).to_vec();
            for child in tree.children(queue) {
                add(&mut sum, self.entitled.row(child.0));
            }
            self.entitled.row_mut(queue.0).copy_from_slice(&sum);
        }
    }

    /// What a queue and those below it want and claim.
    fn count(&mut self, given: Given<'_>, queue: QueueId) {
        let Given {
            tree,
            terms,
            dims,
            demand,
            ..
        } = given;
        let mut wants = demand.row(queue.0).to_vec();
        for child in tree.children(queue) {
            add(&mut wants, self.claims.row(child.0));
        }
        let limit = terms.limit.row(queue.0);
        for (dim, one) in dims.iter() {
            if let Some(of) = one.of {
                let cut = (wants[dim] - limit[dim]).max(0);
                wants[dim] -= cut;
                wants[of] = (wants[of] - cut).max(0);
            }
        }
        for (dim, _) in dims.iter().filter(|(_, one)| one.of.is_none()) {
            wants[dim] = wants[dim].min(limit[dim]);
        }
        for (dim, one) in dims.iter() {
            if let Some(of) = one.of {
                wants[dim] = wants[dim].min(wants[of]);
            }
        }
        self.wants.row_mut(queue.0).copy_from_slice(&wants);
        if !tree.spec(queue).lend {
            for (want, keeps) in wants.iter_mut().zip(terms.guaranteed.row(queue.0)) {
                *want = (*want).max(*keeps);
            }
        }
        self.claims.row_mut(queue.0).copy_from_slice(&wants);
    }

    /// Divides what one queue got among its children and its own line. Returns the children that got something else than before.
    fn divide_at(&mut self, given: Given<'_>, queue: QueueId) -> Vec<usize> {
        let Given {
            tree,
            dims,
            measures,
            demand,
            ..
        } = given;
        let children: Vec<QueueId> = tree.children(queue).collect();
        if children.is_empty() {
            let line: Vec<i128> = self
                .got
                .row(queue.0)
                .iter()
                .zip(demand.row(queue.0))
                .map(|(got, wanted)| *got.min(wanted))
                .collect();
            self.line.row_mut(queue.0).copy_from_slice(&line);
            return Vec::new();
        }
        let mut free = self.got.row(queue.0).to_vec();
        let sure = self.guarantees(given, queue, &children);
        for row in &sure {
            for (left, taken) in free.iter_mut().zip(row) {
                *left -= taken;
            }
        }
        let mut cups: Vec<Cup> = children
            .iter()
            .zip(&sure)
            .map(|(child, sure)| Cup {
                weight: tree.spec(*child).weight,
                wants: less(self.wants.row(child.0), sure),
                gets: vec![0; dims.len()],
            })
            .collect();
        cups.push(Cup {
            weight: 1,
            wants: demand.row(queue.0).to_vec(),
            gets: vec![0; dims.len()],
        });
        // Who has a weight comes first, higher priority first; the queue's own line has weight 1 and priority 0.
        let class = |number: usize| {
            children.get(number).map_or((false, 0), |child| {
                let spec = tree.spec(*child);
                (spec.weight == 0, -i64::from(spec.priority))
            })
        };
        let mut order: Vec<usize> = (0..cups.len()).collect();
        order.sort_by_key(|number| class(*number));
        let mut cups: Vec<Option<Cup>> = cups.into_iter().map(Some).collect();
        for group in order.chunk_by(|a, b| class(*a) == class(*b)) {
            let mut together: Vec<Cup> = group
                .iter()
                .map(|number| cups[*number].take().unwrap_or_default())
                .collect();
            fill(&mut free, &mut together, measures, dims);
            for (number, cup) in group.iter().zip(together) {
                cups[*number] = Some(cup);
            }
        }
        let mut gets = cups.into_iter().map(|cup| cup.unwrap_or_default().gets);
        let mut changed = Vec::new();
        for (child, sure) in children.iter().zip(&sure) {
            let mut got = gets.next().unwrap_or_default();
            add(&mut got, sure);
            if got != self.got.row(child.0) || sure != self.sure.row(child.0) {
                changed.push(child.0);
            }
            self.got.row_mut(child.0).copy_from_slice(&got);
            self.sure.row_mut(child.0).copy_from_slice(sure);
        }
        if let Some(line) = gets.next() {
            self.line.row_mut(queue.0).copy_from_slice(&line);
        }
        changed
    }

    /// What each child gets for its guarantee: as much of it as it claims, all cut to the same fraction where they do not fit.
    fn guarantees(&self, given: Given<'_>, queue: QueueId, children: &[QueueId]) -> Vec<Vec<i128>> {
        let Given {
            tree, terms, dims, ..
        } = given;
        let mut rows: Vec<Vec<i128>> = children
            .iter()
            .map(|child| {
                usable_guarantee(
                    self.claims.row(child.0),
                    terms.guaranteed.row(child.0),
                    tree.spec(*child).lend,
                    dims,
                )
            })
            .collect();
        for dim in 0..dims.len() {
            let got = self.got.row(queue.0)[dim];
            let pool = if queue == QueueTree::ROOT {
                got
            } else {
                got.min(self.sure.row(queue.0)[dim])
            };
            let asked: i128 = rows.iter().map(|row| row[dim]).sum();
            if asked > pool {
                for row in &mut rows {
                    row[dim] = fraction(row[dim], pool, asked);
                }
            }
        }
        rows
    }
}

/// The part of a guarantee that a claim can use. Devices that are guaranteed by product serve whoever asks for that product or
/// for none; those that are guaranteed by resource alone serve every product.
fn usable_guarantee(claim: &[i128], guaranteed: &[i128], lend: bool, dims: &Dims) -> Vec<i128> {
    let mut usable: Vec<i128> = claim
        .iter()
        .zip(guaranteed)
        .map(|(a, b)| *a.min(b))
        .collect();
    for (dim, _) in dims.iter().filter(|(_, one)| one.of.is_none()) {
        let products: Vec<usize> = dims
            .iter()
            .filter(|(_, one)| one.of == Some(dim))
            .map(|(product, _)| product)
            .collect();
        let sum = |row: &[i128]| -> i128 { products.iter().map(|product| row[*product]).sum() };
        let (promised, bound, served) = (sum(guaranteed), sum(claim), sum(&usable));
        if lend {
            let any = (guaranteed[dim] - promised).max(0);
            let free_choice = (claim[dim] - bound).max(0).min(promised - served);
            usable[dim] = usable[dim].min(served + free_choice + any);
        }
        let unmet = bound - served;
        let rest = (usable[dim] - served).clamp(0, unmet.max(0));
        for product in products.iter().filter(|_| unmet > 0) {
            usable[*product] += fraction(claim[*product] - usable[*product], rest, unmet);
        }
    }
    usable
}

fn fraction(amount: i128, of: i128, whole: i128) -> i128 {
    let [amount, of, whole] = [amount, of, whole].map(|one| one.max(0).unsigned_abs());
    i128::try_from(mul_div(amount, of, whole)).unwrap_or(0)
}

fn add(sum: &mut [i128], more: &[i128]) {
    for (cell, amount) in sum.iter_mut().zip(more) {
        *cell += amount;
    }
}

fn less(from: &[i128], what: &[i128]) -> Vec<i128> {
    from.iter().zip(what).map(|(a, b)| (a - b).max(0)).collect()
}
