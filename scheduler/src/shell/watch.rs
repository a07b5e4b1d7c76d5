//! What the scheduler watches: Inhaul's own kinds, what pods depend on, and every kind that may be placed. Each watch is a
//! task that puts its events into one bounded channel, so that a burst waits in the API server and not in our memory.

use std::collections::BTreeMap;

use client::{Connection, WatchEvent, WatchScope};
use futures::StreamExt;
use placement_api::api_type::{ApiType, known};
use placement_api::kinds::api;
use placement_api::names::AGENT_LEASE;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What a watch is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// SyncTargets.
    Targets,
    /// Locations.
    Locations,
    /// Placements.
    Placements,
    /// Queues.
    Queues,
    /// The FleetPolicy.
    Policies,
    /// KindProfiles.
    Profiles,
    /// Workloads.
    Workloads,
    /// Assignments.
    Assignments,
    /// Inventories.
    Inventories,
    /// Heartbeats of the agents.
    Leases,
    /// PriorityClasses.
    Priorities,
    /// Namespaces.
    Namespaces,
    /// CustomResourceDefinitions: that they change, not what they say.
    Definitions,
    /// Objects that may be placed, or that others depend on.
    Objects(ApiType),
}

/// One event of one watch.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) source: Source,
    pub(crate) event: WatchEvent,
}

/// The watches that are open. Dropping them ends them.
pub(crate) struct Watches {
    hub: Connection,
    sender: mpsc::Sender<Message>,
    open: BTreeMap<Source, Guard>,
}

struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watches {
    /// Opens the watches that are always there.
    pub(crate) fn start(hub: &Connection, sender: mpsc::Sender<Message>) -> Self {
        let mut watches = Self {
            hub: hub.clone(),
            sender,
            open: BTreeMap::new(),
        };
        for (source, api) in fixed() {
            watches.open(source, &api);
        }
        watches
    }

    /// Opens a watch unless it is open.
    pub(crate) fn open(&mut self, source: Source, api: &ApiType) {
        if self.open.contains_key(&source) {
            return;
        }
        let mut events = self.hub.watch(api, scope(&source));
        let sender = self.sender.clone();
        let tag = source.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let message = Message {
                    source: tag.clone(),
                    event,
                };
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
        self.open.insert(source, Guard(task.abort_handle()));
    }

    /// Ends a watch.
    pub(crate) fn close(&mut self, source: &Source) {
        self.open.remove(source);
    }
}

/// The watches that are always open.
pub(crate) fn fixed() -> Vec<(Source, ApiType)> {
    vec![
        (Source::Targets, api::SYNC_TARGETS),
        (Source::Locations, api::LOCATIONS),
        (Source::Placements, api::PLACEMENTS),
        (Source::Queues, api::QUEUES),
        (Source::Policies, api::FLEET_POLICIES),
        (Source::Profiles, api::KIND_PROFILES),
        (Source::Workloads, api::WORKLOADS),
        (Source::Assignments, api::ASSIGNMENTS),
        (Source::Inventories, api::INVENTORIES),
        (Source::Leases, known::LEASE),
        (Source::Priorities, known::PRIORITY_CLASS),
        (Source::Namespaces, known::NAMESPACE),
        (Source::Definitions, known::CUSTOM_RESOURCE_DEFINITION),
    ]
}

/// Kinds that pods depend on; they are watched whether they are placed by themselves or not.
pub(crate) const DEPENDENCIES: &[ApiType] = &[
    known::CONFIG_MAP,
    known::SECRET,
    known::SERVICE,
    known::SERVICE_ACCOUNT,
    known::RESOURCE_CLAIM,
    known::RESOURCE_CLAIM_TEMPLATE,
];

/// What is left out at the server already.
fn scope(source: &Source) -> WatchScope {
    let field_selector = match source {
        Source::Leases => Some(format!("metadata.name={AGENT_LEASE}")),
        Source::Objects(api) if *api == known::CONFIG_MAP => {
            Some("metadata.name!=kube-root-ca.crt".to_owned())
        }
        Source::Objects(api) if *api == known::SECRET => Some(
            "type!=kubernetes.io/service-account-token,type!=helm.sh/release.v1,type!=bootstrap.kubernetes.io/token"
                .to_owned(),
        ),
        _ => None,
    };
    WatchScope {
        field_selector,
        ..WatchScope::all()
    }
}
