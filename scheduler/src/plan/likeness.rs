//! When two requests of one role are equal in everything that matters for where it may go.

use std::collections::BTreeSet;

use placement_api::kinds::Packing;
use placement_api::selector::{Labels, NodeSelector};
use placement_api::toleration::Toleration;

use super::needs::{Needs, SetNeed};

/// What matters beside what a pod asks.
#[derive(Clone, Debug)]
pub(super) struct Likeness {
    selector: Labels,
    affinity: Option<NodeSelector>,
    /// Those of pods and request together, and those of the request.
    tolerations: Vec<Toleration>,
    own: Vec<Toleration>,
    pub(super) packing: Packing,
    tiers: Vec<String>,
    kinds: BTreeSet<String>,
    data: BTreeSet<String>,
}

impl Likeness {
    pub(super) fn of(needs: &Needs<'_>, need: &SetNeed<'_>) -> Self {
        let request = needs.request;
        Self {
            selector: need.set.node_selector.clone(),
            affinity: need.set.affinity.clone(),
            tolerations: need.tolerations().to_vec(),
            own: request.tolerations.clone(),
            packing: needs.packing,
            tiers: request.tiers.clone(),
            kinds: request.kinds.clone(),
            data: request.data.clone(),
        }
    }

    pub(super) fn is_of(&self, needs: &Needs<'_>, need: &SetNeed<'_>) -> bool {
        let request = needs.request;
        self.selector == need.set.node_selector
            && self.affinity == need.set.affinity
            && self.tolerations == need.tolerations()
            && self.own == request.tolerations
            && self.packing == needs.packing
            && self.tiers == request.tiers
            && self.kinds == request.kinds
            && self.data == request.data
    }
}
