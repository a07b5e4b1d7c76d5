//! How a root object stands: read by the built-in profile of its kind, or by what the Assignment brings along.

use placement_api::kinds::AssignmentSpec;
use placement_api::profile::{HealthState, Profile};
use placement_api::raw::RawObject;
use serde_json::{Map, Value};

use crate::decide::status::{Reading, bounded};

/// Reads the root object of an assignment. A profile that cannot be used reads as "not known", with its error as message.
pub fn read(spec: &AssignmentSpec, live: &RawObject) -> Reading {
    let root = &spec.workload;
    let object = live.to_value();
    let mut reading = Reading {
        generation: live.metadata.generation,
        ..Reading::default()
    };
    match Profile::for_agent(&root.group, &root.kind, spec.interpretation.as_ref()) {
        Ok(profile) => {
            let health = profile.health(&object);
            match health.state {
                HealthState::Healthy => reading.healthy = true,
                HealthState::Finished { succeeded } => reading.finished = Some(succeeded),
                HealthState::Failed => {
                    let said = !health.message.is_empty();
                    let message = if said {
                        health.message.clone()
                    } else {
                        "its controller says that it failed".to_owned()
                    };
                    reading.degraded = Some(message);
                }
                HealthState::Unknown | HealthState::Progressing => {}
            }
            reading.message = health.message;
            reading.status = carried(&object, &profile.status_paths()).and_then(bounded);
        }
        Err(error) => {
            reading.message = error.to_string();
            reading.status = carried(&object, &["/status".to_owned()]).and_then(bounded);
        }
    }
    reading
}

/// What goes up as the status: the value at `/status`, or, where the profile names other places, those that lie inside of it.
fn carried(object: &Value, paths: &[String]) -> Option<Value> {
    let mut out = Map::new();
    for path in paths {
        let Some(value) = object.pointer(path) else {
            continue;
        };
        if path == "/status" {
            out.extend(value.as_object().cloned().unwrap_or_default());
        } else if let Some(name) = path
            .strip_prefix("/status/")
            .filter(|rest| !rest.contains('/'))
        {
            out.insert(name.replace("~1", "/").replace("~0", "~"), value.clone());
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

#[cfg(test)]
mod tests {
    use placement_api::kinds::{Interpretation, ObjectRef};
    use serde_json::json;

    use super::*;

    fn spec(group: &str, kind: &str, interpretation: Option<Interpretation>) -> AssignmentSpec {
        let workload = ObjectRef {
            group: group.into(),
            kind: kind.into(),
            name: "x".into(),
            ..ObjectRef::default()
        };
        AssignmentSpec {
            workload,
            interpretation,
            ..AssignmentSpec::default()
        }
    }

    fn raw(value: &Value) -> RawObject {
        RawObject::from_value(value).unwrap()
    }

    #[test]
    fn built_in_kinds_and_brought_profiles() {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "generation": 3}, "spec": {"completions": 1},
            "status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}});
        let reading = read(&spec("batch", "Job", None), &raw(&job));
        assert_eq!(
            (reading.finished, reading.generation),
            (Some(true), Some(3))
        );
        assert_eq!(reading.status.unwrap()["succeeded"], 1);

        let model = |phase: &str| {
            raw(
                &json!({"apiVersion": "t/v1", "kind": "Model", "metadata": {"name": "x"}, "spec": {}, "status": {"phase": phase, "noise": 1}}),
            )
        };
        let how = Interpretation {
            healthy: Some("object.status.phase == 'Running'".into()),
            finished: Some("object.status.phase in ['Succeeded', 'Failed']".into()),
            succeeded: Some("object.status.phase == 'Succeeded'".into()),
            status: vec!["/status/phase".into()],
        };
        let cases = [
            ("Running", true, None),
            ("Pending", false, None),
            ("Succeeded", false, Some(true)),
            ("Failed", false, Some(false)),
        ];
        for (phase, healthy, finished) in cases {
            let reading = read(&spec("t", "Model", Some(how.clone())), &model(phase));
            assert_eq!(
                (reading.healthy, reading.finished),
                (healthy, finished),
                "{phase}"
            );
            assert_eq!(reading.status, Some(json!({"phase": phase})));
        }
    }

    #[test]
    fn a_broken_profile_is_a_message() {
        let how = Interpretation {
            healthy: Some("object.(".into()),
            ..Interpretation::default()
        };
        let reading = read(
            &spec("t", "Model", Some(how)),
            &raw(&json!({"apiVersion": "t/v1", "kind": "Model", "metadata": {"name": "x"}})),
        );
        assert!(!reading.healthy && !reading.message.is_empty());
    }
}
