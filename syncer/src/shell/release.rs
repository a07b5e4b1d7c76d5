//! Lifts the gates of pods: one patch each, after a live look. And marks those that go first when their workload shrinks.

use std::collections::BTreeMap;

use client::Connection;
use placement_api::api_type::{ObjectKey, known};
use placement_api::names::{GATE, SYNCER_MANAGER};
use placement_api::raw::RawObject;
use serde_json::Value;

use crate::decide::{gate, surplus};

/// One pod to release.
pub struct Lift {
    /// The pod.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
    /// Node it gets; `None`: anywhere in the domain.
    pub node: Option<String>,
    /// The label by which the node is named.
    pub hostname: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Released {
    /// Pods as they stand now.
    pub pods: Vec<RawObject>,
    /// Pods that are gone.
    pub gone: Vec<ObjectKey>,
    /// The first failure.
    pub failure: Option<String>,
}

/// Releases the pods, in their order.
pub async fn release(
    member: &Connection,
    lifts: Vec<Lift>,
    domain: &BTreeMap<String, String>,
) -> Released {
    let mut released = Released::default();
    for lift in lifts {
        let live: Option<Value> = match member.get(&known::POD, &lift.key).await {
            Ok(live) => live,
            Err(error) => {
                released.failure.get_or_insert(error.to_string());
                continue;
            }
        };
        let Some(live) = live.filter(|live| live["metadata"]["uid"] == lift.uid.as_str()) else {
            released.gone.push(lift.key);
            continue;
        };
        let gates = live["spec"]["schedulingGates"].as_array();
        if !gates.is_some_and(|gates| gates.iter().any(|gate| gate["name"] == GATE)) {
            released.pods.extend(RawObject::from_value(&live));
            continue;
        }
        let operations = gate::patch(
            &live,
            lift.hostname.as_deref(),
            lift.node.as_deref(),
            domain,
        );
        match member
            .json_patch(&known::POD, &lift.key, None, &operations, SYNCER_MANAGER)
            .await
        {
            Ok(pod) => released.pods.push(pod),
            Err(error) => {
                released.failure.get_or_insert(error.to_string());
            }
        }
    }
    released
}

/// A pod that goes first from now on, or does so no more.
pub struct Turn {
    /// The pod.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
    /// It goes first.
    pub first: bool,
}

/// Marks the pods.
pub async fn mark(member: &Connection, turns: Vec<Turn>) -> Released {
    let mut marked = Released::default();
    for turn in turns {
        let operations = surplus::patch(&turn.uid, turn.first);
        match member
            .json_patch(&known::POD, &turn.key, None, &operations, SYNCER_MANAGER)
            .await
        {
            Ok(pod) => marked.pods.push(pod),
            Err(error) if error.is_not_found() => marked.gone.push(turn.key),
            Err(error) => {
                marked.failure.get_or_insert(error.to_string());
            }
        }
    }
    marked
}
