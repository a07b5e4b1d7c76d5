//! Replicas divided over targets: in proportion to room or weights, what runs stays.

use std::collections::BTreeMap;

use placement_api::kinds::DivideBy;

use super::Current;
use super::fill::{Pick, places};
use super::gang::Added;
use super::needs::Needs;
use super::pick::pick;
use super::spread::{self, Cell};
use super::tree::Level;
use super::webster::{Bin, add_by_rules, remove};
use crate::fleet::{Fleet, TargetName, TargetState};

/// Weights are divided among the targets of a Location by room, in units of this size.
const WEIGHT_UNIT: i128 = 1 << 40;

/// Adds up to `more` replicas beside `base`: over the first tier that holds all of them, else over the tiers in their order as far
/// as the room goes. `Err`: a spread rule cannot be met, by its position, with the number of groups that there are.
pub(super) fn grow(
    fleet: &Fleet,
    needs: &Needs<'_>,
    base: &[&Current],
    tiers: &[Vec<TargetName>],
    more: i64,
) -> Result<Vec<Added>, (usize, usize)> {
    let mut failed = None;
    let mut best: Option<(i64, Vec<Added>)> = None;
    for tier in tiers.iter().filter(|tier| !tier.is_empty()) {
        let table = Table::new(fleet, needs, base, tier);
        match table.add(needs, more) {
            Ok(have) => {
                let added = table.added(fleet, needs, &have);
                let total = total(&added);
                if total == more {
                    return Ok(added);
                }
                if best.as_ref().is_none_or(|(most, _)| total > *most) {
                    best = Some((total, added));
                }
            }
            Err(rule) => failed = failed.or(Some(rule)),
        }
    }
    // No tier holds everything: together they hold the most.
    let all: Vec<TargetName> = tiers.iter().flatten().cloned().collect();
    let table = Table::new(fleet, needs, base, &all);
    let together = if needs.request.spread.is_empty() {
        Ok(table.add_by_tier(needs, tiers, more))
    } else {
        table.add(needs, more)
    };
    match (together, best) {
        (Ok(have), best) => {
            let added = table.added(fleet, needs, &have);
            Ok(best
                .filter(|(most, _)| *most >= total(&added))
                .map_or(added, |(_, added)| added))
        }
        (Err(_), Some((_, added))) => Ok(added),
        (Err(rule), None) => Err(failed.unwrap_or(rule)),
    }
}

/// Takes `fewer` replicas from `base`; returns what each target has then. What does not run anyway goes first, then the most loaded.
pub(super) fn shrink(
    fleet: &Fleet,
    needs: &Needs<'_>,
    base: &[&Current],
    fewer: i64,
) -> BTreeMap<TargetName, i64> {
    let mut left = fewer;
    let mut result = BTreeMap::new();
    let rank = |part: &Current| match fleet
        .target(part.target.as_str())
        .map(|target| target.state)
    {
        None | Some(TargetState::Lost | TargetState::Pending) => 0,
        Some(TargetState::Draining) => 1,
        Some(TargetState::Cordoned | TargetState::Ready) => 2,
    };
    for class in 0..3 {
        let group: Vec<&Current> = base
            .iter()
            .filter(|part| rank(part) == class)
            .copied()
            .collect();
        let bin = |part: &&Current| {
            let have = replicas(needs, part);
            let free: i64 = fleet
                .target(part.target.as_str())
                .map_or(0, |target| needs.sets[0].copies_on(target).iter().sum());
            Bin {
                weight: i128::from(have + free),
                have,
                most: have,
                groups: Vec::new(),
            }
        };
        let bins: Vec<Bin> = group.iter().map(bin).collect();
        let after = remove(&bins, left);
        for ((part, bin), after) in group.iter().zip(&bins).zip(after) {
            left -= bin.have - after;
            result.insert(part.target.clone(), after);
        }
    }
    result
}

/// Replicas of a part.
pub(super) fn replicas(needs: &Needs<'_>, part: &Current) -> i64 {
    part.counts.get(&*needs.sets[0].name).copied().unwrap_or(0)
}

fn total(added: &[Added]) -> i64 {
    added.iter().flat_map(|one| &one.counts).sum()
}

/// Cells that take replicas, with what runs in them.
struct Table {
    cells: Vec<Cell>,
    have: Vec<i64>,
    copies: BTreeMap<TargetName, Vec<i64>>,
}

impl Table {
    fn new(fleet: &Fleet, needs: &Needs<'_>, base: &[&Current], tier: &[TargetName]) -> Self {
        let mut table = Self {
            cells: Vec::new(),
            have: Vec::new(),
            copies: BTreeMap::new(),
        };
        for (name, target) in fleet.targets() {
            let part = base.iter().find(|part| part.target == *name);
            let open = tier.contains(name);
            if part.is_none() && !open {
                continue;
            }
            let mut copies = needs.sets[0].copies_on(target);
            if !open {
                copies.fill(0);
            }
            let nodes: Vec<usize> = (0..copies.len()).collect();
            let cells = spread::cells(fleet, needs, name, target, &nodes, &copies);
            let runs = part.map_or(0, |part| replicas(needs, part));
            let mut unknown = runs;
            for cell in &cells {
                let named = part.map_or(0, |part| {
                    let inside = |node: &str| {
                        target
                            .position(node)
                            .is_some_and(|position| cell.nodes.contains(&position))
                    };
                    part.nodes
                        .iter()
                        .filter(|share| inside(&share.name))
                        .map(|share| share.pods)
                        .sum::<i64>()
                });
                table.have.push(named);
                unknown -= named;
            }
            // What runs on nodes that nobody named is in the first cell.
            if unknown > 0 && !cells.is_empty() {
                let first = table.have.len() - cells.len();
                table.have[first] += unknown;
            }
            table.cells.extend(cells);
            table.copies.insert(name.clone(), copies);
        }
        table
    }

    fn bins(&self, needs: &Needs<'_>) -> Vec<Bin> {
        let room = |index: usize| self.have[index] + self.cells[index].room;
        let weights = Weights::new(needs, &self.cells, room);
        let bin = |(index, cell): (usize, &Cell)| Bin {
            weight: weights.of(&cell.target, room(index)),
            have: self.have[index],
            most: room(index),
            groups: cell.groups.clone(),
        };
        self.cells.iter().enumerate().map(bin).collect()
    }

    fn add(&self, needs: &Needs<'_>, more: i64) -> Result<Vec<i64>, (usize, usize)> {
        add_by_rules(&self.bins(needs), more, &spread::rules(needs))
    }

    fn add_by_tier(&self, needs: &Needs<'_>, tiers: &[Vec<TargetName>], more: i64) -> Vec<i64> {
        let mut have = self.have.clone();
        let mut left = more;
        for tier in tiers {
            let mut bins = self.bins(needs);
            for (bin, (cell, have)) in bins.iter_mut().zip(self.cells.iter().zip(&have)) {
                bin.have = *have;
                if !tier.contains(&cell.target) {
                    bin.most = *have;
                }
            }
            let after = super::webster::add(&bins, left);
            left -= after.iter().sum::<i64>() - have.iter().sum::<i64>();
            have = after;
        }
        have
    }

    /// What is new, by target, with nodes.
    fn added(&self, fleet: &Fleet, needs: &Needs<'_>, have: &[i64]) -> Vec<Added> {
        let mut added: BTreeMap<&TargetName, Added> = BTreeMap::new();
        for ((cell, before), after) in self.cells.iter().zip(&self.have).zip(have) {
            let (Some(target), true) = (fleet.target(cell.target.as_str()), after > before) else {
                continue;
            };
            let picks = pick(
                &places(
                    fleet,
                    needs,
                    target,
                    0,
                    &cell.nodes,
                    &self.copies[&cell.target],
                ),
                after - before,
                needs.packing,
            );
            let one = added.entry(&cell.target).or_insert_with(|| Added {
                target: cell.target.clone(),
                counts: vec![0],
                picks: Vec::new(),
                level: Level::Target,
                device: None,
            });
            one.counts[0] += after - before;
            one.picks.extend(
                picks
                    .into_iter()
                    .map(|(node, pods)| Pick { set: 0, node, pods }),
            );
            one.picks.sort_unstable();
        }
        added.into_values().collect()
    }
}

/// What the proportion follows.
enum Weights<'a> {
    Room,
    Given {
        by_target: BTreeMap<&'a TargetName, (i128, i128)>,
    },
}

impl<'a> Weights<'a> {
    fn new(needs: &Needs<'_>, cells: &'a [Cell], room: impl Fn(usize) -> i64) -> Self {
        if needs.request.divide_by == DivideBy::FreeCapacity {
            return Self::Room;
        }
        // A weight of a Location is divided among its targets by room, a target's own among its cells.
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        let mut keys: BTreeMap<&TargetName, &str> = BTreeMap::new();
        for (index, cell) in cells.iter().enumerate() {
            if let Some(key) = needs.weight_keys.get(&cell.target) {
                *sums.entry(key).or_default() += i128::from(room(index));
                keys.insert(&cell.target, key);
            }
        }
        let weight = |key: &str| {
            i128::from(needs.request.weights.get(key).copied().unwrap_or(0)) * WEIGHT_UNIT
        };
        let by_target = keys
            .into_iter()
            .map(|(target, key)| (target, (weight(key), sums[key].max(1))))
            .collect();
        Self::Given { by_target }
    }

    fn of(&self, target: &TargetName, room: i64) -> i128 {
        match self {
            Self::Room => i128::from(room),
            Self::Given { by_target } => by_target
                .get(target)
                .map_or(0, |(weight, sum)| weight * i128::from(room) / sum),
        }
    }
}
