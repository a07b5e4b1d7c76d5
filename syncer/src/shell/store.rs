//! What a watch has told so far: objects by key, and whether the first list is complete.

use std::collections::{BTreeMap, BTreeSet};

use client::WatchEvent;
use placement_api::api_type::ObjectKey;
use placement_api::kinds::DeviceClassSummary;
use placement_api::raw::RawObject;

use crate::decide::node::Node;
use crate::decide::pod::Pod;
use crate::decide::slice::{Claim, Slice};

/// Something with the number that its server counts changes by.
pub trait Versioned {
    /// The number; 0 where there is none.
    fn version(&self) -> u64;
}

impl Versioned for RawObject {
    fn version(&self) -> u64 {
        self.metadata.resource_version.parse().unwrap_or_default()
    }
}

impl Versioned for Pod {
    fn version(&self) -> u64 {
        self.version
    }
}

impl Versioned for Node {
    fn version(&self) -> u64 {
        0
    }
}

impl Versioned for Slice {
    fn version(&self) -> u64 {
        self.version
    }
}

impl Versioned for Claim {
    fn version(&self) -> u64 {
        self.version
    }
}

impl Versioned for DeviceClassSummary {
    fn version(&self) -> u64 {
        0
    }
}

/// Objects of one kind.
#[derive(Debug)]
pub struct Store<T> {
    items: BTreeMap<ObjectKey, T>,
    /// While a list comes in: what it has not named yet.
    unlisted: Option<BTreeSet<ObjectKey>>,
    synced: bool,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            unlisted: None,
            synced: false,
        }
    }
}

impl<T: Versioned> Store<T> {
    /// Takes in what a watch tells; calls `changed` with every key whose object is new or changed, and with those that are gone and
    /// how they were.
    pub fn feed(
        &mut self,
        event: WatchEvent,
        read: impl Fn(RawObject) -> T,
        mut changed: impl FnMut(&ObjectKey, Option<T>),
    ) {
        match event {
            WatchEvent::Restarted => self.unlisted = Some(self.items.keys().cloned().collect()),
            WatchEvent::Applied(object) => {
                let key = object.key();
                let listing = self
                    .unlisted
                    .as_mut()
                    .map(|unlisted| unlisted.remove(&key))
                    .is_some();
                let item = read(object);
                // Our own write may have brought a newer one; only a list may go back (a restored server).
                if !listing && self.is_older(&key, &item) {
                    return;
                }
                self.items.insert(key.clone(), item);
                changed(&key, None);
            }
            WatchEvent::Deleted(object) => {
                let key = object.key();
                if !self.is_older(&key, &read(object))
                    && let Some(old) = self.items.remove(&key)
                {
                    changed(&key, Some(old));
                }
            }
            WatchEvent::Synced => {
                self.synced = true;
                for key in self.unlisted.take().unwrap_or_default() {
                    let old = self.items.remove(&key);
                    changed(&key, old);
                }
            }
            WatchEvent::Error(_) => {}
        }
    }

    fn is_older(&self, key: &ObjectKey, item: &T) -> bool {
        self.items
            .get(key)
            .is_some_and(|have| have.version() > item.version())
    }

    /// Notes what a write or a live look has brought.
    pub fn put(&mut self, key: ObjectKey, item: T) {
        if !self.is_older(&key, &item) {
            self.items.insert(key, item);
        }
    }

    /// Notes that a live look found nothing.
    pub fn remove(&mut self, key: &ObjectKey) {
        self.items.remove(key);
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&T> {
        self.items.get(key)
    }

    /// All objects.
    pub fn values(&self) -> impl Iterator<Item = &T> + Clone {
        self.items.values()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: &str) -> RawObject {
        RawObject::from_value(&json!({"metadata": {"name": name, "resourceVersion": version}}))
            .unwrap()
    }

    fn feed(store: &mut Store<RawObject>, event: WatchEvent) -> Vec<String> {
        let mut keys = Vec::new();
        store.feed(event, |o| o, |key, _| keys.push(key.name.clone()));
        keys
    }

    #[test]
    fn a_new_list_replaces_the_old_one() {
        let mut store = Store::default();
        feed(&mut store, WatchEvent::Restarted);
        assert_eq!(
            feed(&mut store, WatchEvent::Applied(object("a", "5"))),
            ["a"]
        );
        feed(&mut store, WatchEvent::Applied(object("b", "6")));
        assert!(!store.is_synced());
        feed(&mut store, WatchEvent::Synced);
        assert!(store.is_synced());
        feed(&mut store, WatchEvent::Restarted);
        feed(&mut store, WatchEvent::Applied(object("b", "2")));
        assert!(
            store.get(&ObjectKey::cluster("a")).is_some(),
            "until the list is complete"
        );
        assert_eq!(feed(&mut store, WatchEvent::Synced), ["a"]);
        assert_eq!(
            store.get(&ObjectKey::cluster("b")).unwrap().version(),
            2,
            "a restored server counts from further back"
        );
    }

    #[test]
    fn an_event_older_than_our_own_write_changes_nothing() {
        let mut store = Store::default();
        store.put(ObjectKey::cluster("a"), object("a", "7"));
        assert!(feed(&mut store, WatchEvent::Applied(object("a", "6"))).is_empty());
        assert!(
            feed(&mut store, WatchEvent::Deleted(object("a", "6"))).is_empty(),
            "that was the one before"
        );
        assert_eq!(
            feed(&mut store, WatchEvent::Applied(object("a", "7"))),
            ["a"]
        );
        assert_eq!(
            feed(&mut store, WatchEvent::Deleted(object("a", "8"))),
            ["a"]
        );
        assert!(store.get(&ObjectKey::cluster("a")).is_none());
    }
}
