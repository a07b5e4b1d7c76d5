//! What the hub may do on a member.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KindRef;

/// What the hub may do here; written by the member's admin, the hub cannot change it. One object named `default`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "SyncPolicy",
    plural = "syncpolicies",
    category = "inhaul",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SyncPolicySpec {
    /// Namespaces; `*` at the end of a name stands for the rest.
    #[serde(default)]
    pub namespaces: NamespaceRules,
    /// Kinds that are refused; kind `*` stands for the whole group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied_kinds: Vec<KindRef>,
    /// Pod-security level that namespaces made by the agent get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security: Option<String>,
    /// Breaker for deletions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_budget: Option<DeleteBudget>,
}

/// Which namespaces the hub may write to. `kube-*` and `inhaul-system` are always denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceRules {
    /// Absent: all that are not denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Wins over `allow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// Beyond it deleting waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteBudget {
    /// Objects per minute.
    pub per_minute: u32,
    /// Percent of what is applied, counted from 20 objects up.
    pub percent: u32,
}
