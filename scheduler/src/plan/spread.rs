//! Spread constraints: groups made by a label of targets or of nodes become the bins that replicas are divided over.

use super::fill::{Pick, places};
use super::gang::Added;
use super::needs::{Needs, is_target_label};
use super::pick::pick;
use super::tree::Level;
use super::webster::{Bin, Rule, add_by_rules};
use crate::fleet::{Fleet, HOSTNAME, Target, TargetName};

/// A target, or one group of its nodes.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) target: TargetName,
    /// Nodes, by position.
    pub(super) nodes: Vec<usize>,
    /// For each constraint the group.
    pub(super) groups: Vec<String>,
    /// Replicas that fit beside what is there.
    pub(super) room: i64,
}

/// The rules of a request, in its order.
pub(super) fn rules(needs: &Needs<'_>) -> Vec<Rule> {
    let number = |value: Option<u32>| value.and_then(|value| usize::try_from(value).ok());
    let rule = |one: &placement_api::kinds::SpreadConstraint| Rule {
        min_groups: number(one.min_groups).unwrap_or(0),
        max_groups: number(one.max_groups).unwrap_or(usize::MAX).max(1),
        max_skew: one.max_skew.map_or(i64::MAX, |skew| i64::from(skew.max(1))),
    };
    needs.request.spread.iter().map(rule).collect()
}

/// Whether some constraint is about labels of nodes.
pub(super) fn over_nodes(fleet: &Fleet, needs: &Needs<'_>) -> bool {
    needs
        .request
        .spread
        .iter()
        .any(|one| !is_target_label(fleet, &one.topology_key))
}

/// Whether some constraint is about labels of targets.
pub(super) fn over_targets(fleet: &Fleet, needs: &Needs<'_>) -> bool {
    needs
        .request
        .spread
        .iter()
        .any(|one| is_target_label(fleet, &one.topology_key))
}

/// The constraint that no single target can meet, by its position.
pub(super) fn beyond_one_target(fleet: &Fleet, needs: &Needs<'_>) -> Option<usize> {
    let several = |one: &placement_api::kinds::SpreadConstraint| {
        one.min_groups.is_some_and(|least| least > 1)
    };
    needs
        .request
        .spread
        .iter()
        .position(|one| several(one) && is_target_label(fleet, &one.topology_key))
}

/// The cells of a target among these nodes. What lacks a label that a constraint is about is in no group and gets nothing.
pub(super) fn cells(
    fleet: &Fleet,
    needs: &Needs<'_>,
    name: &TargetName,
    target: &Target,
    nodes: &[usize],
    copies: &[i64],
) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    let group = |key: &str, node: Option<usize>| {
        if is_target_label(fleet, key) {
            return target.labels.get(key).cloned();
        }
        let node = &target.node_list()[node?];
        if key == HOSTNAME {
            Some(node.name().to_string())
        } else {
            node.label(key).map(str::to_owned)
        }
    };
    if !over_nodes(fleet, needs) {
        let groups: Option<Vec<String>> = needs
            .request
            .spread
            .iter()
            .map(|one| group(&one.topology_key, None))
            .collect();
        let room = nodes.iter().map(|node| copies[*node]).sum();
        return groups
            .map(|groups| Cell {
                target: name.clone(),
                nodes: nodes.to_vec(),
                groups,
                room,
            })
            .into_iter()
            .collect();
    }
    for &node in nodes {
        let groups: Option<Vec<String>> = needs
            .request
            .spread
            .iter()
            .map(|one| group(&one.topology_key, Some(node)))
            .collect();
        let Some(groups) = groups else { continue };
        let position = cells
            .iter()
            .position(|cell| cell.groups == groups)
            .unwrap_or_else(|| {
                cells.push(Cell {
                    target: name.clone(),
                    nodes: Vec::new(),
                    groups,
                    room: 0,
                });
                cells.len() - 1
            });
        cells[position].nodes.push(node);
        cells[position].room += copies[node];
    }
    cells
}

/// Seats of a gang inside one domain, all or nothing.
pub(super) fn within(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    nodes: &[usize],
    want: i64,
) -> Option<Vec<Pick>> {
    let copies = needs.sets[0].copies_on(target);
    let name = TargetName::from("");
    let cells = cells(fleet, needs, &name, target, nodes, &copies);
    let have = divide(&cells, needs, want)?;
    let picks = cells.iter().zip(&have).flat_map(|(cell, pods)| {
        pick(
            &places(fleet, needs, target, 0, &cell.nodes, &copies),
            *pods,
            needs.packing,
        )
        .into_iter()
        .map(|(node, pods)| Pick { set: 0, node, pods })
    });
    let mut picks: Vec<Pick> = picks.collect();
    picks.sort_unstable();
    Some(picks)
}

/// A gang spread over several targets, with at least `least` pods in each.
pub(super) fn gang(
    fleet: &Fleet,
    needs: &Needs<'_>,
    tier: &[TargetName],
    want: i64,
    least: i64,
) -> Option<Vec<Added>> {
    let mut usable: Vec<&TargetName> = tier.iter().collect();
    loop {
        let mut all: Vec<Cell> = Vec::new();
        for name in &usable {
            let Some(target) = fleet.target(name.as_str()) else {
                continue;
            };
            let copies = needs.sets[0].copies_on(target);
            let nodes: Vec<usize> = (0..copies.len()).collect();
            all.extend(cells(fleet, needs, name, target, &nodes, &copies));
        }
        let have = divide(&all, needs, want)?;
        let on = |name: &TargetName| {
            all.iter()
                .zip(&have)
                .filter(|(cell, _)| cell.target == *name)
                .map(|(_, pods)| pods)
                .sum::<i64>()
        };
        // The target that falls short by the most gives way.
        let short = usable
            .iter()
            .enumerate()
            .filter(|(_, name)| (1..least).contains(&on(name)))
            .min_by_key(|(_, name)| on(name));
        if let Some((position, _)) = short {
            usable.remove(position);
            continue;
        }
        let added = usable
            .iter()
            .filter(|name| on(name) > 0)
            .filter_map(|name| {
                let target = fleet.target(name.as_str())?;
                let copies = needs.sets[0].copies_on(target);
                let mut picks: Vec<Pick> = Vec::new();
                for (cell, pods) in all
                    .iter()
                    .zip(&have)
                    .filter(|(cell, _)| cell.target == **name)
                {
                    let chosen = pick(
                        &places(fleet, needs, target, 0, &cell.nodes, &copies),
                        *pods,
                        needs.packing,
                    );
                    picks.extend(chosen.into_iter().map(|(node, pods)| Pick {
                        set: 0,
                        node,
                        pods,
                    }));
                }
                picks.sort_unstable();
                Some(Added {
                    target: (*name).clone(),
                    counts: vec![on(name)],
                    picks,
                    level: Level::Target,
                    device: None,
                })
            });
        return Some(added.collect());
    }
}

fn divide(cells: &[Cell], needs: &Needs<'_>, want: i64) -> Option<Vec<i64>> {
    let bin = |cell: &Cell| Bin {
        weight: i128::from(cell.room),
        have: 0,
        most: cell.room,
        groups: cell.groups.clone(),
    };
    let bins: Vec<Bin> = cells.iter().map(bin).collect();
    add_by_rules(&bins, want, &rules(needs))
        .ok()
        .filter(|have| have.iter().sum::<i64>() == want)
}
