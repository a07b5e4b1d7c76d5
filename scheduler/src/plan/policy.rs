//! What holds for the whole fleet (the FleetPolicy), as the planner needs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings for the whole fleet. `Default`: all products are equal, only current use counts, no age limit, no defragmentation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Throughput of accelerator products in thousandths; 1000 where nothing is said.
    pub throughput: BTreeMap<String, i64>,
    /// Half-life of past use in ms; 0: only current use counts.
    pub half_life_ms: i64,
    /// Longest wait before a workload is promoted where short ones go first; absent: learned.
    pub age_limit_ms: Option<i64>,
    /// Moves that a defragmentation may make per hour.
    pub moves_per_hour: u32,
}

impl Policy {
    /// Throughput of a product in thousandths.
    pub fn throughput_of(&self, product: &str) -> i64 {
        self.throughput.get(product).copied().unwrap_or(1000)
    }
}
