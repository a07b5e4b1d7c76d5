//! The hub's side of a target: its record, its namespace, and who may do what there.

use std::collections::BTreeMap;

use placement_api::api_type::known;
use placement_api::kinds::api;
use placement_api::names::{
    AGENT_ACCOUNT, AGENT_LEASE, INVENTORY, SCHEDULER, SYSTEM_NAMESPACE, TARGET_LABEL,
    target_namespace,
};
use placement_api::toleration::Taint;
use serde_json::json;

use super::{OURS, READ, account, manifest, named, namespace, role, role_binding, rule};
use crate::apply::Manifest;

/// The record of a target that is new.
pub(crate) fn sync_target(
    name: &str,
    labels: &BTreeMap<String, String>,
    taints: &[Taint],
) -> Manifest {
    let mut manifest = manifest(
        api::SYNC_TARGETS,
        json!({ "name": name, "labels": labels }),
        json!({ "spec": { "unschedulable": false, "drain": false, "taints": taints } }),
    );
    if let Some(labels) = manifest
        .object
        .pointer_mut("/metadata/labels")
        .and_then(serde_json::Value::as_object_mut)
    {
        // Its labels are the platform owner's.
        labels.remove("app.kubernetes.io/part-of");
    }
    manifest
}

/// The namespace of a target, what the agent may do there, and what the scheduler may.
pub(crate) fn side(target: &str) -> Vec<Manifest> {
    let ns = target_namespace(target);
    vec![
        namespace(&ns, &json!({ TARGET_LABEL: target })),
        account(&ns, AGENT_ACCOUNT),
        role(
            &ns,
            AGENT_ACCOUNT,
            &[
                rule(OURS, &["assignments", "inventories"], READ),
                rule(OURS, &["assignments/status"], &["get", "patch"]),
                rule(OURS, &["inventories/status"], &["get", "patch", "update"]),
                rule(&[""], &["secrets"], READ),
                named(
                    "coordination.k8s.io",
                    "leases",
                    AGENT_LEASE,
                    &["get", "update", "patch"],
                ),
                named("", "serviceaccounts/token", AGENT_ACCOUNT, &["create"]),
            ],
        ),
        role_binding(&ns, AGENT_ACCOUNT, AGENT_ACCOUNT, &ns, AGENT_ACCOUNT),
        role(
            &ns,
            SCHEDULER,
            &[
                rule(
                    OURS,
                    &["assignments"],
                    &["create", "update", "patch", "delete"],
                ),
                rule(OURS, &["inventories"], &["patch"]),
                rule(
                    &[""],
                    &["secrets"],
                    &["create", "update", "patch", "delete"],
                ),
            ],
        ),
        role_binding(&ns, SCHEDULER, SCHEDULER, SYSTEM_NAMESPACE, SCHEDULER),
    ]
}

/// Where the agent reports what it has. Created once: the scheduler raises `minTerm` afterwards.
pub(crate) fn inventory(target: &str, hub_uid: &str) -> Manifest {
    manifest(
        api::INVENTORIES,
        json!({ "namespace": target_namespace(target), "name": INVENTORY }),
        json!({ "spec": { "hubUID": hub_uid, "target": target, "minTerm": 0 } }),
    )
}

/// The agent's heartbeat. Created once, empty: the agent cannot create one.
pub(crate) fn lease(target: &str) -> Manifest {
    manifest(
        known::LEASE,
        json!({ "namespace": target_namespace(target), "name": AGENT_LEASE, "labels": { TARGET_LABEL: target } }),
        json!({ "spec": {} }),
    )
}
