//! Copies of users' Secrets in the namespaces of the targets that need them. An agent can read them there and nowhere
//! else, and Secrets never stand inside other objects.

use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::SecretRef;
use placement_api::names::{HUB_LABEL, secret_copy_name, target_namespace, target_of_namespace};
use placement_api::raw::RawObject;
use serde_json::{Map, Value, json};

use super::jobs::Tag;
use super::model::{Key, LiveCopy, Model, RootKey};
use super::writer::{Job, Verb, Write};
use crate::fleet::TargetName;
use crate::select::never_travels;

/// Annotation on a copy: `namespace/name` of the Secret that it was made from.
const SOURCE_ANNOTATION: &str = "inhaul.dev/source";

impl Model {
    /// Takes in a Secret if it is in the namespace of a target.
    pub(super) fn copy_applied(&mut self, object: &RawObject) -> bool {
        let Some(target) = target_of_namespace(&object.metadata.namespace).map(TargetName::from)
        else {
            return false;
        };
        let ours = object.label(HUB_LABEL) == Some(self.hub_uid.as_str());
        let source = object
            .annotation(SOURCE_ANNOTATION)
            .and_then(|text| text.split_once('/'));
        let source = source.map(|(namespace, name)| ObjectKey::new(namespace, name));
        let key = (target.clone(), object.metadata.name.clone());
        if !ours && !self.copies.contains_key(&key) {
            return true;
        }
        let record = self.copies.entry(key).or_default();
        if let Some(source) = source.filter(|_| ours) {
            record.source = source;
        }
        let digest = content(object);
        let known = record.live.get().map(|live| live.digest.clone());
        let live = LiveCopy {
            uid: object.metadata.uid.clone(),
            ours,
            digest: digest.clone(),
        };
        if record
            .live
            .accept(&object.metadata.resource_version, || live)
            && known.as_ref() != Some(&digest)
        {
            self.dirty
                .push(Key::Copy(target.clone(), object.metadata.name.clone()));
            self.wake_users(&target, &object.metadata.name);
        }
        true
    }

    /// A Secret in the namespace of a target is gone. It is made again if it is needed.
    pub(super) fn copy_gone(&mut self, key: &ObjectKey, version: Option<&str>) -> bool {
        let Some(target) = target_of_namespace(&key.namespace).map(TargetName::from) else {
            return false;
        };
        if let Some(record) = self.copies.get_mut(&(target.clone(), key.name.clone())) {
            record.live.gone(version);
            self.dirty.push(Key::Copy(target, key.name.clone()));
        }
        true
    }

    /// These Secrets are needed on a target.
    pub(super) fn use_copies(&mut self, target: &TargetName, secrets: &[SecretRef]) {
        for secret in secrets {
            let record = self
                .copies
                .entry((target.clone(), secret.copy.clone()))
                .or_default();
            record.source = ObjectKey::new(secret.namespace.clone(), secret.name.clone());
            if record.live.get().is_none() {
                self.dirty
                    .push(Key::Copy(target.clone(), secret.copy.clone()));
            }
        }
    }

    /// Whether an Assignment may name a copy.
    pub(super) fn copy_is_there(&self, target: &TargetName, name: &str) -> bool {
        self.copies
            .get(&(target.clone(), name.to_owned()))
            .and_then(|record| record.live.get())
            .is_some_and(|live| live.ours)
    }

    /// Who needs a Secret on these targets may have changed.
    pub(super) fn copies_of(&mut self, need: &RootKey, targets: &[TargetName]) {
        if need.kind != known::SECRET.group_kind() {
            return;
        }
        let name = secret_copy_name(&need.key.namespace, &need.key.name);
        self.dirty.extend(
            targets
                .iter()
                .map(|target| Key::Copy(target.clone(), name.clone())),
        );
    }

    /// The write of a copy, if there is one.
    pub(super) fn copy_job(&self, target: &TargetName, name: &str) -> Option<Job<Key, Tag>> {
        let record = self.copies.get(&(target.clone(), name.to_owned()))?;
        let source = RootKey {
            kind: known::SECRET.group_kind(),
            key: record.source.clone(),
        };
        let secret = self.root(&source).filter(|secret| !never_travels(secret));
        let key = ObjectKey::new(target_namespace(target.as_str()), name);
        let needed = self.copy_is_needed(target, &source) || self.copy_is_named(target, name);
        let verb = match (needed, secret, record.live.get()) {
            (_, _, Some(live)) if !live.ours => return None,
            (true, Some(secret), None) => Verb::Create(self.copy(&key, secret)),
            (true, Some(secret), Some(live)) if live.digest != content(secret) => {
                let body = self.copy(&key, secret);
                Verb::Patch(json!([
                    {"op": "test", "path": "/metadata/uid", "value": live.uid},
                    {"op": "add", "path": "/data", "value": body.get("data")},
                ]))
            }
            (false, _, Some(live)) => Verb::Delete {
                uid: live.uid.clone(),
            },
            _ => return None,
        };
        let write = Write {
            tag: Tag::Object,
            api: known::SECRET,
            key,
            verb,
        };
        Some(Job {
            key: Key::Copy(target.clone(), name.to_owned()),
            stages: vec![vec![write]],
        })
    }

    fn copy_is_needed(&self, target: &TargetName, source: &RootKey) -> bool {
        let there = |id: &crate::fleet::WorkloadId| {
            self.entries
                .get(id)
                .is_some_and(|entry| entry.parts.contains_key(target))
        };
        self.dependents.get(source).into_iter().flatten().any(there) || there(&source.id())
    }

    /// Whether an Assignment on the target names a copy, whatever is known of its workload.
    fn copy_is_named(&self, target: &TargetName, name: &str) -> bool {
        let mut parts = self
            .by_target
            .get(target)
            .into_iter()
            .flatten()
            .filter_map(|id| {
                let part = self.entries.get(id)?.parts.get(target)?;
                part.live.get()
            });
        parts.any(|live| {
            live.spec
                .secret_refs
                .iter()
                .any(|secret| secret.copy == name)
        })
    }

    fn wake_users(&mut self, target: &TargetName, name: &str) {
        let Some(record) = self.copies.get(&(target.clone(), name.to_owned())) else {
            return;
        };
        let source = RootKey {
            kind: known::SECRET.group_kind(),
            key: record.source.clone(),
        };
        let users = self.dependents.get(&source).into_iter().flatten().cloned();
        self.dirty
            .extend(users.chain([source.id()]).map(Key::Workload));
    }

    fn copy(&self, key: &ObjectKey, secret: &RawObject) -> Value {
        let section = |name: &str| secret.section_as::<Value>(name).ok().flatten();
        let mut body = Map::new();
        body.insert("apiVersion".to_owned(), "v1".into());
        body.insert("kind".to_owned(), "Secret".into());
        let metadata = json!({
            "name": key.name,
            "namespace": key.namespace,
            "labels": {HUB_LABEL: self.hub_uid},
            "annotations": {SOURCE_ANNOTATION: secret.key().to_string()},
        });
        body.insert("metadata".to_owned(), metadata);
        body.insert(
            "type".to_owned(),
            section("type").unwrap_or_else(|| "Opaque".into()),
        );
        body.insert(
            "data".to_owned(),
            section("data").unwrap_or_else(|| json!({})),
        );
        Value::Object(body)
    }
}

/// What a copy has in common with its source. A type never changes: a Secret of another type is another Secret.
fn content(secret: &RawObject) -> String {
    let data: Value = secret
        .section_as("data")
        .ok()
        .flatten()
        .unwrap_or_else(|| json!({}));
    placement_api::raw::digest_of(&data)
}
