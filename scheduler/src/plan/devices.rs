//! Why the devices of a target do not meet claims, in words.

use std::collections::BTreeSet;

use placement_api::devices::{DeviceClaim, DeviceCount, DeviceRequest, class_resource};
use placement_api::reason::Reason;

use super::needs::SetNeed;
use super::words;
use crate::fleet::devices::{Lack, lack};
use crate::fleet::{Fleet, Node, Target};

/// What of the claims no device of the target meets, free or not.
pub(super) fn obstacle(need: &SetNeed<'_>, target: &Target) -> Option<(Reason, String)> {
    let devices = need
        .demand
        .devices()
        .filter(|devices| devices.has_claims())?;
    let nodes = target.nodes().filter_map(|node| node.allocatable.devices());
    Some(match lack(devices, nodes)? {
        Lack::NoDevice { class } => (
            Reason::NoDevice,
            format!("no node has devices of class {class}"),
        ),
        Lack::NoMatch {
            class,
            count,
            selectors,
        } => (
            Reason::SelectorMismatch,
            format!(
                "none of {} of class {class} meets {}",
                words::many(count, "device"),
                selectors.join(" and ")
            ),
        ),
        Lack::Unclear { class, message } => (
            Reason::SelectorMismatch,
            format!("whether devices of class {class} match cannot be told: {message}"),
        ),
        Lack::Tainted {
            class,
            count,
            taint,
        } => {
            let value = match taint.value.as_str() {
                "" => String::new(),
                value => format!("={value}"),
            };
            (
                Reason::TaintNotTolerated,
                format!(
                    "{} of class {class} would do, but for the taint {}{value}:{}",
                    words::many(count, "device"),
                    taint.key,
                    taint.effect
                ),
            )
        }
    })
}

/// Where amounts would be enough on some empty node, but no node has the devices at once.
pub(super) fn impossible(need: &SetNeed<'_>, nodes: &[&Node]) -> Option<String> {
    let by_amount = |node: &&Node| need.demand.copies_by_amount(&node.allocatable) > 0;
    (need.demand.has_claims() && nodes.iter().any(by_amount))
        .then(|| format!("no node, empty, has {} at once", asked(&need.set.claims)))
}

/// Claims whose devices are all in use; they may be of several classes, so that no single number says it.
pub(super) fn full(need: &SetNeed<'_>) -> Option<String> {
    (need.demand.has_claims() && need.devices.is_empty())
        .then(|| format!("full: no node has {} free", asked(&need.set.claims)))
}

/// Numbers of the resources that count the devices which the claims may have.
pub(super) fn resources(fleet: &Fleet, need: &SetNeed<'_>) -> BTreeSet<usize> {
    let requests = need.set.claims.iter().flat_map(|claim| &claim.requests);
    let classes = requests.flat_map(|request| &request.alternatives);
    classes
        .filter_map(|one| fleet.resources().find(&class_resource(&one.class)))
        .collect()
}

/// "1 large.example.com or 2 small.example.com".
fn asked(claims: &[DeviceClaim]) -> String {
    let request = |request: &DeviceRequest| {
        let alternatives = request.alternatives.iter().map(|one| match one.count {
            DeviceCount::Exact(count) => format!("{count} {}", one.class),
            DeviceCount::All => format!("all {}", one.class),
        });
        alternatives.collect::<Vec<_>>().join(" or ")
    };
    let requests = claims.iter().flat_map(|claim| &claim.requests);
    requests.map(request).collect::<Vec<_>>().join(" and ")
}
