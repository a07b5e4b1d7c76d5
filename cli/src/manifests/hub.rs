//! The hub's side of `install`: kinds, the scheduler's account and what it may do, and what users may see.

use placement_api::api_type::known;
use placement_api::kinds::hub_crds;
use placement_api::names::{SCHEDULER, SYSTEM_NAMESPACE};
use serde_json::json;

use super::{
    Daemon, OURS, READ, account, cluster_binding, cluster_role, collecting_role, deployment,
    manifest, named, namespace, role, role_binding, rule,
};
use crate::apply::Manifest;

/// Label of a ClusterRole whose rules the scheduler gets, for kinds of a platform owner.
pub(crate) const TO_SCHEDULER: &str = "inhaul.dev/aggregate-to-scheduler";

/// The hub's kinds.
pub(crate) fn crds() -> Vec<Manifest> {
    hub_crds().iter().map(crd).collect()
}

/// A CRD as it is applied.
pub(super) fn crd(
    crd: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
) -> Manifest {
    let name = crd.metadata.name.clone().unwrap_or_default();
    manifest(
        known::CUSTOM_RESOURCE_DEFINITION,
        json!({ "name": name }),
        json!({ "spec": crd.spec }),
    )
}

/// Inhaul's namespace on the hub.
pub(crate) fn system_namespace() -> Manifest {
    namespace(SYSTEM_NAMESPACE, &json!({}))
}

/// The scheduler's account and what it may do. It may write to users' objects nothing but their status, and Secrets only in the
/// namespaces of targets.
pub(crate) fn scheduler_account() -> Vec<Manifest> {
    let extra = format!("{SCHEDULER}-extra");
    vec![
        account(SYSTEM_NAMESPACE, SCHEDULER),
        cluster_role(
            SCHEDULER,
            &[
                rule(
                    &[""],
                    &[
                        "namespaces",
                        "configmaps",
                        "secrets",
                        "services",
                        "serviceaccounts",
                    ],
                    READ,
                ),
                rule(&["apps"], &["deployments", "statefulsets"], READ),
                rule(&["batch"], &["jobs"], READ),
                rule(
                    &["resource.k8s.io"],
                    &["resourceclaims", "resourceclaimtemplates"],
                    READ,
                ),
                rule(&["scheduling.k8s.io"], &["priorityclasses"], READ),
                rule(&["coordination.k8s.io"], &["leases"], READ),
                rule(
                    &["apiextensions.k8s.io"],
                    &["customresourcedefinitions"],
                    READ,
                ),
                rule(
                    &["apps"],
                    &["deployments/status", "statefulsets/status"],
                    &["patch"],
                ),
                rule(&["batch"], &["jobs/status"], &["patch"]),
                rule(&[""], &["events"], &["create", "patch"]),
                rule(OURS, &["*"], READ),
                rule(
                    OURS,
                    &["workloads"],
                    &["create", "update", "patch", "delete"],
                ),
                rule(
                    OURS,
                    &[
                        "synctargets/status",
                        "locations/status",
                        "placements/status",
                        "queues/status",
                        "kindprofiles/status",
                    ],
                    &["patch", "update"],
                ),
            ],
        ),
        cluster_binding(SCHEDULER, SCHEDULER, SCHEDULER),
        collecting_role(&extra, TO_SCHEDULER),
        cluster_binding(&extra, &extra, SCHEDULER),
        role(
            SYSTEM_NAMESPACE,
            SCHEDULER,
            &[
                // A create knows no name yet.
                rule(&["coordination.k8s.io"], &["leases"], &["create"]),
                named(
                    "coordination.k8s.io",
                    "leases",
                    SCHEDULER,
                    &["update", "patch"],
                ),
            ],
        ),
        role_binding(
            SYSTEM_NAMESPACE,
            SCHEDULER,
            SCHEDULER,
            SYSTEM_NAMESPACE,
            SCHEDULER,
        ),
    ]
}

/// What everyone with the role `view` may see: where work runs and why it waits. Targets and their namespaces are not among it.
pub(crate) fn view_role() -> Manifest {
    let mut role = cluster_role(
        "inhaul-view",
        &[rule(
            OURS,
            &["workloads", "placements", "queues", "locations"],
            READ,
        )],
    );
    role.object["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] =
        json!("true");
    role
}

/// What `inhaul whatif` has to see beside `view` on all namespaces: everything of ours, and what else the planner knows. It is bound
/// to nobody.
pub(crate) fn whatif_role() -> Manifest {
    cluster_role(
        "inhaul-whatif",
        &[
            rule(OURS, &["*"], READ),
            rule(&[""], &["namespaces"], READ),
            rule(&["scheduling.k8s.io"], &["priorityclasses"], READ),
            rule(
                &["resource.k8s.io"],
                &["resourceclaims", "resourceclaimtemplates"],
                READ,
            ),
        ],
    )
}

/// The scheduler as a Deployment on the hub.
pub(crate) fn scheduler_deployment(image: &str) -> Manifest {
    deployment(&Daemon {
        namespace: SYSTEM_NAMESPACE,
        name: SCHEDULER,
        image,
        args: [
            "--listen",
            "0.0.0.0:8080",
            "--identity",
            "$(POD_NAME)",
            "--log-format",
            "json",
        ]
        .map(str::to_owned)
        .into(),
        secret: None,
        // One leads, one stands by.
        replicas: 2,
    })
}
