//! What one pod of a template asks of a node, computed as Kubernetes' scheduler computes it
//! (`k8s.io/component-helpers/resource`), with the defaults that the API server sets on pods but not on templates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::quantity::{Quantity, ResourceList, ResourceVector};
use crate::resources;
use crate::selector::{Labels, NodeSelector, SelectorError, has_all};
use crate::toleration::{self, Taint, Toleration};

/// Kubernetes' default for `terminationGracePeriodSeconds`.
const DEFAULT_GRACE_SECONDS: u32 = 30;

/// What one pod asks of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodDemand {
    /// Amounts, overhead included; explicit zeros are kept.
    #[serde(default)]
    pub requests: ResourceList,
    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub node_selector: Labels,
    /// Required node affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<NodeSelector>,
    /// Taints that it tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Name of its PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
    /// Its priority, where the template has the number itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Claims for devices (DRA).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<PodClaim>,
    /// How long it may take to stop.
    #[serde(default)]
    pub grace_seconds: u32,
}

/// A claim for devices that a pod names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodClaim {
    /// Name inside the pod.
    pub name: String,
    /// A ResourceClaim that several pods share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_claim_name: Option<String>,
    /// The template of a ResourceClaim of the pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_claim_template_name: Option<String>,
}

/// A pod template that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DemandError {
    /// A field does not have the type or form that Kubernetes asks for.
    #[error("not a pod template: {0}")]
    Malformed(String),
    /// The required node affinity is one that Kubernetes would refuse.
    #[error(transparent)]
    Affinity(#[from] SelectorError),
}

impl PodDemand {
    /// Reads a pod template (`{metadata, spec}`).
    pub fn from_template(template: &Value) -> Result<Self, DemandError> {
        let spec = template
            .get("spec")
            .ok_or_else(|| DemandError::Malformed("spec is missing".to_owned()))?;
        Self::from_pod_spec(spec)
    }

    /// Reads a pod's `spec`.
    pub fn from_pod_spec(spec: &Value) -> Result<Self, DemandError> {
        let pod = PodSpec::deserialize(spec)
            .map_err(|error| DemandError::Malformed(error.to_string()))?;
        let affinity = pod
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|node| {
                node.required_during_scheduling_ignored_during_execution
                    .clone()
            });
        if let Some(affinity) = &affinity {
            affinity.validate(
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
            )?;
        }
        let requests = pod.requests();
        Ok(Self {
            requests,
            node_selector: pod.node_selector.unwrap_or_default(),
            affinity,
            // A toleration with an operator that is not known tolerates nothing that is.
            tolerations: pod
                .tolerations
                .unwrap_or_default()
                .iter()
                .filter_map(|toleration| Toleration::deserialize(toleration).ok())
                .collect(),
            priority_class: pod.priority_class_name.filter(|name| !name.is_empty()),
            priority: pod.priority,
            claims: pod.resource_claims.unwrap_or_default(),
            grace_seconds: pod
                .termination_grace_period_seconds
                .map_or(DEFAULT_GRACE_SECONDS, |seconds| {
                    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
                }),
        })
    }

    /// A pod that asks for these amounts and nothing else.
    pub fn of(requests: ResourceList) -> Self {
        Self {
            requests,
            grace_seconds: DEFAULT_GRACE_SECONDS,
            ..Self::default()
        }
    }

    /// The amounts in base units, with the one slot (`pods`) that each pod takes on its node.
    pub fn vector(&self) -> ResourceVector {
        let mut vector = ResourceVector::from(&self.requests);
        vector.set(resources::PODS, 1);
        vector
    }

    /// Whether a node with this name and these labels is one that the pod selects.
    pub fn selects_node(&self, name: &str, labels: &Labels) -> bool {
        has_all(&self.node_selector, labels)
            && self
                .affinity
                .as_ref()
                .is_none_or(|affinity| affinity.matches(name, labels))
    }

    /// The first taint that keeps new pods away and is not tolerated.
    pub fn tolerates<'a>(&self, taints: &'a [Taint]) -> Result<(), &'a Taint> {
        toleration::tolerates(&self.tolerations, taints, toleration::BLOCKING)
    }
}

/// The part of a pod's spec that scheduling looks at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    containers: Vec<Container>,
    init_containers: Option<Vec<Container>>,
    resources: Option<Resources>,
    overhead: Option<ResourceList>,
    node_selector: Option<Labels>,
    affinity: Option<Affinity>,
    tolerations: Option<Vec<Value>>,
    priority_class_name: Option<String>,
    priority: Option<i32>,
    resource_claims: Option<Vec<PodClaim>>,
    termination_grace_period_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    resources: Option<Resources>,
    restart_policy: Option<String>,
}

#[derive(Default, Deserialize)]
struct Resources {
    requests: Option<ResourceList>,
    limits: Option<ResourceList>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeAffinity {
    required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
}

impl PodSpec {
    fn requests(&self) -> ResourceList {
        let mut sum = self.containers_need();
        if let Some(pod) = &self.resources {
            pod.override_sum(&mut sum);
        }
        if let Some(overhead) = &self.overhead {
            resources::add(&mut sum, overhead);
        }
        sum
    }

    /// The larger of what the containers with all sidecars need together, and what each init container needs with the
    /// sidecars started before it (KEP-753).
    fn containers_need(&self) -> ResourceList {
        let mut sum = ResourceList::new();
        for container in &self.containers {
            resources::add(&mut sum, &container.requests());
        }
        let (mut sidecars, mut peak) = (ResourceList::new(), ResourceList::new());
        for container in self.init_containers.iter().flatten() {
            let mut own = container.requests();
            if container.restart_policy.as_deref() == Some("Always") {
                resources::add(&mut sum, &own);
                resources::add(&mut sidecars, &own);
                resources::raise_to(&mut peak, &sidecars);
            } else {
                resources::add(&mut own, &sidecars);
                resources::raise_to(&mut peak, &own);
            }
        }
        resources::raise_to(&mut sum, &peak);
        sum
    }
}

impl Container {
    /// Requests, with limits where a request is missing: what the API server makes of the pod.
    fn requests(&self) -> ResourceList {
        let Some(resources) = &self.resources else {
            return ResourceList::new();
        };
        let mut requests = resources.limits.clone().unwrap_or_default();
        requests.extend(resources.requests.clone().unwrap_or_default());
        requests
    }
}

impl Resources {
    /// Pod-level resources (KEP-2837): a request replaces the sum of the containers; a limit does where neither the pod nor
    /// a container has a request.
    fn override_sum(&self, sum: &mut ResourceList) {
        let overcommits = |name: &str| !name.starts_with("hugepages-");
        for (name, limit) in self.limits.iter().flatten() {
            let requested = sum.contains_key(name) && overcommits(name);
            if at_pod_level(name) && !requested {
                sum.insert(name.clone(), *limit);
            }
        }
        for (name, request) in self.requests.iter().flatten() {
            if at_pod_level(name) {
                sum.insert(name.clone(), *request);
            }
        }
    }
}

/// Resources that Kubernetes lets a pod state as a whole.
fn at_pod_level(name: &str) -> bool {
    name == resources::CPU || name == resources::MEMORY || name.starts_with("hugepages-")
}

/// The amount of one resource, zero where it is absent.
pub fn amount(list: &ResourceList, name: &str) -> Quantity {
    list.get(name).copied().unwrap_or_default()
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "json! literals read better by value"
)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn list(json: Value) -> ResourceList {
        serde_json::from_value(json).expect("amounts")
    }

    fn requests(spec: Value) -> ResourceList {
        PodDemand::from_pod_spec(&spec).expect("pod").requests
    }

    fn container(requests: Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests}})
    }

    fn sidecar(requests: Value) -> Value {
        json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": requests}})
    }

    #[test]
    fn as_kubernetes_counts() {
        for (name, spec, expected) in [
            (
                "containers are added (Resource Management for Pods, example 1)",
                json!({"containers": [
                    {"resources": {"requests": {"memory": "64Mi", "cpu": "250m"}, "limits": {"memory": "128Mi", "cpu": "500m"}}},
                    {"resources": {"requests": {"memory": "64Mi", "cpu": "250m"}, "limits": {"memory": "128Mi", "cpu": "500m"}}}]}),
                json!({"memory": "128Mi", "cpu": "500m"}),
            ),
            (
                "an init container counts alone where it is larger",
                json!({"initContainers": [container(json!({"cpu": "4", "memory": "1Gi"})), container(json!({"cpu": "1", "memory": "2Gi"}))],
                    "containers": [container(json!({"cpu": "1", "memory": "512Mi"})), container(json!({"cpu": "1"}))]}),
                json!({"cpu": "4", "memory": "2Gi"}),
            ),
            (
                "a sidecar counts with the containers",
                json!({"initContainers": [sidecar(json!({"cpu": "1"}))], "containers": [container(json!({"cpu": "2"}))]}),
                json!({"cpu": "3"}),
            ),
            (
                "an init container after a sidecar runs beside it (KEP-753)",
                json!({"initContainers": [
                        container(json!({"cpu": "10"})), sidecar(json!({"cpu": "5"})), container(json!({"cpu": "6"}))],
                    "containers": [container(json!({"cpu": "1"}))]}),
                json!({"cpu": "11"}),
            ),
            (
                "an init container before a sidecar does not",
                json!({"initContainers": [container(json!({"cpu": "10"})), sidecar(json!({"cpu": "5"}))],
                    "containers": [container(json!({"cpu": "1"}))]}),
                json!({"cpu": "10"}),
            ),
            (
                "several sidecars accumulate (KEP-753)",
                json!({"initContainers": [
                        sidecar(json!({"cpu": "1"})), container(json!({"cpu": "4"})), sidecar(json!({"cpu": "2"})), container(json!({"cpu": "1"}))],
                    "containers": [container(json!({"cpu": "1"}))]}),
                json!({"cpu": "5"}),
            ),
            (
                "limits stand in for missing requests, one by one",
                json!({"containers": [{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": 1}}}]}),
                json!({"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"}),
            ),
            (
                "limits of init containers and sidecars too",
                json!({"initContainers": [{"resources": {"limits": {"cpu": "3"}}}, {"restartPolicy": "Always", "resources": {"limits": {"cpu": "1"}}}],
                    "containers": [{"resources": {"limits": {"cpu": "1"}}}]}),
                json!({"cpu": "3"}),
            ),
            (
                "an explicit zero request is not replaced by the limit",
                json!({"containers": [{"resources": {"requests": {"cpu": "0"}, "limits": {"cpu": "2"}}}]}),
                json!({"cpu": "0"}),
            ),
            (
                "nothing asked",
                json!({"containers": [{"name": "c"}]}),
                json!({}),
            ),
            (
                "null is absent",
                json!({"containers": [{"resources": {"requests": null}}], "initContainers": null}),
                json!({}),
            ),
            (
                "overhead is added to the larger of both (Pod Overhead)",
                json!({"overhead": {"memory": "120Mi", "cpu": "250m"},
                    "initContainers": [container(json!({"cpu": "3"}))],
                    "containers": [container(json!({"cpu": "500m", "memory": "100Mi"})), container(json!({"cpu": "1500m", "memory": "100Mi"}))]}),
                json!({"cpu": "3250m", "memory": "320Mi"}),
            ),
            (
                "pod-level requests replace the sum (Assign Pod-level resources)",
                json!({"resources": {"requests": {"cpu": "1", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "200Mi"}},
                    "containers": [container(json!({"cpu": "500m", "memory": "50Mi"})), {"name": "d"}]}),
                json!({"cpu": "1", "memory": "100Mi"}),
            ),
            (
                "pod-level limits without requests: the containers' where they have some, else the limit",
                json!({"resources": {"limits": {"cpu": "4", "memory": "1Gi"}}, "containers": [container(json!({"cpu": "500m"}))]}),
                json!({"cpu": "500m", "memory": "1Gi"}),
            ),
            (
                "pod-level resources know cpu, memory and huge pages only",
                json!({"resources": {"requests": {"cpu": "2", "nvidia.com/gpu": "8"}, "limits": {"hugepages-2Mi": "64Mi"}},
                    "containers": [container(json!({"cpu": "1", "nvidia.com/gpu": "1"}))]}),
                json!({"cpu": "2", "nvidia.com/gpu": "1", "hugepages-2Mi": "64Mi"}),
            ),
            (
                "overhead comes on top of pod-level resources",
                json!({"resources": {"requests": {"cpu": "2"}}, "overhead": {"cpu": "250m"}, "containers": [container(json!({"cpu": "1"}))]}),
                json!({"cpu": "2250m"}),
            ),
            (
                "extended resources and ephemeral storage",
                json!({"containers": [container(json!({"nvidia.com/gpu": 2, "ephemeral-storage": "2Gi"})), container(json!({"ephemeral-storage": "2Gi"}))]}),
                json!({"nvidia.com/gpu": "2", "ephemeral-storage": "4Gi"}),
            ),
        ] {
            assert_eq!(requests(spec), list(expected), "{name}");
        }
    }

    #[test]
    fn reads_where_it_may_run() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {
            "containers": [],
            "nodeSelector": {"disk": "ssd"},
            "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]}},
            "tolerations": [{"key": "gpu", "operator": "Exists"}, {"key": "sla", "operator": "Gt", "value": "950"}],
            "priorityClassName": "high",
            "priority": 1000,
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
            "terminationGracePeriodSeconds": 120}});
        let demand = PodDemand::from_template(&template).expect("template");
        let labels = |disk: &str, zone: &str| -> Labels {
            [
                ("disk".to_owned(), disk.to_owned()),
                ("zone".to_owned(), zone.to_owned()),
            ]
            .into()
        };
        assert!(demand.selects_node("n", &labels("ssd", "a")));
        assert!(!demand.selects_node("n", &labels("hdd", "a")));
        assert!(!demand.selects_node("n", &labels("ssd", "c")));
        assert_eq!(demand.tolerations, [Toleration::exists("gpu")]);
        assert_eq!(demand.priority_class.as_deref(), Some("high"));
        assert_eq!(demand.priority, Some(1000));
        assert_eq!(
            demand.claims[0].resource_claim_template_name.as_deref(),
            Some("one-gpu")
        );
        assert_eq!(demand.grace_seconds, 120);
        assert_eq!(demand.vector().get("pods"), 1);
    }

    #[test]
    fn says_what_is_wrong() {
        for (template, message) in [
            (json!({}), "not a pod template: spec is missing"),
            (
                json!({"spec": {"containers": [container(json!({"cpu": "lots"}))]}}),
                "not a pod template: quantity \"lots\"",
            ),
            (
                json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}}),
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: must have",
            ),
        ] {
            let error = PodDemand::from_template(&template)
                .expect_err("refused")
                .to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    proptest! {
        /// Demand is never less than the containers together, nor than any init container alone.
        #[test]
        fn holds_every_phase(
            containers in prop::collection::vec(0_u32..20, 0..4),
            inits in prop::collection::vec((0_u32..20, any::<bool>()), 0..4),
        ) {
            let one = |cpu: u32, always: bool| if always { sidecar(json!({"cpu": cpu})) } else { container(json!({"cpu": cpu})) };
            let spec = json!({
                "containers": containers.iter().map(|cpu| one(*cpu, false)).collect::<Vec<_>>(),
                "initContainers": inits.iter().map(|(cpu, always)| one(*cpu, *always)).collect::<Vec<_>>(),
            });
            let cpu = amount(&requests(spec), "cpu").value();
            let mut running = 0;
            for (own, always) in inits {
                prop_assert!(cpu >= running + i64::from(own));
                running += i64::from(own) * i64::from(always);
            }
            prop_assert!(cpu >= running + i64::from(containers.iter().sum::<u32>()));
        }
    }
}
