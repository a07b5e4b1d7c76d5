//! The policies of others, to compare with. Known run times are those that a job is told.

mod backfill;
mod ordered;

pub use backfill::{Backfill, Depth};
pub use ordered::{Order, Ordered};
