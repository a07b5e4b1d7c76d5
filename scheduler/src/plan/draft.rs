//! What one workload gets: its strategy applied to what it has and what it lacks.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{FailoverMode, Strategy};
use placement_api::reason::Reason;

use super::gang::{Added, Within, levels};
use super::moves::{Exit, Standing, Way, standing};
use super::needs::Needs;
use super::tree::Level;
use super::{Current, Leaving, Request, Step, strategies};
use crate::fleet::{Fleet, TargetName, TargetState};
use crate::shares::Refusal;

/// A decision before it is written out.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// New pods by target.
    pub(super) added: Vec<Added>,
    /// Parts with fewer pods than before: what they have then, by role.
    pub(super) shrunk: BTreeMap<TargetName, Vec<i64>>,
    /// Parts that go, or should.
    pub(super) leaving: Vec<Leaving>,
    /// Why something is not as it should be although nothing is missing.
    pub(super) notes: Vec<(Reason, String)>,
    /// Pods by role that are wanted and have no place; `Some` of zeros: a workload without pods has none.
    pub(super) missing: Option<Vec<i64>>,
    /// Its queue may not have more, whatever room there is.
    pub(super) refused: Option<(Reason, String)>,
    /// For verdicts: what was looked for.
    pub(super) asked: Vec<i64>,
    pub(super) levels: Vec<Level>,
    /// The domain of what already runs.
    pub(super) within: Within,
    /// Only these targets were looked at: a gang grows where it is.
    pub(super) only: Option<BTreeSet<TargetName>>,
    /// Earliest time at which planning again may help.
    pub(super) wake_ms: Option<i64>,
}

impl Draft {
    /// That of a new gang that its queue may not have, whatever room there is: none is looked for.
    pub(super) fn refused(
        fleet: &Fleet,
        needs: &Needs<'_>,
        refusal: &Refusal,
        now_ms: i64,
    ) -> Self {
        Self {
            missing: Some(needs.wants()),
            asked: needs.wants(),
            levels: levels(fleet, needs, now_ms),
            refused: Some((refusal.reason, refusal.message.clone())),
            ..Self::default()
        }
    }

    /// Its queue may not have one of the copies that were found.
    pub(super) fn cut(&mut self, needs: &Needs<'_>, refusal: &Refusal) {
        let wants = needs.wants();
        let missing = self.missing.get_or_insert_with(|| vec![0; wants.len()]);
        for (missing, want) in missing.iter_mut().zip(&wants) {
            *missing = missing.saturating_add(*want);
        }
        self.refused = Some((refusal.reason, refusal.message.clone()));
    }

    /// Takes back what was found: its queue may not have it. Who must leave a target still does.
    pub(super) fn refuse(&mut self, needs: &Needs<'_>, refusal: &Refusal) {
        let waits = !self.added.is_empty() || self.missing.is_some();
        if !waits || !self.leaving.is_empty() {
            return;
        }
        self.added.clear();
        self.refused = Some((refusal.reason, refusal.message.clone()));
        let asked = self.asked.clone();
        self.missing.get_or_insert(asked);
        self.asked = needs.wants();
    }
}

/// Whether it is a gang that has nothing and that nothing but its queue and room can keep from starting.
pub(super) fn is_new(request: &Request) -> bool {
    request.is_plain()
        && request.strategy == Strategy::Gang
        && !request.finished
        && !request.pod_sets.is_empty()
}

/// What a workload has, sorted by how it stands.
pub(super) struct Has<'a> {
    /// Parts that stay, lost ones that wait included.
    pub(super) base: Vec<&'a Current>,
    /// Parts that should leave.
    pub(super) exits: Vec<(&'a Current, Exit)>,
}

/// Drafts the decision about one workload.
pub(super) fn draft(fleet: &Fleet, needs: &Needs<'_>, hub_degraded: bool, now_ms: i64) -> Draft {
    let request = needs.request;
    let mut draft = Draft {
        levels: levels(fleet, needs, now_ms),
        ..Draft::default()
    };
    if request.finished {
        return draft;
    }
    if let Some((reason, message)) = held_back(needs) {
        draft.notes.push((reason, message));
        return draft;
    }
    let mut has = Has {
        base: Vec::new(),
        exits: Vec::new(),
    };
    let mut silent = Vec::new();
    for part in request.current.iter().filter(|part| !part.evicting) {
        match standing(fleet, request, part, hub_degraded, now_ms) {
            Standing::Stays => has.base.push(part),
            Standing::Waits(reason, message, wake) => {
                has.base.push(part);
                draft.wake_ms = earliest(draft.wake_ms, wake);
                silent.push((reason, message));
            }
            Standing::Leaves(exit) => has.exits.push((part, exit)),
        }
    }
    if let Some(note) = unconfirmed(fleet, needs) {
        draft.notes.push(note);
    }
    let tiers = open_tiers(fleet, needs, now_ms);
    match request.strategy {
        Strategy::Divide if needs.divides() => {
            strategies::divided(fleet, needs, &has, &tiers, &mut draft);
        }
        Strategy::Duplicate => strategies::duplicated(fleet, needs, &has, &tiers, &mut draft),
        Strategy::Divide | Strategy::Gang => {
            strategies::ganged(fleet, needs, &has, &tiers, &mut draft);
        }
    }
    // Of copies nothing is missed while there are others.
    let nowhere = silent.len() == has.base.len() && draft.added.is_empty();
    if request.strategy != Strategy::Duplicate || nowhere {
        draft.notes.extend(silent);
    }
    let missing =
        draft.missing.is_some() || draft.leaving.iter().any(|one| one.step == Step::Stuck);
    if missing {
        draft.wake_ms = earliest(draft.wake_ms, wake_of_waiting(needs, now_ms));
    }
    draft
}

/// The earlier of two times.
pub(super) fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

fn held_back(needs: &Needs<'_>) -> Option<(Reason, String)> {
    let request = needs.request;
    if let Some(blocked) = &request.blocked {
        return Some(blocked.clone());
    }
    request.suspended.then(|| {
        (
            Reason::Suspended,
            "its object says that it is suspended".to_owned(),
        )
    })
}

/// What may run only once has a new place, and the lost target that ran it cannot confirm that it has stopped.
fn unconfirmed(fleet: &Fleet, needs: &Needs<'_>) -> Option<(Reason, String)> {
    let request = needs.request;
    let lost = |part: &&Current| {
        part.evicting
            && part.started
            && fleet
                .target(part.target.as_str())
                .is_some_and(|target| target.state == TargetState::Lost)
    };
    let new = request
        .current
        .iter()
        .find(|part| !part.evicting && !part.started)?;
    let old = request
        .current
        .iter()
        .find(lost)
        .filter(|_| request.failover.mode != FailoverMode::Overlap)?;
    let message = format!(
        "starts on {} when {}, which is lost, has confirmed that it stopped",
        new.target, old.target
    );
    Some((Reason::FailoverNever, message))
}

/// Targets that may take new pods, in tiers, without those where an earlier part is still being taken away.
fn open_tiers(fleet: &Fleet, needs: &Needs<'_>, now_ms: i64) -> Vec<Vec<TargetName>> {
    let going: BTreeSet<&TargetName> = needs
        .request
        .current
        .iter()
        .filter(|part| part.evicting)
        .map(|part| &part.target)
        .collect();
    let mut tiers = needs.tiers(fleet, now_ms);
    for tier in &mut tiers {
        tier.retain(|name| !going.contains(name));
    }
    tiers
}

/// When time alone may help a waiting workload: a refusal ends, or its topology is relaxed.
fn wake_of_waiting(needs: &Needs<'_>, now_ms: i64) -> Option<i64> {
    let request = needs.request;
    let avoided = request.avoid.values().map(|avoid| avoid.until_ms);
    let relaxed = request
        .topology
        .as_ref()
        .and_then(|topology| topology.relax_after_ms)
        .map(|after| request.waits_since_ms.saturating_add(after));
    avoided.chain(relaxed).filter(|time| *time > now_ms).min()
}

/// Pods by role over these parts.
pub(super) fn counts(needs: &Needs<'_>, parts: &[&Current]) -> Vec<i64> {
    let count = |name: &str| {
        parts
            .iter()
            .map(|part| part.counts.get(name).copied().unwrap_or(0))
            .sum()
    };
    needs.sets.iter().map(|need| count(&need.name)).collect()
}

/// All that leaves has a new place that was found just now.
pub(super) fn exits(exits: &[(&Current, Exit)], draft: &mut Draft) {
    for (part, exit) in exits {
        let step = if exit.way == Way::MakeFirst {
            Step::WhenReplaced
        } else {
            Step::Now
        };
        draft.leaving.push(leaving(part, exit, step));
    }
}

/// All that leaves was replaced by `base` earlier: it goes when that is healthy.
pub(super) fn replaced(exits: &[(&Current, Exit)], base: &[&Current], draft: &mut Draft) {
    let healthy = base.iter().all(|part| part.started && part.healthy);
    for (part, exit) in exits {
        let step = if exit.way == Way::MakeFirst && !healthy {
            Step::WhenReplaced
        } else {
            Step::Now
        };
        draft.leaving.push(leaving(part, exit, step));
    }
}

pub(super) fn leaving(part: &Current, exit: &Exit, step: Step) -> Leaving {
    Leaving {
        target: part.target.clone(),
        reason: exit.reason,
        step,
        message: exit.message.clone(),
    }
}

pub(super) fn stuck(part: &Current, exit: &Exit) -> Leaving {
    leaving(part, exit, Step::Stuck)
}

pub(super) fn scaled_down(part: &Current) -> Leaving {
    Leaving {
        target: part.target.clone(),
        reason: Reason::Placed,
        step: Step::Now,
        message: "scaled down: not needed any more".to_owned(),
    }
}
