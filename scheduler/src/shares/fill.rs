//! Water filling at one parent: the child with the smallest dominant share / weight grows first, until its demand or the end of
//! what it needs.
//!
//! ```text
//! level  ^            /‾‾‾‾ demand met         a child grows along all that it wants at once;
//! (share |          /                          its level is (share it has of its dominant resource) / weight
//!  /     |  -------+------ water level         the water stops where the first resource is used up;
//! weight)|   A   B   C                         who wants that stops wanting it, and the rest goes on
//! ```
//!
//! The dominant resource of a child is the one of which its open wish is the largest share; a resource that is used up counts no
//! more, so that nothing idles that somebody could use.

use std::cmp::Ordering;

use super::capacity::{Measures, Portion};
use super::dims::Dims;
use super::wide::{cmp_ratios, mul_div};

/// One child: what it still wants, and what it has got here.
#[derive(Clone, Debug, Default)]
pub(super) struct Cup {
    /// Share among those who are filled together, at least 1.
    pub(super) weight: u32,
    /// What it wants, by dimension; not below zero. Ends as what it could not get.
    pub(super) wants: Vec<i128>,
    /// What it got, by dimension.
    pub(super) gets: Vec<i128>,
}

/// How a child grows in one round.
struct Growth {
    cup: usize,
    weight: u128,
    dominant: Portion,
    /// What it has already of its dominant resource.
    has: u128,
    state: State,
    /// Pace in every contested dimension, in their order.
    paces: Vec<Pace>,
}

/// How an amount grows with the level.
#[derive(Clone, Copy, Default)]
struct Pace {
    /// What belongs to a share of 1.
    rate: u128,
    /// What belongs to the share that it has already.
    had: u128,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Grows,
    Met,
}

/// A level at which a child begins or ends to grow: `part / whole`.
struct Mark {
    part: u128,
    whole: u128,
    /// `part / whole` in small, for a fast comparison.
    about: u128,
    growth: usize,
    ends: bool,
}

/// A contested dimension while the water rises.
#[derive(Clone, Copy, Default)]
struct Flow {
    dim: usize,
    free: u128,
    /// Amount per level of all who grow.
    rate: u128,
    /// What they had before.
    had: u128,
    /// What those have got whose wish is met.
    met: u128,
}

/// Divides `free` among the cups. Afterwards nothing is left (but crumbs, less than a grain for each cup) that a cup wants and
/// that its other wishes do not depend on.
pub(super) fn fill(free: &mut [i128], cups: &mut [Cup], measures: &Measures, dims: &Dims) {
    // Every round meets all wishes or uses up a dimension.
    for _ in 0..=dims.len() {
        close(free, cups, dims);
        let mut growths = growths(free, cups, measures);
        if growths.is_empty() {
            return;
        }
        let stop = rise(free, cups, &mut growths);
        give(free, cups, &growths, stop.as_ref());
        let Some(stop) = stop else { return };
        free[stop.dim] = 0;
    }
}

/// Nobody wants what there is none of. Devices of a product that is used up are not wanted as devices either.
fn close(free: &[i128], cups: &mut [Cup], dims: &Dims) {
    for (dim, one) in dims.iter().filter(|(dim, _)| free[*dim] <= 0) {
        for cup in cups.iter_mut() {
            let unmet = std::mem::take(&mut cup.wants[dim]);
            if let Some(of) = one.of {
                cup.wants[of] = (cup.wants[of] - unmet).max(0);
            }
        }
    }
    for (dim, one) in dims.iter() {
        if let Some(of) = one.of {
            for cup in cups.iter_mut() {
                cup.wants[dim] = cup.wants[dim].min(cup.wants[of]);
            }
        }
    }
}

fn growths(free: &[i128], cups: &[Cup], measures: &Measures) -> Vec<Growth> {
    let open = |dim: usize| free[dim] > 0;
    let wanting = cups.iter().enumerate();
    wanting
        .filter_map(|(number, cup)| {
            let dominant = measures.dominant(&cup.wants, open)?;
            Some(Growth {
                cup: number,
                weight: u128::from(cup.weight.max(1)),
                has: measures.part(&cup.gets, &dominant),
                dominant,
                state: State::Waits,
                paces: Vec::new(),
            })
        })
        .collect()
}

/// Where the water stops: the dimension that is used up, at the level `part / whole`.
struct Stop {
    dim: usize,
    part: u128,
    whole: u128,
}

/// Raises the level until a dimension is used up; `None` if all wishes are met before.
fn rise(free: &[i128], cups: &[Cup], growths: &mut [Growth]) -> Option<Stop> {
    let contested = |dim: &usize| {
        let wanted: i128 = cups.iter().map(|cup| cup.wants[*dim]).sum();
        wanted > free[*dim]
    };
    let mut flows: Vec<Flow> = (0..free.len())
        .filter(contested)
        .map(|dim| Flow {
            dim,
            free: free[dim].max(0).unsigned_abs(),
            ..Flow::default()
        })
        .collect();
    let first = flows.first()?.dim;
    for growth in growths.iter_mut() {
        let wants = &cups[growth.cup].wants;
        growth.paces = flows
            .iter()
            .map(|flow| growth.pace(wants[flow.dim]))
            .collect();
    }
    let marks = marks(growths);
    let (mut part, mut whole) = (0, 1);
    for mark in &marks {
        let overflows = |flow: &&Flow| {
            flow.rate > 0
                && cmp_ratios(mark.part, mark.whole, flow.room(), flow.rate) == Ordering::Greater
        };
        let stop = flows
            .iter()
            .filter(overflows)
            .min_by(|a, b| cmp_ratios(a.room(), a.rate, b.room(), b.rate));
        if let Some(flow) = stop {
            // Rounding may put the end a crumb below the last mark.
            let behind = cmp_ratios(flow.room(), flow.rate, part, whole).is_lt();
            let (part, whole) = if behind {
                (part, whole)
            } else {
                (flow.room(), flow.rate)
            };
            return Some(Stop {
                dim: flow.dim,
                part,
                whole,
            });
        }
        (part, whole) = (mark.part, mark.whole);
        let growth = &mut growths[mark.growth];
        let wants = &cups[growth.cup].wants;
        for (flow, pace) in flows.iter_mut().zip(&growth.paces) {
            if mark.ends {
                flow.rate -= pace.rate * growth.weight;
                flow.had -= pace.had;
                flow.met += wants[flow.dim].unsigned_abs();
            } else {
                flow.rate += pace.rate * growth.weight;
                flow.had += pace.had;
            }
        }
        growth.state = if mark.ends { State::Met } else { State::Grows };
    }
    // All wishes are met but for crumbs.
    Some(Stop {
        dim: first,
        part,
        whole,
    })
}

/// Hands out what belongs to the level, never more than there is.
fn give(free: &mut [i128], cups: &mut [Cup], growths: &[Growth], stop: Option<&Stop>) {
    for growth in growths {
        let cup = &mut cups[growth.cup];
        for (dim, left) in free.iter_mut().enumerate() {
            let wanted = cup.wants[dim];
            let amount = match (growth.state, stop) {
                _ if wanted == 0 => continue,
                (State::Met, _) | (_, None) => wanted,
                (State::Waits, Some(_)) => continue,
                (State::Grows, Some(stop)) => {
                    let pace = growth.pace(wanted);
                    let reached = mul_div(stop.part, pace.rate * growth.weight, stop.whole);
                    i128::try_from(reached.saturating_sub(pace.had)).unwrap_or(wanted)
                }
            };
            let amount = amount.min(wanted).min(*left);
            cup.gets[dim] += amount;
            cup.wants[dim] -= amount;
            *left -= amount;
        }
    }
}

/// Begin and end of every growth, by level.
fn marks(growths: &[Growth]) -> Vec<Mark> {
    let mark = |growth: &Growth, number: usize, ends: bool| {
        let part = growth.has + if ends { growth.dominant.part } else { 0 };
        let whole = growth.dominant.whole * growth.weight;
        Mark {
            part,
            whole,
            about: mul_div(part, 1 << 40, whole),
            growth: number,
            ends,
        }
    };
    let mut marks: Vec<Mark> = Vec::with_capacity(2 * growths.len());
    for (number, growth) in growths.iter().enumerate() {
        marks.push(mark(growth, number, false));
        marks.push(mark(growth, number, true));
    }
    marks.sort_by(|a, b| {
        a.about
            .cmp(&b.about)
            .then_with(|| cmp_ratios(a.part, a.whole, b.part, b.whole))
            .then_with(|| (a.growth, a.ends).cmp(&(b.growth, b.ends)))
    });
    marks
}

impl Growth {
    /// How it grows in a dimension of which it wants so much.
    fn pace(&self, wanted: i128) -> Pace {
        if wanted <= 0 {
            return Pace::default();
        }
        // Bounded, so that a thousand of them times a weight stay below 2¹²⁷; no fleet has as much.
        let Portion { part, whole, .. } = self.dominant;
        let rate = mul_div(wanted.unsigned_abs(), whole, part).min(1 << 84);
        let had = if self.has == 0 {
            0
        } else {
            mul_div(self.has, rate, whole)
        };
        Pace { rate, had }
    }
}

impl Flow {
    /// What all who grow may have together, counted from a share of nothing.
    fn room(&self) -> u128 {
        (self.free + self.had).saturating_sub(self.met)
    }
}
