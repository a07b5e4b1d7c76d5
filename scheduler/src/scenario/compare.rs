//! What was expected beside what came out.

use std::fmt;

use super::outcome::{Outcome, Placed, Round};
use super::{Expect, ExpectedPlace, Scenario};

/// Something that came out otherwise than expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Line of the expectation.
    pub line: u64,
    /// Workload; empty for all.
    pub workload: String,
    /// What was expected.
    pub expected: String,
    /// What came out.
    pub found: String,
    /// Why it did, in the planner's words; may be empty.
    pub why: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.workload.is_empty() {
            "evictions"
        } else {
            &self.workload
        };
        write!(
            f,
            "{}: {who}: expected {}, found {}",
            self.line, self.expected, self.found
        )?;
        if self.why.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.why)
        }
    }
}

/// Compares the workloads that are named; empty where there is no difference.
pub fn compare(scenario: &Scenario, outcome: &Outcome) -> Vec<Difference> {
    let (Some(expect), Some(last)) = (&scenario.expect, outcome.rounds.last()) else {
        return Vec::new();
    };
    let mut differences = Vec::new();
    for (name, (line, places)) in &expect.placed {
        let found = last.placed.get(name).map_or(&[][..], Vec::as_slice);
        if !fits(scenario, places, found) {
            differences.push(difference(*line, name, shown(places), last));
        }
    }
    for (name, (line, reason)) in &expect.pending {
        let found = last.pending.get(name).map(|one| one.reason);
        let same = match reason {
            None => found.is_some(),
            Some(reason) => found == Some(*reason),
        };
        if !same {
            let expected = reason.map_or("pending".to_owned(), |reason| {
                format!("pending for {reason}")
            });
            differences.push(difference(*line, name, expected, last));
        }
    }
    evictions(expect, outcome, last, &mut differences);
    differences.sort_by(|a, b| (a.line, &a.workload).cmp(&(b.line, &b.workload)));
    differences
}

fn evictions(expect: &Expect, outcome: &Outcome, last: &Round, differences: &mut Vec<Difference>) {
    let Some((line, names)) = &expect.evicted else {
        return;
    };
    for name in names {
        // Who had to leave its target and found another was evicted there.
        let was = outcome
            .rounds
            .iter()
            .any(|round| round.evicted.contains_key(name) || round.moved.contains_key(name));
        if !was {
            differences.push(difference(*line, name, "evicted".to_owned(), last));
        }
    }
    if names.is_empty() {
        let all: Vec<String> = outcome
            .rounds
            .iter()
            .flat_map(|round| &round.evicted)
            .map(|(name, one)| match &one.by {
                Some(by) => format!("{name} for {by} ({})", one.reason),
                None => format!("{name} ({})", one.reason),
            })
            .collect();
        if !all.is_empty() {
            differences.push(Difference {
                line: *line,
                workload: String::new(),
                expected: "nobody evicted".to_owned(),
                found: all.join(", "),
                why: String::new(),
            });
        }
    }
}

fn difference(line: u64, name: &str, expected: String, last: &Round) -> Difference {
    let (found, why) = if let Some(places) = last.placed.get(name) {
        let why = last
            .notes
            .get(name)
            .map_or(String::new(), |note| note.message.clone());
        (placed(places), why)
    } else if let Some(one) = last.pending.get(name) {
        (format!("pending for {}", one.reason), one.message.clone())
    } else if let Some(one) = last.evicted.get(name) {
        let by = one
            .by
            .as_ref()
            .map_or(String::new(), |by| format!(" by {by}"));
        (
            format!("evicted{by} for {}", one.reason),
            one.message.clone(),
        )
    } else {
        ("nothing".to_owned(), String::new())
    };
    Difference {
        line,
        workload: name.to_owned(),
        expected,
        found,
        why,
    }
}

/// "4 on east/e-a-0 · 2 on west".
fn placed(places: &[Placed]) -> String {
    let several = places.iter().any(|place| place.pods != places[0].pods);
    let one = |place: &Placed| {
        let node = place
            .node
            .as_ref()
            .map_or(String::new(), |node| format!("/{node}"));
        let set = if several {
            format!(" {}", place.pods)
        } else {
            String::new()
        };
        format!("{}{set} on {}{node}", place.count, place.target)
    };
    format!(
        "placed {}",
        places.iter().map(one).collect::<Vec<_>>().join(" · ")
    )
}

fn shown(places: &[ExpectedPlace]) -> String {
    if places.is_empty() {
        return "placed nowhere".to_owned();
    }
    let one = |place: &ExpectedPlace| {
        let count = place
            .count
            .map_or("some".to_owned(), |count| count.to_string());
        let set = place
            .pods
            .as_ref()
            .map_or(String::new(), |set| format!(" {set}"));
        let node = place
            .node
            .as_ref()
            .map_or(String::new(), |node| format!("/{node}"));
        let domain: Vec<String> = place
            .domain
            .iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        let domain = if domain.is_empty() {
            String::new()
        } else {
            format!(" in {}", domain.join(", "))
        };
        format!("{count}{set} on {}{node}{domain}", place.target)
    };
    format!(
        "placed {}",
        places.iter().map(one).collect::<Vec<_>>().join(" · ")
    )
}

/// Whether the places are those that are expected, all of them: the most precise entries take their pods first.
fn fits(scenario: &Scenario, expected: &[ExpectedPlace], found: &[Placed]) -> bool {
    let mut left: Vec<(&Placed, i64)> = found.iter().map(|place| (place, place.count)).collect();
    let mut order: Vec<&ExpectedPlace> = expected.iter().collect();
    order.sort_by_key(|one| {
        (
            one.count.is_none(),
            one.node.is_none(),
            std::cmp::Reverse(one.domain.len()),
            one.pods.is_none(),
        )
    });
    let mut seen = vec![false; found.len()];
    for one in order {
        let mut wants = one.count;
        let mut took = 0;
        let mut any = false;
        for (index, (place, rest)) in left.iter_mut().enumerate() {
            if !matches(scenario, one, place) {
                continue;
            }
            any = true;
            let take = wants.map_or(*rest, |wants| wants.min(*rest));
            *rest -= take;
            took += take;
            seen[index] = true;
            if let Some(wants) = &mut wants {
                *wants -= take;
            }
        }
        let enough = match one.count {
            Some(count) => took == count,
            None => any && (took > 0 || found.iter().all(|place| place.count == 0)),
        };
        if !enough {
            return false;
        }
    }
    left.iter().all(|(_, rest)| *rest == 0) && seen.iter().all(|seen| *seen)
}

fn matches(scenario: &Scenario, one: &ExpectedPlace, place: &Placed) -> bool {
    let target = one.target == place.target;
    let node = one.node.is_none() || one.node == place.node;
    let set = one.pods.as_ref().is_none_or(|set| *set == place.pods);
    target && node && set && (one.domain.is_empty() || domain(scenario, one, place))
}

fn domain(scenario: &Scenario, one: &ExpectedPlace, place: &Placed) -> bool {
    let (Some(target), Some(name)) = (scenario.target(&place.target), &place.node) else {
        return false;
    };
    let labels = target
        .all_nodes()
        .find(|(node, _)| node == name)
        .map(|(_, spec)| &spec.labels);
    labels.is_some_and(|labels| {
        one.domain
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    })
}
