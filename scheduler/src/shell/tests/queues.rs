//! Queues as objects: what is wrong with them is said on them, and their numbers are written when they change.

use std::time::Duration;

use placement_api::api_type::{ObjectKey, known};
use serde_json::{Value, json};

use super::hub::{World, text, workload};

const SECOND: Duration = Duration::from_secs(1);

fn queue(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Queue", "metadata": {"name": name}, "spec": spec})
}

fn job(name: &str, queue: &str, pods: u32) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": "shop", "labels": {"inhaul.dev/queue": queue}},
        "spec": {"parallelism": pods, "completions": pods, "template": {"spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}}},
    })
}

/// One target with 8 CPUs in two nodes and a Placement that selects everything.
fn world(queues: &[Value]) -> World {
    let mut world = World::new(1);
    world.target("eu");
    world.apply(json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": "p"}, "spec": {}}));
    for queue in queues {
        world.apply(queue.clone());
    }
    world.wait(2 * SECOND);
    world.writes.clear();
    world
}

fn status(world: &World, name: &str) -> Value {
    let object = world.get("Queue", &ObjectKey::cluster(name)).expect(name);
    object["status"].clone()
}

#[test]
fn numbers_of_queues_are_written_once_a_second() {
    let mut world = world(&[
        queue("research", &json!({"guaranteed": {"cpu": "2"}})),
        queue(
            "vision",
            &json!({"parent": "research", "limit": {"cpu": "3"}}),
        ),
    ]);
    assert_eq!(status(&world, "vision")["conditions"][0]["status"], "True");
    world.apply(job("a", "vision", 2));
    world.apply(job("b", "vision", 2));
    assert!(
        !world.writes.iter().any(|write| write.contains("Queue")),
        "not at once: {:?}",
        world.writes
    );
    world.wait(SECOND);
    let vision = status(&world, "vision");
    assert_eq!(vision["used"]["cpu"], "2");
    assert_eq!(vision["entitled"]["cpu"], "3");
    assert_eq!(vision["waiting"], json!({"workloads": "1", "cpu": "2"}));
    assert_eq!(status(&world, "research")["used"]["cpu"], "2");
    let waits = world
        .get("Workload", &workload(&known::JOB, "b"))
        .expect("b");
    assert_eq!(text(waits, "/status/reason"), "QueueLimit");
    assert!(
        text(waits, "/status/message").contains("queue vision has a limit of 3 cpu"),
        "{}",
        text(waits, "/status/message")
    );
    // Room under the limit wakes it.
    world.apply(queue(
        "vision",
        &json!({"parent": "research", "limit": {"cpu": "4"}}),
    ));
    world.wait(2 * SECOND);
    let vision = status(&world, "vision");
    assert_eq!(vision["used"]["cpu"], "4");
    assert_eq!(vision.get("waiting"), None);
    world.writes.clear();
    for _ in 0..3 {
        world.wait(30 * SECOND);
        world.beat("eu");
    }
    assert!(world.writes.is_empty(), "silence: {:?}", world.writes);
}

#[test]
fn a_promised_start_is_shown_until_it_starts() {
    let mut world = world(&[]);
    let lasting = |name: &str, pods: u32| {
        let mut job = job(name, "default", pods);
        job["metadata"]["annotations"] = json!({"inhaul.dev/expected-runtime": "10m"});
        job
    };
    // Nodes are named, so that it is known what is free when somebody ends.
    world.apply(json!({
        "apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": "p"},
        "spec": {"topology": {"level": "kubernetes.io/hostname", "mode": "Required"}},
    }));
    for name in ["runs", "stays"] {
        world.apply(lasting(name, 4));
        let name = workload(&known::JOB, name).name;
        world.report("eu", &name, "Healthy", &json!({}));
    }
    let runs = workload(&known::JOB, "runs");
    world.apply(lasting("waits", 4));
    world.apply(lasting("behind", 4));
    let start = |world: &World, name: &str| {
        let key = workload(&known::JOB, name);
        let object = world.get("Workload", &key).expect(name);
        text(object, "/status/expectedStart")
    };
    assert_eq!(start(&world, "waits"), "2023-11-14T22:23:20Z");
    assert_eq!(start(&world, "behind"), "", "one of each queue");
    world.wait(SECOND);
    world.writes.clear();
    world.wait(30 * SECOND);
    world.beat("eu");
    assert!(world.writes.is_empty(), "silence: {:?}", world.writes);
    // What ran has ended: it starts, and nothing is promised any more.
    world.report(
        "eu",
        &runs.name,
        "Succeeded",
        &json!({"rootStatus": {"succeeded": 4}}),
    );
    world.wait(2 * SECOND);
    assert_eq!(start(&world, "waits"), "");
    let waits = workload(&known::JOB, "waits");
    let waits = world.get("Workload", &waits).expect("a Workload");
    assert_eq!(text(waits, "/status/state"), "Assigned");
}

#[test]
fn a_run_is_expected_to_take_as_long_as_its_earlier_ones() {
    let mut world = world(&[]);
    let spec = |world: &World, name: &str, field: &str| {
        let object = world.get("Workload", &workload(&known::JOB, name));
        text(object.expect(name), &format!("/spec/{field}"))
    };
    world.apply(json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": "p"}, "spec": {}}));
    let run = |world: &mut World, name: &str, minutes: u32, phase: &str| {
        world.apply(job(name, "default", 1));
        let key = workload(&known::JOB, name);
        let times = json!({"startTime": "2023-11-14T22:00:00Z", "completionTime": format!("2023-11-14T22:{minutes}:00Z")});
        world.report("eu", &key.name, phase, &json!({"rootStatus": times}));
        world.wait(SECOND);
    };
    run(&mut world, "train-1", 10, "Succeeded");
    run(&mut world, "train-2", 30, "Succeeded");
    // What failed has not run to its end.
    run(&mut world, "train-3", 59, "Failed");
    world.apply(job("train-4", "default", 1));
    assert_eq!(
        spec(&world, "train-4", "expectedRuntime"),
        "",
        "two say nothing"
    );
    // The third that ended well tells those who are there already, too.
    run(&mut world, "train-5", 20, "Succeeded");
    assert_eq!(spec(&world, "train-4", "expectedRuntime"), "30m");
    let runs = |world: &World, name: &str| {
        let object = world.get("Workload", &workload(&known::JOB, name));
        object.expect(name)["spec"]["pastRuns"].clone()
    };
    assert_eq!(runs(&world, "train-4"), 3);
    world.apply(job("other-1", "default", 1));
    assert_eq!(
        spec(&world, "other-1", "expectedRuntime"),
        "",
        "another series"
    );
    world.apply(job("train-6", "default", 2));
    assert_eq!(spec(&world, "train-6", "expectedRuntime"), "", "more pods");
    // A new leader knows it from those who have ended, and writes nothing.
    world.writes.clear();
    world.restart(2);
    world.wait(SECOND);
    let own = |write: &&String| write.contains("Workload");
    assert_eq!(world.writes.iter().find(own), None);
    world.apply(job("train-7", "default", 1));
    assert_eq!(spec(&world, "train-7", "expectedRuntime"), "30m");
    // Whoever says it himself is believed.
    let mut said = job("train-8", "default", 1);
    said["metadata"]["annotations"] = json!({"inhaul.dev/expected-runtime": "2h"});
    world.apply(said);
    assert_eq!(spec(&world, "train-8", "expectedRuntime"), "2h");
    assert!(runs(&world, "train-8").is_null());
}

#[test]
fn what_was_used_before_outlives_the_leader_and_is_written_with_other_numbers_only() {
    let mut world = world(&[queue("a", &json!({})), queue("b", &json!({}))]);
    world.apply(json!({
        "apiVersion": "inhaul.dev/v1alpha1", "kind": "FleetPolicy", "metadata": {"name": "default"},
        "spec": {"fairnessHalfLife": "24h"},
    }));
    world.apply(job("one", "a", 2));
    world.wait(SECOND);
    world.writes.clear();
    for _ in 0..240 {
        world.wait(30 * SECOND);
        world.beat("eu");
    }
    assert!(world.writes.is_empty(), "silence: {:?}", world.writes);
    // Something else changes two hours later.
    world.apply(job("two", "a", 1));
    world.wait(2 * SECOND);
    let past = status(&world, "a")["pastUse"].clone();
    assert_eq!(
        past["resources"]["cpu"], "3886m",
        "2 cores for 2 hours, faded a little: {past}"
    );
    assert!(status(&world, "b")["pastUse"].is_null());
    world.wait(3600 * SECOND);
    world.beat("eu");
    world.restart(2);
    world.wait(2 * SECOND);
    assert_eq!(world.writes, [] as [String; 0]);
    let shares = world.model.core.planner().shares();
    let queue = shares.tree().find("a").expect("a queue");
    let past = shares.past_use(queue).expect("past use");
    let cpu = past.resources["cpu"].as_f64();
    // 3.886 of an hour ago, and an hour of 3 cores since.
    assert!((6.7..6.8).contains(&cpu), "{cpu}");
}

#[test]
fn trouble_of_a_node_outlives_the_leader() {
    let mut world = world(&[]);
    world.apply(json!({
        "apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": "p"},
        "spec": {"topology": {"level": "kubernetes.io/hostname", "mode": "Required"}},
    }));
    let key = ObjectKey::new("inhaul-target-eu", "inventory");
    let inventory = world.all().find(|one| one["kind"] == "Inventory");
    let healthy = inventory.expect("an Inventory").clone();
    let mut broken = healthy.clone();
    broken["status"]["nodes"][0]["unusable"] = json!("NotReady");
    assert_eq!(healthy["metadata"]["name"], key.name.as_str());
    world.apply(broken);
    world.wait(2 * SECOND);
    world.apply(healthy);
    world.wait(2 * SECOND);
    let target = ObjectKey::cluster("eu");
    let trouble =
        |world: &World| world.get("SyncTarget", &target).expect("eu")["status"]["trouble"].clone();
    assert_eq!(trouble(&world)[0]["node"], "n1");
    assert_eq!(trouble(&world)[0]["weight"], 1024);
    world.restart(2);
    world.wait(2 * SECOND);
    assert_eq!(world.writes, [] as [String; 0]);
    world.apply(job("one", "default", 1));
    let one = world.get("Workload", &workload(&known::JOB, "one"));
    let nodes = &one.expect("a Workload")["spec"]["assignments"][0]["nodes"];
    assert_eq!(nodes[0]["name"], "n2", "n1 was lost a moment ago");
    // Three hours later it counts for nothing, and with the next change of the target it is forgotten.
    world.wait(4 * 3600 * SECOND);
    world.beat("eu");
    world.apply(job("two", "default", 1));
    world.wait(2 * SECOND);
    assert!(trouble(&world).is_null(), "{}", trouble(&world));
}

#[test]
fn a_broken_queue_says_so_and_its_workloads_wait() {
    let mut world = world(&[
        queue("lost", &json!({"parent": "nowhere"})),
        queue("minus", &json!({"guaranteed": {"cpu": "-1"}})),
        queue("odd", &json!({"limit": {"cpu": "a lot"}})),
        queue("below", &json!({"parent": "minus"})),
    ]);
    for (name, message) in [
        ("lost", "spec.parent: there is no queue \"nowhere\""),
        ("minus", "spec.guaranteed of cpu is -1"),
        ("odd", "a lot"),
    ] {
        let condition = &status(&world, name)["conditions"][0];
        assert_eq!(condition["status"], "False", "{name}");
        assert!(text(condition, "/message").contains(message), "{condition}");
    }
    assert_eq!(status(&world, "below")["conditions"][0]["status"], "True");
    world.apply(job("a", "lost", 1));
    world.apply(job("b", "below", 1));
    let a = world
        .get("Workload", &workload(&known::JOB, "a"))
        .expect("a");
    assert_eq!(text(a, "/status/reason"), "UnknownQueue");
    assert!(text(a, "/status/message").contains("nowhere"));
    let b = world
        .get("Workload", &workload(&known::JOB, "b"))
        .expect("b");
    assert_eq!(
        text(b, "/status/state"),
        "Assigned",
        "everybody else is served"
    );
    // Repaired: it starts.
    world.apply(queue("nowhere", &json!({})));
    let a = world
        .get("Workload", &workload(&known::JOB, "a"))
        .expect("a");
    assert_eq!(text(a, "/status/state"), "Assigned");
    world.wait(2 * SECOND);
    assert_eq!(status(&world, "lost")["conditions"][0]["status"], "True");
    world.delete("Queue", &ObjectKey::cluster("nowhere"));
    world.wait(2 * SECOND);
    assert_eq!(status(&world, "lost")["conditions"][0]["status"], "False");
}
