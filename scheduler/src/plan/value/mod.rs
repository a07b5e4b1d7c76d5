//! Value potential: where a pod costs the fleet least of what it could still run.
//!
//! ```text
//! arrivals -> Mix (with a prior) -> true sizes of shares (cutting stock) -\
//! nodes by kind ---------------------------------------------------------> Worth -> cost of (pod, node, device)
//! ```
//!
//! A share's true size is the part of a device that it really uses up: where nothing in the mix fits beside 0.81, it is a
//! whole one. A node is worth what it could still run of the mix, and whole free devices are worth more where gangs need
//! them. A pod goes where the sum falls least. Nothing depends on the order of nodes. Only `+ - * /` and `sqrt` of
//! floats are used, which give the same bits everywhere.
//!
//! Formulas and constants: policy measured on the openb lists, `shared/research/policies-packing.md` section 3.

mod dual;
mod mix;
mod roots;
mod worth;

pub use mix::{Ask, Mix, Place};
pub use worth::{Spot, Stock, Use, Worth};

/// A whole device, in the unit of shares.
pub const WHOLE: i64 = 1000;
