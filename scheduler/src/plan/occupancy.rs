//! Where one more pod, or a few on one node, cost the fleet least: the order of nodes by value potential, kept per kind of request.
//!
//! ```text
//! Needs -> class of equal requests -> heap of (tier, soft taints, avoidance, cost, price, first node) over states of nodes -> node
//!                                        ^-- what the index logged since this class was last asked
//! ```
//!
//! A class looks only at states that came to be since its last turn, each once; tops of the heap that are out of date are dropped when
//! they come up. So a decision costs what changed, not what there is, and the choice is that of a scan over all nodes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use placement_api::kinds::{Packing, Strategy};
use placement_api::selector::{Labels, NodeSelector};
use placement_api::toleration::Toleration;

use super::Request;
use super::draft::Draft;
use super::eligible;
use super::fill::Pick;
use super::gang::Added;
use super::history::WORST;
use super::likeness::Likeness;
use super::needs::{Needs, SetNeed, soft_taints};
use super::rooms::Rooms;
use super::score::{Price, price};
use super::tree::Level;
use super::value::{Ask, Mix, Place, Spot, Stock, Use, WHOLE, Worth};
use crate::fleet::{
    CPU_TIME, Demand, Fleet, HOSTNAME, Index, Kind, MEMORY_BYTES, Slot, State, TargetName,
};

/// Most different conditions on nodes that the mix tells apart; later ones count as none.
const MOST_PLACES: usize = 64;
/// The worth is computed anew when the mix has moved so far.
const MOVED: f64 = 0.02;
/// Most classes of requests that keep an order; when there are more all begin anew.
const MOST_CLASSES: usize = 4_096;

/// What is known of the mix, and the order of nodes for each class of requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Occupancy {
    mix: Mix,
    worth: Worth,
    /// Arrivals when it was last asked whether the worth holds.
    computed: Option<u64>,
    /// What was expected then, and how many kinds of nodes there were.
    expected: BTreeMap<Ask, f64>,
    kinds: usize,
    /// Rises with every computation.
    epoch: u64,
    /// Conditions on nodes, by number.
    places: Vec<Condition>,
    /// By kind of nodes and place: whether pods may run there.
    allowed: Vec<Vec<bool>>,
    /// That of the index by which all this is known.
    generation: Arc<()>,
    /// What the states are worth, with the version and epoch for which that holds.
    values: Vec<(u32, u64, f64)>,
    classes: Vec<Class>,
    /// What targets hold, for gangs on several nodes.
    rooms: Rooms,
    by_demand: BTreeMap<(Arc<Demand>, i64), Vec<usize>>,
}

/// A condition on nodes; the first is none.
#[derive(Clone, Debug, PartialEq)]
struct Condition {
    selector: Labels,
    affinity: Option<NodeSelector>,
    tolerations: Vec<Toleration>,
    device: Option<usize>,
}

/// Requests that are equal in everything that matters for the choice of one node.
#[derive(Clone, Debug)]
struct Class {
    likeness: Likeness,
    /// By kind of nodes: tier, soft taints of the target, avoidance; `None`: not at all.
    ranks: Vec<Option<Rank>>,
    /// By kind of nodes: what is said of their target.
    prices: Vec<Price>,
    heap: BinaryHeap<Reverse<Entry>>,
    /// The log is read up to here, at this epoch.
    read: Option<(usize, u64)>,
}

type Rank = (u16, u16, u32);

/// A state in the order of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    rank: Rank,
    cost: i64,
    price: Price,
    first: Slot,
    state: u32,
    version: u32,
    /// Free thousandths of the shared device that is taken; `None`: none, or a device of its own.
    open: Option<i64>,
}

/// A node for all pods of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    slot: Slot,
    /// There are nodes where the pods would rather be, as far as there is room.
    second: bool,
    /// Free thousandths of the shared device that is taken.
    open: Option<i64>,
}

impl Occupancy {
    /// Sets a mix that is known beforehand instead of learning it: pods by request, each counted so often.
    pub(super) fn know(&mut self, fleet: &mut Fleet, mix: &[(Request, u64)]) {
        let mut counts = Vec::new();
        for (request, pods) in mix {
            let needs = Needs::new(fleet, request);
            for need in &needs.sets {
                counts.push((self.ask(need), *pods));
            }
        }
        self.mix = Mix::known(counts);
        self.computed = None;
    }

    /// Counts a workload that was not known before.
    pub(super) fn learn(&mut self, needs: &Needs<'_>) {
        if self.mix.is_known() {
            return;
        }
        for need in &needs.sets {
            let ask = self.ask(need);
            self.mix
                .arrive(ask, u64::try_from(need.set.count).unwrap_or(0));
        }
    }

    /// A draft that puts all pods of a new workload on one node, or a gang on one target, where that is all there is to decide; without
    /// anything where there is no room.
    pub(super) fn draft(&mut self, fleet: &mut Fleet, needs: &Needs<'_>) -> Option<Draft> {
        let request = needs.request;
        if !plain(needs) {
            return None;
        }
        let need = needs.sets.first()?;
        let (pods, shares) = (need.set.count, need.demand.share().is_some());
        // Spread pods go to several nodes, and so do those that share devices.
        let together = pods == 1 || needs.packing == Packing::Pack && !shares;
        let on_node = together.then(|| self.on_node(fleet, needs, need)).flatten();
        let whole = need.set.gang_minimum() == pods && request.gang_per_target.is_none();
        let gang = pods > 1 && !shares && whole;
        let added = if gang {
            on_node.or_else(|| self.rooms.place(fleet, needs, need))
        } else {
            on_node
        };
        // All nodes were looked at for one pod, and all targets for such a gang.
        let nowhere = added.is_none() && (pods == 1 || gang);
        (nowhere || added.is_some()).then(|| Draft {
            added: added.into_iter().collect(),
            missing: nowhere.then(|| vec![pods]),
            asked: vec![pods],
            levels: vec![Level::Target],
            ..Draft::default()
        })
    }

    /// All pods on the node where they cost least.
    fn on_node(
        &mut self,
        fleet: &mut Fleet,
        needs: &Needs<'_>,
        need: &SetNeed<'_>,
    ) -> Option<Added> {
        let pods = need.set.count;
        let choice = self.choose(fleet, needs, need, pods)?;
        // Several better nodes come before one that is worse.
        if pods > 1 && choice.second {
            return None;
        }
        let (target, node) = fleet.indexed().place(choice.slot)?;
        let there = fleet.target(target.as_str())?.node_list().get(node)?;
        // Who is spread leaves the choice of the device to the fleet.
        let packed = need
            .demand
            .share()
            .filter(|_| needs.packing == Packing::Pack);
        let device = packed.map(|(resource, _)| {
            let open = there
                .open()
                .iter()
                .find(|open| open.resource == resource && Some(open.free()) == choice.open);
            open.map_or_else(|| there.unshared(resource), |open| open.device)
        });
        Some(Added {
            target: target.clone(),
            counts: vec![pods],
            picks: vec![Pick { set: 0, node, pods }],
            level: Level::Target,
            device,
        })
    }

    /// The node where so many pods cost least; of equal ones the first by target and name.
    fn choose(
        &mut self,
        fleet: &mut Fleet,
        needs: &Needs<'_>,
        need: &SetNeed<'_>,
        pods: i64,
    ) -> Option<Choice> {
        fleet.index();
        let (fleet, index) = (&*fleet, fleet.indexed());
        self.weigh(index);
        let number = self.class_of(needs, need, pods);
        let Self {
            worth,
            values,
            classes,
            epoch,
            ..
        } = self;
        let class = &mut classes[number];
        let mut push = |class: &mut Class, state: u32, version: u32| {
            let Some(there) = index.state(state, version) else {
                return;
            };
            let kind = &index.kinds()[there.kind];
            class.rank_kinds(fleet, needs, need, index.kinds());
            let (Some(rank), Some(first)) = (class.ranks[there.kind], there.first()) else {
                return;
            };
            let price = class.prices[there.kind];
            let copies = there.node.copies(&need.demand);
            if copies < pods {
                return;
            }
            if class.likeness.packing == Packing::Spread {
                // The most headroom first.
                class.heap.push(Reverse(Entry {
                    rank,
                    cost: -copies,
                    price,
                    first,
                    state,
                    version,
                    open: None,
                }));
                return;
            }
            let spot = spot(there);
            let at = state as usize;
            if values.len() <= at {
                values.resize(at + 1, (0, 0, 0.0));
            }
            if values[at].0 != version || values[at].1 != *epoch {
                values[at] = (version, *epoch, worth.value(&spot));
            }
            let used = used(kind, &need.demand, pods);
            if let Some((cost, open)) = worth.cost(&spot, values[at].2, &used) {
                class.heap.push(Reverse(Entry {
                    rank,
                    cost,
                    price,
                    first,
                    state,
                    version,
                    open: open.map(|position| there.open[position]),
                }));
            }
        };
        let news = class
            .read
            .filter(|(_, at)| at == epoch)
            .and_then(|(position, _)| index.since(position));
        if let Some(news) = news {
            for (state, version) in news {
                push(class, *state, *version);
            }
        } else {
            class.heap.clear();
            for (state, version) in index.live() {
                push(class, state, version);
            }
        }
        class.read = Some((index.end(), *epoch));
        if class.heap.len() > 1024 + 4 * index.size() {
            let mut all = std::mem::take(&mut class.heap).into_vec();
            let first = |entry: &Entry| {
                index
                    .state(entry.state, entry.version)
                    .and_then(State::first)
            };
            all.retain(|Reverse(entry)| first(entry).is_some_and(|first| first >= entry.first));
            all.sort_unstable();
            all.dedup_by_key(|Reverse(entry)| (entry.state, entry.version));
            class.heap = all.into();
        }
        while let Some(Reverse(top)) = class.heap.peek().copied() {
            let first = index.state(top.state, top.version).and_then(State::first);
            if first == Some(top.first) {
                let better = |(rank, kind): (&Option<Rank>, &Kind)| {
                    kind.nodes > 0 && rank.is_some_and(|rank| rank < top.rank)
                };
                let second = pods > 1
                    && top.rank > Rank::default()
                    && class.ranks.iter().zip(index.kinds()).any(better);
                return Some(Choice {
                    slot: top.first,
                    second,
                    open: top.open,
                });
            }
            class.heap.pop();
            if let Some(first) = first.filter(|first| *first > top.first) {
                // Its first node left; the others stand where they stood.
                class.heap.push(Reverse(Entry { first, ..top }));
            }
        }
        None
    }

    /// Computes the worth where the mix has changed enough, and takes in new kinds of nodes.
    fn weigh(&mut self, index: &Index) {
        if !Arc::ptr_eq(&self.generation, index.generation()) || self.places.is_empty() {
            self.generation = Arc::clone(index.generation());
            self.allowed.clear();
            self.computed = None;
            self.classes.clear();
            self.by_demand.clear();
            self.values.clear();
            if self.places.is_empty() {
                self.places.push(Condition {
                    selector: Labels::new(),
                    affinity: None,
                    tolerations: Vec::new(),
                    device: None,
                });
            }
        }
        let due = match self.computed {
            None => true,
            Some(_) if self.mix.is_known() => false,
            Some(at) => self.mix.arrivals() >= Mix::next_update(at),
        };
        if !due && self.allowed.len() == index.kinds().len() {
            return;
        }
        for (kind, row) in index.kinds().iter().zip(&mut self.allowed) {
            for place in &self.places[row.len().min(self.places.len())..] {
                row.push(place.allows(kind));
            }
        }
        for kind in &index.kinds()[self.allowed.len()..] {
            let row: Vec<bool> = self.places.iter().map(|place| place.allows(kind)).collect();
            if !due {
                self.worth.admit(&row);
            }
            self.allowed.push(row);
        }
        if due {
            let stocks: Vec<Stock> = index
                .kinds()
                .iter()
                .zip(&self.allowed)
                .map(|(kind, allowed)| stock(kind, allowed))
                .collect();
            // All orders are made anew by another worth, so it must be worth it.
            let same = self.computed.is_some()
                && self.kinds == stocks.len()
                && self.mix.moved(&self.expected, &stocks) < MOVED;
            self.computed = Some(self.mix.arrivals());
            if !same {
                self.worth = Worth::new(&self.mix, &stocks);
                self.expected = self.mix.expected(&stocks);
                self.kinds = stocks.len();
                self.epoch += 1;
            }
        }
    }

    fn ask(&mut self, need: &SetNeed<'_>) -> Ask {
        let demand = &need.demand;
        let share = demand.share();
        let device = need.devices.first().copied();
        let condition = Condition {
            selector: need.set.node_selector.clone(),
            affinity: need.set.affinity.clone(),
            tolerations: need.tolerations().to_vec(),
            device,
        };
        Ask {
            cpu: demand.get(CPU_TIME),
            memory: demand.get(MEMORY_BYTES),
            devices: share.map_or_else(|| device.map_or(0, |device| demand.get(device)), |_| 1),
            share: match (share, device) {
                (Some((_, thousandths)), _) => thousandths,
                (None, Some(_)) => WHOLE,
                (None, None) => 0,
            },
            place: self.place(condition),
        }
    }

    fn place(&mut self, condition: Condition) -> Place {
        if self.places.is_empty() {
            self.places.push(Condition {
                device: None,
                selector: Labels::new(),
                affinity: None,
                tolerations: Vec::new(),
            });
        }
        if let Some(known) = self.places.iter().position(|known| *known == condition) {
            return known;
        }
        if self.places.len() >= MOST_PLACES {
            return 0;
        }
        self.places.push(condition);
        self.places.len() - 1
    }

    fn class_of(&mut self, needs: &Needs<'_>, need: &SetNeed<'_>, pods: i64) -> usize {
        let key = (Arc::clone(&need.demand), pods);
        if let Some(alike) = self.by_demand.get(&key) {
            let same = |number: &&usize| self.classes[**number].likeness.is_of(needs, need);
            if let Some(found) = alike.iter().find(same) {
                return *found;
            }
        }
        if self.classes.len() >= MOST_CLASSES {
            self.classes.clear();
            self.by_demand.clear();
        }
        self.classes.push(Class {
            likeness: Likeness::of(needs, need),
            ranks: Vec::new(),
            prices: Vec::new(),
            heap: BinaryHeap::new(),
            read: None,
        });
        let number = self.classes.len() - 1;
        self.by_demand.entry(key).or_default().push(number);
        number
    }
}

impl Class {
    /// Says of each kind of nodes that is new whether and how gladly the requests go there.
    fn rank_kinds(&mut self, fleet: &Fleet, needs: &Needs<'_>, need: &SetNeed<'_>, kinds: &[Kind]) {
        for kind in &kinds[self.ranks.len().min(kinds.len())..] {
            self.ranks.push(rank(fleet, needs, need, kind));
            self.prices
                .push(price(needs, &kind.target, &[need.set.count]));
        }
    }
}

impl Condition {
    fn allows(&self, kind: &Kind) -> bool {
        let selected = self
            .selector
            .iter()
            .all(|(key, value)| kind.node.label(key) == Some(value.as_str()));
        (self.device.is_none() || self.device == kind.device)
            && selected
            && self
                .affinity
                .as_ref()
                .is_none_or(|affinity| affinity.matches("", &kind.node))
    }
}

/// Tier, soft taints of the target and avoidance of the node; `None`: it may not go there.
fn rank(fleet: &Fleet, needs: &Needs<'_>, need: &SetNeed<'_>, kind: &Kind) -> Option<Rank> {
    let request = needs.request;
    let tier = eligible::tier_of(fleet, request, &kind.target)?;
    let anyone = TargetName::from("");
    if eligible::obstacle(fleet, request, &anyone, &kind.target, 0).is_some()
        || need.tainted(&kind.node).is_some()
        || !need.selects(&kind.node)
    {
        return None;
    }
    let soft = (WORST + 1) * soft_taints(&request.tolerations, &kind.target.taints)
        + kind.target.trouble.clamp(0, WORST);
    let avoidance = need.avoidance(&kind.node, fleet);
    Some((
        u16::try_from(tier).unwrap_or(u16::MAX),
        u16::try_from(soft).unwrap_or(u16::MAX),
        u32::try_from(avoidance).unwrap_or(u32::MAX),
    ))
}

/// Whether a node or a target is all that is to be decided: a new gang of one role without wishes about where its pods are to each other.
fn plain(needs: &Needs<'_>) -> bool {
    is_one_role(needs) && needs.request.topology.is_none()
}

/// Whether it is a new gang of one role without wishes but closeness.
pub(super) fn is_one_role(needs: &Needs<'_>) -> bool {
    let request = needs.request;
    let [need] = &needs.sets[..] else {
        return false;
    };
    let by_name = |key: &str| key == HOSTNAME;
    let names_nodes = need.set.node_selector.keys().any(|key| by_name(key))
        || need.set.affinity.as_ref().is_some_and(|affinity| {
            affinity.node_selector_terms.iter().any(|term| {
                !term.match_fields.is_empty()
                    || term.match_expressions.iter().any(|one| by_name(&one.key))
            })
        });
    request.strategy == Strategy::Gang
        && need.set.count >= 1
        // Devices of drivers are told apart one by one.
        && need.demand.devices().is_none()
        // Which nodes a limit closes changes from decision to decision.
        && need.closed_nowhere()
        // Here what counts is occupancy, and of equal places the price.
        && request.scoring.is_default()
        && request.spares == 0
        && request.current.is_empty()
        && request.avoid.is_empty()
        && request.spread.is_empty()
        && request.blocked.is_none()
        && !request.suspended
        && !request.finished
        && !names_nodes
}

fn spot(state: &State) -> Spot<'_> {
    Spot {
        kind: state.kind,
        cpu: state.cpu,
        memory: state.memory,
        whole: state.whole,
        open: &state.open,
    }
}

fn used(kind: &Kind, demand: &Demand, pods: i64) -> Use {
    Use {
        cpu: pods * demand.get(CPU_TIME),
        memory: pods * demand.get(MEMORY_BYTES),
        devices: kind.device.map_or(0, |device| pods * demand.get(device)),
        share: demand.share().map_or(0, |(_, thousandths)| thousandths),
    }
}

fn stock(kind: &Kind, allowed: &[bool]) -> Stock {
    let there = &kind.node.allocatable;
    Stock {
        nodes: kind.nodes,
        devices: kind.device.map_or(0, |device| there.get(device)),
        cpu: there.get(CPU_TIME),
        memory: there.get(MEMORY_BYTES),
        allowed: allowed.to_vec(),
    }
}

#[cfg(test)]
#[path = "tests/occupancy.rs"]
mod tests;
