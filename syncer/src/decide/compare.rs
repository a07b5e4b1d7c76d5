//! Whether a live object still has everything that was ordered.
//!
//! Others may add what they like (defaults, injected containers, annotations); only what the order names is compared. Values that
//! Kubernetes writes in another way than it was told are the same value: quantities, and empty things that it leaves out.

use placement_api::quantity::Quantity;
use placement_api::raw::{RawObject, digest_of};
use serde_json::{Map, Value};

/// Whether `live` has all that `desired` names.
pub fn covers(live: &RawObject, desired: &Value) -> bool {
    let Some(desired) = desired.as_object() else {
        return false;
    };
    desired.iter().all(|(name, value)| match name.as_str() {
        "apiVersion" | "kind" | "status" => true,
        "metadata" => covers_metadata(live, value),
        _ => match live.section_as::<Value>(name) {
            Ok(Some(have)) => same(&have, value, is_quantity(name)),
            _ => is_empty(value),
        },
    })
}

/// Digest of all that drift can touch: everything but the status and the metadata that the server keeps.
pub fn content(live: &RawObject) -> String {
    let mut all = Map::new();
    for name in live.section_names().filter(|name| *name != "status") {
        if let Ok(Some(value)) = live.section_as::<Value>(name) {
            all.insert(name.to_owned(), value);
        }
    }
    let strings = |map: &std::collections::BTreeMap<String, String>| {
        Value::Object(
            map.iter()
                .map(|(k, v)| (k.clone(), Value::from(v.as_str())))
                .collect(),
        )
    };
    all.insert("/labels".to_owned(), strings(&live.metadata.labels));
    all.insert(
        "/annotations".to_owned(),
        strings(&live.metadata.annotations),
    );
    digest_of(&Value::Object(all))
}

fn covers_metadata(live: &RawObject, desired: &Value) -> bool {
    let has = |section: &str, have: &std::collections::BTreeMap<String, String>| {
        desired
            .get(section)
            .and_then(Value::as_object)
            .is_none_or(|wanted| {
                wanted
                    .iter()
                    .all(|(key, value)| have.get(key).map(String::as_str) == value.as_str())
            })
    };
    has("labels", &live.metadata.labels) && has("annotations", &live.metadata.annotations)
}

/// Fields whose values, at any depth, are Kubernetes quantities.
fn is_quantity(name: &str) -> bool {
    matches!(
        name,
        "limits"
            | "requests"
            | "capacity"
            | "hard"
            | "overhead"
            | "sizeLimit"
            | "divisor"
            | "default"
            | "defaultRequest"
            | "max"
            | "min"
            | "averageValue"
    )
}

/// What Kubernetes may leave out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
    }
}

fn same(live: &Value, desired: &Value, quantity: bool) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(name, value)| {
            let quantity = quantity || is_quantity(name);
            live.get(name)
                .map_or_else(|| is_empty(value), |have| same(have, value, quantity))
        }),
        (Value::Array(live), Value::Array(desired)) => same_list(live, desired, quantity),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) if a == b => true,
        (a, b) if quantity => match (as_quantity(a), as_quantity(b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        (a, b) => is_empty(a) && is_empty(b),
    }
}

fn as_quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// Lists whose items have a name are sets by that name, as in server-side apply; of the others every item counts, in order.
fn same_list(live: &[Value], desired: &[Value], quantity: bool) -> bool {
    for key in [
        "name",
        "containerPort",
        "port",
        "mountPath",
        "devicePath",
        "topologyKey",
        "ip",
        "type",
    ] {
        let named = |items: &[Value]| {
            let mut keys: Vec<String> = Vec::new();
            for item in items {
                match item.get(key) {
                    Some(value) if !value.is_null() => keys.push(value.to_string()),
                    _ => return false,
                }
            }
            keys.sort_unstable();
            keys.windows(2).all(|pair| pair[0] != pair[1])
        };
        if !desired.is_empty() && named(desired) && named(live) {
            return desired.iter().all(|item| {
                live.iter()
                    .find(|have| have.get(key) == item.get(key))
                    .is_some_and(|have| same(have, item, quantity))
            });
        }
    }
    live.len() == desired.len() && live.iter().zip(desired).all(|(a, b)| same(a, b, quantity))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn raw(value: &Value) -> RawObject {
        RawObject::from_value(value).unwrap()
    }

    #[test]
    fn what_counts_as_drift() {
        let desired = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "1"}},
            "spec": {
                "replicas": 2, "paused": false, "strategy": {},
                "template": {"spec": {
                    "containers": [{"name": "web", "image": "x:1", "args": ["--a", "--b"],
                        "env": [{"name": "V", "value": "1"}],
                        "resources": {"requests": {"cpu": "0.2", "memory": "1024Mi", "nvidia.com/gpu": 1}}}],
                }},
            },
        });
        let live = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "1", "foreign": "x"}, "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {
                "replicas": 2, "revisionHistoryLimit": 10,
                "strategy": {"type": "RollingUpdate"},
                "template": {"spec": {
                    "containers": [
                        {"name": "sidecar", "image": "proxy"},
                        {"name": "web", "image": "x:1", "args": ["--a", "--b"], "imagePullPolicy": "Always",
                         "env": [{"name": "V", "value": "1"}, {"name": "INJECTED", "value": "y"}],
                         "resources": {"requests": {"cpu": "200m", "memory": "1Gi", "nvidia.com/gpu": "1"}}}],
                    "restartPolicy": "Always",
                }},
            },
            "status": {"replicas": 2},
        });
        assert!(covers(&raw(&live), &desired));
        let edits: &[(&str, Value)] = &[
            ("/spec/replicas", json!(3)),
            ("/metadata/labels/a", json!("2")),
            ("/spec/template/spec/containers/1/image", json!("x:2")),
            ("/spec/template/spec/containers/1/args", json!(["--a"])),
            ("/spec/template/spec/containers/1/env/0/value", json!("1.0")),
            (
                "/spec/template/spec/containers/1/resources/requests/cpu",
                json!("300m"),
            ),
            ("/spec/template/spec/containers/1/name", json!("renamed")),
            ("/spec/template", json!({})),
        ];
        for (pointer, value) in edits {
            let mut drifted = live.clone();
            *drifted.pointer_mut(pointer).unwrap() = value.clone();
            assert!(!covers(&raw(&drifted), &desired), "{pointer} = {value}");
        }
        for (pointer, value) in [
            ("/status", json!({"replicas": 1})),
            ("/metadata/labels/foreign", json!("z")),
            ("/spec/revisionHistoryLimit", json!(3)),
            ("/spec/template/spec/containers/0", json!({"name": "other"})),
        ] {
            let mut others = live.clone();
            *others.pointer_mut(pointer).unwrap() = value;
            assert!(covers(&raw(&others), &desired), "{pointer} is not ours");
        }
    }

    #[test]
    fn content_leaves_out_status_and_server_metadata() {
        let object = |rv: &str, ready: i64, data: &str| {
            raw(
                &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "resourceVersion": rv, "generation": ready},
                "data": {"k": data}, "status": {"ready": ready}}),
            )
        };
        assert_eq!(content(&object("1", 1, "a")), content(&object("2", 9, "a")));
        assert_ne!(content(&object("1", 1, "a")), content(&object("1", 1, "b")));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z0-9]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-e]|name|requests", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// What was written and comes back as it was is never drift, so no repair is repeated for ever.
        #[test]
        fn an_object_covers_itself(spec in value()) {
            let object = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec});
            prop_assert!(covers(&raw(&object), &object));
        }

        /// Fields that others add change nothing.
        #[test]
        fn additions_are_not_drift(spec in prop::collection::btree_map("[a-e]", value(), 0..4), more in value()) {
            let desired = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec});
            let mut live = desired.clone();
            live["spec"]["others"] = more;
            prop_assert!(covers(&raw(&live), &desired));
        }
    }
}
