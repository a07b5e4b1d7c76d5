//! Everything that goes into the planner, written down so that the same run can be had again, bit for bit.
//!
//! ```text
//! shell, scenario -> Core -> Fleet, Planner
//!                     \-> Step -> Encoder -> lines --file--> Decoder -> Replay -> Core (a fresh one)
//!                                                                          \-> Difference: what was decided, what is now
//! ```
//!
//! A recording has what the planner sees and nothing else: no Secret, no manifest. It is compact because only changes are
//! written: a shape of workload once, of an inventory the nodes that differ, of a heartbeat the time, of a decision a digest.

mod changes;
mod core;
mod decoder;
mod digest;
mod encoder;
mod line;
mod replay;

#[cfg(test)]
mod tests;

pub use self::core::{Core, Step};
pub use decoder::{Damaged, Decoder};
pub use digest::{Decided, Made};
pub use encoder::Encoder;
pub use line::Header;
pub use replay::{Difference, Replay, Summary};
