//! Every name that two parts of Inhaul must agree on: namespaces, labels, annotations, managers.

/// API group of all kinds.
pub const GROUP: &str = "inhaul.dev";
/// Version of all kinds.
pub const VERSION: &str = "v1alpha1";
/// Namespace of Inhaul's own objects, on the hub (scheduler) and on each member (agent, ledger).
pub const SYSTEM_NAMESPACE: &str = "inhaul-system";
/// Prefix of the hub namespace that belongs to one target; see [`target_namespace`].
pub const TARGET_NAMESPACE_PREFIX: &str = "inhaul-target-";

/// Server-side apply manager and `fieldManager` of everything the agent writes on a member.
pub const SYNCER_MANAGER: &str = "inhaul";
/// Field manager of the scheduler on the hub.
pub const SCHEDULER_MANAGER: &str = "inhaul-scheduler";
/// Field manager of the command line.
pub const CLI_MANAGER: &str = "inhaul-cli";

/// Label on every object (and pod template) that the agent owns on a member; the value is the hub's UID.
pub const HUB_LABEL: &str = "inhaul.dev/hub";
/// Label on the pods of an assignment (put into the pod template); the value is the assignment's name.
pub const ASSIGNMENT_LABEL: &str = "inhaul.dev/assignment";
/// Annotation on gated pod templates: `POD_SET` of the pods made from it.
pub const POD_SET_ANNOTATION: &str = "inhaul.dev/pod-set";
/// Annotation on a released pod: the node that the agent gave it, empty for "anywhere in the domain".
pub const NODE_ANNOTATION: &str = "inhaul.dev/node";
/// Annotation on pod templates: the epoch of the assignment they were made for.
pub const EPOCH_ANNOTATION: &str = "inhaul.dev/epoch";
/// Scheduling gate in the pod templates of assignments whose nodes are decided by the hub.
pub const GATE: &str = "inhaul.dev/placed";
/// Finalizer on a Workload: it goes when every member has confirmed the removal.
pub const WORKLOAD_FINALIZER: &str = "inhaul.dev/members";

/// Label of an object that names the Queue it waits in.
pub const QUEUE_LABEL: &str = "inhaul.dev/queue";
/// Annotation: when the work was last saved (RFC 3339).
pub const CHECKPOINT_ANNOTATION: &str = "inhaul.dev/checkpointed-at";
/// Annotation: how long the work is expected to run (Go duration).
pub const EXPECTED_RUNTIME_ANNOTATION: &str = "inhaul.dev/expected-runtime";
/// Annotation: the series that the work belongs to, which runs about equally long each time.
pub const SERIES_ANNOTATION: &str = "inhaul.dev/series";
/// Annotation: names of the data that the work reads, separated by commas; targets say what they have in `spec.data`.
pub const DATA_ANNOTATION: &str = "inhaul.dev/data";
/// Annotation: nodes that are kept for a gang beside its own, for the day that it loses some.
pub const SPARES_ANNOTATION: &str = "inhaul.dev/spares";
/// Label of the hub namespace of a target; the value is the target's name.
pub const TARGET_LABEL: &str = "inhaul.dev/target";

/// Name of the one Inventory in a target's namespace.
pub const INVENTORY: &str = "inventory";
/// Name of the agent's heartbeat Lease in its target's namespace; its transitions are the session.
pub const AGENT_LEASE: &str = "agent";
/// Name of the agent's ServiceAccount: on the hub in the target's namespace, on the member in [`SYSTEM_NAMESPACE`].
pub const AGENT_ACCOUNT: &str = "inhaul-agent";
/// Name of the scheduler's Lease and ServiceAccount in [`SYSTEM_NAMESPACE`].
pub const SCHEDULER: &str = "inhaul-scheduler";
/// Name of the Secret on the member that holds the agent's hub kubeconfig (key `kubeconfig`).
pub const AGENT_SECRET: &str = "inhaul-hub";
/// Queue of workloads that name none.
pub const DEFAULT_QUEUE: &str = "default";
/// Category of all kinds: `kubectl get inhaul`.
pub const CATEGORY: &str = "inhaul";

/// Hub namespace that belongs to a target.
pub fn target_namespace(target: &str) -> String {
    format!("{TARGET_NAMESPACE_PREFIX}{target}")
}

/// Target whose namespace this is.
pub fn target_of_namespace(namespace: &str) -> Option<&str> {
    namespace
        .strip_prefix(TARGET_NAMESPACE_PREFIX)
        .filter(|t| !t.is_empty())
}

/// Name of the Workload of a root object, and of its Assignment in each target's namespace:
/// readable first, unique by ten hex digits of the SHA-256 over group, kind, namespace and name.
/// At most 63 characters, so that it is a label value too.
pub fn workload_name(group: &str, kind: &str, namespace: &str, name: &str) -> String {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for part in [group, kind, namespace, name] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let tail = digest
        .iter()
        .take(5)
        .fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
    let mut head: String = format!("{}-{}", kind.to_ascii_lowercase(), name)
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(52)
        .collect();
    while head.ends_with('-') {
        head.pop();
    }
    format!("{head}-{tail:010x}")
}

/// Name in a target's namespace of the copy of a user's Secret.
pub fn secret_copy_name(namespace: &str, name: &str) -> String {
    workload_name("", "Secret", namespace, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workload_names_are_labels_and_distinct() {
        let long = "x".repeat(253);
        let a = workload_name("apps", "Deployment", "shop", &long);
        assert!(a.len() <= 63, "{a}");
        assert_ne!(a, workload_name("apps", "Deployment", "shop2", &long));
        assert_ne!(
            workload_name("a", "b", "cd", "e"),
            workload_name("a", "b", "c", "de")
        );
        assert!(
            workload_name("apps", "Deployment", "shop", "web.v1").starts_with("deployment-web-v1-")
        );
    }

    #[test]
    fn target_namespaces_round_trip() {
        assert_eq!(target_of_namespace(&target_namespace("eu-1")), Some("eu-1"));
        assert_eq!(target_of_namespace("kube-system"), None);
    }
}
