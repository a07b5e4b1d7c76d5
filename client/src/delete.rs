//! What a deletion asks for and what it has come to.

use serde::Serialize;

/// What has to hold for a deletion to happen; the server checks it in the same step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletePreconditions {
    /// UID that the object must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Resource version that the object must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

impl DeletePreconditions {
    /// Only the object with this UID.
    pub fn uid(uid: impl Into<String>) -> Self {
        Self {
            uid: Some(uid.into()),
            resource_version: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.uid.is_none() && self.resource_version.is_none()
    }
}

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Propagation {
    /// They are collected afterwards.
    #[default]
    Background,
    /// They go first; the object stays, marked as being deleted, until they are gone.
    Foreground,
    /// They stay.
    Orphan,
}

/// What a deletion has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The object is gone, or was never there.
    Gone,
    /// The object is marked as being deleted; finalizers, a grace period or dependents still hold it.
    Deleting,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteOptions<'a> {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) propagation_policy: Propagation,
    #[serde(skip_serializing_if = "DeletePreconditions::is_empty")]
    pub(crate) preconditions: &'a DeletePreconditions,
}
