//! What a KindProfile says, as people write it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::ResourceList;

/// Where Kubernetes' kinds have their status.
pub(crate) const STATUS: &str = "/status";

/// How to read a kind. Expressions are CEL over the variable `object`; places in the object are JSON pointers (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileFields {
    /// API group of the kind; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind.
    pub kind: String,
    /// Version that the expressions are written for; absent: the one that the hub prefers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The pods that an object asks for, by role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub demand: Vec<DeclaredPods>,
    /// Where the number of replicas stands, for kinds that can be divided over targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<String>,
    /// Where the kind has a field that suspends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<String>,
    /// Whether the object is as it should be. What it reads may be absent; then it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub healthy: Option<String>,
    /// Whether its work is done, well or not; absent: it never is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub finished: Option<String>,
    /// Whether finished work went well; absent: as `healthy` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub succeeded: Option<String>,
    /// What is carried up into the user's object; absent: `/status`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub status: Vec<String>,
    /// Objects that it needs beside it, beyond those that its pod templates name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub dependencies: Vec<DeclaredDependency>,
    /// Two copies may run for a while, as of a stateless Deployment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stateless: bool,
}

/// Pods of one role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredPods {
    /// Name of the role.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// How many: CEL, a whole number. Absent: what stands at `replicas`, else 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub count: Option<String>,
    /// From how many on it may run: CEL. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub min_count: Option<String>,
    /// What one pod asks, where it has no template.
    #[serde(default, skip_serializing_if = "ResourceList::is_empty")]
    pub requests: ResourceList,
    /// What counts where a request is missing.
    #[serde(default, skip_serializing_if = "ResourceList::is_empty")]
    pub limits: ResourceList,
    /// Where the object has the pod template: `{metadata, spec}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

/// Another object, in the same namespace, that an object needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredDependency {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Its name, or a list of names: CEL. Absent, null and empty name nothing.
    #[schemars(length(max = 4096))]
    pub name: String,
    /// The object also runs without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}
