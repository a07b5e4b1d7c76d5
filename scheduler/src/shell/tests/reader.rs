//! A hub that is read once is understood as the scheduler understands it.

use client::{Discovery, ServedApi};
use placement_api::api_type::{ApiType, known};
use placement_api::raw::RawObject;
use serde_json::{Value, json};

use super::hub::{World, workload};
use crate::shell::Reader;
use crate::whatif::{Change, View, differences};

fn job(name: &str, pods: u32, cpu: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"parallelism": pods, "completions": pods, "template": {"spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]}}},
    })
}

fn served() -> Discovery {
    let apis = [
        known::DEPLOYMENT,
        known::JOB,
        known::SECRET,
        known::CONFIG_MAP,
    ];
    let serves = |api: ApiType| ServedApi {
        api,
        verbs: vec!["list".to_owned(), "watch".to_owned()],
        subresources: Vec::new(),
        short_names: Vec::new(),
        preferred: true,
    };
    Discovery {
        apis: apis.into_iter().map(serves).collect(),
        unavailable: Vec::new(),
    }
}

fn read(world: &World) -> View {
    let of = |api: &ApiType| -> Vec<RawObject> {
        let objects = world.all().filter(|one| one["kind"] == *api.kind);
        objects
            .map(|one| RawObject::from_value(one).expect("an object"))
            .collect()
    };
    let mut reader = Reader::new();
    for api in Reader::first() {
        reader.take(&api, of(&api));
    }
    let then = reader.then(&served());
    assert!(!then.contains(&known::SECRET), "Secrets are not for us");
    for api in then {
        reader.take(&api, of(&api));
    }
    reader.view()
}

/// Two targets of eight CPUs that the scheduler says are Ready, a job that runs, and one that waits.
fn world() -> World {
    let mut world = World::new(1);
    for name in ["eu", "us"] {
        world.target(name);
        let mut target = world
            .all()
            .find(|one| one["kind"] == "SyncTarget" && one["metadata"]["name"] == name)
            .expect("a target")
            .clone();
        target["status"] = json!({"state": "Ready", "clusterUID": name});
        world.apply(target);
    }
    world.apply(json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": "p"}, "spec": {}}));
    world.apply(json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "default"}, "spec": {"limit": {"cpu": "8"}}}));
    world.apply(job("runs", 2, "3"));
    world.apply(job("waits", 3, "1"));
    world
}

#[test]
fn as_it_is_nothing_would_change() {
    let world = world();
    let view = read(&world);
    let outlook = view.plan();
    assert_eq!(outlook.workloads.len(), 2, "{outlook:?}");
    let runs = &outlook.workloads[workload(&known::JOB, "runs").name.as_str()];
    let object = world
        .get("Workload", &workload(&known::JOB, "runs"))
        .expect("a Workload");
    let target = object["spec"]["assignments"][0]["target"].as_str();
    assert_eq!(runs.places.keys().next().map(String::as_str), target);
    let waits = &outlook.workloads[workload(&known::JOB, "waits").name.as_str()];
    let object = world
        .get("Workload", &workload(&known::JOB, "waits"))
        .expect("a Workload");
    assert!(waits.waits() && waits.position == Some(1), "{waits:?}");
    assert_eq!(
        waits.reason.map(|one| one.to_string()).as_deref(),
        object["status"]["reason"].as_str()
    );
}

#[test]
fn a_higher_limit_lets_it_start() {
    let view = read(&world());
    let change = Change::parse("queue default limit cpu +4").expect("a change");
    let after = view.change(&change).expect("a view").plan();
    let changed = differences(&view.plan(), &after);
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(changed[0].after.name, "waits");
    assert_eq!(changed[0].after.places.values().sum::<i64>(), 3);
}
