//! Who gives way by the rules of others.

use std::cmp::Reverse;

use super::cut::Cut;

/// A rule for the choice of victims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Lowest priority first and of those the newest, until it fits; then as many as possible are put back, the last first.
    Kueue,
    /// Pod by pod the node with the least important victims, then the fewest; gangs go whole.
    Kubernetes,
    /// Lowest priority first and of those the least lost work, until it fits; then put back the dearest.
    Cheapest,
}

impl Rule {
    pub(super) const ALL: [Self; 3] = [Self::Kueue, Self::Kubernetes, Self::Cheapest];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kueue => "Kueue's rule",
            Self::Kubernetes => "kube-scheduler's rule",
            Self::Cheapest => "cheapest first",
        }
    }

    /// The victims; nothing: it finds none.
    pub(super) fn victims(self, cut: &Cut) -> Option<Vec<usize>> {
        let mut order: Vec<usize> = (0..cut.running.len())
            .filter(|position| cut.running[*position].is_victim())
            .collect();
        match self {
            Self::Kueue => {
                order.sort_by_key(|position| {
                    let one = &cut.running[*position];
                    (one.priority, Reverse(one.started_ms), *position)
                });
                until_it_fits(cut, &order)
            }
            Self::Cheapest => {
                order.sort_by_key(|position| {
                    let one = &cut.running[*position];
                    (one.priority, one.lost(), *position)
                });
                until_it_fits(cut, &order)
            }
            Self::Kubernetes => node_by_node(cut, &order),
        }
    }
}

fn until_it_fits(cut: &Cut, order: &[usize]) -> Option<Vec<usize>> {
    let mut gone = Vec::new();
    for position in order {
        gone.push(*position);
        if cut.fits(&gone) {
            for at in (0..gone.len()).rev() {
                let mut less = gone.clone();
                less.remove(at);
                if cut.fits(&less) {
                    gone = less;
                }
            }
            return Some(gone);
        }
    }
    None
}

fn node_by_node(cut: &Cut, victims: &[usize]) -> Option<Vec<usize>> {
    let of_region = |region: std::ops::Range<usize>| -> Option<Vec<usize>> {
        let mut gone: Vec<usize> = Vec::new();
        // Pods of the claimant that each node has got.
        let mut taken = vec![0; cut.nodes];
        for _ in 0..cut.claimant.pods {
            let holds = |gone: &[usize], node: usize| {
                cut.free(gone)[node] / cut.claimant.gpus > taken[node]
            };
            let on = |node: usize| -> Option<Vec<usize>> {
                let mut there: Vec<usize> = victims
                    .iter()
                    .copied()
                    .filter(|position| cut.running[*position].pods.contains(&node))
                    .filter(|position| !gone.contains(position))
                    .collect();
                let with = |more: &[usize]| [&gone[..], more].concat();
                if !holds(&with(&there), node) {
                    return None;
                }
                // The important ones are spared first.
                there.sort_by_key(|position| (Reverse(cut.running[*position].priority), *position));
                for position in there.clone() {
                    let less: Vec<usize> = there
                        .iter()
                        .copied()
                        .filter(|one| *one != position)
                        .collect();
                    if holds(&with(&less), node) {
                        there = less;
                    }
                }
                Some(there)
            };
            let (_, node, more) = region
                .clone()
                .filter_map(|node| {
                    let there = on(node)?;
                    let priorities = || there.iter().map(|one| cut.running[*one].priority);
                    let key = (
                        priorities().max().unwrap_or(i32::MIN),
                        priorities().sum::<i32>(),
                        there.len(),
                    );
                    Some((key, node, there))
                })
                .min_by_key(|(key, node, _)| (*key, *node))?;
            gone.extend(more);
            taken[node] += 1;
        }
        Some(gone)
    };
    let found = cut.regions().into_iter().filter_map(of_region);
    found.min_by_key(|gone| (cut.cost(gone).priority, gone.len()))
}
