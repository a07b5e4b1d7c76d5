//! Names of kinds and of objects: what a path on an API server is made of.

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One kind in one version, as an API server serves it. Two of the same kind in different versions are different types.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApiType {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Version within the group, such as `v1`.
    pub version: Cow<'static, str>,
    /// Kind in CamelCase, such as `Deployment`.
    pub kind: Cow<'static, str>,
    /// Lower-case plural as it stands in paths, such as `deployments`.
    pub plural: Cow<'static, str>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

impl ApiType {
    /// A kind known at compile time whose objects live in namespaces.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self::constant(group, version, kind, plural, true)
    }

    /// A kind known at compile time whose objects live outside namespaces.
    pub const fn cluster(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self::constant(group, version, kind, plural, false)
    }

    /// A kind learned at run time, for example from discovery.
    pub fn new(
        group: impl Into<String>,
        version: impl Into<String>,
        kind: impl Into<String>,
        plural: impl Into<String>,
        namespaced: bool,
    ) -> Self {
        Self {
            group: Cow::Owned(group.into()),
            version: Cow::Owned(version.into()),
            kind: Cow::Owned(kind.into()),
            plural: Cow::Owned(plural.into()),
            namespaced,
        }
    }

    /// The type of a Rust struct that describes a kind (k8s-openapi's, or one that derives `CustomResource`).
    pub fn of<K>() -> Self
    where
        K: kube::core::Resource<DynamicType = ()>,
        K::Scope: 'static,
    {
        Self {
            group: K::group(&()),
            version: K::version(&()),
            kind: K::kind(&()),
            plural: K::plural(&()),
            namespaced: TypeId::of::<K::Scope>()
                != TypeId::of::<k8s_openapi::ClusterResourceScope>(),
        }
    }

    /// `v1` in the core group, else `group/version`: the value of the field `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The kind without its version.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind {
            group: self.group.to_string(),
            kind: self.kind.to_string(),
        }
    }

    const fn constant(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        namespaced: bool,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            kind: Cow::Borrowed(kind),
            plural: Cow::Borrowed(plural),
            namespaced,
        }
    }
}

impl fmt::Display for ApiType {
    /// `deployments.v1.apps`, the form that kubectl accepts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.plural, self.version)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// Splits an `apiVersion` into group (empty for the core group) and version.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.rsplit_once('/').unwrap_or(("", api_version))
}

/// A kind without a version: what an object is, however it is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind in CamelCase.
    pub kind: String,
}

impl GroupKind {
    /// From a group (empty for the core group) and a kind.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
        }
    }

    /// From the `apiVersion` and `kind` of an object.
    pub fn from_api_version(api_version: &str, kind: impl Into<String>) -> Self {
        Self::new(split_api_version(api_version).0, kind)
    }
}

impl fmt::Display for GroupKind {
    /// `Deployment.apps`, or the bare kind in the core group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// Namespace and name of an object; the namespace is empty for objects outside namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Namespace; empty for objects outside namespaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// Key of an object in a namespace (pass `""` for none).
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Key of an object outside namespaces.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// The kinds of Kubernetes that Inhaul knows by name.
pub mod known {
    use super::ApiType;

    /// `v1` Namespace.
    pub const NAMESPACE: ApiType = ApiType::cluster("", "v1", "Namespace", "namespaces");
    /// `v1` Node.
    pub const NODE: ApiType = ApiType::cluster("", "v1", "Node", "nodes");
    /// `v1` Pod.
    pub const POD: ApiType = ApiType::namespaced("", "v1", "Pod", "pods");
    /// `v1` `ConfigMap`.
    pub const CONFIG_MAP: ApiType = ApiType::namespaced("", "v1", "ConfigMap", "configmaps");
    /// `v1` Secret.
    pub const SECRET: ApiType = ApiType::namespaced("", "v1", "Secret", "secrets");
    /// `v1` Service.
    pub const SERVICE: ApiType = ApiType::namespaced("", "v1", "Service", "services");
    /// `v1` `ServiceAccount`.
    pub const SERVICE_ACCOUNT: ApiType =
        ApiType::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
    /// `v1` `PersistentVolumeClaim`.
    pub const PERSISTENT_VOLUME_CLAIM: ApiType =
        ApiType::namespaced("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");
    /// `v1` `ResourceQuota`.
    pub const RESOURCE_QUOTA: ApiType =
        ApiType::namespaced("", "v1", "ResourceQuota", "resourcequotas");
    /// `v1` Event, the core one.
    pub const EVENT: ApiType = ApiType::namespaced("", "v1", "Event", "events");
    /// `apps/v1` Deployment.
    pub const DEPLOYMENT: ApiType = ApiType::namespaced("apps", "v1", "Deployment", "deployments");
    /// `apps/v1` `StatefulSet`.
    pub const STATEFUL_SET: ApiType =
        ApiType::namespaced("apps", "v1", "StatefulSet", "statefulsets");
    /// `apps/v1` `DaemonSet`.
    pub const DAEMON_SET: ApiType = ApiType::namespaced("apps", "v1", "DaemonSet", "daemonsets");
    /// `apps/v1` `ReplicaSet`.
    pub const REPLICA_SET: ApiType = ApiType::namespaced("apps", "v1", "ReplicaSet", "replicasets");
    /// `batch/v1` Job.
    pub const JOB: ApiType = ApiType::namespaced("batch", "v1", "Job", "jobs");
    /// `batch/v1` `CronJob`.
    pub const CRON_JOB: ApiType = ApiType::namespaced("batch", "v1", "CronJob", "cronjobs");
    /// `coordination.k8s.io/v1` Lease.
    pub const LEASE: ApiType = ApiType::namespaced("coordination.k8s.io", "v1", "Lease", "leases");
    /// `apiextensions.k8s.io/v1` `CustomResourceDefinition`.
    pub const CUSTOM_RESOURCE_DEFINITION: ApiType = ApiType::cluster(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    );
    /// `rbac.authorization.k8s.io/v1` `ClusterRole`.
    pub const CLUSTER_ROLE: ApiType = ApiType::cluster(RBAC, "v1", "ClusterRole", "clusterroles");
    /// `rbac.authorization.k8s.io/v1` `ClusterRoleBinding`.
    pub const CLUSTER_ROLE_BINDING: ApiType =
        ApiType::cluster(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings");
    /// `rbac.authorization.k8s.io/v1` Role.
    pub const ROLE: ApiType = ApiType::namespaced(RBAC, "v1", "Role", "roles");
    /// `rbac.authorization.k8s.io/v1` `RoleBinding`.
    pub const ROLE_BINDING: ApiType =
        ApiType::namespaced(RBAC, "v1", "RoleBinding", "rolebindings");
    /// `scheduling.k8s.io/v1` `PriorityClass`.
    pub const PRIORITY_CLASS: ApiType = ApiType::cluster(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
    );
    /// `resource.k8s.io/v1` `ResourceClaim`.
    pub const RESOURCE_CLAIM: ApiType =
        ApiType::namespaced("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims");
    /// `resource.k8s.io/v1` `ResourceClaimTemplate`.
    pub const RESOURCE_CLAIM_TEMPLATE: ApiType = ApiType::namespaced(
        "resource.k8s.io",
        "v1",
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
    );
    /// `resource.k8s.io/v1` `ResourceSlice`.
    pub const RESOURCE_SLICE: ApiType =
        ApiType::cluster("resource.k8s.io", "v1", "ResourceSlice", "resourceslices");
    /// `resource.k8s.io/v1` `DeviceClass`.
    pub const DEVICE_CLASS: ApiType =
        ApiType::cluster("resource.k8s.io", "v1", "DeviceClass", "deviceclasses");

    const RBAC: &str = "rbac.authorization.k8s.io";

    /// All of the above, in the order of this file.
    pub const ALL: &[ApiType] = &[
        NAMESPACE,
        NODE,
        POD,
        CONFIG_MAP,
        SECRET,
        SERVICE,
        SERVICE_ACCOUNT,
        PERSISTENT_VOLUME_CLAIM,
        RESOURCE_QUOTA,
        EVENT,
        DEPLOYMENT,
        STATEFUL_SET,
        DAEMON_SET,
        REPLICA_SET,
        JOB,
        CRON_JOB,
        LEASE,
        CUSTOM_RESOURCE_DEFINITION,
        CLUSTER_ROLE,
        CLUSTER_ROLE_BINDING,
        ROLE,
        ROLE_BINDING,
        PRIORITY_CLASS,
        RESOURCE_CLAIM,
        RESOURCE_CLAIM_TEMPLATE,
        RESOURCE_SLICE,
        DEVICE_CLASS,
    ];
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps, batch, coordination, core, rbac, resource, scheduling};
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;

    use super::*;

    /// The table above was typed by hand; the generated types know better.
    #[test]
    fn constants_agree_with_the_generated_types() {
        let cases = [
            (known::NAMESPACE, ApiType::of::<core::v1::Namespace>()),
            (known::NODE, ApiType::of::<core::v1::Node>()),
            (known::POD, ApiType::of::<core::v1::Pod>()),
            (known::CONFIG_MAP, ApiType::of::<core::v1::ConfigMap>()),
            (known::SECRET, ApiType::of::<core::v1::Secret>()),
            (known::SERVICE, ApiType::of::<core::v1::Service>()),
            (
                known::SERVICE_ACCOUNT,
                ApiType::of::<core::v1::ServiceAccount>(),
            ),
            (
                known::PERSISTENT_VOLUME_CLAIM,
                ApiType::of::<core::v1::PersistentVolumeClaim>(),
            ),
            (
                known::RESOURCE_QUOTA,
                ApiType::of::<core::v1::ResourceQuota>(),
            ),
            (known::EVENT, ApiType::of::<core::v1::Event>()),
            (known::DEPLOYMENT, ApiType::of::<apps::v1::Deployment>()),
            (known::STATEFUL_SET, ApiType::of::<apps::v1::StatefulSet>()),
            (known::DAEMON_SET, ApiType::of::<apps::v1::DaemonSet>()),
            (known::REPLICA_SET, ApiType::of::<apps::v1::ReplicaSet>()),
            (known::JOB, ApiType::of::<batch::v1::Job>()),
            (known::CRON_JOB, ApiType::of::<batch::v1::CronJob>()),
            (known::LEASE, ApiType::of::<coordination::v1::Lease>()),
            (
                known::CUSTOM_RESOURCE_DEFINITION,
                ApiType::of::<extensions::CustomResourceDefinition>(),
            ),
            (known::CLUSTER_ROLE, ApiType::of::<rbac::v1::ClusterRole>()),
            (
                known::CLUSTER_ROLE_BINDING,
                ApiType::of::<rbac::v1::ClusterRoleBinding>(),
            ),
            (known::ROLE, ApiType::of::<rbac::v1::Role>()),
            (known::ROLE_BINDING, ApiType::of::<rbac::v1::RoleBinding>()),
            (
                known::PRIORITY_CLASS,
                ApiType::of::<scheduling::v1::PriorityClass>(),
            ),
            (
                known::RESOURCE_CLAIM,
                ApiType::of::<resource::v1::ResourceClaim>(),
            ),
            (
                known::RESOURCE_CLAIM_TEMPLATE,
                ApiType::of::<resource::v1::ResourceClaimTemplate>(),
            ),
            (
                known::RESOURCE_SLICE,
                ApiType::of::<resource::v1::ResourceSlice>(),
            ),
            (
                known::DEVICE_CLASS,
                ApiType::of::<resource::v1::DeviceClass>(),
            ),
        ];
        assert_eq!(cases.len(), known::ALL.len());
        for (ours, generated) in cases {
            assert_eq!(ours, generated);
            assert!(known::ALL.contains(&ours), "{ours} is not in ALL");
        }
    }

    #[test]
    fn names_read_as_kubectl_writes_them() {
        assert_eq!(known::POD.api_version(), "v1");
        assert_eq!(known::JOB.api_version(), "batch/v1");
        assert_eq!(known::POD.to_string(), "pods.v1");
        assert_eq!(known::JOB.to_string(), "jobs.v1.batch");
        assert_eq!(known::JOB.group_kind().to_string(), "Job.batch");
        assert_eq!(known::POD.group_kind().to_string(), "Pod");
        assert_eq!(
            GroupKind::from_api_version("apps/v1", "Deployment"),
            GroupKind::new("apps", "Deployment")
        );
        assert_eq!(
            GroupKind::from_api_version("v1", "Pod"),
            GroupKind::new("", "Pod")
        );
        assert_eq!(ObjectKey::new("a", "b").to_string(), "a/b");
        assert_eq!(ObjectKey::cluster("b").to_string(), "b");
    }

    #[test]
    fn cluster_objects_sort_first() {
        assert!(ObjectKey::cluster("z") < ObjectKey::new("a", "a"));
    }
}
