//! The objects that `install` and `register` apply, made from values so that no name can break out of its place.

use placement_api::api_type::{ApiType, known};
use placement_api::names::{GROUP, SYSTEM_NAMESPACE};
use serde_json::{Value, json};

use crate::apply::Manifest;

pub(crate) mod hub;
pub(crate) mod member;
pub(crate) mod target;

#[cfg(test)]
mod tests;

/// `apps/v1` Deployment and the like know the kind; the object needs it spelt out.
fn manifest(api: ApiType, metadata: Value, rest: Value) -> Manifest {
    let mut object =
        json!({ "apiVersion": api.api_version(), "kind": api.kind, "metadata": metadata });
    if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
        object.extend(rest);
    }
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        labels["app.kubernetes.io/part-of"] = json!("inhaul");
    }
    Manifest::new(api, object)
}

/// One rule of a role.
fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

/// A rule for objects of these names.
fn named(group: &str, resource: &str, name: &str, verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": [resource], "resourceNames": [name], "verbs": verbs })
}

fn namespace(name: &str, labels: &Value) -> Manifest {
    manifest(
        known::NAMESPACE,
        json!({ "name": name, "labels": labels }),
        json!({}),
    )
}

fn account(namespace: &str, name: &str) -> Manifest {
    manifest(
        known::SERVICE_ACCOUNT,
        json!({ "namespace": namespace, "name": name }),
        json!({}),
    )
}

fn cluster_role(name: &str, rules: &[Value]) -> Manifest {
    manifest(
        known::CLUSTER_ROLE,
        json!({ "name": name }),
        json!({ "rules": rules }),
    )
}

/// A role that collects the rules of all that carry a label, so that a platform owner adds kinds without touching ours.
fn collecting_role(name: &str, label: &str) -> Manifest {
    manifest(
        known::CLUSTER_ROLE,
        json!({ "name": name }),
        // No `rules`: the hub's own controller fills them, and an apply must not fight it.
        json!({ "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { label: "true" } }] } }),
    )
}

fn cluster_binding(name: &str, role: &str, account: &str) -> Manifest {
    manifest(
        known::CLUSTER_ROLE_BINDING,
        json!({ "name": name }),
        binding("ClusterRole", role, SYSTEM_NAMESPACE, account),
    )
}

fn role(namespace: &str, name: &str, rules: &[Value]) -> Manifest {
    manifest(
        known::ROLE,
        json!({ "namespace": namespace, "name": name }),
        json!({ "rules": rules }),
    )
}

fn role_binding(
    namespace: &str,
    name: &str,
    role: &str,
    account_namespace: &str,
    account: &str,
) -> Manifest {
    manifest(
        known::ROLE_BINDING,
        json!({ "namespace": namespace, "name": name }),
        binding("Role", role, account_namespace, account),
    )
}

fn binding(kind: &str, role: &str, namespace: &str, account: &str) -> Value {
    json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
        "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": account }],
    })
}

/// What the container of one of our daemons may be and needs.
struct Daemon<'a> {
    namespace: &'a str,
    name: &'a str,
    image: &'a str,
    args: Vec<String>,
    /// Name of a Secret that is mounted at `/etc/inhaul/NAME`.
    secret: Option<&'a str>,
    replicas: i64,
}

/// Deployment of a daemon: no privileges, no writable root, health asked of its own endpoints.
fn deployment(daemon: &Daemon<'_>) -> Manifest {
    let labels =
        json!({ "app.kubernetes.io/name": daemon.name, "app.kubernetes.io/part-of": "inhaul" });
    let mount: Vec<Value> = daemon
        .secret
        .iter()
        .map(|name| json!({ "name": name, "mountPath": format!("/etc/inhaul/{name}"), "readOnly": true }))
        .collect();
    let volumes: Vec<Value> = daemon
        .secret
        .iter()
        .map(|name| json!({ "name": name, "secret": { "secretName": name, "defaultMode": 0o440 } }))
        .collect();
    let probe = |path: &str| json!({ "httpGet": { "path": path, "port": "http" } });
    manifest(
        known::DEPLOYMENT,
        json!({ "namespace": daemon.namespace, "name": daemon.name, "labels": labels }),
        json!({
            "spec": {
                "replicas": daemon.replicas,
                "selector": { "matchLabels": { "app.kubernetes.io/name": daemon.name } },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "serviceAccountName": daemon.name,
                        "securityContext": {
                            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                            "seccompProfile": { "type": "RuntimeDefault" },
                        },
                        "containers": [{
                            "name": "main",
                            "image": daemon.image,
                            "args": daemon.args,
                            "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
                            "ports": [{ "name": "http", "containerPort": 8080 }],
                            "readinessProbe": probe("/readyz"),
                            "livenessProbe": probe("/healthz"),
                            "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
                            "securityContext": {
                                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                                "capabilities": { "drop": ["ALL"] },
                            },
                            "volumeMounts": mount,
                        }],
                        "volumes": volumes,
                    },
                },
            },
        }),
    )
}

const READ: &[&str] = &["get", "list", "watch"];
const OURS: &[&str] = &[GROUP];
