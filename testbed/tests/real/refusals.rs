//! The member has the last word: what it refuses goes elsewhere, with its own message.

use anyhow::{Context as _, Result, ensure};
use placement_api::api_type::known;
use serde_json::{Value, json};

use crate::case::{ALL, Case, DEPLOYMENT, EU, JOB, container, run};

#[test]
fn a_foreign_object_of_the_same_name_is_not_touched_and_says_so() {
    run(async {
        let case = Case::new("foreign", json!({"strategy": "Gang"})).await?;
        let mut before = Vec::new();
        for target in ALL {
            let member = case.member(target);
            member
                .apply(&format!(
                    "{{apiVersion: v1, kind: Namespace, metadata: {{name: {}}}}}",
                    case.namespace
                ))
                .await?;
            member
                .apply(&case.config_map("settings", "theirs").to_string())
                .await?;
            before.push(
                member
                    .there(&known::CONFIG_MAP, &case.key("settings"))
                    .await?,
            );
        }
        case.apply(case.config_map("settings", "ours")).await?;
        case.apply(crate::case::env_from(
            case.deployment("web", 1),
            &["settings"],
            &[],
        ))
        .await?;
        let message = case
            .waits("apps", "Deployment", "web", "RefusedByTarget")
            .await?;
        ensure!(
            message.contains("settings"),
            "it does not name the object: {message}"
        );
        for (target, before) in ALL.iter().zip(before) {
            let now = case
                .member(target)
                .there(&known::CONFIG_MAP, &case.key("settings"))
                .await?;
            ensure!(now == before, "it was touched on {target}");
        }
        Ok(())
    });
}

/// A case whose work would rather be in eu than elsewhere, and has been there.
async fn rather_in_eu(name: &str) -> Result<Case> {
    let location = |of: &str| format!("t-{name}-{of}");
    let tiers = json!([{"name": location("eu")}, {"name": location("all")}]);
    let case = Case::new(name, json!({"strategy": "Gang", "locations": tiers})).await?;
    for (of, selector) in [
        ("eu", json!({"matchLabels": {"region": "eu"}})),
        ("all", json!({})),
    ] {
        case.apply(json!({
            "apiVersion": "inhaul.dev/v1alpha1", "kind": "Location",
            "metadata": {"name": location(of)}, "spec": {"targetSelector": selector},
        }))
        .await?;
    }
    case.apply(case.deployment("probe", 1)).await?;
    let first = case.lands(DEPLOYMENT, "probe").await?;
    ensure!(first == EU, "it is on {first}");
    case.hub().delete(DEPLOYMENT, &case.key("probe")).await?;
    case.member(EU).gone(DEPLOYMENT, &case.key("probe")).await?;
    Ok(case)
}

#[test]
fn a_quota_on_the_member_sends_it_elsewhere() {
    run(async {
        let case = rather_in_eu("quota").await?;
        let first = EU;
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": case.namespace}, "spec": {"hard": {"pods": "0"}}});
        case.member(first).apply(&quota.to_string()).await?;
        case.member(first)
            .eventually(
                "the quota counts",
                &known::RESOURCE_QUOTA,
                &case.key("none"),
                |q| q.is_some_and(|q| q["status"]["hard"]["pods"] == "0"),
            )
            .await?;
        case.apply(case.deployment("web", 1)).await?;
        case.on_hub(DEPLOYMENT, "web", "it runs elsewhere", |d| {
            d["status"]["readyReplicas"] == 1
        })
        .await?;
        let home = case.lands(DEPLOYMENT, "web").await?;
        ensure!(home != first, "it runs on {first} in spite of the quota");
        let workload = case
            .workload("apps", "Deployment", "web")
            .await?
            .context("no Workload")?;
        let refusals = workload["status"]["refusals"].to_string();
        ensure!(
            refusals.contains(first) && refusals.contains("exceeded quota"),
            "it does not say why: {refusals}"
        );
        Ok(())
    });
}

#[test]
fn an_admission_policy_on_the_member_sends_it_elsewhere() {
    run(async {
        let case = rather_in_eu("admission").await?;
        let first = EU;
        let member = case.member(first);
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "t-admission"}, "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": case.namespace}},
                "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]},
            "validations": [{"expression": "object.metadata.name != 'web'", "message": "no web in this house"}]}});
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "t-admission"},
            "spec": {"policyName": "t-admission", "validationActions": ["Deny"]}});
        member.apply(&policy.to_string()).await?;
        member.apply(&binding.to_string()).await?;
        testbed::rig::eventually("the policy is in force", || async {
            let dry = member
                .kubectl(
                    &["create", "--dry-run=server", "-f", "-"],
                    &case.deployment("web", 1).to_string(),
                )
                .await;
            ensure!(dry.is_err(), "not yet");
            Ok(())
        })
        .await?;
        case.apply(case.deployment("web", 1)).await?;
        case.on_hub(DEPLOYMENT, "web", "it runs elsewhere", |d| {
            d["status"]["readyReplicas"] == 1
        })
        .await?;
        let workload = case
            .workload("apps", "Deployment", "web")
            .await?
            .context("no Workload")?;
        let refusals = workload["status"]["refusals"].to_string();
        ensure!(
            refusals.contains(first) && refusals.contains("no web in this house"),
            "the member's message is lost: {refusals} {workload:#}"
        );
        Ok(())
    });
}

#[test]
fn nothing_fits_and_it_says_why() {
    run(async {
        let case = Case::new("nothing-fits", json!({})).await?;
        case.apply(case.job("huge", 1, 64, "1s")).await?;
        let message = case.waits("batch", "Job", "huge", "Impossible").await?;
        ensure!(
            message.contains("nvidia.com/gpu") || message.contains("GPU"),
            "{message}"
        );
        let mut exotic = case.job("exotic", 1, 0, "1s");
        exotic["spec"]["template"]["spec"]["nodeSelector"] =
            json!({"nvidia.com/gpu.product": "NVIDIA-B300"});
        case.apply(exotic).await?;
        let w = case
            .workload_is("batch", "Job", "exotic", "it waits", |w| {
                w["status"]["state"] == "Pending" && !w["status"]["message"].is_null()
            })
            .await?;
        let verdicts = w["status"]["explanation"]
            .as_array()
            .context("no explanation")?;
        ensure!(
            verdicts.len() == ALL.len(),
            "a reason for each target: {verdicts:?}"
        );
        ensure!(
            verdicts.iter().all(|v| v["reason"] == "SelectorMismatch"),
            "{verdicts:?}"
        );
        ensure!(
            case.targets_of(JOB, "huge", &ALL).await?.is_empty(),
            "it was sent somewhere"
        );
        Ok(())
    });
}

#[test]
fn a_target_without_the_kind_is_never_chosen() {
    run(async {
        let case = Case::new("not-served", json!({"resources": [{"group": "jobset.x-k8s.io", "kind": "JobSet"}, {"group": "test.inhaul.dev", "kind": "Raft"}]})).await?;
        let role = |label: &str| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "t-rafts", "labels": {label: "true"}},
                "rules": [{"apiGroups": ["test.inhaul.dev"], "resources": ["rafts", "rafts/status"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]}]})
            .to_string()
        };
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "rafts.test.inhaul.dev"},
            "spec": {"group": "test.inhaul.dev", "scope": "Namespaced", "names": {"kind": "Raft", "plural": "rafts", "singular": "raft"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
        .to_string();
        let profile = json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "KindProfile", "metadata": {"name": "rafts.test.inhaul.dev"}, "spec": {
            "group": "test.inhaul.dev", "kind": "Raft", "demand": [{"name": "crew", "count": "1", "requests": {"cpu": "10m"}}]}});
        let raft = json!({"apiVersion": "test.inhaul.dev/v1", "kind": "Raft", "metadata": {"name": "kon-tiki", "namespace": case.namespace}});
        case.hub()
            .apply(&role("inhaul.dev/aggregate-to-scheduler"))
            .await?;
        case.hub().apply(&crd).await?;
        case.hub()
            .kubectl(
                &[
                    "wait",
                    "--for=condition=Established",
                    "crd/rafts.test.inhaul.dev",
                    "--timeout=30s",
                ],
                "",
            )
            .await?;
        case.apply(profile).await?;
        case.apply(raft).await?;
        case.waits("test.inhaul.dev", "Raft", "kon-tiki", "KindNotServed")
            .await?;
        // It starts by itself where the kind appears, and only there.
        case.member(EU)
            .apply(&role("inhaul.dev/aggregate-to-agent"))
            .await?;
        case.member(EU).apply(&crd).await?;
        let w = case
            .workload_is(
                "test.inhaul.dev",
                "Raft",
                "kon-tiki",
                "it is assigned",
                |w| w["status"]["state"] == "Assigned",
            )
            .await?;
        ensure!(
            w["spec"]["assignments"][0]["target"] == EU,
            "{}",
            w["spec"]["assignments"]
        );
        Ok(())
    });
}

#[test]
fn what_the_members_scheduler_cannot_bind_goes_elsewhere() {
    run(async {
        let case = rather_in_eu("unschedulable").await?;
        let first = EU;
        // A taint that a pod tolerates by name is seen by the inventory; an anti-affinity to pods of others is not.
        let blocker = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "blocker", "namespace": case.namespace},
            "spec": {"selector": {"matchLabels": {"app": "blocker"}}, "template": {"metadata": {"labels": {"app": "blocker"}},
                "spec": {"tolerations": [{"operator": "Exists"}], "containers": [container("1m", &[])]}}}});
        case.member(first).apply(&blocker.to_string()).await?;
        case.member(first)
            .eventually(
                "every node is blocked",
                &known::DAEMON_SET,
                &case.key("blocker"),
                |d| {
                    d.is_some_and(|d| {
                        d["status"]["numberReady"].as_i64().unwrap_or(0) > 0
                            && d["status"]["numberReady"] == d["status"]["desiredNumberScheduled"]
                    })
                },
            )
            .await?;
        let mut web = case.deployment("web", 1);
        web["spec"]["template"]["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "blocker"}}}]}});
        case.apply(web).await?;
        case.on_hub(DEPLOYMENT, "web", "it runs elsewhere", |d: &Value| {
            d["status"]["readyReplicas"] == 1
        })
        .await?;
        let workload = case
            .workload("apps", "Deployment", "web")
            .await?
            .context("no Workload")?;
        let refusals = workload["status"]["refusals"].to_string();
        ensure!(
            refusals.contains(first) && refusals.contains("anti-affinity"),
            "{refusals}"
        );
        Ok(())
    });
}
