//! One leader: a lease of our own, renewed under its resource version and judged by this machine's monotonic clock.
//!
//! A candidate takes over when the lease is free, when it names the candidate itself (which has just restarted), or when it
//! has not changed for a whole duration *as seen from here*; clocks of two machines are never compared. The leader steps
//! down after two thirds of the duration without a renewal, so that it has stopped before anybody else may begin. Whoever
//! leads has a term, the number of the lease's transitions, which the API server lets only grow in everything written.

use std::sync::Arc;
use std::time::Duration;

use client::{ApiError, Class, Connection, WatchEvent, WatchScope};
use futures::StreamExt;
use placement_api::api_type::{ObjectKey, known};
use placement_api::names::{SCHEDULER, SCHEDULER_MANAGER, SYSTEM_NAMESPACE};
use placement_api::raw::RawObject;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

/// How a Lease stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeaseSpec {
    /// Who holds it; absent or empty: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holder_identity: Option<String>,
    /// How long it holds without a renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_duration_seconds: Option<i64>,
    /// When its holder took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acquire_time: Option<String>,
    /// When its holder last renewed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) renew_time: Option<String>,
    /// How often it has been taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_transitions: Option<i64>,
}

/// A candidate for leadership.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) hub: ConnectionHandle,
    pub(crate) identity: String,
    pub(crate) duration: Duration,
}

/// A connection that can be shown in debug output.
#[derive(Clone)]
pub(crate) struct ConnectionHandle(pub(crate) Connection);

impl std::fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.server_url())
    }
}

/// Leadership that was won. Clones ask the same lease.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    /// Number of this leadership.
    pub(crate) term: i64,
    until: Arc<watch::Sender<Instant>>,
}

impl Leadership {
    /// Whether a write may still be sent.
    pub(crate) fn holds(&self) -> bool {
        Instant::now() < *self.until.borrow()
    }
}

impl Candidate {
    /// Waits until this process leads. The term is greater than `floor`, so that nothing written before is newer.
    pub(crate) async fn acquire(&self, floor: i64) -> (Leadership, Held) {
        let mut events = self.hub.0.watch(&known::LEASE, scope());
        let mut seen: Option<(String, Instant)> = None;
        let mut told = String::new();
        loop {
            let wait = match self.try_take(floor, &mut seen).await {
                Ok(Attempt::Taken(leadership, held)) => return (leadership, *held),
                Ok(Attempt::HeldBy(holder, wait)) => {
                    if told != holder {
                        info!(holder, "standing by");
                        told = holder;
                    }
                    wait
                }
                Ok(Attempt::Again) => continue,
                Err(error) => {
                    warn!(%error, "cannot read or take the leader's lease");
                    // A server that refuses us will not change its mind in a moment.
                    sleep(self.duration / 10).await;
                    continue;
                }
            };
            let deadline = Instant::now() + wait;
            // A change of the lease (a release above all) is looked at at once.
            loop {
                tokio::select! {
                    () = sleep_until(deadline) => break,
                    event = events.next() => match event {
                        Some(WatchEvent::Applied(lease)) => {
                            let known = seen.as_ref().is_some_and(|(version, _)| *version == lease.metadata.resource_version);
                            if !known {
                                break;
                            }
                        }
                        Some(WatchEvent::Deleted(_)) => break,
                        _ => {}
                    },
                }
            }
        }
    }

    async fn try_take(
        &self,
        floor: i64,
        seen: &mut Option<(String, Instant)>,
    ) -> Result<Attempt, ApiError> {
        let hub = &self.hub.0;
        let now = Instant::now();
        let Some(lease) = hub.get::<RawObject>(&known::LEASE, &key()).await? else {
            let spec = self.fresh(floor + 1);
            let body = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": SCHEDULER, "namespace": SYSTEM_NAMESPACE}, "spec": spec,
            });
            return match hub
                .create::<_, RawObject>(&known::LEASE, SYSTEM_NAMESPACE, &body, SCHEDULER_MANAGER)
                .await
            {
                Ok(lease) => Ok(self.won(lease, spec, now)),
                Err(error) if error.is_already_exists() || error.outcome_unknown() => {
                    Ok(Attempt::Again)
                }
                Err(error) => Err(error),
            };
        };
        let spec = spec_of(&lease);
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let version = lease.metadata.resource_version.clone();
            let since = match seen {
                Some((before, since)) if *before == version => *since,
                _ => now,
            };
            *seen = Some((version, since));
            let written = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
            let over = since + Duration::from_secs(written).max(self.duration);
            if now < over {
                return Ok(Attempt::HeldBy(holder, over - now));
            }
        }
        let spec = self.fresh(spec.lease_transitions.unwrap_or(0).max(floor) + 1);
        match self.replace(&lease, &spec).await {
            Ok(lease) => Ok(self.won(lease, spec, now)),
            Err(error) if error.is_conflict() || error.outcome_unknown() => Ok(Attempt::Again),
            Err(error) => Err(error),
        }
    }

    fn won(&self, lease: RawObject, spec: LeaseSpec, sent: Instant) -> Attempt {
        let term = spec.lease_transitions.unwrap_or(0);
        info!(term, identity = self.identity, "leading");
        let (until, _) = watch::channel(sent + self.patience());
        let until = Arc::new(until);
        let leadership = Leadership {
            term,
            until: Arc::clone(&until),
        };
        let held = Held {
            candidate: self.clone(),
            lease,
            spec,
            until,
        };
        Attempt::Taken(leadership, Box::new(held))
    }

    /// How long a leader goes on without a renewal.
    fn patience(&self) -> Duration {
        self.duration * 2 / 3
    }

    fn fresh(&self, transitions: i64) -> LeaseSpec {
        let now = stamp();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(whole_seconds(self.duration)),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
        }
    }

    async fn replace(&self, lease: &RawObject, spec: &LeaseSpec) -> Result<RawObject, ApiError> {
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": SCHEDULER, "namespace": SYSTEM_NAMESPACE,
                "labels": lease.metadata.labels, "annotations": lease.metadata.annotations,
                "uid": lease.metadata.uid, "resourceVersion": lease.metadata.resource_version,
            },
            "spec": spec,
        });
        self.hub
            .0
            .with_deadline(self.duration / 3)
            .replace(&known::LEASE, &key(), &body)
            .await
    }
}

/// The lease of a leader, to be renewed.
#[derive(Debug)]
pub(crate) struct Held {
    candidate: Candidate,
    lease: RawObject,
    spec: LeaseSpec,
    until: Arc<watch::Sender<Instant>>,
}

impl Held {
    /// Renews until the lease is lost.
    pub(crate) async fn renew(&mut self) {
        let every = self.candidate.duration / 5;
        let mut wait = every;
        loop {
            let until = *self.until.borrow();
            tokio::select! {
                () = sleep(wait) => {}
                () = sleep_until(until) => {
                    warn!("the lease could not be renewed in time: stepping down");
                    return;
                }
            }
            let sent = Instant::now();
            if sent >= until {
                warn!("the lease could not be renewed in time: stepping down");
                return;
            }
            let mut spec = self.spec.clone();
            spec.renew_time = Some(stamp());
            match self.candidate.replace(&self.lease, &spec).await {
                Ok(lease) => {
                    self.lease = lease;
                    self.spec = spec;
                    self.until.send_replace(sent + self.candidate.patience());
                    // A slow answer has used up the pause.
                    wait = every.saturating_sub(sent.elapsed());
                }
                Err(error) if error.is_conflict() || error.class() == Class::NotFound => {
                    if !self.read_back().await {
                        warn!("somebody else has taken the lease: stepping down");
                        self.until.send_replace(Instant::now());
                        return;
                    }
                    wait = Duration::ZERO;
                }
                Err(error) => {
                    warn!(%error, "the lease was not renewed; trying again");
                    wait = every / 4;
                }
            }
        }
    }

    /// Gives the lease back, so that another candidate need not wait.
    pub(crate) async fn release(mut self) {
        self.until.send_replace(Instant::now());
        let mut spec = self.spec.clone();
        spec.holder_identity = None;
        let done = timeout(
            Duration::from_secs(2),
            self.candidate.replace(&self.lease, &spec),
        )
        .await;
        if let Ok(Err(error)) = done {
            if error.is_conflict() && self.read_back().await {
                let again = self.candidate.replace(&self.lease, &spec);
                drop(timeout(Duration::from_secs(2), again).await);
            } else {
                warn!(%error, "the lease was not released");
            }
        }
    }

    /// A renewal whose outcome was not known may have been written: whether the lease is still ours.
    async fn read_back(&mut self) -> bool {
        let hub = self
            .candidate
            .hub
            .0
            .with_deadline(self.candidate.duration / 5);
        let Ok(Some(lease)) = hub.get::<RawObject>(&known::LEASE, &key()).await else {
            return false;
        };
        let spec = spec_of(&lease);
        let ours = spec.holder_identity == self.spec.holder_identity
            && spec.lease_transitions == self.spec.lease_transitions;
        self.lease = lease;
        ours
    }
}

enum Attempt {
    Taken(Leadership, Box<Held>),
    HeldBy(String, Duration),
    Again,
}

/// The spec of any Lease; an unreadable one counts as empty.
pub(crate) fn spec_of(lease: &RawObject) -> LeaseSpec {
    lease.section_as("spec").ok().flatten().unwrap_or_default()
}

fn key() -> ObjectKey {
    ObjectKey::new(SYSTEM_NAMESPACE, SCHEDULER)
}

fn scope() -> WatchScope {
    WatchScope {
        namespace: Some(SYSTEM_NAMESPACE.to_owned()),
        field_selector: Some(format!("metadata.name={SCHEDULER}")),
        ..WatchScope::default()
    }
}

/// Kubernetes' MicroTime.
fn stamp() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        .to_string()
}

/// Rounded up: a lease must not seem shorter than it is.
fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis().div_ceil(1000).max(1)).unwrap_or(i64::MAX)
}
