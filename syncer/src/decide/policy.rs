//! What the member's admin allows the hub to do.

use placement_api::kinds::{KindRef, NamespaceRules, SyncPolicySpec};
use placement_api::names::SYSTEM_NAMESPACE;

use super::object_id::ObjectId;

/// Why the hub may not write this object here; `None`: it may.
pub fn denial(policy: &SyncPolicySpec, id: &ObjectId) -> Option<String> {
    let kind = KindRef {
        group: id.kind.group.clone(),
        kind: id.kind.kind.clone(),
    };
    let denied =
        |rule: &KindRef| rule.group == kind.group && (rule.kind == "*" || rule.kind == kind.kind);
    if policy.denied_kinds.iter().any(denied) {
        return Some(format!(
            "the SyncPolicy of this cluster denies the kind {}",
            id.kind
        ));
    }
    let namespace = if id.kind.group.is_empty() && id.kind.kind == "Namespace" {
        &id.key.name
    } else {
        &id.key.namespace
    };
    if namespace.is_empty() || namespace_allowed(&policy.namespaces, namespace) {
        None
    } else {
        Some(format!(
            "the SyncPolicy of this cluster denies the namespace {namespace:?}"
        ))
    }
}

fn namespace_allowed(rules: &NamespaceRules, namespace: &str) -> bool {
    let matches = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => namespace.starts_with(prefix),
        None => pattern == namespace,
    };
    !namespace.starts_with("kube-")
        && namespace != SYSTEM_NAMESPACE
        && !rules.deny.iter().any(matches)
        && (rules.allow.is_empty() || rules.allow.iter().any(matches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_and_kinds() {
        let policy = |allow: &[&str], deny: &[&str], kinds: &[(&str, &str)]| SyncPolicySpec {
            namespaces: NamespaceRules {
                allow: allow.iter().map(ToString::to_string).collect(),
                deny: deny.iter().map(ToString::to_string).collect(),
            },
            denied_kinds: kinds
                .iter()
                .map(|(group, kind)| KindRef {
                    group: (*group).into(),
                    kind: (*kind).into(),
                })
                .collect(),
            ..SyncPolicySpec::default()
        };
        let open = policy(&[], &[], &[]);
        let cases = [
            (
                &open,
                ObjectId::new("apps", "Deployment", "shop", "web"),
                true,
            ),
            (
                &open,
                ObjectId::new("apps", "Deployment", "kube-system", "web"),
                false,
            ),
            (
                &open,
                ObjectId::new("", "Namespace", "", "kube-public"),
                false,
            ),
            (
                &open,
                ObjectId::new("", "ConfigMap", "inhaul-system", "x"),
                false,
            ),
            (
                &open,
                ObjectId::new("rbac.authorization.k8s.io", "ClusterRole", "", "x"),
                true,
            ),
            (
                &policy(&["shop-*"], &[], &[]),
                ObjectId::new("", "ConfigMap", "shop-eu", "x"),
                true,
            ),
            (
                &policy(&["shop-*"], &[], &[]),
                ObjectId::new("", "ConfigMap", "shop", "x"),
                false,
            ),
            (
                &policy(&["*"], &["shop"], &[]),
                ObjectId::new("", "ConfigMap", "shop", "x"),
                false,
            ),
            (
                &policy(&[], &[], &[("rbac", "*")]),
                ObjectId::new("rbac", "Role", "a", "x"),
                false,
            ),
            (
                &policy(&[], &[], &[("apps", "DaemonSet")]),
                ObjectId::new("apps", "Deployment", "a", "x"),
                true,
            ),
            (
                &policy(&[], &[], &[("apps", "DaemonSet")]),
                ObjectId::new("apps", "DaemonSet", "a", "x"),
                false,
            ),
        ];
        for (policy, id, allowed) in cases {
            assert_eq!(denial(policy, &id).is_none(), allowed, "{id}");
        }
    }
}
