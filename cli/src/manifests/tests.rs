//! Who may do what, asked of the manifests as an API server would ask them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// `verb group/resource[/name]` of all rules of a role.
fn grants(manifests: &[Manifest], kind: &str, name: &str) -> BTreeSet<String> {
    let role = manifests
        .iter()
        .find(|m| m.api.kind == kind && m.key().name == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"));
    let strings = |v: &Value| -> Vec<String> {
        v.as_array()
            .into_iter()
            .flatten()
            .map(|s| s.as_str().unwrap().to_owned())
            .collect()
    };
    let mut grants = BTreeSet::new();
    for rule in role.object["rules"].as_array().unwrap() {
        let names = strings(&rule["resourceNames"]);
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for verb in strings(&rule["verbs"]) {
                    let tail = if names.is_empty() {
                        String::new()
                    } else {
                        format!("/{}", names.join("/"))
                    };
                    grants.insert(format!("{verb} {group}/{resource}{tail}"));
                }
            }
        }
    }
    grants
}

#[test]
fn the_scheduler_writes_no_users_object_and_no_secret_everywhere() {
    let grants = grants(&hub::scheduler_account(), "ClusterRole", "inhaul-scheduler");
    let writes: Vec<&String> = grants
        .iter()
        .filter(|g| {
            !["get ", "list ", "watch "]
                .iter()
                .any(|read| g.starts_with(read))
        })
        .filter(|g| !g.contains("/status"))
        .collect();
    assert_eq!(
        writes,
        [
            "create /events",
            "create inhaul.dev/workloads",
            "delete inhaul.dev/workloads",
            "patch /events",
            "patch inhaul.dev/workloads",
            "update inhaul.dev/workloads",
        ]
    );
}

#[test]
fn the_agent_has_nothing_outside_its_namespace_on_the_hub() {
    let side = target::side("eu-1");
    assert!(side.iter().all(|m| !m.api.kind.starts_with("Cluster")));
    for manifest in &side {
        let key = manifest.key();
        assert!(
            manifest.api.kind == "Namespace" || key.namespace == "inhaul-target-eu-1",
            "{key}"
        );
    }
    let grants = grants(&side, "Role", "inhaul-agent");
    assert!(grants.contains("patch inhaul.dev/assignments/status"));
    for never in [
        "patch inhaul.dev/assignments",
        "create /secrets",
        "patch inhaul.dev/inventories",
        "update coordination.k8s.io/leases",
    ] {
        assert!(!grants.contains(never), "{never}");
    }
}

#[test]
fn aggregated_roles_leave_their_rules_to_the_controller() {
    for manifests in [hub::scheduler_account(), member::side("eu-1", "u")] {
        let extra = manifests
            .iter()
            .find(|m| m.api.kind == "ClusterRole" && m.key().name.ends_with("-extra"))
            .unwrap();
        assert!(extra.object.get("rules").is_none());
        assert!(
            extra.object["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"].is_object()
        );
    }
}

#[test]
fn bindings_name_roles_and_accounts_that_are_there() {
    for manifests in [hub::scheduler_account(), member::side("eu-1", "u")] {
        for binding in manifests.iter().filter(|m| m.api.kind.ends_with("Binding")) {
            let (kind, name) = (
                &binding.object["roleRef"]["kind"],
                &binding.object["roleRef"]["name"],
            );
            assert!(
                manifests
                    .iter()
                    .any(|m| *kind == *m.api.kind && *name == *m.key().name),
                "{kind} {name}"
            );
            let account = &binding.object["subjects"][0]["name"];
            assert!(
                manifests
                    .iter()
                    .any(|m| m.api.kind == "ServiceAccount" && *account == *m.key().name),
                "{account}"
            );
        }
    }
}

#[test]
fn every_object_is_typed_and_named() {
    let mut all = hub::crds();
    all.push(hub::system_namespace());
    all.push(hub::view_role());
    all.push(hub::whatif_role());
    all.push(hub::scheduler_deployment("i"));
    all.extend(hub::scheduler_account());
    all.extend(target::side("eu-1"));
    all.extend([target::inventory("eu-1", "u"), target::lease("eu-1")]);
    all.extend(member::side("eu-1", "u"));
    all.extend([
        member::secret("k"),
        member::agent_deployment("eu-1", "i", "2030"),
    ]);
    for manifest in all {
        assert_eq!(manifest.object["kind"], *manifest.api.kind);
        assert_eq!(manifest.object["apiVersion"], manifest.api.api_version());
        assert!(!manifest.key().name.is_empty());
        assert_eq!(
            manifest.object["metadata"]["labels"]["app.kubernetes.io/part-of"],
            "inhaul",
            "{}",
            manifest.key()
        );
        assert_eq!(
            manifest.api.namespaced,
            !manifest.key().namespace.is_empty(),
            "{}",
            manifest.key()
        );
    }
}

#[test]
fn the_view_role_joins_view() {
    let role = hub::view_role();
    assert_eq!(
        role.object["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"],
        "true"
    );
}
