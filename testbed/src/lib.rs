//! Real Kubernetes control planes on one machine: fleets, the demo, tests, benches.
//!
//! ```text
//! build -> Tools (binaries) --+
//! nodes -> Node objects ------+-> cluster (etcd, API server, controllers, scheduler, kwok) -> fleet (hub + members)
//! process (dies with us) -----+                                   up: the same, held by a supervisor of its own
//! ```
//!
//! [`replay`] needs none of this: it plays traces against the planner in virtual time.
//!
//! The launcher is synchronous: it waits for processes, and callers in a tokio runtime use `spawn_blocking`.

pub mod bench;
pub mod build;
pub mod cli;
pub mod cluster;
pub mod demo;
pub mod fleet;
pub mod nodes;
pub mod process;
pub mod replay;
pub mod rig;
pub mod up;

mod files;
mod https;
mod ports;
mod wait;
