//! Objects of users: down to the members, their status up, and whatever people and members do to them.

use anyhow::{Context as _, ensure};
use placement_api::api_type::{ApiType, ObjectKey, known};
use placement_api::kinds::api;
use placement_api::names;
use serde_json::{Value, json};
use testbed::rig::eventually;

use crate::case::{ALL, CPU, Case, DEPLOYMENT, EU, JOB, US, container, env_from, run};

#[test]
fn registered_targets_are_ready_and_say_what_they_have() {
    run(async {
        let case = Case::new("registered", json!({})).await?;
        let eu = case.rig.target_state(EU, "Ready").await?;
        let status = eu.status.context("no status")?;
        ensure!(status.nodes == 7, "{} nodes", status.nodes);
        let gpus: i64 = status
            .devices
            .iter()
            .filter(|d| d.resource == "nvidia.com/gpu")
            .map(|d| d.total)
            .sum();
        ensure!(gpus == 32, "{gpus} GPUs");
        ensure!(status.cluster_uid.is_some(), "no identity");
        for kind in ["Registered", "Ready", "Schedulable", "APIsCompatible"] {
            ensure!(
                status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == kind && c.status == "True"),
                "{kind}: {:?}",
                status.conditions
            );
        }
        Ok(())
    });
}

#[test]
fn a_deployment_goes_down_and_its_status_comes_up() {
    run(async {
        let case = Case::new("deployment", json!({})).await?;
        case.apply(case.deployment("web", 4)).await?;
        let web = case
            .on_hub(
                DEPLOYMENT,
                "web",
                "four are ready on the hub's own object",
                |d| {
                    d["status"]["readyReplicas"] == 4
                        && d["status"]["observedGeneration"] == d["metadata"]["generation"]
                },
            )
            .await?;
        ensure!(web["status"]["availableReplicas"] == 4, "{}", web["status"]);
        let available = web["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Available" && c["status"] == "True");
        ensure!(available, "no Available condition: {}", web["status"]);
        let mut ready = 0;
        for target in ALL {
            if let Some(d) = case
                .member(target)
                .get(DEPLOYMENT, &case.key("web"))
                .await?
            {
                ready += d["status"]["readyReplicas"].as_i64().unwrap_or(0);
            }
        }
        ensure!(ready == 4, "{ready} ready on the members");
        Ok(())
    });
}

#[test]
fn a_stateful_set_a_job_and_their_services_go_down_and_up() {
    run(async {
        let case = Case::new("kinds-down", json!({"locations": []})).await?;
        case.apply(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": case.namespace},
            "spec": {"replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [container("10m", &[])]}}},
        }))
        .await?;
        case.apply(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": case.namespace},
            "spec": {"selector": {"app": "db"}, "ports": [{"port": 5432}]},
        }))
        .await?;
        case.apply(case.job("once", 2, 0, "1s")).await?;
        case.on_hub(
            &known::STATEFUL_SET,
            "db",
            "the StatefulSet is ready",
            |s| s["status"]["readyReplicas"] == 2,
        )
        .await?;
        let home = case.lands(&known::STATEFUL_SET, "db").await?;
        case.on_member(
            home,
            &known::SERVICE,
            "db",
            "the Service is beside it",
            |_| true,
        )
        .await?;
        let job = case
            .on_hub(JOB, "once", "the Job is complete", |j| {
                j["status"]["succeeded"] == 2
            })
            .await?;
        ensure!(
            job["status"]["completionTime"].is_string(),
            "{}",
            job["status"]
        );
        case.workload_is("batch", "Job", "once", "it is finished", |w| {
            w["status"]["state"] == "Finished"
        })
        .await?;
        Ok(())
    });
}

#[test]
fn config_maps_secrets_and_accounts_travel_and_follow_changes() {
    run(async {
        let case = Case::new("dependencies", json!({})).await?;
        let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": case.namespace}, "stringData": {"key": value}});
        case.apply(case.config_map("settings", "one")).await?;
        case.apply(secret("alpha")).await?;
        case.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner", "namespace": case.namespace}})).await?;
        let mut job = env_from(case.job("train", 1, 1, "30m"), &["settings"], &["key"]);
        job["spec"]["template"]["spec"]["serviceAccountName"] = json!("runner");
        case.apply(job).await?;
        let home = case.lands(JOB, "train").await?;
        case.on_member(
            home,
            &known::CONFIG_MAP,
            "settings",
            "the ConfigMap is there",
            |c| c["data"]["key"] == "one",
        )
        .await?;
        case.on_member(home, &known::SECRET, "key", "the Secret is there", |s| {
            s["data"]["key"] == "YWxwaGE="
        })
        .await?;
        case.on_member(
            home,
            &known::SERVICE_ACCOUNT,
            "runner",
            "the account is there",
            |_| true,
        )
        .await?;
        case.apply(case.config_map("settings", "two")).await?;
        case.apply(secret("beta")).await?;
        case.on_member(
            home,
            &known::CONFIG_MAP,
            "settings",
            "the ConfigMap follows",
            |c| c["data"]["key"] == "two",
        )
        .await?;
        case.on_member(home, &known::SECRET, "key", "the Secret follows", |s| {
            s["data"]["key"] == "YmV0YQ=="
        })
        .await?;
        // Its content is in no object but Secrets.
        for object in case
            .hub()
            .list(&api::ASSIGNMENTS, None, None)
            .await?
            .iter()
            .chain(&case.hub().list(&api::WORKLOADS, None, None).await?)
        {
            let text = object.to_string();
            ensure!(
                !text.contains("YmV0YQ==") && !text.contains("\"beta\""),
                "{} carries it",
                object["metadata"]["name"]
            );
        }
        Ok(())
    });
}

#[test]
fn what_has_no_pods_goes_to_every_target_when_it_is_selected_by_itself() {
    run(async {
        let kinds = json!([{"group": "", "kind": "ConfigMap"}, {"group": "", "kind": "Secret"},
            {"group": "", "kind": "Service"}, {"group": "", "kind": "ServiceAccount"}]);
        let case = Case::new("everywhere", json!({"resources": kinds})).await?;
        let object = |kind: &str, rest: Value| {
            let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "all", "namespace": case.namespace}});
            for (name, value) in rest.as_object().into_iter().flatten() {
                object[name.as_str()] = value.clone();
            }
            object
        };
        case.apply(object("ConfigMap", json!({"data": {"key": "value"}})))
            .await?;
        case.apply(object("Secret", json!({"stringData": {"key": "value"}})))
            .await?;
        case.apply(object(
            "Service",
            json!({"spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}),
        ))
        .await?;
        case.apply(object("ServiceAccount", json!({}))).await?;
        for target in ALL {
            let same = |what: &'static str| move |o: &Value| what.is_empty() || !o[what].is_null();
            case.on_member(
                target,
                &known::CONFIG_MAP,
                "all",
                "the ConfigMap is there",
                same("data"),
            )
            .await?;
            case.on_member(
                target,
                &known::SECRET,
                "all",
                "the Secret is there",
                same("data"),
            )
            .await?;
            case.on_member(
                target,
                &known::SERVICE,
                "all",
                "the Service is there",
                same("spec"),
            )
            .await?;
            case.on_member(
                target,
                &known::SERVICE_ACCOUNT,
                "all",
                "the account is there",
                same(""),
            )
            .await?;
            let root = case
                .member(target)
                .get(&known::CONFIG_MAP, &case.key("kube-root-ca.crt"))
                .await?
                .context("none")?;
            ensure!(
                root["metadata"]["labels"]["inhaul.dev/hub"].is_null(),
                "the member's own root certificate was taken"
            );
        }
        Ok(())
    });
}

#[test]
fn a_crd_and_its_object_in_one_go() {
    run(async {
        let case = Case::new("crd", json!({"resources": [
            {"group": "apiextensions.k8s.io", "kind": "CustomResourceDefinition"}, {"group": "test.inhaul.dev", "kind": "Boat"},
        ]}))
        .await?;
        // Cluster-scoped objects have no namespace: a Placement of their own selects them by label.
        case.hub()
            .apply(
                &json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": "t-crd-definitions"}, "spec": {
                    "resources": [{"group": "apiextensions.k8s.io", "kind": "CustomResourceDefinition"}],
                    "objectSelector": {"matchLabels": {"t": "crd"}}, "strategy": "Duplicate"}})
                .to_string(),
            )
            .await?;
        for admin in [
            case.hub(),
            case.member(EU),
            case.member(US),
            case.member(CPU),
        ] {
            admin
                .apply(
                    &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                        "metadata": {"name": "t-crd-boats", "labels": {"inhaul.dev/aggregate-to-agent": "true", "inhaul.dev/aggregate-to-scheduler": "true"}},
                        "rules": [{"apiGroups": ["test.inhaul.dev"], "resources": ["boats", "boats/status"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]}]})
                    .to_string(),
                )
                .await?;
        }
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "boats.test.inhaul.dev", "labels": {"t": "crd"}},
            "spec": {"group": "test.inhaul.dev", "scope": "Namespaced", "names": {"kind": "Boat", "plural": "boats", "singular": "boat"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
        let profile = json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "KindProfile", "metadata": {"name": "boats.test.inhaul.dev"}, "spec": {
            "group": "test.inhaul.dev", "kind": "Boat", "demand": [{"name": "crew", "count": "object.spec.crew", "requests": {"cpu": "10m"}}]}});
        let boat = json!({"apiVersion": "test.inhaul.dev/v1", "kind": "Boat", "metadata": {"name": "argo", "namespace": case.namespace}, "spec": {"crew": 3}});
        case.apply(profile).await?;
        case.apply(crd).await?;
        eventually("the hub serves the kind", || case.apply(boat.clone())).await?;
        const BOAT: ApiType = ApiType::namespaced("test.inhaul.dev", "v1", "Boat", "boats");
        case.lands(&BOAT, "argo").await?;
        Ok(())
    });
}

#[test]
fn deleted_on_the_hub_is_gone_on_the_member_and_then_the_workload() {
    run(async {
        let case = Case::new("delete", json!({})).await?;
        case.apply(case.config_map("settings", "x")).await?;
        case.apply(env_from(case.job("train", 1, 0, "30m"), &["settings"], &[]))
            .await?;
        let home = case.lands(JOB, "train").await?;
        case.on_member(
            home,
            &known::CONFIG_MAP,
            "settings",
            "its ConfigMap is there",
            |_| true,
        )
        .await?;
        let workload = case
            .workload("batch", "Job", "train")
            .await?
            .context("no Workload")?;
        let name = workload["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        case.hub().delete(JOB, &case.key("train")).await?;
        case.hub().gone(&api::WORKLOADS, &case.key(&name)).await?;
        // The Workload goes last: when it is gone the member is empty already.
        ensure!(
            case.member(home)
                .get(JOB, &case.key("train"))
                .await?
                .is_none(),
            "the Job is still on the member"
        );
        ensure!(
            case.member(home)
                .get(&known::CONFIG_MAP, &case.key("settings"))
                .await?
                .is_none(),
            "its ConfigMap is still there"
        );
        ensure!(
            case.hub()
                .get(&known::CONFIG_MAP, &case.key("settings"))
                .await?
                .is_some(),
            "the user's own ConfigMap is gone"
        );
        let pods = case
            .member(home)
            .list(&known::POD, Some(&case.namespace), None)
            .await?;
        ensure!(
            pods.iter()
                .all(|p| !p["metadata"]["deletionTimestamp"].is_null()),
            "{} pods are left",
            pods.len()
        );
        let assignment = ObjectKey::new(names::target_namespace(home), &name);
        case.hub().gone(&api::ASSIGNMENTS, &assignment).await
    });
}

#[test]
fn drift_on_the_member_is_repaired() {
    run(async {
        let case = Case::new("drift", json!({"strategy": "Gang"})).await?;
        case.apply(case.deployment("web", 2)).await?;
        let home = case.lands(DEPLOYMENT, "web").await?;
        let ready = |d: &Value| d["status"]["readyReplicas"] == 2;
        let first = case
            .on_member(home, DEPLOYMENT, "web", "it runs", ready)
            .await?;
        let member = case.member(home);
        let image = json!({"spec": {"replicas": 7, "template": {"spec": {"containers": [{"name": "main", "image": "registry.example/other:9"}]}}}});
        let _: Value = member
            .connection()
            .strategic_patch(DEPLOYMENT, &case.key("web"), None, &image, "meddler")
            .await?;
        case.on_member(home, DEPLOYMENT, "web", "the edit is undone", |d| {
            d["spec"]["replicas"] == 2
                && d["spec"]["template"]["spec"]["containers"][0]["image"]
                    == "registry.example/app:1"
        })
        .await?;
        member.delete(DEPLOYMENT, &case.key("web")).await?;
        case.on_member(home, DEPLOYMENT, "web", "it is there again", |d| {
            d["metadata"]["uid"] != first["metadata"]["uid"] && ready(d)
        })
        .await?;
        Ok(())
    });
}

#[test]
fn a_finished_job_is_never_started_again() {
    run(async {
        let case = Case::new("finished", json!({})).await?;
        case.apply(case.job("once", 1, 0, "1s")).await?;
        let home = case.lands(JOB, "once").await?;
        case.workload_is("batch", "Job", "once", "it is finished", |w| {
            w["status"]["state"] == "Finished"
        })
        .await?;
        case.member(home).delete(JOB, &case.key("once")).await?;
        case.member(home).gone(JOB, &case.key("once")).await?;
        // Whatever the agent would do it has done once something ordered later has arrived.
        case.apply(case.deployment("later", 1)).await?;
        case.on_hub(DEPLOYMENT, "later", "something ordered later runs", |d| {
            d["status"]["readyReplicas"] == 1
        })
        .await?;
        case.rig.kill_agent(home);
        case.rig.start_agent(home)?;
        case.apply(case.job("after", 1, 0, "1s")).await?;
        case.on_hub(
            JOB,
            "after",
            "something ordered after a restart is done",
            |j| j["status"]["succeeded"] == 1,
        )
        .await?;
        for target in ALL {
            ensure!(
                case.member(target)
                    .get(JOB, &case.key("once"))
                    .await?
                    .is_none(),
                "it was started again on {target}"
            );
        }
        let job = case
            .hub()
            .get(JOB, &case.key("once"))
            .await?
            .context("gone from the hub")?;
        ensure!(
            job["status"]["succeeded"] == 1,
            "its status is lost: {}",
            job["status"]
        );
        Ok(())
    });
}

#[test]
fn what_is_removed_on_the_hub_is_removed_on_the_member() {
    run(async {
        let case = Case::new("removed", json!({"strategy": "Gang"})).await?;
        let mut web = case.deployment("web", 1);
        web["metadata"]["labels"]["extra"] = json!("yes");
        web["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]);
        web["spec"]["template"]["spec"]["priority"] = Value::Null;
        web["spec"]["minReadySeconds"] = json!(1);
        case.apply(web).await?;
        let home = case.lands(DEPLOYMENT, "web").await?;
        case.on_member(home, DEPLOYMENT, "web", "all of it is there", |d| {
            d["metadata"]["labels"]["extra"] == "yes"
                && d["spec"]["minReadySeconds"] == 1
                && env_names(d) == ["A", "B"]
        })
        .await?;
        let mut web = case.deployment("web", 1);
        web["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "B", "value": "2"}]);
        case.apply(web).await?;
        case.on_member(
            home,
            DEPLOYMENT,
            "web",
            "label, field and variable are gone",
            |d| {
                d["metadata"]["labels"]["extra"].is_null()
                    && d["spec"]["minReadySeconds"].is_null()
                    && env_names(d) == ["B"]
            },
        )
        .await?;
        Ok(())
    });
}

fn env_names(deployment: &Value) -> Vec<&str> {
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
    env.into_iter()
        .flatten()
        .filter_map(|e| e["name"].as_str())
        .collect()
}

#[test]
fn finalizers_labels_and_annotations_of_others_survive() {
    run(async {
        let case = Case::new("others", json!({"strategy": "Gang"})).await?;
        case.apply(case.deployment("web", 1)).await?;
        let home = case.lands(DEPLOYMENT, "web").await?;
        let theirs = json!({"metadata": {"labels": {"their": "label"}, "annotations": {"their": "note"}, "finalizers": ["their.example/hold"]}});
        case.member(home)
            .patch(DEPLOYMENT, &case.key("web"), &theirs)
            .await?;
        case.apply(case.deployment("web", 3)).await?;
        let web = case
            .on_member(home, DEPLOYMENT, "web", "the change arrives", |d| {
                d["spec"]["replicas"] == 3
            })
            .await?;
        ensure!(
            web["metadata"]["labels"]["their"] == "label",
            "{}",
            web["metadata"]
        );
        ensure!(
            web["metadata"]["annotations"]["their"] == "note",
            "{}",
            web["metadata"]
        );
        ensure!(
            web["metadata"]["finalizers"] == json!(["their.example/hold"]),
            "{}",
            web["metadata"]
        );
        // The finalizer holds the deletion, and the Workload waits for it.
        let workload = case
            .workload("apps", "Deployment", "web")
            .await?
            .context("no Workload")?;
        let name = workload["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        case.hub().delete(DEPLOYMENT, &case.key("web")).await?;
        case.on_member(home, DEPLOYMENT, "web", "it is being deleted", |d| {
            !d["metadata"]["deletionTimestamp"].is_null()
        })
        .await?;
        ensure!(
            case.hub()
                .get(&api::WORKLOADS, &case.key(&name))
                .await?
                .is_some(),
            "the Workload is gone before the member is empty"
        );
        case.member(home)
            .patch(
                DEPLOYMENT,
                &case.key("web"),
                &json!({"metadata": {"finalizers": null}}),
            )
            .await?;
        case.hub().gone(&api::WORKLOADS, &case.key(&name)).await
    });
}

#[test]
fn two_placements_select_one_object() {
    run(async {
        let case = Case::new("two-placements", json!({"precedence": 0})).await?;
        for (name, target) in [("t-two-eu", EU), ("t-two-us", US)] {
            let region = if target == EU { "eu" } else { "us" };
            case.hub()
                .apply(
                    &json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Location", "metadata": {"name": name},
                        "spec": {"targetSelector": {"matchLabels": {"region": region}}}})
                    .to_string(),
                )
                .await?;
        }
        case.place(
            "t-two-high",
            json!({"precedence": 5, "locations": [{"name": "t-two-eu"}], "strategy": "Gang"}),
        )
        .await?;
        case.place(
            "t-two-specific",
            json!({"precedence": 5, "locations": [{"name": "t-two-us"}], "strategy": "Gang",
            "objectSelector": {"matchLabels": {"app": "special"}}}),
        )
        .await?;
        case.apply(case.deployment("plain", 1)).await?;
        case.apply(case.deployment("special", 1)).await?;
        ensure!(
            case.lands(DEPLOYMENT, "plain").await? == EU,
            "the higher precedence wins"
        );
        let special = case.lands(DEPLOYMENT, "special").await?;
        ensure!(special != EU, "the more specific wins");
        let workload = case
            .workload("apps", "Deployment", "special")
            .await?
            .context("no Workload")?;
        ensure!(
            workload["spec"]["placement"] == "t-two-specific",
            "{}",
            workload["spec"]["placement"]
        );
        let also = workload["spec"]["alsoSelectedBy"].to_string();
        ensure!(
            also.contains("t-two-high") && also.contains(&case.namespace),
            "{also}"
        );
        let explained = case
            .rig
            .inhaul(["explain", "deployment/special", "-n", &case.namespace])
            .await?;
        ensure!(
            explained.contains("t-two-specific") && explained.contains("t-two-high"),
            "{explained}"
        );
        Ok(())
    });
}

#[test]
fn two_workloads_share_a_config_map_until_the_last_goes() {
    run(async {
        let case = Case::new(
            "shared-map",
            json!({"strategy": "Gang", "locations": [{"name": "t-shared-map"}]}),
        )
        .await?;
        case.hub()
            .apply(
                &json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Location", "metadata": {"name": "t-shared-map"},
                    "spec": {"targetSelector": {"matchLabels": {"region": "eu"}}}})
                .to_string(),
            )
            .await?;
        case.apply(case.config_map("settings", "x")).await?;
        for name in ["one", "two"] {
            case.apply(env_from(case.deployment(name, 1), &["settings"], &[]))
                .await?;
            case.on_member(EU, DEPLOYMENT, name, "it runs", |d| {
                d["status"]["readyReplicas"] == 1
            })
            .await?;
        }
        case.hub().delete(DEPLOYMENT, &case.key("one")).await?;
        case.member(EU).gone(DEPLOYMENT, &case.key("one")).await?;
        case.apply(case.config_map("settings", "y")).await?;
        case.on_member(
            EU,
            &known::CONFIG_MAP,
            "settings",
            "it stays and follows",
            |c| c["data"]["key"] == "y",
        )
        .await?;
        case.hub().delete(DEPLOYMENT, &case.key("two")).await?;
        case.member(EU)
            .gone(&known::CONFIG_MAP, &case.key("settings"))
            .await
    });
}

#[test]
fn replicas_that_an_autoscaler_sets_follow() {
    run(async {
        let case = Case::new("autoscaler", json!({})).await?;
        case.apply(case.deployment("web", 2)).await?;
        case.on_hub(DEPLOYMENT, "web", "two run", |d| {
            d["status"]["readyReplicas"] == 2
        })
        .await?;
        for replicas in [9, 3] {
            // As a HorizontalPodAutoscaler does it: through the scale subresource.
            let scale = json!({"spec": {"replicas": replicas}});
            let _: Value = case
                .hub()
                .connection()
                .merge_patch(
                    DEPLOYMENT,
                    &case.key("web"),
                    Some("scale"),
                    &scale,
                    "autoscaler",
                )
                .await?;
            case.on_hub(DEPLOYMENT, "web", "it follows", |d| {
                d["status"]["readyReplicas"] == replicas && d["status"]["replicas"] == replicas
            })
            .await?;
        }
        Ok(())
    });
}

#[test]
fn what_a_controller_owns_is_not_selected_by_itself() {
    run(async {
        let case = Case::new("owned", json!({})).await?;
        case.apply(case.config_map("owner", "x")).await?;
        let owner = case
            .hub()
            .there(&known::CONFIG_MAP, &case.key("owner"))
            .await?;
        let mut owned = case.job("owned", 1, 0, "30m");
        owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "controller": true}]);
        case.apply(owned).await?;
        case.apply(case.job("free", 1, 0, "30m")).await?;
        case.lands(JOB, "free").await?;
        ensure!(
            case.workload("batch", "Job", "owned").await?.is_none(),
            "it has a Workload"
        );
        ensure!(
            case.targets_of(JOB, "owned", &ALL).await?.is_empty(),
            "it is on a member"
        );
        Ok(())
    });
}

#[test]
fn of_failing_pods_the_cause_goes_up() {
    run(async {
        let case = Case::new("failing", json!({})).await?;
        let mut job = case.job("broken", 1, 0, "1s");
        job["spec"]["template"]["metadata"]["annotations"]["testbed.inhaul.dev/fail"] =
            json!("true");
        case.apply(job).await?;
        case.on_hub(JOB, "broken", "it has failed", |j| {
            j["status"]["failed"] == 1
        })
        .await?;
        let explained = eventually("explain shows the exit code", || async {
            let text = case
                .rig
                .inhaul(["explain", "job/broken", "-n", &case.namespace])
                .await?;
            ensure!(
                text.contains("exit code 1") || text.contains("exit 1"),
                "{text}"
            );
            Ok(text)
        })
        .await?;
        ensure!(explained.contains("broken"), "{explained}");
        Ok(())
    });
}

#[test]
fn objects_that_are_not_our_business_stay_where_they_are() {
    run(async {
        let case = Case::new(
            "unselected",
            json!({"objectSelector": {"matchLabels": {"place": "me"}}}),
        )
        .await?;
        case.apply(case.deployment("stay", 1)).await?;
        let mut go = case.deployment("go", 1);
        go["metadata"]["labels"]["place"] = json!("me");
        case.apply(go).await?;
        case.on_hub(DEPLOYMENT, "go", "what is selected runs", |d| {
            d["status"]["readyReplicas"] == 1
        })
        .await?;
        ensure!(
            case.workload("apps", "Deployment", "stay").await?.is_none(),
            "it has a Workload"
        );
        ensure!(
            case.targets_of(DEPLOYMENT, "stay", &ALL).await?.is_empty(),
            "it is on a member"
        );
        Ok(())
    });
}
