use std::time::Duration;

use placement_api::api_type::{ObjectKey, known};
use serde_json::{Value, json};

use super::hub::{World, text, workload};

fn deployment(name: &str, replicas: u32, pod: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]});
    json_patch::merge(&mut spec, &pod);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": name}}, "spec": spec}},
    })
}

fn job(name: &str, pods: u32) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"parallelism": pods, "completions": pods, "template": {"spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}}},
    })
}

fn placement(spec: Value) -> Value {
    json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": "p"}, "spec": spec})
}

/// Two targets and a Placement.
fn world(spec: Value) -> World {
    let mut world = World::new(1);
    world.target("eu");
    world.target("us");
    world.apply(placement(spec));
    world.wait(Duration::from_secs(2));
    world.writes.clear();
    world
}

fn assignment(target: &str, name: &str) -> ObjectKey {
    ObjectKey::new(format!("inhaul-target-{target}"), name)
}

/// Writes about anything but the numbers of targets.
fn writes(world: &mut World) -> Vec<String> {
    let mut writes = std::mem::take(&mut world.writes);
    writes.retain(|write| !write.starts_with("status SyncTarget"));
    writes
}

#[test]
fn placing_takes_one_write_and_one_for_each_target() {
    let mut world = world(json!({}));
    world.apply(deployment("web", 4, json!({})));
    let key = workload(&known::DEPLOYMENT, "web");
    let expected = [
        format!("create Workload {key}"),
        format!("create Assignment inhaul-target-eu/{}", key.name),
        format!("create Assignment inhaul-target-us/{}", key.name),
    ];
    assert_eq!(writes(&mut world), expected);
    let workload = world.get("Workload", &key).unwrap();
    assert_eq!(workload["status"]["where"], "eu 2 · us 2");
    assert_eq!(workload["spec"]["wants"], "4 replicas");
    let report = |replicas: i64| json!({"rootGeneration": 1, "rootStatus": {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas}});
    world.report("eu", &key.name, "Healthy", &report(2));
    assert!(
        writes(&mut world).is_empty(),
        "the other target has not reported yet"
    );
    world.report("us", &key.name, "Healthy", &report(2));
    world.wait(Duration::from_secs(1));
    assert_eq!(writes(&mut world), ["status Deployment shop/web"]);
    let root = world
        .get("Deployment", &ObjectKey::new("shop", "web"))
        .unwrap();
    assert_eq!(root["status"]["readyReplicas"], 4);
    for _ in 0..3 {
        world.wait(Duration::from_secs(30));
        world.beat("eu");
        world.beat("us");
    }
    assert!(writes(&mut world).is_empty(), "silence");
}

#[test]
fn a_new_leader_finds_everything_in_place() {
    let mut world = world(json!({}));
    world.apply(deployment("web", 4, json!({})));
    world.apply(job("train", 2));
    world.apply(job("huge", 99));
    let done = workload(&known::JOB, "train");
    let target = text(
        world.get("Workload", &done).unwrap(),
        "/spec/assignments/0/target",
    );
    world.report(
        &target,
        &done.name,
        "Succeeded",
        &json!({"rootStatus": {"succeeded": 2}}),
    );
    world.wait(Duration::from_secs(2));
    world.restart(2);
    world.wait(Duration::from_secs(2));
    assert_eq!(writes(&mut world), Vec::<String>::new());
    // Finished work is not started again, whatever happens to its object.
    world.apply(job("train", 3));
    assert_eq!(writes(&mut world), Vec::<String>::new());
}

#[test]
fn a_crash_after_the_workload_loses_nothing() {
    let mut world = world(json!({}));
    world.broken = Some("Assignment");
    world.model.dirty.clear();
    let object = deployment("web", 2, json!({}));
    let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.apply(object)));
    assert!(crash.is_err(), "it tries again and again");
    let key = workload(&known::DEPLOYMENT, "web");
    assert!(world.get("Workload", &key).is_some());
    assert!(
        world
            .get("Assignment", &assignment("eu", &key.name))
            .is_none()
    );
    world.broken = None;
    world.restart(2);
    let expected = [
        format!("create Assignment inhaul-target-eu/{}", key.name),
        format!("create Assignment inhaul-target-us/{}", key.name),
    ];
    assert_eq!(writes(&mut world), expected);
    let spec = &world
        .get("Assignment", &assignment("eu", &key.name))
        .unwrap()["spec"];
    assert_eq!(
        (spec["term"].as_i64(), spec["epoch"].as_i64()),
        (Some(2), Some(1))
    );
}

#[test]
fn deleting_asks_every_member_first() {
    let mut world = world(json!({}));
    world.apply(deployment("web", 2, json!({})));
    let key = workload(&known::DEPLOYMENT, "web");
    writes(&mut world);
    world.delete("Deployment", &ObjectKey::new("shop", "web"));
    let expected = [
        format!("delete Workload {key}"),
        format!("patch Workload {key}"),
        format!("patch Assignment inhaul-target-eu/{}", key.name),
        format!("patch Assignment inhaul-target-us/{}", key.name),
    ];
    assert_eq!(writes(&mut world), expected);
    let spec = world
        .get("Assignment", &assignment("eu", &key.name))
        .unwrap()["spec"]
        .clone();
    assert_eq!(spec["state"], "Removed");
    assert!(spec["manifests"].is_null());
    world.report("eu", &key.name, "Removed", &json!({}));
    assert!(
        world.get("Workload", &key).is_some(),
        "one member has not confirmed"
    );
    world.report("us", &key.name, "Removed", &json!({}));
    assert!(world.get("Workload", &key).is_none());
    assert!(
        world
            .get("Assignment", &assignment("us", &key.name))
            .is_none()
    );
    assert!(world.model.entries.is_empty() && world.model.by_target.is_empty());
}

#[test]
fn what_is_missing_from_a_list_is_not_gone() {
    let mut world = world(json!({}));
    let pod = json!({"volumes": [{"name": "v", "configMap": {"name": "cfg"}}]});
    world.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cfg", "namespace": "shop"}, "data": {"a": "1"}}));
    world.apply(deployment("web", 2, pod));
    writes(&mut world);
    world.unseen("Deployment", &ObjectKey::new("shop", "web"));
    world.unseen("ConfigMap", &ObjectKey::new("shop", "cfg"));
    assert_eq!(writes(&mut world), Vec::<String>::new());
    world.unseen("Workload", &workload(&known::DEPLOYMENT, "web"));
    assert_eq!(world.model.entries.len(), 1);
}

#[test]
fn what_a_member_refuses_goes_elsewhere_and_comes_back_later() {
    let mut world = world(json!({"strategy": "Gang"}));
    world.apply(deployment("web", 2, json!({})));
    let key = workload(&known::DEPLOYMENT, "web");
    let first = text(
        world.get("Workload", &key).unwrap(),
        "/spec/assignments/0/target",
    );
    let other = if first == "eu" { "us" } else { "eu" };
    let words = json!({"conditions": [{"type": "Applied", "status": "False", "reason": "Forbidden",
        "message": "exceeded quota", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    world.report(&first, &key.name, "Refused", &words);
    let tombstone = world
        .get("Assignment", &assignment(&first, &key.name))
        .unwrap();
    assert_eq!(tombstone["spec"]["state"], "Removed");
    let refusals = &world.get("Workload", &key).unwrap()["status"]["refusals"];
    assert_eq!(refusals[0]["message"], "exceeded quota");
    let new = world
        .get("Assignment", &assignment(other, &key.name))
        .unwrap();
    assert!(new["spec"]["epoch"].as_i64() > tombstone["spec"]["epoch"].as_i64());
    world.report(&first, &key.name, "Removed", &json!({}));
    world.report(other, &key.name, "Refused", &words);
    world.report(other, &key.name, "Removed", &json!({}));
    let status = world.get("Workload", &key).unwrap()["status"].clone();
    assert_eq!(
        (text(&status, "/state"), text(&status, "/reason")),
        ("Pending".to_owned(), "RefusedByTarget".to_owned())
    );
    assert!(
        text(&status, "/message").contains("exceeded quota"),
        "{status}"
    );
    world.wait(Duration::from_secs(31));
    assert_eq!(
        world.get("Workload", &key).unwrap()["status"]["state"],
        "Assigned"
    );
}

#[test]
fn who_may_run_once_only_waits_until_the_old_one_is_gone() {
    let mut world = world(json!({"failover": {"mode": "Never"}}));
    world.apply(job("train", 2));
    let key = workload(&known::JOB, "train");
    let first = text(
        world.get("Workload", &key).unwrap(),
        "/spec/assignments/0/target",
    );
    let other = if first == "eu" { "us" } else { "eu" };
    world.report(&first, &key.name, "Applied", &json!({}));
    world.apply(json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "SyncTarget", "metadata": {"name": first},
        "spec": {"unschedulable": true, "drain": true}}));
    assert_eq!(
        world
            .get("Assignment", &assignment(&first, &key.name))
            .unwrap()["spec"]["state"],
        "Removed"
    );
    assert!(
        world
            .get("Assignment", &assignment(other, &key.name))
            .is_none(),
        "two would run"
    );
    world.restart(2);
    assert!(
        world
            .get("Assignment", &assignment(other, &key.name))
            .is_none(),
        "nor after a restart"
    );
    world.report(&first, &key.name, "Removed", &json!({}));
    assert!(
        world
            .get("Assignment", &assignment(other, &key.name))
            .is_some()
    );
}

#[test]
fn a_secret_goes_ahead_of_who_needs_it_and_leaves_with_the_last() {
    let mut world = world(json!({"strategy": "Gang"}));
    world.apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "shop"}, "type": "Opaque", "data": {"k": "djE="}}));
    let pod = json!({"volumes": [{"name": "v", "secret": {"secretName": "key"}}]});
    world.apply(deployment("web", 1, pod));
    let key = workload(&known::DEPLOYMENT, "web");
    let target = text(
        world.get("Workload", &key).unwrap(),
        "/spec/assignments/0/target",
    );
    let copy = assignment(
        &target,
        &placement_api::names::secret_copy_name("shop", "key"),
    );
    let expected = [
        format!("create Workload {key}"),
        format!("create Secret {copy}"),
        format!("create Assignment inhaul-target-{target}/{}", key.name),
    ];
    assert_eq!(writes(&mut world), expected);
    world.apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "shop"}, "type": "Opaque", "data": {"k": "djI="}}));
    assert_eq!(writes(&mut world), [format!("patch Secret {copy}")]);
    assert_eq!(world.get("Secret", &copy).unwrap()["data"]["k"], "djI=");
    world.restart(2);
    assert_eq!(writes(&mut world), Vec::<String>::new());
    world.delete("Deployment", &ObjectKey::new("shop", "web"));
    assert!(
        world.get("Secret", &copy).is_some(),
        "the member still runs it: {:?}",
        world.writes
    );
    world.report(&target, &key.name, "Removed", &json!({}));
    assert!(world.get("Secret", &copy).is_none());
}

#[test]
fn a_dependency_that_comes_later_is_added() {
    let mut world = world(json!({"strategy": "Gang"}));
    let pod = json!({"volumes": [{"name": "v", "configMap": {"name": "cfg"}}]});
    world.apply(deployment("web", 1, pod));
    let key = workload(&known::DEPLOYMENT, "web");
    let target = text(
        world.get("Workload", &key).unwrap(),
        "/spec/assignments/0/target",
    );
    let kinds = |world: &World| -> Vec<String> {
        let spec = &world
            .get("Assignment", &assignment(&target, &key.name))
            .unwrap()["spec"];
        spec["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| text(one, "/object/kind"))
            .collect()
    };
    assert_eq!(kinds(&world), ["Deployment"], "placed all the same");
    world.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cfg", "namespace": "shop"}, "data": {"a": "1"}}));
    world.apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {"app": "web"}}}));
    world.apply(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "else", "namespace": "shop"}, "spec": {"selector": {"app": "else"}}}));
    assert_eq!(kinds(&world), ["ConfigMap", "Service", "Deployment"]);
    let epoch = &world
        .get("Assignment", &assignment(&target, &key.name))
        .unwrap()["spec"]["epoch"];
    assert_eq!(epoch, 1, "an edit is no new decision");
}

#[test]
fn too_large_waits_and_says_so() {
    let mut world = world(json!({}));
    let pod = json!({"volumes": [{"name": "v", "configMap": {"name": "cfg"}}]});
    let config = |size: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cfg", "namespace": "shop"}, "data": {"a": "x".repeat(size)}});
    world.apply(config(600_000));
    world.apply(deployment("web", 2, pod));
    let key = workload(&known::DEPLOYMENT, "web");
    let status = &world.get("Workload", &key).unwrap()["status"];
    assert_eq!(status["reason"], "Impossible");
    assert!(text(status, "/message").contains("512 KiB"), "{status}");
    world.apply(config(10));
    assert_eq!(
        world.get("Workload", &key).unwrap()["status"]["state"],
        "Assigned"
    );
}

#[test]
fn the_fence_is_raised_before_anything_is_started() {
    let mut world = World::new(7);
    world.apply(placement(json!({})));
    world.apply(job("train", 1));
    world.target("eu");
    let key = workload(&known::JOB, "train");
    let position = |line: &str| world.writes.iter().position(|one| one == line);
    let fence = position("merge Inventory inhaul-target-eu/inventory").expect("raised");
    let start = position(&format!("create Assignment inhaul-target-eu/{}", key.name))
        .expect("woken by the target");
    assert!(fence < start, "{:?}", world.writes);
    assert_eq!(
        world
            .get(
                "Inventory",
                &ObjectKey::new("inhaul-target-eu", "inventory")
            )
            .unwrap()["spec"]["minTerm"],
        7
    );
}

#[test]
fn a_lost_target_is_replaced_after_its_time_where_two_may_run() {
    let mut world =
        world(json!({"strategy": "Gang", "failover": {"mode": "Overlap", "after": "60s"}}));
    // More than one target is left, or the fault would be the hub's.
    world.target("as");
    world.apply(deployment("web", 2, json!({})));
    let key = workload(&known::DEPLOYMENT, "web");
    let first = text(
        world.get("Workload", &key).unwrap(),
        "/spec/assignments/0/target",
    );
    world.report(&first, &key.name, "Healthy", &json!({}));
    let others: Vec<&str> = ["as", "eu", "us"]
        .into_iter()
        .filter(|name| *name != first)
        .collect();
    let active = |world: &World| -> Vec<String> {
        let there = |name: &&&str| {
            world
                .get("Assignment", &assignment(name, &key.name))
                .is_some_and(|one| one["spec"]["state"] == "Active")
        };
        ["as", "eu", "us"]
            .iter()
            .filter(there)
            .map(|name| (*name).to_owned())
            .collect()
    };
    for seconds in [20, 20, 15] {
        world.wait(Duration::from_secs(seconds));
        others.iter().for_each(|name| world.beat(name));
    }
    assert_eq!(
        active(&world),
        std::slice::from_ref(&first),
        "55 s after the last renewal"
    );
    world.wait(Duration::from_secs(6));
    let now = active(&world);
    assert!(now.len() == 1 && now[0] != first, "{now:?}");
}

#[test]
fn another_object_of_the_same_name_waits_for_the_old_one() {
    let mut world = world(json!({"strategy": "Gang"}));
    world.apply(job("train", 1));
    let key = workload(&known::JOB, "train");
    let target = text(
        world.get("Workload", &key).unwrap(),
        "/spec/assignments/0/target",
    );
    let old = text(world.get("Workload", &key).unwrap(), "/spec/root/uid");
    world.delete("Job", &ObjectKey::new("shop", "train"));
    world.apply(job("train", 1));
    assert_eq!(
        text(world.get("Workload", &key).unwrap(), "/spec/root/uid"),
        old
    );
    world.report(&target, &key.name, "Removed", &json!({}));
    let new = world.get("Workload", &key).unwrap();
    assert_ne!(text(new, "/spec/root/uid"), old);
    assert_eq!(new["status"]["state"], "Assigned");
}

#[test]
fn a_placement_that_goes_takes_nothing_with_it() {
    let change = json!({"patch": [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "mirror"}]});
    let mut world = world(json!({"failover": {"mode": "Never"}, "overrides": [change]}));
    world.apply(deployment("web", 4, json!({})));
    let key = workload(&known::DEPLOYMENT, "web");
    let before = world
        .get("Assignment", &assignment("eu", &key.name))
        .unwrap()
        .clone();
    assert_eq!(
        before
            .pointer("/spec/manifests/0/object/spec/template/spec/containers/0/image")
            .unwrap(),
        "mirror"
    );
    world.delete("Placement", &ObjectKey::cluster("p"));
    let there = world.get("Workload", &key).unwrap();
    assert_eq!(
        (text(there, "/status/state"), text(there, "/status/reason")),
        ("Assigned".to_owned(), "NoPlacement".to_owned())
    );
    assert_eq!(text(there, "/spec/failover/mode"), "Never");
    assert_eq!(
        world.get("Assignment", &assignment("eu", &key.name)),
        Some(&before)
    );
    world.restart(2);
    assert_eq!(writes(&mut world), Vec::<String>::new());
    world.apply(job("new", 1));
    assert_eq!(
        writes(&mut world),
        Vec::<String>::new(),
        "nobody selects it"
    );
    world.apply(placement(json!({"failover": {"mode": "Never"}})));
    assert!(world.get("Workload", &key).unwrap()["status"]["reason"].is_null());
    let after = world
        .get("Assignment", &assignment("eu", &key.name))
        .unwrap();
    assert_eq!(
        after
            .pointer("/spec/manifests/0/object/spec/template/spec/containers/0/image")
            .unwrap(),
        "i"
    );
}
