//! Promises of a start: (start, concrete nodes, room) for the oldest entitled head of a queue, from known run times.
//!
//! ```text
//! what is free, who ends when -> Line per node -> earliest(fits?) -> Promise -> Promises::offer (one per queue, only earlier ones)
//!                                                                       |
//!      closed: what of a node is kept from those who run too long <-----+-----> overrunners: who yields when it falls due
//! ```
//!
//! Only heads are looked at, never the whole queue. What a promise holds is closed to those who would still be there at its start; beside it
//! anybody may start. A job past its estimate has left the plan: its room counts as free, and it yields when a promise falls due there. Rules:
//! "Promises of a start" in `shared/design/scheduling.md`, measured in `shared/research/policies-time.md`, D.

mod line;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::fleet::Amounts;

pub use line::{Line, Lines};

/// Room by node.
pub type Room<N> = BTreeMap<N, Amounts>;

/// A start that is held for one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise<I, N> {
    /// For whom.
    pub head: I,
    /// Its priority: overrunners of higher priority do not yield to it.
    pub priority: i32,
    /// When it will start; absent: nobody knows when those who block it end, and the nodes with the least running work are held.
    pub start_ms: Option<i64>,
    /// What is held, by node.
    pub room: Room<N>,
    /// How long it will run from then on; absent: unknown.
    pub runtime_ms: Option<i64>,
}

/// Why an earlier promise of a queue was given up, for the explanation of the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Replaced {
    /// There was none.
    First,
    /// Its head has started or is gone.
    Done,
    /// The same head can start earlier.
    Earlier,
    /// A workload of higher priority is the head now.
    HigherPriority,
    /// It yielded to a claim within a guarantee, or its nodes are gone.
    Withdrawn,
}

/// All promises: at most one per queue.
#[derive(Clone, Debug)]
pub struct Promises<Q, I, N> {
    by_queue: BTreeMap<Q, (Promise<I, N>, Replaced)>,
    /// Queues whose promise was withdrawn: the next one says so.
    withdrawn: BTreeMap<Q, Replaced>,
}

impl<Q, I, N> Default for Promises<Q, I, N> {
    fn default() -> Self {
        Self {
            by_queue: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
        }
    }
}

impl<Q: Ord + Clone, I: Ord + Clone, N: Ord + Clone> Promises<Q, I, N> {
    /// Offers a promise. What stands is replaced by an earlier one for the same head, or by one for a head of higher priority, and by nothing
    /// else. Says whether the offer stands now.
    pub fn offer(&mut self, queue: &Q, promise: Promise<I, N>) -> bool {
        let why = match self.by_queue.get(queue) {
            None => self.withdrawn.remove(queue).unwrap_or(Replaced::First),
            Some((old, _)) if old.head == promise.head => match (old.start_ms, promise.start_ms) {
                (None, Some(_)) => Replaced::Earlier,
                (Some(old), Some(new)) if new < old => Replaced::Earlier,
                _ => return false,
            },
            Some((old, _)) if promise.priority > old.priority => Replaced::HigherPriority,
            Some(_) => return false,
        };
        self.by_queue.insert(queue.clone(), (promise, why));
        true
    }

    /// The head has started, is gone, or does not wait any more.
    pub fn done(&mut self, head: &I) {
        let of = |(_, (promise, _)): &(&Q, &(Promise<I, N>, Replaced))| promise.head == *head;
        let queue = self
            .by_queue
            .iter()
            .find(of)
            .map(|(queue, _)| queue.clone());
        if let Some(queue) = queue {
            self.by_queue.remove(&queue);
            self.withdrawn.insert(queue, Replaced::Done);
        }
    }

    /// A promise yields: to a claim within a guarantee, or because its nodes are gone.
    pub fn withdraw(&mut self, queue: &Q) -> Option<Promise<I, N>> {
        let (promise, _) = self.by_queue.remove(queue)?;
        self.withdrawn.insert(queue.clone(), Replaced::Withdrawn);
        Some(promise)
    }

    /// The promise of a queue.
    pub fn of(&self, queue: &Q) -> Option<&Promise<I, N>> {
        self.by_queue.get(queue).map(|(promise, _)| promise)
    }

    /// The promise for a workload, and what became of the one before.
    pub fn for_head(&self, head: &I) -> Option<(&Promise<I, N>, Replaced)> {
        let found = self
            .by_queue
            .values()
            .find(|(promise, _)| promise.head == *head)?;
        Some((&found.0, found.1))
    }

    /// All promises, by queue.
    pub fn iter(&self) -> impl Iterator<Item = (&Q, &Promise<I, N>)> {
        self.by_queue
            .iter()
            .map(|(queue, (promise, _))| (queue, promise))
    }

    /// The next time at which a promise falls due.
    pub fn next_due_ms(&self, now_ms: i64) -> Option<i64> {
        let starts = self
            .by_queue
            .values()
            .filter_map(|(promise, _)| promise.start_ms);
        starts.filter(|start| *start > now_ms).min()
    }
}

impl<I, N: Ord + Clone> Promise<I, N> {
    /// Whether it is due.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.start_ms.is_some_and(|start| start <= now_ms)
    }

    /// Whether somebody who ends at a time may be on what it holds: ending exactly at its start is in time. Unknown ends are not.
    pub fn lets(&self, ends_ms: Option<i64>) -> bool {
        match (self.start_ms, ends_ms) {
            (Some(start), Some(end)) => end <= start,
            _ => false,
        }
    }

    /// What of each node is kept from those whom it does not let: what is free now and will not be free at its start beside it and what is held
    /// by then for others.
    pub fn closed(&self, lines: &Lines<N>, others: &Room<N>) -> Room<N> {
        let mut closed = Room::new();
        for (node, held) in &self.room {
            let Some(line) = lines.get(node) else {
                continue;
            };
            let then = self
                .start_ms
                .map_or_else(|| line.free().clone(), |start| line.free_at(start));
            let mut beside = then.less(held);
            if let Some(others) = others.get(node) {
                beside = beside.less(others);
            }
            let kept = line.free().less(&beside);
            let mut amounts = Amounts::default();
            for number in kept.positive() {
                amounts.set(number, kept.get(number).min(line.free().get(number).max(0)));
            }
            closed.insert(node.clone(), amounts);
        }
        closed
    }

    /// Whether it holds its room by the time at which another begins; who has no date holds it now.
    pub fn holds_by(&self, other: &Self) -> bool {
        self.start_ms <= other.start_ms
    }

    /// What is held for others on its nodes by the time at which it begins.
    pub fn held_beside(&self, standing: &[&Self]) -> Room<N>
    where
        I: PartialEq,
    {
        let mut held: Room<N> = Room::new();
        let others = standing.iter();
        let others = others.filter(|other| other.head != self.head && other.holds_by(self));
        for (place, amounts) in others.flat_map(|other| &other.room) {
            if self.room.contains_key(place) {
                held.entry(place.clone()).or_default().add_all(amounts);
            }
        }
        held
    }

    /// What it takes out of the plan of others: its room, until it ends.
    pub fn occupy(&self, lines: &mut Lines<N>) {
        for (node, held) in &self.room {
            if let Some(line) = lines.get_mut(node) {
                line.occupy(
                    held,
                    self.start_ms
                        .and_then(|start| Some(start + self.runtime_ms?)),
                );
            }
        }
    }
}

/// The earliest start: `fits` is asked with what is free at a time and answers with the room that the head would take. More room must never
/// make it fit worse; then the answer is that of asking at every end, and it is found in few questions.
pub fn earliest<N: Ord + Clone>(
    lines: &Lines<N>,
    now_ms: i64,
    fits: impl Fn(&Room<N>) -> Option<Room<N>>,
) -> Option<(i64, Room<N>)> {
    let mut times: Vec<i64> = lines
        .values()
        .flat_map(|line| line.ends().map(|(end, _)| end.max(now_ms)))
        .collect();
    times.push(now_ms);
    times.sort_unstable();
    times.dedup();
    let at = |time: i64| {
        let free = lines
            .iter()
            .map(|(node, line)| (node.clone(), line.free_at(time)))
            .collect();
        fits(&free)
    };
    let last = times.last().copied().unwrap_or(now_ms);
    let mut best = at(last)?;
    // Everything from `high` on fits.
    let (mut low, mut high) = (0, times.len() - 1);
    while low < high {
        let middle = usize::midpoint(low, high);
        if let Some(room) = at(times[middle]) {
            best = room;
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some((times[high], best))
}

/// Where there is no date: the nodes with the least running work that would hold it if they were empty. `work` is the running work by node, `empty`
/// what a node has; nodes are added by work until it fits.
pub fn least_work<N: Ord + Clone>(
    empty: &Room<N>,
    work: &BTreeMap<N, i64>,
    fits: impl Fn(&Room<N>) -> Option<Room<N>>,
) -> Option<Room<N>> {
    let mut nodes: Vec<&N> = empty.keys().collect();
    nodes.sort_by_key(|node| (work.get(*node).copied().unwrap_or(0), (*node).clone()));
    let first = |count: usize| -> Option<Room<N>> {
        fits(
            &nodes[..count]
                .iter()
                .map(|node| ((*node).clone(), empty[*node].clone()))
                .collect(),
        )
    };
    let mut best = first(nodes.len())?;
    let (mut low, mut high) = (1, nodes.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if let Some(room) = first(middle) {
            best = room;
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(best)
}

/// Somebody who runs on nodes that a promise holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner<I, N> {
    /// Who.
    pub id: I,
    /// What it has, by node.
    pub room: Room<N>,
    /// When it should have ended; absent: unknown, then it has not overrun.
    pub told_end_ms: Option<i64>,
    /// May be evicted.
    pub preemptible: bool,
    /// Its priority.
    pub priority: i32,
}

/// Who yields to a promise that has fallen due: of those past their estimate, on its nodes, of equal or lower priority and preemptible, as
/// few as make room, the last of the list first. `None`: room cannot be made; over those who may not yield the promise was an estimate.
pub fn overrunners<I: Clone, N: Ord + Clone>(
    promise: &Promise<I, N>,
    free: &Room<N>,
    runners: &[Runner<I, N>],
    now_ms: i64,
) -> Option<Vec<I>> {
    if !promise.is_due(now_ms) {
        return Some(Vec::new());
    }
    let zero = Amounts::default();
    let short = |free: &Room<N>, node: &N| {
        let has = free.get(node).unwrap_or(&zero);
        promise
            .room
            .get(node)
            .is_some_and(|held| held.above(has).next().is_some())
    };
    let yields = |runner: &&Runner<I, N>| {
        runner.preemptible
            && runner.priority <= promise.priority
            && runner.told_end_ms.is_some_and(|end| end <= now_ms)
    };
    let mut free = free.clone();
    let mut chosen: Vec<&Runner<I, N>> = Vec::new();
    for runner in runners.iter().rev().filter(yields) {
        if runner.room.keys().any(|node| short(&free, node)) {
            give(&mut free, &runner.room, 1);
            chosen.push(runner);
        }
    }
    if promise.room.keys().any(|node| short(&free, node)) {
        return None;
    }
    // Who turns out not to be needed stays.
    let mut needed = Vec::new();
    for runner in chosen {
        give(&mut free, &runner.room, -1);
        if runner.room.keys().any(|node| short(&free, node)) {
            give(&mut free, &runner.room, 1);
            needed.push(runner.id.clone());
        }
    }
    Some(needed)
}

fn give<N: Ord + Clone>(free: &mut Room<N>, room: &Room<N>, sign: i64) {
    for (node, amounts) in room {
        let there = free.entry(node.clone()).or_default();
        if sign > 0 {
            there.add_all(amounts);
        } else {
            *there = there.less(amounts);
        }
    }
}
