//! Which Placement an object belongs to.
//!
//! Of several that select one object the one with the higher precedence wins, then the more specific, then the older, then
//! the first by name. So the Placements are put in that order once, and the first that selects an object is its own.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as WrittenSelector;
use placement_api::api_type::GroupKind;
use placement_api::kinds::{KindRef, PlacementSpec};
use placement_api::names::{GROUP, SYSTEM_NAMESPACE, TARGET_NAMESPACE_PREFIX};
use placement_api::raw::RawObject;
use placement_api::selector::{LabelSelector, allows};

use crate::plan::Scoring;

type Labels = BTreeMap<String, String>;

/// A Placement, ready to be asked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Name.
    pub name: String,
    /// What its owner wrote.
    pub spec: PlacementSpec,
    /// Creation time as the server wrote it; RFC 3339 sorts as text.
    pub created: String,
    /// Its `scoring`, read.
    pub scoring: Scoring,
    namespaces: Option<LabelSelector>,
    objects: Option<LabelSelector>,
    /// Targets of each override; `None` means all.
    override_targets: Vec<Option<LabelSelector>>,
}

impl Rule {
    /// Reads a Placement.
    ///
    /// # Errors
    /// Names the field that is wrong, for the Placement's condition.
    pub fn new(name: &str, created: &str, spec: PlacementSpec) -> Result<Self, String> {
        let namespaces = read(spec.namespace_selector.as_ref(), "spec.namespaceSelector")?;
        let objects = read(spec.object_selector.as_ref(), "spec.objectSelector")?;
        let mut override_targets = Vec::new();
        for (index, change) in spec.overrides.iter().enumerate() {
            let field = format!("spec.overrides[{index}].targetSelector");
            override_targets.push(read(change.target_selector.as_ref(), &field)?);
            for (step, operation) in change.patch.iter().enumerate() {
                let text = serde_json::to_value(operation).unwrap_or_default();
                serde_json::from_value::<json_patch::PatchOperation>(text)
                    .map_err(|error| format!("spec.overrides[{index}].patch[{step}]: {error}"))?;
            }
        }
        for (field, text) in [
            (
                "spec.topology.relaxAfter",
                spec.topology.as_ref().and_then(|t| t.relax_after.as_ref()),
            ),
            (
                "spec.failover.after",
                spec.failover.as_ref().and_then(|f| f.after.as_ref()),
            ),
            (
                "spec.disruption.minRuntime",
                spec.disruption
                    .as_ref()
                    .and_then(|d| d.min_runtime.as_ref()),
            ),
        ] {
            if let Some(text) = text {
                placement_api::duration::GoDuration::parse(text)
                    .map_err(|error| format!("{field}: {error}"))?;
            }
        }
        let scoring = Scoring::read(&spec.scoring)
            .map_err(|(place, what)| format!("spec.scoring{place}: {what}"))?;
        Ok(Self {
            scoring,
            name: name.to_owned(),
            created: created.to_owned(),
            namespaces,
            objects,
            override_targets,
            spec,
        })
    }

    /// Whether it selects an object of a kind in a namespace. `namespace` is `None` for objects outside namespaces, which a
    /// Placement with a namespace selector never selects.
    pub fn selects(&self, object: &RawObject, namespace: Option<&Labels>, kind: &Kind) -> bool {
        let named = if self.spec.resources.is_empty() {
            kind.has_pods
        } else {
            self.spec
                .resources
                .iter()
                .any(|resource| names(resource, &kind.name))
        };
        named
            && match namespace {
                Some(labels) => allows(self.namespaces.as_ref(), labels),
                None => self.namespaces.is_none(),
            }
            && allows(self.objects.as_ref(), &object.metadata.labels)
    }

    /// Overrides for a target with these labels.
    pub fn overrides_for(&self, target: &Labels) -> Vec<&placement_api::kinds::Override> {
        self.spec
            .overrides
            .iter()
            .zip(&self.override_targets)
            .filter(|(_, selector)| allows(selector.as_ref(), target))
            .map(|(change, _)| change)
            .collect()
    }

    fn rank(&self) -> (std::cmp::Reverse<i32>, std::cmp::Reverse<usize>, &str, &str) {
        let specific = usize::from(self.spec.namespace_selector.is_some())
            + usize::from(self.spec.object_selector.is_some())
            + usize::from(!self.spec.resources.is_empty());
        (
            std::cmp::Reverse(self.spec.precedence),
            std::cmp::Reverse(specific),
            &self.created,
            &self.name,
        )
    }
}

/// A kind, as far as selection asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Group and kind.
    pub name: GroupKind,
    /// Whether it is a kind with pods that is known how to read: Placements without `resources` select those.
    pub has_pods: bool,
}

/// What was found for an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The Placement it belongs to.
    pub placement: String,
    /// Others that select it too.
    pub also: Vec<String>,
}

/// Puts Placements in the order in which they are asked.
pub fn sort(rules: &mut [Rule]) {
    rules.sort_by(|a, b| a.rank().cmp(&b.rank()));
}

/// Finds the Placement of an object. `rules` are [sorted](sort).
pub fn select(
    rules: &[Rule],
    object: &RawObject,
    namespace: Option<&Labels>,
    kind: &Kind,
) -> Option<Selection> {
    if never(object) {
        return None;
    }
    let mut matching = rules
        .iter()
        .filter(|rule| rule.selects(object, namespace, kind));
    let placement = matching.next()?.name.clone();
    Some(Selection {
        placement,
        also: matching.map(|rule| rule.name.clone()).collect(),
    })
}

/// Whether no Placement ever selects an object: what controllers made, what every namespace has anyway, and what belongs to
/// Kubernetes or to Inhaul.
pub fn never(object: &RawObject) -> bool {
    if object.controller().is_some() || is_reserved(&object.metadata.namespace) {
        return true;
    }
    let name = object.metadata.name.as_str();
    match (object.api_version.as_str(), object.kind.as_str()) {
        ("v1", "ConfigMap") => name == "kube-root-ca.crt",
        ("v1", "ServiceAccount") => name == "default",
        ("v1", "Service") => object.metadata.namespace == "default" && name == "kubernetes",
        ("v1", "Secret") => never_travels(object),
        (_, "CustomResourceDefinition") => name
            .split_once('.')
            .is_some_and(|(_, group)| group == GROUP),
        (version, _) => version.starts_with("inhaul.dev/"),
    }
}

/// Secrets that stay on the hub: tokens of its service accounts, and Helm's records.
pub fn never_travels(secret: &RawObject) -> bool {
    let kind: Option<String> = secret.section_as("type").ok().flatten();
    matches!(
        kind.as_deref(),
        Some(
            "kubernetes.io/service-account-token"
                | "helm.sh/release.v1"
                | "bootstrap.kubernetes.io/token"
        )
    )
}

/// Namespaces of Kubernetes and of Inhaul.
pub fn is_reserved(namespace: &str) -> bool {
    namespace.starts_with("kube-")
        || namespace == SYSTEM_NAMESPACE
        || namespace.starts_with(TARGET_NAMESPACE_PREFIX)
        || namespace.starts_with("inhaul-")
}

/// A selector as people write it, checked.
///
/// # Errors
/// Names the field that is wrong.
pub fn read(
    written: Option<&WrittenSelector>,
    field: &str,
) -> Result<Option<LabelSelector>, String> {
    let Some(written) = written else {
        return Ok(None);
    };
    let text = serde_json::to_value(written).map_err(|error| format!("{field}: {error}"))?;
    let selector: LabelSelector =
        serde_json::from_value(text).map_err(|error| format!("{field}: {error}"))?;
    selector
        .validate(field)
        .map_err(|error| error.to_string())?;
    Ok(Some(selector))
}

fn names(resource: &KindRef, kind: &GroupKind) -> bool {
    resource.group == kind.group && (resource.kind == kind.kind || resource.kind == "*")
}

#[cfg(test)]
mod tests;
