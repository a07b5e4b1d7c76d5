//! What users say of their work in annotations.

use std::collections::BTreeSet;

use placement_api::names::{DATA_ANNOTATION, SPARES_ANNOTATION};
use placement_api::raw::RawObject;

/// Most spare nodes of one gang.
const MOST_SPARES: i64 = 1000;

/// Names of the data that it reads, separated by commas.
pub(crate) fn data(object: &RawObject) -> BTreeSet<String> {
    let text = object.annotation(DATA_ANNOTATION).unwrap_or_default();
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Nodes to keep beside its own.
///
/// # Errors
/// Names the annotation and what would be right.
pub(crate) fn spares(object: &RawObject) -> Result<i64, String> {
    let Some(text) = object.annotation(SPARES_ANNOTATION) else {
        return Ok(0);
    };
    let number = text.trim().parse::<i64>().ok();
    number
        .filter(|number| (0..=MOST_SPARES).contains(number))
        .ok_or_else(|| {
            format!(
                "annotation {SPARES_ANNOTATION} is {text:?}; write a number of nodes from 0 to {MOST_SPARES}"
            )
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(annotations: &serde_json::Value) -> RawObject {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": annotations}});
        RawObject::from_value(&object).expect("an object")
    }

    #[test]
    fn data_is_a_list() {
        let found = data(&object(&json!({"inhaul.dev/data": " imagenet, coco,, "})));
        assert_eq!(Vec::from_iter(found), ["coco", "imagenet"]);
        assert!(data(&object(&json!({}))).is_empty());
    }

    #[test]
    fn spares_are_a_number_of_nodes() {
        let read = |text: &str| spares(&object(&json!({"inhaul.dev/spares": text})));
        assert_eq!(read("2"), Ok(2));
        assert_eq!(spares(&object(&json!({}))), Ok(0));
        for wrong in ["-1", "two", "", "1001"] {
            let message = read(wrong).expect_err(wrong);
            assert!(message.contains("inhaul.dev/spares"), "{message}");
        }
    }
}
