//! What the live scheduler can be asked: what if, why, in which place of the line, and the same run again.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::rig::{Rig, RigTarget};

use crate::case::{Case, JOB, US, calm, own, queue, run};

async fn asked(rig: &Rig, args: &[&str]) -> Result<Value> {
    let text = rig.inhaul(args.iter().copied()).await?;
    serde_json::from_str(&text).with_context(|| text)
}

#[test]
fn what_if_comes_true_and_the_recorded_run_comes_out_the_same() {
    run(async {
        let folder = tempfile::tempdir()?;
        let targets = vec![RigTarget::new(US, "member2", &["region=us", "tier=gpu"])];
        let mut spec = calm(targets, 2);
        let record = folder.path().display().to_string();
        spec.scheduler_args.extend(["--record".to_owned(), record]);
        let rig = own(spec).await?;
        let limit = |gpus: &str| json!({"limit": {"nvidia.com/gpu": gpus}});
        queue(rig.hub(), "narrow", limit("8")).await?;
        let case = Case::on(
            &rig,
            "answers",
            json!({"strategy": "Gang", "queue": "narrow"}),
        )
        .await?;
        let mut first = case.job("first", 1, 8, "30m");
        first["metadata"]["annotations"] = json!({"inhaul.dev/expected-runtime": "5h"});
        case.apply(first).await?;
        case.on_member(US, JOB, "first", "it runs", |job| {
            job["status"]["active"] == 1
        })
        .await?;
        case.apply(case.job("second", 1, 4, "30m")).await?;
        case.waits("batch", "Job", "second", "QueueLimit").await?;

        // The scheduler is asked nothing: these read the hub.
        let line = rig.inhaul(["queue", "narrow"]).await?;
        ensure!(
            line.contains("second") && line.contains("about "),
            "it may expect a start: {line}"
        );
        let why = rig
            .inhaul(["explain", "job/second", "-n", &case.namespace])
            .await?;
        ensure!(
            why.contains("has a limit of 8") && why.contains("an estimate, no promise"),
            "{why}"
        );
        let change = ["whatif", "queue", "narrow", "limit", "gpu"];
        let two: Vec<&str> = change.iter().copied().chain(["+2", "-o", "json"]).collect();
        let two = asked(&rig, &two).await?.to_string();
        let four: Vec<&str> = change.iter().copied().chain(["+4"]).collect();
        let four = rig.inhaul(four).await?;
        ensure!(
            four.contains("second") && four.contains(US),
            "with four more it would start: {four}"
        );
        ensure!(
            !two.contains(&format!("\"{US}\":1")),
            "with two more it would not: {two}"
        );
        let still = case.workload("batch", "Job", "second").await?;
        ensure!(
            still.unwrap_or_default()["status"]["reason"] == "QueueLimit",
            "a question has changed something"
        );
        queue(rig.hub(), "narrow", limit("12")).await?;
        case.on_member(US, JOB, "second", "it came true", |job| {
            job["status"]["active"] == 1
        })
        .await?;

        // A crash ends the recording where it is.
        rig.kill_scheduler();
        let file = folder.path().join("term-1.jsonl");
        let file = file.to_str().context("a path in UTF-8")?;
        let again = rig.inhaul(["replay", file]).await?;
        ensure!(
            again.contains("every decision came out as it was recorded, bit for bit"),
            "{again}"
        );
        Ok(())
    });
}
