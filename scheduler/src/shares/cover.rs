//! Room that must be there for a tree of floors: at each queue the larger of what its children and its line need together and a
//! floor of its own. One more in a line costs O(depth).

use super::dims::{Ask, Table};
use super::tree::{QueueId, QueueTree};

/// Floors, and what stands on them.
#[derive(Clone, Debug, Default)]
pub(super) struct Cover {
    floor: Table,
    /// Covers of the children and the line.
    inside: Table,
}

impl Cover {
    /// A cover over what is in the lines.
    pub(super) fn new(tree: &QueueTree, floor: Table, lines: &Table) -> Self {
        let mut inside = lines.clone();
        for queue in tree.ids().collect::<Vec<_>>().into_iter().rev() {
            let Some(parent) = tree.parent(queue) else {
                continue;
            };
            for (dim, least) in floor.row(queue.0).iter().enumerate() {
                let cover = inside.row(queue.0)[dim].max(*least);
                inside.row_mut(parent.0)[dim] += cover;
            }
        }
        Self { floor, inside }
    }

    /// One more (or, with a negative sign, one less) in a line.
    pub(super) fn add(&mut self, tree: &QueueTree, queue: QueueId, ask: &Ask, sign: i128) {
        for (dim, amount) in &ask.0 {
            let mut more = sign * amount;
            for one in tree.path(queue) {
                let least = self.floor.row(one.0)[*dim];
                let inside = &mut self.inside.row_mut(one.0)[*dim];
                let before = least.max(*inside);
                *inside += more;
                more = least.max(*inside) - before;
                if more == 0 {
                    break;
                }
            }
        }
    }

    /// What the whole tree needs of a dimension now, and with so much more in one line.
    pub(super) fn with(
        &self,
        tree: &QueueTree,
        queue: QueueId,
        dim: usize,
        amount: i128,
    ) -> (i128, i128) {
        let mut more = amount;
        for one in tree.path(queue) {
            let least = self.floor.row(one.0)[dim];
            let inside = self.inside.row(one.0)[dim];
            more = (inside + more).max(least) - inside.max(least);
        }
        let root = QueueTree::ROOT.0;
        let now = self.inside.row(root)[dim].max(self.floor.row(root)[dim]);
        (now, now + more)
    }

    /// How much of its floor a queue does not fill.
    pub(super) fn idle(&self, queue: QueueId, dim: usize) -> i128 {
        (self.floor.row(queue.0)[dim] - self.inside.row(queue.0)[dim]).max(0)
    }

    pub(super) fn widen(&mut self, width: usize) {
        self.floor.widen(width);
        self.inside.widen(width);
    }
}
