//! Which parts should leave their target, and how: drains, `NoExecute` taints, and failover from lost targets.

use placement_api::kinds::FailoverMode;
use placement_api::reason::Reason;

use super::words;
use super::{Current, Request, eligible};
use crate::fleet::{Fleet, TargetState};

/// How a part stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It stays, and nothing is wrong.
    Stays,
    /// It stays although its target is lost, and why; planning again helps at that time.
    Waits(Reason, String, Option<i64>),
    /// It should leave as soon as there is a refuge.
    Leaves(Exit),
}

/// How a part leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) way: Way,
}

/// In which order old and new go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The old part does not run or counts as dead: it is revoked as soon as a part of its work has a new place.
    Replace,
    /// First the new one, then the old one goes.
    MakeFirst,
    /// First the old one goes, then the new one starts.
    BreakFirst,
}

/// How one part of a workload stands.
pub(super) fn standing(
    fleet: &Fleet,
    request: &Request,
    part: &Current,
    hub_degraded: bool,
    now_ms: i64,
) -> Standing {
    let Some(target) = fleet.target(part.target.as_str()) else {
        let message = format!(
            "{} is not registered any more; what may still run there is not started elsewhere",
            part.target
        );
        return Standing::Waits(Reason::TargetLost, message, None);
    };
    let overlap = request.failover.mode == FailoverMode::Overlap;
    let way = match (part.started, overlap) {
        (false, _) => Way::Replace,
        (true, true) => Way::MakeFirst,
        (true, false) => Way::BreakFirst,
    };
    let (reason, message) = match target.state {
        TargetState::Lost => {
            return lost(request, part, target.last_contact_ms, hub_degraded, now_ms);
        }
        TargetState::Draining => (Reason::Drained, format!("{} is being drained", part.target)),
        _ => match eligible::driven_away(request, target) {
            None => return Standing::Stays,
            Some(taint) => (
                Reason::TargetTainted,
                format!("{} has the taint {taint}", part.target),
            ),
        },
    };
    if hub_degraded {
        return Standing::Waits(Reason::HubDegraded, degraded(), None);
    }
    Standing::Leaves(Exit {
        reason,
        message,
        way,
    })
}

fn lost(
    request: &Request,
    part: &Current,
    contact_ms: i64,
    hub_degraded: bool,
    now_ms: i64,
) -> Standing {
    let name = &part.target;
    let seen = words::moment(contact_ms);
    let exit = |message| {
        Standing::Leaves(Exit {
            reason: Reason::TargetLost,
            message,
            way: Way::Replace,
        })
    };
    if !part.started && !hub_degraded {
        return exit(format!("{name} was lost before it started there"));
    }
    if hub_degraded {
        return Standing::Waits(Reason::HubDegraded, degraded(), None);
    }
    let due_ms = contact_ms.saturating_add(request.failover.after_ms);
    let due = words::moment(due_ms);
    match request.failover.mode {
        FailoverMode::Never => {
            let message = format!(
                "{name} is lost (last contact {seen}) and failover is Never: it waits for {name}"
            );
            Standing::Waits(Reason::FailoverNever, message, None)
        }
        FailoverMode::Fenced if !request.failover.fencer => {
            let message = format!(
                "{name} is lost (last contact {seen}); failover is Fenced, but nothing on {name} stops it, so it waits for {name}"
            );
            Standing::Waits(Reason::FailoverNever, message, None)
        }
        FailoverMode::Fenced if now_ms < due_ms => Standing::Waits(
            Reason::FencePending,
            format!("{name} is lost; it has stopped itself and moves at {due}"),
            Some(due_ms),
        ),
        FailoverMode::Overlap if now_ms < due_ms => Standing::Waits(
            Reason::TargetLost,
            format!("{name} is lost (last contact {seen}); replaced elsewhere at {due}"),
            Some(due_ms),
        ),
        FailoverMode::Fenced | FailoverMode::Overlap => {
            exit(format!("{name} is lost (last contact {seen})"))
        }
    }
}

fn degraded() -> String {
    "most targets were lost at once, so the fault is the hub's: nothing moves".to_owned()
}
