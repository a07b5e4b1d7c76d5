//! Where something went wrong lately: nodes that were lost, targets that could not run what they were given. Who is placed anew keeps
//! away from them where there is a choice, less and less with time. What users' own programs do counts for nothing here.
//!
//! ```text
//! report: usable -> NotReady, or fewer devices --\
//!                                                 > note -> weight, halved each hour -> level 0..=7 -> last field of a choice
//! refusal: no node for its pods -----------------/
//! ```
//!
//! The status of the target says it too, so that a new leader knows it.

use std::collections::{BTreeMap, BTreeSet};

use super::Trouble;
use crate::fleet::{Fleet, NodeName, TargetName};

/// What happened counts half as much after so long.
const HALF_LIFE_MS: i64 = 3_600_000;
/// Weight of one event.
const UNIT: i64 = 1 << 10;
/// What is left of one event after three half-lives; less is forgotten.
const LEAST: i64 = UNIT / 8;
/// Weight that is not exceeded, so that nothing is avoided for more than about ten hours.
const MOST: i64 = 16 * LEAST * 8;
/// Highest level of trouble.
pub(super) const WORST: i64 = 7;

/// Events by target and node; without a node they are about the target.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    marks: BTreeMap<TargetName, BTreeMap<Option<NodeName>, Mark>>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    weight: i64,
    at_ms: i64,
}

impl History {
    /// Something went wrong on a node, or on a target as a whole.
    pub(super) fn note(&mut self, target: &TargetName, node: Option<&NodeName>, now_ms: i64) {
        let marks = self.marks.entry(target.clone()).or_default();
        let mark = marks.entry(node.cloned()).or_insert(Mark {
            weight: 0,
            at_ms: now_ms,
        });
        *mark = Mark {
            weight: (mark.now(now_ms) + UNIT).min(MOST),
            at_ms: now_ms.max(mark.at_ms),
        };
    }

    /// An earlier leader has seen it.
    pub(super) fn remember(&mut self, target: &TargetName, trouble: &Trouble) {
        let mark = Mark {
            weight: trouble.weight.clamp(0, MOST),
            at_ms: trouble.at_ms,
        };
        let marks = self.marks.entry(target.clone()).or_default();
        marks.insert(trouble.node.clone(), mark);
    }

    /// What is remembered of a target, by node.
    pub(super) fn of(&self, target: &TargetName) -> impl Iterator<Item = Trouble> {
        let marks = self.marks.get(target).into_iter().flatten();
        marks.map(|(node, mark)| Trouble {
            node: node.clone(),
            weight: mark.weight,
            at_ms: mark.at_ms,
        })
    }

    /// Takes in what the fleet has seen fail, and tells the fleet how much trouble there is now. Costs as much as there are marks. Returns the
    /// targets where something has failed.
    pub(super) fn tell(&mut self, fleet: &mut Fleet, now_ms: i64) -> BTreeSet<TargetName> {
        let mut failed = BTreeSet::new();
        for (target, node) in fleet.take_failures() {
            self.note(&target, Some(&node), now_ms);
            failed.insert(target);
        }
        let mut calm: BTreeSet<TargetName> = BTreeSet::new();
        for (target, marks) in &mut self.marks {
            marks.retain(|_, mark| mark.now(now_ms) >= LEAST);
            let mut levels: BTreeMap<NodeName, i64> = BTreeMap::new();
            let mut whole = 0;
            for (node, mark) in marks.iter() {
                let level = mark.level(now_ms);
                if let Some(node) = node {
                    levels.insert(node.clone(), level);
                } else {
                    whole = level;
                }
            }
            fleet.set_trouble(target, whole, levels);
            if marks.is_empty() {
                calm.insert(target.clone());
            }
        }
        self.marks.retain(|target, _| !calm.contains(target));
        failed
    }
}

impl Mark {
    /// What is left of it: halved for each half-life, in a straight line in between.
    fn now(self, now_ms: i64) -> i64 {
        let elapsed = now_ms.saturating_sub(self.at_ms).max(0);
        let halvings = u32::try_from(elapsed / HALF_LIFE_MS).unwrap_or(u32::MAX);
        let left = self.weight.checked_shr(halvings).unwrap_or(0);
        left - left * (elapsed % HALF_LIFE_MS) / (2 * HALF_LIFE_MS)
    }

    /// One level for each doubling.
    fn level(self, now_ms: i64) -> i64 {
        let steps = self.now(now_ms) / LEAST;
        steps
            .checked_ilog2()
            .map_or(0, |log| (i64::from(log) + 1).min(WORST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_fades() {
        let name = TargetName::from("t");
        let mut history = History::default();
        let node = NodeName::from("n");
        let level =
            |history: &History, at: i64| history.marks[&name][&Some(NodeName::from("n"))].level(at);
        history.note(&name, Some(&node), 0);
        let hours: Vec<i64> = (0..5)
            .map(|hour| level(&history, hour * HALF_LIFE_MS))
            .collect();
        assert_eq!(hours, [4, 3, 2, 1, 0]);
        let mark = history.marks[&name][&Some(node.clone())];
        let faded: Vec<i64> = (0..400).map(|step| mark.now(step * 60_000)).collect();
        assert!(faded.windows(2).all(|pair| pair[1] <= pair[0]), "{faded:?}");
        for _ in 0..1000 {
            history.note(&name, Some(&node), 0);
        }
        assert_eq!(level(&history, 0), WORST);
        assert_eq!(level(&history, 12 * HALF_LIFE_MS), 0, "nothing for ever");
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut fleet = Fleet::new();
        let mut history = History::default();
        history.note(&TargetName::from("t"), None, 0);
        history.tell(&mut fleet, 0);
        assert_eq!(history.marks.len(), 1);
        history.tell(&mut fleet, 4 * HALF_LIFE_MS);
        assert!(history.marks.is_empty());
    }
}
