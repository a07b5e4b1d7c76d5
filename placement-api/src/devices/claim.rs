//! What a ResourceClaim asks (`resource.k8s.io/v1`): requests for devices of a class, with selectors, counts and alternatives.
//!
//! What is not understood is refused by name and never guessed: a claim that is read wrongly would be placed wrongly.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kinds::DeviceTaint;

/// A claim of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceClaim {
    /// Name inside the pod.
    pub name: String,
    /// The ResourceClaim (`namespace/name`) that all pods which name it share; absent: each pod has its own.
    pub shared: Option<String>,
    /// Requests, all of which have to be met.
    pub requests: Vec<DeviceRequest>,
    /// Attributes in which devices must agree.
    pub same: Vec<SameAttribute>,
}

/// One request: the first of its alternatives that can be had.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// Name inside the claim.
    pub name: String,
    /// In order of preference; one where the request is exact.
    pub alternatives: Vec<DeviceAlternative>,
}

/// Devices of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceAlternative {
    /// Name inside the request; empty where the request is exact.
    pub name: String,
    /// DeviceClass.
    pub class: String,
    /// CEL expressions that the devices must meet beside those of the class.
    pub selectors: Vec<String>,
    /// How many.
    pub count: DeviceCount,
    /// Taints that it tolerates.
    pub tolerations: Vec<DeviceToleration>,
}

/// How many devices a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DeviceCount {
    /// So many.
    Exact(i64),
    /// All of the node that match, at least one; none may be in use.
    All,
}

impl Default for DeviceCount {
    fn default() -> Self {
        Self::Exact(1)
    }
}

/// A taint of devices that is tolerated.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceToleration {
    /// Key; empty: every key.
    pub key: String,
    /// Value; absent: every value.
    pub value: Option<String>,
    /// Effect; empty: every effect.
    pub effect: String,
}

/// An attribute in which the devices of some requests must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SameAttribute {
    /// Fully qualified name.
    pub attribute: String,
    /// Requests (`gpu`, `gpu/large`); empty: all.
    pub requests: Vec<String>,
}

/// A claim that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A field is missing or has no value that Kubernetes knows.
    #[error("{field}: {message}")]
    Malformed {
        /// Path in the claim's spec.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// Kubernetes knows it, Inhaul does not plan for it.
    #[error("{field}: {what} is not supported")]
    Unsupported {
        /// Path in the claim's spec.
        field: String,
        /// What.
        what: &'static str,
    },
}

impl DeviceClaim {
    /// Reads the `spec` of a ResourceClaim (of a template: its `spec.spec`).
    pub fn read(name: &str, shared: Option<String>, spec: &Value) -> Result<Self, ClaimError> {
        let devices = &spec["devices"];
        let mut requests = Vec::new();
        for (index, request) in list(&devices["requests"]).iter().enumerate() {
            requests.push(read_request(
                &format!("devices.requests[{index}]"),
                request,
            )?);
        }
        let mut same = Vec::new();
        for (index, constraint) in list(&devices["constraints"]).iter().enumerate() {
            let field = format!("devices.constraints[{index}]");
            let Some(attribute) = constraint["matchAttribute"].as_str() else {
                return Err(unsupported(field, "a constraint other than matchAttribute"));
            };
            let requests = list(&constraint["requests"]).iter();
            same.push(SameAttribute {
                attribute: attribute.to_owned(),
                requests: requests.map(text).collect(),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            shared,
            requests,
            same,
        })
    }

    /// Devices that it takes at most, by class: what counts against a quota. Of alternatives the first.
    pub fn counts(&self) -> impl Iterator<Item = (&str, i64)> {
        self.requests.iter().filter_map(|request| {
            let first = request.alternatives.first()?;
            let count = match first.count {
                DeviceCount::Exact(count) => count,
                DeviceCount::All => 1,
            };
            Some((first.class.as_str(), count))
        })
    }

    /// Devices by class, as far as their number is known beforehand: what tolerates taints may have devices that are not counted as
    /// capacity, and of a list anything may be had.
    pub fn by_class(&self) -> impl Iterator<Item = (&str, i64)> {
        self.requests.iter().filter_map(|request| {
            let [one] = &request.alternatives[..] else {
                return None;
            };
            let count = match one.count {
                DeviceCount::Exact(count) => count,
                DeviceCount::All => 1,
            };
            one.tolerations
                .is_empty()
                .then_some((one.class.as_str(), count))
        })
    }

    /// All expressions, for a look at whether they can be evaluated.
    pub fn selectors(&self) -> impl Iterator<Item = &str> {
        let alternatives = self.requests.iter().flat_map(|one| &one.alternatives);
        alternatives.flat_map(|one| one.selectors.iter().map(String::as_str))
    }
}

impl DeviceRequest {
    /// Whether another alternative comes after the first.
    pub fn is_list(&self) -> bool {
        self.alternatives.len() > 1
    }
}

impl DeviceToleration {
    /// Whether it covers a taint.
    pub fn tolerates(&self, taint: &DeviceTaint) -> bool {
        (self.effect.is_empty() || self.effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && self
                .value
                .as_ref()
                .is_none_or(|value| *value == taint.value)
    }
}

fn read_request(field: &str, request: &Value) -> Result<DeviceRequest, ClaimError> {
    let name = text(&request["name"]);
    let several = list(&request["firstAvailable"]);
    if !several.is_empty() {
        let read = |(index, one): (usize, &Value)| {
            alternative(&format!("{field}.firstAvailable[{index}]"), one)
        };
        let alternatives = several.iter().enumerate().map(read);
        return Ok(DeviceRequest {
            name,
            alternatives: alternatives.collect::<Result<_, _>>()?,
        });
    }
    if !request["exactly"].is_object() {
        return Err(unsupported(
            field,
            "a request that is neither exactly nor firstAvailable",
        ));
    }
    let mut exact = alternative(&format!("{field}.exactly"), &request["exactly"])?;
    exact.name.clear();
    Ok(DeviceRequest {
        name,
        alternatives: vec![exact],
    })
}

fn alternative(field: &str, value: &Value) -> Result<DeviceAlternative, ClaimError> {
    let malformed = |name: &str, message: &str| ClaimError::Malformed {
        field: format!("{field}.{name}"),
        message: message.to_owned(),
    };
    let class = text(&value["deviceClassName"]);
    if class.is_empty() {
        return Err(malformed("deviceClassName", "is missing"));
    }
    if value["adminAccess"] == true {
        // It would see devices of others, whatever their queue.
        return Err(unsupported(
            format!("{field}.adminAccess"),
            "access to devices of others",
        ));
    }
    if value["capacity"].is_object() {
        return Err(unsupported(
            format!("{field}.capacity"),
            "a part of a device's capacity",
        ));
    }
    let count = match value["allocationMode"].as_str().unwrap_or_default() {
        "All" => DeviceCount::All,
        "" | "ExactCount" => match &value["count"] {
            Value::Null => DeviceCount::Exact(1),
            count => match count.as_i64().filter(|count| *count > 0) {
                Some(count) => DeviceCount::Exact(count),
                None => return Err(malformed("count", "is no number from 1 up")),
            },
        },
        _ => return Err(unsupported(format!("{field}.allocationMode"), "this mode")),
    };
    let mut selectors = Vec::new();
    for (index, selector) in list(&value["selectors"]).iter().enumerate() {
        let Some(expression) = selector["cel"]["expression"].as_str() else {
            let field = format!("{field}.selectors[{index}]");
            return Err(unsupported(field, "a selector other than cel"));
        };
        selectors.push(expression.to_owned());
    }
    let toleration = |one: &Value| DeviceToleration {
        key: text(&one["key"]),
        value: (one["operator"] != "Exists").then(|| text(&one["value"])),
        effect: text(&one["effect"]),
    };
    Ok(DeviceAlternative {
        name: text(&value["name"]),
        class,
        selectors,
        count,
        tolerations: list(&value["tolerations"]).iter().map(toleration).collect(),
    })
}

fn unsupported(field: impl Into<String>, what: &'static str) -> ClaimError {
    ClaimError::Unsupported {
        field: field.into(),
        what,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "json! literals read better by value"
)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(requests: Value) -> Result<DeviceClaim, ClaimError> {
        DeviceClaim::read("gpu", None, &json!({"devices": {"requests": requests}}))
    }

    fn first(requests: Value) -> DeviceAlternative {
        read(requests).expect("a claim").requests[0].alternatives[0].clone()
    }

    #[test]
    fn requests_as_kubernetes_documents_them() {
        // "Allocating devices with DRA": a black cat.
        let claim = DeviceClaim::read("claim", None, &json!({"devices": {"requests": [{"name": "req-0", "exactly": {
            "deviceClassName": "resource.example.com",
            "selectors": [{"cel": {"expression": "device.attributes[\"resource-driver.example.com\"].color == \"black\" &&\ndevice.attributes[\"resource-driver.example.com\"].size == \"large\""}}]}}]}})).expect("a claim");
        let one = &claim.requests[0].alternatives[0];
        assert_eq!(
            (one.class.as_str(), one.count, one.selectors.len()),
            ("resource.example.com", DeviceCount::Exact(1), 1)
        );
        // "Prioritized list": one large, else two small.
        let request = read(json!([{"name": "req-0", "firstAvailable": [
            {"name": "large-black", "deviceClassName": "resource.example.com", "selectors": [{"cel": {"expression": "a"}}]},
            {"name": "small-white", "deviceClassName": "resource.example.com", "selectors": [{"cel": {"expression": "b"}}], "count": 2}]}])).expect("a claim").requests[0].clone();
        assert!(request.is_list());
        assert_eq!(request.alternatives[1].count, DeviceCount::Exact(2));
        assert_eq!(request.alternatives[1].name, "small-white");
    }

    #[test]
    fn counts() {
        for (fields, expected) in [
            (json!({}), DeviceCount::Exact(1)),
            (
                json!({"allocationMode": "ExactCount"}),
                DeviceCount::Exact(1),
            ),
            (
                json!({"allocationMode": "ExactCount", "count": 8}),
                DeviceCount::Exact(8),
            ),
            (json!({"allocationMode": "All"}), DeviceCount::All),
        ] {
            let mut exactly = json!({"deviceClassName": "gpu"});
            exactly
                .as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            assert_eq!(
                first(json!([{"name": "r", "exactly": exactly}])).count,
                expected,
                "{fields}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (request, message) in [
            (
                json!({"exactly": {}}),
                "devices.requests[0].exactly.deviceClassName: is missing",
            ),
            (
                json!({"exactly": {"deviceClassName": "gpu", "adminAccess": true}}),
                "devices.requests[0].exactly.adminAccess: access to devices of others is not supported",
            ),
            (
                json!({"exactly": {"deviceClassName": "gpu", "capacity": {"requests": {"memory": "1Gi"}}}}),
                "devices.requests[0].exactly.capacity: a part of a device's capacity is not supported",
            ),
            (
                json!({"exactly": {"deviceClassName": "gpu", "count": 0}}),
                "devices.requests[0].exactly.count: is no number from 1 up",
            ),
            (
                json!({"exactly": {"deviceClassName": "gpu", "allocationMode": "Half"}}),
                "devices.requests[0].exactly.allocationMode: this mode is not supported",
            ),
            (
                json!({"firstAvailable": [{"name": "a", "deviceClassName": "gpu"}, {"name": "b"}]}),
                "devices.requests[0].firstAvailable[1].deviceClassName: is missing",
            ),
            (
                json!({"someDay": {}}),
                "devices.requests[0]: a request that is neither exactly nor firstAvailable is not supported",
            ),
        ] {
            assert_eq!(
                read(json!([request])).expect_err("refused").to_string(),
                message
            );
        }
        let distinct =
            json!({"devices": {"requests": [], "constraints": [{"distinctAttribute": "a/b"}]}});
        assert!(DeviceClaim::read("c", None, &distinct).is_err());
    }

    #[test]
    fn tolerations() {
        let taint = DeviceTaint {
            key: "xid".into(),
            value: "79".into(),
            effect: "NoExecute".into(),
        };
        for (toleration, expected) in [
            (json!({"operator": "Exists"}), true),
            (
                json!({"key": "xid", "operator": "Exists", "effect": "NoExecute"}),
                true,
            ),
            (
                json!({"key": "xid", "operator": "Exists", "effect": "NoSchedule"}),
                false,
            ),
            (json!({"key": "xid", "value": "79"}), true),
            (
                json!({"key": "xid", "operator": "Equal", "value": "13"}),
                false,
            ),
            (json!({"key": "lost", "operator": "Exists"}), false),
        ] {
            let one = first(
                json!([{"name": "r", "exactly": {"deviceClassName": "gpu", "tolerations": [toleration]}}]),
            );
            assert_eq!(
                one.tolerations[0].tolerates(&taint),
                expected,
                "{toleration}"
            );
        }
    }
}
