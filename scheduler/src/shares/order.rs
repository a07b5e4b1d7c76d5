//! Who is next, and who pays: queues in order for the next start, and for reclaim.

use std::cmp::{Ordering, Reverse};

use super::account::Shares;
use super::claims::Standing;
use super::dims::Ask;
use super::tree::QueueId;
use super::wide::mul_div;

/// A share of 1 in the numbers that are compared here.
const WHOLE: u128 = 1 << 40;

/// A child of a queue, or the queue's own line beside its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Branch {
    /// Workloads that name the parent itself.
    Line(QueueId),
    /// A child with all below it.
    Queue(QueueId),
}

/// Where a branch stands beside the others of its parent; smaller goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Borrowers: those of weight 0 last, then the higher queue priority first.
    class: (bool, i64),
    /// The part of its entitlement that it has; borrowers: what they have above it, by weight.
    excess: u128,
    /// Past use: who had less goes first.
    past: u128,
    branch: Branch,
}

/// What a victim's branch has above its entitlement; larger pays first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Excess {
    /// As a share of the whole, in 2⁻⁴⁰; negative: below.
    pub share: i128,
    /// Past use: who had more pays first.
    past: u128,
    /// Then by number, the first first.
    branch: Reverse<Branch>,
}

impl Shares {
    /// The order in which the heads of two queues start: the stronger claim first; then at their nearest common parent the branch
    /// that has the smaller part of its entitlement; among borrowers the higher queue priority, then the smaller excess by
    /// weight; then less past use; then the name. A total order as long as nothing is charged or divided.
    pub fn compare(
        &self,
        a: QueueId,
        a_standing: Standing,
        b: QueueId,
        b_standing: Standing,
    ) -> Ordering {
        a_standing.cmp(&b_standing).then_with(|| {
            let (one, other) = self.branches(a, b);
            if one == other {
                return Ordering::Equal;
            }
            let rank = |branch| self.rank(branch, a_standing);
            rank(one).cmp(&rank(other))
        })
    }

    /// At the nearest common parent of claimant and victim: the victim's branch, and how far it is above its entitlement in what
    /// the claimant asks. `None` where both are in one line: there nobody is reclaimed from.
    pub fn excess(&self, claimant: QueueId, victim: QueueId, ask: &Ask) -> Option<Excess> {
        let (mine, branch) = self.branches(claimant, victim);
        (mine != branch).then(|| self.excess_of(branch, ask))
    }

    /// How far a branch is above its entitlement in what is asked: as a share of all there is, in the resource where it is most.
    pub fn excess_of(&self, branch: Branch, ask: &Ask) -> Excess {
        let (used, entitled) = self.stand(branch);
        let share = ask
            .0
            .iter()
            .filter(|(dim, _)| self.measures.capacity(*dim) > 0)
            .map(|(dim, _)| {
                let above = used[*dim] - entitled[*dim];
                let part = mul_div(
                    above.unsigned_abs(),
                    WHOLE,
                    self.measures.capacity(*dim).unsigned_abs(),
                );
                i128::try_from(part).unwrap_or(i128::MAX) * above.signum()
            })
            .max()
            .unwrap_or(0);
        Excess {
            share,
            past: self.past_share(branch),
            branch: Reverse(branch),
        }
    }

    /// Whether a queue would fall below its entitlement (`guarantee`: below what of its guarantee it claims), itself or one above it
    /// up to but without `parent`, if so much of its use were taken away.
    pub fn falls_below(
        &self,
        victim: QueueId,
        parent: QueueId,
        ask: &Ask,
        guarantee: bool,
    ) -> bool {
        let gone = |used: &[i128], owed: &[i128]| {
            ask.0.iter().any(|(dim, amount)| {
                self.measures.capacity(*dim) > 0
                    && used[*dim] - amount + self.dims.get(*dim).slack < owed[*dim]
            })
        };
        if !guarantee
            && gone(
                self.line_used.row(victim.0),
                self.division.line.row(victim.0),
            )
        {
            return true;
        }
        self.tree
            .path(victim)
            .take_while(|one| *one != parent)
            .any(|one| {
                let owed = if guarantee {
                    self.division.sure.row(one.0)
                } else {
                    self.division.entitled.row(one.0)
                };
                gone(self.used.row(one.0), owed)
            })
    }

    /// Whether a queue, or one above it up to but without `parent`, is not above what of its guarantee it claims and would have still less if so much
    /// of its use were taken away: one gang may reach across that line, but who stands at it loses nothing.
    pub fn is_at_guarantee(&self, victim: QueueId, parent: QueueId, ask: &Ask) -> bool {
        let mut path = self.tree.path(victim).take_while(|one| *one != parent);
        path.any(|one| {
            let (used, sure) = (self.used.row(one.0), self.division.sure.row(one.0));
            ask.0.iter().any(|(dim, amount)| {
                let slack = self.dims.get(*dim).slack;
                self.measures.capacity(*dim) > 0
                    && used[*dim] <= sure[*dim] + slack
                    && used[*dim] - amount + slack < sure[*dim]
            })
        })
    }

    /// The branches of two queues below their nearest common parent.
    pub fn branches(&self, a: QueueId, b: QueueId) -> (Branch, Branch) {
        let met = self.tree.meet(a, b);
        let branch = |child: Option<QueueId>| child.map_or(Branch::Line(met.parent), Branch::Queue);
        (branch(met.a), branch(met.b))
    }

    /// Time has passed: what is used now becomes past use, and past use fades.
    pub fn advance(&mut self, now_ms: i64) {
        self.past.advance(&self.used, now_ms);
    }

    /// Half-life of past use; 0: it does not count.
    pub fn set_half_life(&mut self, half_life_ms: i64) {
        self.past.set_half_life(half_life_ms);
    }

    /// Where a branch stands beside the others of its parent, for claims of this standing. No two rank the same.
    pub fn rank(&self, branch: Branch, standing: Standing) -> Rank {
        let borrows = standing == Standing::Borrows;
        let (used, entitled) = self.stand(branch);
        let (used, entitled) = (self.share(used), self.share(entitled));
        let (weight, priority) = match branch {
            Branch::Line(_) => (1, 0),
            Branch::Queue(queue) => {
                let spec = self.tree.spec(queue);
                (spec.weight, spec.priority)
            }
        };
        let (class, excess) = if borrows {
            let above = used.saturating_sub(entitled) / u128::from(weight.max(1));
            ((weight == 0, -i64::from(priority)), above)
        } else {
            // Rounded to the nearest, so that equal fractions are equal.
            let parts = mul_div(used, WHOLE, entitled);
            let rest = mul_div(used, 2 * WHOLE, entitled) % 2;
            ((false, 0), parts.saturating_add(rest))
        };
        Rank {
            class,
            excess,
            past: self.past_share(branch),
            branch,
        }
    }

    /// Use and entitlement of a branch.
    fn stand(&self, branch: Branch) -> (&[i128], &[i128]) {
        match branch {
            Branch::Line(queue) => (self.line_used.row(queue.0), self.division.line.row(queue.0)),
            Branch::Queue(queue) => (self.used.row(queue.0), self.division.entitled.row(queue.0)),
        }
    }

    fn share(&self, row: &[i128]) -> u128 {
        let share = self.measures.dominant(row, |_| true);
        share.map_or(0, |share| mul_div(share.part, WHOLE, share.whole))
    }

    fn past_share(&self, branch: Branch) -> u128 {
        match branch {
            Branch::Line(queue) => self.share(&self.past_of_line(queue)),
            Branch::Queue(queue) => self.share(self.past.row(queue.0)),
        }
    }
}
