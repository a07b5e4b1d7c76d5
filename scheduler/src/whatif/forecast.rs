//! When those who wait would start, if everybody runs as long as was said and nothing else arrives.
//!
//! The plan goes on in time that is only thought: at the end of each run, and whenever the planner wants to be asked again, it decides
//! anew, and what it decides happens at once. Who stands behind work of unknown run time gets no answer.

use std::collections::{BTreeMap, BTreeSet};

use super::happens::happens;
use super::view::View;
use crate::fleet::WorkloadId;
use crate::plan::{Decision, Request};
use crate::record::Core;

/// Moments that are looked at: a second of work or less.
const MOST_MOMENTS: usize = 2_000;
/// Times that one moment is looked at.
const MOST_TURNS: usize = 8;

/// Goes on from what was just decided for a view. Start by workload, ms since 1970, of those who start later than now.
pub(super) fn forecast(
    view: &View,
    core: Core,
    decisions: &BTreeMap<WorkloadId, Decision>,
) -> BTreeMap<WorkloadId, i64> {
    let mut ahead = Ahead {
        core,
        requests: view.requests.clone(),
        ends: BTreeMap::new(),
        alarms: BTreeSet::new(),
        starts: BTreeMap::new(),
        now_ms: view.now_ms,
    };
    ahead.core.freeze(&ahead.requests);
    let ends = ahead.requests.values();
    ahead.ends = ends
        .filter_map(|one| Some((one.id.clone(), end(one)?)))
        .filter(|(_, end)| *end > view.now_ms)
        .collect();
    for id in ahead.happen(decisions) {
        ahead.alarms.insert((view.now_ms, id));
    }
    for _ in 0..MOST_MOMENTS {
        if !ahead.go_on() {
            break;
        }
    }
    ahead.starts.retain(|_, start| *start > view.now_ms);
    ahead.starts
}

struct Ahead {
    core: Core,
    requests: BTreeMap<WorkloadId, Request>,
    /// When who runs ends.
    ends: BTreeMap<WorkloadId, i64>,
    /// Who is to be asked again, and when.
    alarms: BTreeSet<(i64, WorkloadId)>,
    starts: BTreeMap<WorkloadId, i64>,
    now_ms: i64,
}

impl Ahead {
    /// The next moment. `false`: nothing more happens, or nobody waits.
    fn go_on(&mut self) -> bool {
        let mut requests = self.requests.values();
        if !requests.any(|one| one.current.is_empty() && !one.finished) {
            return false;
        }
        let end = self.ends.values().min().copied();
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let Some(next) = end.into_iter().chain(alarm).min() else {
            return false;
        };
        self.now_ms = self.now_ms.max(next);
        let mut ids = BTreeSet::new();
        let over = self.ends.iter().filter(|(_, end)| **end <= self.now_ms);
        let over: Vec<WorkloadId> = over.map(|(id, _)| id.clone()).collect();
        for id in over {
            self.ends.remove(&id);
            if let Some(request) = self.requests.get_mut(&id) {
                request.finished = true;
            }
            ids.insert(id);
        }
        while let Some((at, id)) = self.alarms.pop_first() {
            if at > self.now_ms {
                self.alarms.insert((at, id));
                break;
            }
            ids.insert(id);
        }
        for _ in 0..MOST_TURNS {
            if ids.is_empty() {
                break;
            }
            let asked: Vec<Request> = ids
                .iter()
                .filter_map(|id| self.requests.get(id).cloned())
                .collect();
            let (made, report) = self.core.plan(&asked, self.now_ms);
            ids = self.core.wake(&report.freed);
            for (id, at) in report.wake_ms {
                if at > self.now_ms {
                    self.alarms.insert((at, id));
                } else {
                    ids.insert(id);
                }
            }
            let made = made.into_iter().map(|one| (one.id.clone(), one)).collect();
            ids.extend(self.happen(&made));
        }
        true
    }

    /// What was decided happens. Who has something else than before is asked again, so that the planner knows.
    fn happen(&mut self, decisions: &BTreeMap<WorkloadId, Decision>) -> BTreeSet<WorkloadId> {
        let mut changed = BTreeSet::new();
        for (id, decision) in decisions {
            let Some(request) = self.requests.get_mut(id).filter(|one| !one.finished) else {
                continue;
            };
            let before = request.current.clone();
            happens(request, decision, self.core.fleet(), self.now_ms);
            if request.current == before {
                continue;
            }
            changed.insert(id.clone());
            match end(request) {
                Some(end) => self.ends.insert(id.clone(), end),
                None => self.ends.remove(id),
            };
            if before.is_empty() {
                self.starts.entry(id.clone()).or_insert(self.now_ms);
            }
        }
        changed
    }
}

/// When what runs ends.
fn end(request: &Request) -> Option<i64> {
    let parts = request.current.iter().filter(|part| !part.evicting);
    let start = parts.filter_map(|part| part.started_ms).min()?;
    Some(start.saturating_add(request.runtime_ms?))
}
