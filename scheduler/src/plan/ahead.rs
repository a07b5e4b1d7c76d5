//! Promises of a start, in the fleet: what is held for the heads of queues is closed to others while these are planned, and who overran
//! yields when a promise falls due. The rules themselves are in [`super::promise`].
//!
//! Room is closed by stand-ins: holds of nobody, there while one workload is planned that may not be on it, gone after.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::reason::Reason;

use super::Request;
use super::book::Book;
use super::draft::{self, Draft};
use super::give_way::{Eviction, Yield};
use super::needs::Needs;
use super::orders::Orders;
use super::promise::{Line, Lines, Promise, Promises, Room, Runner, overrunners};
use super::stand_in::{self, Place, hand_on, room_of};
use crate::fleet::{Amounts, Event, Fleet, NodeName, TargetName, WorkloadId, is_extended};
use crate::shares::QueueId;

/// What is placed starts about so much later: images are pulled, what was saved is loaded.
const STARTS_WITHIN_MS: i64 = 60_000;

/// The promises of all queues.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead {
    promises: Promises<QueueId, WorkloadId, Place>,
    /// Longer estimates of those who have overrun once.
    retold: BTreeMap<WorkloadId, i64>,
    /// When those should end who were let in beside a promise, as was said when they were.
    let_in: BTreeMap<WorkloadId, i64>,
    /// When the workload that is planned now would end.
    would_end: Option<i64>,
    /// Stand-ins that are in the fleet now.
    stand_ins: Vec<(WorkloadId, TargetName)>,
    /// Queues whose promise yields to the workload that is planned now.
    yielding: BTreeSet<QueueId>,
    /// What is held no more may help others.
    opened: Event,
}

/// What everybody has and whose turn it is.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) book: &'a Book,
    pub(super) orders: &'a Orders,
    pub(super) now_ms: i64,
}

impl Ahead {
    /// Whether nobody is promised anything.
    pub(super) fn is_empty(&self) -> bool {
        self.promises.iter().next().is_none()
    }

    /// Closes to a workload what is held for others and what it would not have left in time. `strong`: a claim within a guarantee, to which
    /// promises yield. Says whether anything is closed.
    pub(super) fn close(
        &mut self,
        fleet: &mut Fleet,
        around: Around<'_>,
        request: &Request,
        queue: QueueId,
        strong: bool,
    ) -> bool {
        let left = self.left_ms(around.orders, request);
        let end = left.map(|left| around.now_ms.saturating_add(left));
        self.would_end = end;
        let mut standing: Vec<&Promise<WorkloadId, Place>> = Vec::new();
        let mut yielding = BTreeSet::new();
        for (other, promise) in self.promises.iter() {
            if strong || *other == queue && request.priority > promise.priority {
                yielding.insert(*other);
            } else if promise.head != request.id {
                standing.push(promise);
            }
        }
        let mut closed: Room<Place> = Room::new();
        for promise in standing.iter().filter(|promise| !promise.lets(end)) {
            let places: BTreeSet<&Place> = promise.room.keys().collect();
            let lines = self.lines(fleet, around, &promise.head, &places);
            let others = promise.held_beside(&standing);
            for (place, kept) in promise.closed(&lines, &others) {
                // It may have what all of them leave.
                closed.entry(place).or_default().raise(&kept);
            }
        }
        self.yielding = yielding;
        self.stand_in(fleet, "promises", &closed);
        !self.stand_ins.is_empty()
    }

    /// Opens everything again.
    pub(super) fn open(&mut self, fleet: &mut Fleet) {
        for (id, target) in self.stand_ins.drain(..) {
            fleet.release(&id, &target);
        }
    }

    /// Whether a workload that could not start is a head that may be promised something: it has a promise, or its queue has none that it must
    /// leave alone.
    pub(super) fn is_head(&self, around: Around<'_>, request: &Request, queue: QueueId) -> bool {
        let standing = self.promises.of(&queue);
        let mine = standing.is_some_and(|promise| promise.head == request.id);
        let open = standing.is_none_or(|promise| request.priority > promise.priority);
        mine || open && around.orders.may_hold(&request.id)
    }

    /// Promises the head of a queue a start, or an earlier one. Says when, if somebody knows.
    pub(super) fn promise(
        &mut self,
        fleet: &mut Fleet,
        around: Around<'_>,
        needs: &Needs<'_>,
        queue: QueueId,
    ) -> Option<i64> {
        let request = needs.request;
        let before = self.promises.of(&queue).cloned();
        let mine = self
            .promises
            .for_head(&request.id)
            .map(|(promise, _)| promise);
        if !mine.is_some_and(|promise| promise.is_due(around.now_ms)) {
            let undated = mine.is_none();
            let limit = around.orders.age_limit_ms(&request.id);
            let overdue = limit.is_some_and(|limit| around.now_ms - request.submitted_ms >= limit);
            let found = match self.earliest(fleet, around, needs, queue) {
                Some((start, room)) => Some((Some(start), room)),
                None if undated && overdue => {
                    least_work(fleet, around, needs).map(|room| (None, room))
                }
                None => None,
            };
            if let Some((start_ms, room)) = found {
                let promise = Promise {
                    head: request.id.clone(),
                    priority: request.priority,
                    start_ms,
                    room,
                    runtime_ms: self.told(request),
                };
                if self.promises.offer(&queue, promise)
                    && let Some(before) = before
                {
                    self.opened.merge(held(fleet, &before));
                }
            }
        }
        self.start_ms(&request.id)
    }

    /// The promise of a workload is due: who overran its estimate on these nodes gives way. Their room is handed on.
    pub(super) fn collect(
        &mut self,
        fleet: &mut Fleet,
        around: Around<'_>,
        needs: &Needs<'_>,
    ) -> Option<Vec<Eviction>> {
        let (promise, _) = self.promises.for_head(&needs.request.id)?;
        if !promise.is_due(around.now_ms) {
            return None;
        }
        let places: BTreeSet<&Place> = promise.room.keys().collect();
        let free: Room<Place> = places
            .iter()
            .filter_map(|place| {
                Some((
                    (*place).clone(),
                    fleet
                        .target(place.0.as_str())?
                        .node(place.1.as_str())?
                        .free
                        .clone(),
                ))
            })
            .collect();
        let runners = self.runners(fleet, around, &places);
        let gone = overrunners(promise, &free, &runners, around.now_ms)?;
        for id in &gone {
            hand_on(fleet, id, true);
        }
        if gone.is_empty()
            || draft::draft(fleet, needs, false, around.now_ms)
                .added
                .is_empty()
        {
            for id in &gone {
                hand_on(fleet, id, false);
            }
            return None;
        }
        let evict = |victim: WorkloadId| Eviction {
            victim,
            reason: Reason::OverranEstimate,
            what: Yield::Everything,
        };
        for id in &gone {
            if let Some(booked) = around.book.get(id) {
                let attained = around.now_ms - started(&booked.request).unwrap_or(around.now_ms)
                    + around.orders.done_ms(id);
                let told = self.told(&booked.request).unwrap_or(0).max(2 * attained);
                self.retold.insert(id.clone(), told);
            }
        }
        Some(gone.into_iter().map(evict).collect())
    }

    /// When those who keep a promise that is due from being kept should be gone, the first of them: they began later than was thought.
    pub(super) fn late_until(
        &self,
        fleet: &Fleet,
        around: Around<'_>,
        head: &WorkloadId,
    ) -> Option<i64> {
        let (promise, _) = self.promises.for_head(head)?;
        let places: BTreeSet<&Place> = promise.room.keys().collect();
        let runners = self.runners(fleet, around, &places);
        let ends = runners.iter().filter_map(|runner| runner.told_end_ms);
        ends.filter(|end| *end > around.now_ms).min()
    }

    fn runners(
        &self,
        fleet: &Fleet,
        around: Around<'_>,
        places: &BTreeSet<&Place>,
    ) -> Vec<Runner<WorkloadId, Place>> {
        let mut runners = Vec::new();
        for (id, room) in holders(fleet, places) {
            let Some(booked) = around.book.get(&id) else {
                continue;
            };
            // Who was let in to be gone by now is late if it began late.
            let end = self.end(around, &booked.request);
            let said = self.let_in.get(&id).copied();
            runners.push(Runner {
                told_end_ms: end.map(|end| said.map_or(end, |said| said.min(end))),
                preemptible: booked.request.preemptible,
                priority: booked.request.priority,
                id,
                room,
            });
        }
        runners
    }

    /// A workload has its place now, on these nodes, and needs no promise any more. Those that it was let through are made anew.
    pub(super) fn placed(&mut self, id: &WorkloadId, fleet: &Fleet) {
        if let Some((promise, _)) = self.promises.for_head(id) {
            self.opened.merge(held(fleet, promise));
            self.promises.done(id);
        }
        match self.would_end.take() {
            Some(end) if !self.is_empty() => self.let_in.insert(id.clone(), end),
            _ => self.let_in.remove(id),
        };
        for queue in std::mem::take(&mut self.yielding) {
            let on = |promise: &Promise<WorkloadId, Place>| {
                let mut places = promise.room.keys();
                places.any(|(target, node)| holds_on(fleet, id, target, node))
            };
            if self.promises.of(&queue).is_some_and(on)
                && let Some(promise) = self.promises.withdraw(&queue)
            {
                self.opened.merge(held(fleet, &promise));
            }
        }
    }

    /// A workload is gone.
    pub(super) fn forget(&mut self, id: &WorkloadId) {
        if self.promised(id) {
            self.opened = Event::everything();
            self.promises.done(id);
        }
        self.retold.remove(id);
        self.let_in.remove(id);
    }

    /// What is held no more since this was asked last.
    pub(super) fn take_opened(&mut self) -> Event {
        std::mem::take(&mut self.opened)
    }

    /// When a workload was promised to start.
    pub(super) fn start_ms(&self, id: &WorkloadId) -> Option<i64> {
        self.promises.for_head(id)?.0.start_ms
    }

    /// Whether it is held something.
    pub(super) fn promised(&self, id: &WorkloadId) -> bool {
        self.promises.for_head(id).is_some()
    }

    /// All starts that are promised.
    pub(super) fn starts(&self) -> impl Iterator<Item = (WorkloadId, i64)> {
        let promises = self.promises.iter();
        promises.filter_map(|(_, promise)| Some((promise.head.clone(), promise.start_ms?)))
    }

    /// Nodes and queues may have other names and meanings now.
    pub(super) fn clear(&mut self) {
        if !self.is_empty() {
            self.opened = Event::everything();
        }
        self.promises = Promises::default();
    }

    /// Why a workload waits although there is room.
    pub(super) fn reserved(&self, draft: &mut Draft) {
        let heads: Vec<&str> = self
            .promises
            .iter()
            .map(|(_, promise)| promise.head.as_str())
            .collect();
        draft.notes.push((
            Reason::ReservedForOlder,
            format!("there is room, but it is held for {}", heads.join(", ")),
        ));
    }

    /// What is left of a workload that waits, as far as is known.
    pub(super) fn left_ms(&self, orders: &Orders, request: &Request) -> Option<i64> {
        Some(self.told(request)? - orders.done_ms(&request.id))
    }

    /// Whether any promise lets somebody pass of whom so much is left, and not who has more left.
    pub(super) fn lets_only(&self, left_ms: i64, more_ms: i64, now_ms: i64) -> bool {
        let end = |left: i64| Some(now_ms.saturating_add(left));
        self.promises
            .iter()
            .any(|(_, promise)| promise.lets(end(left_ms)) && !promise.lets(end(more_ms)))
    }

    /// What a workload is told to run in all.
    fn told(&self, request: &Request) -> Option<i64> {
        let told = request.runtime_ms?;
        Some(
            self.retold
                .get(&request.id)
                .map_or(told, |again| told.max(*again)),
        )
    }

    /// When a running workload should end.
    fn end(&self, around: Around<'_>, request: &Request) -> Option<i64> {
        let started = started(request).unwrap_or(around.now_ms + STARTS_WITHIN_MS);
        Some(
            started
                .saturating_add(self.told(request)?)
                .saturating_sub(around.orders.done_ms(&request.id)),
        )
    }

    /// When the room of a running workload is there for a head: its end, or when it may be stopped for it. Who overran has left the plan; who may
    /// not be evicted is taken to run as long again as it has overrun.
    fn release(&self, around: Around<'_>, head: &WorkloadId, request: &Request) -> Option<i64> {
        let slice = around
            .orders
            .gives_way_from(head, &request.id, around.now_ms);
        let end = self.end(around, request).map(|end| {
            if end <= around.now_ms && !request.preemptible {
                around.now_ms + (around.now_ms - end).max(60_000)
            } else {
                end.max(around.now_ms)
            }
        });
        end.into_iter()
            .chain(slice.filter(|_| request.preemptible))
            .min()
    }

    /// What is free on nodes, and when what becomes free for a head.
    fn lines(
        &self,
        fleet: &Fleet,
        around: Around<'_>,
        head: &WorkloadId,
        places: &BTreeSet<&Place>,
    ) -> Lines<Place> {
        let mut ends: BTreeMap<Place, Vec<(i64, Amounts)>> = BTreeMap::new();
        for (id, room) in holders(fleet, places) {
            let at = around
                .book
                .get(&id)
                .and_then(|booked| self.release(around, head, &booked.request));
            for (place, amounts) in room {
                if let Some(at) = at {
                    ends.entry(place).or_default().push((at, amounts));
                }
            }
        }
        let line = |place: &&Place| {
            let free = fleet
                .target(place.0.as_str())?
                .node(place.1.as_str())?
                .free
                .clone();
            Some((
                (*place).clone(),
                Line::new(free, ends.get(*place).cloned().unwrap_or_default()),
            ))
        };
        places.iter().filter_map(line).collect()
    }

    /// The earliest start of a head and the room that it takes then, beside what is held for others.
    fn earliest(
        &mut self,
        fleet: &mut Fleet,
        around: Around<'_>,
        needs: &Needs<'_>,
        queue: QueueId,
    ) -> Option<(i64, Room<Place>)> {
        self.open(fleet);
        if !around.book.knows_ends() && !around.orders.slices(&needs.request.id) {
            // Nobody is known to leave.
            return None;
        }
        let others: Vec<(WorkloadId, Room<Place>)> = self
            .promises
            .iter()
            .filter(|(other, _)| **other != queue)
            .map(|(_, promise)| (promise.head.clone(), promise.room.clone()))
            .collect();
        for (head, room) in &others {
            self.stand_in(fleet, head.as_str(), room);
        }
        let tiers = needs.tiers(fleet, around.now_ms);
        let mut ids: BTreeSet<WorkloadId> = BTreeSet::new();
        for target in tiers
            .iter()
            .flatten()
            .filter_map(|name| fleet.target(name.as_str()))
        {
            let there = target
                .holds()
                .filter(|(_, hold)| hold.passed_on.is_empty() && !hold.claimed.is_empty());
            ids.extend(there.map(|(id, _)| id.clone()));
        }
        let head = &needs.request.id;
        let mut ends: Vec<(i64, WorkloadId)> = ids
            .into_iter()
            .filter_map(|id| {
                Some((
                    self.release(around, head, &around.book.get(&id)?.request)?,
                    id,
                ))
            })
            .collect();
        ends.sort();
        let mut gone = 0;
        let mut at = |fleet: &mut Fleet, count: usize| -> Option<Room<Place>> {
            while gone < count {
                hand_on(fleet, &ends[gone].1, true);
                gone += 1;
            }
            while gone > count {
                gone -= 1;
                hand_on(fleet, &ends[gone].1, false);
            }
            let draft = draft::draft(fleet, needs, false, around.now_ms);
            (!draft.added.is_empty()).then(|| room_of(fleet, needs, &draft))
        };
        let (mut low, mut high) = (0, ends.len());
        let mut best = at(fleet, high);
        while best.is_some() && low < high {
            let middle = usize::midpoint(low, high);
            if let Some(room) = at(fleet, middle) {
                best = Some(room);
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        at(fleet, 0);
        self.open(fleet);
        let start = high
            .checked_sub(1)
            .map_or(around.now_ms, |last| ends[last].0);
        Some((start, best?))
    }

    fn stand_in(&mut self, fleet: &mut Fleet, name: &str, room: &Room<Place>) {
        // No object has such a name.
        let id = WorkloadId::from(format!("held for {name}"));
        let targets = stand_in::put(fleet, &id, room);
        let placed = targets.into_iter().map(|target| (id.clone(), target));
        self.stand_ins.extend(placed);
    }
}

/// What becomes possible where a promise holds nothing any more.
fn held(fleet: &Fleet, promise: &Promise<WorkloadId, Place>) -> Event {
    let numbers = promise.room.values().flat_map(Amounts::positive);
    let names = numbers.map(|number| fleet.resources().name(number).to_owned());
    Event::freed(names.collect())
}

/// The room on the nodes with the least running work that would hold a head if they were empty.
fn least_work(fleet: &mut Fleet, around: Around<'_>, needs: &Needs<'_>) -> Option<Room<Place>> {
    let tiers = needs.tiers(fleet, around.now_ms);
    let mut work: BTreeMap<Place, (i128, BTreeSet<WorkloadId>)> = BTreeMap::new();
    for name in tiers.iter().flatten() {
        let Some(target) = fleet.target(name.as_str()) else {
            continue;
        };
        for node in target.nodes() {
            work.entry((name.clone(), node.name().clone())).or_default();
        }
        for (id, hold) in target.holds().filter(|(_, hold)| hold.passed_on.is_empty()) {
            let since = around
                .book
                .get(id)
                .and_then(|booked| started(&booked.request));
            let ran = i128::from(around.now_ms - since.unwrap_or(around.now_ms));
            for share in &hold.claimed {
                let main = share.demand.iter().map(|(number, amount)| {
                    let counts = is_extended(fleet.resources().name(number));
                    if counts { i128::from(amount) } else { 0 }
                });
                let size = main.sum::<i128>().max(1) * i128::from(share.pods);
                let there = work.entry((name.clone(), share.node.clone())).or_default();
                there.0 += size * ran;
                there.1.insert(id.clone());
            }
        }
    }
    let mut nodes: Vec<(i128, Place, BTreeSet<WorkloadId>)> = work
        .into_iter()
        .map(|(place, (work, ids))| (work, place, ids))
        .collect();
    nodes.sort();
    let mut gone: BTreeSet<WorkloadId> = BTreeSet::new();
    let mut found = None;
    for (_, _, ids) in nodes.into_iter().filter(|(_, _, ids)| !ids.is_empty()) {
        for id in ids {
            if gone.insert(id.clone()) {
                hand_on(fleet, &id, true);
            }
        }
        let draft = draft::draft(fleet, needs, false, around.now_ms);
        if !draft.added.is_empty() {
            found = Some(room_of(fleet, needs, &draft));
            break;
        }
    }
    for id in &gone {
        hand_on(fleet, id, false);
    }
    found
}

fn started(request: &Request) -> Option<i64> {
    let parts = request.current.iter().filter(|part| !part.evicting);
    parts.filter_map(|part| part.started_ms).min()
}

fn holds_on(fleet: &Fleet, id: &WorkloadId, target: &TargetName, node: &NodeName) -> bool {
    let hold = fleet
        .target(target.as_str())
        .and_then(|target| target.held(id));
    hold.is_some_and(|hold| hold.claimed.iter().any(|share| share.node == *node))
}

/// Who has what on these nodes and is not giving it up already.
fn holders(fleet: &Fleet, places: &BTreeSet<&Place>) -> BTreeMap<WorkloadId, Room<Place>> {
    let mut there: BTreeSet<(&TargetName, &WorkloadId)> = BTreeSet::new();
    for (name, node) in places {
        let target = fleet.target(name.as_str());
        let ids = target.map_or(&[][..], |target| target.claimants(node));
        there.extend(ids.iter().map(|id| (name, id)));
    }
    let mut found: BTreeMap<WorkloadId, Room<Place>> = BTreeMap::new();
    for (name, id) in there {
        let hold = fleet
            .target(name.as_str())
            .and_then(|target| target.held(id));
        let Some(hold) = hold.filter(|hold| hold.passed_on.is_empty()) else {
            continue;
        };
        for share in &hold.claimed {
            let place = (name.clone(), share.node.clone());
            if places.contains(&place) {
                let room = found.entry(id.clone()).or_default();
                let amounts = room.entry(place).or_default();
                amounts.add(&share.demand, share.pods);
            }
        }
    }
    found
}
