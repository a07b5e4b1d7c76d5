use std::time::Duration;

use placement_api::api_type::known;
use serde_json::{Value, json};

use super::hub::{World, text, workload};
use crate::fleet::TargetName;

/// A job of one pod that names data.
fn job(name: &str, data: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": "shop", "annotations": {"inhaul.dev/data": data}},
        "spec": {"template": {"spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}}},
    })
}

fn placement(spec: Value) -> Value {
    json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": "p"}, "spec": spec})
}

fn target(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "SyncTarget",
        "metadata": {"name": name, "labels": {"name": name}}, "spec": spec})
}

fn world() -> World {
    let mut world = World::new(1);
    world.target("eu");
    world.target("us");
    world.wait(Duration::from_secs(2));
    world
}

/// Where a job runs, and what its Workload says of that target.
fn place(world: &World, name: &str) -> (String, String) {
    let object = world
        .get("Workload", &workload(&known::JOB, name))
        .expect("a Workload");
    let place = text(object, "/spec/assignments/0/target");
    let verdicts = object
        .pointer("/status/explanation")
        .and_then(Value::as_array);
    let why = verdicts
        .into_iter()
        .flatten()
        .find(|verdict| verdict["target"] == place.as_str())
        .map(|verdict| text(verdict, "/message"));
    (place, why.unwrap_or_default())
}

/// The condition Valid of a target: its status and message.
fn valid(world: &World, name: &str) -> Option<(String, String)> {
    let status = world.model.target_status(&TargetName::from(name));
    let conditions = status.expect("a target").conditions;
    let valid = conditions.into_iter().find(|one| one.type_ == "Valid")?;
    Some((valid.status, valid.message))
}

#[test]
fn costs_data_and_weights_reach_the_planner() {
    let mut world = world();
    world.apply(target("eu", json!({"cost": {"cpu": "0.05"}})));
    world.apply(json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Location", "metadata": {"name": "west"},
        "spec": {"targetSelector": {"matchLabels": {"name": "us"}}, "cost": {"cpu": "0.09"}, "data": ["faces"]}}));
    world.apply(target("us", json!({})));
    world.apply(placement(
        json!({"scoring": [{"locality": 1}, {"cost": 1}]}),
    ));
    world.apply(job("plain", ""));
    world.apply(job("vision", "faces, maps"));
    let (place_, why) = place(&world, "plain");
    assert_eq!(place_, "eu");
    assert!(why.ends_with("; 0.05 an hour"), "{why}");
    let (place_, why) = place(&world, "vision");
    assert_eq!(place_, "us");
    assert!(
        why.ends_with("; 0.09 an hour, faces is there, maps is not there"),
        "{why}"
    );
}

#[test]
fn a_wrong_dimension_is_named_in_the_condition_of_the_placement() {
    let mut world = world();
    world.apply(placement(json!({"scoring": [{"cost": 1}, {"costs": 2}]})));
    world.wait(Duration::from_secs(2));
    let placement = &world.model.config.placements["p"];
    let message = placement.problem.clone().expect("a problem");
    assert!(
        message.contains("spec.scoring[1].costs: is no dimension; write one of topology"),
        "{message}"
    );
}

#[test]
fn a_negative_price_is_named_in_the_condition_of_the_target_which_takes_work_all_the_same() {
    let mut world = world();
    assert_eq!(valid(&world, "eu"), None);
    world.apply(target("eu", json!({"cost": {"cpu": "-1"}})));
    world.wait(Duration::from_secs(2));
    let (status, message) = valid(&world, "eu").expect("a condition");
    assert_eq!(status, "False");
    assert_eq!(
        message,
        "spec.cost[cpu]: a price is not negative: -1; it counts as unset"
    );
    world.apply(placement(json!({})));
    world.apply(job("plain", ""));
    assert_eq!(place(&world, "plain").0, "eu");
    world.apply(target("eu", json!({"cost": {"cpu": "1"}})));
    world.wait(Duration::from_secs(2));
    assert_eq!(valid(&world, "eu"), None, "it is right again");
}
