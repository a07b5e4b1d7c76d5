//! Devices: claims (DRA) that the member's own scheduler allocates on the node that was decided, partitions, shares.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use placement_api::api_type::{ApiType, ObjectKey, known};
use placement_api::kinds::api;
use serde_json::{Value, json};
use testbed::fleet::FleetSpec;
use testbed::nodes::Description;
use testbed::rig::{Rig, RigTarget, eventually};

use crate::case::{Case, DEPLOYMENT, EU, JOB, US, calm, container, run, start};

const CLAIM: &ApiType = &known::RESOURCE_CLAIM;
const SLICE: &ApiType = &known::RESOURCE_SLICE;

/// A fleet with devices in all ways: the tests here share it, and it ends with the last of them.
fn rig() -> Arc<Rig> {
    static RIG: Mutex<Weak<Rig>> = Mutex::new(Weak::new());
    let mut running = RIG.lock().expect("no panic");
    running.upgrade().unwrap_or_else(|| {
        let nodes = Description::parse(include_str!("../../nodes/dra.yaml")).expect("the nodes");
        let targets = vec![
            RigTarget::new(EU, "member1", &["region=eu"]),
            RigTarget::new(US, "member2", &["region=us"]),
        ];
        let mut spec = calm(targets, 0);
        spec.fleet = FleetSpec::with_nodes(2, &nodes);
        let rig = start(spec);
        *running = Arc::downgrade(&rig);
        rig
    })
}

async fn case(name: &str, placement: Value) -> Result<Case> {
    Case::on(&rig(), name, placement).await
}

/// A template of claims with these requests.
async fn template(case: &Case, name: &str, requests: Value) -> Result<()> {
    case.apply(json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
        "metadata": {"name": name, "namespace": case.namespace},
        "spec": {"spec": {"devices": {"requests": requests}}},
    }))
    .await
}

fn exactly(class: &str, fields: Value) -> Value {
    let mut exactly = json!({"deviceClassName": class});
    exactly
        .as_object_mut()
        .expect("an object")
        .extend(fields.as_object().expect("an object").clone());
    json!([{"name": "gpu", "exactly": exactly}])
}

/// The same object with a claim from a template for each pod.
fn claiming(mut object: Value, template: &str) -> Value {
    let spec = &mut object["spec"]["template"]["spec"];
    spec["resourceClaims"] = json!([{"name": "gpu", "resourceClaimTemplateName": template}]);
    spec["containers"][0]["resources"]["claims"] = json!([{"name": "gpu"}]);
    object
}

/// Allocated devices in this namespace, as `node/device` (pools have the names of their nodes).
async fn allocated(case: &Case, target: &str) -> Result<Vec<String>> {
    let claims = case
        .member(target)
        .list(CLAIM, Some(&case.namespace), None)
        .await?;
    let results = claims.iter().flat_map(|claim| {
        let results = claim["status"]["allocation"]["devices"]["results"].as_array();
        results.cloned().unwrap_or_default()
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(results
        .map(|one| format!("{}/{}", text(&one["pool"]), text(&one["device"])))
        .collect())
}

/// Nodes of the running pods of this namespace.
async fn nodes(case: &Case, target: &str) -> Result<Vec<String>> {
    let pods = case
        .member(target)
        .list(&known::POD, Some(&case.namespace), None)
        .await?;
    let running = pods
        .iter()
        .filter(|pod| pod["status"]["phase"] == "Running");
    let mut nodes: Vec<String> = running
        .map(|pod| {
            pod["spec"]["nodeName"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    nodes.sort();
    Ok(nodes)
}

async fn inventory(target: &str) -> Result<Value> {
    let key = ObjectKey::new(format!("inhaul-target-{target}"), "inventory");
    let found = rig().hub().get(&api::INVENTORIES, &key).await?;
    found.context("no inventory")
}

/// A driver's devices on a node that had none.
fn slice(node: &str, driver: &str, taint: Option<&str>) -> Value {
    let mut device = json!({"name": "dev-0", "attributes": {"model": {"string": "x1"}}});
    if let Some(effect) = taint {
        device["taints"] =
            json!([{"key": "example.com/unhealthy", "value": "fan", "effect": effect}]);
    }
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
        "metadata": {"name": format!("{node}-{driver}")},
        "spec": {"driver": driver, "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}, "devices": [device]},
    })
}

fn class(driver: &str) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": driver},
        "spec": {"selectors": [{"cel": {"expression": format!("device.driver == \"{driver}\"")}}]},
    })
}

#[test]
fn a_claim_is_allocated_on_the_node_that_was_decided() {
    run(async {
        let case = case("claim", json!({"strategy": "Gang"})).await?;
        // Only the node in us has two of them.
        let selector = r#"device.attributes["gpu.example.com"].productName.startsWith("NVIDIA-A100") && device.capacity["gpu.example.com"].memory.compareTo(quantity("40Gi")) >= 0"#;
        template(
            &case,
            "two",
            exactly(
                "gpu.example.com",
                json!({"count": 2, "selectors": [{"cel": {"expression": selector}}]}),
            ),
        )
        .await?;
        case.apply(claiming(case.job("train", 1, 0, "20m"), "two"))
            .await?;
        eventually("it runs with both devices", || async {
            let (nodes, devices) = (nodes(&case, US).await?, allocated(&case, US).await?);
            let devices: BTreeSet<String> = devices.into_iter().collect();
            ensure!(nodes == ["a100-1"], "{nodes:?}");
            let both = ["a100-1/gpu-0", "a100-1/gpu-1"].map(str::to_owned);
            ensure!(devices == BTreeSet::from(both), "{devices:?}");
            Ok(())
        })
        .await?;
        let workload = case
            .workload("batch", "Job", "train")
            .await?
            .context("no Workload")?;
        let assignment = &workload["spec"]["assignments"][0];
        ensure!(
            assignment["target"] == US && assignment["nodes"][0]["name"] == "a100-1",
            "{assignment}"
        );
        let template = case
            .member(US)
            .there(&known::RESOURCE_CLAIM_TEMPLATE, &case.key("two"))
            .await?;
        ensure!(
            template["metadata"]["labels"]["inhaul.dev/hub"].is_string(),
            "it travels as one of ours"
        );
        let claims = case
            .member(US)
            .list(CLAIM, Some(&case.namespace), None)
            .await?;
        ensure!(
            claims[0]["metadata"]["labels"]["inhaul.dev/hub"].is_null(),
            "the claim is the member's own"
        );
        ensure!(
            case.member(EU)
                .get(&known::RESOURCE_CLAIM_TEMPLATE, &case.key("two"))
                .await?
                .is_none(),
            "and nowhere else"
        );
        // The inventory knows; nobody else gets them.
        eventually("they are counted as taken", || async {
            let found = inventory(US).await?;
            let node = found["status"]["nodes"]
                .as_array()
                .and_then(|all| all.iter().find(|one| one["name"] == "a100-1").cloned());
            let taken: i64 = node.context("no node")?["devices"]["taken"]
                .as_array()
                .map_or(0, |all| all.iter().filter_map(Value::as_i64).sum());
            ensure!(taken == 2, "{taken}");
            Ok(())
        })
        .await?;
        case.apply(claiming(case.job("late", 1, 0, "1s"), "two"))
            .await?;
        let message = case
            .waits("batch", "Job", "late", "InsufficientCapacity")
            .await?;
        ensure!(message.contains("gpu.example.com"), "{message}");
        case.hub().delete(JOB, &case.key("train")).await?;
        case.on_hub(JOB, "late", "it gets them when they are free", |job| {
            job["status"]["succeeded"] == 1
        })
        .await?;
        Ok(())
    });
}

#[test]
fn no_device_is_given_to_two() {
    run(async {
        let case = case("devices-once", json!({"strategy": "Gang"})).await?;
        let h100 = json!([{"cel": {"expression": r#"device.attributes["gpu.example.com"].productName == "NVIDIA-H100-80GB-HBM3""#}}]);
        template(
            &case,
            "one",
            exactly("gpu.example.com", json!({"selectors": h100})),
        )
        .await?;
        let jobs: Vec<String> = (0..10).map(|i| format!("j{i}")).collect();
        try_join_all(
            jobs.iter()
                .map(|name| case.apply(claiming(case.job(name, 1, 0, "3s"), "one"))),
        )
        .await?;
        eventually("ten have run on four devices, in turns", || async {
            let devices = allocated(&case, EU).await?;
            let different: BTreeSet<&String> = devices.iter().collect();
            assert_eq!(different.len(), devices.len(), "VIOLATION: {devices:?}");
            let waiting = case
                .member(EU)
                .list(&known::POD, Some(&case.namespace), None)
                .await?;
            let unschedulable = waiting.iter().any(|pod| {
                let conditions = pod["status"]["conditions"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                conditions
                    .iter()
                    .any(|one| one["reason"] == "Unschedulable")
            });
            assert!(
                !unschedulable,
                "VIOLATION: the member's scheduler had no device for a pod that was let go"
            );
            let done = case.hub().list(JOB, Some(&case.namespace), None).await?;
            let done = done
                .iter()
                .filter(|job| job["status"]["succeeded"] == 1)
                .count();
            ensure!(done == jobs.len(), "{done} have run");
            Ok(())
        })
        .await
    });
}

#[test]
fn a_prioritised_list_falls_back() {
    run(async {
        let case = case("devices-list", json!({"strategy": "Gang"})).await?;
        // Four on one node are nowhere; one partition is.
        template(&case, "list", json!([{"name": "gpu", "firstAvailable": [
            {"name": "four", "deviceClassName": "gpu.example.com", "count": 4},
            {"name": "part", "deviceClassName": "mig.dyn.example.com", "selectors": [{"cel": {"expression": "device.attributes[\"dyn.example.com\"].profile == \"1g.10gb\""}}]},
        ]}])).await?;
        case.apply(claiming(case.job("train", 1, 0, "20m"), "list"))
            .await?;
        eventually("it runs with the part", || async {
            let devices = allocated(&case, EU).await?;
            ensure!(
                devices.len() == 1 && devices[0].starts_with("cut-1/gpu-0-mig-1g-10gb"),
                "{devices:?}"
            );
            ensure!(nodes(&case, EU).await? == ["cut-1"]);
            Ok(())
        })
        .await
    });
}

#[test]
fn who_finds_no_device_runs_when_one_appears() {
    run(async {
        let case = case("devices-none", json!({"strategy": "Gang"})).await?;
        template(&case, "fpga", exactly("fpga.example.com", json!({}))).await?;
        case.apply(claiming(case.job("synth", 1, 0, "1s"), "fpga"))
            .await?;
        let message = case.waits("batch", "Job", "synth", "NoDevice").await?;
        ensure!(
            message.contains("no node has devices of class fpga.example.com"),
            "{message}"
        );
        let member = case.member(US);
        member.apply(&class("fpga.example.com").to_string()).await?;
        member
            .apply(&slice("cpu-1", "fpga.example.com", None).to_string())
            .await?;
        case.on_hub(JOB, "synth", "it has run", |job| {
            job["status"]["succeeded"] == 1
        })
        .await?;
        Ok(())
    });
}

#[test]
fn an_unhealthy_device_is_no_capacity() {
    run(async {
        let case = case("devices-sick", json!({"strategy": "Gang"})).await?;
        let member = case.member(EU);
        member.apply(&class("npu.example.com").to_string()).await?;
        member
            .apply(&slice("cpu-2", "npu.example.com", Some("NoSchedule")).to_string())
            .await?;
        template(&case, "npu", exactly("npu.example.com", json!({}))).await?;
        case.apply(claiming(case.job("infer", 1, 0, "1s"), "npu"))
            .await?;
        let message = case
            .waits("batch", "Job", "infer", "TaintNotTolerated")
            .await?;
        ensure!(
            message.contains("example.com/unhealthy=fan:NoSchedule"),
            "{message}"
        );
        let counted = |found: &Value| {
            let devices = found["status"]["devices"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            devices
                .iter()
                .find(|one| one["resource"] == "npu.example.com")
                .and_then(|one| one["total"].as_i64())
        };
        ensure!(
            counted(&inventory(EU).await?) == Some(0),
            "it is not counted"
        );
        let key = ObjectKey::cluster("cpu-2-npu.example.com");
        let healthy = slice("cpu-2", "npu.example.com", None);
        member
            .patch(
                SLICE,
                &key,
                &json!({"spec": {"devices": healthy["spec"]["devices"]}}),
            )
            .await?;
        case.on_hub(JOB, "infer", "it has run", |job| {
            job["status"]["succeeded"] == 1
        })
        .await?;
        Ok(())
    });
}

#[test]
fn partitions_are_counted_by_what_they_use_up() {
    run(async {
        let case = case("devices-mig", json!({"strategy": "Gang"})).await?;
        let profile = json!([{"cel": {"expression": r#"device.attributes["dyn.example.com"].profile == "3g.40gb""#}}]);
        template(
            &case,
            "large",
            exactly("mig.dyn.example.com", json!({"selectors": profile})),
        )
        .await?;
        // Other tests have a small part of the same GPU: then one fits, else two; never three.
        let names = ["a", "b", "c"];
        for name in names {
            case.apply(claiming(case.job(name, 1, 0, "4s"), "large"))
                .await?;
        }
        eventually("all have run, in turns", || async {
            let devices = allocated(&case, EU).await?;
            let different: BTreeSet<&String> = devices.iter().collect();
            assert!(
                different.len() == devices.len() && devices.len() <= 2,
                "VIOLATION: {devices:?}"
            );
            let done = case.hub().list(JOB, Some(&case.namespace), None).await?;
            let done = done
                .iter()
                .filter(|job| job["status"]["succeeded"] == 1)
                .count();
            ensure!(done == names.len(), "{done} have run");
            Ok(())
        })
        .await
    });
}

#[test]
fn shares_of_a_device_and_what_stands_behind_them() {
    run(async {
        let case = case("devices-shared", json!({})).await?;
        let mut web = case.deployment("web", 3);
        let limits = [("nvidia.com/gpu.shared", "1".to_owned())];
        web["spec"]["template"]["spec"]["containers"] = json!([container("10m", &limits)]);
        case.apply(web).await?;
        let mut part = case.deployment("part", 2);
        let limits = [("nvidia.com/mig-1g.10gb", "1".to_owned())];
        part["spec"]["template"]["spec"]["containers"] = json!([container("10m", &limits)]);
        case.apply(part).await?;
        case.on_hub(DEPLOYMENT, "web", "three share one GPU", |d| {
            d["status"]["readyReplicas"] == 3
        })
        .await?;
        case.on_hub(DEPLOYMENT, "part", "two have parts of one", |d| {
            d["status"]["readyReplicas"] == 2
        })
        .await?;
        ensure!(nodes(&case, US).await? == ["shared-1"; 3]);
        ensure!(nodes(&case, EU).await? == ["mixed-1"; 2]);
        let found = |inventory: &Value, resource: &str| {
            let devices = inventory["status"]["devices"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let one = devices.into_iter().find(|one| one["resource"] == resource);
            let one = one.unwrap_or_default();
            (
                one["sharing"].as_str().unwrap_or_default().to_owned(),
                one["total"].as_i64(),
                one["physical"].as_i64(),
            )
        };
        let (eu, us) = (inventory(EU).await?, inventory(US).await?);
        for (inventory, resource, sharing, total) in [
            (&us, "nvidia.com/gpu.shared", "TimeSliced", 4),
            (&eu, "nvidia.com/mig-1g.10gb", "MIG", 4),
            (&eu, "nvidia.com/gpu", "MIG", 4),
        ] {
            let found = found(inventory, resource);
            ensure!(
                found == (sharing.to_owned(), Some(total), Some(1)),
                "{resource}: {found:?}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_device_by_its_extended_resource() {
    run(async {
        let case = case("devices-extended", json!({"strategy": "Gang"})).await?;
        let mut job = case.job("train", 1, 0, "1s");
        let limits = [("example.com/gpu", "1".to_owned())];
        job["spec"]["template"]["spec"]["containers"] = json!([container("10m", &limits)]);
        case.apply(job).await?;
        case.on_hub(JOB, "train", "it has run", |job| {
            job["status"]["succeeded"] == 1
        })
        .await?;
        let workload = case
            .workload("batch", "Job", "train")
            .await?
            .context("no Workload")?;
        ensure!(
            workload["spec"]["podSets"][0]["requests"]["example.com/gpu"] == "1",
            "{workload}"
        );
        Ok(())
    });
}

#[test]
fn an_expression_that_cannot_be_told_hurts_nobody_else() {
    run(async {
        let case = case("devices-cel", json!({"strategy": "Gang"})).await?;
        let odd = json!([{"cel": {"expression": r#"device.attributes["gpu.example.com"].productName.split("-")[0] == "NVIDIA""#}}]);
        template(
            &case,
            "odd",
            exactly("gpu.example.com", json!({"selectors": odd})),
        )
        .await?;
        case.apply(claiming(case.job("odd", 1, 0, "1s"), "odd"))
            .await?;
        let message = case.waits("batch", "Job", "odd", "Impossible").await?;
        ensure!(message.contains("split"), "{message}");
        case.apply(case.job("plain", 1, 0, "1s")).await?;
        case.on_hub(JOB, "plain", "it has run", |job| {
            job["status"]["succeeded"] == 1
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_quota_counts_what_claims_take() {
    run(async {
        let case = case("quota", json!({"strategy": "Gang", "queue": "t-claims"})).await?;
        let queue = |limit: &str| json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "t-claims"}, "spec": {"limit": {"example.com/quota": limit}}});
        case.apply(queue("1")).await?;
        // Devices that no other test uses.
        let driver = "quota.example.com";
        let mut devices = slice("cpu-2", driver, None);
        devices["spec"]["devices"] = json!([{"name": "dev-0"}, {"name": "dev-1"}]);
        let member = case.member(EU);
        member.apply(&devices.to_string()).await?;
        member.apply(&class(driver).to_string()).await?;
        template(&case, "whole", exactly(driver, json!({}))).await?;
        case.apply(claiming(case.job("first", 1, 0, "30m"), "whole"))
            .await?;
        let on_hub = |name: &'static str| {
            let case = &case;
            async move {
                case.on_hub(JOB, name, "it runs", |job| job["status"]["active"] == 1)
                    .await
            }
        };
        on_hub("first").await?;
        case.apply(claiming(case.job("second", 1, 0, "30m"), "whole"))
            .await?;
        let message = case.waits("batch", "Job", "second", "QueueLimit").await?;
        ensure!(
            message.contains("limit of 1 example.com/quota; 1 are used, 1 more are asked"),
            "{message}"
        );
        case.apply(queue("2")).await?;
        on_hub("second").await?;
        Ok(())
    });
}

#[test]
fn a_claim_that_workloads_share_is_charged_once() {
    run(async {
        let case = case(
            "together",
            json!({"strategy": "Gang", "queue": "t-together"}),
        )
        .await?;
        case.apply(json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "t-together"}, "spec": {"limit": {"example.com/together": "1"}}}))
            .await?;
        // Devices that no other test uses.
        let driver = "together.example.com";
        let mut devices = slice("cpu-2", driver, None);
        devices["spec"]["devices"] = json!([{"name": "dev-0"}, {"name": "dev-1"}]);
        let member = case.member(EU);
        member.apply(&devices.to_string()).await?;
        member.apply(&class(driver).to_string()).await?;
        template(&case, "own", exactly(driver, json!({}))).await?;
        case.apply(json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "metadata": {"name": "model", "namespace": case.namespace},
            "spec": {"devices": {"requests": exactly(driver, json!({}))}},
        }))
        .await?;
        let naming = |name: &str| {
            let mut job = claiming(case.job(name, 1, 0, "30m"), "own");
            job["spec"]["template"]["spec"]["resourceClaims"] =
                json!([{"name": "gpu", "resourceClaimName": "model"}]);
            job
        };
        let runs = |name: &'static str| {
            let case = &case;
            async move {
                case.on_hub(JOB, name, "it runs", |job| job["status"]["active"] == 1)
                    .await
            }
        };
        case.apply(naming("first")).await?;
        runs("first").await?;
        // Its device is taken by now; it has the same.
        case.apply(naming("second")).await?;
        runs("second").await?;
        eventually("both have one device", || async {
            let (nodes, devices) = (nodes(&case, EU).await?, allocated(&case, EU).await?);
            ensure!(nodes == ["cpu-2"; 2], "{nodes:?}");
            ensure!(devices.len() == 1, "{devices:?}");
            Ok(())
        })
        .await?;
        case.apply(claiming(case.job("third", 1, 0, "30m"), "own"))
            .await?;
        let message = case.waits("batch", "Job", "third", "QueueLimit").await?;
        ensure!(
            message.contains("queue t-together has a limit of 1 example.com/together"),
            "{message}"
        );
        // Who is left carries the claim, and then nobody does.
        case.hub().delete(JOB, &case.key("first")).await?;
        case.waits("batch", "Job", "third", "QueueLimit").await?;
        case.hub().delete(JOB, &case.key("second")).await?;
        runs("third").await?;
        Ok(())
    });
}
