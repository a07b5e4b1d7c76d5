//! An object of any kind, as bytes where nobody needs to look.
//!
//! Only what every decision needs is parsed: types and metadata. `spec`, `status`, `data` and all other sections stay the JSON
//! text that the server sent, and `metadata.managedFields` is skipped without being allocated. A parsed `Value` costs ten times
//! its JSON in memory, and managed fields are nine tenths of what is left; most objects are only compared and passed on.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::api_type::{ApiType, GroupKind, ObjectKey};

/// An object of any kind: types, metadata, and the rest as JSON text by top-level name.
#[derive(Clone, Default)]
pub struct RawObject {
    /// `apiVersion`; empty when the text had none.
    pub api_version: String,
    /// `kind`; empty when the text had none.
    pub kind: String,
    /// Metadata without `managedFields`.
    pub metadata: Metadata,
    sections: Vec<(Box<str>, Box<RawValue>)>,
}

/// The metadata of an object.
#[derive(Clone, Default)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// What the server was asked to make the name of; empty where the name was given.
    pub generate_name: String,
    /// Namespace; empty for objects outside namespaces.
    pub namespace: String,
    /// UID; empty before the server has given one.
    pub uid: String,
    /// Resource version; opaque, empty before the server has given one.
    pub resource_version: String,
    /// Generation; kinds without one have `None`.
    pub generation: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Owners.
    pub owner_references: Vec<OwnerReference>,
    /// Finalizers, in order.
    pub finalizers: Vec<String>,
    /// When the object was created, as the server wrote it (RFC 3339).
    pub creation_timestamp: Option<String>,
    /// When deletion was asked for, as the server wrote it. Present means: being deleted.
    pub deletion_timestamp: Option<String>,
    /// Fields that we have no name for (`selfLink`, …), kept so that a round trip loses nothing but `managedFields`.
    other: Vec<(Box<str>, Box<RawValue>)>,
}

/// One owner of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// `apiVersion` of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// UID of the owner.
    pub uid: String,
    /// Whether the owner is the managing controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether deletion of the owner waits for this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// Why a section or a whole object could not be read as what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct ParseError {
    /// Which section of which object; never its content.
    pub what: String,
    /// What the JSON reader says.
    #[source]
    pub source: serde_json::Error,
}

impl RawObject {
    /// An object that has types and a name, and nothing else.
    pub fn new(api: &ApiType, key: &ObjectKey) -> Self {
        Self {
            api_version: api.api_version(),
            kind: api.kind.to_string(),
            metadata: Metadata {
                name: key.name.clone(),
                namespace: key.namespace.clone(),
                ..Metadata::default()
            },
            sections: Vec::new(),
        }
    }

    /// Reads an object from JSON text.
    pub fn from_json(text: &[u8]) -> Result<Self, ParseError> {
        serde_json::from_slice(text).map_err(|source| ParseError {
            what: "object".to_owned(),
            source,
        })
    }

    /// Reads an object from a parsed value.
    pub fn from_value(value: &Value) -> Result<Self, ParseError> {
        Self::deserialize(value).map_err(|source| ParseError {
            what: "object".to_owned(),
            source,
        })
    }

    /// Reads any serializable object (a typed struct) into this form.
    pub fn from_typed<T: Serialize>(object: &T) -> Result<Self, ParseError> {
        let text = serde_json::to_vec(object).map_err(|source| ParseError {
            what: "object".to_owned(),
            source,
        })?;
        Self::from_json(&text)
    }

    /// Namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.metadata.namespace.clone(), self.metadata.name.clone())
    }

    /// The kind without its version.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::from_api_version(&self.api_version, self.kind.clone())
    }

    /// Whether deletion was asked for.
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// The managing controller, if there is one.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.metadata
            .owner_references
            .iter()
            .find(|owner| owner.controller == Some(true))
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.metadata.labels.get(name).map(String::as_str)
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.get(name).map(String::as_str)
    }

    /// Names of the sections, in the order of the text.
    pub fn section_names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|(name, _)| &**name)
    }

    /// A top-level section (`spec`, `status`, `data`, …) as JSON text.
    pub fn section(&self, name: &str) -> Option<&RawValue> {
        self.sections
            .iter()
            .find(|(have, _)| &**have == name)
            .map(|(_, value)| &**value)
    }

    /// A top-level section read as `T`; `None` when it is missing or `null`.
    pub fn section_as<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ParseError> {
        self.section(name).map_or(Ok(None), |text| {
            serde_json::from_str(text.get()).map_err(|source| ParseError {
                what: format!("{name} of {self}"),
                source,
            })
        })
    }

    /// Puts a section in place of the one of that name, or at the end.
    pub fn set_section<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), ParseError> {
        let text = serde_json::value::to_raw_value(value).map_err(|source| ParseError {
            what: format!("{name} of {self}"),
            source,
        })?;
        match self.sections.iter_mut().find(|(have, _)| &**have == name) {
            Some((_, old)) => *old = text,
            None => self.sections.push((name.into(), text)),
        }
        Ok(())
    }

    /// Takes a section away; says whether it was there.
    pub fn remove_section(&mut self, name: &str) -> bool {
        let before = self.sections.len();
        self.sections.retain(|(have, _)| &**have != name);
        self.sections.len() != before
    }

    /// The whole object as a typed struct.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        let failed = |source| ParseError {
            what: self.to_string(),
            source,
        };
        let text = serde_json::to_vec(self).map_err(failed)?;
        serde_json::from_slice(&text).map_err(failed)
    }

    /// The whole object as a value, without `managedFields`.
    pub fn to_value(&self) -> Value {
        // Text that was read as JSON is JSON; only a nesting deeper than serde's limit could fail here.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    /// Digest of some sections: the same for the same content, however it is spelt. Missing sections count as missing, not as
    /// `null`. Order of `names` matters.
    pub fn digest(&self, names: &[&str]) -> String {
        let mut hasher = Sha256::new();
        for name in names {
            let Some(text) = self.section(name) else {
                continue;
            };
            feed(&mut hasher, name);
            match serde_json::from_str::<Value>(text.get()) {
                Ok(value) => feed(&mut hasher, &canonical_json(&value)),
                // Nested too deep to be understood: its text is its content.
                Err(_) => feed(&mut hasher, text.get()),
            }
        }
        hex(&hasher.finalize())
    }
}

/// Digest of a value: the same for the same content, whatever the order of keys and the white space were.
pub fn digest_of(value: &Value) -> String {
    hex(&Sha256::digest(canonical_json(value).as_bytes()))
}

/// JSON text with keys in order and no white space.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(&mut text, value);
    text
}

fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(out, member);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(out, item);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// Length before content, so that no two lists of texts feed the same bytes.
fn feed(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text.as_bytes());
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

impl fmt::Display for RawObject {
    /// Kind and key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.metadata.namespace.is_empty() {
            write!(f, "{}/", self.metadata.namespace)?;
        }
        f.write_str(&self.metadata.name)
    }
}

impl fmt::Debug for RawObject {
    /// Names and sizes only: an object may be a Secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RawObject({} {self} @{}",
            self.api_version, self.metadata.resource_version
        )?;
        for (name, text) in &self.sections {
            write!(f, " {name}:{}B", text.get().len())?;
        }
        f.write_str(")")
    }
}

impl fmt::Debug for Metadata {
    /// Without annotations, which may carry a whole object (kubectl's last applied configuration).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("uid", &self.uid)
            .field("resource_version", &self.resource_version)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = RawObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Kubernetes object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut object = RawObject::default();
                while let Some(name) = map.next_key::<Box<str>>()? {
                    match &*name {
                        "apiVersion" => object.api_version = or_empty(&mut map)?,
                        "kind" => object.kind = or_empty(&mut map)?,
                        "metadata" => object.metadata = or_empty(&mut map)?,
                        _ => object.sections.push((name, map.next_value()?)),
                    }
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;

        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("metadata of a Kubernetes object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut metadata = Metadata::default();
                while let Some(name) = map.next_key::<Box<str>>()? {
                    match &*name {
                        "managedFields" => {
                            map.next_value::<IgnoredAny>()?;
                        }
                        "name" => metadata.name = or_empty(&mut map)?,
                        "generateName" => metadata.generate_name = or_empty(&mut map)?,
                        "namespace" => metadata.namespace = or_empty(&mut map)?,
                        "uid" => metadata.uid = or_empty(&mut map)?,
                        "resourceVersion" => metadata.resource_version = or_empty(&mut map)?,
                        "generation" => metadata.generation = map.next_value()?,
                        "labels" => metadata.labels = or_empty(&mut map)?,
                        "annotations" => metadata.annotations = or_empty(&mut map)?,
                        "ownerReferences" => metadata.owner_references = or_empty(&mut map)?,
                        "finalizers" => metadata.finalizers = or_empty(&mut map)?,
                        "creationTimestamp" => metadata.creation_timestamp = map.next_value()?,
                        "deletionTimestamp" => metadata.deletion_timestamp = map.next_value()?,
                        _ => metadata.other.push((name, map.next_value()?)),
                    }
                }
                Ok(metadata)
            }
        }

        deserializer.deserialize_map(MetadataVisitor)
    }
}

/// The next value, or the empty one for `null`.
fn or_empty<'de, A: MapAccess<'de>, T: Deserialize<'de> + Default>(
    map: &mut A,
) -> Result<T, A::Error> {
    Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("apiVersion", &self.api_version)?;
        map.serialize_entry("kind", &self.kind)?;
        map.serialize_entry("metadata", &self.metadata)?;
        for (name, value) in &self.sections {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in [
            ("name", &self.name),
            ("generateName", &self.generate_name),
            ("namespace", &self.namespace),
            ("uid", &self.uid),
            ("resourceVersion", &self.resource_version),
        ] {
            if !value.is_empty() {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some(generation) = self.generation {
            map.serialize_entry("generation", &generation)?;
        }
        for (name, value) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !value.is_empty() {
                map.serialize_entry(name, value)?;
            }
        }
        if !self.owner_references.is_empty() {
            map.serialize_entry("ownerReferences", &self.owner_references)?;
        }
        if !self.finalizers.is_empty() {
            map.serialize_entry("finalizers", &self.finalizers)?;
        }
        for (name, value) in [
            ("creationTimestamp", &self.creation_timestamp),
            ("deletionTimestamp", &self.deletion_timestamp),
        ] {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in &self.other {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, Secret};
    use serde_json::json;

    use super::*;
    use crate::api_type::known;

    const POD: &str = r#"{
      "kind": "Pod", "apiVersion": "v1",
      "metadata": {
        "name": "p", "namespace": "n", "uid": "u-1", "resourceVersion": "42", "generation": 3, "generateName": "p-",
        "labels": {"app": "web", "a": "b"}, "annotations": {"note": "x"},
        "ownerReferences": [
          {"apiVersion": "v1", "kind": "Node", "name": "other", "uid": "u-8"},
          {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u-9", "controller": true, "blockOwnerDeletion": true}
        ],
        "finalizers": ["inhaul.dev/x"], "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": null,
        "managedFields": [{"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {"f:x": {}}}}]
      },
      "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}]},
      "status": {"phase": "Running"}
    }"#;

    fn pod() -> RawObject {
        RawObject::from_json(POD.as_bytes()).unwrap()
    }

    #[test]
    fn reads_what_decisions_need_and_keeps_the_rest_as_text() {
        let pod = pod();
        assert_eq!(pod.key(), ObjectKey::new("n", "p"));
        assert_eq!(pod.group_kind(), known::POD.group_kind());
        assert_eq!(
            (pod.metadata.uid.as_str(), pod.metadata.generation),
            ("u-1", Some(3))
        );
        assert_eq!(pod.label("app"), Some("web"));
        assert_eq!(pod.annotation("note"), Some("x"));
        assert_eq!(pod.controller().unwrap().name, "rs");
        assert_eq!(pod.metadata.finalizers, ["inhaul.dev/x"]);
        assert!(!pod.is_deleting());
        assert_eq!(pod.section_names().collect::<Vec<_>>(), ["spec", "status"]);
        assert_eq!(
            pod.section("status").unwrap().get(),
            r#"{"phase": "Running"}"#
        );
        assert!(pod.section("data").is_none());
    }

    #[test]
    fn a_round_trip_loses_nothing_but_managed_fields() {
        let mut expected: Value = serde_json::from_str(POD).unwrap();
        let metadata = expected["metadata"].as_object_mut().unwrap();
        metadata.remove("managedFields");
        metadata.remove("deletionTimestamp");
        assert_eq!(pod().to_value(), expected);
        let again = RawObject::from_value(&pod().to_value()).unwrap();
        assert_eq!(again.to_value(), expected);
        assert_eq!(
            RawObject::from_typed(&pod().parse::<Pod>().unwrap())
                .unwrap()
                .key(),
            pod().key()
        );
    }

    #[test]
    fn sections_parse_on_demand() {
        let typed: Pod = pod().parse().unwrap();
        assert_eq!(typed.spec.unwrap().containers[0].name, "c");
        let status: Option<BTreeMap<String, String>> = pod().section_as("status").unwrap();
        assert_eq!(status.unwrap()["phase"], "Running");
        assert!(pod().section_as::<Value>("missing").unwrap().is_none());
        let error = pod().section_as::<u32>("status").unwrap_err();
        assert!(
            error.to_string().starts_with("status of Pod n/p: "),
            "{error}"
        );
    }

    #[test]
    fn sections_change_in_place() {
        let mut object = RawObject::new(&known::CONFIG_MAP, &ObjectKey::new("n", "c"));
        object.set_section("data", &json!({"a": "1"})).unwrap();
        object.set_section("data", &json!({"a": "2"})).unwrap();
        assert_eq!(
            object.to_value(),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": {"a": "2"}})
        );
        assert!(object.remove_section("data"));
        assert!(!object.remove_section("data"));
    }

    #[test]
    fn the_digest_sees_content_not_spelling() {
        let digest = |text: &str, names: &[&str]| {
            RawObject::from_json(text.as_bytes()).unwrap().digest(names)
        };
        let one = r#"{"spec":{"a":1,"b":{"x":"é","y":[1,2]}},"status":{"z":1}}"#;
        let same =
            r#"{ "status": {"z": 2}, "spec": { "b": {"y": [1, 2], "x": "\u00e9"}, "a": 1 } }"#;
        assert_eq!(digest(one, &["spec"]), digest(same, &["spec"]));
        assert_eq!(digest(one, &["spec"]).len(), 64);
        let different = [
            r#"{"spec":{"a":2,"b":{"x":"é","y":[1,2]}}}"#,
            r#"{"spec":{"a":1,"b":{"x":"é","y":[2,1]}}}"#,
            r#"{"spec":{"a":"1","b":{"x":"é","y":[1,2]}}}"#,
            r#"{"data":{"a":1,"b":{"x":"é","y":[1,2]}}}"#,
            r#"{"spec":null}"#,
            "{}",
        ];
        let mut seen = vec![digest(one, &["spec", "data"])];
        for text in different {
            let this = digest(text, &["spec", "data"]);
            assert!(!seen.contains(&this), "{text}");
            seen.push(this);
        }
        assert_ne!(digest(one, &["spec"]), digest(one, &["spec", "status"]));
        assert_eq!(
            digest_of(&json!({"a": 1, "b": 2})),
            digest_of(&serde_json::from_str("{\"b\":2,\"a\":1}").unwrap())
        );
    }

    #[test]
    fn debug_output_shows_no_content() {
        let secret = Secret {
            string_data: Some([("password".to_owned(), "hunter2".to_owned())].into()),
            ..Secret::default()
        };
        let mut raw = RawObject::from_typed(&secret).unwrap();
        raw.metadata
            .annotations
            .insert("last".into(), "hunter2".into());
        let shown = format!("{raw:?} {:?} {raw}", raw.metadata);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("stringData"), "{shown}");
    }

    #[test]
    fn odd_texts_are_read_or_refused_never_guessed() {
        let null = RawObject::from_json(br#"{"metadata":null,"kind":null,"spec":null}"#).unwrap();
        assert_eq!(null.key(), ObjectKey::default());
        assert_eq!(null.section("spec").unwrap().get(), "null");
        assert!(null.section_as::<Value>("spec").unwrap().is_none());
        let labels =
            RawObject::from_json(br#"{"metadata":{"labels":null,"finalizers":null}}"#).unwrap();
        assert!(labels.metadata.labels.is_empty());
        for text in [
            "[]",
            "{\"metadata\":{\"labels\":{\"a\":1}}}",
            "{\"kind\":1}",
            "{",
            "",
        ] {
            assert!(RawObject::from_json(text.as_bytes()).is_err(), "{text}");
        }
    }
}
