//! All that the engine knows: the hub's orders, the member as the watches show it, the ledgers, and what this process did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::{Discovery, WatchEvent};
use placement_api::api_type::{GroupKind, ObjectKey};
use placement_api::kinds::{AppliedAssignment, SyncPolicySpec};
use placement_api::names::HUB_LABEL;
use placement_api::raw::RawObject;

use super::apply::{Ledger, Outcome};
use super::devices::DeviceStore;
use super::discovery::resolve;
use super::member::Watching;
use super::order::Order;
use super::store::Store;
use crate::decide::desired::{Desired, desired, desired_secret, secret_id};
use crate::decide::diff::{Seen, Written};
use crate::decide::node::Node;
use crate::decide::object_id::ObjectId;
use crate::decide::ownership::Ownership;
use crate::decide::pod::Pod;

/// A watched kind.
#[derive(Default)]
pub struct Kind {
    /// Its objects with our marker.
    pub objects: Store<RawObject>,
    /// The watch, while the kind is served.
    pub watching: Option<Watching>,
    /// Why it cannot be listed, where the member does not allow it, and how often in a row it said so.
    pub denied: Option<(String, u32)>,
}

/// All that is known.
#[derive(Default)]
pub struct State {
    /// UID of the hub.
    pub hub_uid: Arc<str>,
    /// The target's namespace on the hub.
    pub hub_namespace: String,
    /// Orders.
    pub assignments: Store<RawObject>,
    /// Orders whose object is gone from the hub: what they ordered stays and is kept in repair.
    pub orphans: BTreeMap<String, RawObject>,
    /// The hub's copies of Secrets.
    pub secrets: Store<RawObject>,
    /// Which orders name which copy.
    pub copies: BTreeMap<String, BTreeSet<String>>,
    /// Ledgers.
    pub ledgers: BTreeMap<String, AppliedAssignment>,
    /// Watched kinds.
    pub kinds: BTreeMap<GroupKind, Kind>,
    /// The `apiVersion` in which a kind is ordered.
    pub versions: BTreeMap<GroupKind, String>,
    /// All CRDs; their content only where they are ours.
    pub crds: Store<RawObject>,
    /// All namespaces, without content.
    pub namespaces: Store<RawObject>,
    /// All pods.
    pub pods: Store<Pod>,
    /// Our pods by assignment.
    pub pods_of: BTreeMap<String, BTreeSet<ObjectKey>>,
    /// All nodes.
    pub nodes: Store<Node>,
    /// What is said of devices.
    pub devices: DeviceStore,
    /// SyncPolicies.
    pub policies: Store<RawObject>,
    /// What the member serves.
    pub discovery: Option<Arc<Discovery>>,
    /// The member's version.
    pub version: String,
    /// Who wants and lists what.
    pub ownership: Ownership,
    /// What this process wrote.
    pub written: BTreeMap<ObjectId, Written>,
    /// UIDs that this process has applied.
    pub applied: BTreeSet<String>,
}

/// The objects of an order, and what is missing for them.
pub struct Wanted {
    /// Objects, root last.
    pub desired: Vec<Desired>,
    /// Secrets whose copies have not arrived.
    pub missing: Vec<ObjectId>,
}

impl State {
    /// The order of that name, whether the hub still has it or not.
    pub fn order(&self, name: &str) -> Option<&RawObject> {
        self.assignments
            .get(&ObjectKey::new(&self.hub_namespace, name))
            .or_else(|| self.orphans.get(name))
    }

    /// Notes what an order is about; returns the kinds that have to be watched for it.
    pub fn note_order(&mut self, name: &str) -> BTreeSet<GroupKind> {
        let order = self.order(name).and_then(|object| Order::read(object).ok());
        let objects = order.as_ref().map(Order::objects).unwrap_or_default();
        let kinds = objects.iter().map(|(id, ..)| id.kind.clone()).collect();
        for (id, api_version, _) in &objects {
            self.versions.insert(id.kind.clone(), api_version.clone());
        }
        self.ownership.set_order(
            name,
            objects
                .into_iter()
                .map(|(id, _, version)| (id, version))
                .collect(),
        );
        self.copies.retain(|_, names| {
            names.remove(name);
            !names.is_empty()
        });
        for reference in order.iter().flat_map(|order| &order.spec.secret_refs) {
            self.copies
                .entry(reference.copy.clone())
                .or_default()
                .insert(name.to_owned());
        }
        kinds
    }

    /// Notes a ledger; returns the kinds that have to be watched for it.
    pub fn note_ledger(
        &mut self,
        name: &str,
        ledger: Option<AppliedAssignment>,
    ) -> BTreeSet<GroupKind> {
        let objects = ledger
            .as_ref()
            .map(|ledger| ledger.spec.objects.as_slice())
            .unwrap_or_default();
        let ids: Vec<ObjectId> = objects
            .iter()
            .map(|object| ObjectId::of(&object.reference))
            .collect();
        let kinds = ids.iter().map(|id| id.kind.clone()).collect();
        for (id, object) in ids.iter().zip(objects) {
            let version = &object.reference.version;
            let api_version = if id.kind.group.is_empty() {
                version.clone()
            } else {
                format!("{}/{version}", id.kind.group)
            };
            self.versions.entry(id.kind.clone()).or_insert(api_version);
        }
        self.ownership.set_ledger(name, ids);
        match ledger {
            Some(ledger) => self.ledgers.insert(name.to_owned(), ledger),
            None => self.ledgers.remove(name),
        };
        kinds
    }

    /// Takes in what became of steps; returns the kinds to watch.
    pub fn note_outcome(&mut self, name: &str, outcome: &mut Outcome) -> BTreeSet<GroupKind> {
        for id in outcome.gone.drain(..) {
            if let Some(kind) = self.kinds.get_mut(&id.kind) {
                kind.objects.remove(&id.key);
            }
            self.written.remove(&id);
        }
        for object in outcome.objects.drain(..) {
            let id = ObjectId::of_raw(&object);
            if is_crd(&id.kind) {
                self.crds.put(id.key, object);
            } else if is_namespace(&id.kind) {
                self.namespaces.put(id.key, object);
            } else {
                self.kinds
                    .entry(id.kind)
                    .or_default()
                    .objects
                    .put(id.key, object);
            }
        }
        self.written.extend(outcome.written.drain(..));
        self.applied.extend(outcome.applied.drain(..));
        for name in outcome.namespaces.drain(..) {
            let mut object = RawObject::default();
            object.metadata.name.clone_from(&name);
            if self.namespaces.get(&ObjectKey::cluster(&name)).is_none() {
                self.namespaces.put(ObjectKey::cluster(name), object);
            }
        }
        match std::mem::take(&mut outcome.ledger) {
            Ledger::Unchanged => BTreeSet::new(),
            Ledger::Gone => self.note_ledger(name, None),
            Ledger::Stands(ledger) => self.note_ledger(name, Some(*ledger)),
        }
    }

    /// The objects of an order. Of those that several carry, the newest content counts.
    pub fn wanted(&self, name: &str, order: &Order) -> Result<Wanted, String> {
        let mut wanted = Wanted {
            desired: Vec::new(),
            missing: Vec::new(),
        };
        for reference in &order.spec.secret_refs {
            let copy = self
                .secrets
                .get(&ObjectKey::new(&self.hub_namespace, &reference.copy));
            match copy.filter(|copy| copy.label(HUB_LABEL) == Some(&self.hub_uid)) {
                Some(copy) => wanted.desired.push(desired_secret(
                    &self.hub_uid,
                    &order.spec.workload,
                    reference,
                    copy,
                )),
                None => wanted.missing.push(secret_id(reference)),
            }
        }
        for mut object in desired(name, &self.hub_uid, &order.spec)? {
            if let Some(winner) = self
                .ownership
                .winner(&object.id)
                .filter(|winner| *winner != name && !object.root)
                && let Some(theirs) = self.of_other(winner, &object.id)
            {
                object = theirs;
            }
            wanted.desired.push(object);
        }
        Ok(wanted)
    }

    fn of_other(&self, name: &str, id: &ObjectId) -> Option<Desired> {
        let order = Order::read(self.order(name)?).ok()?;
        let all = desired(name, &self.hub_uid, &order.spec).ok()?;
        all.into_iter()
            .find(|object| object.id == *id && !object.root)
    }

    /// How an object on the member looks.
    pub fn seen(&self, id: &ObjectId) -> Seen<'_> {
        if is_crd(&id.kind) || is_namespace(&id.kind) {
            let store = if is_crd(&id.kind) {
                &self.crds
            } else {
                &self.namespaces
            };
            return match store.get(&id.key) {
                _ if !store.is_synced() => Seen::Unknown,
                None => Seen::Absent,
                Some(object) if object.label(HUB_LABEL) == Some(&self.hub_uid) => {
                    Seen::Ours(object)
                }
                Some(object) => Seen::Foreign(object),
            };
        }
        let Some(discovery) = &self.discovery else {
            return Seen::Unknown;
        };
        if discovery.find(&id.kind).is_none() {
            let away = discovery
                .unavailable
                .iter()
                .any(|version| version.split('/').next() == Some(&id.kind.group));
            return if away { Seen::Unknown } else { Seen::Absent };
        }
        match self.kinds.get(&id.kind) {
            Some(kind) if kind.objects.is_synced() => match kind.objects.get(&id.key) {
                Some(object) if object.label(HUB_LABEL) == Some(&self.hub_uid) => {
                    Seen::Ours(object)
                }
                Some(object) => Seen::Foreign(object),
                None => Seen::Absent,
            },
            _ => Seen::Unknown,
        }
    }

    /// Whether the member serves the kind in the version it is written in.
    pub fn serves(&self, object: &Desired) -> bool {
        self.discovery.as_ref().is_some_and(|discovery| {
            resolve(discovery, &object.api_version, &object.id.kind)
                .is_some_and(|api| api.api_version() == object.api_version)
        })
    }

    /// Whether a namespace is there.
    pub fn has_namespace(&self, name: &str) -> Option<bool> {
        let known = self.namespaces.is_synced();
        known.then(|| self.namespaces.get(&ObjectKey::cluster(name)).is_some())
    }

    /// What the member's admin allows; `None`: not known yet.
    pub fn policy(&self) -> Option<SyncPolicySpec> {
        let spec = self
            .policies
            .values()
            .next()
            .and_then(|policy| policy.section_as("spec").ok().flatten());
        self.policies.is_synced().then(|| spec.unwrap_or_default())
    }

    /// The pods of an assignment.
    pub fn pods(&self, name: &str) -> Vec<&Pod> {
        let keys = self.pods_of.get(name).into_iter().flatten();
        keys.filter_map(|key| self.pods.get(key)).collect()
    }

    /// Takes in a pod event; returns the assignments whose pods have changed.
    pub fn feed_pod(&mut self, event: WatchEvent) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        let before = match &event {
            WatchEvent::Applied(object) | WatchEvent::Deleted(object) => {
                self.pods.get(&object.key()).cloned()
            }
            _ => None,
        };
        let whole = matches!(event, WatchEvent::Synced);
        let mut keys = Vec::new();
        let hub_uid = Arc::clone(&self.hub_uid);
        self.pods.feed(
            event,
            |object| Pod::read(&object, &hub_uid),
            |key, _| keys.push(key.clone()),
        );
        if whole {
            let mut index: BTreeMap<String, BTreeSet<ObjectKey>> = BTreeMap::new();
            for pod in self.pods.values().filter(|pod| !pod.assignment.is_empty()) {
                let key = ObjectKey::new(&pod.namespace, &pod.name);
                index.entry(pod.assignment.clone()).or_default().insert(key);
            }
            touched.extend(self.pods_of.keys().chain(index.keys()).cloned());
            self.pods_of = index;
            return touched;
        }
        for key in keys {
            self.index_pod(&key, before.as_ref(), &mut touched);
        }
        touched
    }

    fn index_pod(&mut self, key: &ObjectKey, before: Option<&Pod>, touched: &mut BTreeSet<String>) {
        let now = self.pods.get(key);
        let same = match (before, now) {
            (Some(before), Some(now)) => {
                *now == Pod {
                    version: now.version,
                    ..before.clone()
                }
            }
            _ => false,
        };
        if same {
            return;
        }
        if let Some(before) = before.filter(|pod| !pod.assignment.is_empty()) {
            touched.insert(before.assignment.clone());
            if let Some(keys) = self.pods_of.get_mut(&before.assignment) {
                keys.remove(key);
                if keys.is_empty() {
                    self.pods_of.remove(&before.assignment);
                }
            }
        }
        if let Some(now) = now.filter(|pod| !pod.assignment.is_empty()) {
            touched.insert(now.assignment.clone());
            self.pods_of
                .entry(now.assignment.clone())
                .or_default()
                .insert(key.clone());
        }
    }

    /// Takes in a pod as a write has left it.
    pub fn put_pod(&mut self, object: &RawObject) {
        let pod = Pod::read(object, &self.hub_uid);
        self.pods.put(object.key(), pod);
    }
}

/// Whether this is the kind of CRDs.
pub fn is_crd(kind: &GroupKind) -> bool {
    kind.group == "apiextensions.k8s.io" && kind.kind == "CustomResourceDefinition"
}

/// Whether this is the kind of namespaces.
pub fn is_namespace(kind: &GroupKind) -> bool {
    kind.group.is_empty() && kind.kind == "Namespace"
}
