//! What earlier runs of a series tell of the next.
//!
//! ```text
//! report: Succeeded -> status.ranFor -> Runs -> estimate -> spec.expectedRuntime, Request::runtime_ms
//! ```
//!
//! Nothing is kept beside the Workloads: a new leader reads the runs from those that have ended and are still there.

use placement_api::duration::GoDuration;
use placement_api::kinds::WorkloadSpec;
use placement_api::raw::RawObject;

use super::intake::milliseconds;
use super::model::{Entry, Model, Now};
use crate::ask;
use crate::fleet::WorkloadId;
use crate::plan::Request;
use crate::runs::Estimate;

impl Model {
    /// Where nobody says how long a workload runs, its earlier runs do. What it was once thought to take stays.
    pub(super) fn expect_runtime(
        &mut self,
        id: &WorkloadId,
        object: &RawObject,
        request: &mut Request,
        spec: &mut WorkloadSpec,
    ) {
        let series = ask::series(object, &spec.pod_sets);
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        entry.estimate = match request.runtime_ms {
            Some(_) => None,
            None => entry.estimate.or_else(|| self.runs.estimate(&series)),
        };
        entry.series = series;
        let told = entry.estimate.map(|one| one.runtime_ms);
        request.runtime_ms = request.runtime_ms.or(told);
        spec.expected_runtime = request.runtime_ms.and_then(duration);
        spec.past_runs = entry.estimate.map(|one| one.runs);
    }

    /// A workload has ended. The third run of a series tells those who wait or run already.
    pub(super) fn remember_run(&mut self, id: &WorkloadId, object: &RawObject) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let Some(ran_ms) = entry.ran_ms else { return };
        let series = ask::series(object, &entry.spec.pod_sets);
        if self
            .runs
            .ended(&series, id.as_str(), entry.since_ms, ran_ms)
        {
            let others = self.entries.iter();
            let others = others.filter(|(_, entry)| entry.series == series && !entry.is_finished());
            self.look.extend(others.map(|(id, _)| id.clone()));
        }
    }
}

impl Entry {
    /// How long it has run, if that was in one go: who was stopped in between may have begun where it was.
    pub(super) fn ran(&self, now: Now) -> Option<i64> {
        let parts = || self.parts.values().filter(|part| !part.evicting);
        if self.spec.epoch > 1 || parts().count() != self.parts.len() {
            return None;
        }
        let lives = || parts().filter_map(|part| part.live.get());
        let said = |live: &super::model::LiveAssignment, field: &str| {
            let text = live.status.root_status.as_ref()?.get(field)?;
            text.as_str().and_then(milliseconds)
        };
        let began = lives().map(|live| said(live, "startTime").or(live.created_ms));
        let ended = lives().map(|live| said(live, "completionTime").unwrap_or(now.ms));
        let ran = ended.max()?.saturating_sub(began.min().flatten()?);
        // As it is written, so that the next leader expects the same.
        (ran > 0).then(|| ran.saturating_add(999) / 1000 * 1000)
    }

    /// Takes over what an earlier leader has expected of it and seen.
    pub(super) fn adopt_runs(&mut self) {
        let Some(live) = self.live.get() else { return };
        let millis = |text: &String| GoDuration::parse(text).ok().map(GoDuration::as_millis);
        let expected = live.spec.expected_runtime.as_ref().and_then(millis);
        self.estimate = live
            .spec
            .past_runs
            .zip(expected)
            .map(|(runs, runtime_ms)| Estimate { runtime_ms, runs });
        self.ran_ms = live.status.ran_for.as_ref().and_then(millis);
    }
}

/// In whole seconds, as people write it.
pub(super) fn duration(ms: i64) -> Option<String> {
    let seconds = u64::try_from(ms).ok()?.div_ceil(1000);
    Some(GoDuration::from_secs(seconds).to_string())
}
