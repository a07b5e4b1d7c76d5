//! Choice among boxes (nodes, or the children of a domain) for so many equal pods.

use std::collections::BinaryHeap;

use placement_api::kinds::Packing;

/// Something that holds a number of copies of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its number, ascending by name.
    pub(super) index: usize,
    /// Copies that it holds.
    pub(super) copies: i64,
    /// Places with less of it are filled first.
    pub(super) avoidance: i64,
    /// What is free there: of equal places the fuller one is taken when packing.
    pub(super) free: i64,
}

/// Distributes `want` pods, or as many as fit, and returns place and pods, by place.
pub(super) fn pick(places: &[Place], want: i64, packing: Packing) -> Vec<(usize, i64)> {
    let mut ranks: Vec<i64> = places.iter().map(|place| place.avoidance).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let (mut left, mut picked) = (want, Vec::new());
    for rank in ranks {
        if left <= 0 {
            break;
        }
        let group = places
            .iter()
            .copied()
            .filter(|place| place.avoidance == rank && place.copies > 0);
        let shares = match packing {
            Packing::Pack => pack(group.collect(), left),
            Packing::Spread => spread(group, left),
        };
        left -= shares.iter().map(|(_, pods)| pods).sum::<i64>();
        picked.extend(shares);
    }
    picked.sort_unstable();
    picked
}

/// Fewest places, and the tightest for what is left: the largest while no single one holds the rest, then the smallest that
/// does. That is the fewest possible, for the largest `k` hold at least what any other `k` hold.
fn pack(mut group: Vec<Place>, want: i64) -> Vec<(usize, i64)> {
    // Of equal size the last is the fullest, then the first by name.
    group.sort_by(|a, b| (a.copies, b.free, b.index).cmp(&(b.copies, a.free, a.index)));
    let (mut left, mut picked) = (want, Vec::new());
    while left > 0 {
        let first = group.partition_point(|place| place.copies < left);
        let Some(smallest) = group.get(first).map(|place| place.copies) else {
            let Some(largest) = group.pop() else { break };
            picked.push((largest.index, largest.copies));
            left -= largest.copies;
            continue;
        };
        let end = group.partition_point(|place| place.copies <= smallest);
        picked.push((group[end - 1].index, left));
        left = 0;
    }
    picked
}

/// Always the place with the most room left.
fn spread(group: impl Iterator<Item = Place>, want: i64) -> Vec<(usize, i64)> {
    let mut given: std::collections::BTreeMap<usize, i64> = std::collections::BTreeMap::new();
    let mut heap: BinaryHeap<(i64, std::cmp::Reverse<usize>)> = group
        .map(|place| (place.copies, std::cmp::Reverse(place.index)))
        .collect();
    for _ in 0..want {
        let Some((room, index)) = heap.pop() else {
            break;
        };
        *given.entry(index.0).or_insert(0) += 1;
        if room > 1 {
            heap.push((room - 1, index));
        }
    }
    given.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(copies: &[i64]) -> Vec<Place> {
        copies
            .iter()
            .enumerate()
            .map(|(index, copies)| Place {
                index,
                copies: *copies,
                avoidance: 0,
                free: *copies,
            })
            .collect()
    }

    #[test]
    fn packing() {
        for (copies, want, expected) in [
            (vec![8, 2, 4], 2, vec![(1, 2)]),
            (vec![8, 2, 4], 3, vec![(2, 3)]),
            (vec![8, 2, 4], 10, vec![(0, 8), (1, 2)]),
            (vec![8, 2, 4], 12, vec![(0, 8), (2, 4)]),
            (vec![8, 8, 8], 8, vec![(0, 8)]),
            (vec![1, 1, 1], 9, vec![(0, 1), (1, 1), (2, 1)]),
            (vec![0, 0], 1, vec![]),
        ] {
            assert_eq!(
                pick(&places(&copies), want, Packing::Pack),
                expected,
                "{want} in {copies:?}"
            );
        }
    }

    #[test]
    fn spreading() {
        for (copies, want, expected) in [
            (vec![4, 4], 3, vec![(0, 2), (1, 1)]),
            (vec![9, 2], 3, vec![(0, 3)]),
            (vec![2, 2], 9, vec![(0, 2), (1, 2)]),
        ] {
            assert_eq!(
                pick(&places(&copies), want, Packing::Spread),
                expected,
                "{want} in {copies:?}"
            );
        }
    }

    #[test]
    fn avoided_places_come_last() {
        let mut three = places(&[4, 1, 1]);
        three[0].avoidance = 1;
        for packing in [Packing::Pack, Packing::Spread] {
            assert_eq!(pick(&three, 2, packing), [(1, 1), (2, 1)]);
            assert_eq!(pick(&three, 3, packing), [(0, 1), (1, 1), (2, 1)]);
        }
    }

    #[test]
    fn of_equal_places_the_fuller() {
        let mut two = places(&[4, 4]);
        two[0].free = 9;
        assert_eq!(pick(&two, 4, Packing::Pack), [(1, 4)]);
    }
}
