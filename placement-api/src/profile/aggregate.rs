//! One status for the user's object, made of the statuses of its copies.
//!
//! One copy: its status as it is. Several: counts are added, conditions are merged, the worst wins. `observedGeneration` is the
//! hub's generation once every copy has been seen by its controller in that version, and never goes back. The rules of the API
//! server for Jobs (`ValidateJobStatusUpdate`) are kept: counters do not fall, times do not change, what is finished stays so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::pointer;

/// One copy of an object: what a member says of it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Target.
    pub target: &'a str,
    /// `metadata.generation` of the copy, where the kind has one.
    pub generation: Option<i64>,
    /// The copy is made from the newest version of the object on the hub.
    pub current: bool,
    /// Its status; `Null` where its controller has not written one.
    pub status: &'a Value,
}

/// Longest merged message in characters; the API server allows 32 Ki.
const MAX_MESSAGE: usize = 1024;
const OBSERVED: &str = "observedGeneration";
const CONDITIONS: &str = "conditions";
/// Counted by the controller of each member for itself; on the hub nobody counts it, and it may not fall.
const COLLISIONS: &str = "collisionCount";

impl Part<'_> {
    /// The controller of the member has seen the hub's newest version.
    fn is_observed(&self) -> bool {
        let seen = self.status.get(OBSERVED).and_then(Value::as_i64);
        self.current
            && match (seen, self.generation) {
                (Some(seen), Some(generation)) => seen >= generation,
                _ => true,
            }
    }

    /// A condition of the copy is about its newest version, which is the hub's.
    fn is_about_newest(&self, condition: &Value) -> bool {
        let about = condition.get(OBSERVED).and_then(Value::as_i64);
        self.current && about >= self.generation
    }
}

/// Status of a Deployment.
pub(crate) fn deployment(root: &Value, parts: &[Part<'_>]) -> Value {
    if let [part] = parts {
        return single(root, part);
    }
    let mut status = Map::new();
    let names = [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "terminatingReplicas",
    ];
    for name in names {
        put_count(&mut status, name, sum(parts, name));
    }
    let wanted = pointer::at(root, "/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let missing = wanted.max(sum(parts, "replicas")) - sum(parts, "availableReplicas");
    put_count(&mut status, "unavailableReplicas", missing);
    finish(root, parts, status)
}

/// Status of a StatefulSet.
pub(crate) fn stateful_set(root: &Value, parts: &[Part<'_>]) -> Value {
    if let [part] = parts {
        return single(root, part);
    }
    let mut status = Map::new();
    // The API server always writes these two.
    for name in ["replicas", "availableReplicas"] {
        status.insert(name.to_owned(), sum(parts, name).into());
    }
    for name in ["readyReplicas", "currentReplicas", "updatedReplicas"] {
        put_count(&mut status, name, sum(parts, name));
    }
    for name in ["currentRevision", "updateRevision"] {
        put_common(&mut status, parts, name);
    }
    finish(root, parts, status)
}

/// Status of a Job.
pub(crate) fn job(root: &Value, parts: &[Part<'_>]) -> Value {
    if parts.is_empty() || ends(root.get("status").unwrap_or(&Value::Null)) {
        return Value::Null;
    }
    let status = match parts {
        [part] => single(root, part),
        _ => several_jobs(root, parts),
    };
    let Value::Object(mut status) = status else {
        return Value::Null;
    };
    explain_end(&mut status);
    keep_history(root, &mut status);
    Value::Object(status)
}

/// Status of a kind of which only the conventions are known. Of several copies: what all say alike, counts of replicas added,
/// conditions merged.
pub(crate) fn generic(root: &Value, parts: &[Part<'_>]) -> Value {
    match parts {
        [] => Value::Null,
        [part] => single(root, part),
        [first, ..] => {
            let mut status = Map::new();
            for (name, value) in first.status.as_object().into_iter().flatten() {
                if value.is_i64() && name.to_lowercase().ends_with("replicas") {
                    status.insert(name.clone(), sum(parts, name).into());
                } else if name != CONDITIONS && name != OBSERVED {
                    put_common(&mut status, parts, name);
                }
            }
            finish(root, parts, status)
        }
    }
}

/// The status of the only copy, with the hub's generations.
fn single(root: &Value, part: &Part<'_>) -> Value {
    let Some(status) = part.status.as_object() else {
        return Value::Null;
    };
    let mut status = status.clone();
    keep_collisions(root, &mut status);
    if status.contains_key(OBSERVED) {
        put_observed(root, &mut status, part.is_observed());
    }
    let conditions = status.get_mut(CONDITIONS).and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let newest = part.is_about_newest(condition);
        if let Some(condition) = condition.as_object_mut()
            && condition.contains_key(OBSERVED)
        {
            put_observed(root, condition, newest);
        }
    }
    Value::Object(status)
}

fn several_jobs(root: &Value, parts: &[Part<'_>]) -> Value {
    let mut status = Map::new();
    for name in ["active", "succeeded", "failed"] {
        put_count(&mut status, name, sum(parts, name));
    }
    for name in ["ready", "terminating"] {
        if parts.iter().any(|part| part.status.get(name).is_some()) {
            status.insert(name.to_owned(), sum(parts, name).into());
        }
    }
    let times = |name: &str| -> BTreeSet<&str> {
        let texts = parts.iter().map(|part| part.status.get(name));
        texts.flatten().filter_map(Value::as_str).collect()
    };
    if let Some(first) = times("startTime").first() {
        status.insert("startTime".to_owned(), (*first).into());
    }
    let mut conditions = merge_conditions(root, parts, |kind| !is_terminal(kind));
    let completions = pointer::at(root, "/spec/completions").and_then(Value::as_i64);
    let all_there = completions.is_none_or(|all| sum(parts, "succeeded") >= all);
    let failed = parts.iter().any(|part| holds(part.status, "Failed"));
    // Parts that succeeded are told from the whole only by the count; a part that failed fails the whole.
    if parts.iter().all(|part| ends(part.status)) && (failed || all_there) {
        let (target, end) = if failed {
            ("FailureTarget", "Failed")
        } else {
            ("SuccessCriteriaMet", "Complete")
        };
        conditions.extend(merge_conditions(root, parts, |kind| {
            kind == target || kind == end
        }));
        if let (false, Some(last)) = (failed, times("completionTime").last()) {
            status.insert("completionTime".to_owned(), (*last).into());
        }
    }
    if !conditions.is_empty() {
        status.insert(CONDITIONS.to_owned(), conditions.into());
    }
    Value::Object(status)
}

/// A member older than the rule that a Job's end is announced has ended it without; the hub asks for the announcement.
fn explain_end(status: &mut Map<String, Value>) {
    let Some(conditions) = status.get_mut(CONDITIONS).and_then(Value::as_array_mut) else {
        return;
    };
    for (end, target) in [
        ("Complete", "SuccessCriteriaMet"),
        ("Failed", "FailureTarget"),
    ] {
        let find = |kind: &str| {
            let mut found = conditions.iter();
            found.find(|one| one["type"] == kind && one["status"] == "True")
        };
        if let (Some(condition), None) = (find(end), find(target)) {
            let mut announced = condition.clone();
            announced["type"] = target.into();
            conditions.push(announced);
        }
    }
}

/// What a Job's status may never take back: counters, its start, the announcement of its failure. A Job that starts anew
/// elsewhere goes on from there.
fn keep_history(root: &Value, status: &mut Map<String, Value>) {
    let Some(old) = root.get("status") else {
        return;
    };
    let spec = |field: &str| root.get("spec").and_then(|spec| spec.get(field));
    let indexed = spec("completionMode").and_then(Value::as_str) == Some("Indexed");
    let elastic = indexed && spec("completions") == spec("parallelism");
    let counters: &[&str] = if elastic {
        &["failed"]
    } else {
        &["failed", "succeeded"]
    };
    for name in counters {
        let count = |status: Option<&Value>| status.and_then(Value::as_i64).unwrap_or(0);
        let highest = count(old.get(name)).max(count(status.get(*name)));
        put_count(status, name, highest);
    }
    let suspended = spec("suspend") == Some(&Value::Bool(true));
    let resumes = holds(old, "Suspended");
    if let (Some(start), false, false) = (old.get("startTime"), suspended, resumes) {
        status.insert("startTime".to_owned(), start.clone());
    }
    let announced = pointer::list(old, "/conditions")
        .iter()
        .find(|condition| condition["type"] == "FailureTarget" && condition["status"] == "True");
    let kept = status
        .get(CONDITIONS)
        .is_some_and(|conditions| has_true(conditions, "FailureTarget"));
    if let (Some(announced), false) = (announced, kept) {
        let conditions = status.entry(CONDITIONS).or_insert_with(|| json!([]));
        if let Some(conditions) = conditions.as_array_mut() {
            conditions.push(announced.clone());
        }
    }
}

/// Adds what every status made of several has: the generation and the merged conditions.
fn finish(root: &Value, parts: &[Part<'_>], mut status: Map<String, Value>) -> Value {
    let tells = parts.iter().any(|part| part.status.get(OBSERVED).is_some());
    if tells {
        put_observed(root, &mut status, parts.iter().all(Part::is_observed));
    } else if let Some(before) = root.pointer("/status/observedGeneration") {
        status.insert(OBSERVED.to_owned(), before.clone());
    }
    keep_collisions(root, &mut status);
    let conditions = merge_conditions(root, parts, |_| true);
    if !conditions.is_empty() {
        status.insert(CONDITIONS.to_owned(), conditions.into());
    }
    Value::Object(status)
}

/// The hub's generation where it has been seen, else what stood there before.
fn put_observed(root: &Value, map: &mut Map<String, Value>, seen: bool) {
    let generation = root.pointer("/metadata/generation");
    let before = root.pointer("/status/observedGeneration");
    match if seen { generation } else { before } {
        Some(number) => map.insert(OBSERVED.to_owned(), number.clone()),
        None => map.remove(OBSERVED),
    };
}

fn keep_collisions(root: &Value, status: &mut Map<String, Value>) {
    status.remove(COLLISIONS);
    if let Some(count) = root.pointer("/status/collisionCount") {
        status.insert(COLLISIONS.to_owned(), count.clone());
    }
}

/// Merges the conditions of the kinds that are asked for, by type.
fn merge_conditions(root: &Value, parts: &[Part<'_>], wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    let mut by_type: BTreeMap<&str, Vec<(&Part<'_>, &Value)>> = BTreeMap::new();
    for part in parts {
        for condition in pointer::list(part.status, "/conditions") {
            let kind = pointer::text(condition, "/type");
            if wanted(kind) {
                by_type.entry(kind).or_default().push((part, condition));
            }
        }
    }
    by_type
        .into_iter()
        .map(|(kind, found)| merge_condition(root, kind, &found))
        .collect()
}

/// The worst status, and what the copies that have it say.
fn merge_condition(root: &Value, kind: &str, found: &[(&Part<'_>, &Value)]) -> Value {
    let status = |condition: &Value| match pointer::text(condition, "/status") {
        "True" => "True",
        "False" => "False",
        _ => "Unknown",
    };
    let order = if is_bad(kind) {
        ["True", "Unknown", "False"]
    } else {
        ["False", "Unknown", "True"]
    };
    let worst = order
        .into_iter()
        .find(|one| found.iter().any(|(_, condition)| status(condition) == *one))
        .unwrap_or("Unknown");
    let having: Vec<_> = found
        .iter()
        .filter(|(_, condition)| status(condition) == worst)
        .collect();
    let mut merged = Map::new();
    merged.insert("type".to_owned(), kind.into());
    merged.insert("status".to_owned(), worst.into());
    for name in ["lastTransitionTime", "lastUpdateTime", "lastProbeTime"] {
        let times = having.iter().map(|(_, condition)| condition.get(name));
        if let Some(last) = times.flatten().filter_map(Value::as_str).max() {
            merged.insert(name.to_owned(), last.into());
        }
    }
    let reasons = having.iter().map(|(_, one)| pointer::text(one, "/reason"));
    if let Some(reason) = reasons.into_iter().find(|reason| !reason.is_empty()) {
        merged.insert("reason".to_owned(), reason.into());
    }
    let message = merge_messages(
        having
            .iter()
            .map(|(part, one)| (part.target, pointer::text(one, "/message"))),
    );
    if !message.is_empty() || having.iter().any(|(_, one)| one.get("message").is_some()) {
        merged.insert("message".to_owned(), message.into());
    }
    if having.iter().any(|(_, one)| one.get(OBSERVED).is_some()) {
        let newest = having.iter().all(|(part, one)| part.is_about_newest(one));
        put_observed(root, &mut merged, newest);
    }
    Value::Object(merged)
}

/// One message where all say the same, else each with its target.
fn merge_messages<'a>(messages: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let messages: Vec<_> = messages.filter(|(_, text)| !text.is_empty()).collect();
    let distinct: BTreeSet<_> = messages.iter().map(|(_, text)| *text).collect();
    let merged = match messages.as_slice() {
        [] => String::new(),
        [(_, text), ..] if distinct.len() == 1 => (*text).to_owned(),
        _ => {
            let parts = messages
                .iter()
                .map(|(target, text)| format!("{target}: {text}"));
            parts.collect::<Vec<_>>().join("; ")
        }
    };
    if merged.chars().count() <= MAX_MESSAGE {
        return merged;
    }
    merged.chars().take(MAX_MESSAGE - 1).chain(['…']).collect()
}

/// Conditions that should not hold.
fn is_bad(kind: &str) -> bool {
    ["Fail", "Stalled", "Degraded", "Error"]
        .iter()
        .any(|word| kind.contains(word))
}

fn is_terminal(kind: &str) -> bool {
    matches!(
        kind,
        "Complete" | "Failed" | "SuccessCriteriaMet" | "FailureTarget"
    )
}

/// Whether a Job's status says that it has ended.
fn ends(status: &Value) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}

fn holds(status: &Value, kind: &str) -> bool {
    status
        .get(CONDITIONS)
        .is_some_and(|conditions| has_true(conditions, kind))
}

fn has_true(conditions: &Value, kind: &str) -> bool {
    let mut conditions = conditions.as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == kind && one["status"] == "True")
}

fn sum(parts: &[Part<'_>], name: &str) -> i64 {
    let counts = parts.iter().map(|part| part.status.get(name));
    counts
        .flatten()
        .filter_map(Value::as_i64)
        .fold(0, i64::saturating_add)
}

/// Writes a count; zero is left out, as the API server does.
fn put_count(status: &mut Map<String, Value>, name: &str, count: i64) {
    if count == 0 {
        status.remove(name);
    } else {
        status.insert(name.to_owned(), count.into());
    }
}

/// Writes what all copies say alike.
fn put_common(status: &mut Map<String, Value>, parts: &[Part<'_>], name: &str) {
    let mut values = parts.iter().map(|part| part.status.get(name));
    if let Some(Some(first)) = values.next()
        && values.all(|value| value == Some(first))
    {
        status.insert(name.to_owned(), first.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Profile;
    use super::*;

    fn part<'a>(target: &'a str, generation: i64, status: &'a Value) -> Part<'a> {
        Part {
            target,
            generation: Some(generation),
            current: true,
            status,
        }
    }

    fn aggregate(kind: &str, root: &Value, parts: &[Part<'_>]) -> Value {
        let group = if kind == "Job" { "batch" } else { "apps" };
        Profile::builtin(group, kind).map_or_else(
            || Profile::generic("x", kind).aggregate(root, parts),
            |profile| profile.aggregate(root, parts),
        )
    }

    #[test]
    fn one_copy_as_it_is_with_the_generation_of_the_hub() {
        let status = json!({"observedGeneration": 3, "replicas": 2, "readyReplicas": 1, "collisionCount": 1,
            "conditions": [{"type": "Available", "status": "True", "observedGeneration": 3}]});
        let root = json!({"metadata": {"generation": 7}, "status": {"observedGeneration": 6}});
        let expected = |generation: i64| {
            json!({"observedGeneration": generation, "replicas": 2, "readyReplicas": 1,
            "conditions": [{"type": "Available", "status": "True", "observedGeneration": generation}]})
        };
        for kind in ["Deployment", "StatefulSet", "Unknown"] {
            assert_eq!(
                aggregate(kind, &root, &[part("a", 3, &status)]),
                expected(7),
                "{kind}"
            );
            // The member's controller has not seen the copy's newest version.
            assert_eq!(
                aggregate(kind, &root, &[part("a", 4, &status)]),
                expected(6),
                "{kind}"
            );
            // The copy is of an older version.
            let old = Part {
                current: false,
                ..part("a", 3, &status)
            };
            assert_eq!(aggregate(kind, &root, &[old]), expected(6), "{kind}");
            assert_eq!(
                aggregate(kind, &root, &[part("a", 1, &Value::Null)]),
                Value::Null,
                "{kind}"
            );
        }
    }

    #[test]
    fn deployments_are_added() {
        let a = json!({"observedGeneration": 1, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "availableReplicas": 4,
            "conditions": [
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "fine", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "rs a", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        let b = json!({"observedGeneration": 5, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "unavailableReplicas": 1,
            "conditions": [
                {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "not yet", "lastTransitionTime": "2026-01-02T00:00:00Z"},
                {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": "rs b", "lastTransitionTime": "2026-01-03T00:00:00Z"}]});
        let root = json!({"metadata": {"generation": 2}, "spec": {"replicas": 8}, "status": {}});
        let merged = aggregate("Deployment", &root, &[part("a", 1, &a), part("b", 5, &b)]);
        assert_eq!(
            merged,
            json!({"observedGeneration": 2, "replicas": 6, "updatedReplicas": 6, "readyReplicas": 5, "availableReplicas": 4, "unavailableReplicas": 4,
                "conditions": [
                    {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "not yet", "lastTransitionTime": "2026-01-02T00:00:00Z"},
                    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "a: rs a; b: rs b", "lastTransitionTime": "2026-01-03T00:00:00Z"}]})
        );
        // Nothing runs any more.
        let empty = aggregate("Deployment", &root, &[]);
        assert_eq!(empty, json!({"unavailableReplicas": 8}));
    }

    #[test]
    fn bad_conditions_win_where_they_hold() {
        let good = json!({"conditions": [{"type": "ReplicaFailure", "status": "False"}]});
        let bad = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]});
        let merged = aggregate(
            "Deployment",
            &json!({}),
            &[part("a", 1, &good), part("b", 1, &bad)],
        );
        assert_eq!(
            merged["conditions"],
            json!([{"type": "ReplicaFailure", "status": "True", "message": "quota"}])
        );
    }

    #[test]
    fn stateful_sets_are_added() {
        let a = json!({"observedGeneration": 1, "replicas": 1, "availableReplicas": 0, "currentRevision": "x", "updateRevision": "x"});
        let b = json!({"observedGeneration": 1, "replicas": 2, "availableReplicas": 0, "readyReplicas": 1, "currentRevision": "x", "updateRevision": "y"});
        let root = json!({"metadata": {"generation": 4}});
        assert_eq!(
            aggregate("StatefulSet", &root, &[part("a", 1, &a), part("b", 1, &b)]),
            json!({"observedGeneration": 4, "replicas": 3, "availableReplicas": 0, "readyReplicas": 1, "currentRevision": "x"})
        );
    }

    #[test]
    fn unknown_kinds_say_what_all_say() {
        let a = json!({"phase": "Running", "node": "a", "readyReplicas": 1});
        let b = json!({"phase": "Running", "node": "b", "readyReplicas": 2});
        let merged = aggregate("X", &json!({}), &[part("a", 1, &a), part("b", 1, &b)]);
        assert_eq!(merged, json!({"phase": "Running", "readyReplicas": 3}));
        assert_eq!(aggregate("X", &json!({}), &[]), Value::Null);
    }

    fn ended(kind: &str, target: &str) -> Value {
        json!({"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T01:00:00Z", "succeeded": 2, "ready": 0, "terminating": 0,
            "uncountedTerminatedPods": {},
            "conditions": [{"type": target, "status": "True"}, {"type": kind, "status": "True"}]})
    }

    #[test]
    fn one_job_as_it_is() {
        let status = ended("Complete", "SuccessCriteriaMet");
        let root = json!({"spec": {}, "status": {"startTime": "2026-01-01T00:00:00Z"}});
        assert_eq!(aggregate("Job", &root, &[part("a", 1, &status)]), status);
        assert_eq!(aggregate("Job", &root, &[]), Value::Null);
    }

    #[test]
    fn a_finished_job_stays_finished() {
        let root = json!({"status": ended("Complete", "SuccessCriteriaMet")});
        let running = json!({"active": 2});
        assert_eq!(
            aggregate("Job", &root, &[part("a", 1, &running)]),
            Value::Null
        );
    }

    #[test]
    fn a_job_that_moved_goes_on() {
        let root = json!({"spec": {}, "status": {"startTime": "2026-01-01T00:00:00Z", "failed": 3, "succeeded": 1, "active": 2}});
        let anew =
            json!({"startTime": "2026-01-02T00:00:00Z", "active": 2, "failed": 1, "ready": 1});
        assert_eq!(
            aggregate("Job", &root, &[part("b", 1, &anew)]),
            json!({"startTime": "2026-01-01T00:00:00Z", "failed": 3, "succeeded": 1, "active": 2, "ready": 1})
        );
        // After a suspension the start is another.
        let root = json!({"spec": {"suspend": false}, "status": {"startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Suspended", "status": "True"}]}});
        assert_eq!(
            aggregate("Job", &root, &[part("b", 1, &anew)])["startTime"],
            "2026-01-02T00:00:00Z"
        );
        // An elastic Job may count down.
        let root = json!({"spec": {"completionMode": "Indexed", "completions": 2, "parallelism": 2}, "status": {"succeeded": 4}});
        assert_eq!(
            aggregate("Job", &root, &[part("b", 1, &json!({"succeeded": 2}))]),
            json!({"succeeded": 2})
        );
    }

    #[test]
    fn an_end_is_announced() {
        let status = json!({"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Failed", "status": "True", "reason": "R"}]});
        let merged = aggregate("Job", &json!({}), &[part("a", 1, &status)]);
        assert_eq!(
            merged["conditions"][1],
            json!({"type": "FailureTarget", "status": "True", "reason": "R"})
        );
    }

    #[test]
    fn several_jobs_end_together() {
        let complete = ended("Complete", "SuccessCriteriaMet");
        let running =
            json!({"startTime": "2026-01-01T00:10:00Z", "active": 2, "ready": 1, "terminating": 0});
        let root = json!({"spec": {"parallelism": 4, "completions": 4}});
        assert_eq!(
            aggregate(
                "Job",
                &root,
                &[part("a", 1, &complete), part("b", 1, &running)]
            ),
            json!({"startTime": "2026-01-01T00:00:00Z", "active": 2, "ready": 1, "succeeded": 2, "terminating": 0})
        );
        let mut later = complete.clone();
        later["completionTime"] = json!("2026-01-01T02:00:00Z");
        let merged = aggregate(
            "Job",
            &root,
            &[part("a", 1, &complete), part("b", 1, &later)],
        );
        assert_eq!(merged["succeeded"], 4);
        assert_eq!(merged["completionTime"], "2026-01-01T02:00:00Z");
        assert!(holds(&merged, "Complete") && holds(&merged, "SuccessCriteriaMet"));
        // A part that is still to be placed keeps the whole open.
        let larger = json!({"spec": {"parallelism": 6, "completions": 6}});
        assert!(!ends(&aggregate(
            "Job",
            &larger,
            &[part("a", 1, &complete), part("b", 1, &later)]
        )));
        let failed = ended("Failed", "FailureTarget");
        let merged = aggregate(
            "Job",
            &root,
            &[part("a", 1, &complete), part("b", 1, &failed)],
        );
        assert!(
            holds(&merged, "Failed")
                && holds(&merged, "FailureTarget")
                && !holds(&merged, "Complete")
        );
        assert_eq!(merged.get("completionTime"), None);
    }

    fn job_status() -> impl Strategy<Value = Value> {
        (0_i64..4, 0_i64..4, 0_i64..4, 0_u8..3).prop_map(|(active, succeeded, failed, end)| {
            let (kind, target) = if end == 1 {
                ("Complete", "SuccessCriteriaMet")
            } else {
                ("Failed", "FailureTarget")
            };
            let mut status = if end == 0 {
                json!({"startTime": "2026-01-01T00:00:00Z", "active": active, "ready": active})
            } else {
                ended(kind, target)
            };
            status["succeeded"] = succeeded.into();
            status["failed"] = failed.into();
            if kind == "Failed" && end != 0 {
                status
                    .as_object_mut()
                    .expect("map")
                    .remove("completionTime");
            }
            status
        })
    }

    proptest! {
        /// The rules of `ValidateJobStatusUpdate`, over a history of statuses.
        #[test]
        fn every_job_status_is_one_the_api_server_takes(
            history in prop::collection::vec(prop::collection::vec(job_status(), 0..3), 1..5),
        ) {
            let mut root = json!({"metadata": {"generation": 1}, "spec": {}, "status": {}});
            for statuses in history {
                let parts: Vec<_> = statuses.iter().map(|status| part("t", 1, status)).collect();
                let new = aggregate("Job", &root, &parts);
                if new.is_null() {
                    continue;
                }
                let old = root["status"].clone();
                let count = |status: &Value, name: &str| status.get(name).and_then(Value::as_i64).unwrap_or(0);
                for name in ["failed", "succeeded"] {
                    prop_assert!(count(&new, name) >= count(&old, name));
                }
                for kind in ["Complete", "Failed", "FailureTarget"] {
                    prop_assert!(!holds(&old, kind) || holds(&new, kind));
                }
                prop_assert!(!holds(&new, "Complete") || !holds(&new, "Failed"));
                prop_assert!(!holds(&new, "Complete") || holds(&new, "SuccessCriteriaMet"));
                prop_assert!(!holds(&new, "Failed") || holds(&new, "FailureTarget"));
                prop_assert_eq!(holds(&new, "Complete"), new.get("completionTime").is_some());
                prop_assert!(!ends(&new) || (count(&new, "active") == 0 && count(&new, "terminating") == 0));
                prop_assert!(count(&new, "ready") <= count(&new, "active"));
                prop_assert!(old.get("startTime").is_none() || old.get("startTime") == new.get("startTime"));
                root["status"] = new;
            }
        }
    }
}
