//! Hosts in racks in blocks, and how few racks hold so many hosts.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Racks of a cluster, by block and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) racks: Vec<Rack>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rack {
    pub(super) block: String,
    pub(super) name: String,
    pub(super) hosts: i64,
}

/// Hosts by rack (position in the map).
pub(super) type Free = Vec<i64>;

impl Map {
    /// The map of a training cluster: `ip,DSW,PSW,ASW`. Names of racks (ASW) repeat in other blocks (PSW).
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut lines = text.lines();
        if lines.next().map(str::trim) != Some("ip,DSW,PSW,ASW") {
            bail!("{} has not the columns ip,DSW,PSW,ASW", path.display());
        }
        let mut racks: BTreeMap<(String, String), i64> = BTreeMap::new();
        for (number, line) in lines.enumerate() {
            let fields: Vec<&str> = line.trim().split(',').collect();
            let [_, _, block, rack] = fields[..] else {
                bail!(
                    "{}, line {}: 4 columns are needed",
                    path.display(),
                    number + 2
                );
            };
            *racks
                .entry((block.to_owned(), rack.to_owned()))
                .or_default() += 1;
        }
        Ok(Self::of(racks))
    }

    pub(super) fn of(racks: BTreeMap<(String, String), i64>) -> Self {
        let racks = racks
            .into_iter()
            .map(|((block, name), hosts)| Rack { block, name, hosts });
        Self {
            racks: racks.collect(),
        }
    }

    pub(super) fn hosts(&self) -> i64 {
        self.racks.iter().map(|rack| rack.hosts).sum()
    }

    /// Everything free.
    pub(super) fn empty(&self) -> Free {
        self.racks.iter().map(|rack| rack.hosts).collect()
    }

    /// The fewest racks that hold so many hosts, inside one block where one block has the room.
    pub(super) fn fewest(&self, free: &[i64], hosts: i64) -> usize {
        let mut blocks: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for (rack, free) in self.racks.iter().zip(free) {
            blocks.entry(&rack.block).or_default().push(*free);
        }
        blocks
            .into_values()
            .filter_map(|racks| count(racks, hosts))
            .min()
            .or_else(|| count(free.to_vec(), hosts))
            .unwrap_or(usize::MAX)
    }

    /// Blocks that these racks are in.
    pub(super) fn blocks(&self, racks: &[(usize, i64)]) -> usize {
        let mut blocks: Vec<&str> = racks
            .iter()
            .map(|(rack, _)| self.racks[*rack].block.as_str())
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks.len()
    }
}

/// The largest first.
fn count(mut racks: Vec<i64>, hosts: i64) -> Option<usize> {
    racks.sort_unstable_by(|a, b| b.cmp(a));
    let mut left = hosts;
    for (taken, free) in racks.into_iter().enumerate() {
        if left <= 0 {
            return Some(taken);
        }
        left -= free;
        if left <= 0 {
            return Some(taken + 1);
        }
    }
    None
}

#[cfg(test)]
pub(super) fn small(blocks: &[&[i64]]) -> Map {
    let mut racks = BTreeMap::new();
    for (block, hosts) in blocks.iter().enumerate() {
        for (rack, hosts) in hosts.iter().enumerate() {
            racks.insert((format!("b{block}"), format!("r{rack}")), *hosts);
        }
    }
    Map::of(racks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewest_racks() {
        let map = small(&[&[8, 8, 4], &[8, 2]]);
        for (free, hosts, racks) in [
            ([8, 8, 4, 8, 2], 8, 1),
            ([8, 8, 4, 8, 2], 10, 2),
            ([8, 8, 4, 8, 2], 20, 3),
            ([8, 8, 4, 8, 2], 30, 5),
            ([3, 3, 3, 6, 0], 7, 3),
            ([3, 3, 3, 6, 2], 7, 2),
        ] {
            assert_eq!(map.fewest(&free, hosts), racks, "{free:?} {hosts}");
        }
    }
}
