//! The engine: one task that knows everything, is told everything that happens, and decides what is done next for which assignment.
//! Reads and writes run in tasks of their own, one per assignment at a time; what became of them comes back as an event.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{Class, Connection, WatchEvent, WatchScope};
use placement_api::api_type::{GroupKind, ObjectKey};
use placement_api::kinds::InventoryStatus;
use placement_api::names::HUB_LABEL;
use placement_api::raw::RawObject;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, sleep_until};

use super::crds::Promises;
use super::discovery::resolve;
use super::event::Event;
use super::hub::Hub;
use super::inventory;
use super::member::watch;
use super::metrics::Metrics;
use super::progress::Progress;
use super::state::{State, is_crd, is_namespace};
use crate::decide::budget::Budget;
use crate::decide::inventory::counted;
use crate::decide::node::Node;
use crate::decide::object_id::ObjectId;
use crate::decide::queue::Queue;

/// Assignments that are worked on at once.
const AT_WORK: usize = 16;
/// Events taken in before anything is decided: a burst is one change.
const BURST: usize = 512;
/// Once may be a role that is only just being written.
pub(super) const DENIALS: u32 = 2;
/// Milliseconds between two writes of the inventory.
const INVENTORY_PAUSE: u64 = 1_000;
/// Milliseconds before a failed write of the inventory is tried again.
const INVENTORY_AGAIN: u64 = 3_000;

/// What does not change while the engine runs.
pub struct Fixed {
    /// The hub.
    pub hub: Hub,
    /// The member.
    pub member: Connection,
    /// UID of the member.
    pub cluster_uid: String,
    /// Session.
    pub session: i64,
    /// How long pods may be without a node before the assignment is refused.
    pub unschedulable_after: Duration,
    /// Counters.
    pub metrics: Metrics,
    /// Set when the first look is complete.
    pub ready: Arc<AtomicBool>,
    /// Notified when discovery should be asked again.
    pub discover: Arc<Notify>,
    /// How the engine is told things.
    pub tell: Sender<Event>,
}

/// The engine.
pub struct Engine {
    pub(super) fixed: Arc<Fixed>,
    pub(super) state: State,
    pub(super) queue: Queue,
    pub(super) progress: BTreeMap<String, Progress>,
    pub(super) budget: Budget,
    pub(super) stock: Stock,
    promises: Promises,
    started: Instant,
    random: RandomState,
}

/// How the inventory stands.
#[derive(Default)]
pub(super) struct Stock {
    /// What the hub has.
    pub(super) last: Option<InventoryStatus>,
    pub(super) dirty: bool,
    writing: bool,
    not_before: u64,
}

/// Why the engine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// Another agent holds the target.
    Deposed(String),
}

impl Engine {
    /// An engine that knows the ledgers and what the hub has as inventory.
    pub fn new(fixed: Fixed, mut state: State, inventory: Option<InventoryStatus>) -> Self {
        let ledgers = std::mem::take(&mut state.ledgers);
        let mut engine = Self {
            fixed: Arc::new(fixed),
            state,
            queue: Queue::default(),
            progress: BTreeMap::new(),
            budget: Budget::default(),
            stock: Stock {
                last: inventory,
                dirty: true,
                ..Stock::default()
            },
            promises: Promises::default(),
            started: Instant::now(),
            random: RandomState::new(),
        };
        for (name, ledger) in ledgers {
            engine.state.note_ledger(&name, Some(ledger));
        }
        engine
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self, mut events: Receiver<Event>) -> End {
        loop {
            while self.queue.running() < AT_WORK {
                let Some(name) = self.queue.pop(self.now()) else {
                    break;
                };
                self.look(&name);
            }
            self.write_inventory();
            self.count();
            let wake = self.wake();
            let first = tokio::select! {
                event = events.recv() => event,
                () = sleep_until(wake) => continue,
            };
            let Some(first) = first else {
                return End::Stopped;
            };
            let mut next = Some(first);
            for _ in 0..BURST {
                let Some(event) = next else {
                    break;
                };
                if let Some(end) = self.take_in(event) {
                    return end;
                }
                next = events.try_recv().ok();
            }
            if let Some(event) = next
                && let Some(end) = self.take_in(event)
            {
                return end;
            }
        }
    }

    /// Milliseconds since the engine was started.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A number between 0 and 1.
    pub(super) fn spread(&self) -> f64 {
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.now());
        (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Does something in a task of its own and tells the engine what became of it.
    pub(super) fn spawn(&self, work: impl Future<Output = Event> + Send + 'static) {
        let tell = self.fixed.tell.clone();
        tokio::spawn(async move {
            let event = work.await;
            // Nobody listens any more when the process ends.
            drop(tell.send(event).await);
        });
    }

    fn wake(&self) -> Instant {
        let inventory = (self.stock.dirty && !self.stock.writing).then_some(self.stock.not_before);
        let wake = self.queue.next_wake().into_iter().chain(inventory).min();
        // Without anything to wait for, an hour is as good as never.
        let wake = wake.unwrap_or_else(|| self.now() + 3_600_000);
        self.started + Duration::from_millis(wake.max(self.now() + 1))
    }

    fn count(&self) {
        let metrics = &self.fixed.metrics;
        metrics.queued.set(i64::try_from(self.queue.ready()).unwrap_or(i64::MAX));
        metrics.assignments.set(i64::try_from(self.progress.len()).unwrap_or(i64::MAX));
        let state = &self.state;
        let ready = state.assignments.is_synced()
            && state.secrets.is_synced()
            && state.pods.is_synced()
            && state.nodes.is_synced()
            && state.discovery.is_some();
        if ready {
            self.fixed.ready.store(true, Ordering::Relaxed);
        }
    }

    fn take_in(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Stop => return Some(End::Stopped),
            Event::Deposed(holder) => return Some(End::Deposed(holder)),
            Event::Assignments(event) => self.take_assignments(event),
            Event::Secrets(event) => {
                let mut keys = Vec::new();
                self.state.secrets.feed(event, |object| object, |key, _| keys.push(key.clone()));
                for key in keys {
                    let names = self.state.copies.get(&key.name).cloned().unwrap_or_default();
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
                self.state.nodes.feed(event, |object| Node::read(&object), |_, _| {});
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
                if self.promises.is_ahead_of(&discovery) {
                    let again = Arc::clone(&self.fixed.discover);
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(300)).await;
                        again.notify_one();
                    });
                }
                let known = self.state.discovery.as_ref().is_some_and(|have| **have == *discovery);
                if known && self.state.version == version {
                    return None;
                }
                self.state.discovery = Some(Arc::new(*discovery));
                self.state.version = version;
                self.stock.dirty = true;
                self.refresh_watches();
                self.push_every();
            }
            Event::Done(name, outcome) => self.done(&name, *outcome),
            Event::Released(name, released) => self.released(&name, *released),
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
        self.state.assignments.feed(event, |object| object, |key, old| changed.push((key.name.clone(), old)));
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
            for id in before.iter().chain(self.state.ownership.ordered(&name).to_vec().iter()) {
                let names: Vec<String> =
                    self.state.ownership.names(id).into_iter().filter(|n| *n != name).map(str::to_owned).collect();
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
        store.feed(event, |object| object, |key, _| {
            ids.push(ObjectId {
                kind: kind.clone(),
                key: key.clone(),
            });
        });
        for id in ids {
            let names: Vec<String> = self.state.ownership.names(&id).into_iter().map(str::to_owned).collect();
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
            if object.label(HUB_LABEL) == Some(&hub_uid) { object } else { slim(object) }
        };
        let mut keys = Vec::new();
        self.state.crds.feed(event, keep, |key, old| keys.push((key.clone(), old.is_some())));
        for (key, gone) in keys {
            if gone {
                self.promises.remove(&key.name);
                changed = true;
            }
            let id = ObjectId::new("apiextensions.k8s.io", "CustomResourceDefinition", "", &key.name);
            let names: Vec<String> = self.state.ownership.names(&id).into_iter().map(str::to_owned).collect();
            self.push_all(names);
        }
        if changed {
            self.fixed.discover.notify_one();
        }
        if synced {
            self.push_every();
        }
    }

    /// Looks at all these assignments.
    pub(super) fn push_all(&mut self, names: impl IntoIterator<Item = String>) {
        for name in names {
            self.queue.push(&name);
        }
    }

    fn push_every(&mut self) {
        let names: Vec<String> = self
            .state
            .assignments
            .values()
            .map(|object| object.metadata.name.clone())
            .chain(self.state.orphans.keys().cloned())
            .collect();
        self.push_all(names);
    }

    fn push_namespaces(&mut self, namespaces: &BTreeSet<String>) {
        if namespaces.is_empty() {
            return;
        }
        let ownership = &self.state.ownership;
        let names: BTreeSet<String> = ownership
            .objects()
            .into_iter()
            .filter(|id| namespaces.contains(&id.key.namespace))
            .flat_map(|id| ownership.names(id))
            .map(str::to_owned)
            .collect();
        self.push_all(names);
    }

    /// Starts watches of kinds that are served and not watched yet.
    pub(super) fn watch_kinds(&mut self, kinds: BTreeSet<GroupKind>) {
        let Some(discovery) = self.state.discovery.clone() else {
            return;
        };
        for kind in kinds.into_iter().filter(|kind| !is_crd(kind) && !is_namespace(kind)) {
            if self.state.kinds.get(&kind).is_some_and(|have| have.watching.is_some()) {
                continue;
            }
            let version = self.state.versions.get(&kind).cloned().unwrap_or_default();
            let Some(api) = resolve(&discovery, &version, &kind) else {
                continue;
            };
            let scope = WatchScope::labels(format!("{HUB_LABEL}={}", self.state.hub_uid));
            let of = kind.clone();
            let wrap = move |event| Event::Objects(of.clone(), event);
            let watching = watch(&self.fixed.member, &api, scope, &self.fixed.tell, wrap);
            self.state.kinds.entry(kind).or_default().watching = Some(watching);
        }
    }

    /// After a change of what is served: ends watches of kinds that are gone, starts those of kinds that have come.
    fn refresh_watches(&mut self) {
        let Some(discovery) = self.state.discovery.clone() else {
            return;
        };
        self.state.kinds.retain(|kind, _| {
            let away = discovery.unavailable.iter().any(|version| version.split('/').next() == Some(&kind.group));
            away || discovery.find(kind).is_some()
        });
        let kinds = self.state.ownership.objects().into_iter().map(|id| id.kind.clone()).collect();
        self.watch_kinds(kinds);
    }

    fn write_inventory(&mut self) {
        let now = self.now();
        if !self.stock.dirty || self.stock.writing || now < self.stock.not_before {
            return;
        }
        // The hub's orders tell what the pods belong to.
        if !self.state.assignments.is_synced() {
            return;
        }
        self.stock.dirty = false;
        let expected = self.progress.iter().filter_map(|(name, progress)| progress.expected(name));
        let counted = counted(expected, |name| self.state.pods(name));
        let made = inventory::make(
            &self.state,
            self.fixed.session,
            &self.fixed.cluster_uid,
            counted,
            self.problems(),
        );
        let Some(status) = made else {
            return;
        };
        self.stock.not_before = now + INVENTORY_PAUSE;
        if inventory::is_news(self.stock.last.as_ref(), &status) {
            self.stock.writing = true;
            let hub = self.fixed.hub.clone();
            self.spawn(async move { Event::Counted(Box::new(hub.count(&status).await)) });
        }
    }

    fn problems(&self) -> Vec<String> {
        let without_order = self.state.ledgers.keys().filter(|name| {
            let key = ObjectKey::new(&self.state.hub_namespace, *name);
            self.state.assignments.get(&key).is_none()
        });
        let left = without_order.map(|name| format!("{name}: its Assignment is gone from the hub; what it started is left alone"));
        let told = self.progress.values().filter_map(|progress| progress.problem.clone());
        left.chain(told).collect()
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
