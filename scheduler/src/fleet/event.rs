//! What changed in the fleet, as far as it may help somebody who waits.

use std::collections::BTreeSet;

use serde::Serialize;

use super::TargetName;

/// What changed: which targets became something else, and of which resources more became free. Add several up with
/// [`Event::merge`] and hand the sum to [`crate::plan::Waiting::wake`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Everybody may be concerned: Locations or levels changed.
    pub all: bool,
    /// Targets that are new, gone, or changed state, labels, taints, kinds or the shape of their nodes. Who has a part
    /// there is concerned as well as who waits.
    pub targets: BTreeSet<TargetName>,
    /// Resources of which some node has more free than before.
    pub freed: BTreeSet<String>,
}

impl Event {
    /// Nothing that could help anybody.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Whether it can help nobody.
    pub fn is_nothing(&self) -> bool {
        !self.all && self.targets.is_empty() && self.freed.is_empty()
    }

    /// Adds another event.
    pub fn merge(&mut self, other: Self) {
        self.all |= other.all;
        self.targets.extend(other.targets);
        self.freed.extend(other.freed);
    }

    pub(crate) fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    pub(crate) fn target(name: &TargetName) -> Self {
        Self {
            targets: [name.clone()].into(),
            ..Self::default()
        }
    }

    pub(crate) fn freed(resources: BTreeSet<String>) -> Self {
        Self {
            freed: resources,
            ..Self::default()
        }
    }
}
