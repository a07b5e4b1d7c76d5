//! What a workload asks now: its object, its Placement, what it has and what it avoids.

use std::collections::BTreeSet;
use std::sync::Arc;

use placement_api::api_type::{GroupKind, ObjectKey, known};
use placement_api::kinds::{AssignmentPhase, Strategy, WorkloadPhase};
use placement_api::profile::{Dependency, Profile};
use placement_api::reason::Reason;
use placement_api::selector::Labels;

use super::model::{Key, Model, Now, Part, RootKey};
use super::reports::AVOID_MOST_MS;
use crate::ask::{Ask, Claims, Surroundings, ask};
use crate::fleet::{TargetName, WorkloadId};
use crate::plan::{Avoid, Current, Request};

impl Model {
    /// What a workload asks now. Also takes over into the entry what the Workload says of it.
    pub(super) fn request(
        &mut self,
        id: &WorkloadId,
        object: &placement_api::raw::RawObject,
        now: Now,
    ) -> Option<Request> {
        let entry = self.entries.get(id)?;
        let store = self.kinds.get(&entry.root.kind)?;
        let kind = entry.root.kind.clone();
        let selection = self.selection(&kind, object);
        let placement = selection
            .as_ref()
            .and_then(|selection| Some((self.config.rule(&selection.placement)?, selection)));
        let known = entry.live.get().is_some() || !entry.parts.is_empty();
        if placement.is_none() && !known {
            self.forget(id);
            return None;
        }
        // A Placement that does not select it any more still says how it is to be treated where it runs.
        let last = crate::select::Selection {
            placement: entry.spec.placement.clone(),
            also: Vec::new(),
        };
        let placement = placement.or_else(|| Some((self.config.rule(&last.placement)?, &last)));
        let profile = self
            .config
            .profile(&kind)
            .unwrap_or_else(|| Arc::new(Profile::generic(&kind.group, &kind.kind)));
        let none = Labels::new();
        let namespace = entry.root.key.namespace.clone();
        let claims = |kind: &str, name: &str| {
            let key = RootKey {
                kind: GroupKind::new(known::RESOURCE_CLAIM.group, kind),
                key: ObjectKey::new(namespace.as_str(), name),
            };
            self.root(&key).map(|object| object.to_value())
        };
        let around = Surroundings {
            claims: Claims(&claims),
            profile: &profile,
            placement,
            queues: &self.config.queue_selectors,
            unusable: self.core.planner().shares().tree().problems(),
            priorities: &self.config.priorities,
            namespace: self
                .config
                .namespaces
                .get(&entry.root.key.namespace)
                .unwrap_or(&none),
        };
        let asked = ask(object, &store.api, &around);
        let unreadable = asked
            .as_ref()
            .err()
            .map(|error| format!("its object cannot be read: {error}"));
        let mut asked = match asked {
            Ok(asked) => asked,
            Err(_) => self.unreadable(id)?,
        };
        if asked.finished && !known {
            // It has ended before anybody placed it, or its Workload was lost: finished work is never started again.
            self.forget(id);
            return None;
        }
        if selection.is_none() && self.config.rule(&entry.spec.placement).is_none() {
            // Its Placement is gone; how it is treated where it runs does not change for that.
            asked.keep(entry.divided, &entry.spec);
        }
        if selection.is_none() {
            let message =
                "no Placement selects it any more; what runs stays, nothing new starts".to_owned();
            asked.request.blocked = Some((Reason::NoPlacement, message));
        }
        if let Some(message) = unreadable {
            asked.request.blocked = Some((Reason::Impossible, message));
        }
        self.take_ask(id, asked, object, now)
    }

    /// What was asked before, for an object that cannot be read now.
    fn unreadable(&self, id: &WorkloadId) -> Option<Ask> {
        let entry = self.entries.get(id)?;
        let mut request = entry.request.as_deref().cloned().unwrap_or_default();
        request.id = id.clone();
        request.kind.clone_from(&entry.root.kind.kind);
        request.namespace.clone_from(&entry.root.key.namespace);
        request.name.clone_from(&entry.root.key.name);
        let mut spec = entry.spec.clone();
        if spec.root.kind.is_empty() {
            let object = self.root(&entry.root)?;
            let api = &self.kinds.get(&entry.root.kind)?.api;
            spec.root = placement_api::kinds::ObjectRef {
                group: api.group.to_string(),
                version: api.version.to_string(),
                kind: api.kind.to_string(),
                namespace: entry.root.key.namespace.clone(),
                name: entry.root.key.name.clone(),
                uid: object.metadata.uid.clone(),
            };
            placement_api::names::DEFAULT_QUEUE.clone_into(&mut spec.queue);
            let selection = self.selection(&entry.root.kind, object);
            spec.placement = selection
                .map(|selection| selection.placement)
                .unwrap_or_default();
        }
        Some(Ask {
            request,
            spec,
            dependencies: Vec::new(),
            pod_labels: entry.pod_labels.clone(),
            templates: entry.templates.clone(),
            scalable: entry.scalable,
            finished: false,
        })
    }

    fn take_ask(
        &mut self,
        id: &WorkloadId,
        asked: Ask,
        object: &placement_api::raw::RawObject,
        now: Now,
    ) -> Option<Request> {
        let mut request = asked.request;
        let mut spec = asked.spec;
        self.expect_runtime(id, object, &mut request, &mut spec);
        let needs = self.needs(&asked.dependencies, &object.metadata.namespace);
        let entry = self.entries.get_mut(id)?;
        if entry.spec.placement != spec.placement {
            for name in [&entry.spec.placement, &spec.placement] {
                self.dirty.push(Key::Placement(name.clone()));
            }
            for part in entry.parts.values_mut() {
                part.render = true;
            }
        }
        let (epoch, root) = (entry.spec.epoch, entry.spec.root.clone());
        entry.spec = spec;
        entry.spec.epoch = epoch;
        if entry.live.get().is_some() {
            // What a Workload is about never changes, though the hub may serve it in another version by now.
            entry.spec.root = root;
        }
        entry.templates = asked.templates;
        entry.divided = request.strategy == Strategy::Divide;
        entry.close = request.topology.is_some();
        entry.pod_labels = asked.pod_labels;
        entry.scalable = asked.scalable;
        let gone: Vec<RootKey> = entry.needs.difference(&needs).cloned().collect();
        let new: Vec<RootKey> = needs.difference(&entry.needs).cloned().collect();
        entry.needs = needs;
        if let Some(message) = &entry.unfit {
            request.blocked = Some((Reason::Impossible, message.clone()));
        }
        request.epoch = epoch;
        request.current = entry
            .parts
            .iter()
            .map(|(target, part)| current(target, part))
            .collect();
        entry
            .refused
            .retain(|_, refused| refused.until_ms + AVOID_MOST_MS > now.ms);
        request.avoid = entry
            .refused
            .iter()
            .map(|(target, refused)| {
                let avoid = Avoid {
                    until_ms: refused.until_ms,
                    message: refused.message.clone(),
                };
                (target.clone(), avoid)
            })
            .collect();
        if entry.phase == WorkloadPhase::Pending {
            request.waits_since_ms = entry.since_ms;
        }
        let targets: Vec<TargetName> = entry.parts.keys().cloned().collect();
        for need in gone {
            self.copies_of(&need, &targets);
            if let Some(ids) = self.dependents.get_mut(&need) {
                ids.remove(id);
                if ids.is_empty() {
                    self.dependents.remove(&need);
                }
            }
        }
        for need in new {
            self.dependents.entry(need).or_default().insert(id.clone());
        }
        Some(request)
    }

    /// Objects that a workload names, and those that its ServiceAccount names for it.
    fn needs(&self, dependencies: &[Dependency], namespace: &str) -> BTreeSet<RootKey> {
        #[derive(serde::Deserialize)]
        struct Named {
            #[serde(default)]
            name: String,
        }
        let mut needs = BTreeSet::new();
        for one in dependencies {
            let need = RootKey {
                kind: GroupKind::new(one.group.clone(), one.kind.clone()),
                key: ObjectKey::new(namespace, one.name.clone()),
            };
            if need.kind == known::SERVICE_ACCOUNT.group_kind()
                && let Some(account) = self.root(&need)
            {
                let named: Vec<Named> = account
                    .section_as("imagePullSecrets")
                    .ok()
                    .flatten()
                    .unwrap_or_default();
                needs.extend(
                    named
                        .into_iter()
                        .filter(|named| !named.name.is_empty())
                        .map(|named| RootKey {
                            kind: known::SECRET.group_kind(),
                            key: ObjectKey::new(namespace, named.name),
                        }),
                );
            }
            needs.insert(need);
        }
        needs
    }
}

fn current(target: &TargetName, part: &Part) -> Current {
    let report = part
        .live
        .get()
        .filter(|live| live.status.epoch >= part.epoch && live.is_active());
    Current {
        target: target.clone(),
        epoch: part.epoch,
        counts: part.counts.clone(),
        nodes: part.nodes.clone(),
        domain: part.domain.clone(),
        evicting: part.evicting,
        started: part.started,
        started_ms: report.and_then(|live| live.created_ms),
        healthy: report.is_some_and(|live| {
            matches!(
                live.status.phase,
                AssignmentPhase::Healthy | AssignmentPhase::Succeeded
            )
        }),
    }
}
