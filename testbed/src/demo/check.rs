//! What the demo claims, checked against the members themselves.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::api;
use serde_json::Value;

use super::operator::MODEL;
use super::{EU, Story, US, US_CPU, workload};
use crate::rig::{Rig, eventually};

const SHOP: [(&str, i64); 4] = [("web", 6), ("cart", 4), ("catalog", 4), ("checkout", 2)];
const MODELS: [(&str, &str); 3] = [
    ("team-red", "llama-3-8b"),
    ("team-green", "mistral-7b"),
    ("team-blue", "qwen-3-4b"),
];

/// Workloads whose assignments are all healthy or finished, and all workloads.
pub(super) async fn healthy(rig: &Rig) -> Result<(usize, usize)> {
    let workloads = rig.hub().list(&api::WORKLOADS, None, None).await?;
    let assignments = rig.hub().list(&api::ASSIGNMENTS, None, None).await?;
    let good = |name: &Value| {
        let mut mine = assignments
            .iter()
            .filter(|a| a["metadata"]["name"] == *name)
            .peekable();
        mine.peek().is_some()
            && mine.all(|a| {
                matches!(
                    a["status"]["phase"].as_str(),
                    Some("Healthy" | "Succeeded" | "Failed")
                )
            })
    };
    let done = |w: &&Value| w["status"]["state"] == "Finished" || good(&w["metadata"]["name"]);
    Ok((workloads.iter().filter(done).count(), workloads.len()))
}

/// Everything that was applied runs where it should, read from the members.
pub(super) async fn everything_runs(rig: &Rig, story: &mut Story) -> Result<()> {
    story.title("Checked on the members");
    story.check(
        "the shop runs, divided over both regions",
        shop_runs(rig, &[EU, US, US_CPU], true).await,
    );
    story.check(
        "its ConfigMap, Secret, ServiceAccount and Services went with it",
        dependencies(rig).await,
    );
    story.check(
        "its Secret is nowhere on the hub but in Secrets",
        no_secret_elsewhere(rig).await,
    );
    story.check(
        "the gang of 16 GPUs sits whole in one rack",
        gang_in_one_rack(rig).await,
    );
    story.check("inference runs in both regions", inference(rig).await);
    story.check(
        "each Model runs on exactly one member, and its phase is on the hub",
        models(rig).await,
    );
    story.check(
        "the short Job has finished, and its status is on the hub",
        tokenized(rig).await,
    );
    story.check(
        "the Job that does not fit waits, and says why",
        sweep_waits(rig).await,
    );
    story.check("no device is given away twice", devices(rig).await);
    Ok(())
}

async fn shop_runs(rig: &Rig, targets: &[&str], both_regions: bool) -> Result<String> {
    eventually("the shop runs", || async {
        let mut total = 0;
        let mut regions = BTreeSet::new();
        for (name, wanted) in SHOP {
            let key = ObjectKey::new("shop", name);
            let mut ready = 0;
            for target in targets {
                if let Some(d) = rig.member(target).get(&known::DEPLOYMENT, &key).await? {
                    let here = d["status"]["readyReplicas"].as_i64().unwrap_or(0);
                    if here > 0 {
                        regions.insert(target.split('-').next().unwrap_or_default());
                    }
                    ready += here;
                }
            }
            ensure!(
                ready == wanted,
                "{name}: {ready} of {wanted} replicas are ready on the members"
            );
            let on_hub = rig
                .hub()
                .get(&known::DEPLOYMENT, &key)
                .await?
                .context("it is gone from the hub")?;
            let reported = on_hub["status"]["readyReplicas"].as_i64().unwrap_or(0);
            ensure!(
                reported == wanted,
                "{name}: the hub reports {reported} of {wanted} ready"
            );
            total += ready;
        }
        ensure!(!both_regions || regions.len() == 2, "only in {regions:?}");
        Ok(format!(
            "{total} replicas ready, and the users' Deployments say so"
        ))
    })
    .await
}

async fn dependencies(rig: &Rig) -> Result<String> {
    let mut copies = 0;
    for target in [EU, US, US_CPU] {
        let member = rig.member(target);
        for (name, _) in SHOP {
            if member
                .get(&known::DEPLOYMENT, &ObjectKey::new("shop", name))
                .await?
                .is_none()
            {
                continue;
            }
            for (api, name) in [
                (&known::CONFIG_MAP, "shop-settings"),
                (&known::SECRET, "shop-database"),
                (&known::SERVICE_ACCOUNT, "shop"),
                (&known::SERVICE, name),
            ] {
                let key = ObjectKey::new("shop", name);
                let copy = member
                    .get(api, &key)
                    .await?
                    .with_context(|| format!("{} {name} is missing on {target}", api.kind))?;
                let original = rig
                    .hub()
                    .get(api, &key)
                    .await?
                    .context("gone from the hub")?;
                ensure!(
                    copy["data"] == original["data"],
                    "{} {name} differs on {target}",
                    api.kind
                );
                copies += 1;
            }
        }
    }
    Ok(format!("{copies} uses found in place"))
}

async fn no_secret_elsewhere(rig: &Rig) -> Result<String> {
    let assignments = rig.hub().list(&api::ASSIGNMENTS, None, None).await?;
    let workloads = rig.hub().list(&api::WORKLOADS, None, None).await?;
    let events = rig.hub().list(&known::EVENT, None, None).await?;
    let all = assignments.iter().chain(&workloads).chain(&events);
    for object in all {
        let text = object.to_string();
        // The value of the demo's Secret, plain and in base64.
        for secret in [
            "postgres://shop@database",
            "cG9zdGdyZXM6Ly9zaG9wQGRhdGFiYXNl",
        ] {
            ensure!(
                !text.contains(secret),
                "{} {} contains it",
                object["kind"],
                object["metadata"]["name"]
            );
        }
    }
    Ok(format!(
        "{} assignments, {} workloads and {} events read",
        assignments.len(),
        workloads.len(),
        events.len()
    ))
}

async fn gang_in_one_rack(rig: &Rig) -> Result<String> {
    let mut found = Vec::new();
    for target in [EU, US, US_CPU] {
        let pods = rig
            .member(target)
            .list(&known::POD, Some("vision"), Some("job-name=pretrain"))
            .await?;
        for pod in pods {
            let node = pod["spec"]["nodeName"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            ensure!(
                pod["status"]["phase"] == "Running",
                "pod {} is {}",
                pod["metadata"]["name"],
                pod["status"]["phase"]
            );
            let node = rig
                .member(target)
                .get(&known::NODE, &ObjectKey::cluster(node))
                .await?
                .context("no such node")?;
            let rack = node["metadata"]["labels"]["topology.kubernetes.io/rack"]
                .as_str()
                .unwrap_or("?")
                .to_owned();
            found.push((
                target,
                rack,
                node["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            ));
        }
    }
    ensure!(found.len() == 2, "{} pods run", found.len());
    let places: BTreeSet<_> = found
        .iter()
        .map(|(target, rack, _)| (target, rack))
        .collect();
    ensure!(places.len() == 1, "it is spread over {places:?}");
    let decided = workload(rig, "batch", "Job", "vision", "pretrain").await?;
    let nodes = decided["spec"]["assignments"][0]["nodes"]
        .as_array()
        .context("no nodes were decided")?;
    let decided: BTreeSet<_> = nodes.iter().filter_map(|n| n["name"].as_str()).collect();
    let running: BTreeSet<_> = found.iter().map(|(_, _, node)| node.as_str()).collect();
    ensure!(
        decided == running,
        "decided {decided:?}, running on {running:?}"
    );
    let (target, rack, _) = &found[0];
    Ok(format!(
        "{target} rack {rack}, on {}, as decided, bound by the member's own scheduler",
        running.into_iter().collect::<Vec<_>>().join(" and ")
    ))
}

async fn inference(rig: &Rig) -> Result<String> {
    let key = ObjectKey::new("serving", "chat");
    let mut ready = BTreeMap::new();
    for target in [EU, US] {
        let d = rig.member(target).get(&known::DEPLOYMENT, &key).await?;
        let n = d.map_or(0, |d| d["status"]["readyReplicas"].as_i64().unwrap_or(0));
        ensure!(n > 0, "no replica on {target}");
        ready.insert(target, n);
    }
    let total: i64 = ready.values().sum();
    ensure!(total == 4, "{total} of 4 ready");
    Ok(ready
        .iter()
        .map(|(t, n)| format!("{t} {n}"))
        .collect::<Vec<_>>()
        .join(" · "))
}

async fn models(rig: &Rig) -> Result<String> {
    let mut places = Vec::new();
    for (team, name) in MODELS {
        let key = ObjectKey::new(team, name);
        let mut on = Vec::new();
        for target in [EU, US, US_CPU] {
            if rig.member(target).get(&MODEL, &key).await?.is_some() {
                let job = ObjectKey::new(team, format!("model-{name}"));
                let job = rig
                    .member(target)
                    .get(&known::JOB, &job)
                    .await?
                    .with_context(|| format!("no Job on {target}"))?;
                ensure!(
                    job["status"]["ready"].as_i64().unwrap_or(0) > 0,
                    "its Job on {target} is not ready"
                );
                on.push(target);
            }
        }
        ensure!(on.len() == 1, "{team}/{name} is on {on:?}");
        let phase = rig
            .hub()
            .get(&MODEL, &key)
            .await?
            .context("gone from the hub")?["status"]["phase"]
            .clone();
        ensure!(phase == "Running", "{team}/{name}: the hub says {phase}");
        places.push(format!("{name} {}", on[0]));
    }
    Ok(places.join(" · "))
}

async fn tokenized(rig: &Rig) -> Result<String> {
    let key = ObjectKey::new("vision", "tokenize");
    let job = rig
        .hub()
        .eventually("the Job is complete", &known::JOB, &key, |job| {
            job.is_some_and(|j| j["status"]["succeeded"] == 1)
        })
        .await?;
    let _ = rig
        .hub()
        .eventually(
            "its Workload is finished",
            &api::WORKLOADS,
            &ObjectKey::new(
                "vision",
                placement_api::names::workload_name("batch", "Job", "vision", "tokenize"),
            ),
            |w| w.is_some_and(|w| w["status"]["state"] == "Finished"),
        )
        .await?;
    Ok(format!(
        "succeeded {}",
        job.unwrap_or_default()["status"]["succeeded"]
    ))
}

async fn sweep_waits(rig: &Rig) -> Result<String> {
    let sweep = workload(rig, "batch", "Job", "vision", "sweep").await?;
    ensure!(
        sweep["status"]["state"] == "Pending",
        "it is {}",
        sweep["status"]["state"]
    );
    for target in [EU, US, US_CPU] {
        let key = ObjectKey::new("vision", "sweep");
        ensure!(
            rig.member(target).get(&known::JOB, &key).await?.is_none(),
            "it is on {target} all the same"
        );
    }
    let message = sweep["status"]["message"].as_str().unwrap_or_default();
    ensure!(!message.is_empty(), "it gives no reason");
    Ok(format!(
        "{} ({message})",
        sweep["status"]["reason"].as_str().unwrap_or("?")
    ))
}

async fn devices(rig: &Rig) -> Result<String> {
    let mut used_in_all = 0;
    for target in [EU, US] {
        let nodes = rig.member(target).list(&known::NODE, None, None).await?;
        let pods = rig.member(target).list(&known::POD, None, None).await?;
        for node in &nodes {
            let name = &node["metadata"]["name"];
            let has = gpus(&node["status"]["allocatable"]["nvidia.com/gpu"]);
            let used: i64 = pods
                .iter()
                .filter(|p| p["spec"]["nodeName"] == *name)
                .filter(|p| !matches!(p["status"]["phase"].as_str(), Some("Succeeded" | "Failed")))
                .flat_map(|p| {
                    p["spec"]["containers"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default()
                })
                .map(|c| gpus(&c["resources"]["limits"]["nvidia.com/gpu"]))
                .sum();
            ensure!(used <= has, "{name} has {has} GPUs and pods with {used}");
            used_in_all += used;
        }
    }
    Ok(format!("{used_in_all} of 48 GPUs in use"))
}

fn gpus(quantity: &Value) -> i64 {
    quantity.as_str().and_then(|q| q.parse().ok()).unwrap_or(0)
}

/// Replicas of the shop that are ready on one member.
pub(super) async fn replicas_on(rig: &Rig, target: &str) -> Result<i64> {
    let deployments = rig
        .member(target)
        .list(&known::DEPLOYMENT, Some("shop"), None)
        .await?;
    Ok(deployments
        .iter()
        .filter_map(|d| d["status"]["readyReplicas"].as_i64())
        .sum())
}

/// After a drain: what could move has moved, what could not is named and still runs.
pub(super) async fn drained(rig: &Rig, story: &mut Story, target: &str, code: i32) -> Result<()> {
    let others: Vec<&str> = [EU, US, US_CPU]
        .into_iter()
        .filter(|t| *t != target)
        .collect();
    let moved = async {
        eventually("the shop has left", || async {
            let left = rig
                .member(target)
                .list(&known::DEPLOYMENT, Some("shop"), None)
                .await?;
            ensure!(
                left.is_empty(),
                "{} Deployments are still there",
                left.len()
            );
            Ok(())
        })
        .await?;
        shop_runs(rig, &others, true).await
    };
    story.check(
        &format!("the shop has left {target} and runs elsewhere"),
        moved.await,
    );
    let named = async {
        let status = rig
            .hub()
            .get(&api::SYNC_TARGETS, &ObjectKey::cluster(target))
            .await?
            .context("no target")?;
        let stuck = status["status"]["drain"]["stuckWorkloads"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let chat = stuck
            .iter()
            .find(|s| s["workload"].as_str().is_some_and(|w| w.contains("chat")));
        let Some(chat) = chat else {
            bail!("inference is not named: {stuck:?}")
        };
        let key = ObjectKey::new("serving", "chat");
        let still = rig
            .member(target)
            .get(&known::DEPLOYMENT, &key)
            .await?
            .context("it was taken away")?;
        ensure!(
            still["status"]["readyReplicas"].as_i64().unwrap_or(0) > 0,
            "it does not run any more"
        );
        ensure!(
            code == 3,
            "the command ended with {code}, not 3 (done in part)"
        );
        Ok(chat["message"].as_str().unwrap_or_default().to_owned())
    };
    story.check(
        "inference must be in both regions: it stays, runs, and is named",
        named.await,
    );
    Ok(())
}

/// After the loss of a member: Overlap has moved, Never waits and says so, and nothing runs twice.
pub(super) async fn survived(rig: &Rig, story: &mut Story, target: &str) -> Result<()> {
    let others: Vec<&str> = [EU, US, US_CPU]
        .into_iter()
        .filter(|t| *t != target)
        .collect();
    story.check(
        "the shop runs whole on the other members",
        shop_runs(rig, &others, false).await,
    );
    let waits = async {
        let gang = eventually("the gang says that it waits", || async {
            let gang = workload(rig, "batch", "Job", "vision", "pretrain").await?;
            ensure!(
                gang["status"]["reason"] == "FailoverNever",
                "reason {}",
                gang["status"]["reason"]
            );
            Ok(gang)
        })
        .await?;
        for other in others.iter().copied() {
            let job = rig
                .member(other)
                .get(&known::JOB, &ObjectKey::new("vision", "pretrain"))
                .await?;
            ensure!(job.is_none(), "a second copy was started on {other}");
        }
        Ok(gang["status"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    story.check("the gang waits and is started nowhere else", waits.await);
    Ok(())
}
