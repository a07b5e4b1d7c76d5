//! From steps to lines. What the lines before have said is not said again.

use std::collections::BTreeMap;

use placement_api::selector::Labels;
use placement_api::toleration::Taint;

use super::changes::{self, Written};
use super::core::Step;
use super::digest::{chained, digest};
use super::line::{Asked, FORMAT, Header, Line, split};
use crate::fleet::{TargetName, TargetState, WorkloadId};
use crate::plan::Request;

type Digest = [u8; 16];

/// Writes one recording, line by line.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Sum of the last line.
    sum: String,
    /// The same before the last step.
    before: String,
    targets: BTreeMap<TargetName, (Labels, Vec<Taint>, TargetState)>,
    /// Heartbeats that nobody has looked at yet.
    beats: BTreeMap<TargetName, i64>,
    inventories: BTreeMap<TargetName, Written>,
    shapes: BTreeMap<Digest, usize>,
    last: BTreeMap<WorkloadId, Last>,
}

/// What was last written of a workload.
#[derive(Debug)]
struct Last {
    who: Digest,
    shape: usize,
    now: Digest,
}

impl Encoder {
    /// A new recording, and its first line.
    pub fn begin(of: &str, began_ms: i64) -> (Self, String) {
        let mut encoder = Self::default();
        let header = Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            of: of.to_owned(),
            began_ms,
        };
        let line = encoder.line(&Line::Recording(header));
        (encoder, line)
    }

    /// The lines of a step, each with its line feed. None where it changes nothing that anybody looks at yet.
    pub fn step(&mut self, step: Step) -> String {
        self.before.clone_from(&self.sum);
        let line = match step {
            Step::Target {
                name,
                labels,
                taints,
                state,
                contact_ms,
            } => {
                let now = (labels.clone(), taints.clone(), state);
                if self.targets.get(&name) == Some(&now) {
                    self.beats.insert(name, contact_ms);
                    return String::new();
                }
                self.beats.remove(&name);
                self.targets.insert(name.clone(), now);
                Line::Target {
                    name,
                    labels,
                    taints,
                    state,
                    contact: contact_ms,
                }
            }
            Step::TargetGone(name) => {
                self.beats.remove(&name);
                self.targets.remove(&name);
                self.inventories.remove(&name);
                Line::TargetGone(name)
            }
            Step::Inventory(name, status) => {
                let before = self.inventories.remove(&name);
                let (line, after) = changes::write(name.clone(), *status, before);
                if let Some(after) = after {
                    self.inventories.insert(name, after);
                }
                Line::Inventory(line)
            }
            Step::ServesAll(name) => Line::ServesAll(name),
            Step::Locations(locations) => Line::Locations(locations),
            Step::Rates(name, rates) => Line::Rates(name, rates),
            Step::LocationRates(rates) => Line::LocationRates(rates),
            Step::Memory(memory) => Line::Memory(memory),
            Step::Levels(levels) => Line::Levels(levels),
            Step::Policy(policy) => Line::Policy(policy),
            Step::Queues(specs) => Line::Queues(specs),
            Step::Adopt(request) => Line::Adopt(self.asked(&request)),
            Step::Plan {
                requests,
                now_ms,
                made,
            } => {
                let line = Line::Plan {
                    now: now_ms,
                    ask: requests.iter().map(|one| self.asked(one)).collect(),
                    made,
                };
                return self.beats() + &self.line(&line);
            }
            Step::Refused(target, now_ms) => Line::Refused(target, now_ms),
            Step::Release(id, target) => Line::Release(id, target),
            Step::ReleaseAll(id) => Line::ReleaseAll(id),
            Step::Forget(id) => {
                // The shell forgets what has finished whenever it looks at it; the planner knows nobody who has not asked since.
                if self.last.remove(&id).is_none() {
                    return String::new();
                }
                Line::Forget(id)
            }
        };
        self.line(&line)
    }

    /// The lines of the last step were not written; only [`Encoder::end`] may follow.
    pub fn take_back(&mut self) {
        self.sum.clone_from(&self.before);
    }

    /// The last line: why nothing follows.
    pub fn end(&mut self, why: &str) -> String {
        self.line(&Line::End(why.to_owned()))
    }

    /// A heartbeat changes nothing but what the next plan sees.
    fn beats(&mut self) -> String {
        if self.beats.is_empty() {
            return String::new();
        }
        let beats = std::mem::take(&mut self.beats);
        self.line(&Line::Beats(beats))
    }

    fn asked(&mut self, request: &Request) -> Asked {
        let (who, shape, now) = split(request);
        let mut asked = Asked {
            id: request.id.as_str().to_owned(),
            ..Asked::default()
        };
        let of_shape = digest(&shape);
        let next = self.shapes.len();
        let number = *self.shapes.entry(of_shape).or_insert(next);
        if number == next {
            asked.new = Some(Box::new(shape));
        }
        let is = Last {
            who: digest(&who),
            shape: number,
            now: digest(&now),
        };
        let was = self.last.get(&request.id);
        if was.is_none_or(|was| was.who != is.who) {
            asked.who = Some(who);
        }
        if asked.new.is_none() && was.is_none_or(|was| was.shape != number) {
            asked.shape = Some(number);
        }
        if was.is_none_or(|was| was.now != is.now) {
            asked.now = Some(Box::new(now));
        }
        self.last.insert(request.id.clone(), is);
        asked
    }

    fn line(&mut self, line: &Line) -> String {
        // Every type of a line can be written as JSON; an empty object would be found by the reader.
        let json = serde_json::to_string(line).unwrap_or_else(|_| "{}".to_owned());
        self.sum = chained(&self.sum, &json);
        format!("[\"{}\",{json}]\n", self.sum)
    }
}
