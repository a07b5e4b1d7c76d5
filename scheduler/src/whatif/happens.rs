//! A decision carried out at once: who was to leave is gone, what is new is healthy.

use placement_api::kinds::FailoverMode;

use crate::fleet::{Fleet, TargetState};
use crate::plan::{Current, Decision, Part, Request, Step};

/// What a workload has when all that was decided about it has happened.
pub(crate) fn happens(request: &mut Request, decision: &Decision, fleet: &Fleet, now_ms: i64) {
    let mut current: Vec<Current> = staying(decision)
        .into_iter()
        .map(|part| started(request, part, now_ms))
        .collect();
    // A lost target confirms nothing; who was fenced has stopped all the same.
    let silent = |part: &&Current| {
        let lost = fleet
            .target(part.target.as_str())
            .is_some_and(|target| target.state == TargetState::Lost);
        let left = decision
            .leaving
            .iter()
            .any(|one| one.target == part.target && one.step != Step::Stuck);
        lost && left && request.failover.mode == FailoverMode::Overlap
    };
    current.extend(request.current.iter().filter(silent).map(|part| Current {
        evicting: true,
        ..part.clone()
    }));
    if !request.current.is_empty() && current.is_empty() {
        request.waits_since_ms = now_ms;
    }
    request.current = current;
    request.epoch = decision.epoch;
}

/// Parts that run when all that was decided has happened.
pub(crate) fn staying(decision: &Decision) -> Vec<&Part> {
    let goes = |part: &&Part| {
        decision
            .leaving
            .iter()
            .any(|one| one.target == part.target && one.step != Step::Stuck)
    };
    decision.parts.iter().filter(|part| !goes(part)).collect()
}

fn started(request: &Request, part: &Part, now_ms: i64) -> Current {
    let before = request
        .current
        .iter()
        .find(|one| one.target == part.target && !one.evicting);
    Current {
        started: true,
        healthy: true,
        started_ms: before.map_or(Some(now_ms), |before| before.started_ms),
        ..part.decided()
    }
}
