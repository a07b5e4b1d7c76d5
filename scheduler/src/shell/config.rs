//! What platform owners write: Locations, Placements, KindProfiles. (Queues and the FleetPolicy: `queues`.)

use std::collections::BTreeMap;
use std::sync::Arc;

use placement_api::api_type::GroupKind;
use placement_api::kinds::{KindProfile, Location, Placement};
use placement_api::profile::Profile;
use placement_api::raw::RawObject;
use tracing::warn;

use super::intake::parsed;
use super::model::{Key, LocationRecord, Model, Now, PlacementRecord, ProfileRecord, number};
use crate::fleet::WorkloadId;
use crate::select::{self, Rule};

impl Model {
    pub(super) fn location_applied(&mut self, object: &RawObject) {
        let Some(location) = parsed::<Location>(object) else {
            return;
        };
        let version = number(&object.metadata.resource_version);
        if self
            .config
            .locations
            .get(&object.metadata.name)
            .is_some_and(|known| known.version > version)
        {
            return;
        }
        let selector = select::read(Some(&location.spec.target_selector), "spec.targetSelector")
            .inspect_err(|error| {
                warn!(
                    location = object.metadata.name,
                    error, "a Location cannot be used"
                );
            })
            .ok()
            .flatten();
        let record = LocationRecord {
            version,
            selector,
            status: location.status.unwrap_or_default(),
        };
        self.config
            .locations
            .insert(object.metadata.name.clone(), record);
        self.locations_changed();
    }

    pub(super) fn locations_changed(&mut self) {
        let usable = self.config.locations.iter();
        let usable: BTreeMap<_, _> = usable
            .filter_map(|(name, record)| Some((name.clone(), record.selector.clone()?)))
            .collect();
        let event = self.core.set_locations(usable);
        if !event.is_nothing() {
            self.dirty
                .extend(self.targets.keys().cloned().map(Key::Target));
        }
        self.event.merge(event);
        self.dirty
            .extend(self.config.locations.keys().cloned().map(Key::Location));
    }

    pub(super) fn placement_applied(&mut self, object: &RawObject) {
        let name = object.metadata.name.clone();
        let Some(placement) = parsed::<Placement>(object) else {
            return;
        };
        let version = number(&object.metadata.resource_version);
        if self
            .config
            .placements
            .get(&name)
            .is_some_and(|known| known.version > version)
        {
            return;
        }
        let changed = self
            .config
            .placements
            .get(&name)
            .is_none_or(|known| known.spec != placement.spec);
        let created = object
            .metadata
            .creation_timestamp
            .clone()
            .unwrap_or_default();
        let record = PlacementRecord {
            version,
            generation: object.metadata.generation.unwrap_or(0),
            problem: Rule::new(&name, &created, placement.spec.clone()).err(),
            created,
            spec: placement.spec,
            status: placement.status.unwrap_or_default(),
            status_at: self
                .config
                .placements
                .get(&name)
                .and_then(|known| known.status_at),
        };
        self.config.placements.insert(name.clone(), record);
        self.dirty.push(Key::Placement(name.clone()));
        if changed {
            self.placements_changed(&name, Now::read());
        }
    }

    pub(super) fn placements_changed(&mut self, name: &str, now: Now) {
        let usable = self.config.placements.iter();
        let mut rules: Vec<Rule> = usable
            .filter_map(|(name, record)| Rule::new(name, &record.created, record.spec.clone()).ok())
            .collect();
        select::sort(&mut rules);
        self.config.rules = rules;
        self.kinds_changed = true;
        let concerned: Vec<WorkloadId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.spec.placement == name)
            .map(|(id, _)| id.clone())
            .collect();
        for id in concerned {
            self.render(&id);
        }
        self.reselect(None, now);
    }

    pub(super) fn profile_applied(&mut self, object: &RawObject) {
        let name = object.metadata.name.clone();
        let Some(written) = parsed::<KindProfile>(object) else {
            return;
        };
        let fields = written.spec.profile;
        let version = number(&object.metadata.resource_version);
        let known = self.config.profiles.get(&name);
        if known.is_some_and(|known| known.version > version) {
            return;
        }
        if let Some(known) = known.filter(|known| known.fields == fields) {
            let generation = object.metadata.generation.unwrap_or(known.generation);
            if let Some(known) = self.config.profiles.get_mut(&name) {
                known.generation = generation;
                known.version = version;
                known.status = written.status.unwrap_or_default();
            }
            return;
        }
        let kind = GroupKind::new(fields.group.clone(), fields.kind.clone());
        let compiled = Profile::from_spec(&fields);
        let record = ProfileRecord {
            version,
            generation: object.metadata.generation.unwrap_or(0),
            kind: kind.clone(),
            problem: compiled.as_ref().err().map(ToString::to_string),
            profile: compiled.ok().map(Arc::new),
            fields,
            status: written.status.unwrap_or_default(),
        };
        self.config.profiles.insert(name.clone(), record);
        self.dirty.push(Key::Profile(name));
        self.profile_changed(&kind, Now::read());
    }

    pub(super) fn profile_changed(&mut self, kind: &GroupKind, now: Now) {
        self.kinds_changed = true;
        let concerned = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.root.kind == *kind);
        let concerned: Vec<WorkloadId> = concerned.map(|(id, _)| id.clone()).collect();
        for id in concerned {
            self.render(&id);
        }
        self.reselect(None, now);
    }
}
