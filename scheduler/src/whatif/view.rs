//! The fleet, the queues and the workloads at one moment, ready to be planned, and the same with a change.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::InventoryStatus;

use super::change::{Bound, Change};
use super::forecast::forecast;
use super::outlook::Outlook;
use crate::fleet::{PRODUCT_LABELS, TargetName, TargetState, WorkloadId, is_extended};
use crate::plan::Request;
use crate::record::Core;
use crate::shares::QueueSpec;

/// So long is a target lost that is lost "what if": longer than any failover waits.
const LOST_FOR_MS: i64 = 24 * 3_600_000;

/// Everything that a planner needs that begins now.
#[derive(Clone, Debug)]
pub struct View {
    /// What runs is adopted; nothing is planned yet.
    pub core: Core,
    /// What each workload asks, and what it has.
    pub requests: BTreeMap<WorkloadId, Request>,
    /// The queues.
    pub queues: Vec<QueueSpec>,
    /// What the targets report.
    pub inventories: BTreeMap<TargetName, InventoryStatus>,
    /// Now, ms since 1970.
    pub now_ms: i64,
}

impl View {
    /// Plans everybody, and again whom that may have helped, and looks ahead when the others would start. The view itself stays as it is.
    pub fn plan(&self) -> Outlook {
        let mut core = self.core.clone();
        let decisions = core.plan_all(&self.requests, self.now_ms);
        let mut outlook = Outlook::of(self, &core, &decisions);
        let starts = forecast(self, core, &decisions);
        for (id, standing) in &mut outlook.workloads {
            if standing.waits() {
                standing.expected_ms = starts.get(id.as_str()).copied();
            }
        }
        outlook
    }

    /// The same with a change. Workloads are named by their id.
    ///
    /// # Errors
    /// What is wrong with the change, and what would be right.
    pub fn change(&self, change: &Change) -> Result<Self, String> {
        let mut new = self.clone();
        match change {
            Change::Weight { queue, by } => {
                let queue = new.queue(queue)?;
                let weight = by.number(i64::from(queue.weight))?;
                queue.weight = u32::try_from(weight)
                    .map_err(|_| format!("a weight of {weight}; write one of 0 or more"))?;
                new.core.set_queues(new.queues.clone());
            }
            Change::Amount {
                queue,
                bound,
                resource,
                by,
            } => {
                let queue = new.queue(queue)?;
                let list = match bound {
                    Bound::Guaranteed => &mut queue.guaranteed,
                    Bound::Limit => &mut queue.limit,
                };
                let amount = by
                    .amount(resource, *bound, list.get(resource).copied())
                    .map_err(|error| format!("queue {} {error}", queue.name))?;
                list.insert(resource.clone(), amount);
                new.core.set_queues(new.queues.clone());
            }
            Change::Priority { workload, by } => {
                let request = new.workload(workload)?;
                let priority = by.number(i64::from(request.priority))?;
                request.priority = i32::try_from(priority)
                    .map_err(|_| format!("a priority of {priority}; write a smaller one"))?;
            }
            Change::Product { workload, product } => new.product(workload, product)?,
            Change::Topology { workload, mode } => {
                let request = new.workload(workload)?;
                let asked = request.topology.take();
                let missing = || format!("{} asks for no topology; leave this out", request.name);
                let asked = asked.ok_or_else(missing)?;
                request.topology = mode.map(|mode| crate::plan::Closeness {
                    mode,
                    relax_after_ms: None,
                    ..asked
                });
            }
            Change::Add { target, like } => new.add(target, like)?,
            Change::Lose(target) => {
                let contact_ms = new.now_ms.saturating_sub(LOST_FOR_MS);
                new.set_state(target, TargetState::Lost, Some(contact_ms))?;
            }
            Change::Cordon(target) => new.set_state(target, TargetState::Cordoned, None)?,
        }
        // What runs counts where its priority and its queue are now.
        let running = new.requests.values().filter(|one| !one.current.is_empty());
        for request in running {
            new.core.adopt(request);
        }
        Ok(new)
    }

    fn queue(&mut self, name: &str) -> Result<&mut QueueSpec, String> {
        let known: Vec<String> = self.queues.iter().map(|one| one.name.clone()).collect();
        let found = self.queues.iter_mut().find(|one| one.name == name);
        found.ok_or_else(|| missing("queue", name, &known))
    }

    fn workload(&mut self, id: &str) -> Result<&mut Request, String> {
        let found = self.requests.get_mut(id);
        found.ok_or_else(|| format!("there is no workload {id:?}"))
    }

    /// Pods that ask for accelerators ask for these.
    fn product(&mut self, id: &str, product: &str) -> Result<(), String> {
        let nodes = || self.core.fleet().targets().flat_map(|(_, one)| one.nodes());
        let known: BTreeSet<String> = nodes()
            .filter_map(|node| node.product().map(str::to_owned))
            .collect();
        let label = PRODUCT_LABELS.into_iter().find(|label| {
            let mut nodes = nodes();
            nodes.any(|node| node.label(label) == Some(product))
        });
        let Some(label) = label else {
            let known: Vec<String> = known.into_iter().collect();
            return Err(missing("product", product, &known));
        };
        let request = self.workload(id)?;
        let mut sets = request.pod_sets.iter_mut().filter(|set| {
            let devices = set.requests.iter();
            let mut devices = devices.filter(|(name, amount)| is_extended(name) && *amount > 0);
            devices.next().is_some() || !set.claims.is_empty()
        });
        let mut any = false;
        for set in &mut sets {
            set.node_selector
                .retain(|label, _| !PRODUCT_LABELS.contains(&label.as_str()));
            set.node_selector
                .insert(label.to_owned(), product.to_owned());
            any = true;
        }
        if any {
            Ok(())
        } else {
            Err(format!("{} asks for no accelerators", request.name))
        }
    }

    /// A target with the nodes of another, all of them empty and well.
    fn add(&mut self, name: &str, like: &str) -> Result<(), String> {
        if self.core.fleet().target(name).is_some() {
            return Err(format!(
                "target {name} is there already; write another name"
            ));
        }
        let known = self.targets();
        let Some(target) = self.core.fleet().target(like) else {
            return Err(missing("target", like, &known));
        };
        let (labels, taints) = (target.labels.clone(), target.taints.clone());
        let rates = target.rates.clone();
        let Some(status) = self.inventories.get(like) else {
            return Err(format!("target {like} has not reported its nodes yet"));
        };
        let mut status = status.clone();
        status.counted = Vec::new();
        for node in &mut status.nodes {
            node.free.clear();
            node.unusable = None;
            if let Some(devices) = &mut node.devices {
                devices.taken = Vec::new();
            }
        }
        let name = TargetName::from(name);
        self.core.set_inventory(&name, &status);
        self.core
            .set_target(&name, labels, taints, TargetState::Ready, self.now_ms);
        self.core.set_rates(&name, rates);
        if self.serves_all(like) {
            self.core.serve_everything(&name);
        }
        self.inventories.insert(name, status);
        Ok(())
    }

    fn set_state(
        &mut self,
        name: &str,
        state: TargetState,
        contact_ms: Option<i64>,
    ) -> Result<(), String> {
        let known = self.targets();
        let Some(target) = self.core.fleet().target(name) else {
            return Err(missing("target", name, &known));
        };
        let (labels, taints) = (target.labels.clone(), target.taints.clone());
        let contact_ms = contact_ms.unwrap_or(target.last_contact_ms);
        self.core
            .set_target(&TargetName::from(name), labels, taints, state, contact_ms);
        Ok(())
    }

    fn serves_all(&self, target: &str) -> bool {
        let target = self.core.fleet().target(target);
        target.is_some_and(|target| target.served.is_none())
    }

    fn targets(&self) -> Vec<String> {
        let names = self.core.fleet().targets();
        names.map(|(name, _)| name.to_string()).collect()
    }
}

fn missing(what: &str, name: &str, known: &[String]) -> String {
    let known = if known.is_empty() {
        format!("there is no {what}")
    } else {
        format!("write one of {}", known.join(", "))
    };
    format!("there is no {what} {name:?}; {known}")
}
