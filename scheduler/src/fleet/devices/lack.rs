//! What of a need no device meets, taken or free.

use std::collections::BTreeSet;

use placement_api::kinds::DeviceTaint;

use super::need::Alternative;
use super::{DeviceNeed, NodeDevices};

/// What is missing for a request, from the hardest to overcome to the least.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lack {
    /// No node has a device of the class.
    NoDevice { class: String },
    /// There are some, but none meets the selectors.
    NoMatch {
        class: String,
        count: i64,
        selectors: Vec<String>,
    },
    /// It cannot be told which meet them.
    Unclear { class: String, message: String },
    /// Those that would do have a taint.
    Tainted {
        class: String,
        count: i64,
        taint: DeviceTaint,
    },
}

/// The first request that no device of these nodes meets, and what is missing for the alternative that is nearest.
pub(crate) fn lack<'a>(
    need: &DeviceNeed,
    nodes: impl Iterator<Item = &'a NodeDevices>,
) -> Option<Lack> {
    let nodes: Vec<&NodeDevices> = nodes.collect();
    let claims = need.claims.iter().filter(|claim| claim.backs.is_none());
    claims
        .flat_map(|claim| &claim.requests)
        .find_map(|request| {
            let lacks = request.alternatives.iter().map(|one| missing(one, &nodes));
            let lacks: Option<Vec<Lack>> = lacks.collect();
            lacks?.into_iter().max()
        })
}

fn missing(one: &Alternative, nodes: &[&NodeDevices]) -> Option<Lack> {
    let count = |set: &BTreeSet<(usize, usize)>| -> i64 {
        let groups = nodes
            .iter()
            .filter_map(|node| Some((node.classes.get(&one.class)?, node)));
        groups
            .flat_map(|(class, node)| node.layout.groups.iter().map(move |group| (class, group)))
            .filter(|(class, group)| set.contains(&(**class, group.number)))
            .map(|(_, group)| group.count)
            .sum()
    };
    let class = one.class.clone();
    if count(&one.fits) > 0 {
        return None;
    }
    let tainted = count(&one.tainted);
    if tainted > 0 {
        let shapes = nodes.iter().flat_map(|node| &node.layout.groups);
        let of = |number: usize| one.tainted.iter().any(|(_, shape)| *shape == number);
        let taint = shapes
            .filter(|group| of(group.number))
            .find_map(|group| group.shape.taints.first().cloned());
        return Some(Lack::Tainted {
            class,
            count: tainted,
            taint: taint.unwrap_or_default(),
        });
    }
    let unclear: BTreeSet<(usize, usize)> = one.unclear.keys().copied().collect();
    if count(&unclear) > 0 {
        let message = one.unclear.values().next().cloned().unwrap_or_default();
        return Some(Lack::Unclear { class, message });
    }
    let count = count(&one.of_class);
    if count > 0 {
        let selectors = one.selectors.clone();
        return Some(Lack::NoMatch {
            class,
            count,
            selectors,
        });
    }
    Some(Lack::NoDevice { class })
}
