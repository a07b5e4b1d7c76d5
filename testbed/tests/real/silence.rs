//! After everything has converged: no write that changes nothing. And a burst of a thousand arrives whole.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use placement_api::api_type::known;
use serde_json::{Value, json};
use testbed::rig::{Admin, Rig, RigTarget, eventually};
use tokio::time::sleep;

use crate::case::{Case, DEPLOYMENT, calm, env_from, own, run};

/// resourceVersion of every object of every kind, but for heartbeats: Leases, the nodes of kwok, and Events.
async fn versions(admin: &Admin) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for served in admin.connection().discover().await?.apis {
        let api = served.api;
        if !served.verbs.iter().any(|v| v == "list")
            || ["leases", "nodes", "events", "componentstatuses"].contains(&api.plural.as_ref())
        {
            continue;
        }
        for object in admin.list(&api, None, None).await? {
            let m = &object["metadata"];
            found.insert(
                format!(
                    "{} {}/{}",
                    api,
                    m["namespace"].as_str().unwrap_or(""),
                    m["name"].as_str().unwrap_or("")
                ),
                m["resourceVersion"].as_str().unwrap_or("").to_owned(),
            );
        }
    }
    Ok(found)
}

fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let keys = before.keys().chain(after.keys());
    let mut changed: Vec<String> = keys
        .filter(|k| before.get(*k) != after.get(*k))
        .cloned()
        .collect();
    changed.dedup();
    changed
}

/// Waits until nothing has changed for a while, and gives back how everything is then.
async fn settled(
    rig: &Rig,
    target: &str,
) -> Result<(BTreeMap<String, String>, BTreeMap<String, String>)> {
    eventually("everything is quiet", || async {
        let before = (
            versions(rig.hub()).await?,
            versions(rig.member(target)).await?,
        );
        sleep(Duration::from_secs(3)).await;
        let after = (
            versions(rig.hub()).await?,
            versions(rig.member(target)).await?,
        );
        let (hub, member) = (changed(&before.0, &after.0), changed(&before.1, &after.1));
        ensure!(hub.is_empty() && member.is_empty(), "{hub:?} {member:?}");
        Ok(after)
    })
    .await
}

#[test]
fn idle_means_silent_and_a_restart_with_everything_in_place_writes_nothing() {
    run(async {
        let targets = vec![RigTarget::new("one", "member1", &[])];
        let rig = own(calm(targets, 1)).await?;
        let case = Case::on(&rig, "silence", json!({})).await?;
        case.apply(case.config_map("settings", "x")).await?;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": case.namespace}, "stringData": {"key": "v"}});
        case.apply(secret).await?;
        for i in 0..5 {
            case.apply(env_from(
                case.deployment(&format!("web{i}"), 2),
                &["settings"],
                &["key"],
            ))
            .await?;
        }
        case.apply(case.job("gang", 2, 4, "30m")).await?;
        case.apply(case.job("huge", 1, 64, "30m")).await?;
        case.apply(case.job("done", 1, 0, "1s")).await?;
        case.on_hub(&known::JOB, "done", "the Job is done", |j| {
            j["status"]["succeeded"] == 1
        })
        .await?;
        case.on_hub(DEPLOYMENT, "web4", "it runs", |d| {
            d["status"]["readyReplicas"] == 2
        })
        .await?;
        let before = settled(&rig, "one").await?;
        sleep(Duration::from_secs(60)).await;
        let after = (
            versions(rig.hub()).await?,
            versions(rig.member("one")).await?,
        );
        ensure!(
            changed(&before.0, &after.0).is_empty(),
            "the hub in an idle minute: {:?}",
            changed(&before.0, &after.0)
        );
        ensure!(
            changed(&before.1, &after.1).is_empty(),
            "the member in an idle minute: {:?}",
            changed(&before.1, &after.1)
        );

        rig.kill_agent("one");
        rig.start_agent("one")?;
        // Its session is in the statuses that it writes; it writes one when there is something to say.
        case.apply(case.job("next", 1, 0, "1s")).await?;
        case.on_hub(&known::JOB, "next", "the agent is back at work", |j| {
            j["status"]["succeeded"] == 1
        })
        .await?;
        let restarted = settled(&rig, "one").await?;
        let touched = |changed: Vec<String>| {
            let own = |k: &String| {
                !k.contains("next")
                    && !k.contains("inventor")
                    && !k.contains("synctargets")
                    && !k.contains("placements")
            };
            changed.into_iter().filter(own).collect::<Vec<_>>()
        };
        let on_hub = touched(changed(&after.0, &restarted.0));
        let on_member = touched(changed(&after.1, &restarted.1));
        ensure!(
            on_hub.is_empty(),
            "a restart of the agent wrote on the hub: {on_hub:?}"
        );
        ensure!(
            on_member.is_empty(),
            "a restart of the agent wrote on the member: {on_member:?}"
        );

        rig.kill_scheduler();
        rig.start_scheduler()?;
        case.apply(case.job("last", 1, 0, "1s")).await?;
        case.on_hub(&known::JOB, "last", "the scheduler is back at work", |j| {
            j["status"]["succeeded"] == 1
        })
        .await?;
        let again = settled(&rig, "one").await?;
        let own = |k: &String| {
            !["last", "inventor", "synctargets", "placements"]
                .iter()
                .any(|w| k.contains(w))
        };
        let on_hub: Vec<String> = changed(&restarted.0, &again.0)
            .into_iter()
            .filter(own)
            .collect();
        ensure!(
            on_hub.is_empty(),
            "a restart of the scheduler wrote on the hub: {on_hub:?}"
        );
        Ok(())
    });
}

#[test]
fn a_thousand_in_a_burst_all_arrive() {
    run(async {
        let targets = vec![
            RigTarget::new("one", "member1", &[]),
            RigTarget::new("two", "member2", &[]),
        ];
        let rig = own(calm(targets, 2)).await?;
        let case = Case::on(
            &rig,
            "burst",
            json!({"strategy": "Gang", "resources": [{"group": "", "kind": "ConfigMap"}]}),
        )
        .await?;
        let connection = case.hub().connection();
        let create = |i: usize| {
            let body = case.config_map(&format!("c{i}"), "x");
            async move {
                connection
                    .create::<_, Value>(
                        &known::CONFIG_MAP,
                        &format!("t-{}", "burst"),
                        &body,
                        "test",
                    )
                    .await
            }
        };
        let made = futures::stream::iter((0..1000).map(create));
        use futures::{StreamExt as _, TryStreamExt as _};
        let made: Vec<Value> = made.buffer_unordered(32).try_collect().await?;
        ensure!(made.len() == 1000, "{} created", made.len());
        // However slow the machine is: as long as more arrive, it goes on.
        let mut arrived = 0;
        while arrived < 1000 {
            arrived = eventually("more have arrived", || async {
                let mut now = 0;
                for target in ["one", "two"] {
                    let there = case
                        .member(target)
                        .list(&known::CONFIG_MAP, Some(&case.namespace), None)
                        .await?;
                    now += there.iter().filter(|c| c["data"]["key"] == "x").count();
                }
                ensure!(now > arrived, "{now} of 1000");
                Ok(now)
            })
            .await?;
        }
        Ok(())
    });
}
