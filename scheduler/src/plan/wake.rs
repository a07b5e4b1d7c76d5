//! Who waits for what, so that an event wakes those whom it may help and nobody else.
//!
//! Workloads that are alike in everything that is decided by stand in one line, in the order of their queue: where the first of them finds
//! nothing, the others find nothing either. So of each line the first is woken, and when it has its place the planner goes on with the next
//! ([`Waiting::next`]). What an event costs is how many sorts of work wait, not how much.
//!
//! Where the order goes by run time, who runs long and who runs short stand in the same line. Then one thing may let somebody pass who
//! stands behind: a promise that he would not be in the way of. Nobody is in the way less than the shortest ([`Waiting::shortest`]).

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::Strategy;

use super::members::Members;
use super::order::{Pace, Times, Turn};
use super::{Decision, Request, Step};
use crate::fleet::{Event, WorkloadId};
use crate::shares::QueueId;

/// Index of workloads that want more than they have, by the resources that they lack.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// Everybody in the index: the line, and the place in it.
    places: BTreeMap<WorkloadId, (usize, Seat)>,
    lines: Vec<Line>,
    unused: Vec<usize>,
    /// Lines that may be joined, by what tells most of them apart.
    by_sort: BTreeMap<Sort, Vec<usize>>,
    /// Lines by resource.
    by_resource: BTreeMap<String, BTreeSet<usize>>,
    /// What laxities are computed with in queues that go by them, and the lines there.
    paces: BTreeMap<QueueId, Pace>,
    drifting: BTreeMap<QueueId, BTreeSet<usize>>,
}

/// Where a workload stands in its line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat {
    /// Whose turn it is in its queue, where that has an order of its own.
    pub(super) turn: Option<Turn>,
    /// What its turn is computed from beside that in its queue, where that changes with time.
    pub(super) drifts: Option<(QueueId, Times)>,
    /// Its age.
    pub(super) submitted_ms: i64,
    /// What is left of its run time, where those who run longer may stand in the same line.
    pub(super) left_ms: Option<i64>,
}

/// Workloads that are alike, in their order.
#[derive(Clone, Debug, Default)]
struct Line {
    /// What they ask, without names and times; absent: one workload that nobody is like.
    asks: Option<Request>,
    members: Members,
    /// Those of whom it is known what is left of them, the shortest first.
    short: BTreeSet<(i64, Seat, WorkloadId)>,
    /// What one of them lacked.
    lacks: BTreeSet<String>,
    refused: Option<Refused>,
}

/// A limit is in the way, whatever is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The queue whose limit it is.
    pub(super) queue: QueueId,
    /// Who was told when somebody may be asked to give way; it is planned again then.
    pub(super) timed: Option<WorkloadId>,
}

/// Queue, priority, and pods by role with what they request.
type Sort = (String, i32, Vec<(i64, Vec<(String, i64)>)>);

impl Waiting {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a decision: who is content leaves the index. Others like it are served before or after it by their age.
    pub fn note(&mut self, request: &Request, decision: &Decision) {
        let seat = Seat {
            submitted_ms: request.submitted_ms,
            ..Seat::default()
        };
        self.note_in(request, decision, request.is_plain().then_some(seat), None);
    }

    /// The same. `seat`: where it stands in a line with others, if it does; `refused`: what keeps it and its like from starting anywhere.
    /// Says what those wait for who may be the first of a line now and were not looked at.
    pub(super) fn note_in(
        &mut self,
        request: &Request,
        decision: &Decision,
        seat: Option<Seat>,
        refused: Option<Refused>,
    ) -> Event {
        let stuck = decision.leaving.iter().any(|one| one.step == Step::Stuck);
        let wants_more = decision.explanation.reason.is_some()
            || stuck
            || request.strategy == Strategy::Duplicate;
        if request.finished || !wants_more {
            self.leave(&decision.id);
            // Who has its place lets the next one follow.
            return Event::nothing();
        }
        let asks = seat.map(|seat| request.nameless(seat.left_ms.is_some()));
        let seat = seat.unwrap_or_default();
        let here = self
            .places
            .get(&decision.id)
            .filter(|(line, place)| {
                *place == seat && asks.is_some() && self.lines[*line].asks == asks
            })
            .map(|(line, _)| *line);
        let mut opened = Event::nothing();
        let line = here.unwrap_or_else(|| {
            opened = self.forget(&decision.id);
            self.join(&decision.id, seat, asks)
        });
        self.lines[line].refused = refused;
        for resource in &decision.lacks {
            if self.lines[line].lacks.insert(resource.clone()) {
                self.by_resource
                    .entry(resource.clone())
                    .or_default()
                    .insert(line);
            }
        }
        opened
    }

    /// Takes a workload out, because it is gone. Says what those wait for whose line it was the first of: nobody has looked at them for it.
    pub fn forget(&mut self, id: &WorkloadId) -> Event {
        let mut opened = Event::nothing();
        if let Some((number, _)) = self.places.get(id) {
            let line = &mut self.lines[*number];
            if line.members.first() == Some(id) && line.members.first_but(Some(id)).is_some() {
                opened = Event::freed(line.lacks.clone());
                line.refused = None;
            }
        }
        self.leave(id);
        opened
    }

    /// What helps those in the line of a workload.
    pub(super) fn lacked_by(&self, id: &WorkloadId) -> Event {
        match self.places.get(id) {
            Some((line, _)) => Event::freed(self.lines[*line].lacks.clone()),
            None => Event::nothing(),
        }
    }

    fn leave(&mut self, id: &WorkloadId) {
        let Some((number, seat)) = self.places.remove(id) else {
            return;
        };
        let line = &mut self.lines[number];
        line.members.remove(seat, id);
        if let Some(left) = seat.left_ms {
            line.short.remove(&(left, seat, id.clone()));
        }
        if !line.members.is_empty() {
            return;
        }
        let line = std::mem::take(line);
        if let Some((queue, _)) = seat.drifts {
            remove(&mut self.drifting, &queue, |lines| {
                lines.remove(&number);
                lines.is_empty()
            });
        }
        for resource in &line.lacks {
            remove(&mut self.by_resource, resource, |lines| {
                lines.remove(&number);
                lines.is_empty()
            });
        }
        if let Some(asks) = &line.asks {
            remove(&mut self.by_sort, &sort(asks), |lines| {
                lines.retain(|other| *other != number);
                lines.is_empty()
            });
        }
        self.unused.push(number);
    }

    /// It has another turn now. Says whether it is the first of its line.
    pub(super) fn reseat(
        &mut self,
        id: &WorkloadId,
        (turn, drifts): (Option<Turn>, Option<(QueueId, Times)>),
    ) -> bool {
        let Some((number, old)) = self.places.get(id).copied() else {
            return false;
        };
        let line = &mut self.lines[number];
        if line.asks.is_some() {
            let seat = Seat {
                turn,
                drifts,
                ..old
            };
            line.members.remove(old, id);
            if let Some((queue, _)) = old.drifts {
                // Queues may have other numbers now.
                remove(&mut self.drifting, &queue, |lines| {
                    lines.remove(&number);
                    lines.is_empty()
                });
            }
            let pace = drifts.and_then(|(queue, _)| self.paces.get(&queue));
            line.members.insert(seat, id, pace.copied());
            if let Some((queue, _)) = drifts {
                self.drifting.entry(queue).or_default().insert(number);
            }
            if let Some(left) = seat.left_ms {
                line.short.remove(&(left, old, id.clone()));
                line.short.insert((left, seat, id.clone()));
            }
            self.places.insert(id.clone(), (number, seat));
        }
        self.is_first(id)
    }

    /// Sets what laxities are computed with in queues that go by them: the order of who waits there changes with time.
    pub(super) fn set_paces(&mut self, paces: BTreeMap<QueueId, Pace>) {
        for (queue, pace) in &paces {
            for line in self.drifting.get(queue).into_iter().flatten() {
                self.lines[*line].members.set(*pace);
            }
        }
        self.paces = paces;
    }

    /// Who is first now in the line of a workload, where that changes with time and is somebody else.
    pub(super) fn now_before(&self, id: &WorkloadId) -> Option<&WorkloadId> {
        let (line, seat) = self.places.get(id)?;
        seat.drifts?;
        let first = self.lines[*line].members.first();
        first.filter(|first| *first != id)
    }

    /// Everybody in the index.
    pub(super) fn ids(&self) -> impl Iterator<Item = &WorkloadId> {
        self.places.keys()
    }

    /// Whether nobody stands before a workload in its line: for the others it is looked at what time brings.
    pub(super) fn is_first(&self, id: &WorkloadId) -> bool {
        self.places.get(id).is_none_or(|(line, _)| {
            let first = self.lines[*line].members.first();
            first.is_none_or(|first| first == id)
        })
    }

    /// What is left of a workload, where others in its line may have less, and of these who has the least and satisfies a condition.
    pub(super) fn shortest(
        &self,
        id: &WorkloadId,
        of: impl Fn(&WorkloadId) -> bool,
    ) -> Option<(i64, i64, &WorkloadId)> {
        let (line, seat) = self.places.get(id)?;
        let mine = seat.left_ms?;
        let mut others = self.lines[*line].short.iter();
        let (left, _, other) = others.find(|(_, _, other)| of(other))?;
        (*left < mine).then_some((mine, *left, other))
    }

    /// Those whom an event may help, of equal ones the first. (Who has a part on one of `event.targets` must be planned too; the caller
    /// knows them.)
    pub fn wake(&self, event: &Event) -> BTreeSet<WorkloadId> {
        self.wake_if(event, |_, _| true)
    }

    /// The same; whom a limit refuses only where `helps` says that it may be otherwise by now.
    pub(super) fn wake_if(
        &self,
        event: &Event,
        helps: impl Fn(&Refused, &WorkloadId) -> bool,
    ) -> BTreeSet<WorkloadId> {
        if event.all || !event.targets.is_empty() {
            return self.places.keys().cloned().collect();
        }
        let lines = event
            .freed
            .iter()
            .filter_map(|resource| self.by_resource.get(resource));
        let mut seen = BTreeSet::new();
        lines
            .flatten()
            .filter(|line| seen.insert(**line))
            .filter_map(|line| {
                let line = &self.lines[*line];
                let id = line.members.first()?;
                let woken = line.refused.as_ref().is_none_or(|by| helps(by, id));
                woken.then(|| id.clone())
            })
            .collect()
    }

    /// A limit refuses a workload and those in its line, as it did before one of them has started.
    pub(super) fn refuse(&mut self, id: &WorkloadId, refused: Refused) {
        if let Some((line, _)) = self.places.get(id) {
            self.lines[*line].refused = Some(refused);
        }
    }

    /// Who is next in the line of a workload that has just found its place.
    pub fn next(&self, id: &WorkloadId) -> Option<&WorkloadId> {
        let (line, _) = self.places.get(id)?;
        self.lines[*line].members.first_but(Some(id))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn join(&mut self, id: &WorkloadId, seat: Seat, asks: Option<Request>) -> usize {
        let key = asks.as_ref().map(sort);
        let known = key.as_ref().and_then(|key| self.by_sort.get(key));
        let open = known
            .into_iter()
            .flatten()
            .find(|line| self.lines[**line].asks == asks);
        let number = open.copied().unwrap_or_else(|| {
            let number = self.unused.pop().unwrap_or_else(|| {
                self.lines.push(Line::default());
                self.lines.len() - 1
            });
            self.lines[number].asks = asks;
            if let Some(key) = key {
                self.by_sort.entry(key).or_default().push(number);
            }
            number
        });
        let line = &mut self.lines[number];
        let pace = seat.drifts.and_then(|(queue, _)| self.paces.get(&queue));
        line.members.insert(seat, id, pace.copied());
        if let Some((queue, _)) = seat.drifts {
            self.drifting.entry(queue).or_default().insert(number);
        }
        if let Some(left) = seat.left_ms {
            line.short.insert((left, seat, id.clone()));
        }
        self.places.insert(id.clone(), (number, seat));
        number
    }
}

impl Request {
    /// Whether it is decided by nothing but what it asks and how old it is.
    pub(super) fn is_plain(&self) -> bool {
        let relaxes = |topology: &super::Closeness| topology.relax_after_ms.is_some();
        self.current.is_empty()
            && self.avoid.is_empty()
            && self.blocked.is_none()
            && !self.suspended
            && !self.names_claims()
            && !self.topology.as_ref().is_some_and(relaxes)
    }

    /// Whether its pods name claims: what these cost it depends on who has them.
    fn names_claims(&self) -> bool {
        let mut claims = self.pod_sets.iter().flat_map(|set| &set.claims);
        claims.any(|claim| claim.shared.is_some())
    }

    /// What it asks, without names and times; `sized`: nor how long it runs.
    pub(super) fn nameless(&self, sized: bool) -> Self {
        Self {
            runtime_ms: self.runtime_ms.filter(|_| !sized),
            checkpoint_ms: None,
            id: WorkloadId::from(""),
            namespace: String::new(),
            name: String::new(),
            submitted_ms: 0,
            waits_since_ms: 0,
            epoch: 0,
            ..self.clone()
        }
    }
}

fn sort(asks: &Request) -> Sort {
    let role = |set: &super::PodSetRequest| {
        let amounts = set
            .requests
            .iter()
            .map(|(name, amount)| (name.to_owned(), amount));
        (set.count, amounts.collect())
    };
    (
        asks.queue.clone(),
        asks.priority,
        asks.pod_sets.iter().map(role).collect(),
    )
}

/// Changes an entry and removes it where that leaves nothing of it.
fn remove<K: Ord, V>(map: &mut BTreeMap<K, V>, key: &K, change: impl FnOnce(&mut V) -> bool) {
    if map.get_mut(key).is_some_and(change) {
        map.remove(key);
    }
}
