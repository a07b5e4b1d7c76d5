//! The rounds: plan, take in what was decided as if all of it had happened, plan again.
//!
//! Between two rounds no time passes, but what was written is confirmed: who was to leave is gone, what is new is healthy.

use std::collections::BTreeMap;
use std::fmt;

use placement_api::reason::Reason;

use super::outcome::{Evicted, Moved, Outcome, Pending, Placed, Round};
use super::{Scenario, build, invariants, laws, metrics, planner, words};
use crate::fleet::{Fleet, Hold, TargetName, TargetState, WorkloadId};
use crate::plan::{self, Current, Decision, Part, Request};
use crate::record::{Core, Step};
use crate::whatif::{View, happens, staying};

/// An invariant of the planner does not hold: a mistake of ours, not of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Round, from 1.
    pub round: usize,
    /// Which one, and what was found.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "internal error in round {}: {}; this is a mistake of Inhaul: please report it with the file",
            self.round, self.message
        )
    }
}

impl std::error::Error for Broken {}

/// The model between two rounds.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) core: Core,
    pub(super) requests: BTreeMap<WorkloadId, Request>,
    pub(super) now_ms: i64,
}

/// What a cycle decided: the last word on each workload.
pub(super) type Decisions = BTreeMap<WorkloadId, Decision>;

/// Plans all rounds of a scenario. `micros` reads a clock; it measures, it never decides.
///
/// # Errors
/// Where the planner breaks one of its own rules.
pub fn simulate(scenario: &Scenario, micros: &mut dyn FnMut() -> u64) -> Result<Outcome, Broken> {
    run(scenario, Core::new(), micros).map(|(outcome, _)| outcome)
}

/// The same, and every step of it, to be replayed.
///
/// # Errors
/// As [`simulate`].
pub fn recorded(
    scenario: &Scenario,
    micros: &mut dyn FnMut() -> u64,
) -> Result<(Outcome, Vec<Step>), Broken> {
    let mut core = Core::new();
    core.record();
    run(scenario, core, micros).map(|(outcome, mut core)| (outcome, core.take_steps()))
}

/// What the file says, ready to be planned.
pub fn view(scenario: &Scenario) -> View {
    let World { core, requests, .. } = World::begin(scenario, Core::new()).adopted();
    View {
        core,
        requests,
        queues: planner::queues(scenario),
        inventories: build::inventories(scenario),
        now_ms: scenario.now_ms,
    }
}

fn run(
    scenario: &Scenario,
    core: Core,
    micros: &mut dyn FnMut() -> u64,
) -> Result<(Outcome, Core), Broken> {
    let mut world = World::begin(scenario, core).adopted();
    let mut outcome = Outcome::default();
    let (mut decided, mut spent) = (0_u64, 0_u64);
    for number in 1..=usize::try_from(scenario.config.rounds).unwrap_or(1) {
        let broken = |message| Broken {
            round: number,
            message,
        };
        let round = world
            .round(scenario, &mut |cycle| {
                let begun = micros();
                let decisions = cycle();
                spent += micros().saturating_sub(begun);
                decided += decisions.len() as u64;
                decisions
            })
            .map_err(broken)?;
        outcome.rounds.push(round);
        invariants::budget(scenario, &outcome.rounds).map_err(broken)?;
    }
    if let Some(last) = outcome.rounds.last() {
        outcome.metrics = metrics::metrics(scenario, last);
    }
    outcome.metrics.cycles = outcome.rounds.len();
    outcome.metrics.decision_micros = spent / decided.max(1);
    Ok((outcome, world.core))
}

impl World {
    /// As the file says, and nothing is adopted yet.
    pub(super) fn begin(scenario: &Scenario, mut core: Core) -> Self {
        build::fleet(scenario, &mut core);
        planner::planner(scenario, &mut core);
        Self {
            core,
            requests: build::requests(scenario),
            now_ms: scenario.now_ms,
        }
    }

    /// What runs has its room.
    pub(super) fn adopted(mut self) -> Self {
        let running = self.requests.values();
        for request in running.filter(|one| !one.current.is_empty()) {
            self.core.adopt(request);
        }
        self
    }

    /// Plans everybody, and again whom that may have helped.
    pub(super) fn cycle(&mut self) -> Decisions {
        self.core.plan_all(&self.requests, self.now_ms)
    }

    /// One cycle, all that follows from it, and what must hold then. `measured` runs the cycle.
    pub(super) fn round(
        &mut self,
        scenario: &Scenario,
        measured: &mut dyn FnMut(&mut dyn FnMut() -> Decisions) -> Decisions,
    ) -> Result<Round, String> {
        let before = self.clone();
        let decisions = measured(&mut || self.cycle());
        let round = shown(scenario, &before, self, &decisions)?;
        invariants::deterministic(&before, &decisions)?;
        invariants::sound(scenario, &before, &round)?;
        laws::limits(scenario, &before, &round)?;
        laws::priority(&before, &decisions)?;
        self.settle(&decisions);
        // Who has given way may come back, and may give way again: that is a cause.
        let calm = round.evicted.is_empty() && round.moved.is_empty();
        if calm && !shrank(&before, &round) {
            laws::conserves(scenario, before.now_ms, &round)?;
            invariants::sticks(self)?;
        }
        Ok(round)
    }

    /// All that was decided has happened.
    pub(super) fn settle(&mut self, decisions: &Decisions) {
        let fleet = self.core.fleet();
        for (id, decision) in decisions {
            if let Some(request) = self.requests.get_mut(id) {
                happens(request, decision, fleet, self.now_ms);
            }
        }
    }
}

/// Whether somebody runs with fewer pods than before.
fn shrank(before: &World, round: &Round) -> bool {
    round.placed.iter().any(|(name, places)| {
        let request = before.requests.get(&WorkloadId::from(name));
        let parts = request.iter().flat_map(|one| &one.current);
        let ran: i64 = parts.flat_map(|part| part.counts.values()).sum();
        places.iter().map(|place| place.count).sum::<i64>() < ran
    })
}

/// What people see of a cycle.
fn shown(
    scenario: &Scenario,
    before: &World,
    world: &World,
    decisions: &Decisions,
) -> Result<Round, String> {
    let mut round = Round::default();
    let lost = |target: &TargetName| {
        world
            .core
            .fleet()
            .target(target.as_str())
            .is_none_or(|target| target.state == TargetState::Lost)
    };
    for workload in &scenario.workloads {
        let id = WorkloadId::from(&workload.name);
        let Some(request) = before.requests.get(&id) else {
            let message = format!("arrives at {}", words::time(workload.submitted_ms));
            round.pending.insert(
                workload.name.clone(),
                pending(Reason::NotYetSubmitted, message),
            );
            continue;
        };
        let Some(decision) = decisions.get(&id) else {
            return Err(format!("{} was asked about and not decided", workload.name));
        };
        let parts: Vec<&Part> = staying(decision)
            .into_iter()
            .filter(|part| !lost(&part.target))
            .collect();
        let ran: Vec<&Current> = request
            .current
            .iter()
            .filter(|part| !part.evicting && !lost(&part.target))
            .collect();
        let left = decision
            .leaving
            .iter()
            .find(|one| one.step == plan::Step::Now && one.reason != Reason::Placed);
        let why = &decision.explanation;
        let sentence = words::relative(&why.message);
        if !parts.is_empty() {
            let placed = parts
                .iter()
                .flat_map(|part| places(world.core.fleet(), &id, part));
            let mut placed: Vec<Placed> = placed.collect();
            placed.sort();
            round.placed.insert(workload.name.clone(), placed);
            let exit = decision
                .leaving
                .iter()
                .find(|one| one.step != plan::Step::Stuck);
            if let Some(exit) = exit.filter(|one| one.reason != Reason::Placed) {
                let moved = Moved {
                    from: exit.target.to_string(),
                    reason: exit.reason,
                };
                round.moved.insert(workload.name.clone(), moved);
            }
            if let Some(reason) = why.reason {
                round
                    .notes
                    .insert(workload.name.clone(), pending(reason, sentence));
            }
        } else if let (Some(left), false) = (left, ran.is_empty()) {
            let evicted = Evicted {
                by: claimant(&id, decisions),
                reason: left.reason,
                message: words::relative(&left.message),
            };
            round.evicted.insert(workload.name.clone(), evicted);
        } else {
            let Some(reason) = why.reason else {
                return Err(format!("{} waits without a reason", workload.name));
            };
            let mut waits = pending(reason, sentence);
            waits.expected_start = planner::expected_ms(world.core.planner(), &id).map(words::time);
            round.pending.insert(workload.name.clone(), waits);
            round
                .verdicts
                .insert(workload.name.clone(), why.verdicts.clone());
        }
    }
    positions(scenario, &mut round);
    round.shares = planner::shares(scenario, world.core.planner());
    Ok(round)
}

pub(super) fn pending(reason: Reason, message: String) -> Pending {
    Pending {
        reason,
        message,
        queue_position: None,
        expected_start: None,
    }
}

/// Whose part starts when this workload's is gone.
fn claimant(victim: &WorkloadId, decisions: &Decisions) -> Option<String> {
    let takes = |decision: &&Decision| {
        decision
            .parts
            .iter()
            .any(|part| part.after.iter().any(|(id, _)| id == victim))
    };
    decisions.values().find(takes).map(|one| one.id.to_string())
}

/// Pods by node: those that the decision names, else those that the planner assumes.
fn places(fleet: &Fleet, id: &WorkloadId, part: &Part) -> Vec<Placed> {
    let mut counts: BTreeMap<(Option<String>, String), i64> = BTreeMap::new();
    if part.nodes.is_empty() {
        let held = fleet
            .target(part.target.as_str())
            .and_then(|target| target.held(id));
        for share in held.into_iter().flat_map(Hold::left) {
            let key = (Some(share.node.to_string()), share.pod_set.to_string());
            *counts.entry(key).or_default() += share.pods;
        }
    } else {
        for share in &part.nodes {
            let key = (Some(share.name.clone()), share.pod_set.clone());
            *counts.entry(key).or_default() += share.pods;
        }
    }
    // What nobody can name, and parts without pods, are shown by their target.
    for (set, wanted) in &part.counts {
        let named: i64 = counts
            .iter()
            .filter(|((_, of), _)| of == set)
            .map(|(_, pods)| pods)
            .sum();
        if named < *wanted || *wanted == 0 {
            counts.insert((None, set.clone()), wanted - named);
        }
    }
    let place = |((node, pods), count)| Placed {
        target: part.target.to_string(),
        node,
        pods,
        count,
    };
    counts.into_iter().map(place).collect()
}

/// Place in line: those of higher priority first, then the older.
fn positions(scenario: &Scenario, round: &mut Round) {
    let mut lines: BTreeMap<&str, Vec<&super::WorkloadSpec>> = BTreeMap::new();
    for workload in &scenario.workloads {
        let waits = round.pending.get(&workload.name).is_some_and(|one| {
            one.reason != Reason::NotYetSubmitted && one.reason != Reason::Suspended
        });
        if waits {
            let queue = workload.queue.as_deref().unwrap_or_default();
            lines.entry(queue).or_default().push(workload);
        }
    }
    for line in lines.values_mut() {
        line.sort_by_key(|one| (std::cmp::Reverse(one.priority), one.submitted_ms, &one.name));
        for (index, workload) in line.iter().enumerate() {
            if let Some(pending) = round.pending.get_mut(&workload.name) {
                pending.queue_position = Some(index + 1);
            }
        }
    }
}
