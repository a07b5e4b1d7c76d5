//! Nodes of a replay: which node a job takes, and what must move where a gang fits by count but not by shape.

/// GPUs of one job by node.
pub type Spot = Vec<(usize, i64)>;

/// Nodes in clusters. No job is in two clusters.
#[derive(Clone, Debug)]
pub struct Shape {
    /// GPUs of each node.
    pub gpus: Vec<i64>,
    /// Cluster of each node.
    pub cluster: Vec<usize>,
}

impl Shape {
    /// One cluster of so many nodes with so many GPUs.
    pub fn uniform(nodes: usize, gpus: i64) -> Self {
        Self {
            gpus: vec![gpus; nodes],
            cluster: vec![0; nodes],
        }
    }

    /// Clusters of so many nodes with 8 GPUs.
    pub fn clusters(nodes: &[usize]) -> Self {
        let cluster: Vec<usize> = nodes
            .iter()
            .enumerate()
            .flat_map(|(cluster, nodes)| vec![cluster; *nodes])
            .collect();
        Self {
            gpus: vec![8; cluster.len()],
            cluster,
        }
    }

    /// GPUs of all nodes.
    pub fn total(&self) -> i64 {
        self.gpus.iter().sum()
    }

    /// Number of clusters.
    pub fn cluster_count(&self) -> usize {
        self.cluster.iter().max().map_or(0, |last| last + 1)
    }

    /// GPUs of the largest node.
    pub fn largest(&self) -> i64 {
        self.gpus.iter().copied().max().unwrap_or(0)
    }

    /// Where a job of so many GPUs goes with these free ones: one node, the tightest; of equal ones that in the cluster with the fewest
    /// whole free nodes. A gang larger than a node: the cluster with the fewest whole free nodes that holds it.
    pub fn spot(&self, free: &[i64], gpus: i64, allowed: impl Fn(usize) -> bool) -> Option<Spot> {
        let whole = self.whole(free, &allowed);
        if gpus <= self.largest() {
            let fits = (0..free.len()).filter(|node| free[*node] >= gpus && allowed(*node));
            return fits
                .min_by_key(|node| (free[*node], whole[self.cluster[*node]], *node))
                .map(|node| vec![(node, gpus)]);
        }
        let mut clusters: Vec<usize> = (0..whole.len()).collect();
        clusters.sort_by_key(|cluster| (whole[*cluster], *cluster));
        clusters
            .into_iter()
            .find_map(|cluster| self.spread(free, gpus, cluster, &allowed))
    }

    /// Whole free nodes of a cluster and one more for the rest.
    fn spread(
        &self,
        free: &[i64],
        gpus: i64,
        cluster: usize,
        allowed: &impl Fn(usize) -> bool,
    ) -> Option<Spot> {
        let mut left = gpus;
        let mut spot = Spot::new();
        let inside = |node: &usize| self.cluster[*node] == cluster && allowed(*node);
        for node in (0..free.len()).filter(inside) {
            if free[node] == self.gpus[node] && self.gpus[node] > 0 && left >= self.gpus[node] {
                left -= self.gpus[node];
                spot.push((node, self.gpus[node]));
            }
        }
        if left > 0 {
            let taken: Vec<usize> = spot.iter().map(|(node, _)| *node).collect();
            let rest = (0..free.len())
                .filter(inside)
                .filter(|node| free[*node] >= left && !taken.contains(node))
                .min_by_key(|node| (free[*node], *node))?;
            spot.push((rest, left));
        }
        Some(spot)
    }

    /// Whole free nodes of each cluster.
    fn whole(&self, free: &[i64], allowed: &impl Fn(usize) -> bool) -> Vec<i64> {
        let mut whole = vec![0; self.cluster_count()];
        for node in 0..free.len() {
            if free[node] == self.gpus[node] && allowed(node) {
                whole[self.cluster[node]] += 1;
            }
        }
        whole
    }
}

/// Takes a spot off what is free.
pub fn take(free: &mut [i64], spot: &Spot) {
    for (node, gpus) in spot {
        free[*node] -= gpus;
    }
}

/// Gives a spot back.
pub fn give(free: &mut [i64], spot: &Spot) {
    for (node, gpus) in spot {
        free[*node] += gpus;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spots() {
        let shape = Shape::clusters(&[2, 3]);
        let any = |_: usize| true;
        for (free, gpus, expected) in [
            (vec![8, 3, 8, 8, 8], 2, Some(vec![(1, 2)])),
            (vec![8, 3, 8, 8, 8], 4, Some(vec![(0, 4)])),
            (vec![8, 8, 8, 8, 8], 16, Some(vec![(0, 8), (1, 8)])),
            (vec![8, 3, 8, 8, 8], 16, Some(vec![(2, 8), (3, 8)])),
            (vec![8, 3, 8, 8, 8], 11, Some(vec![(0, 8), (1, 3)])),
            (vec![8, 8, 8, 3, 3], 24, None),
            (vec![1, 1, 1, 1, 1], 2, None),
        ] {
            assert_eq!(shape.spot(&free, gpus, any), expected, "{free:?} {gpus}");
        }
    }
}
