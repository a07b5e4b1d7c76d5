//! Room that is kept for a workload that does not use it yet: spare nodes of gangs, for hot swap, and the new places of those whom
//! defragmentation moves. While others are planned it is closed by stand-ins, as promises are.
//!
//! Spare nodes need not idle: what may be stopped at any time (preemptible, no minimum run time, no higher priority) may use them, and is
//! evicted the moment that the gang loses a node. Spares are a wish: a gang prefers a domain that has them and never waits for them; and they
//! yield to whoever could take more than spares from the gang: higher priority in its queue, claims within a guarantee, and who takes back what
//! the gang's queue has borrowed.
//!
//! They are charged to the gang's queue, without what guests use of them: that is on the guests' account. What its limit has no room for
//! is not kept.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::reason::Reason;

use super::accounts::Accounts;
use super::book::Book;
use super::closed::alike;
use super::draft::Draft;
use super::needs::Needs;
use super::promise::Room;
use super::stand_in::{self, Place};
use super::{Current, Decision, Request, swap, whereabouts};
use crate::fleet::{
    Amounts, Event, Fleet, Node, Share, Target, TargetName, TargetState, WorkloadId,
};
use crate::shares::Ask;

/// What is kept for whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Gangs that want spares.
    wanting: BTreeSet<WorkloadId>,
    spares: BTreeMap<WorkloadId, Spares>,
    moved: BTreeMap<WorkloadId, Moved>,
    /// Gangs whose queues have no room for more spares.
    limited: BTreeSet<WorkloadId>,
    /// Stand-ins that are in the fleet now.
    stand_ins: Vec<(WorkloadId, TargetName)>,
}

/// Spare nodes of one gang.
#[derive(Clone, Debug)]
struct Spares {
    queue: String,
    priority: i32,
    room: Room<Place>,
}

impl Spares {
    /// Whether a workload may start there: as a guest, or because it may take more than spares from the gang.
    fn lets(&self, request: &Request, yielding: &BTreeSet<String>) -> bool {
        let above = request.queue == self.queue && request.priority > self.priority;
        yielding.contains(&self.queue) || above || may_use(request, self.priority)
    }
}

/// The new place of one that moves.
#[derive(Clone, Debug)]
struct Moved {
    room: Room<Place>,
    until_ms: i64,
}

impl Kept {
    /// Takes in what is asked.
    pub(super) fn ask(&mut self, request: &Request) {
        if request.spares > 0 && !request.finished {
            self.wanting.insert(request.id.clone());
        } else {
            self.wanting.remove(&request.id);
        }
    }

    /// A workload is gone; what was kept for it may help others.
    pub(super) fn forget(&mut self, id: &WorkloadId) {
        self.wanting.remove(id);
        self.spares.remove(id);
        self.moved.remove(id);
        self.limited.remove(id);
    }

    /// Keeps a place for one that moves there, until then at most.
    pub(super) fn keep(&mut self, id: &WorkloadId, room: Room<Place>, until_ms: i64) {
        self.moved.insert(id.clone(), Moved { room, until_ms });
    }

    /// A workload has its place.
    pub(super) fn placed(&mut self, id: &WorkloadId) {
        self.moved.remove(id);
    }

    /// Renews all spares and gives up what nobody came for. Returns what is closed no more.
    pub(super) fn renew_all(
        &mut self,
        fleet: &mut Fleet,
        accounts: &mut Accounts,
        book: &Book,
        now_ms: i64,
    ) -> Event {
        let mut event = Event::nothing();
        let late = |moved: &Moved| moved.until_ms <= now_ms;
        for moved in self.moved.values().filter(|moved| late(moved)) {
            event.merge(opened(fleet, &moved.room));
        }
        self.moved.retain(|_, moved| !late(moved));
        let ids: BTreeSet<WorkloadId> = self
            .wanting
            .iter()
            .chain(self.spares.keys())
            .cloned()
            .collect();
        for id in &ids {
            event.merge(self.renew(fleet, accounts, book, id));
        }
        event
    }

    /// A decision is made: renews the spares of that workload, of those on whose spare nodes it has put something, and of those whose queues
    /// have more now than their limit with them.
    pub(super) fn settle(
        &mut self,
        fleet: &mut Fleet,
        accounts: &mut Accounts,
        book: &Book,
        decision: &Decision,
    ) -> Event {
        let takes = |room: &Room<Place>| {
            let mut nodes = decision.parts.iter().flat_map(|part| {
                let names = part.nodes.iter().map(|node| node.name.as_str());
                names.map(|name| (&part.target, name))
            });
            nodes.any(|(target, node)| {
                let mut places = room.keys();
                places.any(|place| place.0 == *target && place.1.as_str() == node)
            })
        };
        let spares = self.spares.iter().filter(|(_, spares)| takes(&spares.room));
        let mut ids: BTreeSet<WorkloadId> = spares.map(|(id, _)| id.clone()).collect();
        ids.insert(decision.id.clone());
        ids.extend(accounts.spares_over_limit().cloned());
        let mut event = Event::nothing();
        for id in &ids {
            event.merge(self.renew(fleet, accounts, book, id));
        }
        event
    }

    /// Brings the spares of a gang in line with what it wants and where it is: those that still serve stay. Returns what is closed no more.
    pub(super) fn renew(
        &mut self,
        fleet: &mut Fleet,
        accounts: &mut Accounts,
        book: &Book,
        id: &WorkloadId,
    ) -> Event {
        if !self.wanting.contains(id) && !self.spares.contains_key(id) {
            return Event::nothing();
        }
        let before = self.spares.remove(id).map(|spares| spares.room);
        let before = before.unwrap_or_default();
        accounts.drop_spares(id);
        self.limited.remove(id);
        let booked = book.get(id).filter(|_| self.wanting.contains(id));
        let room = booked.map_or_else(Room::new, |booked| {
            self.chosen(fleet, accounts, book, &booked.request, &before)
        });
        let mut gone = before;
        gone.retain(|place, _| !room.contains_key(place));
        if let (Some(booked), false) = (booked, room.is_empty()) {
            let spares = Spares {
                queue: booked.request.queue.clone(),
                priority: booked.request.priority,
                room,
            };
            self.spares.insert(id.clone(), spares);
        }
        opened(fleet, &gone)
    }

    /// Says in a decision which nodes are spare, or that some are missing.
    pub(super) fn tell(&self, decision: &mut Decision) {
        if !self.wanting.contains(&decision.id) {
            return;
        }
        let room = self.spares.get(&decision.id).map(|spares| &spares.room);
        let nodes: Vec<&str> = room
            .into_iter()
            .flat_map(Room::keys)
            .map(|(_, node)| node.as_str())
            .collect();
        let mut said = match nodes[..] {
            [] => "no spare node".to_owned(),
            [one] => format!("spare node {one}"),
            _ => format!("spare nodes {}", nodes.join(", ")),
        };
        if self.limited.contains(&decision.id) {
            said.push_str(", its queue has no room for more");
        }
        let verdicts = decision.explanation.verdicts.iter_mut();
        for verdict in verdicts.filter(|one| one.reason == Reason::Placed) {
            verdict.message = format!("{}; {said}", verdict.message);
        }
    }

    /// Whether nothing is kept for anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.spares.is_empty() && self.moved.is_empty()
    }

    /// Queues whose gangs have spares.
    pub(super) fn queues(&self) -> BTreeSet<&str> {
        let queues = self.spares.values();
        queues.map(|spares| spares.queue.as_str()).collect()
    }

    /// Spare nodes of its queue that a workload may use until they are needed.
    pub(super) fn open_to(&self, request: &Request) -> BTreeMap<TargetName, BTreeSet<String>> {
        let mut places: BTreeMap<TargetName, BTreeSet<String>> = BTreeMap::new();
        let spares = self
            .spares
            .values()
            .filter(|spares| spares.queue == request.queue && may_use(request, spares.priority));
        for (target, node) in spares.flat_map(|spares| spares.room.keys()) {
            let nodes = places.entry(target.clone()).or_default();
            nodes.insert(node.to_string());
        }
        places
    }

    /// Closes to a workload what is kept for others. `yielding`: queues whose spares yield to it as promises do: to a claim within a guarantee,
    /// and to who takes back what they have borrowed. Says whether anything is closed.
    pub(super) fn close(
        &mut self,
        fleet: &mut Fleet,
        request: &Request,
        yielding: &BTreeSet<String>,
    ) -> bool {
        let spares = self
            .spares
            .iter()
            .filter(|(_, spares)| !spares.lets(request, yielding));
        let spares = spares.map(|(id, spares)| (id, &spares.room));
        let moved = self.moved.iter().map(|(id, moved)| (id, &moved.room));
        for (id, room) in spares.chain(moved).filter(|(id, _)| **id != request.id) {
            // No object has such a name.
            let name = WorkloadId::from(format!("kept for {id}"));
            let targets = stand_in::put(fleet, &name, room);
            let placed = targets.into_iter().map(|target| (name.clone(), target));
            self.stand_ins.extend(placed);
        }
        !self.stand_ins.is_empty()
    }

    /// Opens everything again.
    pub(super) fn open(&mut self, fleet: &mut Fleet) {
        for (id, target) in self.stand_ins.drain(..) {
            fleet.release(&id, &target);
        }
    }

    /// Why a workload waits although there is room.
    pub(super) fn reserved(&self, draft: &mut Draft) {
        let owners: BTreeSet<&str> = self
            .spares
            .keys()
            .chain(self.moved.keys())
            .map(WorkloadId::as_str)
            .collect();
        let owners: Vec<&str> = owners.into_iter().collect();
        let message = format!("there is room, but it is kept for {}", owners.join(", "));
        draft.notes.push((Reason::ReservedForOlder, message));
    }

    /// Hands on the room of those who use a gang's spare nodes in the meantime.
    pub(super) fn clear(&self, fleet: &mut Fleet, book: &Book, id: &WorkloadId) -> Vec<WorkloadId> {
        let Some(spares) = self.spares.get(id) else {
            return Vec::new();
        };
        let targets: BTreeSet<&TargetName> = spares.room.keys().map(|(name, _)| name).collect();
        let mut guests = BTreeSet::new();
        for name in targets {
            for (guest, shares) in guests_on(fleet, name, book, id, spares.priority) {
                let place = |share: &Share| (name.clone(), share.node.clone());
                if shares
                    .iter()
                    .any(|one| spares.room.contains_key(&place(one)))
                {
                    guests.insert(guest);
                }
            }
        }
        for guest in &guests {
            for name in fleet.holders(guest) {
                let booked = book.get(guest);
                let shares = booked.map(|one| whereabouts(fleet, &name, &one.request));
                fleet.pass_on(guest, &name, shares.unwrap_or_default());
            }
        }
        guests.into_iter().collect()
    }

    /// The spare nodes that a gang should have: of those before what still serves, then the nearest; as many as its queue has room for. They
    /// are charged.
    fn chosen(
        &mut self,
        fleet: &mut Fleet,
        accounts: &mut Accounts,
        book: &Book,
        request: &Request,
        before: &Room<Place>,
    ) -> Room<Place> {
        let needs = Needs::new(fleet, request);
        let Some(part) = seat(fleet, request) else {
            return Room::new();
        };
        let Some(share) = largest(&needs, part) else {
            return Room::new();
        };
        let guests = guests_on(fleet, &part.target, book, &request.id, request.priority);
        let Some(target) = fleet.target(part.target.as_str()) else {
            return Room::new();
        };
        let own: BTreeSet<usize> = part
            .nodes
            .iter()
            .filter_map(|node| target.position(&node.name))
            .collect();
        let pinned: Vec<usize> = own.iter().copied().collect();
        let guests = guests_by_node(target, book, &guests);
        let others: BTreeSet<&Place> = self
            .spares
            .values()
            .map(|spares| &spares.room)
            .chain(self.moved.values().map(|moved| &moved.room))
            .flat_map(Room::keys)
            .collect();
        let serves = |target: &Target, node: usize| {
            let there = &target.node_list()[node];
            let place = (part.target.clone(), there.name().clone());
            !own.contains(&node)
                && !others.contains(&place)
                && share.fits(
                    &needs,
                    target,
                    node,
                    guests.get(&node).map(|one| &one.amounts),
                )
        };
        let rings = swap::rings(fleet, &needs, target, part, &pinned);
        let Some(widest) = rings.last() else {
            return Room::new();
        };
        let inside = super::gang::nodes_within(target, widest);
        let stays = before.keys().filter(|(name, _)| *name == part.target);
        let stays = stays.filter_map(|(_, node)| target.position(node.as_str()));
        let stays: Vec<usize> = stays
            .filter(|node| inside.contains(node) && serves(target, *node))
            .collect();
        let mut chosen = Chosen {
            name: &part.target,
            wanted: usize::try_from(request.spares).unwrap_or(0),
            share: &share,
            room: Room::new(),
            ask: Ask::default(),
            refused: Vec::new(),
        };
        chosen.add(fleet, accounts, (book, request), stays, &guests);
        for ring in &rings {
            let Some(target) = fleet.target(part.target.as_str()) else {
                break;
            };
            if chosen.room.len() >= chosen.wanted {
                break;
            }
            let mut nodes = super::gang::nodes_within(target, ring);
            nodes.retain(|node| serves(target, *node));
            let main = needs.sets.get(needs.leading()).map_or(0, |need| need.main);
            // Idle nodes first, of these the tightest.
            nodes.sort_by_key(|node| {
                let free = target.node_list()[*node].free.get(main);
                (guests.contains_key(node), free, *node)
            });
            chosen.add(fleet, accounts, (book, request), nodes, &guests);
        }
        let Chosen {
            room, ask, refused, ..
        } = chosen;
        accounts.keep_spares(request, ask);
        if !refused.is_empty() {
            self.limited.insert(request.id.clone());
        }
        room
    }
}

/// Spare nodes while they are chosen.
struct Chosen<'a> {
    name: &'a TargetName,
    wanted: usize,
    share: &'a Portion,
    room: Room<Place>,
    /// What they are charged for.
    ask: Ask,
    /// Nodes that its queue has no room for.
    refused: Vec<Node>,
}

impl Chosen<'_> {
    /// Adds nodes in their order, as many as are wanted and its queue has room for.
    fn add(
        &mut self,
        fleet: &mut Fleet,
        accounts: &mut Accounts,
        (book, request): (&Book, &Request),
        nodes: Vec<usize>,
        guests: &BTreeMap<usize, Guests>,
    ) {
        for at in nodes {
            let Some(target) = fleet.target(self.name.as_str()) else {
                return;
            };
            let node = target.node_list()[at].clone();
            let place = (self.name.clone(), node.name().clone());
            if self.room.len() >= self.wanted {
                return;
            }
            let like = |other: &Node| alike(other, &node);
            if self.room.contains_key(&place) || self.refused.iter().any(like) {
                continue;
            }
            let mut one = accounts.on_node(fleet, request, &self.share.pods, &node);
            for (id, pods) in guests.get(&at).into_iter().flat_map(|one| &one.pods) {
                if let Some(guest) = book.get(id) {
                    // That is on the guest's account.
                    one = one.less(&accounts.on_node(fleet, &guest.request, pods, &node));
                }
            }
            let sum = self.ask.plus(&one);
            if one.is_empty() || accounts.may_spare(request, &sum) {
                self.room.insert(place, self.share.amounts.clone());
                self.ask = sum;
            } else {
                self.refused.push(node);
            }
        }
    }
}

/// What one node of a gang holds at most.
struct Portion {
    /// Pods by role.
    pods: Vec<(usize, i64)>,
    amounts: Amounts,
}

impl Portion {
    /// Whether a node could take it, if those left who are guests there.
    fn fits(
        &self,
        needs: &Needs<'_>,
        target: &Target,
        node: usize,
        guests: Option<&Amounts>,
    ) -> bool {
        let there = &target.node_list()[node];
        let mut free = there.free.clone();
        if let Some(guests) = guests {
            free.add_all(guests);
        }
        let enough = self
            .amounts
            .positive()
            .all(|number| free.get(number) >= self.amounts.get(number));
        let may = |(set, _): &(usize, i64)| {
            let need = &needs.sets[*set];
            need.selects(there) && need.tainted(there).is_none()
        };
        there.unusable.is_none() && enough && self.pods.iter().all(may)
    }
}

/// The part whose nodes are to have spares.
fn seat<'a>(fleet: &Fleet, request: &'a Request) -> Option<&'a Current> {
    let ready = |part: &&Current| {
        let target = fleet.target(part.target.as_str());
        target.is_some_and(|target| target.state == TargetState::Ready)
    };
    let named = |part: &&Current| !part.evicting && !part.nodes.is_empty();
    request.current.iter().filter(named).find(ready)
}

/// What the fullest node of a part holds; of equal ones the first.
fn largest(needs: &Needs<'_>, part: &Current) -> Option<Portion> {
    let mut by_node: BTreeMap<&str, Portion> = BTreeMap::new();
    for share in &part.nodes {
        let Some(set) = needs.position_of(share) else {
            continue;
        };
        let there = by_node.entry(&share.name).or_insert_with(|| Portion {
            pods: Vec::new(),
            amounts: Amounts::default(),
        });
        there.pods.push((set, share.pods));
        there.amounts.add(&needs.sets[set].demand, share.pods);
    }
    let main = needs.sets.get(needs.leading())?.main;
    let size = |portion: &Portion| portion.amounts.get(main);
    by_node.into_values().reduce(|best, next| {
        if size(&next) > size(&best) {
            next
        } else {
            best
        }
    })
}

/// Whether a workload may be stopped at any time.
pub(super) fn is_stoppable(request: &Request) -> bool {
    request.preemptible && request.min_runtime_ms == 0
}

/// Whether a workload may use spare nodes of a gang with this priority until they are needed.
fn may_use(request: &Request, priority: i32) -> bool {
    is_stoppable(request) && request.priority <= priority
}

fn is_guest(book: &Book, id: &WorkloadId, owner: &WorkloadId, priority: i32) -> bool {
    let booked = book.get(id).filter(|_| id != owner);
    booked.is_some_and(|booked| may_use(&booked.request, priority))
}

/// Those on one node who would leave at once.
#[derive(Default)]
struct Guests {
    amounts: Amounts,
    /// Pods by role of each of them.
    pods: BTreeMap<WorkloadId, Vec<(usize, i64)>>,
}

/// Who would leave a target at once for a gang, and where they are there.
fn guests_on(
    fleet: &mut Fleet,
    name: &TargetName,
    book: &Book,
    owner: &WorkloadId,
    priority: i32,
) -> Vec<(WorkloadId, Vec<Share>)> {
    let holds = fleet.target(name.as_str()).into_iter();
    let guests = holds
        .flat_map(Target::holds)
        .filter(|(id, hold)| hold.passed_on.is_empty() && is_guest(book, id, owner, priority));
    let guests: Vec<WorkloadId> = guests.map(|(id, _)| id.clone()).collect();
    let place = |id: WorkloadId| {
        let shares = whereabouts(fleet, name, &book.get(&id)?.request);
        Some((id, shares))
    };
    guests.into_iter().filter_map(place).collect()
}

/// What guests have on each node.
fn guests_by_node(
    target: &Target,
    book: &Book,
    guests: &[(WorkloadId, Vec<Share>)],
) -> BTreeMap<usize, Guests> {
    let mut found: BTreeMap<usize, Guests> = BTreeMap::new();
    for (id, shares) in guests {
        let Some(booked) = book.get(id) else { continue };
        for share in shares {
            let Some(node) = target.position(share.node.as_str()) else {
                continue;
            };
            let there = found.entry(node).or_default();
            there.amounts.add(&share.demand, share.pods);
            let mut sets = booked.request.pod_sets.iter();
            if let Some(set) = sets.position(|set| *set.name == *share.pod_set) {
                let pods = there.pods.entry(id.clone()).or_default();
                pods.push((set, share.pods));
            }
        }
    }
    found
}

/// What becomes possible where this is closed no more.
fn opened(fleet: &Fleet, room: &Room<Place>) -> Event {
    let numbers = room.values().flat_map(Amounts::positive);
    let names = numbers.map(|number| fleet.resources().name(number).to_owned());
    Event::freed(names.collect())
}
