//! From a create to server-side apply. A create leaves an `Update` entry in `managedFields`, and an apply by the same manager would
//! then never remove what its `Apply` entry does not have. So the entry is turned into `Apply` first, as client-go's csaupgrade does.

use serde_json::{Map, Value, json};

/// The JSON patch that does it; `None`: there is nothing to turn. `live` is the object as it was just read.
pub fn upgrade(live: &Value, manager: &str) -> Option<Vec<Value>> {
    let entries = live["metadata"]["managedFields"].as_array()?;
    let is = |entry: &Value, operation: &str| {
        entry["manager"] == manager
            && entry["operation"] == operation
            && entry["subresource"].as_str().unwrap_or_default().is_empty()
    };
    if !entries.iter().any(|entry| is(entry, "Update")) {
        return None;
    }
    let mut ours: Option<Value> = entries.iter().find(|entry| is(entry, "Apply")).cloned();
    let mut others = Vec::new();
    for entry in entries {
        if is(entry, "Update") {
            match &mut ours {
                None => {
                    let mut entry = entry.clone();
                    entry["operation"] = "Apply".into();
                    ours = Some(entry);
                }
                Some(have) => merge(&mut have["fieldsV1"], &entry["fieldsV1"]),
            }
        } else if !is(entry, "Apply") {
            others.push(entry.clone());
        }
    }
    others.extend(ours);
    Some(vec![
        json!({"op": "replace", "path": "/metadata/managedFields", "value": others}),
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}),
    ])
}

/// Field sets are nested maps; their union is the union of the keys.
fn merge(into: &mut Value, from: &Value) {
    let Some(from) = from.as_object() else {
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    if let Some(into) = into.as_object_mut() {
        for (key, value) in from {
            merge(into.entry(key.clone()).or_insert_with(|| json!({})), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, subresource: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "subresource": subresource, "fieldsV1": fields})
    }

    fn upgraded(entries: Vec<Value>) -> Option<Vec<Value>> {
        let live = json!({"metadata": {"resourceVersion": "5", "managedFields": entries}});
        let patch = upgrade(&live, "inhaul")?;
        assert_eq!(patch[1]["value"], "5");
        patch[0]["value"].as_array().cloned()
    }

    #[test]
    fn our_update_becomes_apply_and_others_stay() {
        let other = entry("kubectl", "Update", "", json!({"f:x": {}}));
        let status = entry("inhaul", "Update", "status", json!({"f:s": {}}));
        let got = upgraded(vec![
            entry("inhaul", "Update", "", json!({"f:a": {}})),
            other.clone(),
            status.clone(),
        ])
        .unwrap();
        assert_eq!(
            got,
            [
                other.clone(),
                status,
                entry("inhaul", "Apply", "", json!({"f:a": {}}))
            ]
        );
        let got = upgraded(vec![
            entry("inhaul", "Apply", "", json!({"f:a": {"f:b": {}}})),
            entry("inhaul", "Update", "", json!({"f:a": {"f:c": {}}})),
        ])
        .unwrap();
        assert_eq!(
            got,
            [entry(
                "inhaul",
                "Apply",
                "",
                json!({"f:a": {"f:b": {}, "f:c": {}}})
            )]
        );
        assert_eq!(
            upgraded(vec![other, entry("inhaul", "Apply", "", json!({}))]),
            None
        );
        assert_eq!(upgrade(&json!({"metadata": {}}), "inhaul"), None);
    }
}
