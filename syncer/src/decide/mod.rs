//! What the agent decides, without doing any of it: plain data in, plain data out. No I/O, no clock.
//!
//! ```text
//! Assignment -> desired \
//!       member -> Seen    > decide() -> [Step] -> shell does them -> Seen'
//!       ledger -> Ledger /
//! pods, nodes -> summary, inventory, gates        everything -> status
//! ```

pub mod backoff;
pub mod budget;
pub mod compare;
pub mod desired;
pub mod devices;
pub mod diff;
pub mod gate;
pub mod inventory;
pub mod ledger;
pub mod node;
pub mod object_id;
pub mod ownership;
pub mod pod;
pub mod policy;
pub mod queue;
pub mod slice;
pub mod status;
pub mod surplus;
pub mod upgrade;
