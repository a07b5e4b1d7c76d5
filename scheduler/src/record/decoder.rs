//! From lines back to steps.

use std::collections::BTreeMap;
use std::fmt;

use placement_api::selector::Labels;
use placement_api::toleration::Taint;

use super::changes::Known;
use super::core::Step;
use super::digest::chained;
use super::line::{Asked, FORMAT, Header, Line, Stands, Who, join};
use crate::fleet::{TargetName, TargetState};
use crate::plan::Request;

/// Digits of a sum.
const SUM: usize = 16;

/// A line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Line, from 1.
    pub line: u64,
    /// What is wrong with it, and what it means.
    pub message: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for Damaged {}

/// Reads one recording, line by line.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    lines: u64,
    sum: String,
    header: Option<Header>,
    end: Option<String>,
    targets: BTreeMap<TargetName, (Labels, Vec<Taint>, TargetState)>,
    inventories: BTreeMap<TargetName, Known>,
    shapes: Vec<Request>,
    last: BTreeMap<String, (Who, usize, Stands)>,
}

impl Decoder {
    /// A reader of a recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the first line says.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Why nothing follows, once the last line has been read.
    pub fn end(&self) -> Option<&str> {
        self.end.as_deref()
    }

    /// Lines that have been read.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The steps of the next line, which is given with its line feed.
    ///
    /// # Errors
    /// A line that is cut off, damaged, or not of a recording. Nothing after it can be used.
    pub fn line(&mut self, text: &str) -> Result<Vec<Step>, Damaged> {
        self.lines += 1;
        self.read(text).map_err(|message| Damaged {
            line: self.lines,
            message,
        })
    }

    fn read(&mut self, text: &str) -> Result<Vec<Step>, String> {
        let strange = || {
            if self.header.is_none() {
                "this is no recording; write the path of a file that `inhaul-scheduler --record` or `inhaul simulate --record` made"
                    .to_owned()
            } else {
                "it is not a line of a recording: the file is damaged here".to_owned()
            }
        };
        let Some(whole) = text.strip_suffix('\n') else {
            return Err(
                "it is cut off: the recording was still being written, or its end is lost"
                    .to_owned(),
            );
        };
        let inner = whole
            .strip_prefix("[\"")
            .and_then(|rest| rest.strip_suffix(']'))
            .ok_or_else(strange)?;
        let (sum, json) = inner.split_at_checked(SUM).ok_or_else(strange)?;
        let json = json.strip_prefix("\",").ok_or_else(strange)?;
        if chained(&self.sum, json) != sum {
            if self.header.is_none() && !json.starts_with("{\"recording\"") {
                return Err(strange());
            }
            return Err(
                "its sum does not fit: it was changed, or a line before it is missing".to_owned(),
            );
        }
        sum.clone_into(&mut self.sum);
        if self.end.is_some() {
            return Err("it follows the last line of the recording".to_owned());
        }
        let line: Line =
            serde_json::from_str(json).map_err(|error| format!("it cannot be read: {error}"))?;
        match line {
            Line::Recording(header) if self.header.is_none() => {
                if header.format != FORMAT {
                    return Err(format!(
                        "format {} of Inhaul {}; this one reads format {FORMAT}: take that version of inhaul",
                        header.format, header.version
                    ));
                }
                self.header = Some(header);
                Ok(Vec::new())
            }
            Line::Recording(_) => Err("a second recording begins inside this one".to_owned()),
            _ if self.header.is_none() => {
                Err("the first line of the recording is missing".to_owned())
            }
            Line::End(why) => {
                self.end = Some(why);
                Ok(Vec::new())
            }
            Line::Beats(beats) => beats
                .into_iter()
                .map(|(name, contact_ms)| self.beat(name, contact_ms))
                .collect(),
            line => self.step(line).map(|step| vec![step]),
        }
    }

    fn step(&mut self, line: Line) -> Result<Step, String> {
        Ok(match line {
            Line::Target {
                name,
                labels,
                taints,
                state,
                contact,
            } => {
                let now = (labels.clone(), taints.clone(), state);
                self.targets.insert(name.clone(), now);
                Step::Target {
                    name,
                    labels,
                    taints,
                    state,
                    contact_ms: contact,
                }
            }
            Line::TargetGone(name) => {
                self.targets.remove(&name);
                self.inventories.remove(&name);
                Step::TargetGone(name)
            }
            Line::Inventory(line) => {
                let target = line.target.clone();
                let known = self.inventories.entry(target.clone()).or_default();
                Step::Inventory(target, Box::new(known.read(line)?))
            }
            Line::ServesAll(name) => Step::ServesAll(name),
            Line::Locations(locations) => Step::Locations(locations),
            Line::Rates(name, rates) => Step::Rates(name, rates),
            Line::LocationRates(rates) => Step::LocationRates(rates),
            Line::Memory(memory) => Step::Memory(memory),
            Line::Levels(levels) => Step::Levels(levels),
            Line::Policy(policy) => Step::Policy(policy),
            Line::Queues(specs) => Step::Queues(specs),
            Line::Adopt(asked) => Step::Adopt(Box::new(self.request(asked)?)),
            Line::Plan { now, ask, made } => Step::Plan {
                requests: ask
                    .into_iter()
                    .map(|one| self.request(one))
                    .collect::<Result<_, _>>()?,
                now_ms: now,
                made,
            },
            Line::Refused(target, now_ms) => Step::Refused(target, now_ms),
            Line::Release(id, target) => Step::Release(id, target),
            Line::ReleaseAll(id) => Step::ReleaseAll(id),
            Line::Forget(id) => {
                self.last.remove(id.as_str());
                Step::Forget(id)
            }
            Line::Recording(_) | Line::Beats(_) | Line::End(_) => {
                return Err("it stands where it cannot be".to_owned());
            }
        })
    }

    fn beat(&self, name: TargetName, contact_ms: i64) -> Result<Step, String> {
        let Some((labels, taints, state)) = self.targets.get(&name).cloned() else {
            return Err(format!("a heartbeat of {name}, which no line before names"));
        };
        Ok(Step::Target {
            name,
            labels,
            taints,
            state,
            contact_ms,
        })
    }

    fn request(&mut self, asked: Asked) -> Result<Request, String> {
        let Asked {
            id,
            who,
            shape,
            new,
            now,
        } = asked;
        let missing = || format!("workload {id}: no line before says what it asks");
        let number = match (new, shape) {
            (Some(new), _) => {
                self.shapes.push(*new);
                Some(self.shapes.len() - 1)
            }
            (None, shape) => shape,
        };
        let was = self.last.remove(&id);
        let (who_was, shape_was, now_was) = match was {
            Some((who, shape, now)) => (Some(who), Some(shape), Some(now)),
            None => (None, None, None),
        };
        let who = who.or(who_was).ok_or_else(missing)?;
        let number = number.or(shape_was).ok_or_else(missing)?;
        let now = now.map(|now| *now).or(now_was).ok_or_else(missing)?;
        let shape = self.shapes.get(number).cloned().ok_or_else(missing)?;
        let request = join(&id, who.clone(), shape, now.clone());
        self.last.insert(id, (who, number, now));
        Ok(request)
    }
}
