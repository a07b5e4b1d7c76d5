//! What travels to a member: objects as the hub has them, less what the hub's API server has put in, with this target's
//! share of the replicas and the Placement's overrides.
//!
//! ```text
//! hub object -> clean -> replicas -> overrides -> Manifest      all of one assignment -> AssignmentSpec (digest, size)
//! ```

use std::collections::BTreeMap;

use placement_api::api_type::ApiType;
use placement_api::kinds::{
    AssignedPodSet, AssignmentSpec, AssignmentState, Failover, Interpretation, KindRef, Manifest,
    NodeShare, ObjectRef, Override, SecretRef,
};
use placement_api::profile::Profile;
use placement_api::raw::{RawObject, digest_of};
use serde_json::{Map, Value};

/// Largest spec of an Assignment. etcd takes 1.5 MiB; half of it is left for status and for growth in transit.
pub const MAX_BYTES: usize = 512 * 1024;

/// Annotations that say something of the hub only.
const HUB_ANNOTATIONS: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
];

/// Labels that the hub's API server puts on a Job and its template; copied as they are, a member answers 422.
const JOB_LABELS: &[&str] = &[
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
];

/// An object of the hub and how it is served there.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The object.
    pub object: &'a RawObject,
    /// Its kind.
    pub api: &'a ApiType,
}

/// Everything that one Assignment is made of.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The root object; `None` where it travels by itself (a Secret).
    pub root: Option<Source<'a>>,
    /// Reference to the root object, its UID included.
    pub workload: ObjectRef,
    /// What goes before the root object, in order.
    pub dependencies: Vec<Source<'a>>,
    /// Secrets that go beside it.
    pub secrets: Vec<SecretRef>,
    /// Replicas on this target; `None` for the whole.
    pub replicas: Option<i64>,
    /// How to read the root object, and where its number of replicas goes.
    pub profile: &'a Profile,
    /// Pods of each role on this target.
    pub pod_sets: Vec<AssignedPodSet>,
    /// The decided domain.
    pub domain: BTreeMap<String, String>,
    /// The decided nodes.
    pub nodes: Vec<NodeShare>,
    /// The target that this assignment replaces.
    pub replaces: Option<String>,
    /// Failover, resolved.
    pub failover: Failover,
    /// How to read the root object.
    pub interpretation: Option<Interpretation>,
    /// Overrides that apply to this target.
    pub overrides: Vec<&'a Override>,
    /// Epoch.
    pub epoch: i64,
    /// Term.
    pub term: i64,
}

/// Why no Assignment can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// More than etcd should hold.
    #[error("it and what travels with it are {} KiB as JSON; at most {} KiB fit an Assignment", bytes / 1024, MAX_BYTES / 1024)]
    TooLarge {
        /// Bytes of the spec.
        bytes: usize,
    },
    /// An override cannot be applied.
    #[error("override {index} of the Placement does not fit {object}: {message}")]
    Override {
        /// Position of the override among those that apply here.
        index: usize,
        /// `Kind/name` of the object.
        object: String,
        /// What the patch says.
        message: String,
    },
}

/// Makes the spec of an Assignment.
///
/// # Errors
/// Where it is too large, or an override does not fit.
pub fn assignment(order: &Order<'_>) -> Result<AssignmentSpec, Unfit> {
    let mut manifests = Vec::with_capacity(order.dependencies.len() + 1);
    for source in &order.dependencies {
        let mut object = clean(source.object);
        overrule(&mut object, source, false, &order.overrides)?;
        manifests.push(manifest(object, source));
    }
    if let Some(source) = &order.root {
        let mut object = clean(source.object);
        if let Some(count) = order.replicas {
            order
                .profile
                .set_replicas(&mut object, u32::try_from(count).unwrap_or(0));
        }
        overrule(&mut object, source, true, &order.overrides)?;
        manifests.push(manifest(object, source));
    }
    let mut spec = AssignmentSpec {
        workload: order.workload.clone(),
        epoch: order.epoch,
        term: order.term,
        digest: String::new(),
        state: AssignmentState::Active,
        manifests,
        secret_refs: order.secrets.clone(),
        pod_sets: order.pod_sets.clone(),
        replicas: order.replicas,
        domain: order.domain.clone(),
        nodes: order.nodes.clone(),
        replaces: order.replaces.clone(),
        failover: order.failover.clone(),
        interpretation: order.interpretation.clone(),
    };
    let bytes = serde_json::to_vec(&spec).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_BYTES {
        return Err(Unfit::TooLarge { bytes });
    }
    spec.digest = digest(&spec);
    Ok(spec)
}

/// The order to take an assignment away: the same identity, nothing to apply.
pub fn tombstone(live: &AssignmentSpec, epoch: i64, term: i64) -> AssignmentSpec {
    let mut spec = AssignmentSpec {
        workload: live.workload.clone(),
        epoch: epoch.max(live.epoch),
        term,
        digest: String::new(),
        state: AssignmentState::Removed,
        failover: live.failover.clone(),
        ..AssignmentSpec::default()
    };
    spec.digest = digest(&spec);
    spec
}

/// SHA-256 over everything that the agent acts on: not over who ordered it, when, or from which version of the objects.
pub fn digest(spec: &AssignmentSpec) -> String {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        for name in ["epoch", "term", "digest"] {
            fields.remove(name);
        }
        for manifest in fields
            .get_mut("manifests")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(fields) = manifest.as_object_mut() {
                fields.remove("sourceVersion");
            }
        }
    }
    digest_of(&value)
}

/// An object without what only the hub knows or has set: identity, bookkeeping, status, and what its API server filled in.
pub fn clean(object: &RawObject) -> Value {
    let mut out = Map::new();
    out.insert("apiVersion".to_owned(), object.api_version.clone().into());
    out.insert("kind".to_owned(), object.kind.clone().into());
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), object.metadata.name.clone().into());
    if !object.metadata.namespace.is_empty() {
        metadata.insert(
            "namespace".to_owned(),
            object.metadata.namespace.clone().into(),
        );
    }
    insert_texts(&mut metadata, "labels", object.metadata.labels.iter());
    let annotations = object.metadata.annotations.iter();
    insert_texts(
        &mut metadata,
        "annotations",
        annotations.filter(|(name, _)| !HUB_ANNOTATIONS.contains(&name.as_str())),
    );
    out.insert("metadata".to_owned(), Value::Object(metadata));
    for name in object.section_names().filter(|name| *name != "status") {
        let text = object.section(name).map_or("null", |text| text.get());
        out.insert(
            name.to_owned(),
            serde_json::from_str(text).unwrap_or_default(),
        );
    }
    let mut value = Value::Object(out);
    let kind = object.group_kind();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("batch", "Job") => clean_job(&mut value),
        ("", "Service") => clean_service(&mut value),
        ("", "ServiceAccount") => remove(&mut value, "", &["secrets"]),
        ("", "PersistentVolumeClaim") => remove(&mut value, "/spec", &["volumeName"]),
        ("", "Pod") => remove(&mut value, "/spec", &["nodeName"]),
        _ => {}
    }
    value
}

/// Whether a Service sends traffic to pods with these labels.
pub fn serves(service: &RawObject, pod_labels: &BTreeMap<String, String>) -> bool {
    #[derive(serde::Deserialize)]
    struct Spec {
        #[serde(default)]
        selector: Option<BTreeMap<String, String>>,
    }
    let selector = service
        .section_as::<Spec>("spec")
        .ok()
        .flatten()
        .and_then(|spec| spec.selector)
        .unwrap_or_default();
    !selector.is_empty()
        && selector
            .iter()
            .all(|(name, value)| pod_labels.get(name) == Some(value))
}

fn clean_job(job: &mut Value) {
    remove(job, "/spec", &["managedBy", "ttlSecondsAfterFinished"]);
    let manual = job.pointer("/spec/manualSelector").and_then(Value::as_bool) == Some(true);
    if manual {
        return;
    }
    remove(job, "/spec", &["selector", "manualSelector"]);
    remove(job, "/spec/template/metadata/labels", JOB_LABELS);
    remove(job, "/metadata/labels", JOB_LABELS);
}

fn clean_service(service: &mut Value) {
    let headless = service.pointer("/spec/clusterIP").and_then(Value::as_str) == Some("None");
    if !headless {
        remove(service, "/spec", &["clusterIP", "clusterIPs"]);
    }
    remove(service, "/spec", &["healthCheckNodePort"]);
    for port in service
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        remove(port, "", &["nodePort"]);
    }
}

fn manifest(object: Value, source: &Source<'_>) -> Manifest {
    Manifest {
        object,
        plural: source.api.plural.to_string(),
        source_version: source.object.metadata.resource_version.parse().unwrap_or(0),
    }
}

fn overrule(
    object: &mut Value,
    source: &Source<'_>,
    is_root: bool,
    overrides: &[&Override],
) -> Result<(), Unfit> {
    for (index, change) in overrides.iter().enumerate() {
        let concerned = if change.resources.is_empty() {
            is_root
        } else {
            change.resources.iter().any(|kind| names(kind, source.api))
        };
        if !concerned {
            continue;
        }
        let failed = |message: String| Unfit::Override {
            index,
            object: format!("{}/{}", source.object.kind, source.object.metadata.name),
            message,
        };
        let operations = serde_json::to_value(&change.patch).map_err(|e| failed(e.to_string()))?;
        let patch: json_patch::Patch =
            serde_json::from_value(operations).map_err(|e| failed(e.to_string()))?;
        json_patch::patch(object, &patch).map_err(|e| failed(e.to_string()))?;
    }
    Ok(())
}

fn names(kind: &KindRef, api: &ApiType) -> bool {
    kind.group == api.group && (kind.kind == api.kind || kind.kind == "*")
}

fn insert_texts<'a>(
    map: &mut Map<String, Value>,
    name: &str,
    texts: impl Iterator<Item = (&'a String, &'a String)>,
) {
    let texts: Map<String, Value> = texts
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    if !texts.is_empty() {
        map.insert(name.to_owned(), Value::Object(texts));
    }
}

fn remove(value: &mut Value, pointer: &str, names: &[&str]) {
    if let Some(fields) = value.pointer_mut(pointer).and_then(Value::as_object_mut) {
        for name in names {
            fields.remove(*name);
        }
    }
}

#[cfg(test)]
mod tests;
