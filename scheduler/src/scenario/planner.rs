//! The one place where scenarios call the planner.

use super::Scenario;
use crate::fleet::Fleet;
use crate::plan::{Decision, Planner, Report, Request};

/// A planner that is set up as the file says.
pub(super) fn planner(_scenario: &Scenario) -> Planner {
    Planner::new()
}

/// One cycle over these workloads.
pub(super) fn cycle(
    planner: &mut Planner,
    fleet: &mut Fleet,
    requests: &[Request],
    now_ms: i64,
) -> (Vec<Decision>, Report) {
    planner.plan(fleet, requests, now_ms)
}
