//! Server-side apply of our own objects, which says what it changed.

use client::Class;
use placement_api::api_type::{ApiType, ObjectKey};
use placement_api::names;
use placement_api::raw::RawObject;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::failure::Failure;

/// An object to be applied.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// Its kind.
    pub(crate) api: ApiType,
    /// The object.
    pub(crate) object: Value,
}

impl Manifest {
    /// From a kind and its object.
    pub(crate) fn new(api: ApiType, object: Value) -> Self {
        Self { api, object }
    }

    /// Namespace and name.
    pub(crate) fn key(&self) -> ObjectKey {
        let text = |pointer: &str| {
            self.object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        ObjectKey::new(text("/metadata/namespace"), text("/metadata/name"))
    }
}

/// What a write came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// It was there as it should be.
    #[default]
    Unchanged,
    /// It was there and has changed.
    Changed,
    /// It is new.
    Created,
}

/// How many of several objects were changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    created: usize,
    changed: usize,
    unchanged: usize,
}

impl Tally {
    /// Counts one more.
    pub(crate) fn add(&mut self, change: Change) {
        match change {
            Change::Created => self.created += 1,
            Change::Changed => self.changed += 1,
            Change::Unchanged => self.unchanged += 1,
        }
    }
}

impl std::fmt::Display for Tally {
    /// `created`, `unchanged`, or `2 created, 1 changed, 5 unchanged`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<(usize, &str)> = [
            (self.created, "created"),
            (self.changed, "changed"),
            (self.unchanged, "unchanged"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .collect();
        match parts.as_slice() {
            [] => f.write_str("nothing to do"),
            [(_, word)] => f.write_str(word),
            several => {
                let texts: Vec<String> = several
                    .iter()
                    .map(|(n, word)| format!("{n} {word}"))
                    .collect();
                f.write_str(&texts.join(", "))
            }
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Created => "created",
        })
    }
}

/// Applies an object. The server itself sees where nothing changes, and writes nothing then.
pub(crate) async fn apply(cluster: &Cluster, manifest: &Manifest) -> Result<Change, Failure> {
    let key = manifest.key();
    let before: Option<RawObject> = cluster.get(&manifest.api, &key).await?;
    if before.as_ref().is_some_and(RawObject::is_deleting) {
        return Err(Failure::failed(format!(
            "{} {key} on the {} is being deleted",
            manifest.api.kind, cluster.role
        ))
        .hint("wait until it is gone, then run this again"));
    }
    let after: RawObject = cluster
        .connection
        .apply(
            &manifest.api,
            &key,
            &manifest.object,
            names::CLI_MANAGER,
            true,
        )
        .await
        .map_err(|error| cluster.failure(&error))?;
    Ok(match before {
        None => Change::Created,
        Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
            Change::Unchanged
        }
        Some(_) => Change::Changed,
    })
}

/// Applies several objects in order.
pub(crate) async fn apply_all(cluster: &Cluster, manifests: &[Manifest]) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    for manifest in manifests {
        tally.add(apply(cluster, manifest).await?);
    }
    Ok(tally)
}

/// Creates an object that others write afterwards, unless it is there.
pub(crate) async fn create_once(cluster: &Cluster, manifest: &Manifest) -> Result<Change, Failure> {
    let key = manifest.key();
    if cluster
        .get::<RawObject>(&manifest.api, &key)
        .await?
        .is_some()
    {
        return Ok(Change::Unchanged);
    }
    let created: Result<RawObject, _> = cluster
        .connection
        .create(
            &manifest.api,
            &key.namespace,
            &manifest.object,
            names::CLI_MANAGER,
        )
        .await;
    match created {
        Ok(_) => Ok(Change::Created),
        // Somebody else was quicker.
        Err(error) if error.class() == Class::AlreadyExists => Ok(Change::Unchanged),
        Err(error) => Err(cluster.failure(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_in_words() {
        let tally = |changes: &[Change]| {
            let mut tally = Tally::default();
            changes.iter().for_each(|c| tally.add(*c));
            tally.to_string()
        };
        assert_eq!(tally(&[]), "nothing to do");
        assert_eq!(tally(&[Change::Created, Change::Created]), "created");
        assert_eq!(tally(&[Change::Unchanged]), "unchanged");
        assert_eq!(
            tally(&[Change::Unchanged, Change::Created, Change::Unchanged]),
            "1 created, 2 unchanged"
        );
    }
}
