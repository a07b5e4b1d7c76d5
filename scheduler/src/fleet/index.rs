//! The nodes of all targets by what is free on them: equal nodes are one state, so that a choice looks at states and not at nodes.
//!
//! ```text
//! hold, release, set_inventory, set_target -> dirty nodes -> sync -> states (kind, free) -> log of states to look at again
//! ```
//!
//! A kind is what does not change from decision to decision: the target's labels, taints, state and rates, and the node's labels, taints and
//! size. Whoever keeps an order of states reads the log from where it stopped; it holds every state that came to have nodes or whose first
//! node became an earlier one. Nodes are ordered by target and name, however they came to be known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::selector::Labels;
use placement_api::toleration::Taint;

use super::amounts::is_extended;
use super::{
    CPU_TIME, MEMORY_BYTES, Node, Rates, Resources, SHARED_DEVICE, Target, TargetName, TargetState,
};

/// Place of a node among all: the rank of its target, then its position there.
pub(crate) type Slot = u64;

/// Bits of a slot for the position of the node; the rest ranks targets, with gaps for new ones.
const POSITION_BITS: u32 = 22;
const GAP: u64 = 1 << 18;
/// The log is cut off when it has so many times more entries than there are states, beside this many.
const LOG_SLACK: usize = 1 << 16;
/// Changes of single nodes after which everything is looked at again instead.
const MOST_DIRTY: usize = 1 << 20;

/// A node, or all of a target, that may have another state than the index knows.
#[derive(Clone, Debug)]
pub(super) struct Dirty {
    pub(super) target: TargetName,
    /// Position; absent: all nodes.
    pub(super) node: Option<usize>,
}

/// A target that has changed.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) target: TargetName,
    /// All that has; absent: more than a single node.
    pub(crate) node: Option<Swap>,
}

/// How a node stood and stands, without its names; absent: nothing may be put there.
#[derive(Clone, Debug)]
pub(crate) struct Swap {
    pub(crate) before: Option<Arc<Node>>,
    pub(crate) after: Option<Arc<Node>>,
}

/// What does not change from decision to decision.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// A target like that of the nodes, without nodes and without labels that do not matter.
    pub(crate) target: Arc<Target>,
    /// A node like them, without a host name.
    pub(crate) node: Node,
    /// Number of its first device resource.
    pub(crate) device: Option<usize>,
    /// Nodes of it.
    pub(crate) nodes: i64,
}

/// Nodes of one kind with the same free.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) kind: usize,
    /// Counts how often this place was used for another state.
    pub(crate) version: u32,
    /// Free amounts, of shared devices what counts beside.
    pub(crate) node: Arc<Node>,
    pub(crate) cpu: i64,
    pub(crate) memory: i64,
    /// Wholly free devices of the kind's resource.
    pub(crate) whole: i64,
    /// Free thousandths of the shared ones, ascending.
    pub(crate) open: Vec<i64>,
    nodes: BTreeSet<Slot>,
}

/// All nodes by state.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Another one when everything must be looked at again.
    generation: Arc<()>,
    /// Labels of targets that matter: those that Locations ask for.
    keys: BTreeSet<String>,
    kinds: Vec<Kind>,
    kind_numbers: BTreeMap<KindKey, usize>,
    facts: Vec<Arc<Target>>,
    fact_numbers: BTreeMap<FactsKey, usize>,
    states: Vec<State>,
    numbers: BTreeMap<StateKey, usize>,
    unused: Vec<usize>,
    targets: BTreeMap<TargetName, Entry>,
    ranks: BTreeMap<u64, TargetName>,
    log: Vec<(u32, u32)>,
    /// Entries that were cut off the log.
    cut: usize,
    /// What changed in targets, and what was cut off of that.
    changed: Vec<Change>,
    changed_cut: usize,
    dirty: Vec<Dirty>,
}

/// A copy starts anew: it is built when it is first asked.
impl Clone for Index {
    fn clone(&self) -> Self {
        Self {
            dirty: self.everything(),
            keys: self.keys.clone(),
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    rank: u64,
    facts: usize,
    states: Vec<Option<usize>>,
}

type KindKey = (usize, Arc<Labels>, Arc<[Taint]>, Vec<i64>, i64);
type FactsKey = (
    Labels,
    Vec<Taint>,
    TargetState,
    Option<BTreeSet<String>>,
    i64,
    Rates,
);
type StateKey = (usize, Vec<i64>, Vec<i64>);

impl Index {
    /// Another one when all states must be read anew; no two indexes have the same.
    pub(crate) fn generation(&self) -> &Arc<()> {
        &self.generation
    }

    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The state of this number, unless it has no nodes any more or became another.
    pub(crate) fn state(&self, number: u32, version: u32) -> Option<&State> {
        let state = self.states.get(number as usize)?;
        (state.version == version && !state.nodes.is_empty()).then_some(state)
    }

    /// How many states there are.
    pub(crate) fn size(&self) -> usize {
        self.states.len() - self.unused.len()
    }

    /// Numbers and versions of all states that have nodes.
    pub(crate) fn live(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.states
            .iter()
            .enumerate()
            .filter(|(_, state)| !state.nodes.is_empty())
            .map(|(number, state)| (narrow(number), state.version))
    }

    /// What was logged since `position`; `None`: that is too long ago.
    pub(crate) fn since(&self, position: usize) -> Option<&[(u32, u32)]> {
        self.log.get(position.checked_sub(self.cut)?..)
    }

    /// Where the log ends now.
    pub(crate) fn end(&self) -> usize {
        self.cut + self.log.len()
    }

    /// What changed in targets since `position`, in this order; `None`: that is too long ago.
    pub(crate) fn changes_since(&self, position: usize) -> Option<&[Change]> {
        self.changed.get(position.checked_sub(self.changed_cut)?..)
    }

    /// Where the log of changes ends now.
    pub(crate) fn changes_end(&self) -> usize {
        self.changed_cut + self.changed.len()
    }

    /// The target and the position of a node.
    pub(crate) fn place(&self, slot: Slot) -> Option<(&TargetName, usize)> {
        let position = usize::try_from(slot & ((1 << POSITION_BITS) - 1)).ok()?;
        Some((self.ranks.get(&(slot >> POSITION_BITS))?, position))
    }

    /// Remembers that a node, or all of a target, may have changed.
    pub(super) fn touch(&mut self, target: &TargetName, node: Option<usize>) {
        if self.dirty.len() >= MOST_DIRTY {
            let all = self.everything();
            self.dirty = all;
        }
        self.dirty.push(Dirty {
            target: target.clone(),
            node,
        });
    }

    /// Other labels of targets matter now, or mean something else: everything is looked at again.
    pub(super) fn set_keys(&mut self, keys: BTreeSet<String>) {
        self.keys = keys;
        self.generation = Arc::default();
        self.dirty = self.everything();
    }

    /// Brings the states in line with the nodes.
    pub(super) fn sync(&mut self, targets: &BTreeMap<TargetName, Target>, resources: &Resources) {
        for dirty in std::mem::take(&mut self.dirty) {
            let Some(target) = targets.get(&dirty.target) else {
                self.remove(&dirty.target);
                self.changed.push(Change {
                    target: dirty.target,
                    node: None,
                });
                continue;
            };
            let known = self
                .targets
                .get(&dirty.target)
                .filter(|entry| entry.states.len() == target.nodes.len());
            let node = if let (Some(position), Some(_)) = (dirty.node, known) {
                let swap = self.settle(&dirty.target, target, position, resources);
                if swap.is_none() {
                    continue;
                }
                swap
            } else {
                self.settle_all(&dirty.target, target, resources);
                None
            };
            self.changed.push(Change {
                target: dirty.target,
                node,
            });
        }
        if self.changed.len() > LOG_SLACK + 4 * self.targets.len() {
            self.changed_cut += self.changed.len();
            self.changed.clear();
        }
        if self.log.len() > LOG_SLACK + 4 * self.states.len() {
            self.cut += self.log.len();
            self.log.clear();
        }
    }

    fn everything(&self) -> Vec<Dirty> {
        let known = self.targets.keys().cloned();
        let mut all: BTreeSet<TargetName> =
            self.dirty.iter().map(|one| one.target.clone()).collect();
        all.extend(known);
        all.into_iter()
            .map(|target| Dirty { target, node: None })
            .collect()
    }

    fn remove(&mut self, name: &TargetName) {
        if let Some(entry) = self.targets.remove(name) {
            for (position, state) in entry.states.iter().enumerate() {
                self.leave(*state, slot(entry.rank, position));
            }
            self.ranks.remove(&entry.rank);
        }
    }

    fn settle_all(&mut self, name: &TargetName, target: &Target, resources: &Resources) {
        let facts = self.facts_of(target);
        if !self.targets.contains_key(name) {
            let rank = self.rank_for(name);
            self.ranks.insert(rank, name.clone());
            let entry = Entry {
                rank,
                facts,
                states: Vec::new(),
            };
            self.targets.insert(name.clone(), entry);
        }
        let Some(entry) = self.targets.get_mut(name) else {
            return;
        };
        entry.facts = facts;
        let rank = entry.rank;
        let old = std::mem::take(&mut entry.states);
        let mut last = None;
        let mut new = Vec::with_capacity(target.nodes.len());
        for (position, node) in target.nodes.iter().enumerate() {
            let state = self.state_of(facts, node, resources, &mut last);
            let before = old.get(position).copied().flatten();
            if before != state {
                self.leave(before, slot(rank, position));
                self.join(state, slot(rank, position));
            }
            new.push(state);
        }
        for (position, state) in old.iter().enumerate().skip(new.len()) {
            self.leave(*state, slot(rank, position));
        }
        if let Some(entry) = self.targets.get_mut(name) {
            entry.states = new;
        }
    }

    /// Says how the node has changed, if it has.
    fn settle(
        &mut self,
        name: &TargetName,
        target: &Target,
        position: usize,
        resources: &Resources,
    ) -> Option<Swap> {
        let (entry, node) = (self.targets.get(name)?, target.nodes.get(position)?);
        let (rank, facts) = (entry.rank, entry.facts);
        let before = entry.states.get(position).copied().flatten();
        // Its kind is as it was: what changes kinds changes the whole target.
        let mut last = before.map(|state| self.states[state].kind);
        let state = self.state_of(facts, node, resources, &mut last);
        if before == state {
            return None;
        }
        let node = |state: Option<usize>| Some(Arc::clone(&self.states[state?].node));
        let swap = Swap {
            before: node(before),
            after: node(state),
        };
        self.leave(before, slot(rank, position));
        self.join(state, slot(rank, position));
        if let Some(entry) = self.targets.get_mut(name) {
            entry.states[position] = state;
        }
        Some(swap)
    }

    /// The state of a node; none where nothing may be put. `last` is the kind that it probably has.
    fn state_of(
        &mut self,
        facts: usize,
        node: &Node,
        resources: &Resources,
        last: &mut Option<usize>,
    ) -> Option<usize> {
        if node.unusable.is_some() {
            return None;
        }
        let same = last.filter(|kind| {
            let kind = &self.kinds[*kind];
            Arc::ptr_eq(&kind.target, &self.facts[facts]) && alike(&kind.node, node)
        });
        let kind = same.unwrap_or_else(|| self.kind_of(facts, node, resources));
        *last = Some(kind);
        let device = self.kinds[kind].device;
        let mut open: Vec<i64> = node
            .open()
            .iter()
            .filter(|open| Some(open.resource) == device)
            .map(super::fractions::Open::free)
            .collect();
        open.sort_unstable();
        let key = (kind, node.free.trimmed(), open);
        if let Some(number) = self.numbers.get(&key) {
            return Some(*number);
        }
        let state = State {
            kind,
            version: 0,
            node: Arc::new(Node {
                labels: self.kinds[kind].node.labels.clone(),
                taints: node.taints.clone(),
                allocatable: self.kinds[kind].node.allocatable.clone(),
                free: node.free.clone(),
                open: node.open.clone(),
                trouble: node.trouble,
                ..Node::default()
            }),
            cpu: node.free.get(CPU_TIME),
            memory: node.free.get(MEMORY_BYTES),
            whole: device.map_or(0, |device| node.free.get(device)),
            open: key.2.clone(),
            nodes: BTreeSet::new(),
        };
        let number = if let Some(number) = self.unused.pop() {
            let version = self.states[number].version + 1;
            self.states[number] = State { version, ..state };
            number
        } else {
            self.states.push(state);
            self.states.len() - 1
        };
        self.numbers.insert(key, number);
        Some(number)
    }

    fn kind_of(&mut self, facts: usize, node: &Node, resources: &Resources) -> usize {
        let key = (
            facts,
            Arc::clone(&node.labels),
            node.taints.clone(),
            node.allocatable.trimmed(),
            node.trouble,
        );
        if let Some(number) = self.kind_numbers.get(&key) {
            return *number;
        }
        let device = main_device(node, resources);
        self.kinds.push(Kind {
            target: Arc::clone(&self.facts[facts]),
            node: Node {
                labels: Arc::clone(&node.labels),
                taints: node.taints.clone(),
                allocatable: node.allocatable.clone(),
                free: node.allocatable.clone(),
                trouble: node.trouble,
                ..Node::default()
            },
            device,
            nodes: 0,
        });
        self.kind_numbers.insert(key, self.kinds.len() - 1);
        self.kinds.len() - 1
    }

    fn facts_of(&mut self, target: &Target) -> usize {
        let matter = target
            .labels
            .iter()
            .filter(|(key, _)| self.keys.contains(*key));
        let labels: Labels = matter
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let key = (
            labels.clone(),
            target.taints.clone(),
            target.state,
            target.served.clone(),
            target.trouble,
            target.rates.clone(),
        );
        let next = self.facts.len();
        let number = *self.fact_numbers.entry(key).or_insert(next);
        if number < next {
            return number;
        }
        self.facts.push(Arc::new(Target {
            labels,
            taints: target.taints.clone(),
            state: target.state,
            served: target.served.clone(),
            trouble: target.trouble,
            rates: target.rates.clone(),
            ..Target::default()
        }));
        next
    }

    fn join(&mut self, state: Option<usize>, slot: Slot) {
        let Some(number) = state else { return };
        let state = &mut self.states[number];
        let earlier = state.nodes.first().is_none_or(|first| slot < *first);
        state.nodes.insert(slot);
        self.kinds[state.kind].nodes += 1;
        if earlier {
            self.log.push((narrow(number), state.version));
        }
    }

    fn leave(&mut self, state: Option<usize>, slot: Slot) {
        let Some(number) = state else { return };
        let state = &mut self.states[number];
        if !state.nodes.remove(&slot) {
            return;
        }
        self.kinds[state.kind].nodes -= 1;
        if state.nodes.is_empty() {
            let key = (state.kind, state.node.free.trimmed(), state.open.clone());
            self.numbers.remove(&key);
            self.unused.push(number);
        }
    }

    /// A rank between those of the neighbours by name; where there is none left all are given anew.
    fn rank_for(&mut self, name: &TargetName) -> u64 {
        loop {
            let before = self.targets.range(..name.clone()).next_back();
            let after = self.targets.range(name.clone()..).next();
            let low = before.map_or(0, |(_, entry)| entry.rank);
            let high = after.map(|(_, entry)| entry.rank);
            let rank = match high {
                None => low + GAP,
                Some(high) => low + (high - low) / 2,
            };
            if rank > low && high.is_none_or(|high| rank < high) {
                return rank;
            }
            self.rank_anew();
        }
    }

    fn rank_anew(&mut self) {
        self.generation = Arc::default();
        self.ranks.clear();
        let mut moved = Vec::new();
        for ((name, entry), step) in self.targets.iter_mut().zip(1..) {
            let old = std::mem::replace(&mut entry.rank, step * GAP);
            self.ranks.insert(entry.rank, name.clone());
            moved.push((old, entry.rank, entry.states.clone()));
        }
        for (old, _, states) in &moved {
            for (position, state) in states.iter().enumerate() {
                if let Some(state) = state {
                    self.states[*state].nodes.remove(&slot(*old, position));
                }
            }
        }
        for (_, new, states) in &moved {
            for (position, state) in states.iter().enumerate() {
                if let Some(state) = state {
                    self.states[*state].nodes.insert(slot(*new, position));
                }
            }
        }
    }
}

impl State {
    /// The first node.
    pub(crate) fn first(&self) -> Option<Slot> {
        self.nodes.first().copied()
    }
}

/// The device that a node is known for: one of which shares may be asked, else another GPU, else the first.
fn main_device(node: &Node, resources: &Resources) -> Option<usize> {
    let devices = node
        .allocatable
        .positive()
        .filter(|number| is_extended(resources.name(*number)));
    devices.min_by_key(|number| {
        let name = resources.name(*number);
        (name != SHARED_DEVICE, !name.ends_with("gpu"), *number)
    })
}

/// Whether a node is of the kind that another stands for.
fn alike(kind: &Node, node: &Node) -> bool {
    kind.allocatable == node.allocatable
        && kind.taints == node.taints
        && kind.trouble == node.trouble
        && kind.labels == node.labels
}

fn slot(rank: u64, position: usize) -> Slot {
    (rank << POSITION_BITS) | position as u64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "fewer states than 2^32 nodes"
)]
fn narrow(number: usize) -> u32 {
    number as u32
}
