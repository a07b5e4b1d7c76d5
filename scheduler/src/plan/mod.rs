//! Pure decisions: `Planner::plan(fleet, requests, now)` says for each workload where it runs, what leaves, and why.
//!
//! ```text
//! Request -> needs -> standing of what it has -> eligible targets, in tiers -> gang | divide | duplicate -\
//!              |                                                                                           |
//!              \-> new, one role, no further wishes -> occupancy | rooms (an index of the nodes) ----------+-> Draft
//!                                                                                                          |
//!                          Fleet::hold <- reserve <- Decision (parts, leaving, explanation) <--------------/
//! ```
//!
//! The planner does no I/O, has no clock and cannot fail; equal inputs give equal decisions, whatever the order of the requests.

mod accounts;
mod ahead;
mod book;
mod closed;
mod consumed;
mod copies;
mod decision;
mod defrag;
mod devices;
mod divide;
mod draft;
mod eligible;
mod fill;
mod gang;
mod give_way;
mod history;
mod idle;
mod joint;
mod kept;
mod likeness;
mod lines;
mod members;
mod memory;
mod moves;
mod needs;
mod occupancy;
pub mod order;
mod orders;
mod pick;
mod planner;
mod policy;
pub mod promise;
mod race;
mod request;
mod reserve;
mod rooms;
mod score;
mod scoring;
mod seen;
mod several;
mod span;
mod spread;
mod stand_in;
mod stock;
mod strategies;
mod swap;
mod swaps;
mod tally;
mod tree;
mod usage;
pub mod value;
mod verdicts;
mod wake;
mod webster;
mod why;
mod words;
mod write_out;

#[cfg(test)]
mod tests;

pub use decision::{Change, Decision, Explanation, Leaving, Outcome, Part, Report, Step};
pub use memory::{Memory, Trouble};
pub use planner::Planner;
pub use policy::Policy;
pub use request::{
    Avoid, Closeness, Current, DEFAULT_MIN_RUNTIME_MS, FailoverRule, PodSetRequest, Request,
};
pub(crate) use reserve::whereabouts;
pub use scoring::{Dimension, Scoring};
pub use wake::Waiting;

use crate::fleet::Fleet;

/// Plans without a memory of earlier cycles: see [`Planner::plan`].
pub fn plan(fleet: &mut Fleet, requests: &[Request], now_ms: i64) -> (Vec<Decision>, Report) {
    Planner::new().plan(fleet, requests, now_ms)
}

/// Reserves without a memory: see [`Planner::adopt`].
pub fn adopt(fleet: &mut Fleet, request: &Request) {
    Planner::new().adopt(fleet, request);
}
