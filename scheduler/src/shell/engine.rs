//! The one task that owns the model. It takes in whatever has happened, plans once for all of it, and keeps a bounded
//! number of writes under way.
//!
//! ```text
//! watches --\                          /--> writer jobs (one per key, 32 at once) --> answers --\
//! answers ----> intake -> cycle -> queue                                                          --> intake
//! timers ---/                          \--> timers
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use client::{ApiError, Class, Connection, Discovery, WatchEvent};
use placement_api::api_type::ObjectKey;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::events::Note;
use super::jobs::Tag;
use super::lease::Leadership;
use super::metrics::Metrics;
use super::model::{Alarm, Key, Model, Now, Timer};
use super::recorder::{Recorder, Recording};
use super::serve::{Readiness, Stage};
use super::timers::Timers;
use super::watch::{Message, Source, Watches};
use super::writer::{self, Done, Job, Verb, Write};

/// Jobs under way at once. Each has one or a few writes; an API server on two cores is busy with fewer.
const JOBS: usize = 32;
/// Watch events that wait in memory.
const EVENTS: usize = 1024;
/// Events under way at once; they wait for everything else.
const NOTES: usize = 4;
/// What the hub serves follows a new definition after about so long.
const DISCOVERY_RETRY: Duration = Duration::from_millis(250);

/// Why leading has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Asked to stop; nothing is under way any more.
    Stopped,
    /// The lease is lost.
    Deposed,
    /// The hub has objects of a higher term: the lease was deleted and began anew.
    Behind(i64),
}

/// What an engine needs.
pub(crate) struct Engine {
    hub: Connection,
    leadership: Leadership,
    identity: String,
    metrics: Metrics,
    readiness: Readiness,
    pub(super) model: Model,
    pub(super) watches: Watches,
    messages: mpsc::Receiver<Message>,
    pub(super) trackers: BTreeMap<Source, Tracker>,
    pub(super) served: Option<Discovery>,
    pub(super) timers: Timers<Timer>,
    queue: VecDeque<Key>,
    queued: BTreeSet<Key>,
    pub(super) busy: BTreeSet<Key>,
    pub(super) again: BTreeSet<Key>,
    /// Keys whose last write failed, and how often in a row.
    pub(super) failures: BTreeMap<Key, u32>,
    pub(super) resting: BTreeSet<Key>,
    running: JoinSet<Work>,
    /// Jobs of a key that followed each other at once.
    pub(super) streaks: BTreeMap<Key, u32>,
    discovering: bool,
    phase: Phase,
    unsent: VecDeque<Note>,
    notes_sent: u64,
    pub(super) notes_running: usize,
    recorder: Option<Recorder>,
}

/// How far a new leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reading what there is.
    Reading,
    /// Raising the term in every Inventory.
    Fencing,
    /// Deciding.
    Deciding,
}

/// What a watch has told so far.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    known: BTreeSet<ObjectKey>,
    listing: Option<BTreeSet<ObjectKey>>,
    pub(super) synced: bool,
    failing: bool,
}

enum Work {
    Wrote(Done<Key, Tag>),
    Served(Result<Discovery, ApiError>),
}

impl Engine {
    /// An engine for one leadership.
    pub(crate) fn new(
        hub: Connection,
        leadership: Leadership,
        identity: String,
        model: Model,
        metrics: Metrics,
        readiness: Readiness,
    ) -> Self {
        let (sender, messages) = mpsc::channel(EVENTS);
        let watches = Watches::start(&hub, sender);
        let trackers = super::watch::fixed()
            .into_iter()
            .map(|(source, _)| (source, Tracker::default()))
            .collect();
        metrics.restart();
        Self {
            hub,
            leadership,
            identity,
            metrics,
            readiness,
            model,
            watches,
            messages,
            trackers,
            served: None,
            timers: Timers::default(),
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            busy: BTreeSet::new(),
            again: BTreeSet::new(),
            failures: BTreeMap::new(),
            resting: BTreeSet::new(),
            running: JoinSet::new(),
            streaks: BTreeMap::new(),
            discovering: false,
            phase: Phase::Reading,
            unsent: VecDeque::new(),
            notes_sent: 0,
            notes_running: 0,
            recorder: None,
        }
    }

    /// Writes down from here on what goes into the planner. Where that cannot be, it says so and goes on without.
    pub(crate) fn record(&mut self, recording: &Recording) {
        match Recorder::begin(recording, self.model.term, Now::read().ms) {
            Ok(recorder) => {
                self.model.core.record();
                self.recorder = Some(recorder);
            }
            Err(error) => {
                error!(folder = %recording.folder.display(), %error, "nothing is recorded: the file cannot be made");
            }
        }
    }

    /// Leads until asked to stop or deposed.
    pub(crate) async fn lead(mut self, mut stop: watch::Receiver<bool>) -> End {
        self.readiness.set(Stage::Syncing);
        self.discover();
        let mut batch = Vec::with_capacity(EVENTS);
        let mut stopping = *stop.borrow();
        loop {
            let next = self.timers.next();
            tokio::select! {
                _ = self.messages.recv_many(&mut batch, EVENTS), if !stopping => {}
                Some(work) = self.running.join_next(), if !self.running.is_empty() => self.worked(work),
                () = sleep_until(next.unwrap_or_else(far)), if next.is_some() && !stopping => {}
                _ = stop.changed(), if !stopping => stopping = true,
                // Lost leases are noticed even while nothing happens.
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            if !self.leadership.holds() {
                return End::Deposed;
            }
            let now = Now::read();
            for message in batch.drain(..) {
                self.take_message(message, now);
            }
            while let Some(work) = self.running.try_join_next() {
                self.worked(work);
            }
            if stopping {
                if self.running.is_empty() {
                    return End::Stopped;
                }
                continue;
            }
            while let Some(timer) = self.timers.due(now.instant) {
                self.fired(timer, now);
            }
            if self.model.kinds_changed && self.can_choose_kinds() {
                self.choose_kinds();
            }
            let end = self.go_on(now);
            self.write_down();
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// What the new leader does next, as far as it is.
    fn go_on(&mut self, now: Now) -> Option<End> {
        if self.phase == Phase::Reading && self.is_synced() {
            if let Some(newest) = self
                .model
                .newest_term()
                .filter(|newest| *newest > self.model.term)
            {
                error!(
                    newest,
                    term = self.model.term,
                    "the hub has objects of a higher term"
                );
                return Some(End::Behind(newest));
            }
            info!(
                workloads = self.model.entries.len(),
                targets = self.model.targets.len(),
                "everything is read"
            );
            self.phase = Phase::Fencing;
            let targets: Vec<_> = self.model.targets.keys().cloned().collect();
            for target in targets {
                self.enqueue(Key::Term(target));
            }
        }
        if self.phase == Phase::Fencing {
            self.pump(now);
            let fencing = |key: &Key| matches!(key, Key::Term(_));
            if !self.busy.iter().any(fencing) && !self.queue.iter().any(fencing) {
                self.model.adopt_all(now);
                self.phase = Phase::Deciding;
                self.readiness.set(Stage::Leading);
            }
        }
        if self.phase == Phase::Deciding {
            self.decide(now);
        }
        self.settle_notes();
        self.pump(now);
        // What a write needs (copies of Secrets first, another plan) may have come up while jobs were made.
        if self.phase == Phase::Deciding && !self.model.look.is_empty() {
            self.decide(now);
        }
        self.settle_notes();
        self.pump(now);
        self.settle_notes();
        self.metrics
            .sizes(self.model.entries.len(), self.queue.len());
        None
    }

    fn decide(&mut self, now: Now) {
        let model = &self.model;
        if model.look.is_empty() && model.event.is_nothing() && !model.core.fleet().has_failures() {
            return;
        }
        let begun = Instant::now();
        let reasons = self.model.cycle(now);
        self.model.queues_moved(now);
        if !reasons.is_empty() {
            self.metrics.cycle(begun.elapsed().as_secs_f64());
        }
        for reason in reasons {
            self.metrics
                .decided(reason.unwrap_or(placement_api::reason::Reason::Placed));
        }
    }

    /// Hands what went into the planner to whoever writes it down.
    fn write_down(&mut self) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let steps = self.model.core.take_steps();
        if !steps.is_empty() && !recorder.take(steps) {
            self.model.core.stop_recording();
            self.recorder = None;
        }
    }

    /// Moves what the model has noted into queue, timers and metrics.
    fn settle_notes(&mut self) {
        for key in std::mem::take(&mut self.model.dirty) {
            self.enqueue(key);
        }
        for (timer, alarm) in std::mem::take(&mut self.model.alarms) {
            match alarm {
                Alarm::At(at) => self.timers.set(timer, at),
                Alarm::By(at) => self.timers.set_earlier(timer, at),
            }
        }
        for (before, now) in std::mem::take(&mut self.model.recounted) {
            self.metrics.pending(before, now);
        }
        self.unsent.extend(std::mem::take(&mut self.model.notes));
    }

    fn take_message(&mut self, message: Message, now: Now) {
        let Message { source, event } = message;
        let Some(tracker) = self.trackers.get_mut(&source) else {
            return;
        };
        match event {
            WatchEvent::Restarted => tracker.listing = Some(BTreeSet::new()),
            WatchEvent::Applied(object) => {
                let key = object.key();
                if let Some(listing) = &mut tracker.listing {
                    listing.insert(key.clone());
                }
                tracker.known.insert(key);
                self.model.applied(&source, object, now);
            }
            WatchEvent::Deleted(object) => {
                let key = object.key();
                tracker.known.remove(&key);
                if let Some(listing) = &mut tracker.listing {
                    listing.remove(&key);
                }
                self.model
                    .deleted(&source, &key, Some(&object.metadata.resource_version), now);
            }
            WatchEvent::Synced => {
                tracker.synced = true;
                tracker.failing = false;
                let listed = tracker.listing.take().unwrap_or_default();
                let unseen: Vec<ObjectKey> = tracker.known.difference(&listed).cloned().collect();
                tracker.known = listed;
                for key in unseen {
                    self.model.deleted(&source, &key, None, now);
                }
            }
            WatchEvent::Error(error) => {
                if !tracker.failing {
                    warn!(?source, %error, "a watch has trouble");
                }
                tracker.failing = true;
                // Objects that we may not read, or that are not served, must not keep everybody else waiting.
                let refused = matches!(error.class(), Class::Denied | Class::NotFound);
                if refused && matches!(source, Source::Objects(_)) {
                    tracker.synced = true;
                }
            }
        }
    }

    fn fired(&mut self, timer: Timer, now: Now) {
        match timer {
            Timer::Lost(target) => self.model.target_silent(&target, now),
            Timer::Plan(id) => {
                self.model.look.insert(id);
            }
            Timer::Write(key) => {
                self.resting.remove(&key);
                self.enqueue(key);
            }
            Timer::Discover => self.discover(),
            Timer::Queues => self.model.compare_queues(),
        }
    }

    fn is_synced(&self) -> bool {
        self.served.is_some()
            && !self.model.kinds_changed
            && self.trackers.values().all(|tracker| tracker.synced)
    }

    fn can_choose_kinds(&self) -> bool {
        let synced = |source: &Source| {
            self.trackers
                .get(source)
                .is_some_and(|tracker| tracker.synced)
        };
        self.served.is_some()
            && synced(&Source::Placements)
            && synced(&Source::Profiles)
            && synced(&Source::Workloads)
            && synced(&Source::Assignments)
    }

    fn choose_kinds(&mut self) {
        self.model.kinds_changed = false;
        let missing = self.open_kinds();
        // A kind that is defined but not served yet will be in a moment.
        if missing.iter().any(|kind| self.model.defined.contains(kind)) {
            self.timers
                .set_earlier(Timer::Discover, Instant::now() + DISCOVERY_RETRY);
        }
    }

    fn discover(&mut self) {
        if self.discovering {
            self.timers
                .set_earlier(Timer::Discover, Instant::now() + DISCOVERY_RETRY);
            return;
        }
        self.discovering = true;
        let hub = self.hub.clone();
        self.running
            .spawn(async move { Work::Served(hub.discover().await) });
    }

    fn worked(&mut self, work: Result<Work, tokio::task::JoinError>) {
        match work {
            Ok(Work::Wrote(done)) => self.wrote(done),
            Ok(Work::Served(Ok(discovery))) => {
                self.discovering = false;
                self.served = Some(discovery);
                self.model.kinds_changed = true;
            }
            Ok(Work::Served(Err(error))) => {
                self.discovering = false;
                warn!(%error, "cannot ask what the hub serves");
                self.timers
                    .set_earlier(Timer::Discover, Instant::now() + Duration::from_secs(1));
            }
            Err(error) => error!(%error, "a task of ours has died"),
        }
    }

    pub(super) fn enqueue(&mut self, key: Key) {
        if self.resting.contains(&key) {
            return;
        }
        if self.busy.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.queue.push_back(key);
        }
    }

    /// Starts jobs while there is room. A job is made when its turn comes, from what is known then.
    fn pump(&mut self, now: Now) {
        let mut later = VecDeque::new();
        while self.running.len() < JOBS {
            let Some(key) = self.queue.pop_front() else {
                break;
            };
            let early = self.phase != Phase::Deciding && !matches!(key, Key::Term(_));
            if early {
                later.push_back(key);
                continue;
            }
            self.queued.remove(&key);
            if let Some(job) = self.job(&key, now) {
                self.busy.insert(key);
                self.spawn(job);
            } else {
                self.failures.remove(&key);
                self.streaks.remove(&key);
            }
        }
        later.append(&mut self.queue);
        self.queue = later;
        while self.running.len() < JOBS && self.notes_running < NOTES {
            let Some(note) = self.unsent.pop_front() else {
                break;
            };
            self.notes_sent += 1;
            self.notes_running += 1;
            self.spawn(note.job(self.notes_sent, &self.identity));
        }
    }

    fn job(&mut self, key: &Key, now: Now) -> Option<Job<Key, Tag>> {
        match key {
            Key::Workload(id) => self.model.workload_job(id),
            Key::Status(id) => self.model.status_job(id, now),
            Key::Copy(target, name) => self.model.copy_job(target, name),
            Key::Term(target) => self.model.term_job(target),
            Key::Target(target) => self.model.target_job(target, now),
            Key::Location(name) => self.model.location_job(name),
            Key::Placement(name) => self.model.placement_job(name, now),
            Key::Profile(name) => self.model.profile_job(name),
            Key::Queue(name) => self.model.queue_job(name, now),
            Key::Check(root) => {
                let store = self.model.kinds.get(&root.kind)?;
                let read = Write {
                    tag: Tag::Check(root.clone()),
                    api: store.api.clone(),
                    key: root.key.clone(),
                    verb: Verb::Read,
                };
                Some(Job {
                    key: key.clone(),
                    stages: vec![vec![read]],
                })
            }
            Key::Note(_) => None,
        }
    }

    fn spawn(&mut self, job: Job<Key, Tag>) {
        let run = writer::run(
            job,
            self.hub.clone(),
            self.leadership.clone(),
            self.metrics.clone(),
        );
        self.running.spawn(async move { Work::Wrote(run.await) });
    }
}

/// A time that does not come.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}
