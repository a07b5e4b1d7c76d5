//! Label selectors and node selectors with Kubernetes' own semantics: an absent label selector selects nothing, an empty
//! one everything; `NotIn` holds where the key is absent; a node selector's terms are alternatives, an empty term matches no node.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Written;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Labels of an object or a node.
pub type Labels = BTreeMap<String, String>;

/// Something that has labels, however it keeps them.
pub trait Labelled {
    /// The value of a label.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labelled for Labels {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// `metav1.LabelSelector`: all parts must hold; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that an object must have with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: Labels,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One requirement on one label key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelSelectorRequirement {
    /// The label key.
    pub key: String,
    /// How the label is compared.
    pub operator: LabelOperator,
    /// Values for `In` and `NotIn`; empty for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Operators of a label selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The label is there and its value is one of `values`.
    In,
    /// The label is absent or its value is none of `values`.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// `v1.NodeSelector`: a node matches if it matches one of the terms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelector {
    /// Alternatives; none matches no node.
    #[serde(default)]
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// All requirements of a term must hold; an empty term matches no node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelectorTerm {
    /// Requirements on the node's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<NodeSelectorRequirement>,
    /// Requirements on the node's fields; `metadata.name` is the only one there is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_fields: Vec<NodeSelectorRequirement>,
}

/// One requirement on a node's label or field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSelectorRequirement {
    /// Label key or field path.
    pub key: String,
    /// How it is compared.
    pub operator: NodeOperator,
    /// Values; one integer for `Gt` and `Lt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Operators of a node selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeOperator {
    /// The label is there and its value is one of `values`.
    In,
    /// The label is absent or its value is none of `values`.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is there and is an integer above the value.
    Gt,
    /// The label is there and is an integer below the value.
    Lt,
}

/// A selector that Kubernetes would refuse, and the field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SelectorError {
    /// Path of the field below the selector, such as `spec.objectSelector.matchExpressions[0].values`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl LabelSelector {
    /// A selector of one label and its value.
    pub fn label(key: &str, value: &str) -> Self {
        Self {
            match_labels: [(key.to_owned(), value.to_owned())].into(),
            match_expressions: Vec::new(),
        }
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether these labels are selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        has_all(&self.match_labels, labels)
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
    }

    /// How many requirements it has: of two selectors the one with more is the more specific.
    pub fn specificity(&self) -> usize {
        self.match_labels.len() + self.match_expressions.len()
    }

    /// Finds what Kubernetes' validation would refuse; `field` is the path of the selector itself.
    pub fn validate(&self, field: &str) -> Result<(), SelectorError> {
        for (key, value) in &self.match_labels {
            check_key(key, || format!("{field}.matchLabels"))?;
            check_value(value, || format!("{field}.matchLabels[{key}]"))?;
        }
        for (index, requirement) in self.match_expressions.iter().enumerate() {
            requirement.validate(&format!("{field}.matchExpressions[{index}]"))?;
        }
        Ok(())
    }
}

impl TryFrom<&Written> for LabelSelector {
    type Error = SelectorError;

    /// From the type of `k8s-openapi`, whose operators are free text; fields are named from the selector down.
    fn try_from(written: &Written) -> Result<Self, SelectorError> {
        let expressions = written.match_expressions.iter().flatten().enumerate();
        let match_expressions = expressions
            .map(|(index, one)| {
                let operator = match one.operator.as_str() {
                    "In" => LabelOperator::In,
                    "NotIn" => LabelOperator::NotIn,
                    "Exists" => LabelOperator::Exists,
                    "DoesNotExist" => LabelOperator::DoesNotExist,
                    other => {
                        return Err(SelectorError {
                            field: format!("matchExpressions[{index}].operator"),
                            message: format!("{other:?} is not In, NotIn, Exists or DoesNotExist"),
                        });
                    }
                };
                Ok(LabelSelectorRequirement {
                    key: one.key.clone(),
                    operator,
                    values: one.values.clone().unwrap_or_default(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            match_labels: written.match_labels.clone().unwrap_or_default(),
            match_expressions,
        })
    }
}

/// Whether an optional selector selects the labels, where absent means nothing (as in `metav1`).
pub fn selects(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    selector.is_some_and(|selector| selector.matches(labels))
}

/// Whether an optional selector allows the labels, where absent does not restrict (as in a Placement).
pub fn allows(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    selector.is_none_or(|selector| selector.matches(labels))
}

/// Whether `labels` has every pair of `wanted`: a Service's selector, a pod's `nodeSelector`.
pub fn has_all(wanted: &Labels, labels: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

impl LabelSelectorRequirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            LabelOperator::In => value.is_some_and(|value| self.values.contains(value)),
            LabelOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }

    fn validate(&self, field: &str) -> Result<(), SelectorError> {
        check_key(&self.key, || format!("{field}.key"))?;
        let sets = matches!(self.operator, LabelOperator::In | LabelOperator::NotIn);
        check_values(&self.values, sets, field)
    }
}

impl NodeSelector {
    /// Whether a node with this name and these labels matches one of the terms. A term that Kubernetes could not parse
    /// matches nothing.
    pub fn matches(&self, name: &str, labels: &impl Labelled) -> bool {
        self.node_selector_terms
            .iter()
            .any(|term| term.matches(name, labels))
    }

    /// Finds what Kubernetes' validation would refuse; `field` is the path of the selector itself.
    pub fn validate(&self, field: &str) -> Result<(), SelectorError> {
        if self.node_selector_terms.is_empty() {
            return fail(
                format!("{field}.nodeSelectorTerms"),
                "must have at least one node selector term",
            );
        }
        for (index, term) in self.node_selector_terms.iter().enumerate() {
            term.validate(&format!("{field}.nodeSelectorTerms[{index}]"))?;
        }
        Ok(())
    }
}

impl NodeSelectorTerm {
    /// Whether all requirements hold; an empty term matches nothing.
    pub fn matches(&self, name: &str, labels: &impl Labelled) -> bool {
        let empty = self.match_expressions.is_empty() && self.match_fields.is_empty();
        !empty
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches_label(labels))
            && self
                .match_fields
                .iter()
                .all(|requirement| requirement.matches_name(name))
    }

    fn validate(&self, field: &str) -> Result<(), SelectorError> {
        for (index, requirement) in self.match_expressions.iter().enumerate() {
            requirement.validate_label(&format!("{field}.matchExpressions[{index}]"))?;
        }
        for (index, requirement) in self.match_fields.iter().enumerate() {
            requirement.validate_field(&format!("{field}.matchFields[{index}]"))?;
        }
        Ok(())
    }
}

impl NodeSelectorRequirement {
    fn matches_label(&self, labels: &impl Labelled) -> bool {
        let value = labels.label(&self.key);
        let named = |value: &str| self.values.iter().any(|one| one == value);
        match self.operator {
            NodeOperator::In => value.is_some_and(named),
            NodeOperator::NotIn => {
                !self.values.is_empty() && value.is_none_or(|value| !named(value))
            }
            NodeOperator::Exists => self.values.is_empty() && value.is_some(),
            NodeOperator::DoesNotExist => self.values.is_empty() && value.is_none(),
            NodeOperator::Gt => self.compares(value, |label, bound| label > bound),
            NodeOperator::Lt => self.compares(value, |label, bound| label < bound),
        }
    }

    fn matches_name(&self, name: &str) -> bool {
        let [value] = self.values.as_slice() else {
            return false;
        };
        // Another field than the name is empty on every node.
        let actual = if self.key == "metadata.name" {
            name
        } else {
            ""
        };
        match self.operator {
            NodeOperator::In => actual == value,
            NodeOperator::NotIn => actual != value,
            _ => false,
        }
    }

    fn compares(&self, label: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let [bound] = self.values.as_slice() else {
            return false;
        };
        let label = label.and_then(|label| label.parse().ok());
        label
            .zip(bound.parse().ok())
            .is_some_and(|(label, bound)| holds(label, bound))
    }

    fn validate_label(&self, field: &str) -> Result<(), SelectorError> {
        check_key(&self.key, || format!("{field}.key"))?;
        match self.operator {
            NodeOperator::In | NodeOperator::NotIn => check_values(&self.values, true, field),
            NodeOperator::Exists | NodeOperator::DoesNotExist => {
                check_values(&self.values, false, field)
            }
            NodeOperator::Gt | NodeOperator::Lt => match self.values.as_slice() {
                [value] if value.parse::<i64>().is_ok() => Ok(()),
                _ => fail(
                    format!("{field}.values"),
                    "must be one integer for the operators Gt and Lt",
                ),
            },
        }
    }

    fn validate_field(&self, field: &str) -> Result<(), SelectorError> {
        if self.key != "metadata.name" {
            return fail(format!("{field}.key"), "must be metadata.name");
        }
        if !matches!(self.operator, NodeOperator::In | NodeOperator::NotIn) {
            return fail(format!("{field}.operator"), "must be In or NotIn");
        }
        if self.values.len() != 1 {
            return fail(format!("{field}.values"), "must have one element");
        }
        Ok(())
    }
}

fn check_values(values: &[String], expected: bool, field: &str) -> Result<(), SelectorError> {
    match (expected, values.is_empty()) {
        (true, true) => fail(
            format!("{field}.values"),
            "must not be empty for the operators In and NotIn",
        ),
        (false, false) => fail(
            format!("{field}.values"),
            "must be empty for the operators Exists and DoesNotExist",
        ),
        _ => values.iter().enumerate().try_for_each(|(index, value)| {
            check_value(value, || format!("{field}.values[{index}]"))
        }),
    }
}

/// A qualified name: an optional DNS subdomain and a slash, then at most 63 characters.
fn check_key(key: &str, field: impl Fn() -> String) -> Result<(), SelectorError> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let subdomain = |prefix: &str| {
        prefix.len() <= 253
            && prefix
                .split('.')
                .all(|part| framed(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-"))
    };
    if name.len() <= 63
        && framed(name, |c| c.is_ascii_alphanumeric(), "-_.")
        && prefix.is_none_or(subdomain)
    {
        Ok(())
    } else {
        fail(field(), &format!("{key:?} is not a valid label key"))
    }
}

fn check_value(value: &str, field: impl Fn() -> String) -> Result<(), SelectorError> {
    let valid = value.is_empty()
        || value.len() <= 63 && framed(value, |c| c.is_ascii_alphanumeric(), "-_.");
    if valid {
        Ok(())
    } else {
        fail(field(), &format!("{value:?} is not a valid label value"))
    }
}

/// Not empty, begins and ends with a character of `class`, and has none but those and `inner`.
fn framed(text: &str, class: impl Fn(char) -> bool, inner: &str) -> bool {
    text.starts_with(&class)
        && text.ends_with(&class)
        && text.chars().all(|c| class(c) || inner.contains(c))
}

fn fail(field: String, message: &str) -> Result<(), SelectorError> {
    Err(SelectorError {
        field,
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn label_selector(json: Value) -> LabelSelector {
        serde_json::from_value(json).expect("selector")
    }

    fn node_selector(json: Value) -> NodeSelector {
        serde_json::from_value(json).expect("selector")
    }

    #[test]
    fn absent_and_empty() {
        let any = labels(&[("a", "b")]);
        assert!(LabelSelector::default().matches(&any));
        assert!(LabelSelector::default().matches(&labels(&[])));
        assert!(!selects(None, &any));
        assert!(allows(None, &any));
        assert!(selects(Some(&LabelSelector::default()), &any));
    }

    #[test]
    fn label_operators() {
        let redis = labels(&[("component", "redis"), ("tier", "cache")]);
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, expected) in [
            (json!({"matchLabels": {"component": "redis"}}), true),
            (
                json!({"matchLabels": {"component": "redis", "tier": "web"}}),
                false,
            ),
            (json!({"matchLabels": {"absent": ""}}), false),
            (expression("tier", "In", &["cache", "web"]), true),
            (expression("tier", "In", &["web"]), false),
            (expression("absent", "In", &["web"]), false),
            (expression("tier", "NotIn", &["web"]), true),
            (expression("tier", "NotIn", &["cache"]), false),
            (expression("absent", "NotIn", &["web"]), true),
            (expression("tier", "Exists", &[]), true),
            (expression("absent", "Exists", &[]), false),
            (expression("tier", "DoesNotExist", &[]), false),
            (expression("absent", "DoesNotExist", &[]), true),
            (
                json!({"matchLabels": {"component": "redis"}, "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["cache"]},
                    {"key": "environment", "operator": "NotIn", "values": ["dev"]}]}),
                true,
            ),
        ] {
            let parsed = label_selector(selector.clone());
            assert_eq!(parsed.matches(&redis), expected, "{selector}");
            assert_eq!(parsed.validate("s"), Ok(()), "{selector}");
        }
    }

    #[test]
    fn validation_names_the_field() {
        for (selector, field) in [
            (json!({"matchLabels": {"a b": "c"}}), "spec.s.matchLabels"),
            (
                json!({"matchLabels": {"a": "c d"}}),
                "spec.s.matchLabels[a]",
            ),
            (
                json!({"matchLabels": {"UPPER/a": "c"}}),
                "spec.s.matchLabels",
            ),
            (json!({"matchLabels": {"": "c"}}), "spec.s.matchLabels"),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "In"}]}),
                "spec.s.matchExpressions[1].values",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
                "spec.s.matchExpressions[0].values",
            ),
            (
                json!({"matchExpressions": [{"key": "-a", "operator": "Exists"}]}),
                "spec.s.matchExpressions[0].key",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["ok", "-"]}]}),
                "spec.s.matchExpressions[0].values[1]",
            ),
        ] {
            let error = label_selector(selector.clone()).validate("spec.s");
            assert_eq!(
                error.map_err(|error| error.field),
                Err(field.to_owned()),
                "{selector}"
            );
        }
        for key in ["a", "A.b_c-d", "example.com/a", &"a".repeat(63)] {
            assert_eq!(LabelSelector::label(key, "").validate("s"), Ok(()), "{key}");
        }
        assert!(
            LabelSelector::label(&"a".repeat(64), "")
                .validate("s")
                .is_err()
        );
    }

    #[test]
    fn node_terms() {
        let node = labels(&[("zone", "eu-1a"), ("gpus", "8"), ("odd", "x1")]);
        let expression = |key: &str, operator: &str, values: &[&str]| {
            json!({"nodeSelectorTerms": [
                {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]})
        };
        let field = |key: &str, operator: &str, values: &[&str]| {
            json!({"nodeSelectorTerms": [
                {"matchFields": [{"key": key, "operator": operator, "values": values}]}]})
        };
        for (selector, expected) in [
            (json!({"nodeSelectorTerms": []}), false),
            (json!({"nodeSelectorTerms": [{}]}), false),
            (
                json!({"nodeSelectorTerms": [{}, {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]}),
                true,
            ),
            (expression("zone", "In", &["eu-1a", "eu-1b"]), true),
            (expression("zone", "NotIn", &["eu-1a"]), false),
            (expression("absent", "NotIn", &["eu-1a"]), true),
            (expression("absent", "DoesNotExist", &[]), true),
            (expression("gpus", "Gt", &["7"]), true),
            (expression("gpus", "Gt", &["8"]), false),
            (expression("gpus", "Lt", &["9"]), true),
            (expression("gpus", "Lt", &["8"]), false),
            (expression("odd", "Gt", &["0"]), false),
            (expression("absent", "Lt", &["5"]), false),
            (expression("gpus", "Gt", &["1", "2"]), false),
            (field("metadata.name", "In", &["n1"]), true),
            (field("metadata.name", "In", &["n2"]), false),
            (field("metadata.name", "NotIn", &["n2"]), true),
            (field("metadata.name", "In", &["n1", "n2"]), false),
            (field("metadata.name", "Exists", &[]), false),
            (
                // Expressions and fields of one term are ANDed.
                json!({"nodeSelectorTerms": [{
                    "matchExpressions": [{"key": "zone", "operator": "Exists"}],
                    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]}),
                false,
            ),
        ] {
            let parsed = node_selector(selector.clone());
            assert_eq!(parsed.matches("n1", &node), expected, "{selector}");
        }
    }

    #[test]
    fn node_validation_names_the_field() {
        for (selector, field) in [
            (json!({}), "a.nodeSelectorTerms"),
            (
                json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["x"]}]}]}),
                "a.nodeSelectorTerms[0].matchExpressions[0].values",
            ),
            (
                json!({"nodeSelectorTerms": [{}, {"matchFields": [{"key": "spec.x", "operator": "In", "values": ["x"]}]}]}),
                "a.nodeSelectorTerms[1].matchFields[0].key",
            ),
        ] {
            let error = node_selector(selector.clone()).validate("a");
            assert_eq!(
                error.map_err(|error| error.field),
                Err(field.to_owned()),
                "{selector}"
            );
        }
    }

    #[test]
    fn from_the_type_of_k8s_openapi() {
        let json = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]});
        let written: Written = serde_json::from_value(json.clone()).expect("selector");
        assert_eq!(LabelSelector::try_from(&written), Ok(label_selector(json)));
        let wrong = json!({"matchExpressions": [{"key": "c", "operator": "Gt", "values": ["1"]}]});
        let written: Written = serde_json::from_value(wrong).expect("selector");
        let error = LabelSelector::try_from(&written).map_err(|error| error.field);
        assert_eq!(error, Err("matchExpressions[0].operator".to_owned()));
    }

    proptest! {
        #[test]
        fn operators_are_opposites(
            pairs in prop::collection::btree_map("[ab]", "[xy]", 0..3),
            key in "[ab]",
            values in prop::collection::vec("[xy]".prop_map(String::from), 1..3),
        ) {
            let holds = |operator, values: &[String]| LabelSelectorRequirement {
                key: key.clone(), operator, values: values.to_vec(),
            }.matches(&pairs);
            prop_assert_ne!(holds(LabelOperator::In, &values), holds(LabelOperator::NotIn, &values));
            prop_assert_ne!(holds(LabelOperator::Exists, &[]), holds(LabelOperator::DoesNotExist, &[]));
        }
    }
}
