//! What the answers to writes teach, and what is tried again when.

use std::time::Duration;

use client::Class;
use placement_api::api_type::ObjectKey;
use placement_api::kinds::api;
use tracing::{debug, warn};

use super::engine::Engine;
use super::jobs::Tag;
use super::model::{Key, Now, Timer};
use super::watch::Source;
use super::writer::{Done, Outcome, Seen, Trouble};

/// Writes of one key in a row that all succeed and still leave something to write: the hub keeps something else than it was
/// sent, and that is no reason to send it for ever.
const STREAK: u32 = 12;
/// First wait after a write that failed, doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest such wait.
const RETRY_MOST: Duration = Duration::from_secs(30);

impl Engine {
    /// A job has ended.
    pub(super) fn wrote(&mut self, done: Done<Key, Tag>) {
        let now = Now::read();
        let mut trouble = None;
        for outcome in done.outcomes {
            let worst = self.take_outcome(outcome, &done.key, now);
            trouble = trouble.max(worst);
        }
        let key = done.key;
        self.busy.remove(&key);
        let again = self.again.remove(&key);
        if matches!(key, Key::Note(_)) {
            self.notes_running = self.notes_running.saturating_sub(1);
            return;
        }
        let Some(class) = trouble else {
            self.failures.remove(&key);
            let streak = self.streaks.entry(key.clone()).or_insert(0);
            *streak += 1;
            if *streak > STREAK {
                warn!(?key, "the hub keeps something else than it was sent");
                self.resting.insert(key.clone());
                self.timers.set(Timer::Write(key), now.instant + RETRY_MOST);
            } else if again || matches!(key, Key::Workload(_)) {
                // What was learned from the answers may call for more.
                self.enqueue(key);
            } else {
                self.streaks.remove(&key);
            }
            return;
        };
        let failures = self.failures.entry(key.clone()).or_insert(0);
        *failures = failures.saturating_add(1);
        if class == Retry::AtOnce && *failures <= 3 {
            self.enqueue(key);
            return;
        }
        let wait = RETRY_FIRST
            .saturating_mul(1 << (*failures).min(12))
            .min(RETRY_MOST);
        self.resting.insert(key.clone());
        self.timers.set(Timer::Write(key), now.instant + wait);
    }

    /// Learns from one answer. `None`: all is well.
    fn take_outcome(&mut self, outcome: Outcome<Tag>, key: &Key, now: Now) -> Option<Retry> {
        let Outcome {
            tag,
            object,
            live,
            error,
        } = outcome;
        let known = live.is_some();
        self.learn(&tag, &object, live, now);
        if let (Tag::Assignment(target), Some(_), Key::Workload(id)) = (&tag, &error, key)
            && let Some(part) = self
                .model
                .entries
                .get_mut(id)
                .and_then(|entry| entry.parts.get_mut(target))
        {
            part.render = true;
        }
        match error? {
            Trouble::Deposed => Some(Retry::Later),
            Trouble::NotReached => Some(Retry::AtOnce),
            Trouble::Api(error) => {
                let moved = matches!(
                    error.class(),
                    Class::Conflict | Class::AlreadyExists | Class::NotFound
                );
                if let (Key::Status(id), Class::Invalid | Class::NotFound) = (key, error.class())
                    && let Some(entry) = self.model.entries.get_mut(id)
                {
                    warn!(%error, "the hub does not take the status of an object");
                    entry.refused_status = entry.sent_status.clone();
                    return None;
                }
                if moved && known {
                    debug!(%error, "an object was other than expected; decided anew");
                    return Some(Retry::AtOnce);
                }
                warn!(%error, "a write failed");
                Some(Retry::Later)
            }
        }
    }

    fn learn(&mut self, tag: &Tag, object: &ObjectKey, live: Option<Seen>, now: Now) {
        let source = match tag {
            Tag::Workload => Source::Workloads,
            Tag::Assignment(_) => Source::Assignments,
            Tag::Term(_) => Source::Inventories,
            Tag::Own | Tag::Object | Tag::Check(_) | Tag::Other => {
                return self.learn_other(tag, object, live, now);
            }
        };
        match live {
            Some(Seen::There(live)) => self.model.applied(&source, *live, now),
            Some(Seen::Gone) => self.model.deleted(&source, object, None, now),
            None => {}
        }
    }

    fn learn_other(&mut self, tag: &Tag, object: &ObjectKey, live: Option<Seen>, now: Now) {
        match (tag, live) {
            (Tag::Own, Some(Seen::There(live))) => {
                let source = match live.kind.as_str() {
                    kind if kind == api::SYNC_TARGETS.kind => Source::Targets,
                    kind if kind == api::LOCATIONS.kind => Source::Locations,
                    kind if kind == api::PLACEMENTS.kind => Source::Placements,
                    kind if kind == api::KIND_PROFILES.kind => Source::Profiles,
                    kind if kind == api::QUEUES.kind => Source::Queues,
                    _ => return,
                };
                self.model.applied(&source, *live, now);
            }
            (Tag::Object | Tag::Check(_), Some(Seen::There(live))) => {
                self.model.object_applied(*live, now);
            }
            (Tag::Check(root), Some(Seen::Gone)) => self.model.object_gone(root),
            (Tag::Object, Some(Seen::Gone)) => {
                self.model.copy_gone(object, None);
            }
            _ => {}
        }
    }
}

/// When a key is looked at again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Retry {
    AtOnce,
    Later,
}
