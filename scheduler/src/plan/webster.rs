//! Proportional division of whole replicas (Webster, also Sainte-Laguë), capped by capacity and bound by spread rules.
//!
//! The next replica goes where weight / (2·have + 1) is largest: exact in integers, and continuing from what runs gives the
//! same as starting over where nothing is capped. Balinski and Young, *Fair Representation*, 1982.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Something that takes replicas: a target, or one group of a target's nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bin {
    /// Share that it should have.
    pub(super) weight: i128,
    /// Replicas that it has.
    pub(super) have: i64,
    /// Replicas that it can have in all.
    pub(super) most: i64,
    /// For each rule the group that it is in.
    pub(super) groups: Vec<String>,
}

/// A spread constraint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) min_groups: usize,
    pub(super) max_groups: usize,
    pub(super) max_skew: i64,
}

/// A claim to the next replica, larger is next.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Claim {
    weight: i128,
    have: i64,
    bin: usize,
}

impl Ord for Claim {
    fn cmp(&self, other: &Self) -> Ordering {
        let ours = self.weight.saturating_mul(i128::from(2 * other.have + 1));
        let theirs = other.weight.saturating_mul(i128::from(2 * self.have + 1));
        ours.cmp(&theirs)
            .then(self.weight.cmp(&other.weight))
            .then(other.bin.cmp(&self.bin))
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Adds up to `more` replicas; returns what each bin has then. Bins of weight 0 take what the others cannot.
pub(super) fn add(bins: &[Bin], more: i64) -> Vec<i64> {
    let mut have: Vec<i64> = bins.iter().map(|bin| bin.have).collect();
    let mut left = more;
    for weighted in [true, false] {
        let mut heap: BinaryHeap<Claim> = bins
            .iter()
            .enumerate()
            .filter(|(index, bin)| (bin.weight > 0) == weighted && have[*index] < bin.most)
            .map(|(bin, of)| Claim {
                weight: weight(of, weighted),
                have: have[bin],
                bin,
            })
            .collect();
        while left > 0
            && let Some(claim) = heap.pop()
        {
            have[claim.bin] += 1;
            left -= 1;
            if have[claim.bin] < bins[claim.bin].most {
                heap.push(Claim {
                    have: claim.have + 1,
                    ..claim
                });
            }
        }
    }
    have
}

/// Takes replicas away from the most loaded, one by one; returns what each bin has then.
pub(super) fn remove(bins: &[Bin], fewer: i64) -> Vec<i64> {
    let mut have: Vec<i64> = bins.iter().map(|bin| bin.have).collect();
    for _ in 0..fewer {
        let loaded = (0..bins.len()).filter(|bin| have[*bin] > 0).max_by(|a, b| {
            // have/weight, with the half step of the method: (2·have − 1)/weight.
            let ours = i128::from(2 * have[*a] - 1).saturating_mul(bins[*b].weight.max(0));
            let theirs = i128::from(2 * have[*b] - 1).saturating_mul(bins[*a].weight.max(0));
            ours.cmp(&theirs)
                .then(have[*a].cmp(&have[*b]))
                .then(a.cmp(b))
        });
        let Some(bin) = loaded else { break };
        have[bin] -= 1;
    }
    have
}

/// Adds up to `more` replicas so that every rule holds; `Err` says which rule cannot be met by any number of replicas, by its
/// position and the number of its groups.
pub(super) fn add_by_rules(
    bins: &[Bin],
    more: i64,
    rules: &[Rule],
) -> Result<Vec<i64>, (usize, usize)> {
    if rules.is_empty() {
        return Ok(add(bins, more));
    }
    let mut groups: Vec<Vec<&str>> = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let ranked = ranked_groups(bins, number);
        if ranked.len() < rule.min_groups {
            return Err((number, ranked.len()));
        }
        groups.push(ranked);
    }
    let mut best: Option<(i64, Vec<i64>)> = None;
    for sizes in combinations(rules, &groups) {
        let chosen: Vec<BTreeSet<&str>> = groups
            .iter()
            .zip(&sizes)
            .map(|(ranked, size)| ranked.iter().take(*size).copied().collect())
            .collect();
        let have = add_in(bins, more, rules, &chosen);
        let added = have.iter().sum::<i64>() - bins.iter().map(|bin| bin.have).sum::<i64>();
        let met = rules
            .iter()
            .enumerate()
            .all(|(number, rule)| used_groups(bins, &have, number) >= rule.min_groups);
        if met && best.as_ref().is_none_or(|(most, _)| added > *most) {
            best = Some((added, have));
        }
        if best.as_ref().is_some_and(|(most, _)| *most == more) {
            break;
        }
    }
    best.map(|(_, have)| have).ok_or((0, groups[0].len()))
}

fn weight(bin: &Bin, weighted: bool) -> i128 {
    if weighted {
        bin.weight
    } else {
        i128::from(bin.most)
    }
}

/// Groups of a rule: those that are in use, then the roomiest.
fn ranked_groups(bins: &[Bin], rule: usize) -> Vec<&str> {
    let mut room: BTreeMap<&str, (bool, i64)> = BTreeMap::new();
    for bin in bins.iter().filter(|bin| bin.most > 0) {
        let entry = room.entry(bin.groups[rule].as_str()).or_default();
        entry.0 |= bin.have > 0;
        entry.1 += bin.most;
    }
    let mut ranked: Vec<(&str, (bool, i64))> = room.into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    ranked.into_iter().map(|(name, _)| name).collect()
}

/// Numbers of groups to try for each rule, the most groups first.
fn combinations(rules: &[Rule], groups: &[Vec<&str>]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for (rule, groups) in rules.iter().zip(groups) {
        let most = rule.max_groups.min(groups.len());
        let sizes = (rule.min_groups.max(1).min(most)..=most).rev();
        all = all
            .iter()
            .flat_map(|start| {
                sizes
                    .clone()
                    .map(move |size| [start.clone(), vec![size]].concat())
            })
            .collect();
        all.truncate(256);
    }
    all
}

fn add_in(bins: &[Bin], more: i64, rules: &[Rule], chosen: &[BTreeSet<&str>]) -> Vec<i64> {
    let mut have: Vec<i64> = bins.iter().map(|bin| bin.have).collect();
    let mut totals: Vec<BTreeMap<&str, i64>> = chosen
        .iter()
        .map(|set| set.iter().map(|name| (*name, 0)).collect())
        .collect();
    for bin in bins {
        count(&mut totals, bin, bin.have);
    }
    let inside = |bin: &Bin| {
        chosen
            .iter()
            .zip(&bin.groups)
            .all(|(set, group)| set.contains(group.as_str()))
    };
    for _ in 0..more {
        let lowest: Vec<i64> = totals
            .iter()
            .map(|total| total.values().copied().min().unwrap_or(0))
            .collect();
        let allowed = |bin: &Bin| {
            rules.iter().enumerate().all(|(number, rule)| {
                let total = totals[number]
                    .get(bin.groups[number].as_str())
                    .copied()
                    .unwrap_or(0);
                // A group that has none yet comes before any gets a second, so that the smallest number of groups is reached.
                total < lowest[number].saturating_add(rule.max_skew)
                    && (total == 0
                        || lowest[number] > 0
                        || full(bins, &have, &totals[number], number))
            })
        };
        let claims = bins
            .iter()
            .enumerate()
            .filter(|(index, bin)| inside(bin) && have[*index] < bin.most && allowed(bin));
        let next = claims
            .map(|(index, bin)| {
                (
                    bin.weight > 0,
                    Claim {
                        weight: weight(bin, bin.weight > 0),
                        have: have[index],
                        bin: index,
                    },
                )
            })
            .max();
        let Some((_, claim)) = next else { break };
        have[claim.bin] += 1;
        count(&mut totals, &bins[claim.bin], 1);
    }
    have
}

/// Adds replicas to the groups of a bin, as far as they were chosen.
fn count(totals: &mut [BTreeMap<&str, i64>], bin: &Bin, replicas: i64) {
    for (total, group) in totals.iter_mut().zip(&bin.groups) {
        if let Some(total) = total.get_mut(group.as_str()) {
            *total += replicas;
        }
    }
}

/// Whether every group that has nothing can take nothing.
fn full(bins: &[Bin], have: &[i64], totals: &BTreeMap<&str, i64>, rule: usize) -> bool {
    let empty = |bin: &Bin| totals.get(bin.groups[rule].as_str()) == Some(&0);
    !bins
        .iter()
        .zip(have)
        .any(|(bin, have)| empty(bin) && *have < bin.most)
}

fn used_groups(bins: &[Bin], have: &[i64], rule: usize) -> usize {
    bins.iter()
        .zip(have)
        .filter(|(_, have)| **have > 0)
        .map(|(bin, _)| bin.groups[rule].as_str())
        .collect::<BTreeSet<_>>()
        .len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bins(list: &[(i64, i64, i64)]) -> Vec<Bin> {
        let bin = |(weight, have, most): &(i64, i64, i64)| Bin {
            weight: i128::from(*weight),
            have: *have,
            most: *most,
            groups: Vec::new(),
        };
        list.iter().map(bin).collect()
    }

    fn grouped(list: &[(&str, i64, i64)]) -> Vec<Bin> {
        let bin = |(group, have, most): &(&str, i64, i64)| Bin {
            weight: i128::from(*most),
            have: *have,
            most: *most,
            groups: vec![(*group).to_owned()],
        };
        list.iter().map(bin).collect()
    }

    #[test]
    fn seats() {
        for (list, more, expected) in [
            (vec![(1, 0, 99), (1, 0, 99)], 3, vec![2, 1]),
            (vec![(2, 0, 99), (1, 0, 99)], 6, vec![4, 2]),
            (
                vec![(53, 0, 99), (24, 0, 99), (23, 0, 99)],
                7,
                vec![3, 2, 2],
            ),
            (vec![(2, 0, 3), (1, 0, 99)], 6, vec![3, 3]),
            (vec![(1, 4, 99), (1, 0, 99)], 2, vec![4, 2]),
            (vec![(0, 0, 99), (1, 0, 2)], 3, vec![1, 2]),
            (vec![(1, 0, 1)], 3, vec![1]),
            (vec![], 3, vec![]),
        ] {
            assert_eq!(add(&bins(&list), more), expected, "{more} over {list:?}");
        }
    }

    #[test]
    fn removal_takes_from_the_most_loaded() {
        for (list, fewer, expected) in [
            (vec![(10, 4, 99), (10, 2, 99)], 2, vec![2, 2]),
            (vec![(20, 4, 99), (5, 2, 99)], 1, vec![4, 1]),
            (vec![(1, 1, 1)], 5, vec![0]),
        ] {
            assert_eq!(
                remove(&bins(&list), fewer),
                expected,
                "{fewer} off {list:?}"
            );
        }
    }

    #[test]
    fn rules() {
        let rule = |min_groups, max_groups, max_skew| Rule {
            min_groups,
            max_groups,
            max_skew,
        };
        let any = usize::MAX;
        for (list, more, rule, expected) in [
            (
                vec![("a", 0, 9), ("b", 0, 9)],
                4,
                rule(2, any, 1),
                Ok(vec![2, 2]),
            ),
            (
                vec![("a", 0, 9), ("b", 0, 1)],
                6,
                rule(2, any, 1),
                Ok(vec![2, 1]),
            ),
            (
                vec![("a", 0, 9), ("b", 0, 1)],
                6,
                rule(1, any, 1),
                Ok(vec![6, 0]),
            ),
            (
                vec![("a", 0, 9), ("b", 0, 9), ("c", 0, 9)],
                4,
                rule(1, 2, i64::MAX),
                Ok(vec![2, 2, 0]),
            ),
            (vec![("a", 0, 9)], 4, rule(2, any, i64::MAX), Err((0, 1))),
            (
                vec![("a", 0, 9), ("b", 0, 9)],
                1,
                rule(2, any, i64::MAX),
                Err((0, 2)),
            ),
            (
                vec![("a", 0, 99), ("b", 0, 1)],
                4,
                rule(2, any, i64::MAX),
                Ok(vec![3, 1]),
            ),
        ] {
            assert_eq!(
                add_by_rules(&grouped(&list), more, &[rule]),
                expected,
                "{more} over {list:?} by {rule:?}"
            );
        }
    }

    /// Every seat on its own, by the quotients as fractions of the definition.
    fn reference(weights: &[i64], most: &[i64], seats: i64) -> Vec<i64> {
        let mut quotients: Vec<(i64, i64, usize)> = Vec::new();
        for (bin, weight) in weights.iter().enumerate() {
            quotients.extend((0..most[bin]).map(|seat| (*weight, 2 * seat + 1, bin)));
        }
        quotients.sort_by(|a, b| {
            (b.0 * a.1)
                .cmp(&(a.0 * b.1))
                .then(b.0.cmp(&a.0))
                .then(a.2.cmp(&b.2))
        });
        let mut have = vec![0; weights.len()];
        for (_, _, bin) in quotients.into_iter().take(usize::try_from(seats).unwrap()) {
            have[bin] += 1;
        }
        have
    }

    proptest! {
        #[test]
        fn as_the_reference(list in prop::collection::vec((1_i64..50, 0_i64..20), 1..6), seats in 0_i64..60) {
            let weights: Vec<i64> = list.iter().map(|one| one.0).collect();
            let most: Vec<i64> = list.iter().map(|one| one.1).collect();
            let three: Vec<_> = list.iter().map(|(weight, most)| (*weight, 0, *most)).collect();
            prop_assert_eq!(add(&bins(&three), seats), reference(&weights, &most, seats));
        }

        #[test]
        fn step_by_step_is_the_same(list in prop::collection::vec((1_i64..50, 0_i64..20), 1..6), first in 0_i64..20, second in 0_i64..20) {
            let mut three: Vec<_> = list.iter().map(|(weight, most)| (*weight, 0, *most)).collect();
            let at_once = add(&bins(&three), first + second);
            for (one, have) in three.iter_mut().zip(add(&bins(&list.iter().map(|(w, m)| (*w, 0, *m)).collect::<Vec<_>>()), first)) {
                one.1 = have;
            }
            prop_assert_eq!(add(&bins(&three), second), at_once);
        }

        #[test]
        fn one_rule_is_exact(
            most in prop::collection::vec((0_u8..3, 0_i64..5), 1..6), seats in 1_i64..12,
            min_groups in 0_usize..3, max_groups in 1_usize..4, max_skew in 1_i64..3,
        ) {
            prop_assume!(min_groups <= max_groups);
            let list: Vec<Bin> = most.iter().map(|(group, most)| Bin {
                weight: i128::from(*most), have: 0, most: *most, groups: vec![group.to_string()] }).collect();
            let rule = Rule { min_groups, max_groups, max_skew };
            // By hand: over all choices of groups and lowest counts, the most seats.
            let mut caps: BTreeMap<&str, i64> = BTreeMap::new();
            for bin in &list { *caps.entry(bin.groups[0].as_str()).or_default() += bin.most; }
            let caps: Vec<i64> = caps.into_values().filter(|cap| *cap > 0).collect();
            let mut best = -1;
            for mask in 1_u32..1 << caps.len() {
                let chosen: Vec<i64> = caps.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, cap)| *cap).collect();
                let size = chosen.len();
                if size > max_groups || size < min_groups || i64::try_from(size).unwrap() > seats { continue; }
                let low = chosen.iter().copied().min().unwrap();
                best = best.max(chosen.iter().map(|cap| (*cap).min(low + max_skew)).sum::<i64>().min(seats));
            }
            let found = add_by_rules(&list, seats, &[rule]).map_or(-1, |have| have.iter().sum());
            prop_assert_eq!(found.max(0), best.max(0), "caps {:?}", caps);
        }
    }
}
