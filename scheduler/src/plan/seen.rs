//! A target as a gang sees it: what its domains hold, and how good each of them would be.

use std::collections::BTreeMap;

use placement_api::kinds::Packing;

use super::gang::{Ask, nodes_within};
use super::history::WORST;
use super::needs::{Needs, soft_taints};
use super::span::{Span, spans};
use super::tree::{Level, Numbering, asked};
use crate::fleet::{Fleet, NOWHERE, Target, TargetName};

/// A candidate's score; smaller is better, fields in the order of their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score<'a> {
    /// Soft taints of the target, then what went wrong there lately.
    soft: i64,
    /// Pods that would be on nodes with devices that they do not ask for.
    astray: i64,
    /// Domains of the level that was asked for.
    parts: usize,
    /// Packing: copies left over; spreading: the same, negative.
    fit: i64,
    /// Copies left in the domain around it.
    around: i64,
    target: &'a TargetName,
    /// Number of the domain, in the order of the paths.
    pub(super) domain: usize,
}

/// A target as a gang sees it.
pub(super) struct Seen<'a> {
    pub(super) name: &'a TargetName,
    pub(super) target: &'a Target,
    pub(super) nodes: Vec<usize>,
    /// Copies by role and node, each role as if it were alone.
    copies: Vec<Vec<i64>>,
    /// Copies of the leading role on nodes that are not to be avoided.
    proper: Vec<i64>,
    soft: i64,
}

/// What one domain holds, each role as if it were alone.
pub(super) struct Room {
    pub(super) number: usize,
    copies: Vec<i64>,
    proper: i64,
}

impl Room {
    pub(super) fn holds(&self, wants: &[i64]) -> bool {
        self.copies
            .iter()
            .zip(wants)
            .all(|(copies, want)| copies >= want)
    }
}

impl<'a> Seen<'a> {
    pub(super) fn new(
        fleet: &'a Fleet,
        needs: &Needs<'_>,
        ask: &Ask<'_>,
        name: &'a TargetName,
    ) -> Option<Self> {
        let target = fleet.target(name.as_str())?;
        let copies: Vec<Vec<i64>> = needs
            .sets
            .iter()
            .map(|need| need.copies_on(target))
            .collect();
        let mut nodes = nodes_within(target, &ask.within);
        if let (Some(topology), false) =
            (&needs.request.topology, ask.levels.contains(&Level::Target))
        {
            // Who must be in one rack cannot be on a node that is in none.
            nodes.retain(|node| {
                target.node_list()[*node]
                    .labels
                    .contains_key(&topology.level)
            });
        }
        if !copies.is_empty() {
            nodes.retain(|node| copies.iter().any(|copies| copies[*node] > 0));
        }
        let leading = needs.leading();
        let mut proper = copies.get(leading).cloned().unwrap_or_default();
        for node in &nodes {
            if proper.get(*node).is_some_and(|copies| *copies > 0)
                && needs.sets[leading].avoidance(&target.node_list()[*node], fleet) > 0
            {
                proper[*node] = 0;
            }
        }
        let soft = (WORST + 1) * soft_taints(&needs.request.tolerations, &target.taints)
            + target.trouble.clamp(0, WORST);
        Some(Self {
            name,
            target,
            nodes,
            copies,
            proper,
            soft,
        })
    }

    pub(super) fn total(&self, set: usize) -> i64 {
        self.copies.get(set).map_or(0, |copies| {
            self.nodes.iter().map(|node| copies[*node]).sum()
        })
    }

    /// Whether the whole target holds each role by itself.
    pub(super) fn may_hold(&self, wants: &[i64]) -> bool {
        wants
            .iter()
            .enumerate()
            .all(|(set, want)| *want == 0 || self.total(set) >= *want)
    }

    /// The domains of a level that have nodes for it, by number.
    pub(super) fn rooms(&self, level: &Level) -> Vec<Room> {
        let numbering = Numbering::new(level, self.target);
        if *level == Level::Target {
            let copies = (0..self.copies.len()).map(|set| self.total(set)).collect();
            let proper = self
                .nodes
                .iter()
                .filter_map(|node| self.proper.get(*node))
                .sum();
            return vec![Room {
                number: 0,
                copies,
                proper,
            }];
        }
        let mut order: Vec<(usize, usize)> = self
            .nodes
            .iter()
            .map(|node| (numbering.of(*node), *node))
            .collect();
        order.sort_unstable();
        let mut rooms: Vec<Room> = Vec::new();
        for (number, node) in order.into_iter().filter(|(number, _)| *number != NOWHERE) {
            if rooms.last().is_none_or(|room| room.number != number) {
                rooms.push(Room {
                    number,
                    copies: vec![0; self.copies.len()],
                    proper: 0,
                });
            }
            let Some(room) = rooms.last_mut() else {
                continue;
            };
            for (sum, copies) in room.copies.iter_mut().zip(&self.copies) {
                *sum += copies[node];
            }
            room.proper += self.proper.get(node).copied().unwrap_or(0);
        }
        rooms
    }

    pub(super) fn nodes_of(&self, level: &Level, number: usize) -> Vec<usize> {
        let numbering = Numbering::new(level, self.target);
        self.nodes
            .iter()
            .copied()
            .filter(|node| numbering.of(*node) == number)
            .collect()
    }

    /// What speaks for the domains of a level beside their room, where closeness was asked for.
    pub(super) fn spans(
        &self,
        fleet: &Fleet,
        needs: &Needs<'_>,
        level: &Level,
        wants: &[i64],
    ) -> BTreeMap<usize, Span> {
        let leading = needs.leading();
        let (Some(topology), Packing::Pack, Some(copies)) = (
            &needs.request.topology,
            needs.packing,
            self.copies.get(leading),
        ) else {
            return BTreeMap::new();
        };
        let asked = asked(fleet.levels(), topology);
        let levels = (level, &asked);
        spans(
            fleet,
            levels,
            self.target,
            &self.nodes,
            copies,
            wants[leading],
        )
    }

    pub(super) fn score(
        &self,
        needs: &Needs<'_>,
        room: &Room,
        wants: &[i64],
        span: Span,
    ) -> Score<'a> {
        let leading = needs.leading();
        let want = wants.get(leading).copied().unwrap_or(0);
        let left = room.copies.get(leading).copied().unwrap_or(0) - want;
        let fit = if needs.packing == Packing::Pack {
            left
        } else {
            -left
        };
        Score {
            soft: self.soft,
            astray: (want - room.proper).max(0),
            parts: span.parts,
            fit,
            around: span.around,
            target: self.name,
            domain: room.number,
        }
    }
}
