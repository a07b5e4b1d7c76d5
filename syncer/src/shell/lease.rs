//! The heartbeat: a Lease in the target's namespace on the hub. Its transitions are the session, its holder is the one agent that may
//! write; its renewal is all that the hub knows of contact.

use std::time::Duration;

use client::{ApiError, Connection};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use placement_api::api_type::{ObjectKey, known};
use placement_api::names::AGENT_LEASE;
use tokio::time::{Instant, sleep};

/// The hub holds a target for lost after so many heartbeats without one.
const HEARTBEATS: u32 = 4;
/// Between two looks at a lease that somebody else holds.
const LOOK: Duration = Duration::from_secs(2);

/// A lease that this process holds.
pub struct Held {
    hub: Connection,
    key: ObjectKey,
    lease: Lease,
    identity: String,
    heartbeat: Duration,
    /// The number of this session.
    pub session: i64,
}

/// Why a lease cannot be renewed any more.
#[derive(Debug, thiserror::Error)]
#[error("another agent holds the target: {0}")]
pub struct Deposed(pub String);

/// Waits until the lease is free, ours, or unchanged for its duration by our own clock, and takes it.
pub async fn acquire(
    hub: &Connection,
    namespace: &str,
    identity: &str,
    heartbeat: Duration,
    last_session: i64,
) -> Held {
    let key = ObjectKey::new(namespace, AGENT_LEASE);
    let mut seen: Option<(String, Instant)> = None;
    let mut told = false;
    loop {
        match hub.get::<Lease>(&known::LEASE, &key).await {
            Ok(Some(mut lease)) => {
                let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
                let holder = spec.holder_identity.clone().unwrap_or_default();
                let version = lease.metadata.resource_version.clone().unwrap_or_default();
                let patience = Duration::from_secs(
                    spec.lease_duration_seconds
                        .unwrap_or(40)
                        .max(1)
                        .unsigned_abs()
                        .into(),
                );
                let expired = match &seen {
                    Some((have, since)) if *have == version => since.elapsed() >= patience,
                    _ => {
                        seen = Some((version, Instant::now()));
                        false
                    }
                };
                if holder.is_empty() || holder == identity || expired {
                    // The lease may have been made anew; the hub refuses reports of an older session.
                    let before = i64::from(spec.lease_transitions.unwrap_or_default());
                    let session = before.max(last_session) + 1;
                    let now = MicroTime(jiff::Timestamp::now());
                    *spec = LeaseSpec {
                        holder_identity: Some(identity.to_owned()),
                        lease_transitions: i32::try_from(session).ok(),
                        acquire_time: Some(now.clone()),
                        renew_time: Some(now),
                        lease_duration_seconds: seconds(heartbeat * HEARTBEATS),
                        ..spec.clone()
                    };
                    match hub.replace::<_, Lease>(&known::LEASE, &key, &lease).await {
                        Ok(lease) => {
                            // An answer that comes later than the next heartbeat is none.
                            let patience =
                                heartbeat.clamp(Duration::from_secs(1), Duration::from_secs(5));
                            let (hub, identity) =
                                (hub.with_deadline(patience), identity.to_owned());
                            return Held {
                                hub,
                                key,
                                lease,
                                identity,
                                heartbeat,
                                session,
                            };
                        }
                        Err(error) if error.is_conflict() => continue,
                        Err(error) => {
                            tracing::warn!(%error, "the lease of the target cannot be taken yet");
                        }
                    }
                } else if !told {
                    told = true;
                    tracing::info!(%holder, "another agent holds the target; waiting until it is silent");
                }
            }
            Ok(None) => {
                tracing::warn!(%namespace, "the target has no lease: is it registered on this hub?");
            }
            Err(error) => tracing::warn!(%error, "the lease of the target cannot be read yet"),
        }
        sleep(LOOK).await;
    }
}

impl Held {
    /// Renews for ever; returns only when another agent has taken over.
    pub async fn keep(&mut self) -> Deposed {
        let mut next = Instant::now() + self.heartbeat;
        loop {
            tokio::time::sleep_until(next).await;
            let sent = Instant::now();
            match self.renew().await {
                Ok(()) => next = sent + self.heartbeat,
                Err(Trouble::Deposed(holder)) => return Deposed(holder),
                Err(Trouble::Api(error)) => {
                    tracing::warn!(%error, "the heartbeat did not reach the hub");
                    next = Instant::now() + (self.heartbeat / 5).max(Duration::from_millis(200));
                }
            }
        }
    }

    /// Lets go, so that the next agent need not wait.
    pub async fn release(mut self) {
        if let Some(spec) = &mut self.lease.spec {
            spec.holder_identity = None;
        }
        let hub = self.hub.with_deadline(Duration::from_secs(2));
        if let Err(error) = hub
            .replace::<_, Lease>(&known::LEASE, &self.key, &self.lease)
            .await
        {
            tracing::debug!(%error, "the lease was not released; the next agent waits until it has run out");
        }
    }

    async fn renew(&mut self) -> Result<(), Trouble> {
        let mut lease = self.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(MicroTime(jiff::Timestamp::now()));
        }
        match self
            .hub
            .replace::<_, Lease>(&known::LEASE, &self.key, &lease)
            .await
        {
            Ok(lease) => {
                self.lease = lease;
                Ok(())
            }
            // Somebody wrote it: another agent, or this one, whose answer was lost.
            Err(error) if error.is_conflict() => {
                let live = self
                    .hub
                    .get::<Lease>(&known::LEASE, &self.key)
                    .await
                    .map_err(Trouble::Api)?;
                let spec = live.as_ref().and_then(|lease| lease.spec.as_ref());
                let holder = spec
                    .and_then(|s| s.holder_identity.clone())
                    .unwrap_or_default();
                let session = spec.and_then(|s| s.lease_transitions).map(i64::from);
                match live {
                    Some(live) if holder == self.identity && session == Some(self.session) => {
                        self.lease = live;
                        Err(Trouble::Api(error))
                    }
                    _ => Err(Trouble::Deposed(holder)),
                }
            }
            Err(error) => Err(Trouble::Api(error)),
        }
    }
}

enum Trouble {
    Deposed(String),
    Api(ApiError),
}

fn seconds(duration: Duration) -> Option<i32> {
    i32::try_from(duration.as_secs().max(1)).ok()
}
