//! Taints and tolerations of nodes and targets, with Kubernetes' own semantics.

use schemars::JsonSchema;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{Error as _, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

/// Keeps away what does not tolerate it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Taint {
    /// Name of the taint.
    pub key: String,
    /// Optional value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What happens to those that do not tolerate it.
    pub effect: TaintEffect,
}

/// What a taint does to those that do not tolerate it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum TaintEffect {
    /// Nothing new comes.
    NoSchedule,
    /// Others are preferred.
    PreferNoSchedule,
    /// Nothing new comes and what runs goes.
    NoExecute,
}

/// The effects that keep new work away.
pub const BLOCKING: &[TaintEffect] = &[TaintEffect::NoSchedule, TaintEffect::NoExecute];

/// Lets work be where taints are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "Kubernetes' own names")]
pub struct Toleration {
    /// The taint's key; empty with `Exists` tolerates every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How the value is compared; absent is `Equal`.
    #[serde(
        default,
        deserialize_with = "named",
        skip_serializing_if = "Option::is_none"
    )]
    pub operator: Option<TolerationOperator>,
    /// The taint's value, for `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The taint's effect; absent tolerates every effect.
    #[serde(
        default,
        deserialize_with = "named",
        skip_serializing_if = "Option::is_none"
    )]
    pub effect: Option<TaintEffect>,
    /// How long a running pod stays under a `NoExecute` taint; the member's own controllers honour it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration compares the taint's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Any value.
    Exists,
    /// This value.
    Equal,
}

impl Toleration {
    /// A toleration of every taint of this key.
    pub fn exists(key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            operator: Some(TolerationOperator::Exists),
            ..Self::default()
        }
    }

    /// Whether this taint is tolerated.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let key = self.key.as_deref().unwrap_or_default();
        let value = self.value.as_deref().unwrap_or_default();
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (key.is_empty() || key == taint.key)
            && match self.operator.unwrap_or(TolerationOperator::Equal) {
                TolerationOperator::Equal => value == taint.value,
                TolerationOperator::Exists => true,
            }
    }
}

/// Whether all taints with one of these effects are tolerated; if not, the first that is not.
pub fn tolerates<'a>(
    tolerations: &[Toleration],
    taints: &'a [Taint],
    effects: &[TaintEffect],
) -> Result<(), &'a Taint> {
    let offending = taints.iter().find(|taint| {
        effects.contains(&taint.effect) && !tolerations.iter().any(|one| one.tolerates(taint))
    });
    offending.map_or(Ok(()), Err)
}

/// An optional word, where the empty one (which Go writes into custom resources) is none.
fn named<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: for<'a> Deserialize<'a>,
{
    let Some(word) = Option::<String>::deserialize(deserializer)?.filter(|word| !word.is_empty())
    else {
        return Ok(None);
    };
    let word: StrDeserializer<'_, Error> = word.as_str().into_deserializer();
    T::deserialize(word).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn as_kubernetes() {
        let taint = json!({"key": "k", "value": "v", "effect": "NoSchedule"});
        let bare = json!({"key": "k", "effect": "NoExecute"});
        for (toleration, taint, expected) in [
            (
                json!({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}),
                &taint,
                true,
            ),
            (
                json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"}),
                &taint,
                true,
            ),
            (json!({"key": "k", "value": "v"}), &taint, true),
            (json!({"key": "k"}), &taint, false),
            (json!({"key": "k"}), &bare, true),
            (json!({"key": "k", "value": "w"}), &taint, false),
            (json!({"key": "x", "operator": "Exists"}), &taint, false),
            (json!({"operator": "Exists"}), &taint, true),
            (
                json!({"key": "", "operator": "Exists", "effect": ""}),
                &taint,
                true,
            ),
            (
                json!({"operator": "Exists", "effect": "NoExecute"}),
                &taint,
                false,
            ),
            (
                json!({"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}),
                &bare,
                true,
            ),
            (
                json!({"key": "k", "operator": "", "value": "v"}),
                &taint,
                true,
            ),
        ] {
            let parsed: Toleration =
                serde_json::from_value(toleration.clone()).expect("toleration");
            let taint: Taint = serde_json::from_value(taint.clone()).expect("taint");
            assert_eq!(parsed.tolerates(&taint), expected, "{toleration} {taint:?}");
        }
    }

    #[test]
    fn names_the_first_taint_that_counts() {
        let taint = |key: &str, effect| Taint {
            key: key.to_owned(),
            value: String::new(),
            effect,
        };
        let taints = [
            taint("soft", TaintEffect::PreferNoSchedule),
            taint("gpu", TaintEffect::NoSchedule),
            taint("down", TaintEffect::NoExecute),
        ];
        let gpu = [Toleration::exists("gpu")];
        assert_eq!(tolerates(&[], &taints, BLOCKING), Err(&taints[1]));
        assert_eq!(tolerates(&gpu, &taints, BLOCKING), Err(&taints[2]));
        assert_eq!(tolerates(&gpu, &taints, &[TaintEffect::NoSchedule]), Ok(()));
        let all = [Toleration {
            operator: Some(TolerationOperator::Exists),
            ..Toleration::default()
        }];
        assert_eq!(tolerates(&all, &taints, BLOCKING), Ok(()));
        assert_eq!(tolerates(&[], &[], BLOCKING), Ok(()));
    }
}
