//! What every workload uses and wants, on the account of its queue.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use placement_api::devices::DeviceClaim;

use super::closed::Closed;
use super::gang::Added;
use super::idle::Idle;
use super::joint::{Age, Joint, Member};
use super::kept::is_stoppable;
use super::stock::capacity;
use super::usage::{self, Joins, Used};
use super::{PodSetRequest, Policy, Request, consumed};
use crate::fleet::{Event, Fleet, Node, TargetName, WorkloadId, is_extended};
use crate::shares::{Ask, QueueId, QueueTree, Refusal, Shares, Standing};

/// The shares of all queues, and what each workload has on them.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    pub(super) shares: Shares,
    entries: BTreeMap<WorkloadId, Account>,
    /// What they have together.
    joint: Joint,
    /// Their spare nodes.
    pub(super) idle: Idle,
    /// Claims that others have where a workload cannot go, so that it needs devices of its own for them.
    apart: BTreeMap<WorkloadId, BTreeSet<String>>,
    /// What is charged to others now, and who may have a claim together with somebody else; until that is taken.
    moved: BTreeSet<String>,
    stirred: BTreeSet<WorkloadId>,
    /// Those who may be evicted, under their queue and all above it, by when their minimum run time ends.
    evictable: BTreeMap<QueueId, BTreeSet<(i64, WorkloadId)>>,
    /// The shape of the fleet that the capacity was counted for.
    counted: Option<u64>,
    /// A node of each kind of devices, as of then.
    kinds: Vec<Node>,
}

/// One workload on the account of its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    queue: QueueId,
    age: Age,
    priority: i32,
    /// It may use spare nodes until they are needed.
    stoppable: bool,
    /// What it uses of its own, and whether that may be taken away.
    uses: Ask,
    /// What it uses together with others.
    joins: Joins,
    preemptible: bool,
    /// When its minimum run time ends at the earliest; `None`: it may not be evicted, or uses nothing.
    evictable_ms: Option<i64>,
    /// It gives way: what it uses is not counted any more.
    gone: bool,
    /// What it wants of its own beside that.
    waits: Option<Ask>,
    /// Claims that it will have together with others.
    lacks: BTreeMap<String, Ask>,
}

impl Accounts {
    /// Another tree of queues; workloads are counted where they belong now.
    pub(super) fn set_tree(
        &mut self,
        tree: QueueTree,
        names: impl Fn(&WorkloadId) -> Option<String>,
    ) {
        for entry in self.entries.values() {
            leave(&mut self.shares, &mut self.joint, entry);
        }
        self.idle.count_all(&mut self.shares, false);
        self.shares.set_tree(tree);
        self.idle.count_all(&mut self.shares, true);
        self.evictable.clear();
        for (id, entry) in &mut self.entries {
            entry.queue = self.shares.tree().home(&names(id).unwrap_or_default());
            enter(&mut self.shares, &mut self.joint, entry);
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
        let used = usage::used(fleet, &self.kinds, request, &mut self.shares);
        let Used {
            uses,
            lost,
            joins,
            left,
        } = used;
        let wants = !request.suspended && request.blocked.is_none() && !hopeless;
        let rest = usage::missing(request);
        let lacks_some = wants && !rest.iter().all(|(_, count)| *count == 0);
        let waits = lacks_some
            .then(|| usage::ask(fleet, &self.kinds, request, &rest, &mut self.shares))
            .map(|waits| waits.plus(&lost))
            .or_else(|| (!lost.is_empty() || !left.is_empty()).then_some(lost));
        let mut lacks = left;
        lacks.retain(|claim, _| !joins.keys().any(|(have, _)| have == claim));
        if lacks_some {
            let more = usage::lacks(fleet, &self.kinds, request, &rest, &joins, &mut self.shares);
            lacks.extend(more);
        }
        let evictable_ms =
            (request.preemptible && !(uses.is_empty() && joins.is_empty())).then(|| {
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
        let entry = Account {
            queue,
            age: (request.submitted_ms, request.id.clone()),
            priority: request.priority,
            stoppable: is_stoppable(request),
            uses,
            joins,
            preemptible: request.preemptible,
            evictable_ms,
            gone: false,
            waits,
            lacks,
        };
        if self.entries.get(&request.id) == Some(&entry) {
            return;
        }
        self.tell(&request.id, &entry.joins);
        self.remove(&request.id);
        enter(&mut self.shares, &mut self.joint, &entry);
        list(&mut self.evictable, &self.shares, &request.id, &entry, true);
        self.entries.insert(request.id.clone(), entry);
    }

    /// Forgets a workload.
    pub(super) fn forget(&mut self, id: &WorkloadId) {
        self.tell(id, &Joins::new());
        self.remove(id);
        self.drop_spares(id);
    }

    /// Notes whom it concerns that a workload has other claims together with others than before.
    fn tell(&mut self, id: &WorkloadId, after: &Joins) {
        let none = Joins::new();
        let before = self.entries.get(id).map_or(&none, |entry| &entry.joins);
        let gone = before.iter().filter(|(key, _)| !after.contains_key(key));
        let new = after.iter().filter(|(key, _)| !before.contains_key(key));
        for ((claim, _), joined) in gone.chain(new) {
            // The next carries it, or is relieved of it.
            let names = self.shares.resources_of(&joined.ask);
            self.moved.extend(names.map(str::to_owned));
            self.stirred.extend(self.joint.waiters(claim).cloned());
        }
        self.stirred.remove(id);
        // Where they may go is to be looked at again.
        self.apart.retain(|id, _| !self.stirred.contains(id));
    }

    /// What is charged to others now, since the last time: that may help those whom a limit refuses.
    pub(super) fn take_opened(&mut self) -> Event {
        let moved = std::mem::take(&mut self.moved);
        if moved.is_empty() {
            return Event::nothing();
        }
        Event::freed(moved)
    }

    /// Who may have a claim together with somebody else now, or not any more, since the last time.
    pub(super) fn take_stirred(&mut self) -> BTreeSet<WorkloadId> {
        std::mem::take(&mut self.stirred)
    }

    fn remove(&mut self, id: &WorkloadId) {
        self.apart.remove(id);
        if let Some(entry) = self.entries.remove(id) {
            leave(&mut self.shares, &mut self.joint, &entry);
            list(&mut self.evictable, &self.shares, id, &entry, false);
        }
    }

    /// The queue, its own or one above, whose limit keeps a workload from starting what it lacks.
    pub(super) fn limited_by(&self, id: &WorkloadId) -> Option<QueueId> {
        let (queue, waits) = self.waits(id)?;
        let broken = self.shares.limited_by(queue, &waits)?;
        match self.without_spares(id, &waits) {
            Some(left) => self.shares.limited_by(queue, &left),
            None => Some(broken),
        }
    }

    /// Whether the queue of a workload that waits is below what it is entitled to.
    pub(super) fn is_below(&self, id: &WorkloadId) -> bool {
        let waits = self.waits(id);
        waits.is_some_and(|(queue, waits)| self.shares.is_below(queue, &waits))
    }

    /// What a workload would be charged for if it had all that it lacks. A claim that an older one has needs no room.
    fn waits(&self, id: &WorkloadId) -> Option<(QueueId, Cow<'_, Ask>)> {
        let entry = self.entries.get(id)?;
        let waits = entry.waits.as_ref()?;
        let charged = |claim: &&String| self.is_charged(entry, claim);
        let mut all = Cow::Borrowed(waits);
        for claim in entry.lacks.keys().filter(charged) {
            all = Cow::Owned(all.plus(&entry.lacks[claim]));
        }
        Some((entry.queue, all))
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
        let waits = self.waits(&request.id);
        let asks = waits.as_ref().map_or(&none, |(_, asks)| asks.as_ref());
        let claim = |asks: &Ask| self.shares.claim(queue, asks, request.preemptible);
        claim(asks).or_else(|| claim(&self.without_spares(&request.id, asks)?))
    }

    /// Whether what a workload lacks may start, and how strong the claim is.
    pub(super) fn may_start(&self, request: &Request) -> Result<Standing, Refusal> {
        let ask = self.asks(request);
        let queue = self.shares.tree().home(&request.queue);
        let may = |ask: &Ask| self.shares.may_start(queue, ask, request.preemptible);
        may(&ask).or_else(|refusal| match self.without_spares(&request.id, &ask) {
            Some(left) => may(&left).map_err(|_| refusal),
            None => Err(refusal),
        })
    }

    /// What a workload asks beyond what spares of its queue yield to it; `None`: they yield nothing.
    pub(super) fn without_spares(&self, id: &WorkloadId, asks: &Ask) -> Option<Ask> {
        let entry = self.entries.get(id)?;
        let place = (entry.queue, entry.priority);
        let yielded = self.idle.yields(id, place, entry.stoppable)?;
        Some(asks.less(&yielded))
    }

    /// Nodes on which what a workload lacks would break a limit of its queue.
    pub(super) fn closed(&mut self, fleet: &mut Fleet, request: &Request) -> Closed {
        let mut closed = Closed::default();
        let queue = self.queue(request);
        if !self.shares.limits_devices(queue) {
            return closed;
        }
        let lacks = usage::missing(request);
        let claims = self.carries(request);
        for node in &self.kinds {
            let mut sum = Ask::default();
            for (set, count) in &lacks {
                let set = &request.pod_sets[*set];
                let need = fleet.device_need(&set.requests, &set.claims);
                let devices = consumed::on_node(&set.requests, need.as_deref(), node);
                let one = self.shares.ask(&set.requests, &devices);
                sum = sum.plus(&one.times(*count));
            }
            for (name, set, claim) in &claims {
                let (kinds, on) = (&self.kinds, Some(node));
                let one = usage::of_claim(fleet, kinds, set, (name, claim), on, &mut self.shares);
                sum = sum.plus(&one);
            }
            let left = self.without_spares(&request.id, &sum);
            let open = left.is_some_and(|left| self.shares.limited_by(queue, &left).is_none());
            if let Some(refusal) = self.shares.beyond_limit(queue, &sum).filter(|_| !open) {
                closed.close(node, refusal.message);
            }
        }
        closed
    }

    /// Claims that would be charged to a workload if it had all that it lacks.
    fn carries<'a>(
        &self,
        request: &'a Request,
    ) -> Vec<(&'a str, &'a PodSetRequest, &'a DeviceClaim)> {
        let Some(entry) = self.entries.get(&request.id) else {
            return Vec::new();
        };
        let mut found: BTreeMap<&str, (&PodSetRequest, &DeviceClaim)> = BTreeMap::new();
        for set in &request.pod_sets {
            for (name, claim) in usage::together(set) {
                let lacking = entry.lacks.contains_key(name);
                if lacking && self.is_charged(entry, name) {
                    found.entry(name).or_insert((set, claim));
                }
            }
        }
        let one = |(name, (set, claim))| (name, set, claim);
        found.into_iter().map(one).collect()
    }

    /// Whether a claim that a workload lacks would be charged to its queue.
    fn is_charged(&self, entry: &Account, claim: &str) -> bool {
        let (_, id) = &entry.age;
        let apart = self
            .apart
            .get(id)
            .is_some_and(|apart| apart.contains(claim));
        apart || self.joint.would_carry(claim, None, &entry.age, entry.queue)
    }

    /// Whether a workload lacks claims that it will have together with others.
    pub(super) fn lacks_claims(&self, request: &Request) -> bool {
        let entry = self.entries.get(&request.id);
        entry.is_some_and(|entry| !entry.lacks.is_empty())
    }

    /// Says where a workload may go. Says whether that changes what it would be charged for.
    pub(super) fn may_go(&mut self, request: &Request, targets: &[TargetName]) -> bool {
        let Some(entry) = self.entries.get(&request.id) else {
            return false;
        };
        let alone = |claim: &&String, target: Option<&TargetName>| {
            let (age, queue) = (&entry.age, entry.queue);
            self.joint.would_carry(claim, target, age, queue)
        };
        let apart = entry.lacks.keys().filter(|claim| {
            let mut there = targets.iter();
            !alone(claim, None) && there.any(|target| alone(claim, Some(target)))
        });
        let apart: BTreeSet<String> = apart.cloned().collect();
        let before = if apart.is_empty() {
            self.apart.remove(&request.id)
        } else {
            self.apart.insert(request.id.clone(), apart.clone())
        };
        before.unwrap_or_default() != apart
    }

    /// Where others have claims that a workload lacks: on which nodes of which targets are all of those that are there.
    pub(super) fn joined(&self, request: &Request) -> BTreeMap<TargetName, BTreeSet<String>> {
        let lacks = self.entries.get(&request.id).map(|entry| &entry.lacks);
        let mut all: BTreeMap<TargetName, BTreeSet<String>> = BTreeMap::new();
        for claim in lacks.into_iter().flat_map(BTreeMap::keys) {
            for (target, here) in self.joint.places(claim, &request.id) {
                match all.entry(target) {
                    Entry::Vacant(entry) => drop(entry.insert(here)),
                    Entry::Occupied(mut entry) => entry.get_mut().retain(|one| here.contains(one)),
                }
            }
        }
        all
    }

    /// What the pods of one copy use on their nodes.
    pub(super) fn copy(&mut self, fleet: &mut Fleet, request: &Request, copy: &Added) -> Ask {
        let mut sum = Ask::default();
        let mut claims: BTreeSet<&str> = BTreeSet::new();
        for pick in &copy.picks {
            let target = fleet.target(copy.target.as_str());
            let node = target.and_then(|target| target.node_list().get(pick.node));
            let Some(node) = node.cloned() else {
                continue;
            };
            sum = sum.plus(&self.on_node(fleet, request, &[(pick.set, pick.pods)], &node));
            let set = &request.pod_sets[pick.set];
            for (name, claim) in usage::together(set) {
                let entry = self.entries.get(&request.id);
                let charged = entry.is_some_and(|entry| {
                    let has = entry.joins.keys();
                    let has = { has }.any(|(have, at)| have == name && *at == copy.target);
                    let (age, queue) = (&entry.age, entry.queue);
                    !has && self.joint.would_carry(name, Some(&copy.target), age, queue)
                });
                if charged && claims.insert(name) {
                    let (kinds, on) = (&self.kinds, Some(&node));
                    let one =
                        usage::of_claim(fleet, kinds, set, (name, claim), on, &mut self.shares);
                    sum = sum.plus(&one);
                }
            }
        }
        sum
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
    pub(super) fn asks(&self, request: &Request) -> Ask {
        let waits = self.waits(&request.id);
        waits.map_or_else(Ask::default, |(_, asks)| asks.into_owned())
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

    /// What its queue would not use any more without a workload. Claims that others have too are used all the same.
    pub(super) fn uses(&self, id: &WorkloadId) -> Option<(QueueId, Cow<'_, Ask>)> {
        let entry = self.entries.get(id)?;
        let mut all = Cow::Borrowed(&entry.uses);
        for (claim, target) in entry.joins.keys() {
            if let Some(ask) = self.joint.rid_of((claim, target), &entry.age) {
                all = Cow::Owned(all.plus(ask));
            }
        }
        if let Some(idle) = self.idle.of(id) {
            all = Cow::Owned(all.plus(idle));
        }
        Some((entry.queue, all))
    }

    /// Counts as if a workload were gone, or not.
    pub(super) fn pretend(&mut self, id: &WorkloadId, gone: bool) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.gone != gone) else {
            return;
        };
        leave(&mut self.shares, &mut self.joint, entry);
        entry.gone = gone;
        enter(&mut self.shares, &mut self.joint, entry);
        self.idle.pretend(&mut self.shares, id, gone);
    }
}

fn enter(shares: &mut Shares, joint: &mut Joint, entry: &Account) {
    if entry.gone {
        shares.wait(entry.queue, &entry.uses);
    } else {
        shares.charge(entry.queue, &entry.uses, entry.preemptible);
        for ((claim, target), joined) in &entry.joins {
            let mut member = entry.member(&joined.ask);
            member.nodes.clone_from(&joined.nodes);
            joint.join(shares, (claim, target), entry.age.clone(), member);
        }
    }
    if let Some(waits) = &entry.waits {
        shares.wait(entry.queue, waits);
    }
    for (claim, ask) in entry.waits_for() {
        joint.wait(shares, claim, entry.age.clone(), entry.member(ask));
    }
}

fn leave(shares: &mut Shares, joint: &mut Joint, entry: &Account) {
    if entry.gone {
        shares.unwait(entry.queue, &entry.uses);
    } else {
        shares.refund(entry.queue, &entry.uses, entry.preemptible);
        for (claim, target) in entry.joins.keys() {
            joint.leave(shares, (claim, target), &entry.age);
        }
    }
    if let Some(waits) = &entry.waits {
        shares.unwait(entry.queue, waits);
    }
    for claim in entry.waits_for().into_keys() {
        joint.unwait(shares, claim, &entry.age);
    }
}

impl Account {
    fn member(&self, ask: &Ask) -> Member {
        Member {
            queue: self.queue,
            ask: ask.clone(),
            preemptible: self.preemptible,
            nodes: BTreeSet::new(),
        }
    }

    /// Claims that it waits for: those that it lacks, and without what it gives up those too.
    fn waits_for(&self) -> BTreeMap<&str, &Ask> {
        let given_up = self.joins.iter().filter(|_| self.gone);
        let given_up = given_up.map(|((claim, _), joined)| (claim.as_str(), &joined.ask));
        let lacks = self.lacks.iter();
        lacks
            .map(|(claim, ask)| (claim.as_str(), ask))
            .chain(given_up)
            .collect()
    }
}

/// Lists who may be evicted under its queue and all above it, or takes it off again.
fn list(
    evictable: &mut BTreeMap<QueueId, BTreeSet<(i64, WorkloadId)>>,
    shares: &Shares,
    id: &WorkloadId,
    entry: &Account,
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
