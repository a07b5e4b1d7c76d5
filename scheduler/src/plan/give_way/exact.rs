//! A cheaper set of victims than the search has found, by trying all sets that could be (branch and bound), as far as a number of steps goes.
//!
//! It looks at the plainest case alone, one role in one region, where what the nodes hold can be counted without placing anything; what it
//! finds is then checked like any other choice.

use std::collections::BTreeMap;

use super::Claim;
use super::search::Region;
use super::victims::{Candidate, Price, on_node};
use crate::fleet::{Amounts, Demand, Fleet};

/// What is known of a set, without names: the fields of a cost in the order of their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sum {
    priority: Option<i32>,
    turn: Option<i64>,
    devices_ms: i128,
    cpu_ms: i128,
    workloads: usize,
    gangs: usize,
}

impl Sum {
    pub(super) const NOTHING: Self = Self {
        priority: None,
        turn: None,
        devices_ms: 0,
        cpu_ms: 0,
        workloads: 0,
        gangs: 0,
    };

    pub(super) fn plus(self, price: &Price) -> Self {
        Self {
            priority: self.priority.max(Some(price.priority)),
            turn: self.turn.max(Some(price.turn)),
            devices_ms: self.devices_ms + price.devices_ms,
            cpu_ms: self.cpu_ms + price.cpu_ms,
            workloads: self.workloads + 1,
            gangs: self.gangs + usize::from(price.gang),
        }
    }

    /// Whether another set could lose less work.
    pub(super) fn loses_work(self) -> bool {
        self.devices_ms > 0 || self.cpu_ms > 0
    }
}

/// Pods of one demand: room, demand and how many.
type Pods<'a> = (usize, &'a Demand, i64);

/// A node of the region with what is free there as far as everybody is gone about whom nothing is decided.
struct Room {
    free: Amounts,
    copies: i64,
}

/// Looks for sets in one region.
pub(super) struct Exact<'a> {
    candidates: &'a [Candidate],
    demand: &'a Demand,
    want: i64,
    rooms: Vec<Room>,
    total: i64,
    /// Candidates with pods here, the dearest first: position, rooms, demand and pods.
    here: Vec<(usize, Vec<Pods<'a>>)>,
    chosen: Vec<usize>,
    best: Sum,
    found: Vec<Vec<usize>>,
    steps: &'a mut u32,
}

impl<'a> Exact<'a> {
    /// `None`: this is not the plain case. `steps` is what may still be spent, over all regions.
    pub(super) fn new(
        fleet: &'a Fleet,
        claim: &'a Claim<'a>,
        candidates: &'a [Candidate],
        region: &Region,
        best: Sum,
        steps: &'a mut u32,
    ) -> Option<Self> {
        let [need] = &claim.needs.sets[..] else {
            return None;
        };
        if claim.needs.divides() || need.set.gang_minimum() != need.set.count {
            return None;
        }
        let mut rooms = Vec::new();
        let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (name, nodes) in region {
            let target = fleet.target(name.as_str())?;
            for node in nodes.iter().map(|node| &target.node_list()[*node]) {
                let open = node.unusable.is_none() && need.tainted(node).is_none();
                if open && need.may_use(node) {
                    places.insert((name.as_str(), node.name().as_str()), rooms.len());
                    rooms.push(Room {
                        free: node.free.clone(),
                        copies: 0,
                    });
                }
            }
        }
        let mut here = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            let mut on = Vec::new();
            for ((target, node), at) in &places {
                let shares = candidate.holds.get(*target).map_or(&[][..], Vec::as_slice);
                on.extend(on_node(shares, node).map(|share| (*at, &*share.demand, share.pods)));
            }
            if !on.is_empty() {
                here.push((index, on));
            }
        }
        here.sort_by(|a, b| {
            let price = |one: &(usize, _)| &candidates[one.0].price;
            price(b).cmp(price(a)).then(b.0.cmp(&a.0))
        });
        let mut exact = Self {
            candidates,
            demand: &need.demand,
            want: need.set.count,
            rooms,
            total: 0,
            here,
            chosen: Vec::new(),
            best,
            found: Vec::new(),
            steps,
        };
        for at in 0..exact.rooms.len() {
            exact.count(at);
        }
        for at in 0..exact.here.len() {
            exact.give(at, 1);
        }
        Some(exact)
    }

    /// Sets that cost less, the cheapest first.
    pub(super) fn cheaper(mut self) -> Vec<(Sum, Vec<usize>)> {
        self.descend(0, Sum::NOTHING);
        let prices = |set: &Vec<usize>| {
            let add = |sum: Sum, index: &usize| sum.plus(&self.candidates[*index].price);
            set.iter().fold(Sum::NOTHING, add)
        };
        let found = self.found.iter().rev();
        found.map(|set| (prices(set), set.clone())).collect()
    }

    fn descend(&mut self, at: usize, sum: Sum) {
        if *self.steps == 0 || sum >= self.best || self.total < self.want {
            return;
        }
        *self.steps -= 1;
        if at == self.here.len() {
            self.best = sum;
            self.found.push(self.chosen.clone());
            return;
        }
        let index = self.here[at].0;
        // It stays.
        self.give(at, -1);
        self.descend(at + 1, sum);
        self.give(at, 1);
        // It goes.
        self.chosen.push(index);
        self.descend(at + 1, sum.plus(&self.candidates[index].price));
        self.chosen.pop();
    }

    fn give(&mut self, at: usize, sign: i64) {
        for position in 0..self.here[at].1.len() {
            let (node, demand, pods) = self.here[at].1[position];
            self.rooms[node].free.add(demand, sign * pods);
            self.count(node);
        }
    }

    fn count(&mut self, at: usize) {
        let one = &mut self.rooms[at];
        let copies = self.demand.copies_in(&one.free).max(0);
        self.total += copies - one.copies;
        one.copies = copies;
    }
}
