//! Whose turn it is among the heads of all queues.
//!
//! ```text
//! line of a queue -> its head -\
//! queue below it -> its first ---> first of the queue -> its place among the branches of the parent -> ... -> first of the root
//! ```
//!
//! In a cycle the claims of others only become weaker while somebody starts, so the place of each branch is remembered, and looked for
//! again only on the way from who has started to the root. What an eviction makes free is another matter: then all are looked at again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use super::Request;
use super::accounts::Accounts;
use super::order::Turn;
use crate::fleet::WorkloadId;
use crate::shares::{Branch, QueueId, QueueTree, Rank, Standing};

/// Where a workload stands in the line of its queue.
pub(super) type Place = (Reverse<i32>, Option<Turn>, i64, WorkloadId);

/// Somebody who waits.
#[derive(Debug)]
pub(super) enum Asked<'a> {
    /// Planned because something has happened to it.
    Woken(&'a Request),
    /// Planned because somebody like it has found its place.
    Next(Box<Request>),
}

impl Deref for Asked<'_> {
    type Target = Request;

    fn deref(&self) -> &Request {
        match self {
            Self::Woken(request) => request,
            Self::Next(request) => request,
        }
    }
}

/// Those who wait in one queue, the first first.
type Line<'a> = BTreeMap<Place, Asked<'a>>;

/// Who waits, by queue: in its own order inside a queue, by priority, turn, age and id; between queues the strongest claim decides.
#[derive(Debug, Default)]
pub(super) struct Race<'a> {
    lines: BTreeMap<QueueId, Line<'a>>,
    /// Those at the heads of lines who may not start. They keep their place, and the claim of the queue is that of who comes after them.
    held_back: BTreeMap<QueueId, Line<'a>>,
    /// Those in a queue or below it, by branch, the first first.
    fields: BTreeMap<QueueId, BTreeSet<Runner>>,
    /// Where each branch stands in the field of its parent.
    stands: BTreeMap<Branch, Runner>,
    /// Queues of which something has changed.
    news: BTreeSet<QueueId>,
}

/// The best claim of a branch. The strongest goes first, at the nearest common parent the branch that ranks first; where nobody may
/// start goes last, of these the queue of the lower number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Runner {
    claim: Claim,
    rank: Option<Rank>,
    queue: QueueId,
    branch: Branch,
}

/// How strong a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Stands(Standing),
    MayNotStart,
}

impl<'a> Race<'a> {
    /// Puts a request where it belongs in the line of its queue.
    pub(super) fn line_up(&mut self, accounts: &Accounts, place: Place, request: Asked<'a>) {
        let queue = accounts.queue(&request);
        let line = self.lines.entry(queue).or_default();
        line.entry(place).or_insert(request);
        self.news.insert(queue);
    }

    /// Takes out who goes next; heads that may not start go last.
    pub(super) fn pop(&mut self, accounts: &Accounts) -> Option<(Asked<'a>, Option<Standing>)> {
        for queue in std::mem::take(&mut self.news) {
            self.look_at(accounts, queue);
        }
        let first = loop {
            let first = *self.fields.get(&QueueTree::ROOT)?.first()?;
            if self.claim(accounts, first.queue) == Some(first.claim) {
                break first;
            }
            // Others have used up what it counted on.
            self.look_at(accounts, first.queue);
        };
        self.news.insert(first.queue);
        let request = self.take_first(first.queue)?;
        let standing = accounts.claim(first.queue, &request);
        Some((request, standing))
    }

    /// Takes the first of a queue out, whether it may start or not.
    fn take_first(&mut self, queue: QueueId) -> Option<Asked<'a>> {
        let key = |lines: &BTreeMap<QueueId, Line<'a>>| {
            let (place, _) = lines.get(&queue)?.first_key_value()?;
            Some(place.clone())
        };
        let (next, back) = (key(&self.lines), key(&self.held_back));
        let lines = match (&next, &back) {
            (Some(next), Some(back)) if next < back => &mut self.lines,
            (_, Some(_)) => &mut self.held_back,
            _ => &mut self.lines,
        };
        let line = lines.get_mut(&queue)?;
        let (_, request) = line.pop_first()?;
        if line.is_empty() {
            lines.remove(&queue);
        }
        Some(request)
    }

    /// Something was given back: everybody's claim may be stronger.
    pub(super) fn look_again(&mut self) {
        self.news.extend(self.lines.keys());
        self.news.extend(self.held_back.keys());
    }

    /// Finds the places of a queue's line and of all branches that it is in.
    fn look_at(&mut self, accounts: &Accounts, queue: QueueId) {
        let tree = accounts.shares.tree();
        let line = Branch::Line(queue);
        let claim = self.claim(accounts, queue);
        self.put(accounts, queue, line, claim.map(|claim| (claim, queue)));
        for one in tree.path(queue) {
            let Some(parent) = tree.parent(one) else {
                break;
            };
            let best = self.fields.get(&one).and_then(BTreeSet::first);
            let best = best.map(|best| (best.claim, best.queue));
            self.put(accounts, parent, Branch::Queue(one), best);
        }
    }

    /// Puts the best head of a branch into the field of its parent, in place of the one before.
    fn put(
        &mut self,
        accounts: &Accounts,
        parent: QueueId,
        branch: Branch,
        best: Option<(Claim, QueueId)>,
    ) {
        let field = self.fields.entry(parent).or_default();
        if let Some(before) = self.stands.remove(&branch) {
            field.remove(&before);
        }
        let Some((claim, queue)) = best else { return };
        let rank = match claim {
            Claim::Stands(standing) => Some(accounts.shares.rank(branch, standing)),
            Claim::MayNotStart => None,
        };
        let runner = Runner {
            claim,
            rank,
            queue,
            branch,
        };
        field.insert(runner);
        self.stands.insert(branch, runner);
    }

    /// How strong the claim of the first of a queue is who may start; `None`: nobody waits there.
    fn claim(&mut self, accounts: &Accounts, queue: QueueId) -> Option<Claim> {
        let back = self.held_back.get(&queue).and_then(Line::first_key_value);
        if let Some(standing) = back.and_then(|(_, head)| accounts.claim(queue, head)) {
            return Some(Claim::Stands(standing));
        }
        let waits = back.is_some();
        let Some(line) = self.lines.get_mut(&queue) else {
            return waits.then_some(Claim::MayNotStart);
        };
        while let Some(head) = line.first_entry() {
            if let Some(standing) = accounts.claim(queue, head.get()) {
                return Some(Claim::Stands(standing));
            }
            let (place, request) = head.remove_entry();
            let back = self.held_back.entry(queue).or_default();
            back.insert(place, request);
        }
        self.lines.remove(&queue);
        Some(Claim::MayNotStart)
    }
}
