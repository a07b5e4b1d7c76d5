//! `inhaul install`: makes an API server a hub.

use std::collections::BTreeSet;
use std::time::Duration;

use client::{Class, WatchEvent, WatchScope};
use futures::StreamExt;
use placement_api::api_type::{ApiType, ObjectKey, known};
use placement_api::kinds::api;
use placement_api::names::{SCHEDULER, SYSTEM_NAMESPACE};
use placement_api::raw::RawObject;
use serde::Deserialize;

use crate::apply::{self, Change, Manifest, Tally};
use crate::args;
use crate::cluster::Cluster;
use crate::credentials;
use crate::failure::Failure;
use crate::manifests::hub;
use crate::output;
use crate::session::Session;

/// How long an API server may take to serve a new kind.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(60);
/// The oldest hub that has all that is needed.
const OLDEST: (u32, u32) = (1, 34);

/// Applies what a hub needs, and says of each part whether it changed.
pub(crate) async fn run(session: &Session, args: args::Install) -> Result<(), Failure> {
    if args.print {
        return print(&args);
    }
    let cluster = session.hub().await?;
    let version = cluster.version().await?;
    output::done(
        "hub",
        &format!("kubernetes {version}, inhaul {}", env!("CARGO_PKG_VERSION")),
    );
    if minor(&version).is_some_and(|have| have < OLDEST) {
        output::warn(&format!(
            "kubernetes {version} is older than v{}.{}; some of what Inhaul relies on may be missing",
            OLDEST.0, OLDEST.1
        ));
    }

    let crds = hub::crds();
    let tally = apply_crds(&cluster, &crds).await?;
    output::done(
        "kinds",
        &format!("{} of group inhaul.dev: {tally}", crds.len()),
    );

    let change = apply::apply(&cluster, &hub::system_namespace()).await?;
    output::done("namespace", &format!("{SYSTEM_NAMESPACE} {change}"));

    let mut tally = apply::apply_all(&cluster, &hub::scheduler_account()).await?;
    tally.add(apply::apply(&cluster, &hub::view_role()).await?);
    tally.add(apply::apply(&cluster, &hub::whatif_role()).await?);
    output::done(
        "roles",
        &format!("of the scheduler, and view for users: {tally}"),
    );

    match args.scheduler {
        args::RunBy::Deployment => deploy(&cluster, &args.image).await,
        args::RunBy::External => credentials_for_external(&cluster, &args).await,
    }?;
    output::talk(&format!(
        "The hub is installed. Next: inhaul target register NAME --member-kubeconfig FILE{}",
        session.hub_flags()
    ));
    Ok(())
}

async fn deploy(cluster: &Cluster, image: &str) -> Result<(), Failure> {
    let change = apply::apply(cluster, &hub::scheduler_deployment(image))
        .await
        .map_err(|failure| {
            failure.hint(
                "where the hub runs no pods: --scheduler external --scheduler-kubeconfig FILE",
            )
        })?;
    output::done(
        "scheduler",
        &format!("Deployment {SYSTEM_NAMESPACE}/{SCHEDULER} (image {image}) {change}"),
    );
    Ok(())
}

async fn credentials_for_external(cluster: &Cluster, args: &args::Install) -> Result<(), Failure> {
    let file = &args.scheduler_kubeconfig;
    let account = ObjectKey::new(SYSTEM_NAMESPACE, SCHEDULER);
    let existing = credentials::read_file(file)?;
    let issued = credentials::issue(
        cluster,
        &account,
        &cluster.endpoint()?,
        SYSTEM_NAMESPACE,
        existing,
    )
    .await?;
    if issued.change != Change::Unchanged {
        credentials::write_file(file, &issued.text)?;
    }
    output::done(
        "scheduler",
        &format!(
            "kubeconfig {} {}, good until {}",
            file.display(),
            issued.change,
            issued.expires.strftime("%Y-%m-%d")
        ),
    );
    output::talk(&format!(
        "Start the scheduler: inhaul-scheduler --kubeconfig {}",
        file.display()
    ));
    Ok(())
}

fn print(args: &args::Install) -> Result<(), Failure> {
    let mut all = hub::crds();
    all.push(hub::system_namespace());
    all.extend(hub::scheduler_account());
    all.push(hub::view_role());
    all.push(hub::whatif_role());
    if args.scheduler == args::RunBy::Deployment {
        all.push(hub::scheduler_deployment(&args.image));
    }
    output::data(&yaml_stream(&all)?)
}

/// Several objects as one YAML stream.
pub(crate) fn yaml_stream(manifests: &[Manifest]) -> Result<String, Failure> {
    let mut text = String::new();
    for manifest in manifests {
        text.push_str("---\n");
        text.push_str(
            &serde_yaml_ng::to_string(&manifest.object)
                .map_err(|e| Failure::failed(format!("cannot write YAML: {e}")))?,
        );
    }
    Ok(text)
}

/// Applies kinds and waits until the server serves those that are new.
pub(crate) async fn apply_crds(cluster: &Cluster, crds: &[Manifest]) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut new = Vec::new();
    for crd in crds {
        let change = apply::apply(cluster, crd).await?;
        tally.add(change);
        if change == Change::Created {
            new.push(crd.clone());
        }
    }
    if !new.is_empty() {
        established(cluster, &new).await?;
    }
    Ok(tally)
}

/// Waits until the server has taken the kinds up and serves them.
async fn established(cluster: &Cluster, crds: &[Manifest]) -> Result<(), Failure> {
    let mut waiting: BTreeSet<String> = crds.iter().map(|m| m.key().name).collect();
    let all = async {
        let mut events = cluster
            .connection
            .watch(&known::CUSTOM_RESOURCE_DEFINITION, WatchScope::all());
        while let Some(event) = events.next().await {
            match event {
                WatchEvent::Applied(crd) if is_established(&crd) => {
                    waiting.remove(&crd.metadata.name);
                }
                WatchEvent::Error(error) if error.class() == Class::Denied => {
                    return Err(cluster.failure(&error));
                }
                _ => {}
            }
            if waiting.is_empty() {
                break;
            }
        }
        // The condition comes a moment before the paths do.
        for manifest in crds {
            served(cluster, &api_of(manifest)).await;
        }
        Ok(())
    };
    let result = tokio::time::timeout(ESTABLISHED_WITHIN, all).await;
    result.unwrap_or_else(|_| {
        let names: Vec<&str> = waiting.iter().map(String::as_str).collect();
        Err(Failure::failed(format!(
            "the {} does not serve {} yet",
            cluster.role,
            names.join(", ")
        ))
        .hint("`kubectl describe crd NAME` says why"))
    })
}

/// Returns when the kind can be listed.
async fn served(cluster: &Cluster, api: &ApiType) {
    let mut events = cluster.connection.watch(api, WatchScope::all());
    while let Some(event) = events.next().await {
        if matches!(event, WatchEvent::Synced) {
            return;
        }
    }
}

fn api_of(crd: &Manifest) -> ApiType {
    let text = |pointer: &str| {
        crd.object
            .pointer(pointer)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let namespaced = text("/spec/scope") == "Namespaced";
    ApiType::new(
        text("/spec/group"),
        api::WORKLOADS.version.clone(),
        text("/spec/names/kind"),
        text("/spec/names/plural"),
        namespaced,
    )
}

#[derive(Deserialize)]
struct CrdStatus {
    #[serde(default)]
    conditions: Vec<CrdCondition>,
}

#[derive(Deserialize)]
struct CrdCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

fn is_established(crd: &RawObject) -> bool {
    let status: Option<CrdStatus> = crd.section_as("status").ok().flatten();
    status.is_some_and(|s| {
        s.conditions
            .iter()
            .any(|c| c.kind == "Established" && c.status == "True")
    })
}

/// Major and minor of `v1.36.3`.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let digits = |part: &str| {
        part.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .ok()
    };
    Some((digits(parts.next()?)?, digits(parts.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(minor("v1.36.3"), Some((1, 36)));
        assert_eq!(minor("v1.31+"), Some((1, 31)));
        assert!(minor("v1.9.0") < Some(OLDEST));
        assert_eq!(minor("latest"), None);
    }

    #[test]
    fn every_kind_can_be_asked_for_by_its_crd() {
        let apis: Vec<ApiType> = hub::crds().iter().map(api_of).collect();
        for api in [
            api::ASSIGNMENTS,
            api::SYNC_TARGETS,
            api::WORKLOADS,
            api::QUEUES,
        ] {
            assert!(apis.contains(&api), "{api}");
        }
    }

    #[test]
    fn what_is_printed_is_one_yaml_stream() {
        let text = yaml_stream(&[hub::system_namespace(), hub::view_role()]).unwrap();
        assert_eq!(text.matches("---\n").count(), 2);
        assert!(text.contains("kind: ClusterRole"));
    }

    #[test]
    fn tally_of_nothing_changed_says_so() {
        let mut tally = Tally::default();
        tally.add(Change::Unchanged);
        assert_eq!(tally.to_string(), "unchanged");
    }
}
