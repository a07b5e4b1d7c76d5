//! Hot swap: a running gang loses a node, another of the same rack takes its place, and the healthy pods never notice.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::api;
use serde_json::{Value, json};
use testbed::fleet::FleetSpec;
use testbed::nodes::Description;
use testbed::rig::{Rig, RigTarget, eventually};

use crate::case::{Case, EU, JOB, calm, own, run};

/// One target: rack r1 with three nodes of eight GPUs, rack r2 with one.
fn description() -> Result<Description> {
    Description::parse(include_str!("../../nodes/racks.yaml"))
}

async fn rig() -> Result<Arc<Rig>> {
    let targets = vec![RigTarget::new(EU, "member1", &["region=eu"])];
    let mut spec = calm(targets, 1);
    spec.fleet = FleetSpec::with_nodes(1, &description()?);
    own(spec).await
}

/// A gang of whole nodes in one rack. A pod that its node loses counts against `backoffLimit`.
async fn gang(case: &Case, name: &str, pods: i64) -> Result<BTreeMap<String, String>> {
    let mut job = case.job(name, pods, 8, "30m");
    job["spec"]["backoffLimit"] = json!(6);
    case.apply(job).await?;
    seated(case, name, usize::try_from(pods)?).await
}

/// UIDs of the running pods by node, as soon as there are so many.
async fn seated(case: &Case, job: &str, pods: usize) -> Result<BTreeMap<String, String>> {
    eventually(&format!("{pods} pods of {job} run"), || async {
        let selector = format!("batch.kubernetes.io/job-name={job}");
        let all = case
            .member(EU)
            .list(&known::POD, Some(&case.namespace), Some(&selector))
            .await?;
        let text = |pod: &Value, path: &str| {
            let value = pod.pointer(path).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let seats: BTreeMap<String, String> = all
            .iter()
            .filter(|pod| {
                pod["status"]["phase"] == "Running"
                    && pod["metadata"]["deletionTimestamp"].is_null()
            })
            .map(|pod| (text(pod, "/spec/nodeName"), text(pod, "/metadata/uid")))
            .collect();
        ensure!(seats.len() == pods, "{seats:?}");
        Ok(seats)
    })
    .await
}

fn decided(workload: &Value) -> Vec<String> {
    let nodes = workload["spec"]["assignments"][0]["nodes"].as_array();
    nodes
        .into_iter()
        .flatten()
        .filter_map(|node| Some(node["name"].as_str()?.to_owned()))
        .collect()
}

const RACKED: &str = "topology.kubernetes.io/rack";

fn in_one_rack() -> Value {
    json!({"strategy": "Gang", "topology": {"level": RACKED, "mode": "Required"}})
}

#[test]
fn a_node_that_drives_its_pods_off_is_swapped_and_the_rest_stays() {
    run(async {
        let rig = rig().await?;
        let case = Case::on(&rig, "swap", in_one_rack()).await?;
        let before = gang(&case, "train", 2).await?;
        let lost = before.keys().next().context("no node")?.clone();
        let pinned = before.keys().next_back().context("no node")?.clone();
        let taint = format!("{lost} broken=yes:NoExecute");
        let args: Vec<&str> = ["taint", "node"]
            .into_iter()
            .chain(taint.split(' '))
            .collect();
        rig.member(EU).kubectl(&args, "").await?;

        let workload = case
            .workload_is("batch", "Job", "train", "other nodes are decided", |w| {
                let nodes = decided(w);
                nodes.len() == 2 && !nodes.contains(&lost)
            })
            .await?;
        let nodes = decided(&workload);
        ensure!(
            nodes.contains(&pinned),
            "the healthy pod was moved: {nodes:?}"
        );
        ensure!(
            workload["spec"]["assignments"][0]["domain"][RACKED] == "r1",
            "{workload:#}"
        );
        let after = eventually("the lost pod runs on the new node", || async {
            let now = seated(&case, "train", 2).await?;
            ensure!(!now.contains_key(&lost), "{now:?}");
            Ok(now)
        })
        .await?;
        ensure!(
            after.keys().eq(nodes.iter()),
            "decided {nodes:?}, running {after:?}"
        );
        ensure!(
            after.get(&pinned) == before.get(&pinned),
            "the healthy pod was restarted: {before:?}, {after:?}"
        );
        let events = rig
            .hub()
            .list(&known::EVENT, Some(&case.namespace), None)
            .await?;
        let told = events
            .iter()
            .any(|event| event["reason"] == "NodesReplaced");
        ensure!(told, "no event says what was replaced");
        // The node is repaired: nothing moves back.
        rig.member(EU)
            .kubectl(&["taint", "node", &lost, "broken-"], "")
            .await?;
        case.apply(case.job("other", 1, 8, "30m")).await?;
        case.on_member(EU, JOB, "other", "the repaired node is used again", |job| {
            job["status"]["active"] == 1
        })
        .await?;
        ensure!(
            seated(&case, "train", 2).await? == after,
            "it moved without a cause"
        );
        Ok(())
    });
}

#[test]
fn without_a_free_node_it_says_so_and_swaps_when_one_appears() {
    run(async {
        let rig = rig().await?;
        let case = Case::on(&rig, "swap-full", in_one_rack()).await?;
        let before = gang(&case, "train", 3).await?;
        let lost = before.keys().next().context("no node")?.clone();
        // As `kubectl drain` does: cordon, then the pod goes.
        rig.member(EU).kubectl(&["cordon", &lost], "").await?;
        let workload = case
            .workload_is("batch", "Job", "train", "it says what is missing", |w| {
                let message = w["status"]["message"].as_str().unwrap_or_default();
                w["status"]["state"] == "Assigned" && message.contains(&lost)
            })
            .await?;
        ensure!(
            workload["status"]["reason"] == "TopologyTooSmall",
            "{workload:#}"
        );
        let pods = rig
            .member(EU)
            .list(&known::POD, Some(&case.namespace), None)
            .await?;
        let leaving = pods
            .iter()
            .find(|pod| pod["spec"]["nodeName"] == lost.as_str())
            .context("no pod on the lost node")?;
        let name = leaving["metadata"]["name"].as_str().unwrap_or_default();
        rig.member(EU).delete(&known::POD, &case.key(name)).await?;
        eventually("its replacement waits behind the gate", || async {
            let pods = rig
                .member(EU)
                .list(&known::POD, Some(&case.namespace), None)
                .await?;
            let gated = pods
                .iter()
                .any(|pod| pod["spec"]["schedulingGates"][0]["name"] == "inhaul.dev/placed");
            ensure!(gated, "nobody is gated");
            Ok(())
        })
        .await?;
        // Longer than a pod without a node is tolerated here (5 s) nothing is given up: two of three go on.
        let mut node = description()?.pools_of("member1")[1].nodes()[0].clone();
        node["metadata"]["name"] = json!("h100-9");
        node["metadata"]["labels"]["kubernetes.io/hostname"] = json!("h100-9");
        rig.member(EU)
            .kubectl(&["create", "-f", "-"], &node.to_string())
            .await?;
        rig.member(EU)
            .there(&known::NODE, &ObjectKey::cluster("h100-9"))
            .await?;
        let after = seated(&case, "train", 3).await?;
        ensure!(after.contains_key("h100-9"), "{after:?}");
        for (node, uid) in before.iter().filter(|(node, _)| **node != lost) {
            ensure!(after.get(node) == Some(uid), "{before:?}, {after:?}");
        }
        case.workload_is("batch", "Job", "train", "nothing is missing", |w| {
            w["status"]["reason"].is_null() && decided(w).contains(&"h100-9".to_owned())
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_spare_is_kept_for_its_gang_and_taken_when_a_node_is_lost() {
    run(async {
        let rig = rig().await?;
        let case = Case::on(&rig, "swap-spare", in_one_rack()).await?;
        let mut train = case.job("train", 2, 8, "30m");
        train["metadata"]["annotations"] = json!({"inhaul.dev/spares": "1"});
        train["spec"]["backoffLimit"] = json!(6);
        case.apply(train).await?;
        let before = seated(&case, "train", 2).await?;
        // One node is left in the other rack, and one in this: that is the spare.
        case.apply(case.job("beside", 1, 8, "30m")).await?;
        seated(&case, "beside", 1).await?;
        case.apply(case.job("behind", 1, 8, "30m")).await?;
        let message = case
            .waits("batch", "Job", "behind", "ReservedForOlder")
            .await?;
        ensure!(
            message.contains("train"),
            "it does not say for whom: {message}"
        );

        let lost = before.keys().next().context("no node")?.clone();
        rig.member(EU)
            .kubectl(&["taint", "node", &lost, "broken=yes:NoExecute"], "")
            .await?;
        let after = eventually("the spare has taken its place", || async {
            let now = seated(&case, "train", 2).await?;
            ensure!(!now.contains_key(&lost), "{now:?}");
            Ok(now)
        })
        .await?;
        let stayed = before
            .iter()
            .filter(|seat| after.get(seat.0) == Some(seat.1));
        ensure!(stayed.count() == 1, "{before:?}, {after:?}");
        let behind = case.workload("batch", "Job", "behind").await?;
        ensure!(
            behind.unwrap_or_default()["status"]["state"] == "Pending",
            "somebody else has taken the spare"
        );

        // A node that loses a device is remembered, by the next leader too.
        let less = json!({"status": {"capacity": {"nvidia.com/gpu": "7"}, "allocatable": {"nvidia.com/gpu": "7"}}});
        let less = less.to_string();
        let args = ["patch", "node", &lost, "--subresource=status", "-p", &less];
        rig.member(EU).kubectl(&args, "").await?;
        let target = ObjectKey::cluster(EU);
        let remembered = |what: &'static str, workloads: i64| {
            let (rig, target, lost) = (&rig, &target, &lost);
            eventually(what, move || async move {
                let target = rig.hub().there(&api::SYNC_TARGETS, target).await?;
                let status = &target["status"];
                ensure!(status["trouble"][0]["node"] == lost.as_str(), "{status}");
                ensure!(status["workloads"] == workloads, "{status}");
                Ok(())
            })
        };
        remembered("the target says what went wrong", 2).await?;
        rig.kill_scheduler();
        rig.start_scheduler()?;
        rig.hub().delete(JOB, &case.key("beside")).await?;
        rig.hub().delete(JOB, &case.key("behind")).await?;
        remembered("the next leader has written the status and kept it", 1).await?;
        Ok(())
    });
}
