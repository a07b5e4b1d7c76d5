//! One gang over several targets: the fewest that hold it, with a least number of pods in each.

/// Pods for each target, by position in `rooms` (pods that each holds, the largest first); targets without pods are left out. The
/// largest are filled first, as far as all get their least. `None`: there is no way.
///
/// Of so many targets the largest hold the most, and more targets need more pods for their least: the smallest number whose room is enough
/// either works or nothing does.
pub(super) fn shares(rooms: &[i64], want: i64, least: i64) -> Option<Vec<(usize, i64)>> {
    let open: Vec<(usize, i64)> = rooms
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, room)| *room >= least)
        .collect();
    let mut held = 0;
    let enough = open.iter().position(|(_, room)| {
        held += room;
        held >= want
    })?;
    let chosen = &open[..=enough];
    let mut spare = want;
    for _ in chosen {
        spare -= least;
    }
    if spare < 0 {
        return None;
    }
    let share = |(at, room): &(usize, i64)| {
        let more = (room - least).min(spare);
        spare -= more;
        (*at, least + more)
    };
    Some(chosen.iter().map(share).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The fewest targets of any choice that can hold it.
    fn fewest(rooms: &[i64], want: i64, least: i64) -> Option<u32> {
        let possible = |subset: &u32| {
            let chosen: Vec<i64> = (0..rooms.len())
                .filter(|at| subset & (1 << at) != 0)
                .map(|at| rooms[at])
                .collect();
            let count = i64::try_from(chosen.len()).unwrap();
            chosen.iter().all(|room| *room >= least)
                && chosen.iter().sum::<i64>() >= want
                && count * least <= want
        };
        let subsets = 1_u32..1 << rooms.len();
        subsets.filter(possible).map(u32::count_ones).min()
    }

    proptest! {
        #[test]
        fn as_few_as_any_choice(rooms in prop::collection::vec(0_i64..9, 1..6), want in 1_i64..25, least in 1_i64..6) {
            let mut rooms = rooms;
            rooms.sort_unstable_by_key(|room| std::cmp::Reverse(*room));
            let found = shares(&rooms, want, least);
            let count = found.as_ref().map(|found| u32::try_from(found.len()).unwrap());
            prop_assert_eq!(count, fewest(&rooms, want, least));
            for (at, pods) in found.iter().flatten() {
                prop_assert!((least..=rooms[*at]).contains(pods));
            }
            if let Some(found) = found {
                prop_assert_eq!(found.iter().map(|(_, pods)| pods).sum::<i64>(), want);
            }
        }
    }
}
