//! A pod, as much of it as the agent needs, and what a person needs to know of pods that fail.

use placement_api::api_type::ObjectKey;
use placement_api::demand::PodDemand;
use placement_api::kinds::{FailingPod, PodsSummary};
use placement_api::names::{
    ASSIGNMENT_LABEL, GATE, HUB_LABEL, NODE_ANNOTATION, POD_SET_ANNOTATION,
};
use placement_api::raw::RawObject;
use placement_api::resources::ResourceVector;
use placement_api::toleration::Toleration;
use serde::Deserialize as _;
use serde_json::Value;

use super::surplus::DELETION_COST;

/// A message that goes up; longer ones are cut.
const MESSAGE: usize = 1024;
/// Failing pods that go up.
const FAILING: usize = 5;
/// Waiting is normal for these reasons.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// A pod on the member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Resource version.
    pub version: u64,
    /// Assignment it belongs to; empty: none.
    pub assignment: String,
    /// Role of the pod.
    pub pod_set: String,
    /// Completion index, where its Job counts.
    pub index: Option<u32>,
    /// Node that the agent gave it; empty text: it was released into the domain.
    pub given: Option<String>,
    /// Node it is bound to; empty: none.
    pub node: String,
    /// `status.phase`.
    pub phase: String,
    /// Deletion was asked for.
    pub deleting: bool,
    /// Our gate holds it.
    pub gated: bool,
    /// What its ReplicaSet goes by when it has one too many; empty: nothing is said. `None`: no ReplicaSet keeps it.
    pub deletion_cost: Option<String>,
    /// What it tolerates; read only of gated pods.
    pub tolerations: Vec<Toleration>,
    /// Ready.
    pub ready: bool,
    /// Why the member's scheduler finds no node.
    pub unschedulable: Option<String>,
    /// What it takes of its node.
    pub requests: ResourceVector,
    /// Claims for devices that it has.
    pub claims: Vec<ObjectKey>,
    /// Containers in trouble.
    pub failing: Vec<FailingPod>,
}

impl Pod {
    /// Reads a pod; what cannot be read counts as empty. Trouble is read only of our own pods.
    pub fn read(object: &RawObject, hub_uid: &str) -> Self {
        let spec: Value = object.section_as("spec").ok().flatten().unwrap_or_default();
        let status: Value = object
            .section_as("status")
            .ok()
            .flatten()
            .unwrap_or_default();
        let ours = object.label(HUB_LABEL) == Some(hub_uid);
        let label = |name: &str| object.label(name).unwrap_or_default().to_owned();
        let phase = status["phase"].as_str().unwrap_or("Pending").to_owned();
        let mut pod = Self {
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone(),
            uid: object.metadata.uid.clone(),
            version: object.metadata.resource_version.parse().unwrap_or_default(),
            node: spec["nodeName"].as_str().unwrap_or_default().to_owned(),
            deleting: object.is_deleting(),
            phase,
            ..Self::default()
        };
        if pod.holds_resources() {
            pod.requests = PodDemand::from_pod_spec(&spec)
                .map(|demand| demand.vector())
                .unwrap_or_default();
        }
        if ours {
            pod.assignment = label(ASSIGNMENT_LABEL);
            object
                .annotation(POD_SET_ANNOTATION)
                .unwrap_or_default()
                .clone_into(&mut pod.pod_set);
            pod.given = object.annotation(NODE_ANNOTATION).map(str::to_owned);
            pod.deletion_cost = object
                .controller()
                .filter(|owner| owner.kind == "ReplicaSet")
                .map(|_| {
                    object
                        .annotation(DELETION_COST)
                        .unwrap_or_default()
                        .to_owned()
                });
            pod.index = object
                .annotation("batch.kubernetes.io/job-completion-index")
                .and_then(|i| i.parse().ok());
            pod.gated = spec["schedulingGates"]
                .as_array()
                .is_some_and(|gates| gates.iter().any(|g| g["name"] == GATE));
            if pod.gated {
                pod.tolerations = Vec::deserialize(&spec["tolerations"]).unwrap_or_default();
            }
            pod.ready = condition(&status, "Ready").is_some_and(|c| c["status"] == "True");
            pod.unschedulable = condition(&status, "PodScheduled")
                .filter(|c| c["status"] == "False" && c["reason"] == "Unschedulable")
                .map(|c| cut(c["message"].as_str().unwrap_or("unschedulable")));
            pod.failing = failing(&pod.name, &status);
            pod.claims = claims(&pod.namespace, &spec, &status);
        }
        pod
    }

    /// Whether it has not ended and is not on its way out.
    pub fn is_live(&self) -> bool {
        !self.deleting && !self.has_ended()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether its requests are taken off its node.
    pub fn holds_resources(&self) -> bool {
        !self.node.is_empty() && !self.has_ended()
    }

    /// Where it comes among its like: by completion index, then by name.
    pub fn order(&self) -> (u32, &str) {
        (self.index.unwrap_or(u32::MAX), &self.name)
    }
}

/// What goes up about the pods of one assignment.
pub fn summarize(pods: &[&Pod]) -> PodsSummary {
    let count = |test: &dyn Fn(&Pod) -> bool| {
        i64::try_from(pods.iter().filter(|pod| test(pod)).count()).unwrap_or(i64::MAX)
    };
    let mut failing: Vec<FailingPod> = pods
        .iter()
        .flat_map(|pod| pod.failing.iter().cloned())
        .collect();
    failing.sort();
    failing.dedup_by(|a, b| a.name == b.name);
    failing.truncate(FAILING);
    PodsSummary {
        total: count(&|pod| !pod.has_ended()),
        ready: count(&|pod| pod.ready && pod.is_live()),
        pending: count(&|pod| pod.is_live() && pod.node.is_empty()),
        failed: count(&|pod| pod.phase == "Failed"),
        failing,
    }
}

fn condition<'a>(status: &'a Value, of: &str) -> Option<&'a Value> {
    status["conditions"]
        .as_array()?
        .iter()
        .find(|c| c["type"] == of)
}

/// At most 1 KiB of a message.
pub fn cut(message: &str) -> String {
    let mut end = message.len().min(MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

/// Claims that the pod names, those that were made for it, and that for its extended resources.
fn claims(namespace: &str, spec: &Value, status: &Value) -> Vec<ObjectKey> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let named = list(&spec["resourceClaims"]).into_iter();
    let made = list(&status["resourceClaimStatuses"]).into_iter();
    let extended = status["extendedResourceClaimStatus"].clone();
    let mut claims: Vec<ObjectKey> = named
        .chain(made)
        .chain([extended])
        .filter_map(|one| {
            Some(ObjectKey::new(
                namespace,
                one["resourceClaimName"].as_str()?,
            ))
        })
        .collect();
    claims.sort();
    claims.dedup();
    claims
}

fn failing(pod: &str, status: &Value) -> Vec<FailingPod> {
    let mut all = Vec::new();
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status[list].as_array().into_iter().flatten() {
            let waiting = &container["state"]["waiting"];
            let ended = [
                &container["state"]["terminated"],
                &container["lastState"]["terminated"],
            ]
            .into_iter()
            .find(|t| t.is_object());
            let exit_code = ended.and_then(|t| t["exitCode"].as_i64());
            let reason = waiting["reason"]
                .as_str()
                .filter(|reason| !STARTING.contains(reason));
            let died = ended
                .filter(|_| exit_code != Some(0) && !container["state"]["running"].is_object());
            let Some(reason) =
                reason.or_else(|| died.map(|t| t["reason"].as_str().unwrap_or("Error")))
            else {
                continue;
            };
            let message = ended
                .and_then(|t| t["message"].as_str())
                .or_else(|| waiting["message"].as_str())
                .unwrap_or_default();
            all.push(FailingPod {
                name: pod.to_owned(),
                container: container["name"].as_str().unwrap_or_default().to_owned(),
                reason: reason.to_owned(),
                exit_code: exit_code.and_then(|code| i32::try_from(code).ok()),
                message: cut(message),
            });
        }
    }
    // Evicted, or killed by its node: no container says it.
    if all.is_empty() && status["phase"] == "Failed" {
        all.push(FailingPod {
            name: pod.to_owned(),
            reason: status["reason"].as_str().unwrap_or("Failed").to_owned(),
            message: cut(status["message"].as_str().unwrap_or_default()),
            ..FailingPod::default()
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Pod {
        Pod::read(&RawObject::from_value(value).unwrap(), "hub")
    }

    fn with_status(status: Value) -> Pod {
        read(&json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "labels": {"inhaul.dev/hub": "hub", "inhaul.dev/assignment": "a"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c"}]}, "status": status}))
    }

    #[test]
    fn why_pods_fail() {
        let container = |state: Value, last: Value| json!({"phase": "Running", "containerStatuses": [{"name": "c", "state": state, "lastState": last}]});
        let cases = [
            (
                container(
                    json!({"waiting": {"reason": "ContainerCreating"}}),
                    json!({}),
                ),
                None,
            ),
            (
                container(
                    json!({"running": {}}),
                    json!({"terminated": {"exitCode": 1}}),
                ),
                None,
            ),
            (
                container(
                    json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
                    json!({}),
                ),
                None,
            ),
            (
                container(
                    json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
                    json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "too big"}}),
                ),
                Some(("CrashLoopBackOff", Some(137), "too big")),
            ),
            (
                container(
                    json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
                    json!({}),
                ),
                Some(("ImagePullBackOff", None, "no such image")),
            ),
            (
                container(
                    json!({"terminated": {"exitCode": 3, "reason": "Error"}}),
                    json!({}),
                ),
                Some(("Error", Some(3), "")),
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}),
                Some(("Evicted", None, "disk")),
            ),
        ];
        for (status, expected) in cases {
            let pod = with_status(status.clone());
            let got = pod
                .failing
                .first()
                .map(|f| (f.reason.as_str(), f.exit_code, f.message.as_str()));
            assert_eq!(got, expected, "{status}");
        }
    }

    #[test]
    fn summary_counts_and_bounds() {
        let mut pods: Vec<Pod> = (0..7)
            .map(|i| {
                let mut pod = with_status(json!({"phase": "Failed"}));
                pod.failing[0].name = format!("p{i}");
                pod
            })
            .collect();
        pods.push(with_status(
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
        ));
        let mut pending = with_status(json!({"phase": "Pending"}));
        pending.node.clear();
        pods.push(pending);
        let summary = summarize(&pods.iter().collect::<Vec<_>>());
        assert_eq!(
            (
                summary.total,
                summary.ready,
                summary.pending,
                summary.failed
            ),
            (2, 1, 1, 7)
        );
        assert_eq!(summary.failing.len(), 5);
        assert_eq!(cut(&"ä".repeat(1000)).len(), 1024);
    }

    #[test]
    fn what_is_read() {
        let pod = read(&json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "resourceVersion": "12", "labels": {"inhaul.dev/hub": "hub", "inhaul.dev/assignment": "a"},
                "annotations": {"inhaul.dev/pod-set": "main", "inhaul.dev/node": "n1", "batch.kubernetes.io/job-completion-index": "3"}},
            "spec": {"schedulingGates": [{"name": "inhaul.dev/placed"}], "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}}));
        assert_eq!(
            (
                pod.version,
                pod.assignment.as_str(),
                pod.pod_set.as_str(),
                pod.index
            ),
            (12, "a", "main", Some(3))
        );
        assert!(pod.gated && pod.is_live() && !pod.holds_resources());
        assert_eq!(pod.given.as_deref(), Some("n1"));
        assert_eq!(pod.unschedulable.as_deref(), Some("0/3 nodes"));
        let foreign = read(
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"inhaul.dev/hub": "other", "inhaul.dev/assignment": "a"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}),
        );
        assert_eq!(foreign.assignment, "");
        assert_eq!(
            (foreign.requests.get("cpu"), foreign.requests.get("pods")),
            (1000, 1)
        );
    }
}
