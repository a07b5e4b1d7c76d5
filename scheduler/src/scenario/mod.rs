//! Scenario files: a fleet, queues and workloads in words, planned by the real planner, and what is expected of it.
//!
//! ```text
//! text --parse()--> Scenario --build--> Fleet, Requests --rounds--> Outcome --compare()--> differences
//!          |                                               |
//!          Problems (line, path, what is right)            Broken (an invariant of ours)
//! ```
//!
//! Everything here is pure: the caller reads the file and brings the clock that measures decisions.

mod build;
mod change;
mod check;
mod compare;
mod invariants;
mod laws;
mod metrics;
mod outcome;
mod parse;
mod planner;
mod problem;
mod read;
mod rounds;
mod spec;
mod tree;
mod words;

#[cfg(test)]
mod tests;

pub use change::change;
pub use compare::{Difference, compare};
pub use outcome::{Evicted, Metrics, Moved, Outcome, Pending, Placed, QueueShare, Round};
pub use parse::parse;
pub use problem::{Problem, Problems};
pub use rounds::{Broken, recorded, simulate, view};
pub use spec::{
    ClaimSpec, Config, Expect, ExpectedPlace, NodeSpec, PodSpec, QueueSpec, RunsOn, Scenario,
    Stage, TargetSpec, WorkloadSpec,
};
pub use tree::MOST_BYTES;
