//! Cordon, drain, add, lose: on fleets of their own.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::api;
use serde_json::json;
use testbed::cluster::Component;
use testbed::rig::{Rig, RigTarget, eventually};

use crate::case::{Case, DEPLOYMENT, JOB, calm, own, quick, run};

fn two_targets() -> Vec<RigTarget> {
    vec![
        RigTarget::new("one", "member1", &["region=eu"]),
        RigTarget::new("two", "member2", &["region=us"]),
    ]
}

#[test]
fn cordon_moves_nothing_drain_moves_what_has_a_refuge_and_names_the_rest() {
    run(async {
        let rig = own(calm(two_targets(), 2)).await?;
        let case = Case::on(&rig, "drain", json!({})).await?;
        // The demo's nodes: 32 GPUs in one, 16 in two. A gang of 24 has no refuge in two.
        case.apply(case.job("large", 3, 8, "30m")).await?;
        let on_one = |name: &'static str| {
            let case = &case;
            async move { case.member("one").there(JOB, &case.key(name)).await }
        };
        on_one("large").await?;
        case.apply(case.deployment("web", 6)).await?;
        case.on_hub(DEPLOYMENT, "web", "it runs", |d| {
            d["status"]["readyReplicas"] == 6
        })
        .await?;
        let web = case
            .member("one")
            .there(DEPLOYMENT, &case.key("web"))
            .await
            .context("divided over both")?;

        rig.inhaul(["target", "cordon", "one"]).await?;
        rig.target_state("one", "Cordoned").await?;
        case.apply(case.job("fresh", 1, 1, "30m")).await?;
        case.member("two").there(JOB, &case.key("fresh")).await?;
        let still = case
            .member("one")
            .there(DEPLOYMENT, &case.key("web"))
            .await?;
        ensure!(
            still["metadata"]["uid"] == web["metadata"]["uid"],
            "cordon moved it"
        );
        ensure!(
            still["spec"]["replicas"] == web["spec"]["replicas"],
            "cordon shrank it"
        );

        let drained = rig
            .inhaul_output(&["target", "drain", "one"].map(String::from))
            .await?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&drained.stdout),
            String::from_utf8_lossy(&drained.stderr)
        );
        ensure!(
            drained.status.code() == Some(3),
            "exit code {:?}: {text}",
            drained.status.code()
        );
        ensure!(
            text.contains("large"),
            "the gang that stays is not named: {text}"
        );
        case.member("one")
            .gone(DEPLOYMENT, &case.key("web"))
            .await?;
        eventually("all six run on the other", || async {
            let web = case
                .member("two")
                .there(DEPLOYMENT, &case.key("web"))
                .await?;
            ensure!(
                web["status"]["readyReplicas"] == 6,
                "{}",
                web["status"]["readyReplicas"]
            );
            Ok(())
        })
        .await?;
        let large = case.member("one").there(JOB, &case.key("large")).await?;
        ensure!(
            large["status"]["active"] == 3,
            "the gang was disturbed: {}",
            large["status"]
        );
        Ok(())
    });
}

#[test]
fn a_workload_that_waits_starts_when_a_target_is_added() {
    run(async {
        let mut spec = calm(
            vec![
                RigTarget::new("one", "member3", &["region=us"]),
                RigTarget::new("two", "member2", &["region=us"]),
            ],
            3,
        );
        let second = spec.targets.pop().context("two targets")?;
        spec.targets.push(second.clone());
        let rig = Arc::new(Rig::start_clusters(spec).await?);
        rig.install().await?;
        rig.start_scheduler()?;
        let first = RigTarget::new("one", "member3", &["region=us"]);
        rig.register(&first).await?;
        rig.start_agent("one")?;
        rig.target_state("one", "Ready").await?;
        let case = Case::on(&rig, "added", json!({})).await?;
        case.apply(case.job("train", 1, 4, "30m")).await?;
        case.workload_is("batch", "Job", "train", "it waits, with a reason", |w| {
            w["status"]["state"] == "Pending" && !w["status"]["reason"].is_null()
        })
        .await?;
        rig.register(&second).await?;
        rig.start_agent("two")?;
        case.on_member("two", JOB, "train", "it runs on the new target", |j| {
            j["status"]["ready"] == 1
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_lost_member_overlap_moves_never_waits_and_the_returning_one_cleans_up() {
    run(async {
        let rig = own(quick(two_targets(), 2)).await?;
        let case = Case::on(&rig, "lost", json!({"failover": {"mode": "Overlap", "after": "1s"}, "resources": [{"group": "apps", "kind": "Deployment"}]})).await?;
        case.place("t-lost-jobs", json!({"resources": [{"group": "batch", "kind": "Job"}], "locations": [{"name": "lost-eu"}]})).await?;
        rig.hub()
            .apply(&json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Location", "metadata": {"name": "lost-eu"}, "spec": {}}).to_string())
            .await?;
        case.apply(case.deployment("web", 4)).await?;
        // Only the first has 24 GPUs, so the Job is there.
        case.apply(case.job("train", 3, 8, "30m")).await?;
        case.on_hub(DEPLOYMENT, "web", "it runs", |d| {
            d["status"]["readyReplicas"] == 4
        })
        .await?;
        case.on_member("one", JOB, "train", "it runs", |j| {
            j["status"]["ready"] == 3
        })
        .await?;
        case.member("one")
            .there(DEPLOYMENT, &case.key("web"))
            .await
            .context("divided over both")?;

        let cluster = rig.fleet().member("member1");
        rig.kill_agent("one");
        cluster.pause(Component::Apiserver)?;
        rig.target_state("one", "Lost").await?;
        case.on_member("two", DEPLOYMENT, "web", "all four run on the other", |d| {
            d["status"]["readyReplicas"] == 4
        })
        .await?;
        let message = case
            .workload_is("batch", "Job", "train", "the Job waits", |w| {
                w["status"]["reason"] == "FailoverNever"
            })
            .await?["status"]["message"]
            .to_string();
        ensure!(
            message.contains("one"),
            "it does not name the target: {message}"
        );
        ensure!(
            case.member("two")
                .get(JOB, &case.key("train"))
                .await?
                .is_none(),
            "a second copy was started"
        );

        cluster.resume(Component::Apiserver)?;
        rig.start_agent("one")?;
        rig.target_state("one", "Ready").await?;
        case.member("one")
            .gone(DEPLOYMENT, &case.key("web"))
            .await?;
        let train = case.member("one").there(JOB, &case.key("train")).await?;
        ensure!(
            train["status"]["active"] == 3,
            "the Job was disturbed: {}",
            train["status"]
        );
        case.workload_is(
            "batch",
            "Job",
            "train",
            "it is assigned again, in the same place",
            |w| {
                w["status"]["state"] == "Assigned"
                    && w["spec"]["assignments"][0]["target"] == "one"
                    && w["status"]["reason"].is_null()
            },
        )
        .await?;
        Ok(())
    });
}

#[test]
fn a_target_that_is_removed_leaves_what_runs() {
    run(async {
        let rig = own(calm(two_targets(), 2)).await?;
        let case = Case::on(&rig, "remove", json!({"failover": {"mode": "Never"}})).await?;
        case.apply(case.job("train", 3, 8, "30m")).await?;
        case.on_member("one", JOB, "train", "it runs", |j| {
            j["status"]["ready"] == 3
        })
        .await?;
        let refused = rig
            .inhaul_output(&["target", "remove", "one"].map(String::from))
            .await?;
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(
            !refused.status.success() && text.contains("train"),
            "it must name what runs there: {text}"
        );
        ensure!(
            rig.hub()
                .get(&api::SYNC_TARGETS, &ObjectKey::cluster("one"))
                .await?
                .is_some(),
            "it was removed all the same"
        );
        // Somebody deletes the target's namespace on the hub: absence is not an order.
        rig.hub()
            .delete(&known::NAMESPACE, &ObjectKey::cluster("inhaul-target-one"))
            .await?;
        rig.hub()
            .gone(&known::NAMESPACE, &ObjectKey::cluster("inhaul-target-one"))
            .await?;
        rig.kill_agent("one");
        rig.start_agent("one")?;
        case.apply(case.job("later", 1, 1, "1s")).await?;
        case.on_hub(JOB, "later", "something later has run elsewhere", |j| {
            j["status"]["succeeded"] == 1
        })
        .await?;
        let train = case.member("one").there(JOB, &case.key("train")).await?;
        ensure!(
            train["status"]["active"] == 3 && train["metadata"]["deletionTimestamp"].is_null(),
            "it was disturbed: {}",
            train["status"]
        );
        Ok(())
    });
}
