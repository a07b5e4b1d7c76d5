//! What speaks for a candidate, in numbers, and how they compare.
//!
//! ```text
//! Numbers of each candidate -> [topology, faults unless named; spares, idle devices] -> tiers of the Placement -> the documented order -> name
//! ```
//!
//! Inside a tier of several dimensions each number counts in millionths of the largest among the candidates, times its weight: a place that
//! costs twice as much is twice as far away, whatever the currency. A tier of one dimension compares the number itself.

use placement_api::kinds::Packing;

use super::Request;
use super::history::WORST;
use super::needs::{Needs, soft_taints};
use super::scoring::{Dimension, Scoring};
use super::words;
use crate::fleet::{Target, TargetName};

/// The largest number of a dimension among the candidates, where several dimensions are weighed.
const WHOLE: i128 = 1_000_000;

/// Everything that speaks for or against a candidate; smaller is better. The fields stand in the documented order, so numbers compare by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Numbers {
    /// Levels above the narrowest.
    pub(super) topology: i64,
    /// Soft taints of the target, then what went wrong there lately.
    pub(super) faults: i64,
    /// Spare nodes that it asks for and the domain has not.
    pub(super) spares: i64,
    /// Pods that would be on nodes with devices that they do not ask for. No Placement weighs this: GPUs are never cheap enough.
    pub(super) astray: i64,
    /// Domains of the level that was asked for.
    pub(super) parts: i64,
    /// Packing: copies left over; spreading: the same, negative.
    pub(super) occupancy: i64,
    /// Copies left in the domain around it.
    pub(super) around: i64,
    pub(super) locality: i64,
    pub(super) cost: i64,
    pub(super) carbon: i64,
    /// 0 unless the Placement names it.
    pub(super) blast_radius: i64,
}

/// How good a candidate is among others; smaller is better.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    head: [i64; 5],
    tiers: Vec<i128>,
    rest: Numbers,
}

/// The ranks of candidates among each other, in their order.
pub(super) fn ranks(scoring: &Scoring, candidates: &[Numbers]) -> Vec<Rank> {
    let unless_named = |dimension, number| if scoring.names(dimension) { 0 } else { number };
    let rank = |one: &Numbers| Rank {
        head: [
            unless_named(Dimension::Topology, one.topology),
            unless_named(Dimension::Faults, one.faults),
            one.spares,
            one.astray,
            unless_named(Dimension::Topology, one.parts),
        ],
        tiers: Vec::new(),
        rest: *one,
    };
    let mut ranks: Vec<Rank> = candidates.iter().map(rank).collect();
    for tier in scoring.tiers() {
        let scales: Vec<Scale> = tier
            .iter()
            .map(|(dimension, _)| Scale::of(*dimension, candidates))
            .collect();
        for (rank, one) in ranks.iter_mut().zip(candidates) {
            let sum = match &tier[..] {
                [(dimension, _)] => i128::from(one.of(*dimension)),
                several => several
                    .iter()
                    .zip(&scales)
                    .map(|((dimension, weight), scale)| {
                        i128::from(*weight) * scale.millionths(one.of(*dimension))
                    })
                    .sum(),
            };
            rank.tiers.push(sum);
        }
    }
    ranks
}

impl Numbers {
    /// Those of a target, which are the same for each of its domains, for so many pods by role.
    pub(super) fn of_target(
        needs: &Needs<'_>,
        name: &TargetName,
        target: &Target,
        counts: &[i64],
    ) -> Self {
        let request = needs.request;
        let (locality, cost, carbon) = price(needs, target, counts);
        Self {
            faults: (WORST + 1) * soft_taints(&request.tolerations, &target.taints)
                + target.trouble.clamp(0, WORST),
            locality,
            cost,
            carbon,
            blast_radius: needs.neighbours.get(name).copied().unwrap_or(0),
            ..Self::default()
        }
    }

    /// The same with what is known of one of its domains: copies of the leading role that it holds, and how many of them are on nodes that are
    /// not to be avoided.
    pub(super) fn with_room(self, needs: &Needs<'_>, want: i64, copies: i64, proper: i64) -> Self {
        let left = copies - want;
        Self {
            astray: (want - proper).max(0),
            occupancy: if needs.packing == Packing::Pack {
                left
            } else {
                -left
            },
            ..self
        }
    }

    fn of(&self, dimension: Dimension) -> i64 {
        match dimension {
            Dimension::Topology => self.topology.saturating_add(self.parts),
            Dimension::Faults => self.faults,
            Dimension::Occupancy => self.occupancy,
            Dimension::Locality => self.locality,
            Dimension::Cost => self.cost,
            Dimension::Carbon => self.carbon,
            Dimension::BlastRadius => self.blast_radius,
        }
    }
}

/// From the numbers of a dimension to what can be added up.
struct Scale {
    least: i128,
    most: i128,
}

impl Scale {
    fn of(dimension: Dimension, candidates: &[Numbers]) -> Self {
        let numbers = || candidates.iter().map(|one| i128::from(one.of(dimension)));
        // Only headroom is negative: the most of it is 0 then.
        let least = numbers().min().unwrap_or(0).min(0);
        let most = numbers().max().unwrap_or(0) - least;
        Self { least, most }
    }

    fn millionths(&self, number: i64) -> i128 {
        if self.most == 0 {
            return 0;
        }
        (i128::from(number) - self.least) * WHOLE / self.most
    }
}

/// What was said of an accepted target, for people: `16.80 an hour, 120 g CO2/kWh, imagenet is there`. Empty where nothing was said.
pub(super) fn shown(
    needs: &Needs<'_>,
    name: &TargetName,
    target: &Target,
    counts: &[i64],
) -> String {
    let mut parts = Vec::new();
    if !target.rates.cost.is_empty() {
        let micros = hourly(needs, target, counts);
        parts.push(format!("{} an hour", money(micros)));
    }
    if let Some(carbon) = target.rates.carbon {
        parts.push(format!("{carbon} g CO2/kWh"));
    }
    let data = &needs.request.data;
    let there: Vec<&str> = data
        .iter()
        .filter(|name| target.rates.data.contains(*name))
        .map(String::as_str)
        .collect();
    let away: Vec<&str> = lacking(needs.request, target).collect();
    for (names, verb) in [(there, "there"), (away, "not there")] {
        if !names.is_empty() {
            let is = if names.len() == 1 { "is" } else { "are" };
            parts.push(format!("{} {is} {verb}", names.join(", ")));
        }
    }
    if needs.request.scoring.names(Dimension::BlastRadius) {
        let others = needs.neighbours.get(name).copied().unwrap_or(0);
        let others = words::many(others, "other workload");
        parts.push(format!("{others} of its queue there"));
    }
    parts.join(", ")
}

/// What is missing of the data that a workload names, what so many of its pods by role cost in an hour, and the carbon, in the order in which
/// they count.
pub(super) type Price = (i64, i64, i64);

/// What speaks against a target beside its nodes.
pub(super) fn price(needs: &Needs<'_>, target: &Target, counts: &[i64]) -> Price {
    let lacking = lacking(needs.request, target).count();
    (
        i64::try_from(lacking).unwrap_or(i64::MAX),
        hourly(needs, target, counts),
        target.rates.carbon.unwrap_or(0),
    )
}

/// Data that a workload names and a target does not have.
fn lacking<'a>(request: &'a Request, target: &'a Target) -> impl Iterator<Item = &'a str> {
    let data = request.data.iter();
    data.filter(|name| !target.rates.data.contains(*name))
        .map(String::as_str)
}

fn hourly(needs: &Needs<'_>, target: &Target, counts: &[i64]) -> i64 {
    let sets = needs.sets.iter().zip(counts);
    sets.map(|(need, pods)| target.rates.hourly(&need.set.requests, *pods))
        .fold(0, i64::saturating_add)
}

/// Two places, more where that would be nothing.
fn money(micros: i64) -> String {
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    if micros == 0 || micros >= 10_000 {
        format!("{whole}.{:02}", rest / 10_000)
    } else {
        format!("{whole}.{rest:06}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn scoring(tiers: &[&[(&str, u32)]]) -> Scoring {
        let tier = |tier: &&[(&str, u32)]| -> BTreeMap<String, u32> {
            tier.iter()
                .map(|(name, weight)| ((*name).to_owned(), *weight))
                .collect()
        };
        Scoring::read(&tiers.iter().map(tier).collect::<Vec<_>>()).expect("right")
    }

    /// occupancy, cost, carbon.
    fn numbers(list: &[[i64; 3]]) -> Vec<Numbers> {
        list.iter()
            .map(|[occupancy, cost, carbon]| Numbers {
                occupancy: *occupancy,
                cost: *cost,
                carbon: *carbon,
                ..Numbers::default()
            })
            .collect()
    }

    fn best(tiers: &[&[(&str, u32)]], list: &[Numbers]) -> usize {
        let ranks = ranks(&scoring(tiers), list);
        (0..list.len()).min_by_key(|at| &ranks[*at]).expect("some")
    }

    #[test]
    fn tiers_in_order_and_weights_inside_one() {
        let list = numbers(&[[4, 200, 400], [0, 300, 400], [4, 210, 100]]);
        for (tiers, expected) in [
            (&[][..], 1),
            (&[&[("cost", 1)][..]], 0),
            (&[&[("carbon", 1)]], 2),
            (&[&[("cost", 2), ("carbon", 1)]], 2),
            (&[&[("cost", 100), ("carbon", 1)]], 0),
            (&[&[("occupancy", 1)], &[("cost", 1)]], 1),
            (&[&[("cost", 1), ("occupancy", 1)]], 1),
        ] {
            assert_eq!(best(tiers, &list), expected, "{tiers:?}");
        }
    }

    #[test]
    fn a_small_difference_weighs_little() {
        // One dearer by a hundredth, the other four times as dirty.
        let list = numbers(&[[0, 210, 400], [0, 212, 100]]);
        assert_eq!(best(&[&[("cost", 3), ("carbon", 1)]], &list), 1);
    }

    #[test]
    fn closeness_and_health_come_first_unless_they_are_named() {
        let near = Numbers {
            cost: 9,
            ..Numbers::default()
        };
        let wide = Numbers {
            topology: 1,
            cost: 1,
            ..Numbers::default()
        };
        let ill = Numbers {
            faults: 1,
            ..Numbers::default()
        };
        assert_eq!(best(&[&[("cost", 1)]], &[near, wide]), 0);
        assert_eq!(
            best(&[&[("cost", 1)], &[("topology", 1)]], &[near, wide]),
            1
        );
        assert_eq!(best(&[&[("cost", 1)]], &[near, ill]), 0);
        assert_eq!(best(&[&[("cost", 1)], &[("faults", 1)]], &[near, ill]), 1);
    }

    #[test]
    fn headroom_can_be_weighed() {
        let list = numbers(&[[-2, 1, 0], [-8, 2, 0]]);
        assert_eq!(best(&[&[("occupancy", 2), ("cost", 1)]], &list), 1);
        assert_eq!(best(&[&[("occupancy", 1), ("cost", 9)]], &list), 0);
    }

    #[test]
    fn prices_are_readable() {
        for (micros, text) in [
            (16_800_000, "16.80"),
            (0, "0.00"),
            (123, "0.000123"),
            (30_000, "0.03"),
        ] {
            assert_eq!(money(micros), text);
        }
    }

    proptest! {
        /// What is no worse in anything is never passed over, and no order of the candidates decides.
        #[test]
        fn no_worse_is_no_worse(
            list in prop::collection::vec(prop::array::uniform3(-50_i64..1_000_000_000), 2..8),
            weights in prop::array::uniform3(1_u32..1_000_000),
        ) {
            let list = numbers(&list);
            let tiers: &[&[(&str, u32)]] =
                &[&[("occupancy", weights[0]), ("cost", weights[1]), ("carbon", weights[2])]];
            let scoring = scoring(tiers);
            let found = ranks(&scoring, &list);
            for a in 0..list.len() {
                for b in 0..list.len() {
                    let no_worse = list[a].occupancy <= list[b].occupancy
                        && list[a].cost <= list[b].cost
                        && list[a].carbon <= list[b].carbon;
                    prop_assert!(!no_worse || found[a] <= found[b], "{:?} {:?}", list[a], list[b]);
                }
            }
            let turned: Vec<Numbers> = list.iter().rev().copied().collect();
            let mut again = ranks(&scoring, &turned);
            again.reverse();
            prop_assert_eq!(found, again);
        }
    }
}
