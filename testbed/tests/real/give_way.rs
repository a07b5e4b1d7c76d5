//! Who gives way to whom, on a fleet of its own: one target with two nodes of eight GPUs.

use anyhow::ensure;
use placement_api::api_type::known;
use serde_json::{Value, json};
use testbed::rig::eventually;

use crate::case::{Case, JOB, US, run, two_nodes, urgent};

#[test]
fn higher_priority_takes_the_place_of_the_cheapest_and_gives_it_back() {
    run(async {
        let rig = two_nodes().await?;
        urgent(&rig).await?;
        let case = Case::on(
            &rig,
            "give-way",
            json!({"strategy": "Gang", "disruption": {"minRuntime": "0s"}}),
        )
        .await?;
        case.apply(case.job("large", 1, 8, "30m")).await?;
        case.apply(case.job("small", 1, 4, "30m")).await?;
        case.apply(case.job("safe", 1, 4, "30m")).await?;
        for job in ["large", "small", "safe"] {
            case.workload_is("batch", "Job", job, "placed", |workload| {
                workload["status"]["state"] == "Assigned"
            })
            .await?;
            case.on_member(US, JOB, job, "active", |job| job["status"]["active"] == 1)
                .await?;
        }
        let mut urgent = case.job("urgent", 1, 4, "15s");
        urgent["spec"]["template"]["spec"]["priorityClassName"] = json!("urgent");
        case.apply(urgent).await?;

        // One of the two small ones is enough; the large one would lose more.
        let victim = eventually("one gives way", || async {
            for job in ["small", "safe", "large"] {
                let workload = case
                    .workload("batch", "Job", job)
                    .await?
                    .unwrap_or_default();
                if workload["status"]["state"] != "Assigned" {
                    let message = workload["status"]["message"].to_string();
                    ensure!(job != "large", "the large one gave way: {message}");
                    return Ok(job);
                }
            }
            anyhow::bail!("nobody")
        })
        .await?;
        case.on_member(US, JOB, "urgent", "active", |job| {
            job["status"]["active"] == 1
        })
        .await?;
        rig.member(US).gone(JOB, &case.key(victim)).await?;
        let events = rig
            .hub()
            .list(&known::EVENT, Some(&case.namespace), None)
            .await?;
        ensure!(
            events
                .iter()
                .any(|event| event["reason"] == "PreemptedByPriority"
                    && event["involvedObject"]["name"] == victim),
            "no event says why {victim} was stopped"
        );
        for other in ["large", "small", "safe"]
            .iter()
            .filter(|job| **job != victim)
        {
            case.on_member(US, JOB, other, "undisturbed", |job| {
                job["status"]["active"] == 1
            })
            .await?;
        }
        // The urgent one ends, and the room goes back.
        case.on_member(US, JOB, victim, "running again", |job| {
            job["status"]["active"] == 1
        })
        .await?;
        let pods = rig
            .member(US)
            .list(&known::POD, Some(&case.namespace), None)
            .await?;
        let failed = pods
            .iter()
            .filter(|pod| pod["status"]["phase"] == "Failed")
            .count();
        ensure!(failed == 0, "{failed} pods were refused by their node");
        Ok(())
    });
}

#[test]
fn plain_apps_give_way_too() {
    run(async {
        let rig = two_nodes().await?;
        urgent(&rig).await?;
        let case = Case::on(&rig, "plain", json!({"disruption": {"minRuntime": "0s"}})).await?;
        let app = |name: &str, replicas: i64| {
            // One on each of the two nodes, and no room for a second.
            let mut app = case.deployment(name, replicas);
            app["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] =
                json!("60");
            app
        };
        let ready = |pods: i64| move |app: &Value| app["status"]["readyReplicas"] == pods;
        case.apply(app("batch", 2)).await?;
        case.on_member(US, &known::DEPLOYMENT, "batch", "ready", ready(2))
            .await?;

        // Nobody decided where its pods are; it does with one pod less, which is no eviction.
        let mut first = app("first", 1);
        first["spec"]["template"]["spec"]["priorityClassName"] = json!("urgent");
        case.apply(first).await?;
        case.on_member(US, &known::DEPLOYMENT, "first", "ready", ready(1))
            .await?;
        case.on_member(US, &known::DEPLOYMENT, "batch", "smaller", |app| {
            app["spec"]["replicas"] == 1 && app["status"]["readyReplicas"] == 1
        })
        .await?;

        // It cannot run with less than one, and goes.
        let mut second = app("second", 1);
        second["spec"]["template"]["spec"]["priorityClassName"] = json!("urgent");
        case.apply(second).await?;
        case.on_member(US, &known::DEPLOYMENT, "second", "ready", ready(1))
            .await?;
        rig.member(US)
            .gone(&known::DEPLOYMENT, &case.key("batch"))
            .await?;
        let events = rig
            .hub()
            .list(&known::EVENT, Some(&case.namespace), None)
            .await?;
        ensure!(
            events
                .iter()
                .any(|event| event["reason"] == "PreemptedByPriority"
                    && event["involvedObject"]["name"] == "batch"),
            "no event says why it was stopped"
        );
        case.on_member(US, &known::DEPLOYMENT, "first", "undisturbed", ready(1))
            .await?;
        Ok(())
    });
}

#[test]
fn nobody_gives_way_inside_the_minimum_run_time() {
    run(async {
        let rig = two_nodes().await?;
        urgent(&rig).await?;
        let case = Case::on(&rig, "keep", json!({"strategy": "Gang"})).await?;
        case.apply(case.job("old", 2, 8, "30m")).await?;
        case.on_member(US, JOB, "old", "active", |job| job["status"]["active"] == 2)
            .await?;
        let mut urgent = case.job("urgent", 1, 8, "15s");
        urgent["spec"]["template"]["spec"]["priorityClassName"] = json!("urgent");
        case.apply(urgent).await?;
        case.waits("batch", "Job", "urgent", "InsufficientCapacity")
            .await?;
        let old = case
            .workload("batch", "Job", "old")
            .await?
            .unwrap_or_default();
        ensure!(old["status"]["state"] == "Assigned", "{old:#}");
        Ok(())
    });
}

#[test]
fn defragmentation_moves_what_it_may_and_its_budget_outlives_the_leader() {
    run(async {
        let rig = two_nodes().await?;
        let policy = json!({
            "apiVersion": "inhaul.dev/v1alpha1", "kind": "FleetPolicy", "metadata": {"name": "default"},
            "spec": {"defragmentation": {"maxMovesPerHour": 1}},
        });
        rig.hub().apply(&policy.to_string()).await?;
        let case = Case::on(
            &rig,
            "pieces",
            json!({"strategy": "Gang", "disruption": {"minRuntime": "0s"}}),
        )
        .await?;
        // One after the other, so that two share a node and the third has the other one.
        let start = async |name: &str, gpus: i64| {
            case.apply(case.job(name, 1, gpus, "30m")).await?;
            case.on_member(US, JOB, name, "active", |job| job["status"]["active"] == 1)
                .await?;
            anyhow::Ok(())
        };
        let end = async |name: &str| {
            rig.hub().delete(JOB, &case.key(name)).await?;
            rig.member(US).gone(JOB, &case.key(name)).await?;
            anyhow::Ok(())
        };
        let moved = async |name: &str| {
            let workload = case.workload("batch", "Job", name).await?;
            anyhow::Ok(workload.unwrap_or_default()["status"]["movedAt"].is_string())
        };
        for name in ["a", "b", "c"] {
            start(name, 4).await?;
        }
        end("b").await?;
        start("whole", 8).await?;
        for name in ["a", "c"] {
            case.on_member(US, JOB, name, "active", |job| job["status"]["active"] == 1)
                .await?;
        }
        let (a, c) = (moved("a").await?, moved("c").await?);
        ensure!(a != c, "one of the two has moved: a {a}, c {c}");

        // The same again under the next leader: the one move of this hour is spent.
        end("whole").await?;
        start("d", 4).await?;
        end(if a { "c" } else { "a" }).await?;
        rig.kill_scheduler();
        rig.start_scheduler()?;
        case.apply(case.job("again", 1, 8, "30m")).await?;
        case.waits("batch", "Job", "again", "InsufficientCapacity")
            .await?;
        for name in [if a { "a" } else { "c" }, "d"] {
            let job = rig.member(US).there(JOB, &case.key(name)).await?;
            ensure!(job["status"]["active"] == 1, "{name} was moved: {job:#}");
        }
        ensure!(!moved("d").await?, "a second move within the hour");
        Ok(())
    });
}
