//! Decides which workload runs on which target.

pub mod fleet;
pub mod plan;
