//! What came out of a plan, short enough to be kept for every decision: a digest of everything, and a few words for people.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::fleet::WorkloadId;
use crate::plan::{Change, Decision, Outcome, Report};

/// All that came out of one plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The decisions, in their order.
    #[serde(rename = "d")]
    pub decisions: Vec<Decided>,
    /// Digest of the report.
    #[serde(rename = "r")]
    pub report: String,
}

/// One decision: workload, digest of the whole decision, and what it was in words (empty where nothing changed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided(pub WorkloadId, pub String, pub String);

impl Made {
    /// Of what a planner answered.
    pub fn of(decisions: &[Decision], report: &Report) -> Self {
        Self {
            decisions: decisions.iter().map(Decided::of).collect(),
            report: short(report),
        }
    }
}

impl Decided {
    /// Of one decision.
    pub fn of(decision: &Decision) -> Self {
        Self(decision.id.clone(), short(decision), words(decision))
    }
}

/// First 64 bits of the digest: enough to see every difference that comes by accident.
fn short(value: &impl Serialize) -> String {
    hex(&digest(value)[..8])
}

/// First 128 bits of the SHA-256 of a value as JSON.
pub(super) fn digest(value: &impl Serialize) -> [u8; 16] {
    // What cannot be written as JSON (no type of ours) has the digest of nothing.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    first(&Sha256::digest(&bytes))
}

/// The sum of a line: it depends on all lines before it, so that a missing line is found like a changed one.
pub(super) fn chained(before: &str, line: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(before.as_bytes());
    hasher.update(line.as_bytes());
    hex(&first(&hasher.finalize())[..8])
}

fn first(bytes: &[u8]) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&bytes[..16]);
    first
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// `waits: NoDevice`, `east 4, west 2; leaves north (Drained)`.
fn words(decision: &Decision) -> String {
    let mut text = String::new();
    match decision.outcome {
        Outcome::Keep => {}
        Outcome::Wait => {
            let why = decision.explanation.reason;
            text = why.map_or_else(|| "waits".to_owned(), |why| format!("waits: {why}"));
        }
        Outcome::Place => {
            for part in &decision.parts {
                let gap = if text.is_empty() { "" } else { ", " };
                let pods: i64 = part.counts.values().sum();
                let how = match part.change {
                    Change::Kept => " kept",
                    Change::New => "",
                    Change::Grown => " grown",
                    Change::Shrunk => " shrunk",
                    Change::Swapped => " swapped",
                };
                let _infallible = write!(text, "{gap}{} {pods}{how}", part.target);
            }
        }
    }
    for leaving in &decision.leaving {
        let gap = if text.is_empty() { "" } else { "; " };
        let _infallible = write!(text, "{gap}leaves {} ({})", leaving.target, leaving.reason);
    }
    text
}
