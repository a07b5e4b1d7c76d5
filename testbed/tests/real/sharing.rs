//! What teams share, live: a guarantee is taken back from who borrowed it, elastic work shrinks before anybody is stopped, and short
//! work runs before the promised start of an older one. Each on a fleet of its own: one target with two nodes of eight GPUs.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use placement_api::api_type::known;
use serde_json::json;
use testbed::rig::eventually;

use crate::case::{Case, DEPLOYMENT, JOB, US, container, queue, run, two_nodes, urgent};

/// Waits until so many pods of a Job run on the member.
async fn runs(case: &Case, job: &str, pods: i64) -> Result<()> {
    let what = format!("{job} runs");
    case.on_member(US, JOB, job, &what, |job| job["status"]["active"] == pods)
        .await?;
    Ok(())
}

/// Whether an Event about an object has this reason and these words.
async fn said(case: &Case, name: &str, reason: &str, words: &str) -> Result<bool> {
    let events = case
        .hub()
        .list(&known::EVENT, Some(&case.namespace), None)
        .await?;
    Ok(events.iter().any(|event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["reason"] == reason
            && event["involvedObject"]["name"] == name
            && message.contains(words)
    }))
}

/// UIDs of the running pods of a Deployment, as soon as there are so many and no others.
async fn pods_of(case: &Case, app: &str, count: usize) -> Result<BTreeSet<String>> {
    eventually(&format!("{count} pods of {app} run"), || async {
        let all = case
            .member(US)
            .list(
                &known::POD,
                Some(&case.namespace),
                Some(&format!("app={app}")),
            )
            .await?;
        let uids: BTreeSet<String> = all
            .iter()
            .filter(|pod| pod["status"]["phase"] == "Running")
            .map(|pod| pod["metadata"]["uid"].to_string())
            .collect();
        ensure!(uids.len() == count && all.len() == count, "{}", all.len());
        Ok(uids)
    })
    .await
}

#[test]
fn a_guarantee_is_taken_back_from_who_borrowed_it_and_lent_again() {
    run(async {
        let rig = two_nodes().await?;
        queue(
            rig.hub(),
            "owner",
            json!({"guaranteed": {"nvidia.com/gpu": "8"}}),
        )
        .await?;
        queue(rig.hub(), "borrower", json!({"weight": 1})).await?;
        let placement = |queue: &str| json!({"strategy": "Gang", "queue": queue, "disruption": {"minRuntime": "0s"}});
        let borrower = Case::on(&rig, "borrower", placement("borrower")).await?;
        let owner = Case::on(&rig, "owner", placement("owner")).await?;
        for job in ["one", "two"] {
            borrower.apply(borrower.job(job, 1, 8, "30m")).await?;
            runs(&borrower, job, 1).await?;
        }
        // Nobody needs the guarantee: it is lent. Now its owner does.
        owner.apply(owner.job("mine", 1, 8, "10s")).await?;
        runs(&owner, "mine", 1).await?;
        let mut victims = Vec::new();
        for job in ["one", "two"] {
            if said(&borrower, job, "ReclaimedByEntitledQueue", "leaves us").await? {
                victims.push(job);
            }
        }
        let [victim] = victims[..] else {
            anyhow::bail!("{victims:?} gave way for eight GPUs")
        };
        let other = if victim == "one" { "two" } else { "one" };
        runs(&borrower, other, 1).await?;
        // The owner's work ends, and the room is lent again.
        runs(&borrower, victim, 1).await?;
        ensure!(
            !said(&borrower, other, "ReclaimedByEntitledQueue", "leaves us").await?,
            "{other} gave way too"
        );
        Ok(())
    });
}

#[test]
fn elastic_work_shrinks_for_higher_priority_and_grows_again() {
    run(async {
        let rig = two_nodes().await?;
        urgent(&rig).await?;
        let elastic = json!({"strategy": "Divide", "divide": {"minCount": 1}, "disruption": {"minRuntime": "0s"}});
        let case = Case::on(&rig, "elastic", elastic).await?;
        let mut serve = case.deployment("serve", 4);
        serve["spec"]["template"]["spec"]["containers"] =
            json!([container("10m", &[("nvidia.com/gpu", "4".to_owned())])]);
        case.apply(serve).await?;
        let before = pods_of(&case, "serve", 4).await?;

        let mut urgent = case.job("urgent", 1, 4, "10s");
        urgent["spec"]["template"]["spec"]["priorityClassName"] = json!("urgent");
        case.apply(urgent).await?;
        let during = pods_of(&case, "serve", 3).await?;
        // The pod on the node that was given away goes, and no other.
        ensure!(during.is_subset(&before), "{during:?} of {before:?}");
        runs(&case, "urgent", 1).await?;
        case.on_hub(DEPLOYMENT, "serve", "the user's own number stays", |d| {
            d["spec"]["replicas"] == 4 && d["status"]["replicas"] == 3
        })
        .await?;
        eventually("an event says why it shrank", || async {
            let words = "shrinks from 4 to 3 pods";
            let found = said(&case, "serve", "PreemptedByPriority", words).await?;
            ensure!(found, "no event says {words:?}");
            Ok(())
        })
        .await?;
        ensure!(
            !said(&case, "serve", "PreemptedByPriority", "leaves").await?,
            "to shrink is not an eviction"
        );
        let after = pods_of(&case, "serve", 4).await?;
        ensure!(during.is_subset(&after), "{after:?} after {during:?}");
        Ok(())
    });
}

#[test]
fn short_work_runs_before_the_promised_start_of_an_older_one_and_long_work_waits_behind_it() {
    run(async {
        let rig = two_nodes().await?;
        queue(rig.hub(), "line", json!({"order": "Age"})).await?;
        let case = Case::on(
            &rig,
            "backfill",
            json!({"strategy": "Gang", "queue": "line"}),
        )
        .await?;
        // How long it says that it runs, and how long it does.
        let job = |name: &str, pods: i64, says: Option<&str>, does: &str| {
            let mut job = case.job(name, pods, 8, does);
            if let Some(says) = says {
                job["metadata"]["annotations"] = json!({"inhaul.dev/expected-runtime": says});
            }
            job
        };
        case.apply(job("first", 1, Some("5m"), "20s")).await?;
        runs(&case, "first", 1).await?;
        case.apply(job("head", 2, Some("5m"), "5s")).await?;
        case.waits("batch", "Job", "head", "InsufficientCapacity")
            .await?;
        // One node is free until the first ends, five minutes from now.
        case.apply(job("long", 1, Some("1h"), "5s")).await?;
        case.waits("batch", "Job", "long", "ReservedForOlder")
            .await?;
        case.apply(job("unknown", 1, None, "5s")).await?;
        case.waits("batch", "Job", "unknown", "ReservedForOlder")
            .await?;
        case.apply(job("short", 1, Some("1m"), "1s")).await?;
        case.on_hub(JOB, "short", "it has run", |job| {
            job["status"]["succeeded"] == 1
        })
        .await?;
        // The first ends before its time: the head starts at once, whole, and only after it those behind it.
        runs(&case, "head", 2).await?;
        for job in ["long", "unknown"] {
            let there = case.member(US).get(JOB, &case.key(job)).await?;
            ensure!(there.is_none(), "{job} went before the head: {there:?}");
        }
        for job in ["head", "long", "unknown"] {
            case.on_hub(JOB, job, "it has run", |job| {
                job["status"]["succeeded"].as_i64() >= Some(1)
            })
            .await?;
        }
        Ok(())
    });
}

#[test]
fn work_that_has_run_before_needs_not_say_how_long_it_runs() {
    run(async {
        let rig = two_nodes().await?;
        queue(rig.hub(), "line", json!({"order": "Age"})).await?;
        let placement = json!({"strategy": "Gang", "queue": "line"});
        let case = Case::on(&rig, "series", placement).await?;
        for name in ["nightly-1", "nightly-2", "nightly-3"] {
            case.apply(case.job(name, 1, 8, "1s")).await?;
            case.on_hub(JOB, name, "it has run", |job| {
                job["status"]["succeeded"] == 1
            })
            .await?;
        }
        // The runs are in the Workloads: another leader knows them too.
        rig.kill_scheduler();
        rig.start_scheduler()?;
        let says = |mut job: serde_json::Value| {
            job["metadata"]["annotations"] = json!({"inhaul.dev/expected-runtime": "1h"});
            job
        };
        case.apply(says(case.job("first", 1, 8, "1h"))).await?;
        runs(&case, "first", 1).await?;
        case.apply(says(case.job("head", 2, 8, "1h"))).await?;
        case.waits("batch", "Job", "head", "InsufficientCapacity")
            .await?;
        // One node is free until the first ends, an hour from now.
        case.apply(case.job("another-1", 1, 8, "1s")).await?;
        case.waits("batch", "Job", "another-1", "ReservedForOlder")
            .await?;
        case.apply(case.job("nightly-4", 1, 8, "1s")).await?;
        case.on_hub(JOB, "nightly-4", "it has run", |job| {
            job["status"]["succeeded"] == 1
        })
        .await?;
        let workload = case.workload("batch", "Job", "nightly-4").await?;
        let workload = workload.unwrap_or_default();
        ensure!(workload["spec"]["pastRuns"] == 3, "{workload}");
        let args = ["explain", "job/nightly-4", "-n", &case.namespace];
        let why = rig.inhaul(args).await?;
        ensure!(why.contains("nine of ten of its 3 last runs"), "{why}");
        case.waits("batch", "Job", "another-1", "ReservedForOlder")
            .await?;
        Ok(())
    });
}
