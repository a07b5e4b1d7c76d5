//! Queues on a real hub: a limit holds and says so, a broken queue says what is wrong with it, and the numbers are in the status.

use anyhow::{Context as _, Result, ensure};
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::api;
use serde_json::{Value, json};

use crate::case::{Case, queue, run};

/// Waits until the status of a Queue satisfies a condition.
async fn status(
    case: &Case,
    name: &str,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let key = ObjectKey::cluster(name);
    let found = case
        .hub()
        .eventually(what, &api::QUEUES, &key, |queue| {
            queue.is_some_and(|queue| holds(&queue["status"]))
        })
        .await?;
    Ok(found.context("gone")?["status"].clone())
}

#[test]
fn a_limit_holds_and_the_queue_shows_its_numbers() {
    run(async {
        let case = Case::new("queue-limit", json!({"queue": "t-vision"})).await?;
        queue(case.hub(), "t-research", json!({})).await?;
        queue(
            case.hub(),
            "t-vision",
            json!({"parent": "t-research", "limit": {"cpu": "15m"}}),
        )
        .await?;
        status(&case, "t-vision", "it is valid", |status| {
            status["conditions"][0]["type"] == "Valid"
                && status["conditions"][0]["status"] == "True"
        })
        .await?;
        case.apply(case.job("first", 1, 0, "30m")).await?;
        case.lands(&known::JOB, "first").await?;
        case.apply(case.job("second", 1, 0, "30m")).await?;
        let message = case.waits("batch", "Job", "second", "QueueLimit").await?;
        ensure!(
            message.contains("queue t-vision has a limit of"),
            "{message}"
        );
        for name in ["t-vision", "t-research"] {
            let status = status(&case, name, "one uses, one waits", |status| {
                status["used"]["cpu"] == "10m" && status["waiting"]["workloads"] == "1"
            })
            .await?;
            ensure!(status["waiting"]["cpu"] == "10m", "{status}");
        }
        // A higher limit wakes it.
        queue(
            case.hub(),
            "t-vision",
            json!({"parent": "t-research", "limit": {"cpu": "20m"}}),
        )
        .await?;
        case.lands(&known::JOB, "second").await?;
        let status = status(&case, "t-vision", "nobody waits", |status| {
            status["used"]["cpu"] == "20m"
        })
        .await?;
        ensure!(status["waiting"].is_null(), "{status}");
        Ok(())
    });
}

#[test]
fn a_broken_queue_says_what_is_wrong_and_who_names_it_waits() {
    run(async {
        let case = Case::new("queue-broken", json!({"queue": "t-lost"})).await?;
        queue(case.hub(), "t-lost", json!({"parent": "t-nowhere"})).await?;
        let status = status(&case, "t-lost", "it is not valid", |status| {
            status["conditions"][0]["status"] == "False"
        })
        .await?;
        let message = status["conditions"][0]["message"]
            .as_str()
            .unwrap_or_default();
        ensure!(
            message.starts_with("spec.parent: there is no queue \"t-nowhere\""),
            "{message}"
        );
        case.apply(case.job("stranded", 1, 0, "30m")).await?;
        let message = case
            .waits("batch", "Job", "stranded", "UnknownQueue")
            .await?;
        ensure!(message.contains("t-nowhere"), "{message}");
        // The API server refuses what is wrong by itself.
        for (spec, word) in [
            (json!({"parent": "t-self"}), "not its own parent"),
            (json!({"weight": -1}), "weight"),
            (json!({"limit": {"cpu": "a lot"}}), "limit"),
        ] {
            let refused = queue(case.hub(), "t-self", spec).await;
            let error = format!("{:#}", refused.err().context("it was taken")?);
            ensure!(error.contains(word), "{error}");
        }
        queue(case.hub(), "t-nowhere", json!({})).await?;
        case.lands(&known::JOB, "stranded").await?;
        Ok(())
    });
}
