//! The rules in the CRDs, each broken on purpose on a real API server.

use anyhow::{Result, ensure};
use placement_api::api_type::{ApiType, ObjectKey, known};
use placement_api::kinds::api;
use serde_json::{Value, json};

use crate::case::{run, shared};

const NS: &str = "t-kinds";

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: Value) -> Value {
    let mut metadata = json!({"name": name});
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn assignment(name: &str) -> Value {
    object(
        "Assignment",
        Some(NS),
        name,
        json!({"workload": {"kind": "Job", "namespace": NS, "name": "x", "uid": "u1"}, "epoch": 5, "term": 7, "digest": "d", "state": "Active"}),
    )
}

/// Creates an object, brings its status into place, then tries a patch that must be refused with these words,
/// on the object or its status, and finally one that must pass.
struct Attempt {
    api: ApiType,
    object: Value,
    status: Option<Value>,
    subresource: Option<&'static str>,
    patch: Value,
    refused_with: &'static str,
}

async fn attempt(a: Attempt) -> Result<()> {
    let hub = shared().hub().connection();
    let name = a.object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let namespace = a.object["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let key = ObjectKey::new(&namespace, &name);
    let _: Value = hub.create(&a.api, &namespace, &a.object, "test").await?;
    if let Some(status) = &a.status {
        let sub = (a.api.kind != "Workload").then_some("status");
        let _: Value = hub
            .merge_patch(&a.api, &key, sub, &json!({"status": status}), "test")
            .await?;
    }
    let before: Option<Value> = hub.get(&a.api, &key).await?;
    let outcome: Result<Value, _> = hub
        .merge_patch(&a.api, &key, a.subresource, &a.patch, "test")
        .await;
    let Err(error) = outcome else {
        anyhow::bail!("{} {name}: {} was accepted", a.api.kind, a.patch)
    };
    ensure!(error.code == Some(422), "{} {name}: {error}", a.api.kind);
    ensure!(
        error.message.contains(a.refused_with),
        "{} {name}: refused, but with {:?}",
        a.api.kind,
        error.message
    );
    let after: Option<Value> = hub.get(&a.api, &key).await?;
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    ensure!(
        same_where(&a.patch, &before, &after),
        "{} {name} has changed all the same",
        a.api.kind
    );
    shared().hub().delete(&a.api, &key).await
}

/// Whether two objects are alike in every field that a patch names; others may be written by Inhaul meanwhile.
fn same_where(patch: &Value, before: &Value, after: &Value) -> bool {
    match patch.as_object() {
        Some(fields) => fields
            .iter()
            .all(|(name, inner)| same_where(inner, &before[name], &after[name])),
        None => before == after,
    }
}

#[test]
fn older_is_refused_by_the_api_server() {
    run(async {
        shared()
            .hub()
            .apply(&format!(
                "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NS}}}}}"
            ))
            .await?;
        let root = json!({"kind": "Job", "namespace": NS, "name": "x", "uid": "u1"});
        let workload = |name: &str| {
            object(
                "Workload",
                Some(NS),
                name,
                json!({"root": root, "placement": "p", "queue": "default", "epoch": 5, "term": 7}),
            )
        };
        let inventory = |name: &str| {
            object(
                "Inventory",
                Some(NS),
                name,
                json!({"hubUID": "h", "target": "t", "minTerm": 3}),
            )
        };
        let target = |name: &str| object("SyncTarget", None, name, json!({}));
        let asg = |name: &str, patch: Value, refused_with| Attempt {
            api: api::ASSIGNMENTS,
            object: assignment(name),
            status: None,
            subresource: None,
            patch,
            refused_with,
        };
        let asg_status = |name: &str, status: Value, patch: Value, refused_with| Attempt {
            api: api::ASSIGNMENTS,
            object: assignment(name),
            status: Some(status),
            subresource: Some("status"),
            patch,
            refused_with,
        };
        let attempts = vec![
            asg(
                "term-falls",
                json!({"spec": {"term": 6}}),
                "spec.term never falls",
            ),
            asg("term-removed", json!({"spec": {"term": null}}), "spec.term"),
            asg(
                "epoch-falls",
                json!({"spec": {"epoch": 4}}),
                "spec.epoch never falls",
            ),
            asg(
                "epoch-removed",
                json!({"spec": {"epoch": null}}),
                "spec.epoch",
            ),
            asg(
                "identity",
                json!({"spec": {"workload": {"uid": "u2"}}}),
                "spec.workload is immutable",
            ),
            asg(
                "identity-removed",
                json!({"spec": {"workload": {"uid": null}}}),
                "spec.workload is immutable",
            ),
            Attempt {
                object: {
                    let mut tombstone = assignment("tombstone");
                    tombstone["spec"]["state"] = json!("Removed");
                    tombstone
                },
                ..asg(
                    "",
                    json!({"spec": {"state": "Active"}}),
                    "a tombstone stays",
                )
            },
            asg_status(
                "session-falls",
                json!({"session": 4, "epoch": 5}),
                json!({"status": {"session": 3}}),
                "status.session never falls",
            ),
            asg_status(
                "session-removed",
                json!({"session": 4, "epoch": 5}),
                json!({"status": {"session": null}}),
                "status.session never falls",
            ),
            asg_status(
                "status-removed",
                json!({"session": 4, "epoch": 5}),
                json!({"status": null}),
                "status.session never falls",
            ),
            asg_status(
                "status-epoch-falls",
                json!({"session": 4, "epoch": 5}),
                json!({"status": {"epoch": 4}}),
                "status.epoch never falls",
            ),
            asg_status(
                "finished-stays",
                json!({"session": 4, "epoch": 5, "phase": "Succeeded"}),
                json!({"status": {"phase": "Healthy"}}),
                "finished stays finished",
            ),
            asg_status(
                "finished-not-removed",
                json!({"session": 4, "epoch": 5, "phase": "Failed"}),
                json!({"status": {"phase": null}}),
                "finished stays finished",
            ),
            Attempt {
                api: api::WORKLOADS,
                object: workload("w-term"),
                status: None,
                subresource: None,
                patch: json!({"spec": {"term": 6}}),
                refused_with: "spec.term never falls",
            },
            Attempt {
                api: api::WORKLOADS,
                object: workload("w-epoch"),
                status: None,
                subresource: None,
                patch: json!({"spec": {"epoch": 1}}),
                refused_with: "spec.epoch never falls",
            },
            Attempt {
                api: api::WORKLOADS,
                object: workload("w-root"),
                status: None,
                subresource: None,
                patch: json!({"spec": {"root": {"name": "y"}}}),
                refused_with: "spec.root is immutable",
            },
            Attempt {
                api: api::WORKLOADS,
                object: workload("w-finished"),
                status: Some(json!({"state": "Finished"})),
                subresource: None,
                patch: json!({"status": {"state": "Pending"}}),
                refused_with: "finished stays finished",
            },
            Attempt {
                api: api::INVENTORIES,
                object: inventory("i-term"),
                status: None,
                subresource: None,
                patch: json!({"spec": {"minTerm": 2}}),
                refused_with: "spec.minTerm never falls",
            },
            Attempt {
                api: api::INVENTORIES,
                object: inventory("i-term-removed"),
                status: None,
                subresource: None,
                patch: json!({"spec": {"minTerm": null}}),
                refused_with: "spec.minTerm",
            },
            Attempt {
                api: api::INVENTORIES,
                object: inventory("i-hub"),
                status: None,
                subresource: None,
                patch: json!({"spec": {"hubUID": "other"}}),
                refused_with: "spec.hubUID is immutable",
            },
            Attempt {
                api: api::INVENTORIES,
                object: inventory("i-cluster"),
                status: Some(json!({"session": 1, "clusterUID": "c1"})),
                subresource: Some("status"),
                patch: json!({"status": {"clusterUID": "c2"}}),
                refused_with: "status.clusterUID is immutable",
            },
            Attempt {
                api: api::SYNC_TARGETS,
                object: target("t-kinds-cluster"),
                status: Some(json!({"clusterUID": "c1"})),
                subresource: Some("status"),
                patch: json!({"status": {"clusterUID": "c2"}}),
                refused_with: "status.clusterUID is immutable",
            },
            Attempt {
                api: api::SYNC_TARGETS,
                object: target("t-kinds-drain"),
                status: None,
                subresource: None,
                patch: json!({"spec": {"drain": true}}),
                refused_with: "spec.drain needs spec.unschedulable",
            },
        ];
        for one in attempts {
            attempt(one).await?;
        }
        Ok(())
    });
}

#[test]
fn what_people_write_wrong_is_refused_with_the_field() {
    run(async {
        let hub = shared().hub().connection();
        let refused = [
            (
                api::SYNC_TARGETS,
                object("SyncTarget", None, &"x".repeat(50), json!({})),
                "at most 49 characters",
            ),
            (
                api::FLEET_POLICIES,
                object("FleetPolicy", None, "mine", json!({})),
                "its name is \"default\"",
            ),
            (
                api::QUEUES,
                object("Queue", None, "self", json!({"parent": "self"})),
                "not its own parent",
            ),
            (
                api::PLACEMENTS,
                object(
                    "Placement",
                    None,
                    "bad-strategy",
                    json!({"strategy": "Everywhere"}),
                ),
                "spec.strategy",
            ),
            (
                api::PLACEMENTS,
                object(
                    "Placement",
                    None,
                    "bad-weights",
                    json!({"divide": {"by": "Weight"}}),
                ),
                "spec.divide.weights",
            ),
            (
                api::PLACEMENTS,
                object(
                    "Placement",
                    None,
                    "bad-spread",
                    json!({"spread": [{"topologyKey": "k", "minGroups": 3, "maxGroups": 2}]}),
                ),
                "minGroups must not exceed maxGroups",
            ),
            (
                api::PLACEMENTS,
                object(
                    "Placement",
                    None,
                    "no-level",
                    json!({"topology": {"mode": "Required"}}),
                ),
                "spec.topology.level",
            ),
        ];
        for (api, body, words) in refused {
            let outcome: Result<Value, _> = hub.create(&api, "", &body, "test").await;
            let Err(error) = outcome else {
                anyhow::bail!("{body} was accepted")
            };
            ensure!(error.code == Some(422), "{body}: {error}");
            ensure!(
                error.message.contains(words),
                "{body}: refused, but with {:?}",
                error.message
            );
        }
        Ok(())
    });
}

#[test]
fn newer_passes_and_defaults_are_filled_in() {
    run(async {
        shared()
            .hub()
            .apply(&format!(
                "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NS}}}}}"
            ))
            .await?;
        let hub = shared().hub();
        let _: Value = hub
            .connection()
            .create(&api::ASSIGNMENTS, NS, &assignment("newer"), "test")
            .await?;
        let key = ObjectKey::new(NS, "newer");
        let newer = hub
            .patch(
                &api::ASSIGNMENTS,
                &key,
                &json!({"spec": {"term": 8, "epoch": 6, "state": "Removed"}}),
            )
            .await?;
        ensure!(newer["spec"]["term"] == 8, "{newer}");
        let again = hub
            .patch(
                &api::ASSIGNMENTS,
                &key,
                &json!({"spec": {"epoch": 7, "state": "Active"}}),
            )
            .await?;
        ensure!(
            again["spec"]["state"] == "Active",
            "a newer epoch starts it again: {again}"
        );
        hub.delete(&api::ASSIGNMENTS, &key).await?;

        hub.apply(
            &object(
                "Queue",
                None,
                "t-kinds-defaults",
                json!({"guaranteed": {"cpu": 4, "nvidia.com/gpu": "8"}}),
            )
            .to_string(),
        )
        .await?;
        let queue = hub
            .there(&api::QUEUES, &ObjectKey::cluster("t-kinds-defaults"))
            .await?;
        for (field, value) in [
            ("weight", json!(1)),
            ("lend", json!(true)),
            ("order", json!("Age")),
            ("priority", json!(0)),
        ] {
            ensure!(
                queue["spec"][field] == value,
                "spec.{field} is {}",
                queue["spec"][field]
            );
        }
        hub.delete(&api::QUEUES, &ObjectKey::cluster("t-kinds-defaults"))
            .await?;
        Ok(())
    });
}

#[test]
fn kubectl_knows_short_names_columns_and_the_category() {
    run(async {
        let hub = shared().hub();
        for (short, column) in [
            ("st", "STATE"),
            ("loc", "TARGETS"),
            ("pl", "STRATEGY"),
            ("q", "WAITING"),
            ("wl", "WHERE"),
            ("asg", "PHASE"),
        ] {
            let args = ["get", short, "-A", "-o", "wide"];
            let table = hub.kubectl(&args, "").await?;
            // An empty table has no header; the shared fleet has targets at least.
            ensure!(
                table.is_empty() || table.contains(column),
                "{short}: {table}"
            );
            ensure!(short != "st" || table.contains("Ready"), "{short}: {table}");
        }
        let all = hub.kubectl(&["get", "inhaul", "-A"], "").await?;
        ensure!(all.contains("synctarget.inhaul.dev/eu"), "{all}");
        let columns = hub
            .get(
                &known::CUSTOM_RESOURCE_DEFINITION,
                &ObjectKey::cluster("workloads.inhaul.dev"),
            )
            .await?;
        let columns = columns.unwrap_or_default();
        ensure!(
            columns["spec"]["versions"][0]["subresources"].is_null(),
            "the Workload has one writer and no status subresource"
        );
        Ok(())
    });
}
