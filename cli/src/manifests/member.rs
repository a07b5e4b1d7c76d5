//! The member's side of a target: the ledger's kinds, the agent's account and what it may do, and the agent itself.

use k8s_openapi::ByteString;
use placement_api::api_type::known;
use placement_api::kinds::member_crds;
use placement_api::names::{AGENT_ACCOUNT, AGENT_SECRET, SYSTEM_NAMESPACE};
use serde_json::json;

use super::{
    Daemon, OURS, READ, account, cluster_binding, cluster_role, collecting_role, deployment,
    manifest, namespace, rule,
};
use crate::apply::Manifest;

/// Label of a ClusterRole whose rules the agent gets, for further kinds.
pub(crate) const TO_AGENT: &str = "inhaul.dev/aggregate-to-agent";
/// Annotation of the agent's account on the member: UID of the hub that it serves.
pub(crate) const HUB_ANNOTATION: &str = "inhaul.dev/hub";
/// Annotation of the agent's account on the member: the target that it is.
pub(crate) const TARGET_ANNOTATION: &str = "inhaul.dev/target";

/// Everything of a member but credentials and the agent itself.
pub(crate) fn side(target: &str, hub_uid: &str) -> Vec<Manifest> {
    let mut manifests: Vec<Manifest> = crds();
    let extra = format!("{AGENT_ACCOUNT}-extra");
    let mut agent = account(SYSTEM_NAMESPACE, AGENT_ACCOUNT);
    agent.object["metadata"]["annotations"] =
        json!({ HUB_ANNOTATION: hub_uid, TARGET_ANNOTATION: target });
    manifests.extend([
        namespace(SYSTEM_NAMESPACE, &json!({})),
        agent,
        cluster_role(AGENT_ACCOUNT, &rules()),
        cluster_binding(AGENT_ACCOUNT, AGENT_ACCOUNT, AGENT_ACCOUNT),
        collecting_role(&extra, TO_AGENT),
        cluster_binding(&extra, &extra, AGENT_ACCOUNT),
    ]);
    manifests
}

fn rules() -> Vec<serde_json::Value> {
    const ALL: &[&str] = &[
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    const KEEP: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
    vec![
        rule(
            &[""],
            &["namespaces"],
            &["get", "list", "watch", "create", "patch"],
        ),
        rule(
            &[""],
            &["configmaps", "secrets", "services", "serviceaccounts"],
            KEEP,
        ),
        rule(&["apps"], &["deployments", "statefulsets"], KEEP),
        rule(&["batch"], &["jobs"], KEEP),
        rule(&[""], &["pods"], &["get", "list", "watch", "patch"]),
        rule(&[""], &["nodes", "events"], READ),
        rule(&["apps"], &["replicasets"], READ),
        rule(
            &["resource.k8s.io"],
            &["resourceslices", "deviceclasses"],
            READ,
        ),
        // Claims that travel with a workload; those that the member makes from templates are only read.
        rule(
            &["resource.k8s.io"],
            &["resourceclaims", "resourceclaimtemplates"],
            KEEP,
        ),
        rule(
            &["apiextensions.k8s.io"],
            &["customresourcedefinitions"],
            &["get", "list", "watch", "create", "patch"],
        ),
        rule(OURS, &["appliedassignments"], ALL),
        rule(OURS, &["syncpolicies"], READ),
    ]
}

/// The member's kinds.
pub(crate) fn crds() -> Vec<Manifest> {
    member_crds().iter().map(super::hub::crd).collect()
}

/// The agent's way to the hub.
pub(crate) fn secret(kubeconfig: &str) -> Manifest {
    manifest(
        known::SECRET,
        json!({ "namespace": SYSTEM_NAMESPACE, "name": AGENT_SECRET }),
        json!({ "type": "Opaque", "data": { "kubeconfig": ByteString(kubeconfig.as_bytes().to_vec()) } }),
    )
}

/// The agent as a Deployment. New credentials (told by `expires`) make new pods, because a process reads them once.
pub(crate) fn agent_deployment(target: &str, image: &str, expires: &str) -> Manifest {
    let kubeconfig = format!("/etc/inhaul/{AGENT_SECRET}/kubeconfig");
    let args = [
        "--target",
        target,
        "--hub-kubeconfig",
        &kubeconfig,
        "--listen",
        "0.0.0.0:8080",
        "--identity",
        "$(POD_NAME)",
        "--log-format",
        "json",
    ];
    let mut agent = deployment(&Daemon {
        namespace: SYSTEM_NAMESPACE,
        name: AGENT_ACCOUNT,
        image,
        args: args.map(str::to_owned).into(),
        secret: Some(AGENT_SECRET),
        replicas: 1,
    });
    agent.object["spec"]["template"]["metadata"]["annotations"] =
        json!({ "inhaul.dev/credentials-expire": expires });
    agent
}
