//! The one door through which anything changes in the fleet and the planner, so that all of it can be written down.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::InventoryStatus;
use placement_api::selector::{LabelSelector, Labels};
use placement_api::toleration::Taint;

use super::digest::Made;
use crate::fleet::{Event, Fleet, Rates, TargetName, TargetState, WorkloadId};
use crate::plan::{self, Decision, Memory, Planner, Policy, Report, Request};
use crate::shares::{QueueSpec, QueueTree};

/// Times that [`Core::plan_all`] looks at those whom its own decisions woke, as the live scheduler does.
const MOST_WAKES: usize = 8;

/// The fleet and the planner. Reading is free; whatever changes them is a method here, and a [`Step`] where it is recorded.
#[derive(Clone, Debug, Default)]
pub struct Core {
    fleet: Fleet,
    planner: Planner,
    steps: Option<Vec<Step>>,
}

/// One thing that went in; of a plan also what came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// [`Core::set_target`].
    Target {
        /// Target.
        name: TargetName,
        /// Labels.
        labels: Labels,
        /// Taints.
        taints: Vec<Taint>,
        /// How it stands.
        state: TargetState,
        /// Last renewal of its lease, ms since 1970.
        contact_ms: i64,
    },
    /// [`Core::remove_target`].
    TargetGone(TargetName),
    /// [`Core::set_inventory`].
    Inventory(TargetName, Box<InventoryStatus>),
    /// [`Core::serve_everything`].
    ServesAll(TargetName),
    /// [`Core::set_locations`].
    Locations(BTreeMap<String, LabelSelector>),
    /// [`Core::set_rates`].
    Rates(TargetName, Rates),
    /// [`Core::set_location_rates`].
    LocationRates(BTreeMap<String, Rates>),
    /// [`Core::set_levels`].
    Levels(Vec<String>),
    /// [`Core::set_policy`].
    Policy(Policy),
    /// [`Core::set_queues`].
    Queues(Vec<QueueSpec>),
    /// [`Core::remember`].
    Memory(Memory),
    /// [`Core::adopt`].
    Adopt(Box<Request>),
    /// [`Core::plan`].
    Plan {
        /// Who was asked about.
        requests: Vec<Request>,
        /// When, ms since 1970.
        now_ms: i64,
        /// What came out.
        made: Made,
    },
    /// [`Core::refused`].
    Refused(TargetName, i64),
    /// [`Core::release`].
    Release(WorkloadId, TargetName),
    /// [`Core::release_all`].
    ReleaseAll(WorkloadId),
    /// [`Core::forget`].
    Forget(WorkloadId),
}

impl Core {
    /// An empty fleet, and a planner that knows nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes down what happens from now on; [`Core::take_steps`] hands it out. Only what begins with an empty core can be
    /// replayed.
    pub fn record(&mut self) {
        self.steps.get_or_insert_default();
    }

    /// Ends writing down.
    pub fn stop_recording(&mut self) {
        self.steps = None;
    }

    /// What has happened since this was asked last.
    pub fn take_steps(&mut self) -> Vec<Step> {
        self.steps.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The planner.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// See [`Fleet::set_target`].
    pub fn set_target(
        &mut self,
        name: &TargetName,
        labels: Labels,
        taints: Vec<Taint>,
        state: TargetState,
        contact_ms: i64,
    ) -> Event {
        self.note(|| Step::Target {
            name: name.clone(),
            labels: labels.clone(),
            taints: taints.clone(),
            state,
            contact_ms,
        });
        self.fleet
            .set_target(name, labels, taints, state, contact_ms)
    }

    /// See [`Fleet::remove_target`].
    pub fn remove_target(&mut self, name: &TargetName) -> Event {
        self.note(|| Step::TargetGone(name.clone()));
        self.fleet.remove_target(name)
    }

    /// See [`Fleet::set_inventory`].
    pub fn set_inventory(&mut self, name: &TargetName, status: &InventoryStatus) -> Event {
        self.note(|| Step::Inventory(name.clone(), Box::new(status.clone())));
        self.fleet.set_inventory(name, status)
    }

    /// See [`Fleet::serve_everything`].
    pub fn serve_everything(&mut self, name: &TargetName) {
        self.note(|| Step::ServesAll(name.clone()));
        self.fleet.serve_everything(name);
    }

    /// See [`Fleet::set_locations`].
    pub fn set_locations(&mut self, locations: BTreeMap<String, LabelSelector>) -> Event {
        self.note(|| Step::Locations(locations.clone()));
        self.fleet.set_locations(locations)
    }

    /// See [`Fleet::set_rates`].
    pub fn set_rates(&mut self, name: &TargetName, rates: Rates) {
        if self.fleet.said_of(name).is_some_and(|said| *said != rates) {
            self.note(|| Step::Rates(name.clone(), rates.clone()));
            self.fleet.set_rates(name, rates);
        }
    }

    /// See [`Fleet::set_location_rates`].
    pub fn set_location_rates(&mut self, mut rates: BTreeMap<String, Rates>) {
        rates.retain(|_, one| !one.is_empty());
        if *self.fleet.said_of_locations() != rates {
            self.note(|| Step::LocationRates(rates.clone()));
            self.fleet.set_location_rates(rates);
        }
    }

    /// See [`Fleet::set_levels`].
    pub fn set_levels(&mut self, levels: Vec<String>) -> Event {
        self.note(|| Step::Levels(levels.clone()));
        self.fleet.set_levels(levels)
    }

    /// See [`Planner::set_policy`].
    pub fn set_policy(&mut self, policy: Policy) {
        self.note(|| Step::Policy(policy.clone()));
        self.planner.set_policy(policy);
    }

    /// The tree of these queues: see [`Planner::set_queues`].
    pub fn set_queues(&mut self, specs: Vec<QueueSpec>) {
        self.note(|| Step::Queues(specs.clone()));
        let (tree, _) = QueueTree::new(specs);
        self.planner.set_queues(tree);
    }

    /// See [`Planner::remember`].
    pub fn remember(&mut self, memory: Memory) {
        self.planner.remember(&memory);
        self.note(|| Step::Memory(memory));
    }

    /// See [`Planner::adopt`].
    pub fn adopt(&mut self, request: &Request) {
        self.note(|| Step::Adopt(Box::new(request.clone())));
        self.planner.adopt(&mut self.fleet, request);
    }

    /// See [`Planner::plan`].
    pub fn plan(&mut self, requests: &[Request], now_ms: i64) -> (Vec<Decision>, Report) {
        let (decisions, report) = self.planner.plan(&mut self.fleet, requests, now_ms);
        if let Some(steps) = &mut self.steps {
            steps.push(Step::Plan {
                requests: requests.to_vec(),
                now_ms,
                made: Made::of(&decisions, &report),
            });
        }
        (decisions, report)
    }

    /// See [`Planner::refused`].
    pub fn refused(&mut self, target: &TargetName, now_ms: i64) {
        self.note(|| Step::Refused(target.clone(), now_ms));
        self.planner.refused(target, now_ms);
    }

    /// See [`Fleet::release`].
    pub fn release(&mut self, id: &WorkloadId, target: &TargetName) -> Event {
        self.note(|| Step::Release(id.clone(), target.clone()));
        self.fleet.release(id, target)
    }

    /// See [`Fleet::release_all`].
    pub fn release_all(&mut self, id: &WorkloadId) -> Event {
        self.note(|| Step::ReleaseAll(id.clone()));
        self.fleet.release_all(id)
    }

    /// See [`Planner::forget`].
    pub fn forget(&mut self, id: &WorkloadId) -> Event {
        self.note(|| Step::Forget(id.clone()));
        self.planner.forget(id)
    }

    /// See [`Planner::wake`].
    pub fn wake(&self, event: &Event) -> BTreeSet<WorkloadId> {
        self.planner.wake(event)
    }

    /// Plans everybody, and again whom that may have helped, at one moment.
    pub fn plan_all(
        &mut self,
        requests: &BTreeMap<WorkloadId, Request>,
        now_ms: i64,
    ) -> BTreeMap<WorkloadId, Decision> {
        let mut decisions: BTreeMap<WorkloadId, Decision> = BTreeMap::new();
        let mut ids: BTreeSet<WorkloadId> = requests.keys().cloned().collect();
        for _ in 0..MOST_WAKES {
            let asked: Vec<Request> = ids
                .iter()
                .filter_map(|id| requests.get(id).cloned())
                .collect();
            if asked.is_empty() {
                break;
            }
            let (made, report) = self.plan(&asked, now_ms);
            decisions.extend(made.into_iter().map(|one| (one.id.clone(), one)));
            ids = self.wake(&report.freed);
            // No time passes, so only what is due already rings.
            let due = report.wake_ms.iter().filter(|(_, at)| **at <= now_ms);
            ids.extend(due.map(|(id, _)| id.clone()));
            // Who has a place, or has just lost it, waits for what happens then.
            ids.retain(|id| {
                decisions
                    .get(id)
                    .is_none_or(|made| made.parts.is_empty() && made.leaving.is_empty())
            });
        }
        decisions
    }

    /// From here on the reports stand still, and what ends gives back its room by itself: to look ahead in time.
    pub(crate) fn freeze(&mut self, requests: &BTreeMap<WorkloadId, Request>) {
        for request in requests.values() {
            for part in &request.current {
                let shares = plan::whereabouts(&mut self.fleet, &part.target, request);
                self.fleet.uncount(&request.id, &part.target, shares);
            }
        }
    }

    /// Does again what was recorded. Of a plan it returns what comes out now.
    pub fn redo(&mut self, step: Step) -> Option<Made> {
        match step {
            Step::Target {
                name,
                labels,
                taints,
                state,
                contact_ms,
            } => {
                self.set_target(&name, labels, taints, state, contact_ms);
            }
            Step::TargetGone(name) => {
                self.remove_target(&name);
            }
            Step::Inventory(name, status) => {
                self.set_inventory(&name, &status);
            }
            Step::ServesAll(name) => self.serve_everything(&name),
            Step::Locations(locations) => {
                self.set_locations(locations);
            }
            Step::Rates(name, rates) => self.set_rates(&name, rates),
            Step::LocationRates(rates) => self.set_location_rates(rates),
            Step::Memory(memory) => self.remember(memory),
            Step::Levels(levels) => {
                self.set_levels(levels);
            }
            Step::Policy(policy) => self.set_policy(policy),
            Step::Queues(specs) => self.set_queues(specs),
            Step::Adopt(request) => self.adopt(&request),
            Step::Plan {
                requests, now_ms, ..
            } => {
                let (decisions, report) = self.plan(&requests, now_ms);
                return Some(Made::of(&decisions, &report));
            }
            Step::Refused(target, now_ms) => self.refused(&target, now_ms),
            Step::Release(id, target) => {
                self.release(&id, &target);
            }
            Step::ReleaseAll(id) => {
                self.release_all(&id);
            }
            Step::Forget(id) => {
                self.forget(&id);
            }
        }
        None
    }

    fn note(&mut self, step: impl FnOnce() -> Step) {
        if let Some(steps) = &mut self.steps {
            steps.push(step());
        }
    }
}
