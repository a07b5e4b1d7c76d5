//! Spare nodes on the account of their gang's queue: they are kept from others, so they count as use. They are a wish and the first to go:
//! who may take them from the gang starts as if they were not counted, and what of them is beyond a limit then is kept no more.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::Accounts;
use super::kept::is_stoppable;
use super::{Planner, Request, consumed};
use crate::fleet::{Fleet, Node, WorkloadId};
use crate::shares::{Ask, QueueId, Shares};

/// The spare nodes of all gangs, as amounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle(BTreeMap<WorkloadId, Spares>);

/// Those of one gang.
#[derive(Clone, Debug)]
struct Spares {
    /// The name stays when the queues change.
    name: String,
    queue: QueueId,
    priority: i32,
    ask: Ask,
    /// It gives way, and they go with it.
    gone: bool,
    /// Somebody looks at what others use in earnest.
    hidden: bool,
}

impl Spares {
    fn count(&self) -> bool {
        !self.gone && !self.hidden
    }
}

impl Idle {
    /// Takes all of them off, or counts them again: in a tree that may be another.
    pub(super) fn count_all(&mut self, shares: &mut Shares, there: bool) {
        for one in self.0.values_mut() {
            if there {
                one.queue = shares.tree().home(&one.name);
            }
            match (one.count(), there) {
                (true, true) => shares.charge(one.queue, &one.ask, true),
                (true, false) => shares.refund(one.queue, &one.ask, true),
                (false, _) => {}
            }
        }
    }

    fn change(
        &mut self,
        shares: &mut Shares,
        of: impl Fn(&WorkloadId, &Spares) -> bool,
        change: impl Fn(&mut Spares),
    ) {
        for (_, one) in self.0.iter_mut().filter(|(id, one)| of(id, one)) {
            let before = one.count();
            change(one);
            match (before, one.count()) {
                (true, false) => shares.refund(one.queue, &one.ask, true),
                (false, true) => shares.charge(one.queue, &one.ask, true),
                _ => {}
            }
        }
    }

    /// The gang gives way, or does not.
    pub(super) fn pretend(&mut self, shares: &mut Shares, id: &WorkloadId, gone: bool) {
        self.change(shares, |other, _| other == id, |one| one.gone = gone);
    }

    /// What counts of one gang.
    pub(super) fn of(&self, id: &WorkloadId) -> Option<&Ask> {
        self.0.get(id).filter(|one| one.count()).map(|one| &one.ask)
    }

    /// What a workload of a queue may take of it: spares of those below it and, if it goes there, those that it may use until they are needed.
    pub(super) fn yields(
        &self,
        id: &WorkloadId,
        (queue, priority): (QueueId, i32),
        guest: bool,
    ) -> Option<Ask> {
        let lets = |one: &Spares| priority > one.priority || guest;
        let some = self
            .0
            .iter()
            .filter(|(other, one)| *other != id && one.queue == queue && one.count() && lets(one));
        some.map(|(_, one)| one.ask.clone())
            .reduce(|sum, one| sum.plus(&one))
    }
}

impl Planner {
    /// Queues whose spares yield to a workload.
    pub(super) fn yielding(&self, request: &Request) -> BTreeSet<String> {
        if self.kept.is_empty() || !self.accounts.several() {
            return BTreeSet::new();
        }
        let asks = self.accounts.asks(request);
        let queue = self.accounts.queue(request);
        let sure = self.accounts.shares.is_guaranteed(queue, &asks);
        let queues = self.kept.queues().into_iter();
        let yields = |queue: &&str| sure || self.accounts.reclaims_from(request, queue);
        queues.filter(yields).map(str::to_owned).collect()
    }
}

impl Accounts {
    /// Gives up the spares of a gang, so that they can be chosen anew.
    pub(super) fn drop_spares(&mut self, id: &WorkloadId) {
        self.idle.pretend(&mut self.shares, id, true);
        self.idle.0.remove(id);
    }

    /// Whether a gang may have so much for spares.
    pub(super) fn may_spare(&self, request: &Request, ask: &Ask) -> bool {
        let queue = self.queue(request);
        self.shares.claim(queue, ask, true).is_some()
    }

    /// Charges the spares of a gang.
    pub(super) fn keep_spares(&mut self, request: &Request, ask: Ask) {
        self.drop_spares(&request.id);
        if ask.is_empty() {
            return;
        }
        let queue = self.queue(request);
        self.shares.charge(queue, &ask, true);
        let spares = Spares {
            name: request.queue.clone(),
            queue,
            priority: request.priority,
            ask,
            gone: false,
            hidden: false,
        };
        self.idle.0.insert(request.id.clone(), spares);
    }

    /// Gangs whose spares are beyond a limit by now.
    pub(super) fn spares_over_limit(&self) -> impl Iterator<Item = &WorkloadId> {
        let over = self.idle.0.iter();
        over.filter(|(_, one)| self.shares.is_over_limit(one.queue))
            .map(|(id, _)| id)
    }

    /// Nobody gives way because of spares: these yield themselves. So those of other queues do not count while somebody is looked for who does.
    pub(super) fn hide_spares(&mut self, request: &Request, hidden: bool) {
        let queue = self.queue(request);
        let others = |_: &WorkloadId, one: &Spares| one.queue != queue;
        self.idle
            .change(&mut self.shares, others, |one| one.hidden = hidden);
    }

    /// Whether a queue is above what it is entitled to, and that of a workload is below: then its spares yield to that.
    pub(super) fn reclaims_from(&self, request: &Request, other: &str) -> bool {
        let asks = self.asks(request);
        let (mine, other) = (self.queue(request), self.shares.tree().home(other));
        self.shares.is_below(mine, &asks)
            && self
                .shares
                .excess(mine, other, &asks)
                .is_some_and(|excess| excess.share > 0)
    }

    /// Whether a workload may start on spare nodes of its queue only.
    pub(super) fn is_guest(&self, request: &Request) -> bool {
        if !is_stoppable(request) || self.idle.0.is_empty() {
            return false;
        }
        let (asks, queue) = (self.asks(request), self.queue(request));
        let place = (queue, request.priority);
        let own = self.idle.yields(&request.id, place, false);
        let left = own.map_or_else(|| asks.clone(), |own| asks.less(&own));
        self.shares
            .claim(queue, &left, request.preemptible)
            .is_none()
    }

    /// What so many pods use on a node.
    pub(super) fn on_node(
        &mut self,
        fleet: &mut Fleet,
        request: &Request,
        pods: &[(usize, i64)],
        node: &Node,
    ) -> Ask {
        let mut sum = Ask::default();
        for (set, count) in pods {
            let Some(set) = request.pod_sets.get(*set) else {
                continue;
            };
            let need = fleet.device_need(&set.requests, &set.claims);
            let devices = consumed::on_node(&set.requests, need.as_deref(), node);
            let one = self.shares.ask(&set.requests, &devices);
            sum = sum.plus(&one.times(*count));
        }
        sum
    }
}
