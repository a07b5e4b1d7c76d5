//! Sentences for people: what is asked, what is missing, with numbers.

use placement_api::devices::class_of_resource;
use placement_api::kinds::Strategy;
use placement_api::quantity::ResourceVector;
use placement_api::toleration::{Taint, TaintEffect};

use super::Avoid;
use super::needs::{Needs, SetNeed};
use crate::fleet::{Fleet, is_extended};

/// "4 pods × 2 nvidia.com/gpu", several roles joined by " and ".
pub(super) fn asks(needs: &Needs<'_>) -> String {
    let one = |need: &SetNeed<'_>| {
        let count = need.set.count;
        let noun = if needs.request.strategy == Strategy::Divide {
            "replica"
        } else {
            "pod"
        };
        let each = amounts(&need.set.requests);
        let times = if each.is_empty() {
            String::new()
        } else {
            format!(" × {each}")
        };
        format!("{}{times}", many(count, noun))
    };
    needs.sets.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// "2 nvidia.com/gpu" where devices are asked, else "500m cpu, 1Gi memory".
pub(super) fn amounts(requests: &ResourceVector) -> String {
    let list = requests.to_list();
    let devices: Vec<String> = list
        .iter()
        .filter(|(name, _)| is_extended(name))
        .map(|(name, amount)| format!("{amount} {}", class_of_resource(name).unwrap_or(name)))
        .collect();
    if !devices.is_empty() {
        return devices.join(", ");
    }
    list.iter()
        .map(|(name, amount)| format!("{amount} {name}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A resource as people say it: `nvidia.com/gpu`, "devices of class gpu.nvidia.com".
pub(super) fn resource(name: &str) -> String {
    class_of_resource(name).map_or_else(
        || name.to_owned(),
        |class| format!("devices of class {class}"),
    )
}

/// The last word of a level's label: `topology.kubernetes.io/rack` is a rack, a host name is a node.
pub(super) fn level(label: &str) -> &str {
    match label.rsplit(['/', '.']).next().unwrap_or(label) {
        "hostname" => "node",
        word => word,
    }
}

/// "key=value:Effect".
pub(super) fn taint(taint: &Taint) -> String {
    let effect = match taint.effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    };
    let value = if taint.value.is_empty() {
        String::new()
    } else {
        format!("={}", taint.value)
    };
    format!("{}{value}:{effect}", taint.key)
}

/// "1 pod", "3 pods".
pub(super) fn many(count: i64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// "2026-11-21T14:33:05Z": what is stored says when, so that it does not grow old.
pub(super) fn moment(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| format!("{time:.0}"))
}

/// "Job vision/pretrain".
pub(super) fn reference(request: &super::Request) -> String {
    if request.namespace.is_empty() {
        format!("{} {}", request.kind, request.name)
    } else {
        format!("{} {}/{}", request.kind, request.namespace, request.name)
    }
}

/// Why a target is not among the Locations.
pub(super) fn not_in(fleet: &Fleet, tiers: &[String]) -> String {
    let unknown: Vec<&str> = tiers
        .iter()
        .filter(|name| fleet.location(name).is_none())
        .map(String::as_str)
        .collect();
    match unknown[..] {
        [] => format!("not in {}", tiers.join(", ")),
        [one] => format!("Location {one:?} does not exist"),
        _ => format!("Locations {} do not exist", unknown.join(", ")),
    }
}

/// What the member said, and for how long it is avoided.
pub(super) fn refused(avoid: &Avoid) -> String {
    format!(
        "refused it: {} (tried again at {})",
        avoid.message.trim(),
        moment(avoid.until_ms)
    )
}

/// What the pods ask of a node's labels.
pub(super) fn selector(need: &SetNeed<'_>) -> String {
    let labels: Vec<String> = need
        .set
        .node_selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    match (labels.is_empty(), need.set.affinity.is_some()) {
        (false, false) => labels.join(", "),
        (false, true) => format!("{} and the pods' node affinity", labels.join(", ")),
        (true, _) => "the pods' node affinity".to_owned(),
    }
}
