//! The objects of a hub, read once, as the planner would see them if the scheduler began anew now. The scheduler's own model
//! reads them, so that there is one way to understand an object.

use std::collections::BTreeMap;
use std::time::Duration;

use client::Discovery;
use placement_api::api_type::{ApiType, known};
use placement_api::raw::RawObject;

use super::model::{Model, Now};
use super::watch::{DEPENDENCIES, Source, fixed};
use crate::fleet::{TargetName, WorkloadId};
use crate::plan::Request;
use crate::whatif::View;

/// Only heartbeats would tell more than the states of the targets do; those are the scheduler's own word.
const LOST_AFTER: Duration = Duration::from_secs(40);

/// Reads a hub. Secrets are never needed.
///
/// ```text
/// first() -> list, take() each -> then(discovery) -> list, take() each -> view()
/// ```
pub struct Reader {
    model: Model,
    now: Now,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Nothing is read yet. The time of the view is now.
    pub fn new() -> Self {
        Self {
            // A term that every target knows: nobody has to be told of it.
            model: Model::new(String::new(), 0, LOST_AFTER),
            now: Now::read(),
        }
    }

    /// What has to be listed first.
    pub fn first() -> Vec<ApiType> {
        let read = |source: &Source| !matches!(source, Source::Leases | Source::Definitions);
        let kinds = fixed().into_iter().filter(|(source, _)| read(source));
        kinds.map(|(_, api)| api).collect()
    }

    /// What has to be listed then: the kinds that are placed, and what they say of devices.
    pub fn then(&mut self, served: &Discovery) -> Vec<ApiType> {
        let (mut kinds, _) = self.model.choose(served);
        kinds.retain(|_, store| {
            let claims = [known::RESOURCE_CLAIM, known::RESOURCE_CLAIM_TEMPLATE];
            let needed = !DEPENDENCIES.contains(&store.api) || store.is_root;
            store.api != known::SECRET && (needed || claims.contains(&store.api))
        });
        let apis = kinds.values().map(|store| store.api.clone()).collect();
        self.model.kinds = kinds;
        apis
    }

    /// Takes in all objects of a kind.
    pub fn take(&mut self, api: &ApiType, objects: Vec<RawObject>) {
        let own = fixed().into_iter().find(|(_, one)| one == api);
        let source = own.map_or_else(|| Source::Objects(api.clone()), |(source, _)| source);
        for object in objects {
            self.model.applied(&source, object, self.now);
        }
    }

    /// What the planner would see.
    pub fn view(mut self) -> View {
        self.hear_targets();
        self.model.adopt_all(self.now);
        let ids: Vec<WorkloadId> = self.model.entries.keys().cloned().collect();
        let mut requests: BTreeMap<WorkloadId, Request> = BTreeMap::new();
        for id in ids {
            if let Some(request) = self.model.consider(&id, self.now) {
                requests.insert(id, request);
            }
        }
        let queues = self.model.config.queues.values();
        let targets = self.model.targets.iter();
        View {
            queues: queues.map(|record| record.spec.clone()).collect(),
            inventories: targets
                .filter_map(|(name, record)| {
                    Some((name.clone(), record.inventory.get()?.status.clone()?))
                })
                .collect(),
            requests,
            core: self.model.core,
            now_ms: self.now.ms,
        }
    }

    /// Targets of which the scheduler hears are heard of now; the others since when it says that they are lost.
    fn hear_targets(&mut self) {
        let names: Vec<TargetName> = self.model.targets.keys().cloned().collect();
        for name in names {
            let Some(record) = self.model.targets.get_mut(&name) else {
                continue;
            };
            let Some(status) = record.object.get().map(|live| &live.status) else {
                continue;
            };
            match status.state.as_str() {
                "" | "Pending" => {}
                "Lost" => {
                    let ready = status.conditions.iter().find(|one| one.type_ == "Ready");
                    let since = ready.map(|one| one.last_transition_time.0.as_millisecond());
                    let silent = i64::try_from(LOST_AFTER.as_millis()).unwrap_or(0);
                    record.contact_ms = since.unwrap_or(self.now.ms).saturating_sub(silent);
                    record.lost = true;
                }
                _ => {
                    record.renewed = Some(self.now.instant);
                    record.contact_ms = self.now.ms;
                }
            }
            self.model.refresh_target(&name);
        }
    }
}
