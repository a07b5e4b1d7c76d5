//! What a pod template names: ConfigMaps, Secrets, claims, its ServiceAccount.

use std::collections::BTreeMap;

use serde_json::Value;

use super::pointer;

/// Another object in the same namespace that a workload needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// The workload also runs without it.
    pub optional: bool,
}

/// Dependencies by identity; what is needed once without `optional` is needed.
#[derive(Default)]
pub(crate) struct Dependencies(BTreeMap<(String, String, String), bool>);

/// Every object that a pod template (`{metadata, spec}`) names, in order and each once. What every namespace has by itself
/// (the ServiceAccount `default`, `kube-root-ca.crt`) is left out.
pub fn of_template(template: &Value) -> Vec<Dependency> {
    let mut found = Dependencies::default();
    found.add_template(template);
    found.into_vec()
}

impl Dependencies {
    pub(crate) fn add(&mut self, group: &str, kind: &str, name: &str, optional: bool) {
        let everywhere = matches!(
            (group, kind, name),
            ("", "ServiceAccount", "default") | ("", "ConfigMap", "kube-root-ca.crt")
        );
        if name.is_empty() || everywhere {
            return;
        }
        let key = (group.to_owned(), kind.to_owned(), name.to_owned());
        self.0
            .entry(key)
            .and_modify(|known| *known &= optional)
            .or_insert(optional);
    }

    pub(crate) fn add_template(&mut self, template: &Value) {
        let Some(spec) = template.get("spec") else {
            return;
        };
        for containers in ["/containers", "/initContainers"] {
            for container in pointer::list(spec, containers) {
                self.add_container(container);
            }
        }
        for volume in pointer::list(spec, "/volumes") {
            self.add_volume(volume);
        }
        for secret in pointer::list(spec, "/imagePullSecrets") {
            // The kubelet pulls without a secret that is missing.
            self.add("", "Secret", pointer::text(secret, "/name"), true);
        }
        let account = pointer::text(spec, "/serviceAccountName");
        let account = if account.is_empty() {
            pointer::text(spec, "/serviceAccount")
        } else {
            account
        };
        self.add("", "ServiceAccount", account, false);
        for claim in pointer::list(spec, "/resourceClaims") {
            let group = "resource.k8s.io";
            let name = |field| pointer::text(claim, field);
            self.add(group, "ResourceClaim", name("/resourceClaimName"), false);
            let template = name("/resourceClaimTemplateName");
            self.add(group, "ResourceClaimTemplate", template, false);
        }
    }

    fn add_container(&mut self, container: &Value) {
        for variable in pointer::list(container, "/env") {
            self.add_named(variable, "/valueFrom/configMapKeyRef", "ConfigMap");
            self.add_named(variable, "/valueFrom/secretKeyRef", "Secret");
        }
        for source in pointer::list(container, "/envFrom") {
            self.add_named(source, "/configMapRef", "ConfigMap");
            self.add_named(source, "/secretRef", "Secret");
        }
    }

    fn add_volume(&mut self, volume: &Value) {
        self.add_named(volume, "/configMap", "ConfigMap");
        self.add(
            "",
            "Secret",
            pointer::text(volume, "/secret/secretName"),
            pointer::is_true(volume, "/secret/optional"),
        );
        for source in pointer::list(volume, "/projected/sources") {
            self.add_named(source, "/configMap", "ConfigMap");
            self.add_named(source, "/secret", "Secret");
        }
        let claim = pointer::text(volume, "/persistentVolumeClaim/claimName");
        self.add("", "PersistentVolumeClaim", claim, false);
        // Credentials of storage drivers.
        self.add_named(volume, "/csi/nodePublishSecretRef", "Secret");
        for driver in [
            "cephfs",
            "rbd",
            "iscsi",
            "flexVolume",
            "scaleIO",
            "storageos",
        ] {
            self.add_named(volume, &format!("/{driver}/secretRef"), "Secret");
        }
        let azure = pointer::text(volume, "/azureFile/secretName");
        self.add("", "Secret", azure, false);
    }

    /// A reference with `name` and perhaps `optional`.
    fn add_named(&mut self, value: &Value, path: &str, kind: &str) {
        if let Some(reference) = value.pointer(path) {
            let optional = pointer::is_true(reference, "/optional");
            self.add("", kind, pointer::text(reference, "/name"), optional);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Dependency> {
        self.0
            .into_iter()
            .map(|((group, kind, name), optional)| Dependency {
                group,
                kind,
                name,
                optional,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_everything_a_template_names() {
        let template = json!({"spec": {
            "serviceAccountName": "runner",
            "imagePullSecrets": [{"name": "pull"}],
            "resourceClaims": [{"name": "g", "resourceClaimTemplateName": "gpu"}, {"name": "s", "resourceClaimName": "shared"}],
            "initContainers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "init-secret", "key": "k"}}}]}],
            "containers": [{
                "env": [
                    {"name": "A", "value": "plain"},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env-map", "key": "k", "optional": true}}},
                    {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "envFrom": [{"configMapRef": {"name": "from-map"}}, {"secretRef": {"name": "from-secret", "optional": true}}]}],
            "volumes": [
                {"name": "a", "configMap": {"name": "env-map"}},
                {"name": "b", "secret": {"secretName": "volume-secret", "optional": true}},
                {"name": "c", "projected": {"sources": [
                    {"configMap": {"name": "kube-root-ca.crt"}}, {"configMap": {"name": "projected-map"}},
                    {"secret": {"name": "projected-secret"}}, {"serviceAccountToken": {"path": "t"}}]}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "e", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "csi-secret"}}},
                {"name": "f", "emptyDir": {}}]}});
        let found: Vec<_> = of_template(&template)
            .into_iter()
            .map(|d| format!("{}/{}{}", d.kind, d.name, if d.optional { "?" } else { "" }))
            .collect();
        assert_eq!(
            found,
            [
                // Optional in `env`, but the volume needs it.
                "ConfigMap/env-map",
                "ConfigMap/from-map",
                "ConfigMap/projected-map",
                "PersistentVolumeClaim/data",
                "Secret/csi-secret",
                "Secret/from-secret?",
                "Secret/init-secret",
                "Secret/projected-secret",
                "Secret/pull?",
                "Secret/volume-secret?",
                "ServiceAccount/runner",
                "ResourceClaim/shared",
                "ResourceClaimTemplate/gpu",
            ]
        );
    }

    #[test]
    fn nothing_where_nothing_is_named() {
        for template in [
            json!({}),
            json!(null),
            json!({"spec": {"serviceAccount": "default", "containers": "odd", "volumes": [3, {"secret": null}]}}),
        ] {
            assert_eq!(of_template(&template), []);
        }
    }
}
