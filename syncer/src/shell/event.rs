//! What the engine is told.

use client::{ApiError, Discovery, WatchEvent};
use placement_api::api_type::GroupKind;
use placement_api::kinds::Inventory;
use placement_api::raw::RawObject;

use super::apply::Outcome;
use super::devices::DeviceKind;
use super::release::Released;

/// One thing that has happened.
#[derive(Debug)]
pub enum Event {
    /// Assignments of this target, on the hub.
    Assignments(WatchEvent),
    /// Secrets of this target, on the hub.
    Secrets(WatchEvent),
    /// Objects with our marker, of one kind.
    Objects(GroupKind, WatchEvent),
    /// Pods.
    Pods(WatchEvent),
    /// Nodes.
    Nodes(WatchEvent),
    /// Slices, claims or classes of devices.
    Devices(DeviceKind, WatchEvent),
    /// Namespaces.
    Namespaces(WatchEvent),
    /// CustomResourceDefinitions.
    Crds(WatchEvent),
    /// SyncPolicies.
    Policies(WatchEvent),
    /// What the member serves, and its version.
    Discovered(Box<Discovery>, String),
    /// Steps of an assignment were done, as far as possible.
    Done(String, Box<Outcome>),
    /// Gated pods of an assignment were released.
    Released(String, Box<Released>),
    /// Pods of an assignment were marked that go first.
    Marked(String, Box<Released>),
    /// A status was written; the Assignment as it now stands, or `None` where it is gone.
    Reported(String, Box<Result<Option<RawObject>, ApiError>>),
    /// The inventory was written.
    Counted(Box<Result<Inventory, ApiError>>),
    /// Why the controller of an assignment's root creates no pods.
    Probed(String, Option<String>),
    /// Another agent has taken over the target.
    Deposed(String),
    /// The process is to end.
    Stop,
}
