//! Who uses, wants and gets what: the state of the division, kept up to date in O(depth) for everything that starts, ends or waits.

use std::sync::Arc;

use placement_api::quantity::ResourceVector;

use super::capacity::{Capacity, Measures};
use super::cover::Cover;
use super::dims::{Ask, Devices, Dims, Named, Table};
use super::divide::{Division, Given, Terms};
use super::past::Past;
use super::tree::{QueueId, QueueTree};

/// The queues with what they use, want and are entitled to.
#[derive(Clone, Debug)]
pub struct Shares {
    pub(super) tree: Arc<QueueTree>,
    pub(super) dims: Dims,
    pub(super) terms: Arc<Terms>,
    pub(super) measures: Arc<Measures>,
    capacity: Capacity,
    /// Use of each queue's own line.
    pub(super) line_used: Table,
    /// Use of each queue with all below it.
    pub(super) used: Table,
    /// What waits in each queue's own line.
    line_waits: Table,
    /// Use and wait together.
    demand: Table,
    /// Workloads that wait in each queue's own line.
    waiting: Vec<i64>,
    /// Use that cannot be taken away.
    line_pinned: Table,
    /// Room for all guarantees beside what cannot be taken away.
    pub(super) pinned: Cover,
    /// Room for what is used and what `lend: false` keeps.
    pub(super) kept: Cover,
    pub(super) division: Division,
    pub(super) past: Past,
    stale: Vec<bool>,
    capacity_changed: bool,
}

impl Default for Shares {
    fn default() -> Self {
        Self::new(QueueTree::default())
    }
}

/// One queue in numbers, for people: the queue with all below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// What it is entitled to.
    pub entitled: Named,
    /// What it uses.
    pub used: Named,
    /// What its waiting workloads ask.
    pub waiting: Named,
    /// How many wait.
    pub workloads: i64,
    /// Its largest share of anything in the fairness vector, in millionths.
    pub dominant_share: i64,
    /// What it is guaranteed, and the limit, as written for it or, for a guarantee, for its children.
    pub guaranteed: Named,
}

impl Shares {
    /// Nothing used, nothing asked, nothing there.
    pub fn new(tree: QueueTree) -> Self {
        Self::with(tree, Dims::default())
    }

    /// The same with dimensions that keep their numbers.
    fn with(tree: QueueTree, mut dims: Dims) -> Self {
        let terms = Terms::new(&tree, &mut dims);
        let rows = tree.ids().count();
        let table = Table::new(rows, dims.len());
        let past = Past::new(&tree, &mut dims);
        Self {
            pinned: Cover::new(&tree, terms.firm.clone(), &table),
            kept: Cover::new(&tree, table.clone(), &table),
            division: Division::new(rows, dims.len()),
            tree: Arc::new(tree),
            terms: Arc::new(terms),
            measures: Arc::default(),
            capacity: Capacity::default(),
            line_used: table.clone(),
            used: table.clone(),
            line_waits: table.clone(),
            demand: table.clone(),
            line_pinned: table,
            waiting: vec![0; rows],
            past,
            stale: vec![true; rows],
            capacity_changed: true,
            dims,
        }
    }

    /// The tree.
    pub fn tree(&self) -> &QueueTree {
        &self.tree
    }

    /// Another tree. What is used, waits and was used before stays with the queue of the same name; what has no queue any more is
    /// counted at the root. Numbers of queues change: ask [`QueueTree::find`] and [`QueueTree::home`] again.
    pub fn set_tree(&mut self, tree: QueueTree) {
        // What workloads ask is kept elsewhere by the numbers of dimensions, so those stay.
        let mut new = Self::with(tree, self.dims.clone());
        new.set_capacity(std::mem::take(&mut self.capacity));
        new.widen();
        let ask = |row: &[i128]| {
            let cells = row.iter().copied().enumerate();
            Ask(cells.filter(|(_, amount)| *amount != 0).collect())
        };
        for queue in self.tree.ids() {
            let home = new.tree.home(self.tree.name(queue));
            new.use_more(home, &ask(self.line_used.row(queue.0)), 1);
            new.pin_more(home, &ask(self.line_pinned.row(queue.0)), 1);
            new.want_more(home, &ask(self.line_waits.row(queue.0)), 1);
            new.waiting[home.0] += self.waiting[queue.0];
        }
        new.past.take_over(&self.past, &self.tree, &new.tree);
        *self = new;
    }

    /// What there is now.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        if self.capacity == capacity {
            return;
        }
        let news = capacity.products.iter().any(|(name, one)| {
            self.dims.known_product(name).is_some() && self.dims.set_resource(name, &one.resource)
        });
        if news {
            self.terms = Arc::new(Terms::new(&self.tree, &mut self.dims));
        }
        self.measures = Arc::new(Measures::new(&capacity, &mut self.dims));
        self.capacity = capacity;
        self.capacity_changed = true;
        self.widen();
    }

    /// What a workload asks or uses: amounts in base units, and what that is of physical devices. What waits names products only where its pods can run on one product alone; what runs names all.
    pub fn ask(&mut self, amounts: &ResourceVector, devices: &Devices) -> Ask {
        let ask = self.dims.ask(amounts, devices);
        self.widen();
        ask
    }

    /// A workload waits in a queue's line.
    pub fn wait(&mut self, queue: QueueId, ask: &Ask) {
        self.want_more(queue, ask, 1);
        self.waiting[queue.0] += 1;
    }

    /// Something waits beside workloads that are counted already: a claim that several of them will have together.
    pub fn wait_beside(&mut self, queue: QueueId, ask: &Ask) {
        self.want_more(queue, ask, 1);
    }

    /// It waits no more. Undoes [`Self::wait_beside`] exactly.
    pub fn unwait_beside(&mut self, queue: QueueId, ask: &Ask) {
        self.want_more(queue, ask, -1);
    }

    /// Names of the resources of which something is asked; a product stands for its resource.
    pub fn resources_of<'a>(&'a self, ask: &'a Ask) -> impl Iterator<Item = &'a str> {
        let positive = ask.0.iter().filter(|(_, amount)| *amount > 0);
        positive.map(|(dim, _)| {
            let one = self.dims.get(*dim);
            one.of.map_or(one, |of| self.dims.get(of)).name.as_str()
        })
    }

    /// It waits no more: it starts, or is gone. Undoes [`Self::wait`] exactly.
    pub fn unwait(&mut self, queue: QueueId, ask: &Ask) {
        self.want_more(queue, ask, -1);
        self.waiting[queue.0] -= 1;
    }

    /// A workload, or a part of it, runs. `preemptible: false` is counted as what cannot be taken away.
    pub fn charge(&mut self, queue: QueueId, ask: &Ask, preemptible: bool) {
        self.use_more(queue, ask, 1);
        if !preemptible {
            self.pin_more(queue, ask, 1);
        }
    }

    /// It runs no more. Undoes [`Self::charge`] exactly, so "what if these were gone" is `refund`, a question, `charge`.
    pub fn refund(&mut self, queue: QueueId, ask: &Ask, preemptible: bool) {
        self.use_more(queue, ask, -1);
        if !preemptible {
            self.pin_more(queue, ask, -1);
        }
    }

    /// Divides again, as far as anything changed since the last time. What starts or is evicted (`unwait` and `charge`, or the
    /// reverse) changes no demand and so no entitlement; entitlements stay as they are until this is called.
    pub fn divide(&mut self) {
        if !self.capacity_changed && !self.stale[0] {
            return;
        }
        let given = Given {
            tree: &self.tree,
            terms: &self.terms,
            dims: &self.dims,
            measures: &self.measures,
            demand: &self.demand,
        };
        self.division.refresh(
            given,
            &mut self.stale,
            std::mem::take(&mut self.capacity_changed),
        );
        let mut floor = Table::new(self.waiting.len(), self.dims.len());
        for queue in self.tree.ids().filter(|queue| !self.tree.spec(*queue).lend) {
            floor
                .row_mut(queue.0)
                .copy_from_slice(self.division.sure.row(queue.0));
        }
        self.kept = Cover::new(&self.tree, floor, &self.line_used);
    }

    /// A queue with all below it, in numbers. As of the last [`Self::divide`].
    pub fn standings(&self, queue: QueueId) -> Standings {
        let used = self.used.row(queue.0);
        let mut waits = vec![0; self.dims.len()];
        let mut workloads = 0;
        let mut open = vec![queue];
        while let Some(one) = open.pop() {
            for (sum, amount) in waits.iter_mut().zip(self.line_waits.row(one.0)) {
                *sum += amount;
            }
            workloads += self.waiting[one.0];
            open.extend(self.tree.children(one));
        }
        Standings {
            entitled: self.dims.name(self.division.entitled.row(queue.0)),
            used: self.dims.name(used),
            waiting: self.dims.name(&waits),
            workloads,
            dominant_share: self.share_of(used, 1_000_000),
            guaranteed: self.dims.name(self.terms.guaranteed.row(queue.0)),
        }
    }

    /// The dominant share of some amounts in so many parts of the whole, rounded down.
    fn share_of(&self, row: &[i128], parts: u128) -> i64 {
        let share = self.measures.dominant(row, |_| true);
        share.map_or(0, |share| {
            let parts = super::wide::mul_div(share.part, parts, share.whole);
            i64::try_from(parts).unwrap_or(i64::MAX)
        })
    }

    fn use_more(&mut self, queue: QueueId, ask: &Ask, sign: i128) {
        self.line_used.add(queue.0, ask, sign);
        self.demand.add(queue.0, ask, sign);
        let tree = Arc::clone(&self.tree);
        for one in tree.path(queue) {
            self.used.add(one.0, ask, sign);
            self.stale[one.0] = true;
        }
        self.kept.add(&tree, queue, ask, sign);
    }

    fn pin_more(&mut self, queue: QueueId, ask: &Ask, sign: i128) {
        self.line_pinned.add(queue.0, ask, sign);
        let tree = Arc::clone(&self.tree);
        self.pinned.add(&tree, queue, ask, sign);
    }

    fn want_more(&mut self, queue: QueueId, ask: &Ask, sign: i128) {
        self.line_waits.add(queue.0, ask, sign);
        self.demand.add(queue.0, ask, sign);
        let tree = Arc::clone(&self.tree);
        for one in tree.path(queue) {
            self.stale[one.0] = true;
        }
    }

    /// Makes room for dimensions that were named for the first time.
    pub(super) fn widen(&mut self) {
        let width = self.dims.len();
        if self.used.row(0).len() == width {
            return;
        }
        for table in [
            &mut self.line_used,
            &mut self.used,
            &mut self.line_waits,
            &mut self.demand,
            &mut self.line_pinned,
        ] {
            table.widen(width);
        }
        self.pinned.widen(width);
        self.kept.widen(width);
        self.division.widen(width);
        self.past.widen(width);
        Arc::make_mut(&mut self.terms).widen(width);
    }
}
