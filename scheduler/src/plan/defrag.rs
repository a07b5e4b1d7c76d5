//! Defragmentation: room that is there in pieces becomes one piece, by moving a few workloads to other nodes.
//!
//! ```text
//! claimant without room -> is there enough in pieces? -> per region the movers whose room it needs -> another place for each of them
//!                                                                                                         |
//!          evictions (Defragmented), their new places kept for them  <- the cheapest region <-------------/
//! ```
//!
//! It is off unless the FleetPolicy gives a budget of moves per hour, or inside a queue that takes turns. A move is an eviction whose new place is kept; so it needs no more of a
//! workload than any other eviction: preemptible, past its minimum run time, of no higher priority than the claimant. Nobody moves who has no
//! other place, and nobody moves for a claimant that would still not fit.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::Strategy;
use placement_api::reason::Reason;

use super::Request;
use super::book::Book;
use super::draft;
use super::give_way::{Claim, Eviction, Price, Region, Yield, price, protected_until, regions};
use super::kept::Kept;
use super::needs::Needs;
use super::promise::Room;
use super::stand_in::{self, Place, hand_on, room_of};
use crate::fleet::{Fleet, TargetName, TargetState, WorkloadId};

const HOUR_MS: i64 = 3_600_000;
/// How long the new place of one that moves is kept: it stops first, and its member confirms.
const KEPT_MS: i64 = 10 * 60_000;
/// Most regions that are tried for one claimant, those that lack least first.
const MOST_REGIONS: usize = 32;
/// Most movers that are considered in one region, the cheapest first.
const MOST_MOVERS: usize = 64;

/// When workloads were moved in the last hour.
#[derive(Clone, Debug, Default)]
pub(super) struct Defrag {
    moves: BTreeSet<(i64, WorkloadId)>,
}

/// Who may be moved for a claimant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moves<'a> {
    /// Everybody, so many in an hour over the whole fleet.
    Budget(u32),
    /// Those of its own queue, which takes turns: they are stopped for each other anyway.
    Inside(&'a str),
}

/// Who moves where, and whether that counts in the budget.
pub(super) struct Moved {
    places: BTreeMap<WorkloadId, Room<Place>>,
    counts: bool,
}

/// Who moves where.
struct Arrangement {
    cost: (usize, Price, Vec<WorkloadId>),
    places: BTreeMap<WorkloadId, Room<Place>>,
}

impl Defrag {
    /// An earlier leader has moved a workload.
    pub(super) fn moved(&mut self, id: &WorkloadId, at_ms: i64) {
        self.moves.insert((at_ms, id.clone()));
    }

    /// Moves that are left in this hour; where none is, when there will be one.
    fn left(&mut self, per_hour: u32, now_ms: i64) -> Result<usize, Option<i64>> {
        let most = usize::try_from(per_hour).unwrap_or(usize::MAX);
        if most == 0 {
            return Err(None);
        }
        self.moves
            .retain(|(at, _)| at.saturating_add(HOUR_MS) > now_ms);
        match most.checked_sub(self.moves.len()).filter(|left| *left > 0) {
            Some(left) => Ok(left),
            None => Err(self.moves.first().map(|(at, _)| at.saturating_add(HOUR_MS))),
        }
    }

    /// Finds the cheapest workloads that may move so that the claimant fits, and hands their room on in the fleet, so that a draft finds it.
    /// Nothing is remembered before [`Self::begin`].
    ///
    /// # Errors
    /// Nothing is found and nothing is changed; the time from which on there is a budget again.
    pub(super) fn find(
        &mut self,
        fleet: &mut Fleet,
        book: &Book,
        kept: &mut Kept,
        claim: &Claim<'_>,
        moves: Moves<'_>,
    ) -> Result<Moved, Option<i64>> {
        let needs = claim.needs;
        if matches!(moves, Moves::Budget(0)) || !needs.named || needs.divides() {
            return Err(None);
        }
        let tiers = needs.tiers(fleet, claim.now_ms);
        let targets: Vec<TargetName> = tiers.into_iter().flatten().collect();
        if !in_pieces(fleet, needs, &targets) {
            return Err(None);
        }
        let left = match moves {
            Moves::Budget(per_hour) => self.left(per_hour, claim.now_ms)?,
            Moves::Inside(_) => usize::MAX,
        };
        let mut best: Option<Arrangement> = None;
        for region in nearest(fleet, needs, &targets, claim.now_ms) {
            let found = arrange(fleet, book, kept, claim, &region, (moves, left));
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.cost < best.cost)
            {
                best = Some(found);
            }
        }
        let places = best.ok_or(None)?.places;
        for id in places.keys() {
            hand_on(fleet, id, true);
        }
        Ok(Moved {
            places,
            counts: matches!(moves, Moves::Budget(_)),
        })
    }

    /// What was found is done: the new places are kept, and the moves count.
    pub(super) fn begin(&mut self, kept: &mut Kept, moved: Moved, now_ms: i64) {
        for (id, room) in moved.places {
            if moved.counts {
                self.moved(&id, now_ms);
            }
            kept.keep(&id, room, now_ms.saturating_add(KEPT_MS));
        }
    }
}

impl Moved {
    /// The moves as evictions.
    pub(super) fn evictions(&self) -> Vec<Eviction> {
        let eviction = |id: &WorkloadId| Eviction {
            victim: id.clone(),
            reason: Reason::Defragmented,
            what: Yield::Everything,
        };
        self.places.keys().map(eviction).collect()
    }
}

/// Whether as much is free as the claimant asks for, if only it were together: moving changes nothing about how much there is.
fn in_pieces(fleet: &Fleet, needs: &Needs<'_>, targets: &[TargetName]) -> bool {
    let targets = || {
        targets
            .iter()
            .filter_map(|name| fleet.target(name.as_str()))
    };
    needs.sets.iter().all(|need| {
        let free: i64 = targets()
            .flat_map(crate::fleet::Target::nodes)
            .filter(|node| node.unusable.is_none() && need.selects(node))
            .map(|node| node.free.get(need.main).max(0))
            .sum();
        free >= need.demand.get(need.main).saturating_mul(need.set.count)
    })
}

/// The regions that lack least, and only those in which somebody could make room: one pod is on one node, a gang in one domain.
fn nearest(fleet: &Fleet, needs: &Needs<'_>, targets: &[TargetName], now_ms: i64) -> Vec<Region> {
    let all = regions(fleet, needs, targets, now_ms);
    let all: Vec<Region> = if needs.request.pods() == 1 {
        let nodes = all.into_iter().flatten();
        nodes
            .flat_map(|(name, nodes)| {
                nodes
                    .into_iter()
                    .map(move |node| vec![(name.clone(), vec![node])])
            })
            .collect()
    } else {
        all
    };
    let Some(need) = needs.sets.get(needs.leading()) else {
        return Vec::new();
    };
    let want = need.demand.get(need.main).saturating_mul(need.set.count);
    let sums = |region: &Region| {
        let (mut free, mut has) = (0_i64, 0_i64);
        for (name, nodes) in region {
            for node in nodes {
                let Some(there) = fleet
                    .target(name.as_str())
                    .and_then(|target| target.node_list().get(*node))
                    .filter(|node| node.unusable.is_none() && need.selects(node))
                else {
                    continue;
                };
                free += there.free.get(need.main).max(0);
                has += there.allocatable.get(need.main);
            }
        }
        (free, has)
    };
    let mut ranked: Vec<(i64, usize, Region)> = all
        .into_iter()
        .enumerate()
        .map(|(at, region)| (sums(&region), at, region))
        .filter(|((_, has), _, _)| *has >= want)
        .map(|((free, _), at, region)| ((want - free).max(0), at, region))
        .collect();
    ranked.sort_by_key(|(lacks, at, _)| (*lacks, *at));
    ranked.truncate(MOST_REGIONS);
    ranked.into_iter().map(|(_, _, region)| region).collect()
}

/// The movers of a region without whom the claimant would not fit, each with another place. The fleet is as before after.
fn arrange(
    fleet: &mut Fleet,
    book: &Book,
    kept: &mut Kept,
    claim: &Claim<'_>,
    region: &Region,
    (moves, most): (Moves<'_>, usize),
) -> Option<Arrangement> {
    let fits = |fleet: &Fleet| {
        let draft = draft::draft(fleet, claim.needs, false, claim.now_ms);
        (draft.missing.is_none() && !draft.added.is_empty()).then_some(draft)
    };
    let mut movers = movers(fleet, book, claim, region, moves);
    for (_, id) in &movers {
        hand_on(fleet, id, true);
    }
    let mut draft = fits(fleet);
    if draft.is_some() {
        // The dearest is spared first.
        let mut position = movers.len();
        while position > 0 {
            position -= 1;
            hand_on(fleet, &movers[position].1, false);
            match fits(fleet) {
                Some(without) => {
                    draft = Some(without);
                    movers.remove(position);
                }
                None => hand_on(fleet, &movers[position].1, true),
            }
        }
    }
    let found = draft
        .filter(|_| !movers.is_empty() && movers.len() <= most)
        .and_then(|draft| {
            let room = room_of(fleet, claim.needs, &draft);
            let ids: Vec<&WorkloadId> = movers.iter().map(|(_, id)| id).collect();
            let places = places(fleet, book, kept, claim, &room, &ids)?;
            let price = movers.iter().map(|(price, _)| price.clone());
            let cost = (
                movers.len(),
                price.reduce(Price::plus)?,
                ids.into_iter().cloned().collect(),
            );
            Some(Arrangement { cost, places })
        });
    for (_, id) in &movers {
        hand_on(fleet, id, false);
    }
    found
}

/// Other places for those who move, beside the claimant and each other; the largest first.
fn places(
    fleet: &mut Fleet,
    book: &Book,
    kept: &mut Kept,
    claim: &Claim<'_>,
    claimant: &Room<Place>,
    ids: &[&WorkloadId],
) -> Option<BTreeMap<WorkloadId, Room<Place>>> {
    let mut stand_ins: Vec<(WorkloadId, TargetName)> = Vec::new();
    let mut put = |fleet: &mut Fleet, id: &WorkloadId, room: &Room<Place>| {
        // No object has such a name.
        let name = WorkloadId::from(format!("new place of {id}"));
        let targets = stand_in::put(fleet, &name, room);
        let placed = targets.into_iter().map(|target| (name.clone(), target));
        stand_ins.extend(placed);
    };
    put(fleet, &claim.needs.request.id, claimant);
    let mut requests: Vec<Request> = ids
        .iter()
        .filter_map(|id| book.get(id))
        .map(|booked| Request {
            current: Vec::new(),
            ..booked.request.clone()
        })
        .collect();
    requests.sort_by_key(|request| std::cmp::Reverse(request.pods()));
    let mut found = BTreeMap::new();
    for request in &requests {
        kept.open(fleet);
        kept.close(fleet, request, &BTreeSet::new());
        let needs = Needs::new(fleet, request);
        let draft = draft::draft(fleet, &needs, false, claim.now_ms);
        if draft.missing.is_some() || draft.added.is_empty() {
            break;
        }
        let room = room_of(fleet, &needs, &draft);
        put(fleet, &request.id, &room);
        found.insert(request.id.clone(), room);
    }
    for (name, target) in stand_ins {
        fleet.release(&name, &target);
    }
    kept.open(fleet);
    kept.close(fleet, claim.needs.request, claim.yielding);
    (found.len() == ids.len()).then_some(found)
}

/// Who may move out of a region, the cheapest first.
fn movers(
    fleet: &Fleet,
    book: &Book,
    claim: &Claim<'_>,
    region: &Region,
    moves: Moves<'_>,
) -> Vec<(Price, WorkloadId)> {
    let mut found: BTreeSet<&WorkloadId> = BTreeSet::new();
    for (name, nodes) in region {
        let Some(target) = fleet.target(name.as_str()) else {
            continue;
        };
        let inside: BTreeSet<&str> = nodes
            .iter()
            .filter_map(|node| target.node_list().get(*node))
            .map(|node| node.name().as_str())
            .collect();
        let holds = target.holds().filter(|(_, hold)| hold.passed_on.is_empty());
        let there = holds.filter(|(_, hold)| {
            let mut claimed = hold.claimed.iter();
            claimed.any(|share| inside.contains(share.node.as_str()))
        });
        found.extend(there.map(|(id, _)| id));
    }
    let mut movers: Vec<(Price, WorkloadId)> = found
        .into_iter()
        .filter(|id| !(claim.settled)(id))
        .filter_map(|id| book.get(id))
        .filter(|booked| {
            let twice = booked.gave_way_to.contains(&claim.needs.request.id);
            let asked = match moves {
                Moves::Budget(_) => true,
                Moves::Inside(queue) => booked.request.queue == queue,
            };
            asked && !twice && may_move(fleet, &booked.request, claim)
        })
        .map(|booked| {
            let request = &booked.request;
            (price(fleet, request, claim.now_ms), request.id.clone())
        })
        .collect();
    movers.sort();
    movers.truncate(MOST_MOVERS);
    movers
}

fn may_move(fleet: &Fleet, request: &Request, claim: &Claim<'_>) -> bool {
    let claimant = claim.needs.request;
    let [part] = &request.current[..] else {
        return false;
    };
    let target = fleet.target(part.target.as_str());
    let calm = !request.finished && !request.suspended && request.blocked.is_none();
    calm && request.id != claimant.id
        && request.preemptible
        && request.strategy == Strategy::Gang
        && request.priority <= claimant.priority
        && !part.evicting
        && !part.nodes.is_empty()
        && target.is_some_and(|target| target.state == TargetState::Ready)
        && protected_until(request, claim.now_ms).is_none()
}
