//! Everything that touches the world: watches, writes, the lease, the ports.
//!
//! ```text
//! hub watches ----\                                  /-> work (ledger, create, apply, delete, gates)  -- Done
//! member watches --> Event -> engine (one task) ----+--> report (Assignment.status)                   -- Reported
//! discovery ------/            State, Queue          \-> inventory (Inventory.status)                 -- Counted
//! ```

pub mod apply;
pub mod crds;
pub mod devices;
pub mod discovery;
pub mod engine;
pub mod event;
pub mod hub;
mod intake;
pub mod inventory;
pub mod lease;
pub mod ledgers;
mod look;
pub mod member;
pub mod metrics;
pub mod order;
pub mod probe;
pub mod progress;
pub mod release;
mod report;
pub mod serve;
pub mod state;
pub mod store;
mod stuck;
