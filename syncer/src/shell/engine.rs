//! The engine: one task that knows everything, is told everything that happens, and decides what is done next for which assignment.
//! Reads and writes run in tasks of their own, one per assignment at a time; what became of them comes back as an event.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{Connection, WatchScope};
use placement_api::api_type::{GroupKind, ObjectKey};
use placement_api::kinds::InventoryStatus;
use placement_api::names::HUB_LABEL;
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
use crate::decide::queue::Queue;

/// Assignments that are worked on at once.
const AT_WORK: usize = 16;
/// Events taken in before anything is decided: a burst is one change.
const BURST: usize = 512;
/// Once may be a role that is only just being written.
pub(super) const DENIALS: u32 = 2;
/// Milliseconds between two writes of the inventory.
pub(super) const INVENTORY_PAUSE: u64 = 1_000;
/// Milliseconds after the start from which on the inventory is written, whatever is still missing.
const INVENTORY_BY: u64 = 10_000;
/// Milliseconds before a failed write of the inventory is tried again.
pub(super) const INVENTORY_AGAIN: u64 = 3_000;

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
    pub(super) promises: Promises,
    started: Instant,
    random: RandomState,
}

/// How the inventory stands.
#[derive(Default)]
pub(super) struct Stock {
    /// What the hub has.
    pub(super) last: Option<InventoryStatus>,
    pub(super) dirty: bool,
    begun: bool,
    pub(super) writing: bool,
    pub(super) not_before: u64,
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
        let inventory = (self.stock.dirty && !self.stock.writing).then_some(if self.stock.begun {
            self.stock.not_before
        } else {
            INVENTORY_BY
        });
        let wake = self.queue.next_wake().into_iter().chain(inventory).min();
        // Without anything to wait for, an hour is as good as never.
        let wake = wake.unwrap_or_else(|| self.now() + 3_600_000);
        self.started + Duration::from_millis(wake.max(self.now() + 1))
    }

    fn count(&self) {
        let metrics = &self.fixed.metrics;
        metrics
            .queued
            .set(i64::try_from(self.queue.ready()).unwrap_or(i64::MAX));
        metrics
            .assignments
            .set(i64::try_from(self.progress.len()).unwrap_or(i64::MAX));
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

    /// Looks at all these assignments.
    pub(super) fn push_all(&mut self, names: impl IntoIterator<Item = String>) {
        for name in names {
            self.queue.push(&name);
        }
    }

    pub(super) fn push_every(&mut self) {
        let names: Vec<String> = self
            .state
            .assignments
            .values()
            .map(|object| object.metadata.name.clone())
            .chain(self.state.orphans.keys().cloned())
            .collect();
        self.push_all(names);
    }

    pub(super) fn push_namespaces(&mut self, namespaces: &BTreeSet<String>) {
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
        for kind in kinds
            .into_iter()
            .filter(|kind| !is_crd(kind) && !is_namespace(kind))
        {
            if self
                .state
                .kinds
                .get(&kind)
                .is_some_and(|have| have.watching.is_some())
            {
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
    pub(super) fn refresh_watches(&mut self) {
        let Some(discovery) = self.state.discovery.clone() else {
            return;
        };
        self.state.kinds.retain(|kind, _| {
            let away = discovery
                .unavailable
                .iter()
                .any(|version| version.split('/').next() == Some(&kind.group));
            away || discovery.find(kind).is_some()
        });
        let kinds = self
            .state
            .ownership
            .objects()
            .into_iter()
            .map(|id| id.kind.clone())
            .collect();
        self.watch_kinds(kinds);
    }

    fn write_inventory(&mut self) {
        let now = self.now();
        if !self.stock.dirty || self.stock.writing || now < self.stock.not_before {
            return;
        }
        if !self.stock.begun {
            // What the pods belong to is known when every order has been looked at; a first word before that would be taken back.
            if !self.has_seen_all() && now < INVENTORY_BY {
                return;
            }
            self.stock.begun = true;
        }
        self.stock.dirty = false;
        let expected = self
            .progress
            .iter()
            .map(|(name, progress)| (name.as_str(), progress.expected()));
        let counted = counted(
            expected,
            |name| self.state.pods(name),
            |claim| self.state.devices.is_allocated(claim),
        );
        let made = inventory::make(
            &self.state,
            self.fixed.session,
            &self.fixed.cluster_uid,
            counted,
            self.problems(),
        );
        self.stock.not_before = now + INVENTORY_PAUSE;
        let Some(status) = made else {
            self.stock.dirty = true;
            return;
        };
        if inventory::is_news(self.stock.last.as_ref(), &status) {
            self.stock.writing = true;
            let hub = self.fixed.hub.clone();
            self.spawn(async move { Event::Counted(Box::new(hub.count(&status).await)) });
        }
    }

    fn has_seen_all(&self) -> bool {
        let kinds = self.state.kinds.values();
        self.state.assignments.is_synced()
            && self.state.discovery.is_some()
            && self.queue.ready() == 0
            && self.queue.running() == 0
            && kinds
                .into_iter()
                .all(|kind| kind.objects.is_synced() || kind.denied.is_some())
    }

    fn problems(&self) -> Vec<String> {
        let without_order = self.state.ledgers.keys().filter(|name| {
            let key = ObjectKey::new(&self.state.hub_namespace, *name);
            self.state.assignments.get(&key).is_none()
        });
        let left = without_order.map(|name| {
            format!("{name}: its Assignment is gone from the hub; what it started is left alone")
        });
        let told = self
            .progress
            .values()
            .filter_map(|progress| progress.problem.clone());
        left.chain(told).collect()
    }
}
