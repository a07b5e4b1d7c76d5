//! Which kinds are watched because their objects may be placed, or because others depend on them.

use std::collections::{BTreeMap, BTreeSet};

use client::Discovery;
use placement_api::api_type::GroupKind;
use placement_api::names::GROUP;

use super::engine::{Engine, Tracker};
use super::model::{KindStore, Model};
use super::watch::{DEPENDENCIES, Source};

/// Kinds with pods that are known how to read without a KindProfile.
const BUILT_IN: &[(&str, &str)] = &[
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("batch", "Job"),
    ("jobset.x-k8s.io", "JobSet"),
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"),
    ("kubeflow.org", "PyTorchJob"),
    ("kubeflow.org", "TFJob"),
    ("kubeflow.org", "MPIJob"),
    ("kubeflow.org", "XGBoostJob"),
    ("kubeflow.org", "PaddleJob"),
    ("kubeflow.org", "JAXJob"),
];

impl Engine {
    /// Opens and closes watches so that they are those that are needed. Returns the kinds that the hub does not serve.
    pub(super) fn open_kinds(&mut self) -> Vec<GroupKind> {
        let Some(served) = &self.served else {
            return Vec::new();
        };
        let (wanted, missing) = self.model.choose(served);
        let stale: Vec<(GroupKind, Source)> = self
            .model
            .kinds
            .iter()
            .filter(|(kind, store)| wanted.get(*kind).is_none_or(|new| new.api != store.api))
            .map(|(kind, store)| (kind.clone(), Source::Objects(store.api.clone())))
            .collect();
        for (kind, source) in stale {
            self.watches.close(&source);
            self.trackers.remove(&source);
            self.model.kinds.remove(&kind);
        }
        let mut newly_roots = false;
        for (kind, store) in wanted {
            let source = Source::Objects(store.api.clone());
            if let Some(known) = self.model.kinds.get_mut(&kind) {
                newly_roots |= store.is_root && !known.is_root;
                known.is_root = store.is_root;
                known.has_status = store.has_status;
                continue;
            }
            self.watches.open(source.clone(), &store.api);
            self.trackers.insert(source, Tracker::default());
            self.model.kinds.insert(kind, store);
        }
        if newly_roots {
            self.model.reselect(None, super::model::Now::read());
        }
        missing
    }
}

impl Model {
    /// The kinds that have to be read, as far as the hub serves them, and those that it does not serve.
    pub(super) fn choose(
        &self,
        served: &Discovery,
    ) -> (BTreeMap<GroupKind, KindStore>, Vec<GroupKind>) {
        let mut roots = self.wanted_kinds();
        for (group, kind) in self.wildcards() {
            let of_group = served
                .apis
                .iter()
                .filter(|one| one.api.group == group && kind == "*" && one.preferred);
            roots.extend(of_group.map(|one| one.api.group_kind()));
        }
        roots
            .retain(|kind| kind.group != GROUP && !(kind.group.is_empty() && kind.kind == "Event"));
        let mut wanted: BTreeMap<GroupKind, KindStore> = BTreeMap::new();
        let mut missing = Vec::new();
        let dependencies = DEPENDENCIES
            .iter()
            .map(placement_api::api_type::ApiType::group_kind);
        let all: BTreeSet<GroupKind> = roots.iter().cloned().chain(dependencies).collect();
        for kind in all {
            let mut profiles = self.config.profiles.values();
            let version = profiles.find(|record| record.kind == kind);
            let version = version.and_then(|record| record.fields.version.as_ref());
            let found = match version {
                Some(version) => served.apis.iter().find(|one| {
                    one.api.group_kind() == kind && one.api.version == version.as_str()
                }),
                None => served.find(&kind),
            };
            let Some(found) = found.filter(|one| one.can("list") && one.can("watch")) else {
                missing.push(kind);
                continue;
            };
            let store = KindStore {
                api: found.api.clone(),
                is_root: roots.contains(&kind),
                has_status: found.subresources.iter().any(|name| name == "status"),
                objects: BTreeMap::new(),
            };
            wanted.insert(kind, store);
        }
        (wanted, missing)
    }

    fn wanted_kinds(&self) -> BTreeSet<GroupKind> {
        let built_in = BUILT_IN
            .iter()
            .map(|(group, kind)| GroupKind::new(*group, *kind));
        let profiles = self
            .config
            .profiles
            .values()
            .map(|record| record.kind.clone());
        let named = self
            .config
            .rules
            .iter()
            .flat_map(|rule| &rule.spec.resources);
        let named = named
            .filter(|resource| resource.kind != "*")
            .map(|resource| GroupKind::new(resource.group.clone(), resource.kind.clone()));
        let placed = self.entries.values().map(|entry| entry.root.kind.clone());
        built_in
            .chain(profiles)
            .chain(named)
            .chain(placed)
            .collect()
    }

    fn wildcards(&self) -> BTreeSet<(String, String)> {
        let named = self
            .config
            .rules
            .iter()
            .flat_map(|rule| &rule.spec.resources);
        named
            .filter(|resource| resource.kind == "*")
            .map(|resource| (resource.group.clone(), resource.kind.clone()))
            .collect()
    }

    /// The newest term that any object of ours carries.
    pub(super) fn newest_term(&self) -> Option<i64> {
        let workloads = self
            .entries
            .values()
            .filter_map(|entry| Some(entry.live.get()?.spec.term));
        let parts = self.entries.values().flat_map(|entry| entry.parts.values());
        let assignments = parts.filter_map(|part| Some(part.live.get()?.spec.term));
        let targets = self
            .targets
            .values()
            .filter_map(|record| Some(record.inventory.get()?.min_term));
        workloads.chain(assignments).chain(targets).max()
    }
}
