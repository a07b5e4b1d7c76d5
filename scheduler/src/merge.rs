//! The smallest JSON merge patch (RFC 7386) from one value to another.

use serde_json::{Map, Value};

/// What has to be merged into `from` to get `to`; `None` where they are equal. A field that `to` lacks becomes `null`;
/// lists are taken as a whole, as merge patches do.
pub fn merge_diff(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return Some(to.clone());
    };
    let mut patch = Map::new();
    for (name, value) in to {
        match from.get(name) {
            Some(before) => {
                if let Some(change) = merge_diff(before, value) {
                    patch.insert(name.clone(), change);
                }
            }
            // In a merge patch null removes, so a null that is to be set cannot be said.
            None if value.is_null() => {}
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_only_what_differs() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (
                json!({}),
                json!({"a": {"b": 1}}),
                Some(json!({"a": {"b": 1}})),
            ),
            (
                json!({"a": 1, "b": 2}),
                json!({"a": 1}),
                Some(json!({"b": null})),
            ),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 1, "c": 3}}),
                Some(json!({"a": {"c": 3}})),
            ),
            (
                json!({"a": [1, 2]}),
                json!({"a": [2]}),
                Some(json!({"a": [2]})),
            ),
            (
                json!({"a": {"b": 1}}),
                json!({"a": 7}),
                Some(json!({"a": 7})),
            ),
            (json!(null), json!({"a": 1}), Some(json!({"a": 1}))),
            (json!({"a": 1}), json!({"a": 1, "b": null}), None),
        ];
        for (from, to, expected) in cases {
            assert_eq!(merge_diff(&from, &to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn merging_the_difference_gives_the_goal() {
        let values = [
            json!({}),
            json!({"a": 1}),
            json!({"a": {"b": [1], "c": {"d": true}}}),
            json!({"a": {"c": {}}, "e": "x"}),
            json!({"e": {"f": 1}}),
        ];
        for from in &values {
            for to in &values {
                let mut merged = from.clone();
                if let Some(patch) = merge_diff(from, to) {
                    json_patch::merge(&mut merged, &patch);
                }
                assert_eq!(&merged, to, "{from} -> {to}");
            }
        }
    }
}
