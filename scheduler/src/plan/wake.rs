//! Who waits for what, so that an event wakes those whom it may help and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::Strategy;

use super::{Decision, Request, Step};
use crate::fleet::{Event, WorkloadId};

/// Index of workloads that want more than they have, by the resources that they lack.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// Everybody in the index, with what they lack.
    lacks: BTreeMap<WorkloadId, BTreeSet<String>>,
    /// Workloads by resource.
    by_resource: BTreeMap<String, BTreeSet<WorkloadId>>,
}

impl Waiting {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a decision: who is content leaves the index.
    pub fn note(&mut self, request: &Request, decision: &Decision) {
        self.forget(&decision.id);
        let stuck = decision.leaving.iter().any(|one| one.step == Step::Stuck);
        let wants_more = decision.explanation.reason.is_some()
            || stuck
            || request.strategy == Strategy::Duplicate;
        if request.finished || !wants_more {
            return;
        }
        for resource in &decision.lacks {
            self.by_resource
                .entry(resource.clone())
                .or_default()
                .insert(decision.id.clone());
        }
        self.lacks
            .insert(decision.id.clone(), decision.lacks.clone());
    }

    /// Takes a workload out, because it is gone.
    pub fn forget(&mut self, id: &WorkloadId) {
        for resource in self.lacks.remove(id).unwrap_or_default() {
            if let Some(ids) = self.by_resource.get_mut(&resource) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_resource.remove(&resource);
                }
            }
        }
    }

    /// Those whom an event may help. (Who has a part on one of `event.targets` must be planned too; the caller knows them.)
    pub fn wake(&self, event: &Event) -> BTreeSet<WorkloadId> {
        if event.all || !event.targets.is_empty() {
            return self.lacks.keys().cloned().collect();
        }
        event
            .freed
            .iter()
            .filter_map(|resource| self.by_resource.get(resource))
            .flatten()
            .cloned()
            .collect()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lacks.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.lacks.is_empty()
    }
}
