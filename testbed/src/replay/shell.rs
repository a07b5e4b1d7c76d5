//! The planner of the live scheduler in virtual time, with what the shell and the agents do around it and nothing else: an event wakes whom
//! `Planner::wake` names, who gives way is gone at once and asks again, and who starts is reported as running.
//!
//! ```text
//! submit, end -> look, event -> cycle(now): wake -> Planner::plan -> Decisions -> Steps (start, stop) -> back to the planner
//! ```

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::InventoryStatus;
use scheduler::fleet::{Event, Fleet, TargetName, TargetState, WorkloadId};
use scheduler::plan::{Change, Current, Decision, Outcome, Planner, Request};

/// Replanning what a decision has set free comes to rest long before this.
const MOST_ROUNDS: usize = 1_000;

/// The live planner and its fleet.
#[derive(Clone, Debug)]
pub struct Shell {
    planner: Planner,
    fleet: Fleet,
    requests: BTreeMap<WorkloadId, Request>,
    /// To be planned in the next cycle.
    look: BTreeSet<WorkloadId>,
    event: Event,
    /// Whom time alone may help, both ways.
    wakes: BTreeMap<WorkloadId, i64>,
    by_time: BTreeSet<(i64, WorkloadId)>,
    /// When each one that runs was started.
    began: BTreeMap<WorkloadId, i64>,
    /// Who has been stopped once: it starts with a restart.
    stopped: BTreeSet<WorkloadId>,
    restart_ms: i64,
    planned: u64,
    promised_ms: BTreeMap<WorkloadId, i64>,
}

/// What a decision does to a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It runs from now on, where its request says.
    Start(WorkloadId),
    /// It gave way and waits again.
    Stop(WorkloadId),
}

impl Shell {
    /// A planner that has been told its queues, and a fleet where nothing runs. A start after a stop does no work for so long.
    pub fn new(planner: Planner, fleet: Fleet, restart_ms: i64) -> Self {
        Self {
            planner,
            fleet,
            requests: BTreeMap::new(),
            look: BTreeSet::new(),
            event: Event::nothing(),
            wakes: BTreeMap::new(),
            by_time: BTreeSet::new(),
            began: BTreeMap::new(),
            stopped: BTreeSet::new(),
            restart_ms,
            planned: 0,
            promised_ms: BTreeMap::new(),
        }
    }

    /// A workload arrives.
    pub fn submit(&mut self, request: Request) {
        self.look.insert(request.id.clone());
        self.requests.insert(request.id.clone(), request);
    }

    /// A workload that runs already, where its `current` says.
    pub fn adopt(&mut self, request: Request) {
        self.planner.adopt(&mut self.fleet, &request);
        self.requests.insert(request.id.clone(), request);
    }

    /// A workload has ended, or is gone.
    pub fn end(&mut self, id: &WorkloadId) {
        self.event.merge(self.fleet.release_all(id));
        self.event.merge(self.planner.forget(id));
        self.requests.remove(id);
        self.look.remove(id);
        self.sleep(id);
        self.began.remove(id);
        self.stopped.remove(id);
    }

    /// Plans whom something has happened to, and whom that helps, until it comes to rest.
    pub fn cycle(&mut self, now_ms: i64) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some((at, _)) = self.by_time.first()
            && *at <= now_ms
            && let Some((_, id)) = self.by_time.pop_first()
        {
            self.wakes.remove(&id);
            self.look.insert(id);
        }
        for _ in 0..MOST_ROUNDS {
            let event = std::mem::replace(&mut self.event, Event::nothing());
            if !event.is_nothing() {
                self.look.extend(self.planner.wake(&event));
            }
            if self.look.is_empty() {
                break;
            }
            self.round(now_ms, &mut steps);
        }
        steps
    }

    /// Plans everybody again in the next cycle, though nothing has happened.
    pub fn look_at_all(&mut self) {
        self.look.extend(self.requests.keys().cloned());
    }

    /// The next time at which a cycle is due although nothing happens.
    pub fn next_wake_ms(&self) -> Option<i64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// A workload as it stands.
    pub fn request(&self, id: &WorkloadId) -> Option<&Request> {
        self.requests.get(id)
    }

    /// The fleet with what is reserved on it.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Requests that were planned.
    pub fn planned(&self) -> u64 {
        self.planned
    }

    /// The first start that each workload was promised.
    pub fn promised_ms(&self) -> &BTreeMap<WorkloadId, i64> {
        &self.promised_ms
    }

    fn round(&mut self, now_ms: i64, steps: &mut Vec<Step>) {
        let asked: Vec<Request> = std::mem::take(&mut self.look)
            .iter()
            .filter_map(|id| self.requests.remove(id))
            .collect();
        self.planned += asked.len() as u64;
        let (decisions, report) = self.planner.plan(&mut self.fleet, &asked, now_ms);
        self.event.merge(report.freed);
        for request in asked {
            self.sleep(&request.id);
            self.requests.insert(request.id.clone(), request);
        }
        for (id, at) in report.wake_ms {
            self.sleep(&id);
            self.by_time.insert((at, id.clone()));
            self.wakes.insert(id, at);
        }
        // Who gives way goes first, so that its room is free for the claimant.
        let (go, rest): (Vec<_>, Vec<_>) = decisions
            .iter()
            .partition(|decision| !decision.leaving.is_empty());
        for decision in go.into_iter().chain(rest) {
            self.take(decision, now_ms, steps);
        }
    }

    /// Takes a decision over.
    fn take(&mut self, decision: &Decision, now_ms: i64, steps: &mut Vec<Step>) {
        let Some(request) = self.requests.get_mut(&decision.id) else {
            return;
        };
        request.epoch = decision.epoch;
        if decision.outcome == Outcome::Wait
            && let Some(start) = self.planner.promised_ms(&decision.id)
        {
            self.promised_ms.entry(decision.id.clone()).or_insert(start);
        }
        if decision
            .leaving
            .iter()
            .any(|part| part.step == scheduler::plan::Step::Now)
        {
            request.current.clear();
            // A start that is taken back before anything ran is none.
            if self.began.remove(&decision.id) != Some(now_ms) {
                self.stopped.insert(decision.id.clone());
            }
            self.look.insert(decision.id.clone());
            steps.push(Step::Stop(decision.id.clone()));
            return;
        }
        if decision.parts.iter().any(|part| part.change == Change::New) {
            let again = self.stopped.contains(&decision.id);
            let useful_ms = now_ms + if again { self.restart_ms } else { 0 };
            request.current = decision
                .parts
                .iter()
                .map(|part| Current {
                    started: true,
                    healthy: true,
                    started_ms: Some(useful_ms),
                    ..part.decided()
                })
                .collect();
            self.planner.adopt(&mut self.fleet, request);
            self.began.insert(decision.id.clone(), now_ms);
            steps.push(Step::Start(decision.id.clone()));
        }
    }

    fn sleep(&mut self, id: &WorkloadId) {
        if let Some(at) = self.wakes.remove(id) {
            self.by_time.remove(&(at, id.clone()));
        }
    }
}

/// Adds a cluster that takes everything.
pub fn add_cluster(fleet: &mut Fleet, name: &str, status: &InventoryStatus) {
    let name = TargetName::from(name);
    fleet.set_inventory(&name, status);
    fleet.serve_everything(&name);
    fleet.set_target(
        &name,
        std::iter::empty().collect(),
        Vec::new(),
        TargetState::Ready,
        0,
    );
}
