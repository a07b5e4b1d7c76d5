//! What goes up about one assignment, and when.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use placement_api::kinds::{
    AppliedAssignmentSpec, AssignmentPhase, AssignmentState, AssignmentStatus, ManifestStatus,
    PodsSummary,
};
use serde_json::{Value, json};

use super::diff::{Block, Decision, Why};
use super::object_id::ObjectId;
use super::pod::cut;

/// The largest status of a root object that goes up.
pub const ROOT_STATUS: usize = 64 * 1024;
/// Reason of a refusal because pods find no node or cannot be created.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// Reason of a failure because a newer scheduler has taken over.
pub const STALE_TERM: &str = "StaleTerm";
/// Milliseconds between two reports of the same phase.
const PAUSE: u64 = 1_000;
/// Milliseconds that news of the same phase waits for more: one change on the member is seen in pods, then in the root's status, and
/// often ends as a new phase.
const GATHER: u64 = 400;
/// Objects in trouble that are named.
const MANIFESTS: usize = 20;

/// How the root object stands, read by what is known of its kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// It has ended; with success or not.
    pub finished: Option<bool>,
    /// It does what it is for.
    pub healthy: bool,
    /// Its controller says that it failed or makes no progress.
    pub degraded: Option<String>,
    /// What it says, for people.
    pub message: String,
    /// Its status, as it is to go up.
    pub status: Option<Value>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which object, if it is about one.
    pub id: Option<ObjectId>,
    /// One word for the condition.
    pub reason: String,
    /// The member's own message.
    pub message: String,
    /// Whether the member does not take it; else it may pass.
    pub refused: bool,
}

/// What a report is made from.
pub struct Facts<'a> {
    /// Generation of the order.
    pub generation: i64,
    /// Epoch of the order.
    pub epoch: i64,
    /// Session of this agent.
    pub session: i64,
    /// To run or to go.
    pub state: AssignmentState,
    /// What is left to do and what cannot be done.
    pub decision: &'a Decision,
    /// The step that failed last.
    pub failure: Option<&'a Failure>,
    /// The order cannot be understood.
    pub invalid: Option<&'a str>,
    /// The ledger.
    pub ledger: Option<&'a AppliedAssignmentSpec>,
    /// The root object, if it is there.
    pub reading: Option<&'a Reading>,
    /// Its pods.
    pub pods: Option<PodsSummary>,
    /// The member's message, when pods have been without a node for too long.
    pub stuck: Option<&'a str>,
    /// What the hub has.
    pub previous: Option<&'a AssignmentStatus>,
    /// Now.
    pub now: Time,
}

/// Makes the report.
pub fn report(facts: &Facts<'_>) -> AssignmentStatus {
    let previous = facts.previous.cloned().unwrap_or_default();
    let trouble = trouble(facts);
    let (phase, healthy) = phase(facts, trouble.as_ref(), &previous);
    let mut status = AssignmentStatus {
        observed_generation: facts.generation,
        epoch: facts.epoch.max(previous.epoch),
        session: facts.session.max(previous.session),
        phase,
        manifests: named(facts),
        pods: facts.pods.clone(),
        ..AssignmentStatus::default()
    };
    if let Some(reading) = facts.reading {
        status.root_status = reading.status.clone().and_then(bounded);
        status.root_generation = reading.generation;
    } else if let Some(finished) = facts.ledger.and_then(|ledger| ledger.finished.as_ref()) {
        status.root_status.clone_from(&finished.root_status);
        status.root_generation = previous.root_generation;
    }
    if phase == AssignmentPhase::Removed {
        status.pods = None;
        status.root_status = None;
        status.root_generation = None;
    }
    let applied = match &trouble {
        None if facts.state == AssignmentState::Removed => {
            ("False", "Removed".to_owned(), String::new())
        }
        None => ("True", "Applied".to_owned(), String::new()),
        Some((reason, message)) => ("False", reason.clone(), message.clone()),
    };
    status.conditions = vec![condition(facts, &previous, "Applied", applied)];
    if let Some(healthy) = healthy {
        status
            .conditions
            .push(condition(facts, &previous, "Healthy", healthy));
    }
    status
}

/// When a report that differs from `last` is to be written: a new phase at once, other news when it has gathered. `written` is when the
/// last one was, `since` when the news came, all in milliseconds of the caller's clock.
pub fn due(
    last: Option<&AssignmentStatus>,
    new: &AssignmentStatus,
    written: Option<u64>,
    since: u64,
) -> u64 {
    let same = |last: &AssignmentStatus| last.phase == new.phase && last.epoch == new.epoch;
    if last.is_some_and(same) {
        (since + GATHER).max(written.unwrap_or_default() + PAUSE)
    } else {
        since
    }
}

/// Whether the hub has this already. Which session wrote it makes no difference.
pub fn is_news(last: Option<&AssignmentStatus>, new: &AssignmentStatus) -> bool {
    last.is_none_or(|last| {
        let mut same_session = new.clone();
        same_session.session = last.session;
        *last != same_session
    })
}

/// A root status that may go up: whole, or its conditions, or nothing.
pub fn bounded(status: Value) -> Option<Value> {
    let fits = |value: &Value| value.to_string().len() <= ROOT_STATUS;
    if !status.is_object() {
        return None;
    }
    if fits(&status) {
        return Some(status);
    }
    let less = json!({"conditions": status["conditions"]});
    (status["conditions"].is_array() && fits(&less)).then_some(less)
}

/// Reason and message of what keeps the order from being carried out.
fn trouble(facts: &Facts<'_>) -> Option<(String, String)> {
    if let Some(message) = facts.invalid {
        return Some(("Invalid".to_owned(), message.to_owned()));
    }
    if facts.decision.removed {
        return None;
    }
    if let Some(failure) = facts.failure {
        let named = |id: &&ObjectId| !failure.message.starts_with(&id.to_string());
        let about = failure
            .id
            .as_ref()
            .filter(named)
            .map(|id| format!("{id}: "))
            .unwrap_or_default();
        return Some((
            failure.reason.clone(),
            cut(&format!("{about}{}", failure.message)),
        ));
    }
    if let Some(block) = worst(&facts.decision.blocks) {
        let about = match (&block.id, block.why) {
            (
                Some(id),
                Why::Denied
                | Why::Forbidden
                | Why::Waiting
                | Why::SecretMissing
                | Why::DeleteBudget,
            ) => format!("{id}: "),
            _ => String::new(),
        };
        return Some((
            reason(block.why, facts.state).to_owned(),
            cut(&format!("{about}{}", block.message)),
        ));
    }
    if let Some(message) = facts.stuck {
        return Some((UNSCHEDULABLE.to_owned(), message.to_owned()));
    }
    match facts.state {
        AssignmentState::Removed => Some(("Removing".to_owned(), "it is being removed".to_owned())),
        AssignmentState::Active if facts.decision.complete => None,
        AssignmentState::Active => Some((
            "Applying".to_owned(),
            "not everything is applied yet".to_owned(),
        )),
    }
}

/// What passes by itself counts least.
fn worst(blocks: &[Block]) -> Option<&Block> {
    blocks
        .iter()
        .min_by_key(|block| (block.why == Why::Waiting, block.why))
}

fn reason(why: Why, state: AssignmentState) -> &'static str {
    match why {
        Why::StaleEpoch => "StaleEpoch",
        Why::LeftOver => "LeftOver",
        Why::KindNotServed => "KindNotServed",
        Why::Denied => "DeniedBySyncPolicy",
        Why::Forbidden => "Denied",
        Why::ForeignObject => "ForeignObject",
        Why::SecretMissing => "SecretMissing",
        Why::DeleteBudget => "DeleteBudget",
        Why::Waiting if state == AssignmentState::Removed => "Removing",
        Why::Waiting => "Waiting",
    }
}

type Verdict = (&'static str, String, String);

fn phase(
    facts: &Facts<'_>,
    trouble: Option<&(String, String)>,
    previous: &AssignmentStatus,
) -> (AssignmentPhase, Option<Verdict>) {
    use AssignmentPhase::{
        Applied, Degraded, Failed, Healthy, Pending, Refused, Removed, Succeeded,
    };
    let ended = |succeeded: bool| {
        if succeeded {
            (
                Succeeded,
                Some(("True", "Succeeded".to_owned(), String::new())),
            )
        } else {
            let message = facts.reading.map(|r| r.message.clone()).unwrap_or_default();
            (Failed, Some(("False", "Failed".to_owned(), message)))
        }
    };
    if facts.decision.removed {
        return (Removed, None);
    }
    let fenced = |block: &Block| matches!(block.why, Why::StaleEpoch | Why::LeftOver);
    let stale = facts
        .failure
        .is_some_and(|failure| failure.reason == STALE_TERM);
    if stale || facts.decision.blocks.iter().any(fenced) {
        // What is here belongs to another order: nothing of it is this one's.
        let ended = matches!(previous.phase, Succeeded | Failed | Removed);
        let kept = ended && facts.epoch <= previous.epoch;
        return (if kept { previous.phase } else { Pending }, None);
    }
    let recorded = facts
        .ledger
        .and_then(|ledger| ledger.finished.as_ref())
        .map(|f| f.succeeded);
    if let Some(succeeded) = recorded.or(facts.reading.and_then(|r| r.finished)) {
        return ended(succeeded);
    }
    // The API server refuses to take back what has ended, and it would be wrong.
    if facts.epoch <= previous.epoch && matches!(previous.phase, Succeeded | Failed | Removed) {
        return (previous.phase, None);
    }
    if facts.state == AssignmentState::Removed {
        let same = previous.epoch == facts.epoch;
        return (if same { previous.phase } else { Pending }, None);
    }
    if facts.stuck.is_some() && trouble.is_some_and(|(reason, _)| reason == UNSCHEDULABLE) {
        return (Refused, None);
    }
    let Some(reading) = facts.reading else {
        let refused = facts.failure.is_some_and(|f| f.refused)
            || facts.invalid.is_some()
            || facts
                .decision
                .blocks
                .iter()
                .any(|b| matches!(b.why, Why::Denied | Why::Forbidden | Why::ForeignObject));
        return (if refused { Refused } else { Pending }, None);
    };
    if let Some(message) = &reading.degraded {
        return (
            Degraded,
            Some(("False", "Degraded".to_owned(), cut(message))),
        );
    }
    if reading.healthy {
        return (Healthy, Some(("True", "Healthy".to_owned(), String::new())));
    }
    (
        Applied,
        Some(("False", "Progressing".to_owned(), cut(&reading.message))),
    )
}

fn named(facts: &Facts<'_>) -> Vec<ManifestStatus> {
    let entry = |id: &ObjectId, message: &str| ManifestStatus {
        reference: id.reference("", ""),
        applied: false,
        healthy: false,
        message: cut(message),
    };
    let mut all = Vec::new();
    if facts.decision.removed {
        return all;
    }
    if let Some(Failure {
        id: Some(id),
        message,
        ..
    }) = facts.failure
    {
        all.push(entry(id, message));
    }
    for block in facts
        .decision
        .blocks
        .iter()
        .filter(|b| b.why != Why::Waiting)
    {
        if let Some(id) = &block.id {
            all.push(entry(id, &block.message));
        }
    }
    all.truncate(MANIFESTS);
    all
}

fn condition(
    facts: &Facts<'_>,
    previous: &AssignmentStatus,
    kind: &str,
    verdict: Verdict,
) -> Condition {
    let (status, reason, message) = verdict;
    let since = previous
        .conditions
        .iter()
        .find(|c| c.type_ == kind && c.status == status)
        .map_or_else(|| facts.now.clone(), |c| c.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason,
        message,
        last_transition_time: since,
        observed_generation: Some(facts.generation),
    }
}

#[cfg(test)]
mod tests {
    use placement_api::kinds::FinishedRecord;

    use super::*;

    fn time(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    struct Case {
        decision: Decision,
        failure: Option<Failure>,
        ledger: Option<AppliedAssignmentSpec>,
        reading: Option<Reading>,
        stuck: Option<&'static str>,
        previous: Option<AssignmentStatus>,
        state: AssignmentState,
    }

    fn case() -> Case {
        Case {
            decision: Decision {
                complete: true,
                ..Decision::default()
            },
            failure: None,
            ledger: Some(AppliedAssignmentSpec::default()),
            reading: Some(Reading::default()),
            stuck: None,
            previous: None,
            state: AssignmentState::Active,
        }
    }

    fn run(case: &Case, now: i64) -> AssignmentStatus {
        report(&Facts {
            generation: 4,
            epoch: 2,
            session: 7,
            state: case.state,
            decision: &case.decision,
            failure: case.failure.as_ref(),
            invalid: None,
            ledger: case.ledger.as_ref(),
            reading: case.reading.as_ref(),
            pods: None,
            stuck: case.stuck,
            previous: case.previous.as_ref(),
            now: time(now),
        })
    }

    fn blocked(why: Why) -> Decision {
        let id = Some(ObjectId::new("", "ConfigMap", "a", "b"));
        Decision {
            blocks: vec![Block {
                why,
                id,
                message: "because".into(),
            }],
            ..Decision::default()
        }
    }

    fn refused() -> Failure {
        Failure {
            id: None,
            reason: "Denied".into(),
            message: "exceeded quota".into(),
            refused: true,
        }
    }

    #[test]
    fn phases() {
        use AssignmentPhase::{
            Applied, Degraded, Failed, Healthy, Pending, Refused, Removed, Succeeded,
        };
        let reading = |healthy, degraded: Option<&str>, finished| {
            Some(Reading {
                healthy,
                degraded: degraded.map(str::to_owned),
                finished,
                ..Reading::default()
            })
        };
        let done = |succeeded| {
            Some(AppliedAssignmentSpec {
                finished: Some(FinishedRecord {
                    succeeded,
                    root_status: Some(json!({"succeeded": 1})),
                }),
                ..AppliedAssignmentSpec::default()
            })
        };
        let was = |phase| {
            Some(AssignmentStatus {
                phase,
                epoch: 2,
                ..AssignmentStatus::default()
            })
        };
        let cases = [
            ("applied", case(), Applied, "Applied"),
            (
                "healthy",
                Case {
                    reading: reading(true, None, None),
                    ..case()
                },
                Healthy,
                "Applied",
            ),
            (
                "degraded",
                Case {
                    reading: reading(false, Some("no progress"), None),
                    ..case()
                },
                Degraded,
                "Applied",
            ),
            (
                "succeeded",
                Case {
                    reading: reading(true, None, Some(true)),
                    ..case()
                },
                Succeeded,
                "Applied",
            ),
            (
                "recorded",
                Case {
                    reading: None,
                    ledger: done(false),
                    ..case()
                },
                Failed,
                "Applied",
            ),
            (
                "not yet",
                Case {
                    reading: None,
                    decision: Decision::default(),
                    ..case()
                },
                Pending,
                "Applying",
            ),
            (
                "foreign",
                Case {
                    reading: None,
                    decision: blocked(Why::ForeignObject),
                    ..case()
                },
                Refused,
                "ForeignObject",
            ),
            (
                "policy",
                Case {
                    reading: None,
                    decision: blocked(Why::Denied),
                    ..case()
                },
                Refused,
                "DeniedBySyncPolicy",
            ),
            (
                "kind",
                Case {
                    reading: None,
                    decision: blocked(Why::KindNotServed),
                    ..case()
                },
                Pending,
                "KindNotServed",
            ),
            (
                "stale epoch",
                Case {
                    decision: blocked(Why::StaleEpoch),
                    ..case()
                },
                Pending,
                "StaleEpoch",
            ),
            (
                "denied",
                Case {
                    reading: None,
                    failure: Some(refused()),
                    ..case()
                },
                Refused,
                "Denied",
            ),
            (
                "update denied",
                Case {
                    reading: reading(true, None, None),
                    failure: Some(refused()),
                    ..case()
                },
                Healthy,
                "Denied",
            ),
            (
                "stuck",
                Case {
                    stuck: Some("0/3 nodes"),
                    ..case()
                },
                Refused,
                "Unschedulable",
            ),
            (
                "going",
                Case {
                    state: AssignmentState::Removed,
                    decision: blocked(Why::Waiting),
                    previous: was(Healthy),
                    ..case()
                },
                Healthy,
                "Removing",
            ),
            (
                "gone",
                Case {
                    state: AssignmentState::Removed,
                    decision: Decision {
                        removed: true,
                        ..Decision::default()
                    },
                    ledger: None,
                    reading: None,
                    ..case()
                },
                Removed,
                "Removed",
            ),
            (
                "ended stays",
                Case {
                    reading: None,
                    previous: was(Succeeded),
                    ..case()
                },
                Succeeded,
                "Applied",
            ),
        ];
        for (name, case, phase, reason) in cases {
            let status = run(&case, 1);
            assert_eq!(
                (status.phase, status.conditions[0].reason.as_str()),
                (phase, reason),
                "{name}"
            );
        }
        assert!(
            run(
                &Case {
                    reading: None,
                    ledger: done(true),
                    ..case()
                },
                1
            )
            .root_status
            .is_some()
        );
    }

    #[test]
    fn an_unchanged_report_is_no_news_whenever_and_whoever() {
        let first = run(&case(), 1);
        let again = run(
            &Case {
                previous: Some(AssignmentStatus {
                    session: 3,
                    ..first.clone()
                }),
                ..case()
            },
            99,
        );
        assert!(!is_news(
            Some(&AssignmentStatus {
                session: 3,
                ..first.clone()
            }),
            &again
        ));
        assert_eq!(again.conditions[0].last_transition_time, time(1));
        let healthy = Case {
            reading: Some(Reading {
                healthy: true,
                ..Reading::default()
            }),
            previous: Some(first.clone()),
            ..case()
        };
        let healthy = run(&healthy, 99);
        assert!(is_news(Some(&first), &healthy));
        assert_eq!(healthy.conditions[1].last_transition_time, time(99));
        assert_eq!(
            due(Some(&first), &healthy, Some(1_000), 1_200),
            1_200,
            "a new phase goes at once"
        );
        assert_eq!(
            due(Some(&first), &first, Some(1_000), 1_200),
            2_000,
            "at most once per second"
        );
        assert_eq!(
            due(Some(&first), &first, Some(1_000), 2_500),
            2_900,
            "and not before it has gathered"
        );
        assert_eq!(due(None, &first, None, 5), 5);
    }

    #[test]
    fn a_root_status_is_bounded() {
        assert_eq!(bounded(json!({"a": 1})), Some(json!({"a": 1})));
        assert_eq!(bounded(json!("text")), None);
        let big = json!({"conditions": [{"type": "A"}], "huge": "x".repeat(ROOT_STATUS)});
        assert_eq!(bounded(big), Some(json!({"conditions": [{"type": "A"}]})));
        assert_eq!(bounded(json!({"huge": "x".repeat(ROOT_STATUS)})), None);
    }
}
