//! Who may do what, asked of real API servers for every verb, resource and scope: exactly this, and nothing more.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use placement_api::api_type::ApiType;
use serde_json::{Value, json};
use testbed::rig::Admin;

use crate::case::{EU, run, shared};

const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];
/// (group, resource, subresource)
const RESOURCES: [(&str, &str, &str); 31] = [
    ("", "namespaces", ""),
    ("", "nodes", ""),
    ("", "pods", ""),
    ("", "pods", "exec"),
    ("", "secrets", ""),
    ("", "configmaps", ""),
    ("", "services", ""),
    ("", "serviceaccounts", ""),
    ("", "serviceaccounts", "token"),
    ("", "events", ""),
    ("apps", "deployments", ""),
    ("apps", "deployments", "status"),
    ("batch", "jobs", ""),
    ("batch", "jobs", "status"),
    ("rbac.authorization.k8s.io", "clusterroles", ""),
    ("rbac.authorization.k8s.io", "rolebindings", ""),
    ("coordination.k8s.io", "leases", ""),
    ("apiextensions.k8s.io", "customresourcedefinitions", ""),
    ("resource.k8s.io", "resourceslices", ""),
    ("resource.k8s.io", "deviceclasses", ""),
    ("resource.k8s.io", "resourceclaims", ""),
    ("resource.k8s.io", "resourceclaims", "status"),
    ("inhaul.dev", "synctargets", ""),
    ("inhaul.dev", "synctargets", "status"),
    ("inhaul.dev", "placements", ""),
    ("inhaul.dev", "queues", ""),
    ("inhaul.dev", "workloads", ""),
    ("inhaul.dev", "assignments", ""),
    ("inhaul.dev", "assignments", "status"),
    ("inhaul.dev", "inventories", ""),
    ("inhaul.dev", "inventories", "status"),
];
const REVIEW: ApiType = ApiType::cluster(
    "authorization.k8s.io",
    "v1",
    "SubjectAccessReview",
    "subjectaccessreviews",
);

/// Everything that a service account may do with any name, as `namespace: verb group/resource`; `*` is every namespace.
async fn rights(
    cluster: &Admin,
    account: (&str, &str),
    scopes: &[&str],
) -> Result<BTreeSet<String>> {
    let user = format!("system:serviceaccount:{}:{}", account.0, account.1);
    let groups = json!([
        "system:serviceaccounts",
        format!("system:serviceaccounts:{}", account.0),
        "system:authenticated"
    ]);
    let asks = scopes.iter().flat_map(|scope| {
        RESOURCES
            .iter()
            .flat_map(move |r| VERBS.iter().map(move |verb| (*scope, *r, *verb)))
    });
    let answers: Vec<Option<String>> = stream::iter(asks)
        .map(|(scope, (group, resource, sub), verb)| {
            let namespace = if scope == "*" { "" } else { scope };
            let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user, "groups": groups,
                "resourceAttributes": {"group": group, "resource": resource, "subresource": sub, "verb": verb, "namespace": namespace}}});
            async move {
                let answer: Value = cluster.connection().create(&REVIEW, "", &review, "test").await?;
                let slash = if sub.is_empty() { String::new() } else { format!("/{sub}") };
                let allowed = answer["status"]["allowed"] == true;
                anyhow::Ok(allowed.then(|| format!("{scope}: {verb} {group}/{resource}{slash}")))
            }
        })
        .buffer_unordered(16)
        .try_collect()
        .await?;
    Ok(answers.into_iter().flatten().collect())
}

fn expect(lines: &[(&str, &str, &str)]) -> BTreeSet<String> {
    lines
        .iter()
        .flat_map(|(scope, verbs, resource)| {
            verbs
                .split(' ')
                .map(move |verb| format!("{scope}: {verb} {resource}"))
        })
        .collect()
}

fn same(who: &str, found: &BTreeSet<String>, expected: &BTreeSet<String>) -> Result<()> {
    let more: Vec<_> = found.difference(expected).collect();
    let less: Vec<_> = expected.difference(found).collect();
    ensure!(
        more.is_empty() && less.is_empty(),
        "{who}\n  may, and should not: {more:#?}\n  may not, and should: {less:#?}"
    );
    Ok(())
}

#[test]
fn the_agent_may_read_its_own_namespace_on_the_hub_and_nothing_else() {
    run(async {
        let own = "inhaul-target-eu";
        let scopes = [
            "*",
            own,
            "inhaul-target-us",
            "default",
            "inhaul-system",
            "kube-system",
        ];
        let found = rights(shared().hub(), (own, "inhaul-agent"), &scopes).await?;
        let expected = expect(&[
            (own, "get list watch", "inhaul.dev/assignments"),
            (own, "get patch", "inhaul.dev/assignments/status"),
            (own, "get list watch", "/secrets"),
            (own, "get list watch", "inhaul.dev/inventories"),
            (own, "get patch update", "inhaul.dev/inventories/status"),
        ]);
        // Its Lease and its own token are granted by name, which an unnamed question does not see.
        same("the agent on the hub", &found, &expected)
    });
}

#[test]
fn the_scheduler_writes_workloads_and_target_namespaces_and_reads_the_rest() {
    run(async {
        let target = "inhaul-target-eu";
        let found = rights(
            shared().hub(),
            ("inhaul-system", "inhaul-scheduler"),
            &["*", target, "default", "kube-system"],
        )
        .await?;
        let everywhere = |right: &str| found.contains(&format!("*: {right}"));
        // What it must not have anywhere but in a target's namespace, or at all.
        for verb in ["create", "update", "patch", "delete", "deletecollection"] {
            for resource in [
                "/namespaces",
                "/secrets",
                "/configmaps",
                "/services",
                "/serviceaccounts",
                "/serviceaccounts/token",
                "/pods",
                "/pods/exec",
                "/nodes",
                "apps/deployments",
                "batch/jobs",
                "resource.k8s.io/resourceclaims",
                "rbac.authorization.k8s.io/clusterroles",
                "rbac.authorization.k8s.io/rolebindings",
                "coordination.k8s.io/leases",
                "apiextensions.k8s.io/customresourcedefinitions",
                "inhaul.dev/assignments",
                "inhaul.dev/assignments/status",
                "inhaul.dev/inventories",
                "inhaul.dev/inventories/status",
                "inhaul.dev/placements",
                "inhaul.dev/queues",
            ] {
                ensure!(
                    !everywhere(&format!("{verb} {resource}")),
                    "it may {verb} {resource} everywhere"
                );
                let in_default = format!("default: {verb} {resource}");
                ensure!(!found.contains(&in_default), "it may {in_default}");
            }
        }
        for right in [
            "create inhaul.dev/assignments",
            "delete inhaul.dev/assignments",
            "create /secrets",
            "delete /secrets",
            "patch inhaul.dev/inventories",
        ] {
            ensure!(
                found.contains(&format!("{target}: {right}")),
                "it may not {right} in {target}"
            );
        }
        ensure!(
            !found.contains(&format!("{target}: patch inhaul.dev/assignments/status")),
            "the status is the agent's to write"
        );
        ensure!(
            !found.contains(&format!("{target}: patch inhaul.dev/inventories/status")),
            "the status is the agent's to write"
        );
        for right in [
            "create inhaul.dev/workloads",
            "patch apps/deployments/status",
            "patch batch/jobs/status",
            "list /secrets",
        ] {
            ensure!(everywhere(right), "it may not {right}");
        }
        Ok(())
    });
}

#[test]
fn the_agent_on_its_member_cannot_raise_its_rights() {
    run(async {
        let found = rights(
            shared().member(EU),
            ("inhaul-system", "inhaul-agent"),
            &["*", "default"],
        )
        .await?;
        for verb in ["create", "update", "patch", "delete", "deletecollection"] {
            for resource in [
                "rbac.authorization.k8s.io/clusterroles",
                "rbac.authorization.k8s.io/rolebindings",
                "/nodes",
                "/pods/exec",
                "/serviceaccounts/token",
                "coordination.k8s.io/leases",
                "resource.k8s.io/resourceslices",
                "resource.k8s.io/deviceclasses",
                "resource.k8s.io/resourceclaims/status",
            ] {
                ensure!(
                    !found.contains(&format!("*: {verb} {resource}")),
                    "it may {verb} {resource}"
                );
            }
        }
        for right in [
            "delete /namespaces",
            "deletecollection /secrets",
            "create /pods",
            "delete /pods",
            "delete apiextensions.k8s.io/customresourcedefinitions",
        ] {
            ensure!(!found.contains(&format!("*: {right}")), "it may {right}");
        }
        for right in [
            "create apps/deployments",
            "patch apps/deployments",
            "delete apps/deployments",
            "patch /pods",
            "create /namespaces",
            "watch resource.k8s.io/resourceslices",
            "watch resource.k8s.io/deviceclasses",
            "watch resource.k8s.io/resourceclaims",
        ] {
            ensure!(found.contains(&format!("*: {right}")), "it may not {right}");
        }
        Ok(())
    });
}

#[test]
fn users_see_workloads_placements_queues_and_locations_and_no_clusters() {
    run(async {
        let hub = shared().hub();
        hub.apply("{apiVersion: v1, kind: Namespace, metadata: {name: t-viewer}}")
            .await?;
        hub.apply(
            &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "t-viewer"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
                "subjects": [{"kind": "ServiceAccount", "namespace": "t-viewer", "name": "viewer"}]})
            .to_string(),
        )
        .await?;
        testbed::rig::eventually("the view role is aggregated", || async {
            let found = rights(hub, ("t-viewer", "viewer"), &["*"]).await?;
            for resource in ["workloads", "placements", "queues"] {
                ensure!(
                    found.contains(&format!("*: list inhaul.dev/{resource}")),
                    "{resource} cannot be read"
                );
                ensure!(
                    !found.contains(&format!("*: patch inhaul.dev/{resource}")),
                    "{resource} can be written"
                );
            }
            for resource in [
                "inhaul.dev/assignments",
                "inhaul.dev/inventories",
                "inhaul.dev/synctargets",
                "/secrets",
            ] {
                assert!(
                    !found.contains(&format!("*: list {resource}")),
                    "a viewer may list {resource}"
                );
            }
            Ok(())
        })
        .await
    });
}
