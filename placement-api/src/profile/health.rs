//! How an object fares, from the status that its own controller writes.

use serde_json::Value;

use super::{Builtin, pointer};

/// How an object fares, and in words why it is not healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// State.
    pub state: HealthState,
    /// In words; empty where there is nothing to say.
    pub message: String,
}

/// How an object fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// On its way, as far as its controller says.
    Progressing,
    /// As it should be.
    Healthy,
    /// Its controller says that it does not get further; that may still pass.
    Failed,
    /// Its work is done and it will not run again.
    Finished {
        /// The work went well.
        succeeded: bool,
    },
    /// Its status could not be read.
    Unknown,
}

impl Health {
    pub(crate) fn healthy() -> Self {
        Self {
            state: HealthState::Healthy,
            message: String::new(),
        }
    }

    pub(crate) fn progressing(message: impl Into<String>) -> Self {
        Self {
            state: HealthState::Progressing,
            message: message.into(),
        }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self {
            state: HealthState::Failed,
            message: message.into(),
        }
    }

    fn finished(succeeded: bool, condition: &Value) -> Self {
        Self {
            state: HealthState::Finished { succeeded },
            message: words(condition),
        }
    }

    /// Whether its work is done.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, HealthState::Finished { .. })
    }
}

/// Reads an object of a built-in kind.
pub(crate) fn of_builtin(builtin: Builtin, object: &Value) -> Health {
    match builtin {
        Builtin::Deployment => deployment(object),
        Builtin::StatefulSet => stateful_set(object),
        Builtin::Job => job(object),
        Builtin::JobSet => finishing(object, "Completed"),
        Builtin::Training { .. } => finishing(object, "Succeeded"),
        Builtin::LeaderWorkerSet => by_conditions(object).unwrap_or_else(waiting),
        Builtin::Claim => claim(object),
        Builtin::Plain => Health::healthy(),
    }
}

/// Reads an object by the conventions of Kubernetes' API: `observedGeneration`, and the conditions Ready, Available, Stalled,
/// Reconciling, Failed. An object without conditions is as it should be.
pub(crate) fn generic(object: &Value) -> Health {
    if !is_observed(object, true) {
        return not_observed();
    }
    by_conditions(object).unwrap_or_else(Health::healthy)
}

/// The member's own words where it refuses to create pods.
pub(crate) fn refusal(object: &Value) -> Option<String> {
    condition_true(object, "ReplicaFailure").map(words)
}

/// What an object says of itself: `status.message`, or the message of a condition that does not hold as it should.
pub(crate) fn message(object: &Value) -> String {
    let own = pointer::text(object, "/status/message");
    if !own.is_empty() {
        return own.to_owned();
    }
    let failed = condition_true(object, "Failed").or_else(|| condition_true(object, "Stalled"));
    let not_ready = || {
        let ready = condition(object, "Ready").or_else(|| condition(object, "Available"));
        ready.filter(|condition| pointer::text(condition, "/status") != "True")
    };
    failed.or_else(not_ready).map(words).unwrap_or_default()
}

/// The condition of a type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    pointer::list(object, "/status/conditions")
        .iter()
        .find(|condition| pointer::text(condition, "/type") == kind)
}

fn condition_true<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    condition(object, kind).filter(|condition| pointer::text(condition, "/status") == "True")
}

fn deployment(object: &Value) -> Health {
    if !is_observed(object, false) {
        return not_observed();
    }
    if let Some(refusal) = refusal(object) {
        return Health::failed(refusal);
    }
    let progress = condition(object, "Progressing");
    if let Some(progress) = progress
        && pointer::text(progress, "/reason") == "ProgressDeadlineExceeded"
    {
        return Health::failed(words(progress));
    }
    let status = |field| pointer::number(object, field);
    let wanted = replicas(object);
    let updated = status("/status/updatedReplicas");
    let available = status("/status/availableReplicas");
    let old = status("/status/replicas") - updated;
    if updated < wanted {
        Health::progressing(format!("{updated} of {wanted} replicas updated"))
    } else if old > 0 {
        Health::progressing(format!("{old} old replicas still to go"))
    } else if available < updated {
        Health::progressing(format!("{available} of {updated} replicas available"))
    } else {
        Health::healthy()
    }
}

fn stateful_set(object: &Value) -> Health {
    if !is_observed(object, false) {
        return not_observed();
    }
    let status = |field| pointer::number(object, field);
    let wanted = replicas(object);
    let ready = status("/status/readyReplicas");
    if ready < wanted {
        return Health::progressing(format!("{ready} of {wanted} replicas ready"));
    }
    let on_delete = pointer::text(object, "/spec/updateStrategy/type") == "OnDelete";
    let partition = status("/spec/updateStrategy/rollingUpdate/partition");
    let updated = status("/status/updatedReplicas");
    let to_update = (wanted - partition).max(0);
    if !on_delete && updated < to_update {
        return Health::progressing(format!("{updated} of {to_update} replicas updated"));
    }
    let available = status("/status/availableReplicas");
    if available < wanted {
        return Health::progressing(format!("{available} of {wanted} replicas available"));
    }
    Health::healthy()
}

fn job(object: &Value) -> Health {
    if let Some(complete) = condition_true(object, "Complete") {
        return Health::finished(true, complete);
    }
    if let Some(failed) = condition_true(object, "Failed") {
        return Health::finished(false, failed);
    }
    let ending = condition_true(object, "FailureTarget")
        .or_else(|| condition_true(object, "SuccessCriteriaMet"));
    if let Some(ending) = ending {
        return Health::progressing(words(ending));
    }
    if pointer::is_true(object, "/spec/suspend") {
        return Health::progressing("suspended");
    }
    let status = |field| pointer::number(object, field);
    let parallelism = pointer::at(object, "/spec/parallelism")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let left = pointer::at(object, "/spec/completions")
        .and_then(Value::as_i64)
        .map_or(i64::MAX, |completions| {
            completions - status("/status/succeeded")
        });
    let wanted = parallelism.min(left).max(0);
    let ready = status("/status/ready");
    if ready >= wanted && ready > 0 {
        return Health::healthy();
    }
    let failed = status("/status/failed");
    let suffix = if failed > 0 {
        format!(", {failed} failed")
    } else {
        String::new()
    };
    Health::progressing(format!("{ready} of {wanted} pods ready{suffix}"))
}

/// Kinds that end with a condition, `Failed` or this one.
fn finishing(object: &Value, success: &str) -> Health {
    if let Some(done) = condition_true(object, success) {
        return Health::finished(true, done);
    }
    if let Some(failed) = condition_true(object, "Failed") {
        return Health::finished(false, failed);
    }
    if condition_true(object, "Suspended").is_some() {
        return Health::progressing("suspended");
    }
    if condition_true(object, "Running").is_some() {
        return Health::healthy();
    }
    // A JobSet says how many of its Jobs are ready, and has no condition for that.
    let jobs = pointer::list(object, "/status/replicatedJobsStatus");
    let ready = |job: &Value| {
        pointer::number(job, "/ready") + pointer::number(job, "/succeeded") > 0
            && pointer::number(job, "/active") <= pointer::number(job, "/ready")
    };
    if !jobs.is_empty() && jobs.iter().all(ready) {
        return Health::healthy();
    }
    waiting()
}

fn claim(object: &Value) -> Health {
    match pointer::text(object, "/status/phase") {
        "Bound" => Health::healthy(),
        "Lost" => Health::failed("the volume is lost"),
        _ => Health::progressing("not bound yet"),
    }
}

fn by_conditions(object: &Value) -> Option<Health> {
    let bad = condition_true(object, "Failed").or_else(|| condition_true(object, "Stalled"));
    if let Some(bad) = bad {
        return Some(Health::failed(words(bad)));
    }
    if let Some(busy) = condition_true(object, "Reconciling") {
        return Some(Health::progressing(words(busy)));
    }
    let ready = condition(object, "Ready").or_else(|| condition(object, "Available"))?;
    Some(if pointer::text(ready, "/status") == "True" {
        Health::healthy()
    } else {
        Health::progressing(words(ready))
    })
}

fn waiting() -> Health {
    Health::progressing("waiting for its controller")
}

fn not_observed() -> Health {
    Health::progressing("its controller has not seen the newest version yet")
}

/// Whether the controller has seen the newest version; where it has said nothing yet, `silent`.
fn is_observed(object: &Value, silent: bool) -> bool {
    let generation = pointer::number(object, "/metadata/generation");
    let observed = object.pointer("/status/observedGeneration");
    observed
        .and_then(Value::as_i64)
        .map_or(silent, |observed| observed >= generation)
}

fn replicas(object: &Value) -> i64 {
    pointer::at(object, "/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1)
}

/// `Reason: message` of a condition.
fn words(condition: &Value) -> String {
    let reason = pointer::text(condition, "/reason");
    let message = pointer::text(condition, "/message");
    match (reason.is_empty(), message.is_empty()) {
        (false, false) => format!("{reason}: {message}"),
        (true, _) => message.to_owned(),
        (_, true) => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Profile;
    use super::*;

    fn health(group: &str, kind: &str, object: &Value) -> Health {
        Profile::builtin(group, kind)
            .expect("built in")
            .health(object)
    }

    fn is(state: HealthState, message: &str) -> Health {
        Health {
            state,
            message: message.to_owned(),
        }
    }

    const UNSEEN: &str = "its controller has not seen the newest version yet";

    #[test]
    fn deployments() {
        use HealthState::{Failed, Healthy, Progressing};
        for (status, expected) in [
            (json!(null), is(Progressing, UNSEEN)),
            (
                json!({"observedGeneration": 1, "updatedReplicas": 3, "availableReplicas": 3, "replicas": 3}),
                is(Progressing, UNSEEN),
            ),
            (
                json!({"observedGeneration": 2}),
                is(Progressing, "0 of 3 replicas updated"),
            ),
            (
                json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 3}),
                is(Progressing, "1 old replicas still to go"),
            ),
            (
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 1}),
                is(Progressing, "1 of 3 replicas available"),
            ),
            (
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
                is(Healthy, ""),
            ),
            (
                json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]}),
                is(Failed, "ProgressDeadlineExceeded: timed out"),
            ),
            (
                json!({"observedGeneration": 2, "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}]}),
                is(Failed, "FailedCreate: exceeded quota: q"),
            ),
        ] {
            let object = json!({"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": status});
            assert_eq!(health("apps", "Deployment", &object), expected, "{status}");
        }
    }

    #[test]
    fn stateful_sets() {
        use HealthState::{Healthy, Progressing};
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
        for (spec, status, expected) in [
            (json!({"replicas": 3}), json!({}), is(Progressing, UNSEEN)),
            (
                json!({"replicas": 3}),
                json!({"observedGeneration": 1, "readyReplicas": 2}),
                is(Progressing, "2 of 3 replicas ready"),
            ),
            (
                json!({"replicas": 3}),
                json!({"observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": 1}),
                is(Progressing, "1 of 3 replicas updated"),
            ),
            (
                json!({"replicas": 3, "updateStrategy": strategy}),
                json!({"observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": 1, "availableReplicas": 3}),
                is(Healthy, ""),
            ),
            (
                json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}}),
                json!({"observedGeneration": 1, "readyReplicas": 3, "availableReplicas": 2}),
                is(Progressing, "2 of 3 replicas available"),
            ),
            (
                json!({"replicas": 0}),
                json!({"observedGeneration": 1}),
                is(Healthy, ""),
            ),
        ] {
            let object = json!({"kind": "StatefulSet", "metadata": {"generation": 1}, "spec": spec, "status": status});
            assert_eq!(health("apps", "StatefulSet", &object), expected, "{status}");
        }
    }

    #[test]
    fn jobs() {
        use HealthState::{Finished, Healthy, Progressing};
        let condition =
            |kind: &str| json!([{"type": kind, "status": "True", "reason": "R", "message": "m"}]);
        for (spec, status, expected) in [
            (
                json!({"parallelism": 2}),
                json!(null),
                is(Progressing, "0 of 2 pods ready"),
            ),
            (
                json!({"parallelism": 2}),
                json!({"ready": 1, "failed": 3}),
                is(Progressing, "1 of 2 pods ready, 3 failed"),
            ),
            (
                json!({"parallelism": 2}),
                json!({"ready": 2}),
                is(Healthy, ""),
            ),
            (
                json!({"parallelism": 2, "completions": 2}),
                json!({"ready": 1, "succeeded": 1}),
                is(Healthy, ""),
            ),
            (
                json!({"suspend": true}),
                json!({}),
                is(Progressing, "suspended"),
            ),
            (
                json!({}),
                json!({"conditions": condition("SuccessCriteriaMet")}),
                is(Progressing, "R: m"),
            ),
            (
                json!({}),
                json!({"conditions": condition("Complete")}),
                is(Finished { succeeded: true }, "R: m"),
            ),
            (
                json!({}),
                json!({"conditions": condition("Failed")}),
                is(Finished { succeeded: false }, "R: m"),
            ),
        ] {
            let object = json!({"kind": "Job", "spec": spec, "status": status});
            assert_eq!(health("batch", "Job", &object), expected, "{status}");
        }
    }

    #[test]
    fn other_kinds() {
        use HealthState::{Failed, Finished, Healthy, Progressing};
        let condition = |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status, "message": "m"}]});
        for (group, kind, status, state) in [
            ("", "Service", json!(null), Healthy),
            ("", "ConfigMap", json!(null), Healthy),
            (
                "",
                "PersistentVolumeClaim",
                json!({"phase": "Bound"}),
                Healthy,
            ),
            (
                "",
                "PersistentVolumeClaim",
                json!({"phase": "Lost"}),
                Failed,
            ),
            (
                "jobset.x-k8s.io",
                "JobSet",
                condition("Completed", "True"),
                Finished { succeeded: true },
            ),
            (
                "jobset.x-k8s.io",
                "JobSet",
                json!({"replicatedJobsStatus": [{"name": "a", "ready": 2, "active": 2}]}),
                Healthy,
            ),
            (
                "jobset.x-k8s.io",
                "JobSet",
                json!({"replicatedJobsStatus": [{"name": "a", "ready": 1, "active": 2}]}),
                Progressing,
            ),
            (
                "kubeflow.org",
                "PyTorchJob",
                condition("Failed", "True"),
                Finished { succeeded: false },
            ),
            (
                "kubeflow.org",
                "PyTorchJob",
                condition("Running", "True"),
                Healthy,
            ),
            (
                "leaderworkerset.x-k8s.io",
                "LeaderWorkerSet",
                condition("Available", "True"),
                Healthy,
            ),
            (
                "leaderworkerset.x-k8s.io",
                "LeaderWorkerSet",
                json!({}),
                Progressing,
            ),
        ] {
            let object = json!({"kind": kind, "status": status});
            assert_eq!(health(group, kind, &object).state, state, "{kind} {status}");
        }
    }

    #[test]
    fn unknown_kinds() {
        use HealthState::{Failed, Healthy, Progressing};
        let condition = |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status, "message": "m"}]});
        for (status, state) in [
            (json!(null), Healthy),
            (condition("Ready", "True"), Healthy),
            (condition("Ready", "False"), Progressing),
            (condition("Available", "Unknown"), Progressing),
            (condition("Stalled", "True"), Failed),
            (condition("Reconciling", "True"), Progressing),
            (json!({"observedGeneration": 1}), Progressing),
            (json!({"observedGeneration": 2}), Healthy),
        ] {
            let object = json!({"kind": "X", "metadata": {"generation": 2}, "status": status});
            assert_eq!(
                Profile::generic("g", "X").health(&object).state,
                state,
                "{status}"
            );
        }
    }
}
