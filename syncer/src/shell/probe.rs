//! Why a controller creates no pods: it says so in a condition, or only in events.

use std::cmp::Reverse;

use client::Connection;
use placement_api::raw::RawObject;
use serde::Deserialize;
use serde_json::Value;

/// What a Deployment or ReplicaSet says when its pods are refused.
pub fn replica_failure(root: &RawObject) -> Option<String> {
    let status: Value = root.section_as("status").ok().flatten()?;
    let conditions = status["conditions"].as_array()?;
    let failure = conditions
        .iter()
        .find(|c| c["type"] == "ReplicaFailure" && c["status"] == "True")?;
    failure["message"].as_str().map(str::to_owned)
}

/// The last event that says that a pod of this object could not be created.
pub async fn probe(member: &Connection, namespace: &str, uid: &str) -> Option<String> {
    let path = format!(
        "/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.uid%3D{uid},reason%3DFailedCreate"
    );
    match member.raw_get(&path).await {
        Ok(body) => latest(&body),
        Err(error) => {
            tracing::warn!(%error, "the events of the member cannot be read");
            None
        }
    }
}

#[derive(Deserialize)]
struct Events {
    #[serde(default)]
    items: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    message: String,
    #[serde(default)]
    last_timestamp: Option<String>,
    #[serde(default)]
    event_time: Option<String>,
}

fn latest(body: &[u8]) -> Option<String> {
    let mut events = serde_json::from_slice::<Events>(body).ok()?.items;
    // RFC 3339 in UTC sorts as text.
    events.sort_by_key(|event| {
        Reverse(
            event
                .last_timestamp
                .clone()
                .or_else(|| event.event_time.clone()),
        )
    });
    events.into_iter().next().map(|event| event.message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_event_counts() {
        let body = json!({"items": [
            {"message": "old", "lastTimestamp": "2026-01-01T00:00:00Z"},
            {"message": "exceeded quota", "lastTimestamp": "2026-01-01T00:01:00Z"},
            {"message": "new style", "eventTime": "2026-01-01T00:00:30.000000Z"},
        ]});
        assert_eq!(
            latest(body.to_string().as_bytes()).as_deref(),
            Some("exceeded quota")
        );
        assert_eq!(latest(br#"{"items": []}"#), None);
    }

    #[test]
    fn a_condition_says_it_too() {
        let root = |status: &str| {
            RawObject::from_value(&json!({"kind": "Deployment", "metadata": {"name": "x"},
                "status": {"conditions": [{"type": "ReplicaFailure", "status": status, "message": "quota"}]}}))
            .unwrap()
        };
        assert_eq!(replica_failure(&root("True")).as_deref(), Some("quota"));
        assert_eq!(replica_failure(&root("False")), None);
    }
}
