//! The kinds of group `inhaul.dev`, one file each, and their CRDs.
#![expect(
    clippy::duplicated_attributes,
    reason = "each printcolumn has a type and a path of its own"
)]

pub mod api;
mod applied_assignment;
mod assignment;
mod common;
mod crds;
mod devices;
mod fleet_policy;
mod inventory;
mod kind_profile;
mod location;
mod placement;
mod queue;
mod sync_policy;
mod sync_target;
mod workload;

pub use applied_assignment::*;
pub use assignment::*;
pub use common::*;
pub use crds::*;
pub use devices::*;
pub use fleet_policy::*;
pub use inventory::*;
pub use kind_profile::*;
pub use location::*;
pub use placement::*;
pub use queue::*;
pub use sync_policy::*;
pub use sync_target::*;
pub use workload::*;
