//! Which target a gang of one role goes to: what each target holds, kept per kind of request.
//!
//! ```text
//! Needs -> class of equal requests -> targets by (tier, soft taints and trouble), there by copies -> target -> seat() -> nodes
//!                                        ^-- targets that the index logged since this class was last asked
//! ```
//!
//! The choice is that of [`super::gang`]; only targets that have changed are counted again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::kinds::Packing;

use super::eligible;
use super::gang::{Added, seat};
use super::history::WORST;
use super::likeness::Likeness;
use super::needs::{Needs, SetNeed, soft_taints};
use super::score::{Price, price};
use super::tree::Level;
use crate::fleet::{Change, Demand, Fleet, Index, Node, Target, TargetName};

/// Most entries over all classes; when there are more all begin anew.
const MOST_ENTRIES: usize = 1 << 20;

/// What targets hold, for each class of requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Rooms {
    /// That of the index by which all this is known.
    generation: Arc<()>,
    classes: Vec<Class>,
    by_demand: BTreeMap<Arc<Demand>, Vec<usize>>,
}

/// Requests that are equal in everything that matters for the choice of a target.
#[derive(Clone, Debug)]
struct Class {
    likeness: Likeness,
    /// The log is read up to here.
    read: Option<usize>,
    rooms: BTreeMap<TargetName, Room>,
    /// Targets by how gladly they are taken, then by what they hold.
    order: BTreeMap<Rank, BTreeMap<i64, Names>>,
}

/// Targets, the best first of those that hold as much.
type Names = BTreeSet<(Price, TargetName)>;

/// Tier, then soft taints and what went wrong there lately.
type Rank = (usize, i64);

/// What a target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    rank: Rank,
    /// What is said of it, for one pod: gangs of all sizes are in one class.
    price: Price,
    copies: i64,
    /// Of these on nodes that are not to be avoided.
    proper: i64,
}

impl Room {
    /// The same after these changes; `None`: more has changed than single nodes.
    fn after(mut self, fleet: &Fleet, need: &SetNeed<'_>, changes: &[&Change]) -> Option<Self> {
        for change in changes {
            let swap = change.node.as_ref()?;
            for (state, times) in [(&swap.before, -1), (&swap.after, 1)] {
                if let Some(node) = state {
                    self.add(fleet, need, node, times);
                }
            }
        }
        Some(self)
    }

    fn add(&mut self, fleet: &Fleet, need: &SetNeed<'_>, node: &Node, times: i64) {
        let copies = times * need.copies(node);
        if copies != 0 {
            self.copies += copies;
            if need.avoidance(node, fleet) == 0 {
                self.proper += copies;
            }
        }
    }
}

impl Rooms {
    /// The target for all pods of a gang, and its nodes there.
    pub(super) fn place(
        &mut self,
        fleet: &mut Fleet,
        needs: &Needs<'_>,
        need: &SetNeed<'_>,
    ) -> Option<Added> {
        fleet.index();
        let (fleet, index) = (&*fleet, fleet.indexed());
        if !Arc::ptr_eq(&self.generation, index.generation()) {
            self.generation = Arc::clone(index.generation());
            self.classes.clear();
            self.by_demand.clear();
        }
        let number = self.class_of(fleet, needs, need);
        let class = &mut self.classes[number];
        class.refresh(fleet, index, needs, need);
        let name = class.choose(need.set.count)?;
        let target = fleet.target(name.as_str())?;
        let nodes: Vec<usize> = (0..target.node_list().len()).collect();
        let picks = seat(fleet, needs, target, &nodes, &[need.set.count])?;
        Some(Added {
            target: name.clone(),
            counts: vec![need.set.count],
            picks,
            level: Level::Target,
            device: None,
        })
    }

    fn class_of(&mut self, fleet: &Fleet, needs: &Needs<'_>, need: &SetNeed<'_>) -> usize {
        let alike = self.by_demand.get(&need.demand).into_iter().flatten();
        let mut alike = alike.copied();
        if let Some(found) = alike.find(|number| self.classes[*number].likeness.is_of(needs, need))
        {
            return found;
        }
        if (self.classes.len() + 1) * fleet.target_count() > MOST_ENTRIES {
            self.classes.clear();
            self.by_demand.clear();
        }
        self.classes.push(Class {
            likeness: Likeness::of(needs, need),
            read: None,
            rooms: BTreeMap::new(),
            order: BTreeMap::new(),
        });
        let number = self.classes.len() - 1;
        let demand = Arc::clone(&need.demand);
        self.by_demand.entry(demand).or_default().push(number);
        number
    }
}

impl Class {
    /// Counts again what has changed.
    fn refresh(&mut self, fleet: &Fleet, index: &Index, needs: &Needs<'_>, need: &SetNeed<'_>) {
        let news = self.read.and_then(|position| index.changes_since(position));
        if let Some(changed) = news {
            let mut by_target: BTreeMap<&TargetName, Vec<&Change>> = BTreeMap::new();
            for change in changed {
                by_target.entry(&change.target).or_default().push(change);
            }
            for (name, changes) in by_target {
                let target = fleet.target(name.as_str());
                let few = |target: &Target| 2 * changes.len() < target.node_list().len();
                let before = self.rooms.get(name).filter(|_| target.is_some_and(few));
                let after = before.and_then(|room| room.after(fleet, need, &changes));
                let room = after.or_else(|| room(fleet, needs, need, target?));
                self.set(name, room.filter(|room| room.copies > 0));
            }
        } else {
            self.rooms.clear();
            self.order.clear();
            for (name, target) in fleet.targets() {
                self.set(name, room(fleet, needs, need, target));
            }
        }
        self.read = Some(index.changes_end());
    }

    fn set(&mut self, name: &TargetName, room: Option<Room>) {
        let old = self.rooms.get(name).copied();
        if old == room {
            return;
        }
        if let Some(old) = old {
            self.rooms.remove(name);
            if let Some(by_copies) = self.order.get_mut(&old.rank) {
                if let Some(names) = by_copies.get_mut(&old.copies) {
                    names.remove(&(old.price, name.clone()));
                    if names.is_empty() {
                        by_copies.remove(&old.copies);
                    }
                }
                if by_copies.is_empty() {
                    self.order.remove(&old.rank);
                }
            }
        }
        if let Some(room) = room {
            self.rooms.insert(name.clone(), room);
            let by_copies = self.order.entry(room.rank).or_default();
            by_copies
                .entry(room.copies)
                .or_default()
                .insert((room.price, name.clone()));
        }
    }

    /// Of the most welcome targets that hold so many that with the fewest pods on nodes to be avoided; of equal ones the tightest
    /// (packing) or the roomiest (spreading), then the cheapest, then the first by name.
    fn choose(&self, want: i64) -> Option<&TargetName> {
        self.order.values().find_map(|by_copies| {
            let enough = by_copies.range(want..);
            let mut best: Option<(i64, &TargetName)> = None;
            let ordered: &mut dyn Iterator<Item = (&i64, &Names)> =
                if self.likeness.packing == Packing::Pack {
                    &mut enough.into_iter()
                } else {
                    &mut enough.rev()
                };
            for (_, name) in ordered.flat_map(|(_, names)| names) {
                let proper = self.rooms.get(name).map_or(0, |room| room.proper);
                let astray = (want - proper).max(0);
                if best.is_none_or(|(least, _)| astray < least) {
                    best = Some((astray, name));
                }
                if astray == 0 {
                    break;
                }
            }
            best.map(|(_, name)| name)
        })
    }
}

/// What a target holds; `None`: nothing may go there, or nothing fits.
fn room(fleet: &Fleet, needs: &Needs<'_>, need: &SetNeed<'_>, target: &Target) -> Option<Room> {
    let request = needs.request;
    let tier = eligible::tier_of(fleet, request, target)?;
    // Nobody has refused these requests, so the name does not matter.
    let anyone = TargetName::from("");
    if eligible::obstacle(fleet, request, &anyone, target, 0).is_some() {
        return None;
    }
    let soft = (WORST + 1) * soft_taints(&request.tolerations, &target.taints)
        + target.trouble.clamp(0, WORST);
    let mut room = Room {
        rank: (tier, soft),
        price: price(needs, target, &[1]),
        copies: 0,
        proper: 0,
    };
    for node in target.node_list() {
        room.add(fleet, need, node, 1);
    }
    (room.copies > 0).then_some(room)
}
