//! What every workload uses and wants, on the account of its queue.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::devices::PARTS;

use super::closed::{Closed, alike};
use super::{Policy, Request, consumed};
use crate::fleet::{Fleet, Node, TargetState, WorkloadId, is_extended};
use crate::shares::{
    Ask, Capacity, ProductCapacity, QueueId, QueueTree, Refusal, Shares, Standing,
};

/// The shares of all queues, and what each workload has on them.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    pub(super) shares: Shares,
    entries: BTreeMap<WorkloadId, Entry>,
    /// Those who may be evicted, under their queue and all above it, by when their minimum run time ends.
    evictable: BTreeMap<QueueId, BTreeSet<(i64, WorkloadId)>>,
    /// The shape of the fleet that the capacity was counted for.
    counted: Option<u64>,
    /// A node of each kind of devices, as of then.
    kinds: Vec<Node>,
}

/// One workload on the account of its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    queue: QueueId,
    /// What it uses, and whether that may be taken away.
    uses: Ask,
    preemptible: bool,
    /// When its minimum run time ends at the earliest; `None`: it may not be evicted, or uses nothing.
    evictable_ms: Option<i64>,
    /// It gives way: what it uses is not counted any more.
    gone: bool,
    /// What it wants beside that.
    waits: Option<Ask>,
}

impl Accounts {
    /// Another tree of queues; workloads are counted where they belong now.
    pub(super) fn set_tree(
        &mut self,
        tree: QueueTree,
        names: impl Fn(&WorkloadId) -> Option<String>,
    ) {
        for entry in self.entries.values() {
            leave(&mut self.shares, entry);
        }
        self.shares.set_tree(tree);
        self.evictable.clear();
        for (id, entry) in &mut self.entries {
            entry.queue = self.shares.tree().home(&names(id).unwrap_or_default());
            enter(&mut self.shares, entry);
            list(&mut self.evictable, &self.shares, id, entry, true);
        }
    }

    /// Counts the capacity again where the fleet has changed.
    pub(super) fn count(&mut self, fleet: &Fleet, policy: &Policy) {
        let shape = fleet.shape();
        if self.counted != Some(shape) {
            let (capacity, kinds) = capacity(fleet, policy);
            self.shares.set_capacity(capacity);
            self.kinds = kinds;
            self.counted = Some(shape);
        }
    }

    /// Counts the capacity again the next time.
    pub(super) fn recount(&mut self) {
        self.counted = None;
    }

    /// Takes in what a workload has and wants at this time. `hopeless`: nothing in the fleet could ever hold what it wants.
    pub(super) fn record(
        &mut self,
        fleet: &mut Fleet,
        request: &Request,
        hopeless: bool,
        now_ms: i64,
    ) {
        if request.finished || request.pod_sets.is_empty() {
            self.forget(&request.id);
            return;
        }
        let before = self.entries.get(&request.id);
        let known_ms = before.and_then(|entry| entry.evictable_ms);
        let queue = self.shares.tree().home(&request.queue);
        let (uses, lost) = used(fleet, request, &mut self.shares);
        let wants = !request.suspended && request.blocked.is_none() && !hopeless;
        let rest = missing(request);
        let waits = (wants && !rest.iter().all(|(_, count)| *count == 0))
            .then(|| ask(fleet, &self.kinds, request, &rest, &mut self.shares))
            .map(|waits| waits.plus(&lost))
            .or_else(|| (!lost.is_empty()).then_some(lost));
        let evictable_ms = (request.preemptible && !uses.is_empty()).then(|| {
            // What is not reported as started has not started before it was decided.
            let ends = request
                .current
                .iter()
                .filter(|part| !part.evicting)
                .map(|part| match part.started_ms {
                    Some(started) => started.saturating_add(request.min_runtime_ms),
                    None => known_ms.unwrap_or(now_ms.saturating_add(request.min_runtime_ms)),
                });
            ends.max().unwrap_or(now_ms)
        });
        let entry = Entry {
            queue,
            uses,
            preemptible: request.preemptible,
            evictable_ms,
            gone: false,
            waits,
        };
        if self.entries.get(&request.id) == Some(&entry) {
            return;
        }
        self.forget(&request.id);
        enter(&mut self.shares, &entry);
        list(&mut self.evictable, &self.shares, &request.id, &entry, true);
        self.entries.insert(request.id.clone(), entry);
    }

    /// Forgets a workload.
    pub(super) fn forget(&mut self, id: &WorkloadId) {
        if let Some(entry) = self.entries.remove(id) {
            leave(&mut self.shares, &entry);
            list(&mut self.evictable, &self.shares, id, &entry, false);
        }
    }

    /// The queue, its own or one above, whose limit keeps a workload from starting what it lacks.
    pub(super) fn limited_by(&self, id: &WorkloadId) -> Option<QueueId> {
        let (queue, waits) = self.waits(id)?;
        self.shares.limited_by(queue, waits)
    }

    /// Whether the queue of a workload that waits is below what it is entitled to.
    pub(super) fn is_below(&self, id: &WorkloadId) -> bool {
        let waits = self.waits(id);
        waits.is_some_and(|(queue, waits)| self.shares.is_below(queue, waits))
    }

    fn waits(&self, id: &WorkloadId) -> Option<(QueueId, &Ask)> {
        let entry = self.entries.get(id)?;
        Some((entry.queue, entry.waits.as_ref()?))
    }

    /// Everybody in a queue or below it who may be evicted at all, and when their minimum run times end at the earliest, the first first.
    pub(super) fn evictable(&self, queue: QueueId) -> impl Iterator<Item = (i64, &WorkloadId)> {
        let listed = self.evictable.get(&queue).into_iter().flatten();
        listed.map(|(from_ms, id)| (*from_ms, id))
    }

    /// Whether anybody in a queue or below it may be evicted by now, as far as minimum run times go.
    pub(super) fn is_anybody_evictable(&self, queue: QueueId, now_ms: i64) -> bool {
        let first = self.evictable.get(&queue).and_then(BTreeSet::first);
        first.is_some_and(|(from_ms, _)| *from_ms <= now_ms)
    }

    /// How strong a claim what a workload of a queue lacks is; `None`: it may not start, and [`Self::may_start`] says why.
    pub(super) fn claim(&self, queue: QueueId, request: &Request) -> Option<Standing> {
        let none = Ask::default();
        let asks = self.waits(&request.id).map_or(&none, |(_, asks)| asks);
        self.shares.claim(queue, asks, request.preemptible)
    }

    /// Whether what a workload lacks may start, and how strong the claim is.
    pub(super) fn may_start(&mut self, request: &Request) -> Result<Standing, Refusal> {
        let ask = self.asks(request);
        let queue = self.shares.tree().home(&request.queue);
        self.shares.may_start(queue, &ask, request.preemptible)
    }

    /// Nodes on which what a workload lacks would break a limit of its queue.
    pub(super) fn closed(&mut self, fleet: &mut Fleet, request: &Request) -> Closed {
        let mut closed = Closed::default();
        let queue = self.queue(request);
        if !self.shares.limits_devices(queue) {
            return closed;
        }
        let lacks = missing(request);
        for node in &self.kinds {
            let mut sum = Ask::default();
            for (set, count) in &lacks {
                let set = &request.pod_sets[*set];
                let need = fleet.device_need(&set.requests, &set.claims);
                let devices = consumed::on_node(&set.requests, need.as_deref(), node);
                let one = self.shares.ask(&set.requests, &devices);
                sum = sum.plus(&one.times(*count));
            }
            if let Some(refusal) = self.shares.beyond_limit(queue, &sum) {
                closed.close(node, refusal.message);
            }
        }
        closed
    }

    /// Whether the queue of a workload that waits may be promised a start: it is below its entitlement, or will be when its own work ends.
    pub(super) fn may_promise(&mut self, request: &Request) -> bool {
        if !self.several() {
            return true;
        }
        let (ask, queue) = (self.asks(request), self.queue(request));
        if self.shares.is_below(queue, &ask) {
            return true;
        }
        let standing = self.shares.standings(queue);
        let entitled = |name: &String| standing.entitled.resources.get(name).copied().unwrap_or(0);
        let mut devices = standing
            .used
            .resources
            .iter()
            .filter(|(name, _)| is_extended(name));
        devices.all(|(name, used)| *used <= entitled(name))
    }

    /// What a workload lacks, as an amount on the account of its queue.
    pub(super) fn asks(&mut self, request: &Request) -> Ask {
        match self.entries.get(&request.id) {
            Some(entry) => entry.waits.clone().unwrap_or_default(),
            None => Ask::default(),
        }
    }

    /// Whether there is more than one queue, so that one may owe another something.
    pub(super) fn several(&self) -> bool {
        self.shares.tree().ids().nth(1).is_some()
    }

    /// The queue of a workload.
    pub(super) fn queue(&self, request: &Request) -> QueueId {
        self.shares.tree().home(&request.queue)
    }

    /// Whether a workload counts on the account of this queue or of one below it.
    pub(super) fn is_within(&self, id: &WorkloadId, queue: QueueId) -> bool {
        let entry = self.entries.get(id);
        entry.is_some_and(|entry| self.shares.tree().is_within(entry.queue, queue))
    }

    /// What a workload uses.
    pub(super) fn uses(&self, id: &WorkloadId) -> Option<(QueueId, &Ask)> {
        self.entries.get(id).map(|entry| (entry.queue, &entry.uses))
    }

    /// Counts as if a workload were gone, or not.
    pub(super) fn pretend(&mut self, id: &WorkloadId, gone: bool) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.gone != gone) else {
            return;
        };
        if gone {
            self.shares
                .refund(entry.queue, &entry.uses, entry.preemptible);
            self.shares.wait(entry.queue, &entry.uses);
        } else {
            self.shares.unwait(entry.queue, &entry.uses);
            self.shares
                .charge(entry.queue, &entry.uses, entry.preemptible);
        }
        entry.gone = gone;
    }
}

fn enter(shares: &mut Shares, entry: &Entry) {
    shares.charge(entry.queue, &entry.uses, entry.preemptible);
    if let Some(waits) = &entry.waits {
        shares.wait(entry.queue, waits);
    }
}

/// Lists who may be evicted under its queue and all above it, or takes it off again.
fn list(
    evictable: &mut BTreeMap<QueueId, BTreeSet<(i64, WorkloadId)>>,
    shares: &Shares,
    id: &WorkloadId,
    entry: &Entry,
    there: bool,
) {
    let Some(at) = entry.evictable_ms else {
        return;
    };
    let one = (at, id.clone());
    for queue in shares.tree().path(entry.queue) {
        let listed = evictable.entry(queue).or_default();
        if there {
            listed.insert(one.clone());
        } else {
            listed.remove(&one);
        }
    }
}

fn leave(shares: &mut Shares, entry: &Entry) {
    if entry.gone {
        shares.unwait(entry.queue, &entry.uses);
    } else {
        shares.refund(entry.queue, &entry.uses, entry.preemptible);
    }
    if let Some(waits) = &entry.waits {
        shares.unwait(entry.queue, waits);
    }
}

/// Pods by role that it wants and does not have. What is being taken away is not there any more.
fn missing(request: &Request) -> Vec<(usize, i64)> {
    let copies = |set: &str| -> i64 {
        let parts = request.current.iter().filter(|part| !part.evicting);
        parts.filter_map(|part| part.counts.get(set)).sum()
    };
    request
        .pod_sets
        .iter()
        .enumerate()
        .map(|(index, set)| (index, (set.count - copies(&set.name)).max(0)))
        .collect()
}

/// What so many pods ask: on the nodes where it is least. A product is named where the pods can be on that one alone.
fn ask(
    fleet: &mut Fleet,
    kinds: &[Node],
    request: &Request,
    pods: &[(usize, i64)],
    shares: &mut Shares,
) -> Ask {
    let mut sum = Ask::default();
    for (index, count) in pods.iter().filter(|(_, count)| *count > 0) {
        let set = &request.pod_sets[*index];
        let need = fleet.device_need(&set.requests, &set.claims);
        let devices = consumed::anywhere(&set.requests, &set.node_selector, need.as_deref(), kinds);
        let one = shares.ask(&set.requests, &devices);
        sum = sum.plus(&one.times(*count));
    }
    sum
}

/// What its parts use, and what those on lost targets would need.
fn used(fleet: &mut Fleet, request: &Request, shares: &mut Shares) -> (Ask, Ask) {
    let (mut uses, mut lost) = (Ask::default(), Ask::default());
    for part in request.current.iter().filter(|part| !part.evicting) {
        for (name, count) in &part.counts {
            let Some(set) = request.pod_set(name) else {
                continue;
            };
            let need = fleet.device_need(&set.requests, &set.claims);
            let mut left = *count;
            let mut sum = Ask::default();
            for share in part
                .nodes
                .iter()
                .filter(|share| share.pod_set == *name || share.pod_set.is_empty())
            {
                let target = fleet.target(part.target.as_str());
                let devices = match target.and_then(|target| target.node(&share.name)) {
                    Some(node) => consumed::on_node(&set.requests, need.as_deref(), node),
                    None => consumed::by_name(&set.requests, &set.node_selector),
                };
                let one = shares.ask(&set.requests, &devices);
                let pods = share.pods.min(left);
                sum = sum.plus(&one.times(pods));
                left -= pods;
            }
            let devices = consumed::by_name(&set.requests, &set.node_selector);
            sum = sum.plus(&shares.ask(&set.requests, &devices).times(left));
            let target = fleet.target(part.target.as_str());
            if target.is_some_and(|target| target.state == TargetState::Lost) {
                lost = lost.plus(&sum);
            } else {
                uses = uses.plus(&sum);
            }
        }
    }
    (uses, lost)
}

/// All of the Ready targets, and what runs on those that take nothing new. Devices are physical ones. Beside it a node of each kind of
/// devices.
fn capacity(fleet: &Fleet, policy: &Policy) -> (Capacity, Vec<Node>) {
    let mut capacity = Capacity::default();
    let mut kinds: Vec<Node> = Vec::new();
    for (_, target) in fleet.targets() {
        let all = match target.state {
            TargetState::Ready => true,
            TargetState::Cordoned | TargetState::Draining => false,
            TargetState::Pending | TargetState::Lost => continue,
        };
        for node in target.nodes() {
            if node.unusable.is_some() && all {
                continue;
            }
            let there = if all {
                node.allocatable.clone()
            } else {
                node.in_use()
            };
            let amounts = fleet.resources().vector(&there);
            let parts = consumed::of_node(&amounts, node, all);
            if !parts.is_empty() && !kinds.iter().any(|known| alike(known, node)) {
                kinds.push(node.clone());
            }
            for (device, parts) in &parts {
                let Some(product) = &device.product else {
                    continue;
                };
                let entry =
                    capacity
                        .products
                        .entry(product.clone())
                        .or_insert_with(|| ProductCapacity {
                            resource: device.resource.clone(),
                            devices: 0,
                            throughput: policy.throughput_of(product),
                            memory_mib: node.device_memory_mib(),
                        });
                entry.devices += parts / PARTS;
            }
            let devices = consumed::summed(&parts).resources;
            let others = amounts
                .iter()
                .filter(|(name, _)| !devices.contains_key(*name));
            let counted = devices
                .iter()
                .map(|(name, parts)| (name.as_str(), parts / PARTS));
            for (name, amount) in others.chain(counted) {
                let sum = capacity.resources.get(name) + amount.max(0);
                capacity.resources.set(name, sum);
            }
        }
    }
    (capacity, kinds)
}
