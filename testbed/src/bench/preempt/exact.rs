//! The cheapest victims, by trying all sets that could be cheaper than the best one known (branch and bound).

use std::ops::Range;

use super::cut::{Cost, Cut};

/// The cheapest sufficient set of victims; nothing: there is none.
pub(super) fn cheapest(cut: &Cut) -> Option<Vec<usize>> {
    let mut best: Option<(Cost, Vec<usize>)> = None;
    for region in cut.regions() {
        let inside = |position: &usize| {
            let one = &cut.running[*position];
            one.is_victim() && one.pods.iter().any(|node| region.contains(node))
        };
        let mut victims: Vec<usize> = (0..cut.running.len()).filter(inside).collect();
        // The dearest are decided about first: sets without them are bounded early.
        victims.sort_by_key(|position| {
            let one = &cut.running[*position];
            std::cmp::Reverse((one.priority, one.lost(), *position))
        });
        let mut search = Search {
            cut,
            region: &region,
            victims: &victims,
            free: cut.free(&victims),
            gone: Vec::new(),
            best: best.take(),
        };
        search.descend(0, cut.cost(&[]));
        best = search.best;
    }
    best.map(|(_, gone)| gone)
}

struct Search<'a> {
    cut: &'a Cut,
    region: &'a Range<usize>,
    victims: &'a [usize],
    /// With everybody gone about whom nothing is decided yet.
    free: Vec<i64>,
    gone: Vec<usize>,
    best: Option<(Cost, Vec<usize>)>,
}

impl Search<'_> {
    fn descend(&mut self, at: usize, cost: Cost) {
        let dear = self.best.as_ref().is_some_and(|(best, _)| cost >= *best);
        if dear || !self.cut.fits_in(&self.free, self.region) {
            return;
        }
        let Some(position) = self.victims.get(at) else {
            self.best = Some((cost, self.gone.clone()));
            return;
        };
        let one = &self.cut.running[*position];
        // It stays.
        one.pods
            .iter()
            .for_each(|node| self.free[*node] -= one.gpus);
        self.descend(at + 1, cost);
        one.pods
            .iter()
            .for_each(|node| self.free[*node] += one.gpus);
        // It goes.
        self.gone.push(*position);
        self.descend(at + 1, cost.plus(one));
        self.gone.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_set_is_cheaper() {
        let mut seen = 0;
        for seed in 0..200 {
            let cut = Cut::draw(seed);
            let victims: Vec<usize> = (0..cut.running.len())
                .filter(|position| cut.running[*position].is_victim())
                .collect();
            if victims.len() > 12 {
                continue;
            }
            let sets = (0_u32..1 << victims.len()).map(|set| -> Vec<usize> {
                let chosen = victims.iter().enumerate();
                chosen
                    .filter(|(at, _)| set & (1 << at) != 0)
                    .map(|(_, position)| *position)
                    .collect()
            });
            let least = sets
                .filter(|gone| cut.fits(gone))
                .map(|gone| cut.cost(&gone))
                .min();
            let found = cheapest(&cut).map(|gone| cut.cost(&gone));
            assert_eq!(found, least, "seed {seed}");
            seen += 1;
        }
        assert!(seen > 10, "{seen} cuts are small enough");
    }
}
