//! An Assignment turned into the objects that have to be on the member.
//!
//! The hub's manifests are taken as they are; the agent adds its marker, and to pod templates the labels by which it finds
//! their pods, and the gate where the hub decided the nodes.

use placement_api::api_type::split_api_version;
use placement_api::kinds::{AssignedPodSet, AssignmentSpec, ObjectRef, SecretRef};
use placement_api::names::{ASSIGNMENT_LABEL, GATE, HUB_LABEL, POD_SET_ANNOTATION};
use placement_api::raw::{RawObject, digest_of};
use serde_json::{Map, Value, json};

use super::object_id::ObjectId;

/// One object as it has to be.
#[derive(Clone, PartialEq)]
pub struct Desired {
    /// Which object.
    pub id: ObjectId,
    /// `apiVersion` it is written in.
    pub api_version: String,
    /// Plural as the hub says; may be empty.
    pub plural: String,
    /// The whole of it. May be a Secret: never logged.
    pub object: Value,
    /// The same for the same content. For Secrets it is made from the hub's version, not from the content.
    pub digest: String,
    /// Whether it is the root of the workload.
    pub root: bool,
    /// resourceVersion on the hub: of an object that several assignments carry, the newest wins.
    pub source_version: i64,
}

impl std::fmt::Debug for Desired {
    /// Without the content, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Desired({}, {})",
            self.id,
            self.digest.get(..8).unwrap_or_default()
        )
    }
}

/// The objects of an order, the root last. An error is the scheduler's fault and says what is wrong.
pub fn desired(name: &str, hub_uid: &str, spec: &AssignmentSpec) -> Result<Vec<Desired>, String> {
    let root_id = ObjectId::of(&spec.workload);
    let mut all = Vec::with_capacity(spec.manifests.len());
    for (index, manifest) in spec.manifests.iter().enumerate() {
        let id = id_of(&manifest.object).map_err(|what| format!("manifest {index}: {what}"))?;
        let root = id == root_id;
        let mut object = manifest.object.clone();
        mark(&mut object, hub_uid);
        if root {
            for set in &spec.pod_sets {
                let gated = spec.nodes.iter().any(|share| share.pod_set == set.name);
                prepare_template(&mut object, name, hub_uid, set, gated)?;
            }
        }
        all.push(Desired {
            api_version: text(&object, "apiVersion").to_owned(),
            plural: manifest.plural.clone(),
            digest: digest_of(&object),
            source_version: manifest.source_version,
            id,
            object,
            root,
        });
    }
    // A Secret never stands in a manifest: as a root it is the copy beside the order.
    let root_travels = spec
        .secret_refs
        .iter()
        .any(|reference| secret_id(reference) == root_id);
    if !root_travels && !all.iter().any(|d| d.root) {
        return Err(format!("no manifest is the root object {}", spec.workload));
    }
    all.sort_by_key(|d| d.root);
    Ok(all)
}

/// A Secret made from the hub's copy of it; `root` is the root object of the workload, which may be this very Secret.
pub fn desired_secret(
    hub_uid: &str,
    root: &ObjectRef,
    reference: &SecretRef,
    copy: &RawObject,
) -> Desired {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"namespace": reference.namespace, "name": reference.name},
    });
    for section in ["type", "data", "immutable"] {
        if let Ok(Some(value)) = copy.section_as::<Value>(section) {
            object[section] = value;
        }
    }
    mark(&mut object, hub_uid);
    let version = &copy.metadata.resource_version;
    Desired {
        id: secret_id(reference),
        api_version: "v1".to_owned(),
        plural: "secrets".to_owned(),
        object,
        digest: digest_of(&json!([copy.metadata.uid, version])),
        root: secret_id(reference) == ObjectId::of(root),
        source_version: version.parse().unwrap_or_default(),
    }
}

/// Where a travelling Secret lands.
pub fn secret_id(reference: &SecretRef) -> ObjectId {
    ObjectId::new("", "Secret", &reference.namespace, &reference.name)
}

/// Which object a manifest is.
pub fn id_of(object: &Value) -> Result<ObjectId, String> {
    let (group, _) = split_api_version(text(object, "apiVersion"));
    let kind = text(object, "kind");
    let meta = &object["metadata"];
    let (namespace, name) = (text(meta, "namespace"), text(meta, "name"));
    if text(object, "apiVersion").is_empty() || kind.is_empty() || name.is_empty() {
        return Err("apiVersion, kind or metadata.name is missing".to_owned());
    }
    Ok(ObjectId::new(group, kind, namespace, name))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn mark(object: &mut Value, hub_uid: &str) {
    if let Some(meta) = child(object, "metadata") {
        set(meta, "labels", HUB_LABEL, hub_uid);
    }
}

/// The member called `name` as a map, made if it is not there; `None` where `value` is no map.
fn child<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = value.as_object_mut()?.entry(name).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

fn set(map: &mut Map<String, Value>, section: &str, key: &str, value: &str) {
    let slot = map.entry(section).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    if let Some(entries) = slot.as_object_mut() {
        entries.insert(key.to_owned(), value.into());
    }
}

fn prepare_template(
    object: &mut Value,
    name: &str,
    hub_uid: &str,
    pods: &AssignedPodSet,
    gated: bool,
) -> Result<(), String> {
    let Some(pointer) = &pods.template else {
        return Ok(());
    };
    let missing = || {
        format!(
            "pod set {:?}: there is no pod template at {pointer}",
            pods.name
        )
    };
    let template = object.pointer_mut(pointer).ok_or_else(missing)?;
    let meta = child(template, "metadata").ok_or_else(missing)?;
    set(meta, "labels", HUB_LABEL, hub_uid);
    set(meta, "labels", ASSIGNMENT_LABEL, name);
    set(meta, "annotations", POD_SET_ANNOTATION, &pods.name);
    if gated {
        let spec = child(template, "spec").ok_or_else(missing)?;
        let gates = spec.entry("schedulingGates").or_insert(Value::Null);
        if gates.is_null() {
            *gates = Value::Array(Vec::new());
        }
        let gates = gates.as_array_mut().ok_or_else(missing)?;
        if !gates.iter().any(|gate| gate["name"] == GATE) {
            gates.push(json!({"name": GATE}));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use placement_api::kinds::{Manifest, NodeShare, ObjectRef};

    use super::*;

    pub(crate) fn job_spec() -> AssignmentSpec {
        AssignmentSpec {
            workload: ObjectRef {
                group: "batch".into(),
                version: "v1".into(),
                kind: "Job".into(),
                namespace: "vision".into(),
                name: "train".into(),
                uid: "u1".into(),
            },
            epoch: 1,
            term: 1,
            digest: "d1".into(),
            manifests: vec![
                Manifest {
                    object: json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "vision", "name": "train"},
                        "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}}),
                    plural: "jobs".into(),
                    source_version: 5,
                },
                Manifest {
                    object: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "vision", "name": "script"}, "data": {"a": "b"}}),
                    plural: "configmaps".into(),
                    source_version: 4,
                },
            ],
            pod_sets: vec![AssignedPodSet {
                name: "main".into(),
                count: 2,
                template: Some("/spec/template".into()),
                ..AssignedPodSet::default()
            }],
            ..AssignmentSpec::default()
        }
    }

    #[test]
    fn marker_labels_and_gate_go_where_they_belong() {
        let mut spec = job_spec();
        let plain = desired("job-train", "hub", &spec).unwrap();
        assert_eq!(
            plain.iter().map(|d| d.root).collect::<Vec<_>>(),
            [false, true],
            "the root is last"
        );
        let root = &plain[1].object;
        assert_eq!(root["metadata"]["labels"][HUB_LABEL], "hub");
        assert_eq!(
            root["spec"]["template"]["metadata"]["labels"][ASSIGNMENT_LABEL],
            "job-train"
        );
        assert!(
            root["spec"]["template"]["spec"]
                .get("schedulingGates")
                .is_none()
        );

        spec.nodes = vec![NodeShare {
            pod_set: "main".into(),
            name: "n1".into(),
            pods: 2,
        }];
        let gated = desired("job-train", "hub", &spec).unwrap();
        assert_eq!(
            gated[1].object["spec"]["template"]["spec"]["schedulingGates"],
            json!([{"name": GATE}])
        );
        assert_ne!(gated[1].digest, plain[1].digest);
        assert_eq!(gated[0].digest, plain[0].digest);
    }

    #[test]
    fn orders_that_make_no_sense_say_why() {
        let mut spec = job_spec();
        spec.manifests.remove(0);
        assert!(
            desired("a", "hub", &spec)
                .unwrap_err()
                .contains("vision/Job/train")
        );
        let mut spec = job_spec();
        spec.pod_sets[0].template = Some("/spec/nope".into());
        assert!(
            desired("a", "hub", &spec)
                .unwrap_err()
                .contains("/spec/nope")
        );
        let mut spec = job_spec();
        spec.manifests[1].object = json!({"kind": "ConfigMap"});
        assert!(
            desired("a", "hub", &spec)
                .unwrap_err()
                .starts_with("manifest 1")
        );
    }

    #[test]
    fn a_secrets_digest_says_nothing_of_its_content() {
        let reference = SecretRef {
            copy: "c".into(),
            namespace: "n".into(),
            name: "s".into(),
        };
        let copy = |data: &str, version: &str| {
            RawObject::from_value(&json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": {"name": "c", "uid": "u", "resourceVersion": version}, "data": {"k": data}}))
            .unwrap()
        };
        let a = desired_secret("hub", &ObjectRef::default(), &reference, &copy("QQ==", "7"));
        assert_eq!(a.object["data"]["k"], "QQ==");
        assert_eq!(
            a.digest,
            desired_secret("hub", &ObjectRef::default(), &reference, &copy("Qg==", "7")).digest
        );
        assert_ne!(
            a.digest,
            desired_secret("hub", &ObjectRef::default(), &reference, &copy("QQ==", "8")).digest
        );
        assert!(!format!("{a:?}").contains("QQ=="));
    }
}
