//! Gangs whole or not at all, on the nodes that were decided; capacity never given away twice.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use placement_api::api_type::{ObjectKey, known};
use serde_json::{Value, json};
use testbed::rig::eventually;

use crate::case::{ALL, Case, JOB, run};

/// Nodes of the running pods of a Job, with their racks, on whichever member they are.
async fn seats(case: &Case, job: &str) -> Result<Vec<(&'static str, String, String)>> {
    let mut found = Vec::new();
    for target in ALL {
        let selector = format!("batch.kubernetes.io/job-name={job}");
        for pod in case
            .member(target)
            .list(&known::POD, Some(&case.namespace), Some(&selector))
            .await?
        {
            if pod["status"]["phase"] != "Running" {
                continue;
            }
            let node = pod["spec"]["nodeName"]
                .as_str()
                .context("running without a node")?
                .to_owned();
            let object = case
                .member(target)
                .there(&known::NODE, &ObjectKey::cluster(&node))
                .await?;
            let rack = object["metadata"]["labels"]["topology.kubernetes.io/rack"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            found.push((target, rack, node));
        }
    }
    Ok(found)
}

#[test]
fn a_gang_sits_in_one_rack_on_the_nodes_that_were_decided() {
    run(async {
        let topology = json!({"topology": {"level": "topology.kubernetes.io/rack", "mode": "Required"}, "strategy": "Gang"});
        let case = Case::new("gang-rack", topology).await?;
        let mut pretrain = case.job("pretrain", 2, 6, "30m");
        pretrain["spec"]["backoffLimit"] = json!(3);
        case.apply(pretrain).await?;
        let seats = eventually("both pods run", || async {
            let found = seats(&case, "pretrain").await?;
            ensure!(found.len() == 2, "{found:?}");
            Ok(found)
        })
        .await?;
        let racks: BTreeSet<_> = seats
            .iter()
            .map(|(target, rack, _)| (target, rack))
            .collect();
        ensure!(racks.len() == 1, "spread over {racks:?}");
        let workload = case
            .workload("batch", "Job", "pretrain")
            .await?
            .context("no Workload")?;
        let nodes = workload["spec"]["assignments"][0]["nodes"]
            .as_array()
            .context("no nodes decided")?;
        let mut decided: Vec<&str> = Vec::new();
        for share in nodes {
            let pods = usize::try_from(share["pods"].as_i64().unwrap_or(0))?;
            decided.extend(std::iter::repeat_n(
                share["name"].as_str().unwrap_or_default(),
                pods,
            ));
        }
        let mut running: Vec<&str> = seats.iter().map(|(_, _, node)| node.as_str()).collect();
        decided.sort_unstable();
        running.sort_unstable();
        ensure!(
            decided == running,
            "decided {decided:?}, running {running:?}"
        );
        // The member's own scheduler has bound them: the gate is lifted, and nobody wrote spec.nodeName but it.
        let target = seats[0].0;
        for pod in case
            .member(target)
            .list(&known::POD, Some(&case.namespace), None)
            .await?
        {
            ensure!(
                pod["spec"]["schedulingGates"].is_null(),
                "a gate is left: {}",
                pod["spec"]["schedulingGates"]
            );
            ensure!(
                pod["spec"]["schedulerName"] == "default-scheduler",
                "{}",
                pod["spec"]["schedulerName"]
            );
            let scheduled = pod["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|c| c["type"] == "PodScheduled" && c["status"] == "True");
            ensure!(
                scheduled,
                "not bound by a scheduler: {}",
                pod["status"]["conditions"]
            );
        }
        // A pod that is replaced takes the seat of the one before.
        let before: BTreeSet<String> = seats.iter().map(|(_, _, node)| node.clone()).collect();
        let pods = case
            .member(target)
            .list(&known::POD, Some(&case.namespace), None)
            .await?;
        let first = pods[0]["metadata"]["name"]
            .as_str()
            .context("a pod without a name")?;
        case.member(target)
            .delete(&known::POD, &case.key(first))
            .await?;
        eventually("the replaced pod runs on its seat", || async {
            let now = self::seats(&case, "pretrain").await?;
            ensure!(now.len() == 2, "{now:?}");
            let names: Vec<Value> = case
                .member(target)
                .list(&known::POD, Some(&case.namespace), None)
                .await?;
            ensure!(
                names.iter().all(|p| p["metadata"]["name"] != first),
                "the old one is still there"
            );
            let now: BTreeSet<String> = now.into_iter().map(|(_, _, node)| node).collect();
            ensure!(now == before, "{now:?} instead of {before:?}");
            Ok(())
        })
        .await?;
        case.hub().delete(JOB, &case.key("pretrain")).await?;
        case.member(target).gone(JOB, &case.key("pretrain")).await
    });
}

#[test]
fn a_gang_is_whole_or_not_there() {
    run(async {
        let case = Case::new("gang-whole", json!({"strategy": "Gang"})).await?;
        // 5 × 8 GPUs: no target has as many; single pods of it would fit everywhere.
        case.apply(case.job("large", 5, 8, "30m")).await?;
        let w = case
            .workload_is("batch", "Job", "large", "it waits", |w| {
                w["status"]["state"] == "Pending" && !w["status"]["reason"].is_null()
            })
            .await?;
        let reason = w["status"]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        ensure!(
            ["InsufficientCapacity", "Impossible"].contains(&reason.as_str()),
            "{reason}"
        );
        case.apply(case.job("small", 1, 1, "1s")).await?;
        case.on_hub(JOB, "small", "what stands behind it runs", |j| {
            j["status"]["succeeded"] == 1
        })
        .await?;
        ensure!(
            case.targets_of(JOB, "large", &ALL).await?.is_empty(),
            "a part of it was started"
        );
        Ok(())
    });
}

#[test]
fn capacity_is_never_given_away_twice_and_room_wakes_who_waits() {
    run(async {
        let topology = json!({"topology": {"level": "kubernetes.io/hostname", "mode": "Required"}, "strategy": "Gang"});
        let case = Case::new("capacity", topology).await?;
        // 48 GPUs in the fleet, other tests use some: 20 Jobs of 4 ask for 80 at once.
        let jobs: Vec<String> = (0..20).map(|i| format!("j{i}")).collect();
        try_join_all(jobs.iter().map(|name| {
            let mut job = case.job(name, 1, 4, "4s");
            job["spec"]["parallelism"] = json!(1);
            case.apply(job)
        }))
        .await?;
        let watch = eventually("all have run, in turns", || async {
            check_devices(&case)
                .await
                .map_err(|e| e.context("VIOLATION"))?;
            let done = case.hub().list(JOB, Some(&case.namespace), None).await?;
            let done = done
                .iter()
                .filter(|j| j["status"]["succeeded"] == 1)
                .count();
            ensure!(done == jobs.len(), "{done} of {} have run", jobs.len());
            Ok(())
        });
        watch.await
    });
}

/// No node has pods with more GPUs than it has: bound, or released onto it by the agent.
async fn check_devices(case: &Case) -> Result<()> {
    for target in ALL {
        let mut used: BTreeMap<String, i64> = BTreeMap::new();
        for pod in case.member(target).list(&known::POD, None, None).await? {
            if matches!(
                pod["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            ) {
                continue;
            }
            let node = pod["spec"]["nodeName"]
                .as_str()
                .or_else(|| pod["metadata"]["annotations"]["inhaul.dev/node"].as_str())
                .unwrap_or_default();
            let gpus: i64 = pod["spec"]["containers"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|c| {
                    c["resources"]["limits"]["nvidia.com/gpu"]
                        .as_str()?
                        .parse::<i64>()
                        .ok()
                })
                .sum();
            if !node.is_empty() {
                *used.entry(node.to_owned()).or_default() += gpus;
            }
        }
        for (node, used) in used {
            assert!(
                used <= 8,
                "{target} {node}: {used} of 8 GPUs are given away"
            );
        }
    }
    Ok(())
}
