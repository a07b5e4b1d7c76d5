//! The member's side of registering: kinds, rights, credentials, the agent.

use std::path::Path;

use k8s_openapi::api::core::v1::Secret;
use placement_api::api_type::{ObjectKey, known};
use placement_api::names::{AGENT_ACCOUNT, AGENT_SECRET, SYSTEM_NAMESPACE, target_namespace};
use placement_api::raw::RawObject;

use crate::apply::{self, Change, Tally};
use crate::args::Register;
use crate::cluster::Cluster;
use crate::credentials::{self, Issued};
use crate::failure::Failure;
use crate::install;
use crate::kubeconfig::Endpoint;
use crate::manifests::member;
use crate::views::NodeView;
use crate::words;

/// Hub and target that this member's agent was set up for.
pub(super) async fn serves(member: &Cluster) -> Result<Option<(String, String)>, Failure> {
    let key = ObjectKey::new(SYSTEM_NAMESPACE, AGENT_ACCOUNT);
    let account: Option<RawObject> = member.get(&known::SERVICE_ACCOUNT, &key).await?;
    Ok(account.and_then(|a| {
        let hub = a.annotation(member::HUB_ANNOTATION)?.to_owned();
        Some((hub, a.annotation(member::TARGET_ANNOTATION)?.to_owned()))
    }))
}

/// `kubernetes v1.36.3, 6 nodes, 32 GPUs`.
pub(super) async fn describe(member: &Cluster) -> Result<String, Failure> {
    let version = member.version().await?;
    let nodes: Vec<NodeView> = member.list(&known::NODE, None).await?;
    let gpus: i64 = nodes
        .iter()
        .flat_map(|n| n.status.allocatable.iter())
        .filter(|(resource, _)| resource.ends_with("/gpu"))
        .filter_map(|(_, amount)| amount.parse::<i64>().ok())
        .sum();
    let count = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
    Ok(format!(
        "kubernetes {version}, {}, {}",
        words::count(count, "node"),
        words::count(gpus, "GPU")
    ))
}

/// Applies kinds, account and roles.
pub(super) async fn apply(member: &Cluster, target: &str, hub_uid: &str) -> Result<Tally, Failure> {
    let crds = member::crds();
    install::apply_crds(member, &crds).await?;
    let rest: Vec<_> = member::side(target, hub_uid)
        .into_iter()
        .filter(|m| m.api != known::CUSTOM_RESOURCE_DEFINITION)
        .collect();
    apply::apply_all(member, &rest).await
}

/// Gives the agent its way to the hub and runs it as a Deployment.
pub(super) async fn deploy(
    hub: &Cluster,
    member: &Cluster,
    args: &Register,
    endpoint: &Endpoint,
) -> Result<Change, Failure> {
    let account = ObjectKey::new(target_namespace(&args.name), AGENT_ACCOUNT);
    let secret: Option<Secret> = member
        .get(
            &known::SECRET,
            &ObjectKey::new(SYSTEM_NAMESPACE, AGENT_SECRET),
        )
        .await?;
    let existing = secret
        .and_then(|s| s.data)
        .and_then(|mut data| data.remove("kubeconfig"))
        .map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
    let issued = credentials::issue(hub, &account, endpoint, &account.namespace, existing).await?;
    if issued.change != Change::Unchanged {
        apply::apply(member, &member::secret(&issued.text)).await?;
    }
    apply::apply(
        member,
        &member::agent_deployment(&args.name, &args.image, &issued.expires.to_string()),
    )
    .await
}

/// Writes the agent's two kubeconfigs for an agent that somebody else runs; says until when they are good.
pub(super) async fn write_credentials(
    hub: &Cluster,
    member: &Cluster,
    target: &str,
    endpoint: &Endpoint,
    dir: &Path,
) -> Result<(Change, String), Failure> {
    let on_hub = ObjectKey::new(target_namespace(target), AGENT_ACCOUNT);
    let on_member = ObjectKey::new(SYSTEM_NAMESPACE, AGENT_ACCOUNT);
    let mut change = Change::Unchanged;
    let mut until = String::new();
    for (cluster, account, endpoint, name) in [
        (hub, on_hub, endpoint, "hub.kubeconfig"),
        (member, on_member, &member.endpoint()?, "member.kubeconfig"),
    ] {
        let file = dir.join(name);
        let issued = credentials::issue(
            cluster,
            &account,
            endpoint,
            &account.namespace,
            credentials::read_file(&file)?,
        )
        .await?;
        if issued.change != Change::Unchanged {
            credentials::write_file(&file, &issued.text)?;
        }
        change = change.max(issued.change);
        let ends = issued.expires.strftime("%Y-%m-%d").to_string();
        if until.is_empty() || ends < until {
            until = ends;
        }
    }
    Ok((change, until))
}

/// The member's side as YAML; with credentials and image, the agent too.
pub(super) fn yaml(
    target: &str,
    hub_uid: &str,
    agent: Option<(&Issued, &str)>,
) -> Result<String, Failure> {
    let mut all = member::side(target, hub_uid);
    if let Some((issued, image)) = agent {
        all.push(member::secret(&issued.text));
        all.push(member::agent_deployment(
            target,
            image,
            &issued.expires.to_string(),
        ));
    }
    install::yaml_stream(&all)
}
