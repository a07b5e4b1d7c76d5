//! Queues and the FleetPolicy: from objects into the planner, and back into the status of the Queues.
//!
//! ```text
//! Queue objects -> QueueSpec each -> QueueTree -> planner        cycle -> once a second: numbers that differ -> Key::Queue
//!                                        \-> problems -> condition Valid, and UnknownQueue for who names one
//! ```

use std::collections::BTreeMap;

use placement_api::api_type::ObjectKey;
use placement_api::duration::GoDuration;
use placement_api::kinds::{FleetPolicy, FleetPolicySpec, PastUse, Queue, QueueStatus, api};
use placement_api::quantity::{Quantity, ResourceList, ResourceVector};
use placement_api::raw::RawObject;
use placement_api::resources::PODS;
use serde_json::Value;
use tracing::warn;

use super::intake::{milliseconds, parsed};
use super::jobs::{Tag, timestamp};
use super::model::{Alarm, Key, Model, Now, QueueRecord, Timer, number};
use super::status::{NUMBERS, difference, status_write};
use super::targets::condition;
use super::writer::Job;
use crate::fleet::DEFAULT_LEVELS;
use crate::plan::{Memory, Policy};
use crate::select;
use crate::shares::{self, AcceleratorSpec, Named, QueueSpec, Standings};

impl Model {
    pub(super) fn queue_applied(&mut self, object: &RawObject) {
        let name = object.metadata.name.clone();
        let version = number(&object.metadata.resource_version);
        let before = self.config.queues.get(&name);
        if before.is_some_and(|known| known.version > version) {
            return;
        }
        let (queue, spec) = match object.parse::<Queue>() {
            Ok(queue) => {
                let spec = read(&name, &queue.spec);
                (queue, spec)
            }
            Err(error) => {
                let spec = unreadable(object, &error.to_string());
                let mut queue = Queue::default();
                // Its status is ours, and can be read.
                let status = object.to_value()["status"].take();
                queue.status = serde_json::from_value(status).unwrap_or_default();
                (queue, spec)
            }
        };
        let (selector, spec) = match select::read(
            queue.spec.namespace_selector.as_ref(),
            "spec.namespaceSelector",
        ) {
            Ok(selector) => (selector, spec),
            Err(error) => (
                None,
                QueueSpec {
                    unreadable: Some(error),
                    ..spec
                },
            ),
        };
        let same = before.is_some_and(|known| known.spec == spec);
        let record = QueueRecord {
            version,
            generation: object.metadata.generation.unwrap_or(0),
            status_at: before.and_then(|known| known.status_at),
            spec,
            status: queue.status.unwrap_or_default(),
        };
        self.config.queues.insert(name.clone(), record);
        let selected = self
            .config
            .queue_selectors
            .insert(name.clone(), selector.clone());
        self.dirty.push(Key::Queue(name));
        if !same {
            self.queues_changed();
        } else if selected.is_none_or(|before| before != selector) {
            self.look_at_all();
        }
    }

    pub(super) fn queue_gone(&mut self, name: &str) {
        self.config.queue_selectors.remove(name);
        if self.config.queues.remove(name).is_some() {
            self.queues_changed();
        }
    }

    /// Another tree: everybody may be entitled to something else.
    fn queues_changed(&mut self) {
        let records = self.config.queues.values();
        let specs = records.map(|record| record.spec.clone()).collect();
        self.core.set_queues(specs);
        self.dirty
            .extend(self.config.queues.keys().cloned().map(Key::Queue));
        self.look_at_all();
    }

    pub(super) fn policy_applied(&mut self, object: &RawObject) {
        let Some(policy) = parsed::<FleetPolicy>(object) else {
            return;
        };
        self.take_policy(&policy.spec);
    }

    pub(super) fn policy_gone(&mut self) {
        self.take_policy(&FleetPolicySpec::default());
    }

    fn take_policy(&mut self, spec: &FleetPolicySpec) {
        let levels = if spec.topology_levels.is_empty() {
            DEFAULT_LEVELS.map(str::to_owned).to_vec()
        } else {
            spec.topology_levels.clone()
        };
        let event = self.core.set_levels(levels);
        self.event.merge(event);
        self.core.set_policy(policy(spec));
        self.look_at_all();
    }

    /// A cycle has been planned: the numbers of the queues may have changed. They are looked at once a second.
    pub(super) fn queues_moved(&mut self, now: Now) {
        if !self.config.queues.is_empty() {
            self.alarms
                .push((Timer::Queues, Alarm::By(now.instant + NUMBERS)));
        }
    }

    /// Marks the Queues whose numbers are not those that were written.
    pub(super) fn compare_queues(&mut self) {
        let differs = |name: &String, record: &QueueRecord| {
            self.queue_numbers(name).is_some_and(|numbers| {
                numbers.entitled != record.status.entitled
                    || numbers.used != record.status.used
                    || numbers.waiting != record.status.waiting
            })
        };
        let changed = self
            .config
            .queues
            .iter()
            .filter(|(name, record)| differs(name, record))
            .map(|(name, _)| Key::Queue(name.clone()))
            .collect::<Vec<_>>();
        self.dirty.extend(changed);
    }

    /// The write of a Queue's status, if there is one and it is due.
    pub(super) fn queue_job(&mut self, name: &str, now: Now) -> Option<Job<Key, Tag>> {
        let numbers = self.queue_numbers(name).unwrap_or_default();
        let record = self.config.queues.get(name)?;
        let problem = self.core.planner().shares().tree().problems().get(name);
        let (holds, reason, message) = match problem {
            Some(problem) => (false, "Invalid", problem.as_str()),
            None => (true, "Valid", ""),
        };
        let generation = Some(record.generation);
        let desired = QueueStatus {
            conditions: vec![condition(
                &record.status.conditions,
                "Valid",
                holds,
                reason,
                message,
                generation,
            )],
            ..numbers
        };
        let desired = with_past(desired, &record.status);
        let patch = difference(&record.status, &desired)?;
        let urgent = record.status.conditions != desired.conditions;
        let due = record
            .status_at
            .map(|at| at + NUMBERS)
            .filter(|due| !urgent && *due > now.instant);
        let key = Key::Queue(name.to_owned());
        if let Some(due) = due {
            self.alarms.push((Timer::Write(key), Alarm::By(due)));
            return None;
        }
        if let Some(record) = self.config.queues.get_mut(name) {
            record.status_at = Some(now.instant);
        }
        Some(status_write(
            key,
            api::QUEUES,
            ObjectKey::cluster(name),
            patch,
        ))
    }

    /// What a queue is entitled to, uses and waits for. `None`: it is not in the tree.
    fn queue_numbers(&self, name: &str) -> Option<QueueStatus> {
        let shares = self.core.planner().shares();
        let queue = shares.tree().known(name)?;
        let Standings {
            entitled,
            used,
            waiting,
            workloads,
            ..
        } = shares.standings(queue);
        let past_use = shares.past_use(queue).map(|past| PastUse {
            at: timestamp(past.at_ms),
            resources: shown_list(past.resources),
            products: past.products,
        });
        let shown = |named: &Named| shown_list(named.to_list());
        let mut waiting = shown(&waiting);
        if workloads > 0 {
            waiting.insert("workloads".to_owned(), Quantity::from_units(workloads));
        }
        Some(QueueStatus {
            conditions: Vec::new(),
            entitled: shown(&entitled),
            used: shown(&used),
            waiting,
            past_use,
        })
    }

    /// What the queues used before, as an earlier leader has written it.
    pub(super) fn remember_use(&mut self, now: Now) {
        let queues = self.config.queues.iter();
        let past = queues.filter_map(|(name, record)| {
            let past = record.status.past_use.as_ref()?;
            let past = shares::PastUse {
                at_ms: milliseconds(&past.at)?,
                resources: past.resources.clone(),
                products: past.products.clone(),
            };
            Some(Memory::PastUse(name.clone(), past, now.ms))
        });
        for memory in past.collect::<Vec<_>>() {
            self.core.remember(memory);
        }
    }
}

/// Past use grows all the time; it is written with what else has changed, for until then the same use has gone on.
fn with_past(desired: QueueStatus, written: &QueueStatus) -> QueueStatus {
    let again = QueueStatus {
        past_use: written.past_use.clone(),
        ..desired.clone()
    };
    if again == *written && written.past_use.is_some() == desired.past_use.is_some() {
        again
    } else {
        desired
    }
}

/// Every pod has a slot; nobody thinks of them as a share.
fn shown_list(mut list: ResourceList) -> ResourceList {
    list.remove(PODS);
    list
}

/// A Queue as the planner takes it.
fn read(name: &str, spec: &placement_api::kinds::QueueSpec) -> QueueSpec {
    let amounts = |list: &ResourceList| -> BTreeMap<String, i64> {
        let units = |(name, amount): (&String, &Quantity)| {
            (name.clone(), ResourceVector::base_units(name, *amount))
        };
        list.iter().map(units).collect()
    };
    QueueSpec {
        name: name.to_owned(),
        parent: spec.parent.clone().unwrap_or_default(),
        weight: spec.weight,
        priority: spec.priority,
        order: spec.order,
        time_slicing: spec.time_slicing,
        guaranteed: amounts(&spec.guaranteed),
        limit: amounts(&spec.limit),
        accelerators: spec
            .accelerators
            .iter()
            .map(|one| AcceleratorSpec {
                product: one.product.clone(),
                guaranteed: one.guaranteed.map(Quantity::value),
                limit: one.limit.map(Quantity::value),
            })
            .collect(),
        lend: spec.lend,
        past_use: ResourceVector::new(),
        unreadable: None,
    }
}

/// A Queue that cannot be read keeps its place in the tree, for those below it.
fn unreadable(object: &RawObject, error: &str) -> QueueSpec {
    let value = object.to_value();
    let parent = value.pointer("/spec/parent").and_then(Value::as_str);
    QueueSpec {
        name: object.metadata.name.clone(),
        parent: parent.unwrap_or_default().to_owned(),
        unreadable: Some(format!("spec cannot be read: {error}")),
        ..QueueSpec::default()
    }
}

/// The FleetPolicy as the planner takes it. What cannot be read is as if it were not said.
fn policy(spec: &FleetPolicySpec) -> Policy {
    let duration = |field: &str, text: &Option<String>| {
        let text = text.as_deref()?;
        GoDuration::parse(text)
            .inspect_err(
                |error| warn!(field, text, %error, "a duration of the FleetPolicy cannot be read"),
            )
            .ok()
            .and_then(|duration| i64::try_from(duration.get().as_millis()).ok())
    };
    Policy {
        throughput: spec
            .accelerators
            .iter()
            .map(|one| (one.product.clone(), one.throughput.milli_value().max(1)))
            .collect(),
        half_life_ms: duration("fairnessHalfLife", &spec.fairness_half_life).unwrap_or(0),
        age_limit_ms: duration("ageLimit", &spec.age_limit),
        moves_per_hour: spec
            .defragmentation
            .as_ref()
            .map_or(0, |one| one.max_moves_per_hour),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_base_units_and_zero_stays() {
        let spec: placement_api::kinds::QueueSpec = serde_json::from_value(serde_json::json!({
            "parent": "research", "weight": 3,
            "guaranteed": {"cpu": "1500m", "memory": "1Gi", "nvidia.com/gpu": 16},
            "limit": {"nvidia.com/gpu": "0"},
            "accelerators": [{"product": "H100", "guaranteed": "8"}],
        }))
        .expect("a spec");
        let spec = read("vision", &spec);
        assert_eq!(spec.guaranteed["cpu"], 1500);
        assert_eq!(spec.guaranteed["memory"], 1 << 30);
        assert_eq!(spec.limit["nvidia.com/gpu"], 0);
        assert_eq!(spec.accelerators[0].guaranteed, Some(8));
        assert_eq!((spec.weight, spec.lend), (3, true));
    }

    #[test]
    fn the_policy_of_the_fleet() {
        let spec: FleetPolicySpec = serde_json::from_value(serde_json::json!({
            "accelerators": [{"product": "H100", "throughput": "3"}, {"product": "T4", "throughput": "0.5"}],
            "fairnessHalfLife": "168h", "ageLimit": "soon",
        }))
        .expect("a spec");
        let policy = policy(&spec);
        assert_eq!(policy.throughput_of("H100"), 3000);
        assert_eq!(policy.throughput_of("T4"), 500);
        assert_eq!(policy.throughput_of("A100"), 1000);
        assert_eq!(policy.half_life_ms, 168 * 3_600_000);
        assert_eq!(policy.age_limit_ms, None);
    }
}
