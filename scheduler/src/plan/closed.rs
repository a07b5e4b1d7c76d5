//! Nodes that a limit closes: which product a workload will use, and what of it, is known only once its node is; so a limit of devices
//! is asked for each kind of node.

use crate::fleet::{Node, PRODUCT_LABELS};

/// Kinds of nodes, told apart by their devices, on which a workload would break a limit of its queue; and which.
#[derive(Clone, Debug, Default)]
pub(super) struct Closed(Vec<(Node, String)>);

impl Closed {
    /// Closes nodes like this one.
    pub(super) fn close(&mut self, like: &Node, why: String) {
        self.0.push((like.clone(), why));
    }

    /// Whether nothing is closed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why nothing is to be put on a node.
    pub(super) fn on(&self, node: &Node) -> Option<&str> {
        let found = self.0.iter().find(|(like, _)| alike(like, node));
        found.map(|(_, why)| why.as_str())
    }
}

/// Whether what is used on two nodes counts the same.
pub(super) fn alike(a: &Node, b: &Node) -> bool {
    let devices = match (a.allocatable.devices(), b.allocatable.devices()) {
        (Some(a), Some(b)) => a.is_laid_out_like(b),
        (None, None) => true,
        _ => false,
    };
    let said = a.labels.iter().filter(|(key, _)| is_said(key));
    devices && said.eq(b.labels.iter().filter(|(key, _)| is_said(key)))
}

/// Whether a label says how devices come about.
pub(super) fn is_said(key: &str) -> bool {
    PRODUCT_LABELS.contains(&key)
        || key.contains("/mig-")
        || key.ends_with("/gpu.replicas")
        || key.ends_with("/gpu.sharing-strategy")
}
