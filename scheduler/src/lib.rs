//! Decides which workload runs on which target.
