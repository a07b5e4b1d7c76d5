//! Which object: kind, namespace and name, whatever the version it is read in.

use std::fmt;

use placement_api::api_type::{GroupKind, ObjectKey};
use placement_api::kinds::ObjectRef;
use placement_api::raw::RawObject;

/// An object on the member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Kind without version.
    pub kind: GroupKind,
    /// Namespace and name.
    pub key: ObjectKey,
}

impl ObjectId {
    /// From its parts; `namespace` is empty outside namespaces.
    pub fn new(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: GroupKind::new(group, kind),
            key: ObjectKey::new(namespace, name),
        }
    }

    /// The object that a reference names.
    pub fn of(reference: &ObjectRef) -> Self {
        Self::new(
            &reference.group,
            &reference.kind,
            &reference.namespace,
            &reference.name,
        )
    }

    /// The object that this is.
    pub fn of_raw(object: &RawObject) -> Self {
        Self {
            kind: object.group_kind(),
            key: object.key(),
        }
    }

    /// A reference to it in this version.
    pub fn reference(&self, version: &str, uid: &str) -> ObjectRef {
        ObjectRef {
            group: self.kind.group.clone(),
            version: version.to_owned(),
            kind: self.kind.kind.clone(),
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            uid: uid.to_owned(),
        }
    }

    /// Whether its kind is never deleted by the agent, because much that is not the hub's goes with it.
    pub fn is_kept(&self) -> bool {
        matches!(
            (self.kind.group.as_str(), self.kind.kind.as_str()),
            ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition")
        )
    }
}

impl fmt::Display for ObjectId {
    /// `Deployment shop/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.kind, self.key)
    }
}
