//! A target as a gang sees it: what its nodes and domains hold, and what speaks for each.

use placement_api::kinds::Packing;

use super::gang::{Ask, nodes_within};
use super::needs::Needs;
use super::score::Numbers;
use super::span::{Span, spans};
use super::tree::{self, Level, Numbering, asked};
use crate::fleet::{Fleet, NOWHERE, Target, TargetName};

/// A target as a gang sees it.
pub(super) struct Seen<'a> {
    pub(super) name: &'a TargetName,
    pub(super) target: &'a Target,
    pub(super) nodes: Vec<usize>,
    /// Copies by role and node, each role as if it were alone.
    pub(super) copies: Vec<Vec<i64>>,
    /// Copies of the leading role on nodes that are not to be avoided.
    proper: Vec<i64>,
    /// The domain in which its spares would be, where it asks for some.
    around: Option<Level>,
}

/// What one domain holds of the leading role, as if that were alone.
pub(super) struct Room {
    pub(super) number: usize,
    /// Its first node.
    pub(super) first: usize,
    copies: i64,
    proper: i64,
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
            let numbering = Numbering::new(&asked(fleet.levels(), topology), target);
            nodes.retain(|node| numbering.of(*node) != NOWHERE);
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
        Some(Self {
            name,
            target,
            nodes,
            copies,
            proper,
            around: around(fleet, needs),
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

    /// The domains of a level that hold so many of each role, each role as if it were alone; by number.
    pub(super) fn rooms(&self, needs: &Needs<'_>, level: &Level, wants: &[i64]) -> Vec<Room> {
        let numbering = Numbering::new(level, self.target);
        let numbered = self.nodes.iter().map(|node| (numbering.of(*node), *node));
        let mut order: Vec<(usize, usize)> =
            numbered.filter(|(number, _)| *number != NOWHERE).collect();
        order.sort_unstable();
        let room = |part: &[(usize, usize)]| {
            let sum = |copies: &Vec<i64>| -> i64 {
                let here = part.iter().filter_map(|(_, node)| copies.get(*node));
                here.sum()
            };
            let mut roles = self.copies.iter().zip(wants);
            let (number, first) = part.first().copied().unwrap_or_default();
            roles
                .all(|(copies, want)| sum(copies) >= *want)
                .then(|| Room {
                    number,
                    first,
                    copies: self.copies.get(needs.leading()).map_or(0, sum),
                    proper: sum(&self.proper),
                })
        };
        if *level == Level::Target {
            // The target is there even if none of its nodes is.
            return room(&order).into_iter().collect();
        }
        order.chunk_by(|a, b| a.0 == b.0).filter_map(room).collect()
    }

    pub(super) fn nodes_of(&self, level: &Level, number: usize) -> Vec<usize> {
        let numbering = Numbering::new(level, self.target);
        self.nodes
            .iter()
            .copied()
            .filter(|node| numbering.of(*node) == number)
            .collect()
    }

    /// What speaks for these domains of a level beside their room, where closeness was asked for.
    pub(super) fn spans(
        &self,
        fleet: &Fleet,
        needs: &Needs<'_>,
        level: &Level,
        rooms: &[Room],
        wants: &[i64],
    ) -> Vec<Span> {
        let leading = needs.leading();
        let (Some(topology), Packing::Pack, Some(copies), false) = (
            &needs.request.topology,
            needs.packing,
            self.copies.get(leading),
            rooms.is_empty(),
        ) else {
            return vec![Span::default(); rooms.len()];
        };
        let asked = asked(fleet.levels(), topology);
        let levels = (level, &asked);
        let want = wants[leading];
        spans(fleet, levels, self.target, &self.nodes, copies, want, rooms)
    }

    /// What speaks for all of its domains of a level.
    pub(super) fn numbers(&self, needs: &Needs<'_>, ask: &Ask<'_>, level: &Level) -> Numbers {
        let width = ask.levels.iter().position(|one| one == level);
        Numbers {
            topology: width.and_then(|one| i64::try_from(one).ok()).unwrap_or(0),
            ..Numbers::of_target(needs, self.name, self.target, &ask.wants)
        }
    }

    /// What speaks for one of them, `all` being what speaks for all.
    pub(super) fn numbers_in(
        &self,
        needs: &Needs<'_>,
        all: Numbers,
        room: &Room,
        ask: &Ask<'_>,
        (level, span): (&Level, Span),
    ) -> Numbers {
        let want = ask.wants.get(needs.leading()).copied().unwrap_or(0);
        Numbers {
            spares: self.spares_lacking(needs, level, room.number, want),
            parts: i64::try_from(span.parts).unwrap_or(i64::MAX),
            around: span.around,
            ..all.with_room(needs, want, room.copies, room.proper)
        }
    }

    /// Spare nodes that would be missing beside a gang in a domain, as if its leading role were alone and filled its nodes.
    fn spares_lacking(&self, needs: &Needs<'_>, level: &Level, number: usize, want: i64) -> i64 {
        let Some(around) = &self.around else {
            return 0;
        };
        let wide = if tree::at_least_as_wide(level, around) {
            level
        } else {
            around
        };
        let inside = self.nodes_of(level, number);
        let numbering = Numbering::new(wide, self.target);
        let whole = inside.first().map(|node| numbering.of(*node));
        let near = self
            .nodes
            .iter()
            .filter(|node| Some(numbering.of(**node)) == whole);
        let copies = |node: &usize| self.copies.get(needs.leading()).map_or(0, |all| all[*node]);
        let mut own: Vec<i64> = inside.iter().map(copies).collect();
        own.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = want;
        let used = own.iter().take_while(|copies| {
            let more = left > 0;
            left -= **copies;
            more
        });
        let used = used.count();
        let each = own.first().copied().unwrap_or(0).min(want);
        let fit = near.filter(|node| copies(node) >= each).count();
        let spare = i64::try_from(fit.saturating_sub(used)).unwrap_or(i64::MAX);
        (needs.request.spares - spare).max(0)
    }
}

/// The level of the domain in which spares would be.
fn around(fleet: &Fleet, needs: &Needs<'_>) -> Option<Level> {
    let request = needs.request;
    let asked = || {
        request
            .topology
            .as_ref()
            .map(|one| asked(fleet.levels(), one))
    };
    (request.spares > 0).then(|| asked().unwrap_or(Level::Target))
}
