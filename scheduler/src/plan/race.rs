//! Whose turn it is among the heads of all queues.
//!
//! In a cycle the claims of others only become weaker while somebody starts, so the best head of each branch of the tree is remembered, and
//! looked for again only where something has started. What an eviction makes free is another matter: then all are looked at again.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::Request;
use super::accounts::Accounts;
use super::order::Turn;
use crate::fleet::WorkloadId;
use crate::shares::{QueueId, Standing};

/// Where a workload stands in the line of its queue.
pub(super) type Place = (Reverse<i32>, Option<Turn>, i64, WorkloadId);

/// Who waits, by queue: in its own order inside a queue, by priority, turn, age and id; between queues the strongest claim decides.
#[derive(Debug, Default)]
pub(super) struct Race<'a> {
    lines: BTreeMap<QueueId, BTreeMap<Place, Cow<'a, Request>>>,
    /// Queues with a line, by the child of the root that they are or stand below.
    branches: BTreeMap<QueueId, Branch>,
}

#[derive(Debug, Default)]
struct Branch {
    queues: BTreeSet<QueueId>,
    /// The queue whose head goes first of these, and how strong its claim is; absent: to be looked for.
    best: Option<Head>,
}

/// A queue and the claim of its head; `None`: that may not start.
type Head = (QueueId, Option<Standing>);

impl<'a> Race<'a> {
    /// Puts a request where it belongs in the line of its queue.
    pub(super) fn line_up(&mut self, accounts: &Accounts, place: Place, request: Cow<'a, Request>) {
        let queue = accounts.queue(&request);
        let line = self.lines.entry(queue).or_default();
        line.entry(place).or_insert(request);
        let branch = self.branches.entry(accounts.branch(queue)).or_default();
        branch.queues.insert(queue);
        branch.best = None;
    }

    /// Takes out who goes next; heads that may not start go last.
    pub(super) fn pop(
        &mut self,
        accounts: &Accounts,
    ) -> Option<(Cow<'a, Request>, Option<Standing>)> {
        let (queue, standing) = loop {
            let (branch, best) = self.first(accounts)?;
            if claim(&self.lines, accounts, best.0) == best.1 {
                break best;
            }
            // Others have used up what it counted on.
            self.branches.get_mut(&branch)?.best = None;
        };
        let line = self.lines.get_mut(&queue)?;
        let (_, request) = line.pop_first()?;
        let done = line.is_empty();
        let above = accounts.branch(queue);
        if done {
            self.lines.remove(&queue);
        }
        if let Some(branch) = self.branches.get_mut(&above) {
            branch.best = None;
            if done {
                branch.queues.remove(&queue);
            }
            if branch.queues.is_empty() {
                self.branches.remove(&above);
            }
        }
        Some((request, standing))
    }

    /// Something was given back: everybody's claim may be stronger.
    pub(super) fn look_again(&mut self) {
        for branch in self.branches.values_mut() {
            branch.best = None;
        }
    }

    fn first(&mut self, accounts: &Accounts) -> Option<(QueueId, Head)> {
        let mut first: Option<(QueueId, Head)> = None;
        for (above, branch) in &mut self.branches {
            if branch.best.is_none() {
                for queue in &branch.queues {
                    let head = (*queue, claim(&self.lines, accounts, *queue));
                    if branch
                        .best
                        .is_none_or(|best| goes_before(accounts, head, best))
                    {
                        branch.best = Some(head);
                    }
                }
            }
            let Some(best) = branch.best else { continue };
            if first.is_none_or(|(_, first)| goes_before(accounts, best, first)) {
                first = Some((*above, best));
            }
        }
        first
    }
}

fn claim(
    lines: &BTreeMap<QueueId, BTreeMap<Place, Cow<'_, Request>>>,
    accounts: &Accounts,
    queue: QueueId,
) -> Option<Standing> {
    let (_, head) = lines.get(&queue)?.first_key_value()?;
    accounts.claim(head)
}

/// Whether one head goes before another. Of two that may not start the queue of the lower number.
fn goes_before(accounts: &Accounts, one: Head, other: Head) -> bool {
    match (one.1, other.1) {
        (Some(mine), Some(standing)) => {
            let order = accounts.shares.compare(one.0, mine, other.0, standing);
            order == Ordering::Less || order == Ordering::Equal && one.0 < other.0
        }
        (Some(_), None) => true,
        (None, Some(_)) => false,
        (None, None) => one.0 < other.0,
    }
}
