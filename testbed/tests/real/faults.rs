//! Crashes, partitions, two leaders: what was promised holds, and afterwards everything converges.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::api;
use placement_api::names;
use serde_json::{Value, json};
use testbed::cluster::Component;
use testbed::rig::{RigTarget, eventually};
use tokio::time::{Instant, sleep};

use crate::case::{Case, DEPLOYMENT, JOB, calm, env_from, own, quick, run};

fn two_targets() -> Vec<RigTarget> {
    vec![
        RigTarget::new("one", "member1", &[]),
        RigTarget::new("two", "member2", &[]),
    ]
}

#[test]
fn an_agent_killed_between_any_two_steps_converges() {
    run(async {
        let rig = own(calm(two_targets(), 2)).await?;
        let case = Case::on(&rig, "agent-killed", json!({"strategy": "Gang"})).await?;
        case.apply(case.config_map("settings", "x")).await?;
        // The delay moves the crash through every step of an assignment's life; a crash is SIGKILL.
        for round in 0..12_u64 {
            let name = format!("w{round}");
            case.apply(env_from(case.deployment(&name, 1), &["settings"], &[]))
                .await?;
            sleep(Duration::from_millis(round * 17)).await;
            for target in ["one", "two"] {
                rig.kill_agent(target);
                rig.start_agent(target)?;
            }
        }
        for round in 0..12 {
            case.on_hub(DEPLOYMENT, &format!("w{round}"), "it runs", |d| {
                d["status"]["readyReplicas"] == 1
            })
            .await?;
        }
        // The same on the way out.
        for round in 0..12_u64 {
            case.hub()
                .delete(DEPLOYMENT, &case.key(&format!("w{round}")))
                .await?;
            sleep(Duration::from_millis(round * 17)).await;
            for target in ["one", "two"] {
                rig.kill_agent(target);
                rig.start_agent(target)?;
            }
        }
        eventually("everything of it is gone", || async {
            for target in ["one", "two"] {
                let left = case
                    .member(target)
                    .list(DEPLOYMENT, Some(&case.namespace), None)
                    .await?;
                ensure!(left.is_empty(), "{target}: {} Deployments", left.len());
                let left = case
                    .member(target)
                    .list(&api::APPLIED_ASSIGNMENTS, None, None)
                    .await?;
                ensure!(left.is_empty(), "{target}: {} ledger entries", left.len());
            }
            let left = case
                .hub()
                .list(&api::WORKLOADS, Some(&case.namespace), None)
                .await?;
            ensure!(left.is_empty(), "{} Workloads", left.len());
            Ok(())
        })
        .await
    });
}

#[test]
fn a_scheduler_killed_in_mid_burst_loses_nothing() {
    run(async {
        let rig = own(calm(two_targets(), 2)).await?;
        let case = Case::on(&rig, "scheduler-killed", json!({"strategy": "Gang"})).await?;
        let mut all = Vec::new();
        for i in 0..60 {
            all.push(case.deployment(&format!("w{i}"), 1));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": all});
        let apply = case.apply(list);
        let kills = async {
            for _ in 0..4 {
                sleep(Duration::from_millis(300)).await;
                rig.kill_scheduler();
                rig.start_scheduler()?;
            }
            anyhow::Ok(())
        };
        let (applied, killed) = tokio::join!(apply, kills);
        applied?;
        killed?;
        eventually("all 60 run, each in one place", || async {
            let on_hub = case
                .hub()
                .list(DEPLOYMENT, Some(&case.namespace), None)
                .await?;
            let ready = on_hub
                .iter()
                .filter(|d| d["status"]["readyReplicas"] == 1)
                .count();
            ensure!(ready == 60, "{ready} of 60 are ready");
            Ok(())
        })
        .await?;
        let mut copies = 0;
        for target in ["one", "two"] {
            copies += case
                .member(target)
                .list(DEPLOYMENT, Some(&case.namespace), None)
                .await?
                .len();
        }
        ensure!(copies == 60, "{copies} copies of 60");
        Ok(())
    });
}

#[test]
fn a_deposed_schedulers_late_create_starts_nothing() {
    run(async {
        let rig = own(quick(two_targets(), 2)).await?;
        let case = Case::on(&rig, "late", json!({"strategy": "Gang"})).await?;
        case.apply(case.deployment("web", 1)).await?;
        case.on_hub(DEPLOYMENT, "web", "it runs", |d| {
            d["status"]["readyReplicas"] == 1
        })
        .await?;
        let lease = ObjectKey::new(names::SYSTEM_NAMESPACE, names::SCHEDULER);
        let term = |l: &Value| l["spec"]["leaseTransitions"].as_i64().unwrap_or(0);
        let old = term(&rig.hub().there(&known::LEASE, &lease).await?);
        // A new leader: a term later. It raises the lowest valid term of each target before it writes.
        rig.kill_scheduler();
        rig.start_scheduler()?;
        let inventory = ObjectKey::new(names::target_namespace("one"), names::INVENTORY);
        rig.hub()
            .eventually(
                "the lowest valid term is raised",
                &api::INVENTORIES,
                &inventory,
                |i| i.is_some_and(|i| i["spec"]["minTerm"].as_i64().unwrap_or(0) > old),
            )
            .await?;
        // The create that the deposed one had on the wire arrives now.
        let late = json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Assignment",
            "metadata": {"name": "late", "namespace": names::target_namespace("one")},
            "spec": {"workload": {"group": "", "version": "v1", "kind": "ConfigMap", "namespace": case.namespace, "name": "late", "uid": "u"},
                "epoch": 1, "term": old, "digest": "d", "state": "Active",
                "manifests": [{"plural": "configmaps", "object": case.config_map("late", "x")}]}});
        rig.hub().apply(&late.to_string()).await?;
        let key = ObjectKey::new(names::target_namespace("one"), "late");
        let refused = rig
            .hub()
            .eventually(
                "the agent says that it is too old",
                &api::ASSIGNMENTS,
                &key,
                |a| a.is_some_and(|a| a["status"]["conditions"].to_string().contains("StaleTerm")),
            )
            .await?
            .context("gone")?;
        ensure!(
            refused["status"]["phase"] != "Applied",
            "{}",
            refused["status"]
        );
        ensure!(
            case.member("one")
                .get(&known::CONFIG_MAP, &case.key("late"))
                .await?
                .is_none(),
            "it was started"
        );
        Ok(())
    });
}

#[test]
fn the_hub_away_for_a_minute() {
    run(async {
        let rig = own(calm(two_targets(), 2)).await?;
        let case = Case::on(&rig, "hub-away", json!({"strategy": "Gang"})).await?;
        case.apply(case.deployment("web", 2)).await?;
        case.on_hub(DEPLOYMENT, "web", "it runs", |d| {
            d["status"]["readyReplicas"] == 2
        })
        .await?;
        let home = if case
            .member("one")
            .get(DEPLOYMENT, &case.key("web"))
            .await?
            .is_some()
        {
            "one"
        } else {
            "two"
        };
        let web = case
            .member(home)
            .there(DEPLOYMENT, &case.key("web"))
            .await?;
        rig.fleet().hub().pause(Component::Apiserver)?;
        let away = Instant::now();
        let edit = json!({"spec": {"replicas": 5}});
        case.member(home)
            .patch(DEPLOYMENT, &case.key("web"), &edit)
            .await?;
        case.on_member(
            home,
            DEPLOYMENT,
            "web",
            "drift is repaired without the hub",
            |d| {
                d["spec"]["replicas"] == 2
                    && d["status"]["replicas"] == 2
                    && d["status"]["readyReplicas"] == 2
            },
        )
        .await?;
        // The agent is restarted too: it knows what runs from its ledger, and has no hub to ask.
        rig.kill_agent(home);
        rig.start_agent(home)?;
        while away.elapsed() < Duration::from_secs(60) {
            let now = case
                .member(home)
                .there(DEPLOYMENT, &case.key("web"))
                .await?;
            ensure!(
                now["metadata"]["uid"] == web["metadata"]["uid"],
                "it was replaced"
            );
            ensure!(
                now["metadata"]["deletionTimestamp"].is_null(),
                "it is being deleted"
            );
            // The edit may have started more for a moment.
            ensure!(
                now["status"]["readyReplicas"].as_i64() >= Some(2),
                "it was stopped: {}",
                now["status"]
            );
            sleep(Duration::from_millis(500)).await;
        }
        rig.fleet().hub().resume(Component::Apiserver)?;
        rig.target_state(home, "Ready").await?;
        case.apply(case.deployment("web", 3)).await?;
        case.on_hub(DEPLOYMENT, "web", "work goes on", |d| {
            d["status"]["readyReplicas"] == 3
        })
        .await?;
        let now = case
            .member(home)
            .there(DEPLOYMENT, &case.key("web"))
            .await?;
        ensure!(
            now["metadata"]["uid"] == web["metadata"]["uid"],
            "it was replaced"
        );
        Ok(())
    });
}

#[test]
fn two_schedulers_one_leads_and_the_other_takes_over() {
    run(async {
        let rig = own(quick(two_targets(), 2)).await?;
        let case = Case::on(&rig, "two-leaders", json!({"strategy": "Gang"})).await?;
        let second = rig.spawn_scheduler("second")?;
        case.apply(case.job("first", 1, 0, "1s")).await?;
        case.on_hub(JOB, "first", "the first leads", |j| {
            j["status"]["succeeded"] == 1
        })
        .await?;
        let lease = ObjectKey::new(names::SYSTEM_NAMESPACE, names::SCHEDULER);
        let before = rig.hub().there(&known::LEASE, &lease).await?;
        ensure!(before["spec"]["holderIdentity"] != "second", "two lead");
        rig.kill_scheduler();
        case.apply(case.job("next", 1, 0, "1s")).await?;
        case.on_hub(JOB, "next", "the second has taken over", |j| {
            j["status"]["succeeded"] == 1
        })
        .await?;
        let after = rig.hub().there(&known::LEASE, &lease).await?;
        ensure!(
            after["spec"]["holderIdentity"] == "second",
            "{}",
            after["spec"]
        );
        ensure!(
            after["spec"]["leaseTransitions"].as_i64()
                > before["spec"]["leaseTransitions"].as_i64(),
            "the term did not grow"
        );
        drop(second);
        Ok(())
    });
}
