//! A hub in memory that takes the writes of the model and answers as an API server would, and a clock that stands still.

use std::collections::BTreeMap;
use std::time::Duration;

use placement_api::api_type::{ApiType, GroupKind, ObjectKey, known};
use placement_api::kinds::api;
use placement_api::names;
use placement_api::raw::RawObject;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::shell::jobs::Tag;
use crate::shell::model::{Alarm, Key, KindStore, Model, Now, Timer};
use crate::shell::watch::Source;
use crate::shell::writer::{Job, Verb};

/// A model and the hub it works on.
pub(super) struct World {
    pub(super) model: Model,
    objects: BTreeMap<(String, ObjectKey), Value>,
    version: u64,
    pub(super) now: Now,
    /// Every write, as `verb kind namespace/name`.
    pub(super) writes: Vec<String>,
    pub(super) timers: Vec<(Timer, Alarm)>,
    /// Kinds whose creation fails from now on.
    pub(super) broken: Option<&'static str>,
}

const KINDS: [ApiType; 6] = [
    known::DEPLOYMENT,
    known::JOB,
    known::CONFIG_MAP,
    known::SECRET,
    known::SERVICE,
    known::SERVICE_ACCOUNT,
];

impl World {
    pub(super) fn new(term: i64) -> Self {
        let mut world = Self {
            model: Model::new("hub".to_owned(), term, Duration::from_secs(40)),
            objects: BTreeMap::new(),
            version: 0,
            now: Now {
                instant: Instant::now(),
                ms: 1_700_000_000_000,
            },
            writes: Vec::new(),
            timers: Vec::new(),
            broken: None,
        };
        world.watch_kinds();
        world
    }

    fn watch_kinds(&mut self) {
        for api in KINDS {
            let store = KindStore {
                is_root: matches!(&*api.kind, "Deployment" | "Job"),
                has_status: matches!(&*api.kind, "Deployment" | "Job"),
                objects: BTreeMap::new(),
                api: api.clone(),
            };
            self.model.kinds.insert(api.group_kind(), store);
        }
    }

    /// A new leader that reads everything anew.
    pub(super) fn restart(&mut self, term: i64) {
        self.model = Model::new("hub".to_owned(), term, Duration::from_secs(40));
        self.watch_kinds();
        self.writes.clear();
        for object in self.objects.clone().into_values() {
            self.tell(&object);
        }
        let later = std::mem::take(&mut self.model.dirty);
        for key in self.model.targets.keys().cloned().collect::<Vec<_>>() {
            self.model.dirty.push(Key::Term(key));
        }
        self.write_all();
        self.model.dirty.extend(later);
        self.writes.clear();
        self.model.adopt_all(self.now);
        self.settle();
    }

    /// Somebody else creates or changes an object.
    pub(super) fn apply(&mut self, mut object: Value) {
        let key = key_of(&object);
        let id = (kind_of(&object), key);
        self.version += 1;
        let before = self.objects.get(&id);
        let uid = before.map_or_else(
            || format!("uid-{}", self.version),
            |o| text(o, "/metadata/uid"),
        );
        object["metadata"]["uid"] = uid.into();
        object["metadata"]["generation"] = 1.into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object["metadata"]["creationTimestamp"] = "2023-11-14T22:13:20Z".into();
        self.objects.insert(id, object.clone());
        self.tell(&object);
        self.settle();
    }

    /// Somebody else deletes an object.
    pub(super) fn delete(&mut self, kind: &str, key: &ObjectKey) {
        let id = (kind.to_owned(), key.clone());
        let Some(object) = self.objects.remove(&id) else {
            return;
        };
        self.version += 1;
        let version = self.version.to_string();
        let source = source_of(&object);
        self.model.deleted(&source, key, Some(&version), self.now);
        self.settle();
    }

    /// An object was missing from a list, but is there.
    pub(super) fn unseen(&mut self, kind: &str, key: &ObjectKey) {
        let object = self.objects[&(kind.to_owned(), key.clone())].clone();
        self.model.deleted(&source_of(&object), key, None, self.now);
        self.settle();
    }

    /// Everything that is on the hub.
    pub(super) fn all(&self) -> impl Iterator<Item = &Value> {
        self.objects.values()
    }

    pub(super) fn get(&self, kind: &str, key: &ObjectKey) -> Option<&Value> {
        self.objects.get(&(kind.to_owned(), key.clone()))
    }

    /// A target with two nodes of four CPUs whose agent reports.
    pub(super) fn target(&mut self, name: &str) {
        let namespace = names::target_namespace(name);
        self.apply(json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "SyncTarget", "metadata": {"name": name}, "spec": {}}));
        self.apply(json!({
            "apiVersion": "inhaul.dev/v1alpha1", "kind": "Inventory",
            "metadata": {"name": "inventory", "namespace": namespace},
            "spec": {"hubUID": "hub", "target": name, "minTerm": 0},
            "status": {
                "session": 1, "clusterUID": name, "kubernetesVersion": "v1.36.3",
                "classes": [{"id": "c", "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}],
                "nodes": [{"name": "n1", "class": "c"}, {"name": "n2", "class": "c"}],
                "served": ["apps/v1/Deployment", "batch/v1/Job", "v1/ConfigMap", "v1/Secret", "v1/Service", "v1/ServiceAccount"],
            },
        }));
        self.beat(name);
    }

    /// Its agent renews its lease.
    pub(super) fn beat(&mut self, name: &str) {
        let time = jiff::Timestamp::from_millisecond(self.now.ms)
            .unwrap()
            .to_string();
        self.apply(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "agent", "namespace": names::target_namespace(name)},
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 40, "renewTime": time},
        }));
    }

    /// The agent of a target reports of an Assignment.
    pub(super) fn report(&mut self, target: &str, name: &str, phase: &str, more: &Value) {
        let key = ObjectKey::new(names::target_namespace(target), name);
        let mut object = self.get("Assignment", &key).expect("an Assignment").clone();
        let mut status = json!({
            "observedGeneration": object["metadata"]["generation"], "epoch": object["spec"]["epoch"], "session": 1, "phase": phase,
        });
        json_patch::merge(&mut status, more);
        object["status"] = status;
        let generation = object["metadata"]["generation"].clone();
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object["metadata"]["generation"] = generation;
        self.objects
            .insert(("Assignment".to_owned(), key), object.clone());
        self.tell(&object);
        self.settle();
    }

    /// Time passes, and what was set for it happens.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.ms += i64::try_from(time.as_millis()).unwrap();
        for (timer, alarm) in std::mem::take(&mut self.timers) {
            let (Alarm::At(at) | Alarm::By(at)) = alarm;
            if at > self.now.instant {
                self.timers.push((timer, alarm));
                continue;
            }
            match timer {
                Timer::Lost(target) => self.model.target_silent(&target, self.now),
                Timer::Plan(id) => {
                    self.model.look.insert(id);
                }
                Timer::Write(key) => self.model.dirty.push(key),
                Timer::Queues => self.model.compare_queues(),
                Timer::Discover => {}
            }
        }
        self.settle();
    }

    /// Plans and writes until there is nothing left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            self.model.cycle(self.now);
            self.model.queues_moved(self.now);
            self.timers.append(&mut self.model.alarms);
            if self.model.dirty.is_empty() {
                return;
            }
            self.write_all();
        }
        panic!("it does not come to rest: {:?}", self.writes);
    }

    fn write_all(&mut self) {
        let mut keys = std::mem::take(&mut self.model.dirty);
        keys.sort();
        keys.dedup();
        for key in keys {
            if let Some(job) = self.job(&key) {
                self.run(job);
                self.model.dirty.push(key);
            }
        }
    }

    fn job(&mut self, key: &Key) -> Option<Job<Key, Tag>> {
        match key {
            Key::Workload(id) => self.model.workload_job(id),
            Key::Status(id) => self.model.status_job(id, self.now),
            Key::Copy(target, name) => self.model.copy_job(target, name),
            Key::Term(target) => self.model.term_job(target),
            Key::Queue(name) => self.model.queue_job(name, self.now),
            Key::Target(name) => self.model.target_job(name, self.now),
            Key::Check(root) => {
                let there = self.get(&root.kind.kind, &root.key).cloned();
                match there {
                    Some(object) => self.tell(&object),
                    None => self.model.object_gone(root),
                }
                None
            }
            // Their statuses are looked at elsewhere.
            Key::Location(_) | Key::Placement(_) | Key::Profile(_) | Key::Note(_) => None,
        }
    }

    fn run(&mut self, job: Job<Key, Tag>) {
        for stage in job.stages {
            for write in stage {
                let kind = write.api.kind.to_string();
                let line = format!("{:?} {kind} {}", write.verb, write.key);
                if self.broken == Some(&*kind) {
                    // As the engine does after a failure: made again when it is tried again.
                    if let (Tag::Assignment(target), Key::Workload(id)) = (&write.tag, &job.key) {
                        let part = self
                            .model
                            .entries
                            .get_mut(id)
                            .unwrap()
                            .parts
                            .get_mut(target)
                            .unwrap();
                        part.render = true;
                    }
                    return;
                }
                self.writes.push(line);
                self.send(&kind, &write.api, write.key, write.verb);
            }
        }
    }

    fn send(&mut self, kind: &str, api: &ApiType, key: ObjectKey, verb: Verb) {
        let id = (kind.to_owned(), key.clone());
        self.version += 1;
        let version = self.version.to_string();
        let mut object = match verb {
            Verb::Create(mut body) => {
                if let Some(there) = self.objects.get(&id).cloned() {
                    // 409, and the engine reads back.
                    return self.tell(&there);
                }
                body["metadata"]["uid"] = format!("uid-{version}").into();
                body["metadata"]["generation"] = 1.into();
                body["metadata"]["creationTimestamp"] = "2023-11-14T22:13:20Z".into();
                body
            }
            Verb::Patch(operations) => {
                let mut object = self.objects[&id].clone();
                let patch: json_patch::Patch = serde_json::from_value(operations).unwrap();
                json_patch::patch(&mut object, &patch).unwrap();
                let generation = object["metadata"]["generation"].as_i64().unwrap() + 1;
                object["metadata"]["generation"] = generation.into();
                object
            }
            Verb::MergeStatus(patch) | Verb::Merge(patch) => {
                let mut object = self.objects[&id].clone();
                json_patch::merge(&mut object, &patch);
                object
            }
            Verb::Delete { uid } => {
                let mut object = self.objects[&id].clone();
                assert_eq!(text(&object, "/metadata/uid"), uid);
                if object.pointer("/metadata/finalizers/0").is_none() {
                    self.objects.remove(&id);
                    self.model
                        .deleted(&source(api), &key, Some(&version), self.now);
                    return;
                }
                object["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z".into();
                object
            }
            Verb::Read => return,
        };
        object["metadata"]["resourceVersion"] = version.clone().into();
        let ends = !object["metadata"]["deletionTimestamp"].is_null()
            && object.pointer("/metadata/finalizers/0").is_none();
        if ends {
            self.objects.remove(&id);
            self.model
                .deleted(&source(api), &key, Some(&version), self.now);
            return;
        }
        self.objects.insert(id, object.clone());
        self.tell(&object);
    }

    fn tell(&mut self, object: &Value) {
        let raw = RawObject::from_value(object).unwrap();
        self.model.applied(&source_of(object), raw, self.now);
    }
}

fn source_of(object: &Value) -> Source {
    let kind = kind_of(object);
    let apis = [
        api::SYNC_TARGETS,
        api::LOCATIONS,
        api::PLACEMENTS,
        api::QUEUES,
        api::FLEET_POLICIES,
        api::WORKLOADS,
        api::ASSIGNMENTS,
        api::INVENTORIES,
        known::LEASE,
        known::NAMESPACE,
    ];
    let found = KINDS.into_iter().chain(apis).find(|api| api.kind == kind);
    source(&found.expect("a kind that is watched"))
}

fn source(api: &ApiType) -> Source {
    match &*api.kind {
        "SyncTarget" => Source::Targets,
        "Location" => Source::Locations,
        "Placement" => Source::Placements,
        "Queue" => Source::Queues,
        "FleetPolicy" => Source::Policies,
        "Workload" => Source::Workloads,
        "Assignment" => Source::Assignments,
        "Inventory" => Source::Inventories,
        "Lease" => Source::Leases,
        "Namespace" => Source::Namespaces,
        _ => Source::Objects(api.clone()),
    }
}

fn kind_of(object: &Value) -> String {
    text(object, "/kind")
}

fn key_of(object: &Value) -> ObjectKey {
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str);
    ObjectKey::new(
        namespace.unwrap_or_default(),
        text(object, "/metadata/name"),
    )
}

pub(super) fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A root object's Workload.
pub(super) fn workload(api: &ApiType, name: &str) -> ObjectKey {
    let GroupKind { group, kind } = api.group_kind();
    ObjectKey::new("shop", names::workload_name(&group, &kind, "shop", name))
}
