//! Reports about one assignment: when, and what became of them.

use client::ApiError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use placement_api::kinds::AssignmentState;
use placement_api::raw::RawObject;

use super::engine::Engine;
use super::event::Event;
use super::order::Order;
use crate::decide::diff::Decision;
use crate::decide::pod::summarize;
use crate::decide::status::{Facts, Reading, due, is_news, report};

/// Milliseconds after which a removal that goes on is told.
const REMOVING_AFTER: u64 = 2_000;

impl Engine {
    /// Reports, if there is news and it is time.
    #[expect(
        clippy::too_many_arguments,
        reason = "what one look has found, used once"
    )]
    pub(super) fn report(
        &mut self,
        name: &str,
        order: &Order,
        decision: &Decision,
        reading: Option<&Reading>,
        invalid: Option<&str>,
        stuck: Option<&str>,
        now: u64,
    ) {
        let progress = self.progress.entry(name.to_owned()).or_default();
        let failure = progress.told();
        // Work that is only waiting for its next try says nothing yet.
        if progress.reporting || (!decision.steps.is_empty() && failure.is_none()) {
            return;
        }
        let pods = self.state.pods(name);
        let has_pods = order.spec.pod_sets.iter().any(|set| set.template.is_some());
        let status = report(&Facts {
            generation: order.generation,
            epoch: order.spec.epoch,
            session: self.fixed.session,
            state: order.spec.state,
            decision,
            failure,
            invalid,
            ledger: self.state.ledgers.get(name).map(|ledger| &ledger.spec),
            reading,
            pods: (has_pods && self.state.pods.is_synced()).then(|| summarize(&pods)),
            stuck,
            previous: order.status.as_ref(),
            now: whole_seconds(),
        });
        let progress = self.progress.entry(name.to_owned()).or_default();
        if !is_news(order.status.as_ref(), &status) {
            progress.news_since = None;
            return;
        }
        let since = *progress.news_since.get_or_insert(now);
        let mut at = due(order.status.as_ref(), &status, progress.reported, since)
            .max(progress.report_not_before);
        if order.spec.state == AssignmentState::Removed && !decision.removed {
            // A removal that is quick needs one report, not two.
            at = at.max(*progress.removing_since.get_or_insert(now) + REMOVING_AFTER);
        }
        if at > now {
            self.queue.push_at(name, at);
            return;
        }
        progress.reporting = true;
        progress.news_since = None;
        tracing::debug!(assignment = %name, phase = ?status.phase, previous = ?order.status, now = ?status, "reports");
        let (hub, name, uid) = (self.fixed.hub.clone(), name.to_owned(), order.uid.clone());
        self.spawn(async move {
            let answer = hub.report(&name, &uid, &status).await;
            Event::Reported(name, Box::new(answer))
        });
    }

    /// Takes in whether a report has reached the hub.
    pub(super) fn reported(&mut self, name: &str, answer: Result<Option<RawObject>, ApiError>) {
        let (now, spread) = (self.now(), self.spread());
        let Some(progress) = self.progress.get_mut(name) else {
            return;
        };
        progress.reporting = false;
        match answer {
            Ok(object) => {
                progress.report_went_well(now);
                self.fixed.metrics.reports.inc();
                if let Some(object) = object
                    && self.state.assignments.get(&object.key()).is_some()
                {
                    self.state.assignments.put(object.key(), object);
                }
                self.queue.push(name);
            }
            Err(error) => {
                tracing::warn!(assignment = %name, %error, "a report did not reach the hub and is sent again");
                progress.report_failed(now, spread);
                self.queue.push_at(name, progress.report_not_before);
            }
        }
    }
}

/// Now, as the API server keeps times.
fn whole_seconds() -> Time {
    let now = jiff::Timestamp::now();
    Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}
