//! Pure decisions: `plan(fleet, requests, now)` says for each workload where it runs, what leaves, and why.
//!
//! ```text
//! Request -> needs -> standing of what it has -> eligible targets, in tiers -> gang | divide | duplicate -> Draft
//!                                                                                                  |
//!                          Fleet::hold <- reserve <- Decision (parts, leaving, explanation) <-----/
//! ```
//!
//! The planner does no I/O, has no clock and cannot fail; equal inputs give equal decisions, whatever the order of the requests.

mod decision;
mod divide;
mod draft;
mod eligible;
mod fill;
mod gang;
mod moves;
mod needs;
mod pick;
mod request;
mod reserve;
mod spread;
mod strategies;
mod tree;
pub mod value;
mod wake;
mod webster;
mod why;
mod words;
mod write_out;

#[cfg(test)]
mod tests;

use crate::fleet::Fleet;

pub use decision::{Change, Decision, Explanation, Leaving, Outcome, Part, Report, Step};
pub use request::{Avoid, Closeness, Current, FailoverRule, PodSetRequest, Request};
pub use wake::Waiting;

use needs::Needs;

/// Plans these workloads (those that are new, changed, woken, or have a part on a target that changed): pending ones and moves first,
/// growth last, each in the order of priority, age and id. Before anybody is planned, all their reservations in the fleet are brought in line
/// with their `current`; after, they are those of the decisions. So a decision that could not be written is undone by planning again
/// with the true `current`.
///
/// Every request gets one decision, in the order of the requests.
pub fn plan(fleet: &mut Fleet, requests: &[Request], now_ms: i64) -> (Vec<Decision>, Report) {
    let needs: Vec<Needs<'_>> = requests
        .iter()
        .map(|request| Needs::new(fleet, request))
        .collect();
    let mut report = Report::default();
    for one in &needs {
        report.freed.merge(reserve::adopt(fleet, one));
    }
    let hub_degraded = fleet.hub_degraded();
    report.hub_degraded = hub_degraded;
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by(|a, b| turn(&requests[*a]).cmp(&turn(&requests[*b])));
    let mut decisions: Vec<Option<Decision>> = vec![None; requests.len()];
    for index in order {
        let needs = &needs[index];
        let draft = draft::draft(fleet, needs, hub_degraded, now_ms);
        if let Some(wake) = draft.wake_ms {
            report.wake_ms.insert(needs.request.id.clone(), wake);
            report.next_wake_ms = draft::earliest(report.next_wake_ms, Some(wake));
        }
        decisions[index] = Some(write_out::write_out(
            fleet,
            needs,
            draft,
            now_ms,
            &mut report.freed,
        ));
    }
    (decisions.into_iter().flatten().collect(), report)
}

/// Reserves what a workload has now, without deciding anything: for a new leader, before its first cycle, for every workload
/// that is not pending.
pub fn adopt(fleet: &mut Fleet, request: &Request) {
    let needs = Needs::new(fleet, request);
    reserve::adopt(fleet, &needs);
}

/// Whose turn it is: free room that pending work and growth both want goes to pending work.
fn turn(request: &Request) -> (bool, std::cmp::Reverse<i32>, i64, &crate::fleet::WorkloadId) {
    let runs = request.current.iter().any(|part| !part.evicting);
    (
        runs,
        std::cmp::Reverse(request.priority),
        request.submitted_ms,
        &request.id,
    )
}
