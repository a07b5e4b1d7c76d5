//! May this start: where a claim stands against guarantee, entitlement and limits. Every question is O(depth).

use placement_api::reason::Reason;

use super::account::Shares;
use super::dims::{Ask, UNLIMITED};
use super::tree::{QueueId, QueueTree};

/// Where a claim stands; the smaller, the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Within the guarantee of its queue or of one above, and within its entitlement.
    Guaranteed,
    /// Within its entitlement.
    Entitled,
    /// Its queue is below its entitlement; this claim reaches across.
    Reaches,
    /// Its queue is not below its entitlement in all that is asked: it may use what nobody entitled can use now.
    Borrows,
}

/// Why a claim may not start, whatever is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `QueueLimit` or `ShareExhausted`.
    pub reason: Reason,
    /// The queue whose limit, or whose kept guarantee, is in the way.
    pub queue: QueueId,
    /// Queue, resource and numbers, for people.
    pub message: String,
}

impl Shares {
    /// Whether a claim may start if there is room for it, and how strong it is.
    pub fn may_start(
        &self,
        queue: QueueId,
        ask: &Ask,
        preemptible: bool,
    ) -> Result<Standing, Refusal> {
        match self.beyond_limit(queue, ask) {
            Some(refusal) => Err(refusal),
            None => self.may_use(queue, ask, preemptible),
        }
    }

    /// The same without the words of a limit: `None` where it may not start.
    pub fn claim(&self, queue: QueueId, ask: &Ask, preemptible: bool) -> Option<Standing> {
        match self.limited_by(queue, ask) {
            Some(_) => None,
            None => self.may_use(queue, ask, preemptible).ok(),
        }
    }

    /// Whether a claim that breaks no limit may start.
    fn may_use(&self, queue: QueueId, ask: &Ask, preemptible: bool) -> Result<Standing, Refusal> {
        let standing = self.standing(queue, ask);
        if standing == Standing::Borrows
            && let Some(refusal) = self.keeps_out(queue, ask)
        {
            return Err(refusal);
        }
        if !preemptible && let Some(refusal) = self.would_pin(queue, ask) {
            return Err(refusal);
        }
        Ok(standing)
    }

    /// How strong a claim is. Limits are not looked at. As of the last [`Self::divide`].
    pub fn standing(&self, queue: QueueId, ask: &Ask) -> Standing {
        let used = self.line_used.row(queue.0);
        let entitled = self.division.line.row(queue.0);
        let (mut within, mut below) = (true, true);
        for (dim, amount) in self.divided(ask) {
            let left = entitled[dim] - used[dim];
            let slack = self.dims.get(dim).slack;
            within &= amount <= left + slack;
            below &= left > slack;
        }
        match (within, below) {
            (true, _) if self.is_guaranteed(queue, ask) => Standing::Guaranteed,
            (true, _) => Standing::Entitled,
            (false, true) => Standing::Reaches,
            (false, false) => Standing::Borrows,
        }
    }

    /// Whether the queue is below its entitlement in all that is asked: then it may claim it from those who are above theirs.
    pub fn is_below(&self, queue: QueueId, ask: &Ask) -> bool {
        self.standing(queue, ask) < Standing::Borrows
    }

    /// The queue, this one or one above, whose limit the claim would break.
    pub fn limited_by(&self, queue: QueueId, ask: &Ask) -> Option<QueueId> {
        self.broken_limit(queue, ask).map(|(one, ..)| one)
    }

    /// Whether more is used than a limit of the queue, or of one above, allows.
    pub fn is_over_limit(&self, queue: QueueId) -> bool {
        self.tree.path(queue).any(|one| {
            let (used, limit) = (self.used.row(one.0), self.terms.limit.row(one.0));
            used.iter().zip(limit).any(|(used, limit)| used > limit)
        })
    }

    /// The limit, of the queue or of one above, that the claim would break. Devices of a product are compared where the claim names it.
    pub fn beyond_limit(&self, queue: QueueId, ask: &Ask) -> Option<Refusal> {
        let (one, dim, amount) = self.broken_limit(queue, ask)?;
        let (used, limit) = (self.used.row(one.0), self.terms.limit.row(one.0));
        let message = format!(
            "queue {} has a limit of {}; {} are used, {} more are asked",
            self.title(one),
            self.dims.show(dim, limit[dim]),
            self.number(dim, used[dim]),
            self.number(dim, amount),
        );
        Some(Refusal {
            reason: Reason::QueueLimit,
            queue: one,
            message,
        })
    }

    /// The queue whose limit would be broken, and by how much more of what.
    fn broken_limit(&self, queue: QueueId, ask: &Ask) -> Option<(QueueId, usize, i128)> {
        self.tree.path(queue).find_map(|one| {
            let (used, limit) = (self.used.row(one.0), self.terms.limit.row(one.0));
            let mut asked = ask.0.iter();
            let (dim, amount) = asked.find(|(dim, amount)| used[*dim] + amount > limit[*dim])?;
            Some((one, *dim, *amount))
        })
    }

    /// Whether devices have a limit, in the queue or in one above: then it matters which are used.
    pub fn limits_devices(&self, queue: QueueId) -> bool {
        let limits = |one: QueueId, dim: usize| self.terms.limit.row(one.0)[dim] < UNLIMITED;
        self.tree.path(queue).any(|one| {
            let mut dims = self.dims.iter();
            dims.any(|(dim, name)| name.is_device() && limits(one, dim))
        })
    }

    /// What `lend: false` keeps free and the claim would take. Entitled claims are told too: others have to give way first.
    pub fn keeps_out(&self, queue: QueueId, ask: &Ask) -> Option<Refusal> {
        for (dim, amount) in self.divided(ask) {
            let capacity = self.measures.capacity(dim);
            let (before, after) = self.kept.with(&self.tree, queue, dim, amount);
            if after <= capacity + self.dims.get(dim).slack || after == before {
                continue;
            }
            let keeper = self.most_idle(queue, |one| self.kept.idle(one, dim));
            // Nobody keeps anything: it is merely full, and that is not for us to say.
            let Some(keeper) = keeper else { continue };
            return Some(Refusal {
                reason: Reason::ShareExhausted,
                queue: keeper,
                message: format!(
                    "queue {} is entitled to {} and uses {}; what is free beyond that is kept for queue {} ({}, lend: false)",
                    self.title(queue),
                    self.dims.show(dim, self.division.line.row(queue.0)[dim]),
                    self.number(dim, self.line_used.row(queue.0)[dim]),
                    self.title(keeper),
                    self.dims.show(dim, self.kept.idle(keeper, dim)),
                ),
            });
        }
        None
    }

    /// Guarantees, idle ones too, that could not be met beside this claim if it can never be taken away again. Not asked where
    /// the claim ends before anybody needs the room: the planner knows that.
    pub fn would_pin(&self, queue: QueueId, ask: &Ask) -> Option<Refusal> {
        for (dim, amount) in self.divided(ask) {
            let capacity = self.measures.capacity(dim);
            let (before, after) = self.pinned.with(&self.tree, queue, dim, amount);
            if after <= capacity + self.dims.get(dim).slack || after == before {
                continue;
            }
            let idle = |one: QueueId| self.pinned.idle(one, dim);
            let owner = self.most_idle(queue, idle).unwrap_or(queue);
            return Some(Refusal {
                reason: Reason::ShareExhausted,
                queue: owner,
                message: format!(
                    "it may not be preempted and reaches beyond the {} guaranteed to queue {}: of {} there would be no longer enough for the guarantees of others (queue {}: {})",
                    self.dims.show(dim, self.terms.guaranteed.row(queue.0)[dim]),
                    self.title(queue),
                    self.dims.show(dim, capacity),
                    self.title(owner),
                    self.dims.show(dim, self.terms.guaranteed.row(owner.0)[dim]),
                ),
            });
        }
        None
    }

    /// Within the guarantee of the queue or of one above: in every resource that one names, and it names at least one of them.
    pub fn is_guaranteed(&self, queue: QueueId, ask: &Ask) -> bool {
        self.tree
            .path(queue)
            .filter(|one| *one != QueueTree::ROOT)
            .any(|one| {
                let guaranteed = self.terms.guaranteed.row(one.0);
                let (sure, used) = (self.division.sure.row(one.0), self.used.row(one.0));
                let mut named = self
                    .divided(ask)
                    .filter(|(dim, _)| guaranteed[*dim] > 0)
                    .map(|(dim, amount)| used[dim] + amount <= sure[dim] + self.dims.get(dim).slack)
                    .peekable();
                named.peek().is_some() && named.all(|fits| fits)
            })
    }

    /// What is asked of what there is anything to divide.
    fn divided<'a>(&'a self, ask: &'a Ask) -> impl Iterator<Item = (usize, i128)> + 'a {
        ask.0
            .iter()
            .copied()
            .filter(|(dim, _)| self.measures.capacity(*dim) > 0)
    }

    /// The queue, not on the way from this one to the root, that is owed most.
    fn most_idle(&self, queue: QueueId, idle: impl Fn(QueueId) -> i128) -> Option<QueueId> {
        self.tree
            .ids()
            .filter(|one| idle(*one) > 0 && !self.tree.is_within(queue, *one))
            .max_by_key(|one| (idle(*one), std::cmp::Reverse(*one)))
    }

    /// A queue's name in messages.
    fn title(&self, queue: QueueId) -> &str {
        match self.tree.name(queue) {
            "" => super::tree::DEFAULT_QUEUE,
            name => name,
        }
    }

    /// An amount without the name of its dimension.
    fn number(&self, dim: usize, grains: i128) -> String {
        let shown = self.dims.show(dim, grains);
        let name = shown.rfind(' ').unwrap_or(shown.len());
        shown[..name].to_owned()
    }
}
