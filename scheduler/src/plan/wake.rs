//! Who waits for what, so that an event wakes those whom it may help and nobody else.
//!
//! Workloads that are alike in everything that is decided by stand in one line: where the first of them finds nothing, the others find
//! nothing either. So of each line the first is woken, and when it has its place the planner goes on with the next ([`Waiting::next`]).
//! What an event costs is how many sorts of work wait, not how much.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::Strategy;

use super::{Decision, Request, Step};
use crate::fleet::{Event, WorkloadId};
use crate::shares::QueueId;

/// Index of workloads that want more than they have, by the resources that they lack.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// Everybody in the index: the line, and the place in it.
    places: BTreeMap<WorkloadId, (usize, i64)>,
    lines: Vec<Line>,
    unused: Vec<usize>,
    /// Lines that may be joined, by what tells most of them apart.
    by_sort: BTreeMap<Sort, Vec<usize>>,
    /// Lines by resource.
    by_resource: BTreeMap<String, BTreeSet<usize>>,
}

/// Workloads that are alike, the oldest first.
#[derive(Clone, Debug, Default)]
struct Line {
    /// What they ask, without names and times; absent: one workload that nobody is like.
    asks: Option<Request>,
    members: BTreeSet<(i64, WorkloadId)>,
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
        self.note_in(request, decision, request.is_plain(), None);
    }

    /// The same; `alike`: whether it stands in a line with others; `refused`: what keeps it and its like from starting anywhere.
    pub(super) fn note_in(
        &mut self,
        request: &Request,
        decision: &Decision,
        alike: bool,
        refused: Option<Refused>,
    ) {
        let stuck = decision.leaving.iter().any(|one| one.step == Step::Stuck);
        let wants_more = decision.explanation.reason.is_some()
            || stuck
            || request.strategy == Strategy::Duplicate;
        if request.finished || !wants_more {
            self.forget(&decision.id);
            return;
        }
        let asks = alike.then(|| request.nameless());
        let here = self
            .places
            .get(&decision.id)
            .filter(|(line, age)| {
                *age == request.submitted_ms && asks.is_some() && self.lines[*line].asks == asks
            })
            .map(|(line, _)| *line);
        let line = here.unwrap_or_else(|| {
            self.forget(&decision.id);
            self.join(&decision.id, request.submitted_ms, asks)
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
    }

    /// Takes a workload out, because it is gone.
    pub fn forget(&mut self, id: &WorkloadId) {
        let Some((number, age)) = self.places.remove(id) else {
            return;
        };
        let line = &mut self.lines[number];
        line.members.remove(&(age, id.clone()));
        if !line.members.is_empty() {
            return;
        }
        let line = std::mem::take(line);
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
                let (_, id) = line.members.first()?;
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
        let mut others = self.lines[*line].members.iter().map(|(_, other)| other);
        others.find(|other| *other != id)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn join(&mut self, id: &WorkloadId, age: i64, asks: Option<Request>) -> usize {
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
        self.lines[number].members.insert((age, id.clone()));
        self.places.insert(id.clone(), (number, age));
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
            && !self.topology.as_ref().is_some_and(relaxes)
    }

    /// What it asks, without names and times.
    pub(super) fn nameless(&self) -> Self {
        Self {
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
