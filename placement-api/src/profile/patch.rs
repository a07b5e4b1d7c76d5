//! JSON merge patches (RFC 7386): what to send so that a status becomes another.

use serde_json::{Map, Value};

/// The merge patch that turns `old` into `new`, `None` where nothing changes. What is gone is sent as `null`; a merge patch
/// without that would leave it for ever. A `null` that the server writes where nothing stands (`lastProbeTime`) is no change.
pub fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    if same(old, new) {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return Some(new.clone());
    };
    let mut patch = Map::new();
    for (name, _) in old
        .iter()
        .filter(|(name, value)| !value.is_null() && !new.contains_key(*name))
    {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        let change = match old.get(name) {
            Some(before) => merge_patch(before, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(name.clone(), change);
        }
    }
    Some(Value::Object(patch))
}

/// Equality to which `null` and absent are the same.
fn same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let covers = |one: &Map<String, Value>, other: &Map<String, Value>| {
                one.iter()
                    .all(|(name, value)| same(value, other.get(name).unwrap_or(&Value::Null)))
            };
            covers(old, new) && covers(new, old)
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
        }
        _ => old == new,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn sends_only_what_differs() {
        for (old, new, patch) in [
            (json!({"a": 1}), json!({"a": 1}), None),
            (
                json!({"a": 1, "b": 2}),
                json!({"a": 3}),
                Some(json!({"a": 3, "b": null})),
            ),
            (
                json!({"a": {"x": 1, "y": 2}}),
                json!({"a": {"x": 1}}),
                Some(json!({"a": {"y": null}})),
            ),
            (
                json!({"l": [1, 2]}),
                json!({"l": [1]}),
                Some(json!({"l": [1]})),
            ),
            (
                json!({"l": [{"t": null, "s": 1}], "n": null}),
                json!({"l": [{"s": 1}]}),
                None,
            ),
            (json!({"n": null}), json!({"a": 1}), Some(json!({"a": 1}))),
            (Value::Null, json!({"a": 1}), Some(json!({"a": 1}))),
        ] {
            assert_eq!(merge_patch(&old, &new), patch, "{old} {new}");
        }
    }

    /// RFC 7386, section 2.
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (name, value) in patch {
            let map = target.as_object_mut().expect("map");
            if value.is_null() {
                map.remove(name);
            } else {
                apply(map.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }

    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i8>().prop_map(Value::from),
            "[ab]".prop_map(Value::from),
            Just(json!([1]))
        ];
        let tree = leaf.prop_recursive(3, 12, 3, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| json!(map))
        });
        prop::collection::btree_map("[abc]", tree, 0..3).prop_map(|map| json!(map))
    }

    proptest! {
        #[test]
        fn applying_it_gives_the_new_one(old in object(), new in object()) {
            let mut changed = old.clone();
            if let Some(patch) = merge_patch(&old, &new) {
                apply(&mut changed, &patch);
            }
            prop_assert_eq!(changed, new);
        }
    }
}
