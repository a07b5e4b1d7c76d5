//! What users say of their work in annotations.

use std::collections::BTreeSet;

use placement_api::duration::GoDuration;
use placement_api::names::{
    CHECKPOINT_ANNOTATION, DATA_ANNOTATION, EXPECTED_RUNTIME_ANNOTATION, SERIES_ANNOTATION,
    SPARES_ANNOTATION,
};
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

/// How long it runs, ms.
///
/// # Errors
/// Names the annotation and what would be right.
pub(crate) fn expected_runtime(object: &RawObject) -> Result<Option<i64>, String> {
    let Some(text) = object.annotation(EXPECTED_RUNTIME_ANNOTATION) else {
        return Ok(None);
    };
    let read = GoDuration::parse(text.trim()).ok();
    let runtime = read.map(GoDuration::as_millis).filter(|ms| *ms > 0);
    runtime.map(Some).ok_or_else(|| {
        format!("annotation {EXPECTED_RUNTIME_ANNOTATION} is {text:?}; write how long it runs, such as 90m or 36h")
    })
}

/// When its work was last saved, ms since 1970.
///
/// # Errors
/// Names the annotation and what would be right.
pub(crate) fn checkpointed_at(object: &RawObject) -> Result<Option<i64>, String> {
    let Some(text) = object.annotation(CHECKPOINT_ANNOTATION) else {
        return Ok(None);
    };
    let read = text.trim().parse::<jiff::Timestamp>().ok();
    let moment = read.map(jiff::Timestamp::as_millisecond);
    moment.map(Some).ok_or_else(|| {
        format!("annotation {CHECKPOINT_ANNOTATION} is {text:?}; write a time such as 2026-11-22T04:00:00Z")
    })
}

/// What it and its earlier runs have in common: what its owner says, what its name was made of, or its name without the numbers at its end.
pub(crate) fn series(object: &RawObject) -> &str {
    let said = object.annotation(SERIES_ANNOTATION).map(str::trim);
    if let Some(said) = said.filter(|said| !said.is_empty()) {
        return said;
    }
    let metadata = &object.metadata;
    if !metadata.generate_name.is_empty() {
        return &metadata.generate_name;
    }
    let mut name = metadata.name.as_str();
    while let Some((rest, last)) = name.rsplit_once(['-', '.'])
        && !last.is_empty()
        && last.bytes().all(|one| one.is_ascii_digit())
    {
        name = rest;
    }
    name
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
    fn runs_of_a_series_are_known_by_their_name() {
        let named = |metadata: serde_json::Value| {
            let object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata});
            let object = RawObject::from_value(&object).expect("an object");
            series(&object).to_owned()
        };
        assert_eq!(named(json!({"name": "train"})), "train");
        assert_eq!(named(json!({"name": "train-20261122-3"})), "train");
        assert_eq!(named(json!({"name": "resnet-50.7"})), "resnet");
        assert_eq!(named(json!({"name": "v2-7b"})), "v2-7b");
        assert_eq!(named(json!({"name": "17"})), "17");
        assert_eq!(
            named(json!({"name": "train-x2k4z", "generateName": "train-"})),
            "train-"
        );
        let said = json!({"name": "a", "annotations": {"inhaul.dev/series": "nightly"}});
        assert_eq!(named(said), "nightly");
    }

    #[test]
    fn times_are_read_or_refused_by_name() {
        let read = |name: &str, text: &str| object(&json!({name: text}));
        let runtime = |text: &str| expected_runtime(&read("inhaul.dev/expected-runtime", text));
        assert_eq!(runtime("90m"), Ok(Some(5_400_000)));
        assert_eq!(expected_runtime(&object(&json!({}))), Ok(None));
        for wrong in ["", "2 days", "90", "-1h", "0s"] {
            let message = runtime(wrong).expect_err(wrong);
            assert!(message.contains("inhaul.dev/expected-runtime"), "{message}");
        }
        let saved = |text: &str| checkpointed_at(&read("inhaul.dev/checkpointed-at", text));
        assert_eq!(saved("1970-01-01T00:00:01Z"), Ok(Some(1000)));
        assert_eq!(checkpointed_at(&object(&json!({}))), Ok(None));
        let message = saved("yesterday").expect_err("a word");
        assert!(message.contains("inhaul.dev/checkpointed-at"), "{message}");
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
