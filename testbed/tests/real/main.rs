//! Behaviour on real control planes: kube-apiservers, controllers and schedulers that the testbed starts.
//!
//! One binary, so that all tests of behaviour share one fleet; each has a namespace and a Placement of its own. Tests that
//! break things start their own fleets.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod answers;
mod case;
mod devices;
mod faults;
mod gangs;
mod give_way;
mod kinds;
mod placing;
mod queues;
mod refusals;
mod rights;
mod scoring;
mod sharing;
mod silence;
mod swap;
mod targets;
