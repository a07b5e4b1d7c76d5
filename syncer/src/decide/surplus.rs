//! Which pods go first when a workload shrinks: those whose place the hub has given to somebody else. A ReplicaSet left to itself takes
//! another, and then the member has to stop one more.

use placement_api::kinds::NodeShare;
use serde_json::{Value, json};

use super::gate::{annotation_path, places};
use super::pod::Pod;

/// Kubernetes' annotation: of pods that are otherwise alike the lowest goes first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The lowest cost that there is. Any other is somebody else's, and stays.
const FIRST: &str = "-2147483648";

/// A pod whose cost is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Index into the pods that were given.
    pub pod: usize,
    /// It goes first; else it does so no more.
    pub first: bool,
}

/// What to mark before the number of pods falls. Without nodes decided there is nothing to say.
pub fn marks(shares: &[NodeShare], pods: &[&Pod]) -> Vec<Mark> {
    if shares.is_empty() {
        return Vec::new();
    }
    let mut places = places(shares);
    let mut alive: Vec<usize> = (0..pods.len())
        .filter(|index| pods[*index].is_live() && pods[*index].deletion_cost.is_some())
        .collect();
    alive.sort_by(|a, b| pods[*a].order().cmp(&pods[*b].order()));
    let mut marks = Vec::new();
    for index in alive {
        let pod = pods[index];
        // A pod without a node of the hub's, a surge say, takes nobody's place.
        let Some(node) = pod.given.as_deref().filter(|node| !node.is_empty()) else {
            continue;
        };
        let left = places.entry((&pod.pod_set, node)).or_default();
        *left -= 1;
        let first = *left < 0;
        let says = if first { "" } else { FIRST };
        if pod.deletion_cost.as_deref() == Some(says) {
            marks.push(Mark { pod: index, first });
        }
    }
    marks
}

/// The patch that marks a pod; `test` makes it fail for another pod of the same name, or if somebody else has spoken since.
pub fn patch(uid: &str, first: bool) -> Vec<Value> {
    let path = annotation_path(DELETION_COST);
    let same = json!({"op": "test", "path": "/metadata/uid", "value": uid});
    if first {
        vec![same, json!({"op": "add", "path": path, "value": FIRST})]
    } else {
        vec![
            same,
            json!({"op": "test", "path": path, "value": FIRST}),
            json!({"op": "remove", "path": path}),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(node: &str, pods: i64) -> NodeShare {
        NodeShare {
            pod_set: "main".into(),
            name: node.into(),
            pods,
        }
    }

    fn pod(name: &str, node: &str) -> Pod {
        Pod {
            name: name.into(),
            pod_set: "main".into(),
            given: Some(node.into()),
            deletion_cost: Some(String::new()),
            ..Pod::default()
        }
    }

    fn marked(shares: &[NodeShare], pods: &[Pod]) -> Vec<(String, bool)> {
        let refs: Vec<&Pod> = pods.iter().collect();
        marks(shares, &refs)
            .into_iter()
            .map(|mark| (pods[mark.pod].name.clone(), mark.first))
            .collect()
    }

    #[test]
    fn who_has_lost_its_place_goes_first() {
        let pods = [pod("a", "n1"), pod("b", "n1"), pod("c", "n2")];
        let marked = |shares: &[NodeShare]| marked(shares, &pods);
        assert_eq!(marked(&[share("n1", 2), share("n2", 1)]), []);
        assert_eq!(marked(&[share("n1", 2)]), [("c".into(), true)]);
        let one = [share("n1", 1), share("n2", 1)];
        assert_eq!(marked(&one), [("b".into(), true)]);
        assert_eq!(marked(&[]), [], "no nodes are decided");
    }

    #[test]
    fn who_has_it_back_stays() {
        let mut back = pod("a", "n1");
        back.deletion_cost = Some(FIRST.into());
        assert_eq!(
            marked(&[share("n1", 1)], &[back.clone()]),
            [("a".into(), false)]
        );
        assert_eq!(marked(&[share("n2", 1)], &[back]), [], "it says so already");
    }

    #[test]
    fn what_others_say_stays_and_who_takes_no_place_is_left_alone() {
        let mut told = pod("a", "n1");
        told.deletion_cost = Some("7".into());
        let surge = pod("b", "");
        let mut going = pod("c", "n1");
        going.deleting = true;
        let mut of_a_job = pod("d", "n1");
        of_a_job.deletion_cost = None;
        assert_eq!(
            marked(&[share("n2", 1)], &[told, surge, going, of_a_job]),
            []
        );
    }

    #[test]
    fn a_patch_is_for_this_pod_only() {
        let first = patch("u", true);
        assert_eq!(first[0]["value"], "u");
        let path = "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost";
        assert_eq!(first[1], json!({"op": "add", "path": path, "value": FIRST}));
        let back = patch("u", false);
        assert_eq!(back[1], json!({"op": "test", "path": path, "value": FIRST}));
        assert_eq!(back[2], json!({"op": "remove", "path": path}));
    }
}
