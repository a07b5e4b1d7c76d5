//! Sends what was decided. A job belongs to a key, and the engine never has two jobs of one key under way; inside a job
//! the stages follow each other (the Workload, which records the decision, before its Assignments) and the writes of one
//! stage go out together. Nothing is sent by a leader that has lost its lease, and nothing is sent twice: what failed is
//! read back, and the engine decides anew.

use client::{ApiError, Class, Connection, DeletePreconditions, Deleted, Propagation};
use futures::future::join_all;
use placement_api::api_type::{ApiType, ObjectKey};
use placement_api::names::SCHEDULER_MANAGER;
use placement_api::raw::RawObject;
use serde_json::Value;

use super::lease::Leadership;
use super::metrics::Metrics;

/// One write, and what the engine wants to remember of it.
#[derive(Debug)]
pub(crate) struct Write<T> {
    pub(crate) tag: T,
    pub(crate) api: ApiType,
    pub(crate) key: ObjectKey,
    pub(crate) verb: Verb,
}

/// What is done to the object. It may carry a Secret, so its debug output is its name.
pub(crate) enum Verb {
    /// Create it.
    Create(Value),
    /// JSON patch; the first operation should test the UID.
    Patch(Value),
    /// JSON merge patch of the status.
    MergeStatus(Value),
    /// JSON merge patch.
    Merge(Value),
    /// Delete it if it is still this one.
    Delete { uid: String },
    /// Read it, because a decision needs to know.
    Read,
}

/// Writes of one key.
#[derive(Debug)]
pub(crate) struct Job<K, T> {
    pub(crate) key: K,
    pub(crate) stages: Vec<Vec<Write<T>>>,
}

/// What became of one write.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    pub(crate) tag: T,
    pub(crate) object: ObjectKey,
    /// How the object stands now, where that is known: from the answer, or read back after a failure.
    pub(crate) live: Option<Seen>,
    /// What went wrong.
    pub(crate) error: Option<Trouble>,
}

/// How an object stands.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It is there.
    There(Box<RawObject>),
    /// It is not there.
    Gone,
}

/// Why a write did not happen.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The API server said no, or nothing.
    Api(ApiError),
    /// This process does not lead any more.
    Deposed,
    /// A write of an earlier stage failed.
    NotReached,
}

/// What became of a job.
#[derive(Debug)]
pub(crate) struct Done<K, T> {
    pub(crate) key: K,
    pub(crate) outcomes: Vec<Outcome<T>>,
}

/// Runs a job to its end.
pub(crate) async fn run<K, T>(
    job: Job<K, T>,
    hub: Connection,
    leadership: Leadership,
    metrics: Metrics,
) -> Done<K, T> {
    let mut outcomes = Vec::new();
    let mut stopped = false;
    for stage in job.stages {
        if stopped {
            outcomes.extend(
                stage
                    .into_iter()
                    .map(|write| failed(write, Trouble::NotReached)),
            );
            continue;
        }
        let done = join_all(
            stage
                .into_iter()
                .map(|write| one(write, &hub, &leadership, &metrics)),
        )
        .await;
        stopped = done.iter().any(|outcome| outcome.error.is_some());
        outcomes.extend(done);
    }
    Done {
        key: job.key,
        outcomes,
    }
}

async fn one<T>(
    write: Write<T>,
    hub: &Connection,
    leadership: &Leadership,
    metrics: &Metrics,
) -> Outcome<T> {
    if !leadership.holds() {
        return failed(write, Trouble::Deposed);
    }
    let Write {
        tag,
        api,
        key,
        verb,
    } = write;
    let what = verb.name();
    let result = send(hub, &api, &key, verb).await;
    let outcome = result.as_ref().err().map_or("ok", ApiError::category);
    if what != "read" {
        metrics.wrote(what, outcome);
    }
    let (live, error) = match result {
        Ok(live) => (Some(live), None),
        Err(error) => (
            read_back(hub, &api, &key, &error).await,
            Some(Trouble::Api(error)),
        ),
    };
    Outcome {
        tag,
        object: key,
        live,
        error,
    }
}

async fn send(
    hub: &Connection,
    api: &ApiType,
    key: &ObjectKey,
    verb: Verb,
) -> Result<Seen, ApiError> {
    let there = |object| Seen::There(Box::new(object));
    match verb {
        Verb::Create(body) => hub
            .create(api, &key.namespace, &body, SCHEDULER_MANAGER)
            .await
            .map(there),
        Verb::Patch(operations) => hub
            .json_patch(api, key, None, &operations, SCHEDULER_MANAGER)
            .await
            .map(there),
        Verb::MergeStatus(patch) => hub
            .merge_patch(api, key, Some("status"), &patch, SCHEDULER_MANAGER)
            .await
            .map(there),
        Verb::Merge(patch) => hub
            .merge_patch(api, key, None, &patch, SCHEDULER_MANAGER)
            .await
            .map(there),
        Verb::Delete { uid } => {
            let preconditions = DeletePreconditions {
                uid: Some(uid),
                ..DeletePreconditions::default()
            };
            match hub
                .delete(api, key, preconditions, Propagation::Background)
                .await?
            {
                Deleted::Gone => Ok(Seen::Gone),
                Deleted::Deleting => read(hub, api, key).await,
            }
        }
        Verb::Read => read(hub, api, key).await,
    }
}

async fn read(hub: &Connection, api: &ApiType, key: &ObjectKey) -> Result<Seen, ApiError> {
    let found = hub.get(api, key).await?;
    Ok(found.map_or(Seen::Gone, |object| Seen::There(Box::new(object))))
}

/// After a failure the object may be other than we thought, or the write may have happened all the same.
async fn read_back(
    hub: &Connection,
    api: &ApiType,
    key: &ObjectKey,
    error: &ApiError,
) -> Option<Seen> {
    let worth_it = match error.class() {
        Class::Conflict | Class::AlreadyExists | Class::NotFound | Class::Invalid => true,
        Class::Transient => error.outcome_unknown(),
        Class::Denied | Class::Gone => false,
    };
    if worth_it {
        read(hub, api, key).await.ok()
    } else {
        None
    }
}

fn failed<T>(write: Write<T>, trouble: Trouble) -> Outcome<T> {
    Outcome {
        tag: write.tag,
        object: write.key,
        live: None,
        error: Some(trouble),
    }
}

impl std::fmt::Debug for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Verb {
    fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Patch(_) => "patch",
            Self::MergeStatus(_) => "status",
            Self::Merge(_) => "merge",
            Self::Delete { .. } => "delete",
            Self::Read => "read",
        }
    }
}
