//! Which kinds the member's CRDs promise, and whether discovery has caught up with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use client::Discovery;
use placement_api::api_type::GroupKind;
use placement_api::raw::RawObject;
use serde::Deserialize;

/// The kinds that CRDs promise.
#[derive(Debug, Default)]
pub struct Promises {
    /// By name of the CRD: the kind and its served versions, once the server has accepted it.
    kinds: BTreeMap<String, (GroupKind, BTreeSet<String>)>,
    /// Kinds whose CRD is gone.
    gone: BTreeSet<GroupKind>,
    /// Answers in a row that were not up to date.
    tries: u32,
}

impl Promises {
    /// A CRD is there; says whether what it promises has changed.
    pub fn set(&mut self, object: &RawObject) -> bool {
        let name = &object.metadata.name;
        let new = read(object);
        if let Some((kind, _)) = &new {
            self.gone.remove(kind);
        }
        let old = match new.clone() {
            Some(promise) => self.kinds.insert(name.clone(), promise),
            None => self.kinds.remove(name),
        };
        old != new
    }

    /// A CRD is gone.
    pub fn remove(&mut self, name: &str) {
        if let Some((kind, _)) = self.kinds.remove(name) {
            self.gone.insert(kind);
        }
    }

    /// After which time discovery has to be asked again, because it is not up to date.
    pub fn wait_for(&mut self, discovery: &Discovery) -> Option<Duration> {
        if !self.is_ahead_of(discovery) {
            self.tries = 0;
            return None;
        }
        let wait = Duration::from_millis(200 << self.tries.min(9));
        self.tries = self.tries.saturating_add(1);
        Some(wait)
    }

    fn is_ahead_of(&mut self, discovery: &Discovery) -> bool {
        self.gone.retain(|kind| discovery.find(kind).is_some());
        let missing = self.kinds.values().any(|(kind, versions)| {
            versions.iter().any(|version| {
                let api_version = format!("{}/{version}", kind.group);
                discovery.find_version(&api_version, &kind.kind).is_none()
            })
        });
        missing || !self.gone.is_empty()
    }
}

#[derive(Deserialize)]
struct Spec {
    group: String,
    names: Names,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Names {
    kind: String,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    served: bool,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

fn read(object: &RawObject) -> Option<(GroupKind, BTreeSet<String>)> {
    let status: Status = object
        .section_as("status")
        .ok()
        .flatten()
        .unwrap_or_default();
    let established = status
        .conditions
        .iter()
        .any(|c| c.r#type == "Established" && c.status == "True");
    if !established || object.is_deleting() {
        return None;
    }
    let spec: Spec = object.section_as("spec").ok().flatten()?;
    let served = spec
        .versions
        .into_iter()
        .filter(|v| v.served)
        .map(|v| v.name)
        .collect();
    Some((GroupKind::new(spec.group, spec.names.kind), served))
}

#[cfg(test)]
mod tests {
    use client::ServedApi;
    use placement_api::api_type::ApiType;
    use serde_json::json;

    use super::*;

    fn crd(established: &str) -> RawObject {
        RawObject::from_value(&json!({"kind": "CustomResourceDefinition", "metadata": {"name": "models.t"},
            "spec": {"group": "t", "names": {"kind": "Model"}, "versions": [{"name": "v1", "served": true}, {"name": "v0", "served": false}]},
            "status": {"conditions": [{"type": "Established", "status": established}]}}))
        .unwrap()
    }

    #[test]
    fn discovery_is_asked_until_it_has_caught_up() {
        let mut promises = Promises::default();
        let empty = Discovery::default();
        assert!(!promises.set(&crd("False")) && !promises.is_ahead_of(&empty));
        assert!(promises.set(&crd("True")) && promises.is_ahead_of(&empty));
        assert!(!promises.set(&crd("True")), "no change");
        let api = ApiType::new("t", "v1", "Model", "models", true);
        let served = ServedApi {
            api,
            verbs: Vec::new(),
            subresources: Vec::new(),
            short_names: Vec::new(),
            preferred: true,
        };
        let full = Discovery {
            apis: vec![served],
            unavailable: Vec::new(),
        };
        assert_eq!(promises.wait_for(&empty), Some(Duration::from_millis(200)));
        assert_eq!(promises.wait_for(&empty), Some(Duration::from_millis(400)));
        assert_eq!(promises.wait_for(&full), None);
        promises.remove("models.t");
        assert!(
            promises.is_ahead_of(&full),
            "still served, but its CRD is gone"
        );
        assert!(!promises.is_ahead_of(&empty));
    }
}
