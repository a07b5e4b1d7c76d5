//! How the engine takes in what it is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use client::{Class, WatchEvent};
use placement_api::api_type::GroupKind;
use placement_api::names::HUB_LABEL;
use placement_api::raw::RawObject;

use super::engine::{DENIALS, End, Engine, INVENTORY_AGAIN, INVENTORY_PAUSE};
use super::event::Event;
use crate::decide::node::Node;
use crate::decide::object_id::ObjectId;

impl Engine {
    /// Takes in one event; says if it was the last.
    pub(super) fn take_in(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Stop => return Some(End::Stopped),
            Event::Deposed(holder) => return Some(End::Deposed(holder)),
            Event::Assignments(event) => self.take_assignments(event),
            Event::Secrets(event) => {
                let mut keys = Vec::new();
                self.state
                    .secrets
                    .feed(event, |object| object, |key, _| keys.push(key.clone()));
                for key in keys {
                    let names = self
                        .state
                        .copies
                        .get(&key.name)
                        .cloned()
                        .unwrap_or_default();
                    self.push_all(names);
                }
            }
            Event::Objects(kind, event) => self.take_objects(&kind, event),
            Event::Pods(event) => {
                let touched = self.state.feed_pod(event);
                self.stock.dirty = true;
                self.push_all(touched);
            }
            Event::Nodes(event) => {
                self.state
                    .nodes
                    .feed(event, |object| Node::read(&object), |_, _| {});
                self.stock.dirty = true;
                // The node of a pod that waits for it may be back.
                let held = self.progress.iter().filter(|(_, one)| one.held);
                let held: Vec<String> = held.map(|(name, _)| name.clone()).collect();
                self.push_all(held);
            }
            Event::Devices(kind, event) => {
                self.state.devices.feed(kind, event);
                self.stock.dirty = true;
            }
            Event::Namespaces(event) => {
                let mut gone = BTreeSet::new();
                let synced = matches!(event, WatchEvent::Synced);
                self.state.namespaces.feed(event, slim, |key, old| {
                    if old.is_some() {
                        gone.insert(key.name.clone());
                    }
                });
                self.push_namespaces(&gone);
                if synced {
                    self.push_every();
                }
            }
            Event::Crds(event) => self.take_crds(event),
            Event::Policies(event) => {
                self.state.policies.feed(event, |object| object, |_, _| {});
                self.push_every();
            }
            Event::Discovered(discovery, version) => {
                if let Some(wait) = self.promises.wait_for(&discovery) {
                    let again = Arc::clone(&self.fixed.discover);
                    tokio::spawn(async move {
                        tokio::time::sleep(wait).await;
                        again.notify_one();
                    });
                }
                let known = self
                    .state
                    .discovery
                    .as_ref()
                    .is_some_and(|have| **have == *discovery);
                if known && self.state.version == version {
                    return None;
                }
                let (member, tell) = (&self.fixed.member, &self.fixed.tell);
                self.state.devices.follow(&discovery, member, tell);
                self.state.discovery = Some(Arc::new(*discovery));
                self.state.version = version;
                self.stock.dirty = true;
                self.refresh_watches();
                self.push_every();
            }
            Event::Done(name, outcome) => self.done(&name, *outcome),
            Event::Released(name, released) => self.released(&name, *released),
            Event::Marked(name, marked) => self.marked(&name, *marked),
            Event::Reported(name, answer) => self.reported(&name, *answer),
            Event::Counted(answer) => {
                self.stock.writing = false;
                match *answer {
                    Ok(inventory) => {
                        self.stock.last = inventory.status;
                        self.fixed.metrics.inventories.inc();
                        self.stock.not_before = self.now() + INVENTORY_PAUSE;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the inventory was not written and is tried again");
                        self.stock.dirty = true;
                        self.stock.not_before = self.now() + INVENTORY_AGAIN;
                    }
                }
            }
            Event::Probed(name, found) => self.probed(&name, found),
        }
        None
    }

    fn take_assignments(&mut self, event: WatchEvent) {
        let synced = matches!(event, WatchEvent::Synced);
        let mut changed: Vec<(String, Option<RawObject>)> = Vec::new();
        self.state.assignments.feed(
            event,
            |object| object,
            |key, old| changed.push((key.name.clone(), old)),
        );
        for (name, old) in changed {
            if let Some(old) = old {
                // Nothing is destroyed because it is absent: what it ordered stays and is kept in repair.
                if self.state.ledgers.contains_key(&name) {
                    tracing::warn!(assignment = %name, "it is gone from the hub; what it started is left running");
                    self.state.orphans.insert(name.clone(), old);
                } else {
                    self.progress.remove(&name);
                }
            } else {
                self.state.orphans.remove(&name);
            }
            let before: Vec<ObjectId> = self.state.ownership.ordered(&name).to_vec();
            let kinds = self.state.note_order(&name);
            self.watch_kinds(kinds);
            // Of what several carry, another content may count now.
            for id in before
                .iter()
                .chain(self.state.ownership.ordered(&name).to_vec().iter())
            {
                let names: Vec<String> = self
                    .state
                    .ownership
                    .names(id)
                    .into_iter()
                    .filter(|n| *n != name)
                    .map(str::to_owned)
                    .collect();
                self.push_all(names);
            }
            self.queue.push(&name);
            self.stock.dirty = true;
        }
        if synced {
            self.stock.dirty = true;
        }
    }

    fn take_objects(&mut self, kind: &GroupKind, event: WatchEvent) {
        let synced = matches!(event, WatchEvent::Synced);
        let mut ids = Vec::new();
        let known = self.state.kinds.entry(kind.clone()).or_default();
        match &event {
            WatchEvent::Error(error) => {
                tracing::warn!(%kind, %error, "the watch of a kind was cut off and goes on");
                let times = known.denied.as_ref().map_or(0, |(_, times)| *times);
                let denied = error.class() == Class::Denied;
                known.denied = denied.then(|| (error.message.clone(), times.saturating_add(1)));
                if denied && times + 1 == DENIALS {
                    self.push_every();
                }
                return;
            }
            _ => known.denied = None,
        }
        let store = &mut known.objects;
        let was_synced = store.is_synced();
        store.feed(
            event,
            |object| object,
            |key, _| {
                ids.push(ObjectId {
                    kind: kind.clone(),
                    key: key.clone(),
                });
            },
        );
        for id in ids {
            let names: Vec<String> = self
                .state
                .ownership
                .names(&id)
                .into_iter()
                .map(str::to_owned)
                .collect();
            self.push_all(names);
        }
        if synced && !was_synced {
            self.push_every();
        }
    }

    fn take_crds(&mut self, event: WatchEvent) {
        let mut changed = false;
        if let WatchEvent::Applied(object) = &event {
            changed |= self.promises.set(object);
        }
        let synced = matches!(event, WatchEvent::Synced);
        let hub_uid = Arc::clone(&self.state.hub_uid);
        let keep = |object: RawObject| {
            if object.label(HUB_LABEL) == Some(&hub_uid) {
                object
            } else {
                slim(object)
            }
        };
        let mut keys = Vec::new();
        self.state.crds.feed(event, keep, |key, old| {
            keys.push((key.clone(), old.is_some()));
        });
        for (key, gone) in keys {
            if gone {
                self.promises.remove(&key.name);
                changed = true;
            }
            let id = ObjectId::new(
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                "",
                &key.name,
            );
            let names: Vec<String> = self
                .state
                .ownership
                .names(&id)
                .into_iter()
                .map(str::to_owned)
                .collect();
            self.push_all(names);
        }
        if changed {
            self.fixed.discover.notify_one();
        }
        if synced {
            self.push_every();
        }
    }
}

/// Types and metadata only.
fn slim(mut object: RawObject) -> RawObject {
    let names: Vec<String> = object.section_names().map(str::to_owned).collect();
    for name in names {
        object.remove_section(&name);
    }
    object
}
