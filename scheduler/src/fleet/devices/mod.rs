//! Devices (DRA): which of a node's devices a claim may have, and how many pods with their claims a node takes.
//!
//! ```text
//! Inventory: shapes, classes -> Catalog --\
//! claims of a pod ------------------------> DeviceNeed (which shapes meet which request)
//! Inventory: layouts, taken -> NodeDevices -> Room --copies(need)--> pods that the node takes
//! ```
//!
//! A decision names the node and not the devices, because the member's own scheduler allocates them. So what is reserved is kept
//! as needs, and whether one more fits is asked of all of them together; no device is ever counted for two.
//!
//! Beside that, the devices of each class are an amount like any other (named as in a ResourceQuota): never too small, so what
//! does not fit it need not be searched, and it is what people are told. Queues are charged by class, and for what claims are of physical devices (`physical`).

mod catalog;
mod lack;
mod need;
mod node;
mod physical;
mod room;
mod search;

#[cfg(test)]
mod tests;

pub(crate) use catalog::Catalog;
pub(crate) use lack::{Lack, lack};
pub use need::DeviceNeed;
pub(crate) use node::{NodeDevices, Report};
pub(crate) use physical::Physical;
pub(crate) use room::{Room, add};
