//! What an hour costs and how clean its power is: the platform owner says it on the targets, and in the Placement what counts.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use placement_api::api_type::ObjectKey;
use placement_api::kinds::api;
use serde_json::json;
use testbed::rig::{Rig, RigTarget, eventually};

use crate::case::{Case, EU, JOB, US, calm, own, run};

/// Says of a target what an hour of a GPU costs there, and g CO2/kWh.
async fn says(rig: &Rig, target: &str, gpu: &str, carbon: u32) -> Result<()> {
    let spec = json!({"spec": {"cost": {"nvidia.com/gpu": gpu}, "carbonIntensity": carbon}});
    let key = ObjectKey::cluster(target);
    rig.hub().patch(&api::SYNC_TARGETS, &key, &spec).await?;
    Ok(())
}

#[test]
fn work_goes_where_it_is_cheap_or_clean_as_its_placement_says() {
    run(async {
        let targets = vec![
            RigTarget::new(EU, "member1", &["region=eu"]),
            RigTarget::new(US, "member2", &["region=us"]),
        ];
        let rig = own(calm(targets, 2)).await?;
        says(&rig, EU, "2.20", 30).await?;
        says(&rig, US, "1.90", 420).await?;
        let cheap = Case::on(
            &rig,
            "cheap",
            json!({"strategy": "Gang", "scoring": [{"cost": 1}]}),
        )
        .await?;
        let clean = Case::on(
            &rig,
            "clean",
            json!({"strategy": "Gang", "scoring": [{"carbon": 1}, {"cost": 1}]}),
        )
        .await?;
        cheap.apply(cheap.job("one", 1, 2, "30m")).await?;
        cheap.member(US).there(JOB, &cheap.key("one")).await?;
        clean.apply(clean.job("one", 1, 2, "30m")).await?;
        clean.member(EU).there(JOB, &clean.key("one")).await?;
        // Prices change: who comes next goes elsewhere, who runs stays.
        says(&rig, EU, "1.10", 30).await?;
        // The price reaches the scheduler by another watch than the Job.
        let tries = AtomicUsize::new(0);
        eventually("a new one is where it is cheap now", || async {
            let name = format!("two{}", tries.fetch_add(1, Ordering::Relaxed));
            cheap.apply(cheap.job(&name, 1, 1, "1s")).await?;
            let home = eventually("it has a place", || async {
                let found = cheap.targets_of(JOB, &name, &[EU, US]).await?;
                found.first().copied().context("nowhere yet")
            })
            .await?;
            ensure!(home == EU, "{name} is on {home}");
            Ok(())
        })
        .await?;
        cheap.member(US).there(JOB, &cheap.key("one")).await?;
        Ok(())
    });
}
