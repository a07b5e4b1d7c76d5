//! A tiny operator for the demo: turns a `Model` into a Job and reports its phase. It knows nothing of Inhaul.
//!
//! ```text
//! Model --(watch)--> Job "model-NAME", owned by the Model --(watch)--> Model.status.phase
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use client::{Class, ConnectOptions, Connection, WatchEvent, WatchScope};
use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::JobStatus;
use placement_api::api_type::{ApiType, ObjectKey, known};
use placement_api::raw::RawObject;
use serde::Deserialize;
use serde_json::{Value, json};

/// The kind of the service provider.
pub(super) const MODEL: ApiType =
    ApiType::namespaced("training.faros.sh", "v1alpha1", "Model", "models");
const MANAGER: &str = "model-operator";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelSpec {
    model: String,
    n_proc_per_node: i64,
    script: String,
    ckpt_dir: String,
    tokenizer_path: String,
    max_seq_len: Option<i64>,
    max_batch_size: Option<i64>,
}

/// Runs until it is killed.
pub(super) async fn run(kubeconfig: &Path) -> Result<()> {
    let connection =
        Connection::from_kubeconfig(kubeconfig, None, ConnectOptions::default()).await?;
    let mut models: BTreeMap<ObjectKey, RawObject> = BTreeMap::new();
    let mut jobs: BTreeMap<ObjectKey, RawObject> = BTreeMap::new();
    let mut events = futures::stream::select(
        connection
            .watch(&MODEL, WatchScope::all())
            .map(|e| (true, e)),
        connection
            .watch(&known::JOB, WatchScope::labels("training.faros.sh/model"))
            .map(|e| (false, e)),
    );
    while let Some((is_model, event)) = events.next().await {
        let key = match event {
            WatchEvent::Applied(object) => {
                let key = object.key();
                let model = if is_model {
                    key.clone()
                } else {
                    model_of(&key)
                };
                if is_model { &mut models } else { &mut jobs }.insert(key, object);
                model
            }
            WatchEvent::Deleted(object) => {
                let key = object.key();
                if is_model { &mut models } else { &mut jobs }.remove(&key);
                if is_model { key } else { model_of(&key) }
            }
            WatchEvent::Error(error) => {
                tracing::debug!(%error, "watch");
                continue;
            }
            WatchEvent::Restarted | WatchEvent::Synced => continue,
        };
        if let Some(model) = models.get(&key)
            && let Err(error) = reconcile(&connection, model, jobs.get(&job_of(&key))).await
        {
            tracing::warn!(%error, model = %key, "cannot bring the model forward");
        }
    }
    Ok(())
}

fn job_of(model: &ObjectKey) -> ObjectKey {
    ObjectKey::new(&model.namespace, format!("model-{}", model.name))
}

fn model_of(job: &ObjectKey) -> ObjectKey {
    ObjectKey::new(
        &job.namespace,
        job.name.strip_prefix("model-").unwrap_or(&job.name),
    )
}

async fn reconcile(
    connection: &Connection,
    model: &RawObject,
    job: Option<&RawObject>,
) -> Result<()> {
    if model.is_deleting() {
        return Ok(());
    }
    let key = model.key();
    let known: Value = model.section_as("status")?.unwrap_or_default();
    let ended = matches!(known["phase"].as_str(), Some("Succeeded" | "Failed"));
    let Some(job) = job else {
        if ended {
            return Ok(());
        }
        let spec: ModelSpec = model.section_as("spec")?.context("spec is missing")?;
        let created: Result<RawObject, _> = connection
            .create(&known::JOB, &key.namespace, &job_for(model, &spec), MANAGER)
            .await;
        return match created {
            Err(error) if error.class() != Class::AlreadyExists => Err(error.into()),
            _ => Ok(()),
        };
    };
    let status: JobStatus = job.section_as("status")?.unwrap_or_default();
    let wanted = json!({
        "phase": phase(&status),
        "job": job.metadata.name,
        "observedGeneration": model.metadata.generation,
    });
    if !ended && known != wanted {
        let body = json!({ "status": wanted });
        let _: RawObject = connection
            .merge_patch(&MODEL, &key, Some("status"), &body, MANAGER)
            .await?;
    }
    Ok(())
}

fn phase(status: &JobStatus) -> &'static str {
    let holds = |kind: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == kind && c.status == "True")
    };
    if holds("Complete") {
        "Succeeded"
    } else if holds("Failed") {
        "Failed"
    } else if status.ready.unwrap_or(0) > 0 {
        "Running"
    } else {
        "Pending"
    }
}

fn job_for(model: &RawObject, spec: &ModelSpec) -> Value {
    let name = &model.metadata.name;
    let run_for = model
        .annotation("testbed.inhaul.dev/run-for")
        .unwrap_or("30m");
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": format!("model-{name}"),
            "namespace": model.metadata.namespace,
            "labels": { "training.faros.sh/model": name },
            "ownerReferences": [{
                "apiVersion": model.api_version, "kind": model.kind, "name": name, "uid": model.metadata.uid, "controller": true,
            }],
        },
        "spec": {
            "parallelism": spec.n_proc_per_node,
            "completions": spec.n_proc_per_node,
            "completionMode": "Indexed",
            "template": {
                "metadata": {
                    "labels": { "training.faros.sh/model": name },
                    "annotations": { "testbed.inhaul.dev/run-for": run_for },
                },
                "spec": {
                    "restartPolicy": "Never",
                    "volumes": [{ "name": "script", "configMap": { "name": spec.script } }],
                    "containers": [{
                        "name": "trainer",
                        "image": format!("registry.example/models/{}:1", spec.model),
                        "args": [
                            "--checkpoints", spec.ckpt_dir, "--tokenizer", spec.tokenizer_path,
                            "--max-seq-len", spec.max_seq_len.unwrap_or(512).to_string(),
                            "--max-batch-size", spec.max_batch_size.unwrap_or(4).to_string(),
                        ],
                        "volumeMounts": [{ "name": "script", "mountPath": "/script" }],
                        "resources": {
                            "requests": { "cpu": "4", "memory": "32Gi" },
                            "limits": { "nvidia.com/gpu": "1" },
                        },
                    }],
                },
            },
        },
    })
}
