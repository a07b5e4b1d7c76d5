//! The parts of objects that tables need. What is not named here (manifests above all) is skipped while reading.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use placement_api::kinds::{AssignmentPhase, AssignmentState, AssignmentStatus, ObjectRef};
use serde::Deserialize;

/// An Assignment without its manifests.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AssignmentView {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: AssignmentSpecView,
    #[serde(default)]
    pub(crate) status: Option<AssignmentStatus>,
}

/// What an Assignment orders.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AssignmentSpecView {
    pub(crate) workload: ObjectRef,
    #[serde(default)]
    pub(crate) epoch: i64,
    #[serde(default)]
    pub(crate) state: AssignmentState,
}

impl AssignmentView {
    /// The target in whose namespace it is.
    pub(crate) fn target(&self) -> &str {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        placement_api::names::target_of_namespace(namespace).unwrap_or_default()
    }

    /// Where it stands; a status of an older epoch says nothing about this one.
    pub(crate) fn phase(&self) -> AssignmentPhase {
        self.status
            .as_ref()
            .filter(|status| status.epoch == self.spec.epoch)
            .map_or(AssignmentPhase::Pending, |status| status.phase)
    }

    /// Whether the member may still run it.
    pub(crate) fn is_there(&self) -> bool {
        !(self.spec.state == AssignmentState::Removed && self.phase() == AssignmentPhase::Removed)
    }
}

/// A Node as `register` counts it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct NodeView {
    #[serde(default)]
    pub(crate) status: NodeStatusView,
}

/// What a Node has.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct NodeStatusView {
    #[serde(default)]
    pub(crate) allocatable: BTreeMap<String, String>,
}

/// A Lease.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct LeaseView {
    #[serde(default)]
    pub(crate) spec: LeaseSpecView,
}

/// Who holds a Lease, and since when.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeaseSpecView {
    #[serde(default)]
    pub(crate) holder_identity: Option<String>,
    #[serde(default)]
    pub(crate) renew_time: Option<Timestamp>,
}

impl LeaseView {
    /// Whether somebody holds it.
    pub(crate) fn is_held(&self) -> bool {
        self.spec
            .holder_identity
            .as_deref()
            .is_some_and(|holder| !holder.is_empty())
    }
}

/// When an object was created.
pub(crate) fn created(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.creation_timestamp.as_ref().map(|time| time.0)
}
