//! Watches of what the member says of devices (DRA). A member that does not serve it has none.

use client::{Class, Connection, Discovery, WatchEvent, WatchScope};
use placement_api::api_type::{ApiType, ObjectKey, known};
use placement_api::kinds::DeviceClassSummary;
use tokio::sync::mpsc::Sender;

use super::engine::DENIALS;
use super::event::Event;
use super::member::{Watching, watch};
use super::store::Store;
use crate::decide::devices::{Devices, take_devices};
use crate::decide::slice::{Claim, Slice, class};

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// ResourceSlices.
    Slices,
    /// ResourceClaims.
    Claims,
    /// DeviceClasses.
    Classes,
}

const KINDS: [(DeviceKind, ApiType); 3] = [
    (DeviceKind::Slices, known::RESOURCE_SLICE),
    (DeviceKind::Claims, known::RESOURCE_CLAIM),
    (DeviceKind::Classes, known::DEVICE_CLASS),
];

/// What the member says of devices.
#[derive(Default)]
pub struct DeviceStore {
    slices: Store<Slice>,
    claims: Store<Claim>,
    classes: Store<DeviceClassSummary>,
    watching: Vec<Watching>,
    /// Why it cannot be read, and how often in a row the member said so.
    denied: Option<(String, u32)>,
}

impl DeviceStore {
    /// Opens the watches while the member serves all three kinds, ends them when it does not.
    pub fn follow(&mut self, discovery: &Discovery, member: &Connection, engine: &Sender<Event>) {
        let served = KINDS.iter().all(|(_, api)| {
            discovery
                .apis
                .iter()
                .any(|one| one.api == *api && one.can("watch"))
        });
        if !served {
            let away = discovery
                .unavailable
                .iter()
                .any(|version| version.starts_with("resource.k8s.io/"));
            if !away {
                *self = Self::default();
            }
        } else if self.watching.is_empty() {
            let open = |(kind, api): (DeviceKind, ApiType)| {
                let wrap = move |event| Event::Devices(kind, event);
                watch(member, &api, WatchScope::all(), engine, wrap)
            };
            self.watching = KINDS.map(open).into();
        }
    }

    /// Takes in what a watch tells.
    pub fn feed(&mut self, kind: DeviceKind, event: WatchEvent) {
        if let WatchEvent::Error(error) = &event {
            if error.class() == Class::Denied {
                let times = self.denied.take().map_or(0, |(_, times)| times);
                self.denied = Some((error.message.clone(), times.saturating_add(1)));
            }
            return;
        }
        if matches!(event, WatchEvent::Synced) {
            self.denied = None;
        }
        match kind {
            DeviceKind::Slices => self.slices.feed(event, |o| Slice::read(&o), |_, _| {}),
            DeviceKind::Claims => self.claims.feed(event, |o| Claim::read(&o), |_, _| {}),
            DeviceKind::Classes => self.classes.feed(event, |o| class(&o), |_, _| {}),
        }
    }

    /// Whether the member's scheduler has allocated a claim.
    pub fn is_allocated(&self, claim: &ObjectKey) -> bool {
        self.claims.get(claim).is_some_and(|claim| claim.allocated)
    }

    /// Whether everything was read that the member lets the agent read.
    pub fn is_known(&self) -> bool {
        self.watching.is_empty() || self.is_synced() || self.refused().is_some()
    }

    /// Counts the devices. `usable` says of a node whether it takes work.
    pub fn take(&self, usable: impl Fn(&str) -> bool) -> Devices {
        if self.watching.is_empty() {
            return Devices::default();
        }
        if let (false, Some(message)) = (self.is_synced(), self.refused()) {
            return Devices {
                problems: vec![format!("devices are not counted: {message}")],
                ..Devices::default()
            };
        }
        take_devices(
            self.slices.values(),
            self.claims.values(),
            self.classes.values(),
            usable,
        )
    }

    fn is_synced(&self) -> bool {
        self.slices.is_synced() && self.claims.is_synced() && self.classes.is_synced()
    }

    fn refused(&self) -> Option<&str> {
        let (message, times) = self.denied.as_ref()?;
        (*times >= DENIALS).then_some(message)
    }
}
