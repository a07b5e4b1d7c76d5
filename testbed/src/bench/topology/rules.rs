//! Who chooses the racks of a gang: the live planner, and simple rules.

use std::cmp::Reverse;

use anyhow::{Result, bail};
use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass, TopologyMode};
use placement_api::quantity::{Quantity, ResourceList};
use scheduler::fleet::{Fleet, WorkloadId};
use scheduler::plan::{Closeness, Planner, PodSetRequest, Request};

use super::map::Map;
use crate::replay::shell::{Shell, Step, add_cluster};
use crate::replay::told::Draws;

const GPU: &str = "nvidia.com/gpu";
const BLOCK: &str = "topology.kubernetes.io/zone";
const RACK: &str = "topology.kubernetes.io/rack";
/// GPUs of a host; a gang takes whole hosts.
const GPUS: i64 = 8;

/// Chooses racks.
pub(super) trait Placer {
    /// Racks and hosts in each, out of what is free by rack.
    fn place(
        &mut self,
        gang: usize,
        hosts: i64,
        now_ms: i64,
        free: &[i64],
    ) -> Result<Vec<(usize, i64)>>;
    /// A gang has ended.
    fn end(&mut self, gang: usize, now_ms: i64);
}

/// The planner that the live scheduler runs: one rack preferred.
pub(super) struct Ours {
    shell: Shell,
}

impl Ours {
    pub(super) fn new(map: &Map) -> Self {
        let amount: ResourceList = [(GPU.to_owned(), Quantity::from_units(GPUS))].into();
        let mut status = InventoryStatus {
            classes: vec![NodeClass {
                id: "host".to_owned(),
                allocatable: amount.clone(),
                ..NodeClass::default()
            }],
            ..InventoryStatus::default()
        };
        for (position, rack) in map.racks.iter().enumerate() {
            status.nodes.extend((0..rack.hosts).map(|host| {
                InventoryNode {
                    name: format!("r{position:04}h{host:02}"),
                    class: "host".to_owned(),
                    labels: [
                        (BLOCK.to_owned(), rack.block.clone()),
                        (RACK.to_owned(), rack.name.clone()),
                    ]
                    .into(),
                    free: amount.clone(),
                    ..InventoryNode::default()
                }
            }));
        }
        let mut fleet = Fleet::new();
        add_cluster(&mut fleet, "lingjun", &status);
        Self {
            shell: Shell::new(Planner::new(), fleet, 0),
        }
    }
}

impl Placer for Ours {
    fn place(
        &mut self,
        gang: usize,
        hosts: i64,
        now_ms: i64,
        _: &[i64],
    ) -> Result<Vec<(usize, i64)>> {
        let id = id(gang);
        self.shell.submit(Request {
            id: id.clone(),
            kind: "Job".to_owned(),
            namespace: "topology".to_owned(),
            name: format!("gang-{gang}"),
            pod_sets: vec![PodSetRequest {
                name: "main".to_owned(),
                count: hosts,
                requests: [(GPU.to_owned(), GPUS)].into_iter().collect(),
                gateable: true,
                ..PodSetRequest::default()
            }],
            topology: Some(Closeness {
                level: RACK.to_owned(),
                mode: TopologyMode::Preferred,
                relax_after_ms: None,
            }),
            submitted_ms: now_ms,
            waits_since_ms: now_ms,
            ..Request::default()
        });
        if self.shell.cycle(now_ms) != [Step::Start(id.clone())] {
            bail!("gang {gang} of {hosts} hosts did not start although so many are free");
        }
        let mut racks: Vec<(usize, i64)> = Vec::new();
        let parts = self.shell.request(&id).map(|request| &request.current);
        for node in parts.into_iter().flatten().flat_map(|part| &part.nodes) {
            let rack = node.name.get(1..5).and_then(|rack| rack.parse().ok());
            let Some(rack) = rack else {
                bail!("{} is no host of the map", node.name);
            };
            match racks.iter_mut().find(|(one, _)| *one == rack) {
                Some((_, hosts)) => *hosts += node.pods,
                None => racks.push((rack, node.pods)),
            }
        }
        Ok(racks)
    }

    fn end(&mut self, gang: usize, _: i64) {
        self.shell.end(&id(gang));
    }
}

fn id(gang: usize) -> WorkloadId {
    WorkloadId::from(format!("g{gang:07}"))
}

/// Rules that look at racks alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The racks in the order of their names.
    FirstFit,
    /// The emptiest racks first.
    Emptiest,
    /// The fullest racks first.
    Fullest,
    /// Kueue's: the smallest rack, else block, that holds all; inside, the largest first and the last as tight as possible.
    SmallestDomain,
    /// Hosts by chance.
    Random,
}

impl Rule {
    pub(super) const ALL: [Self; 5] = [
        Self::FirstFit,
        Self::Emptiest,
        Self::Fullest,
        Self::SmallestDomain,
        Self::Random,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FirstFit => "first fit",
            Self::Emptiest => "emptiest rack first",
            Self::Fullest => "fullest rack first",
            Self::SmallestDomain => "smallest domain (Kueue's rule)",
            Self::Random => "random hosts",
        }
    }
}

/// A rule at work.
pub(super) struct Simple<'a> {
    pub(super) map: &'a Map,
    pub(super) rule: Rule,
    pub(super) draws: Draws,
}

impl Placer for Simple<'_> {
    fn place(&mut self, _: usize, hosts: i64, _: i64, free: &[i64]) -> Result<Vec<(usize, i64)>> {
        let mut order: Vec<usize> = (0..free.len()).filter(|rack| free[*rack] > 0).collect();
        match self.rule {
            Rule::FirstFit => {}
            Rule::Emptiest => order.sort_by_key(|rack| (Reverse(free[*rack]), *rack)),
            Rule::Fullest => order.sort_by_key(|rack| (free[*rack], *rack)),
            Rule::SmallestDomain => return Ok(smallest(self.map, free, order, hosts)),
            Rule::Random => return Ok(self.random(free, hosts)),
        }
        Ok(fill(free, &order, hosts))
    }

    fn end(&mut self, _: usize, _: i64) {}
}

impl Simple<'_> {
    fn random(&mut self, free: &[i64], hosts: i64) -> Vec<(usize, i64)> {
        let mut open: Vec<usize> = free
            .iter()
            .enumerate()
            .flat_map(|(rack, free)| (0..*free).map(move |_| rack))
            .collect();
        let mut racks: Vec<(usize, i64)> = Vec::new();
        for _ in 0..hosts.min(i64::try_from(open.len()).unwrap_or(0)) {
            let at = usize::try_from(self.draws.bits() % open.len() as u64).unwrap_or(0);
            let rack = open.swap_remove(at);
            match racks.iter_mut().find(|(one, _)| *one == rack) {
                Some((_, hosts)) => *hosts += 1,
                None => racks.push((rack, 1)),
            }
        }
        racks
    }
}

fn fill(free: &[i64], order: &[usize], hosts: i64) -> Vec<(usize, i64)> {
    let mut left = hosts;
    let mut racks = Vec::new();
    for rack in order {
        if left == 0 {
            break;
        }
        let take = free[*rack].min(left);
        racks.push((*rack, take));
        left -= take;
    }
    racks
}

fn smallest(map: &Map, free: &[i64], mut order: Vec<usize>, hosts: i64) -> Vec<(usize, i64)> {
    let tightest = order.iter().filter(|rack| free[**rack] >= hosts);
    if let Some(rack) = tightest.min_by_key(|rack| (free[**rack], **rack)) {
        return vec![(*rack, hosts)];
    }
    let in_block = |block: &str| {
        let racks = order.iter().filter(|rack| map.racks[**rack].block == block);
        racks.map(|rack| free[*rack]).sum::<i64>()
    };
    let block = map
        .racks
        .iter()
        .map(|rack| rack.block.as_str())
        .filter(|block| in_block(block) >= hosts)
        .min_by_key(|block| (in_block(block), *block));
    if let Some(block) = block {
        order.retain(|rack| map.racks[*rack].block == block);
    }
    order.sort_by_key(|rack| (Reverse(free[*rack]), *rack));
    let mut racks = fill(free, &order, hosts);
    // The last one: the smallest that still holds the rest.
    if let Some((_, rest)) = racks.pop() {
        let open = order
            .iter()
            .filter(|rack| racks.iter().all(|(one, _)| one != *rack) && free[**rack] >= rest);
        if let Some(rack) = open.min_by_key(|rack| (free[**rack], **rack)) {
            racks.push((*rack, rest));
        }
    }
    racks
}
