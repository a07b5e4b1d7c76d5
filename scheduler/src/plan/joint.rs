//! Devices that several workloads have together, because their pods name one ResourceClaim. They are there once (in each target that
//! has a copy of the claim), so they are charged once: to the queue of the oldest workload that has the claim there. If that one ends, the
//! next oldest carries it. What nobody has yet is waited for once, by the oldest that waits.
//!
//! So who carries a claim follows from who has it now, in whatever order they came.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use crate::fleet::{Event, TargetName, WorkloadId};
use crate::shares::{Ask, QueueId, Shares};

/// The older, the smaller: when it was submitted, and its name.
pub(super) type Age = (i64, WorkloadId);

/// All claims that anybody has or wants together with others, by name (`namespace/name`).
#[derive(Clone, Debug, Default)]
pub(super) struct Joint {
    claims: BTreeMap<String, Claim>,
}

/// One claim.
#[derive(Clone, Debug, Default)]
struct Claim {
    users: BTreeMap<TargetName, BTreeMap<Age, Member>>,
    waiters: BTreeMap<Age, Member>,
}

/// One who has it, or waits for it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) queue: QueueId,
    /// What its devices are.
    pub(super) ask: Ask,
    pub(super) preemptible: bool,
    /// Nodes on which its pods are, where that is known.
    pub(super) nodes: BTreeSet<String>,
}

impl Joint {
    /// Somebody has a claim on a target.
    pub(super) fn join(
        &mut self,
        shares: &mut Shares,
        (name, target): (&str, &TargetName),
        age: Age,
        member: Member,
    ) {
        self.change(shares, name, |claim| {
            let there = claim.users.entry(target.clone()).or_default();
            there.insert(age, member);
        });
    }

    /// Somebody has it no more.
    pub(super) fn leave(
        &mut self,
        shares: &mut Shares,
        (name, target): (&str, &TargetName),
        age: &Age,
    ) {
        self.change(shares, name, |claim| {
            if let Some(there) = claim.users.get_mut(target) {
                there.remove(age);
                if there.is_empty() {
                    claim.users.remove(target);
                }
            }
        });
    }

    /// Somebody waits who will have a claim.
    pub(super) fn wait(&mut self, shares: &mut Shares, name: &str, age: Age, member: Member) {
        self.change(shares, name, |claim| {
            claim.waiters.insert(age, member);
        });
    }

    /// Somebody waits for it no more.
    pub(super) fn unwait(&mut self, shares: &mut Shares, name: &str, age: &Age) {
        self.change(shares, name, |claim| {
            claim.waiters.remove(age);
        });
    }

    /// Whether a queue would be charged for a claim, and is not yet, if one of its workloads had it too: nobody has it who is older.
    /// `target`: there; else, if it went where others have it.
    pub(super) fn would_carry(
        &self,
        name: &str,
        target: Option<&TargetName>,
        age: &Age,
        queue: QueueId,
    ) -> bool {
        let users = self.claims.get(name).into_iter().flat_map(|one| &one.users);
        let there = users.filter(|(one, _)| target.is_none_or(|target| target == *one));
        let mut carriers = there.filter_map(|(_, users)| users.first_key_value());
        !carriers.any(|(carrier, member)| carrier < age || member.queue == queue)
    }

    /// What of a claim a queue is rid of, if somebody goes who has it there.
    pub(super) fn rid_of(&self, (name, target): (&str, &TargetName), age: &Age) -> Option<&Ask> {
        let there = self.claims.get(name)?.users.get(target)?;
        let mut users = there.iter();
        let (carrier, member) = users.next()?;
        let next = users.next().map(|(_, next)| next.queue);
        (carrier == age && next != Some(member.queue)).then_some(&member.ask)
    }

    /// Where others have a claim: on which nodes of which targets.
    pub(super) fn places(
        &self,
        name: &str,
        except: &WorkloadId,
    ) -> BTreeMap<TargetName, BTreeSet<String>> {
        let mut places = BTreeMap::new();
        for (target, users) in self.claims.get(name).into_iter().flat_map(|one| &one.users) {
            let others = users.iter().filter(|((_, id), _)| id != except);
            let nodes: BTreeSet<String> = others
                .flat_map(|(_, member)| member.nodes.iter().cloned())
                .collect();
            if !nodes.is_empty() {
                places.insert(target.clone(), nodes);
            }
        }
        places
    }

    /// Who waits for a claim.
    pub(super) fn waiters(&self, name: &str) -> impl Iterator<Item = &WorkloadId> {
        let claim = self.claims.get(name).into_iter();
        claim.flat_map(|claim| claim.waiters.keys().map(|(_, id)| id))
    }

    /// Changes who has a claim or waits for it, and with that who is charged.
    fn change(&mut self, shares: &mut Shares, name: &str, change: impl FnOnce(&mut Claim)) {
        let mut claim = self.claims.remove(name).unwrap_or_default();
        for (carrier, firm) in claim.charged() {
            shares.refund(carrier.queue, &carrier.ask, !firm);
        }
        if let Some(first) = claim.first_waiter() {
            shares.unwait_beside(first.queue, &first.ask);
        }
        change(&mut claim);
        for (carrier, firm) in claim.charged() {
            shares.charge(carrier.queue, &carrier.ask, !firm);
        }
        if let Some(first) = claim.first_waiter() {
            shares.wait_beside(first.queue, &first.ask);
        }
        if !claim.users.is_empty() || !claim.waiters.is_empty() {
            self.claims.insert(name.to_owned(), claim);
        }
    }
}

impl Planner {
    /// What may help others because claims that several have together are charged to somebody else now, or may be joined.
    pub(super) fn recharged(&mut self) -> Event {
        let mut event = self.accounts.take_opened();
        for id in self.accounts.take_stirred() {
            event.merge(self.waiting.lacked_by(&id));
        }
        event
    }
}

impl Claim {
    /// The oldest of each target, and whether the devices cannot be taken away, because one who has them may not be evicted.
    fn charged(&self) -> impl Iterator<Item = (&Member, bool)> {
        self.users.values().filter_map(|users| {
            let (_, carrier) = users.first_key_value()?;
            Some((carrier, users.values().any(|one| !one.preemptible)))
        })
    }

    /// Who waits for it where nobody has it.
    fn first_waiter(&self) -> Option<&Member> {
        let (_, first) = self.waiters.first_key_value()?;
        self.users.is_empty().then_some(first)
    }
}
