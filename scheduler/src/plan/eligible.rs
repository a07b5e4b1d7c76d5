//! Which targets may take new pods of a workload at all, whatever room they have.

use placement_api::reason::Reason;
use placement_api::toleration::{BLOCKING, TaintEffect, tolerates};

use super::Request;
use super::words;
use crate::fleet::{Fleet, Target, TargetName, TargetState};

/// Targets that may take it, in tiers; each target in the first tier that has it.
pub(super) fn tiers(fleet: &Fleet, request: &Request, now_ms: i64) -> Vec<Vec<TargetName>> {
    let count = request.tiers.len().max(1);
    let mut tiers = vec![Vec::new(); count];
    for (name, target) in fleet.targets() {
        if let Some(tier) = tier_of(fleet, request, target)
            && obstacle(fleet, request, name, target, now_ms).is_none()
        {
            tiers[tier].push(name.clone());
        }
    }
    tiers
}

/// The first tier whose Location selects this target.
pub(super) fn tier_of(fleet: &Fleet, request: &Request, target: &Target) -> Option<usize> {
    if request.tiers.is_empty() {
        return Some(0);
    }
    request.tiers.iter().position(|name| {
        fleet
            .location(name)
            .is_some_and(|selector| selector.matches(&target.labels))
    })
}

/// What keeps the workload away from a target; of several obstacles the hardest to overcome.
pub(super) fn obstacle(
    fleet: &Fleet,
    request: &Request,
    name: &TargetName,
    target: &Target,
    now_ms: i64,
) -> Option<(Reason, String)> {
    let mut found: Vec<(Reason, String)> = Vec::new();
    if tier_of(fleet, request, target).is_none() {
        return Some((Reason::NoLocation, words::not_in(fleet, &request.tiers)));
    }
    if let Some(avoid) = request
        .avoid
        .get(name)
        .filter(|avoid| avoid.until_ms > now_ms)
    {
        found.push((Reason::RefusedByTarget, words::refused(avoid)));
    }
    if let Err(taint) = tolerates(&request.tolerations, &target.taints, BLOCKING) {
        found.push((
            Reason::TaintNotTolerated,
            format!("taint {} is not tolerated", words::taint(taint)),
        ));
    }
    match target.state {
        TargetState::Ready => {}
        TargetState::Pending => found.push((
            Reason::NoLocation,
            "registered, but its agent has not reported yet".to_owned(),
        )),
        TargetState::Cordoned => found.push((
            Reason::TargetCordoned,
            "cordoned: takes nothing new".to_owned(),
        )),
        TargetState::Draining => found.push((
            Reason::TargetCordoned,
            "being drained: takes nothing new".to_owned(),
        )),
        TargetState::Lost => {
            let seen = words::moment(target.last_contact_ms);
            found.push((Reason::TargetLost, format!("lost: last contact {seen}")));
        }
    }
    if let Some(served) = &target.served
        && target.state != TargetState::Pending
        && let Some(missing) = request.kinds.iter().find(|kind| !served.contains(*kind))
    {
        found.push((Reason::KindNotServed, format!("does not serve {missing}")));
    }
    found.into_iter().max_by_key(|(reason, _)| *reason)
}

/// The taint that drives running pods away.
pub(super) fn driven_away(request: &Request, target: &Target) -> Option<String> {
    let taint = tolerates(
        &request.tolerations,
        &target.taints,
        &[TaintEffect::NoExecute],
    )
    .err()?;
    Some(words::taint(taint))
}
