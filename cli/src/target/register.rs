//! `inhaul target register`: record and rights on the hub, agent on the member, and then wait until both have met.

use std::collections::BTreeMap;
use std::path::PathBuf;

use placement_api::api_type::ObjectKey;
use placement_api::kinds::{Inventory, SyncTarget, api};
use placement_api::names::{AGENT_ACCOUNT, CLI_MANAGER, target_namespace, target_of_namespace};
use placement_api::raw::RawObject;
use placement_api::toleration::Taint;
use serde_json::{Map, Value, json};

use super::{checks, member_side, ready};
use crate::apply::{self, Change};
use crate::args::{Register, RunBy};
use crate::cluster::Cluster;
use crate::credentials;
use crate::failure::Failure;
use crate::kubeconfig::Endpoint;
use crate::manifests::target;
use crate::output;
use crate::session::Session;

/// Registers a target, or completes one that is there.
pub(super) async fn run(session: &Session, args: Register) -> Result<(), Failure> {
    checks::valid_name(&args.name)?;
    let labels: BTreeMap<String, String> = args.labels.iter().cloned().collect();
    let hub = session.hub().await?;
    let targets = targets_and_uids(&hub).await?;
    let hub_uid = hub.uid().await?;
    output::done(
        "hub",
        &format!(
            "kubernetes {}, inhaul {}",
            hub.version().await?,
            env!("CARGO_PKG_VERSION")
        ),
    );

    let member = match &args.member_kubeconfig {
        Some(file) => {
            let member = session.member(file, args.member_context.as_deref()).await?;
            checks::may_register(&checks::Candidate {
                name: &args.name,
                hub_uid: &hub_uid,
                member_uid: &member.uid().await?,
                targets: &targets,
                serves: member_side::serves(&member).await?,
                allow_hub: args.allow_hub,
                take_over: args.take_over,
            })?;
            output::done("member", &member_side::describe(&member).await?);
            Some(member)
        }
        None => None,
    };

    // The record last: when the scheduler sees it, everything that belongs to it is there.
    hub_side(&hub, &args.name, &hub_uid).await?;
    let change = record(&hub, &args.name, &labels, &args.taints).await?;
    output::done("SyncTarget", &format!("{} {change}", args.name));

    let endpoint = hub_endpoint(&hub, &args)?;
    let Some(member) = member else {
        return print_member_side(&hub, &args, &hub_uid, &endpoint, session).await;
    };
    let tally = member_side::apply(&member, &args.name, &hub_uid).await?;
    match args.agent {
        RunBy::Deployment => {
            if endpoint.is_loopback() {
                output::warn(&format!(
                    "the hub's address {} is this machine's own; pods elsewhere need --hub-server URL",
                    endpoint.server
                ));
            }
            let change = member_side::deploy(&hub, &member, &args, &endpoint).await?;
            output::done(
                "agent",
                &format!(
                    "Deployment inhaul-system/{AGENT_ACCOUNT} (image {}) {change}; roles {tally}",
                    args.image
                ),
            );
        }
        RunBy::External => {
            let dir = agent_dir(&args);
            let (change, until) =
                member_side::write_credentials(&hub, &member, &args.name, &endpoint, &dir).await?;
            output::done(
                "agent",
                &format!(
                    "credentials in {} {change}, good until {until}; roles {tally}",
                    dir.display()
                ),
            );
            output::talk(&format!(
                "Start the agent: inhaul-syncer --target {} --hub-kubeconfig {} --member-kubeconfig {}",
                args.name,
                dir.join("hub.kubeconfig").display(),
                dir.join("member.kubeconfig").display()
            ));
        }
    }
    if args.no_wait {
        output::talk(&format!(
            "When the agent runs: inhaul target wait {}{}",
            args.name,
            session.hub_flags()
        ));
        return Ok(());
    }
    ready::wait(&hub, &args.name, args.wait.get(), &session.hub_flags()).await
}

/// Where the credentials of an agent go that somebody else runs.
fn agent_dir(args: &Register) -> PathBuf {
    args.agent_dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("inhaul-agent-{}", args.name)))
}

fn hub_endpoint(hub: &Cluster, args: &Register) -> Result<Endpoint, Failure> {
    let mut endpoint = hub.endpoint()?;
    if let Some(server) = &args.hub_server {
        if !server.starts_with("https://") {
            return Err(Failure::typed(format!(
                "--hub-server {server:?}: want https://HOST[:PORT]"
            )));
        }
        server.clone_into(&mut endpoint.server);
    }
    Ok(endpoint)
}

/// All targets with the UID of their cluster, from their own status or from what their agent has reported.
async fn targets_and_uids(hub: &Cluster) -> Result<Vec<(String, Option<String>)>, Failure> {
    let targets: Vec<SyncTarget> = hub.list(&api::SYNC_TARGETS, None).await?;
    let inventories: Vec<Inventory> = hub.list(&api::INVENTORIES, None).await?;
    let reported: BTreeMap<String, String> = inventories
        .into_iter()
        .filter_map(|i| {
            let target = target_of_namespace(i.metadata.namespace.as_deref()?)?.to_owned();
            Some((target, i.status?.cluster_uid))
        })
        .collect();
    Ok(targets
        .into_iter()
        .filter_map(|t| {
            let name = t.metadata.name?;
            let uid = t
                .status
                .and_then(|s| s.cluster_uid)
                .or_else(|| reported.get(&name).cloned());
            Some((name, uid.filter(|uid| !uid.is_empty())))
        })
        .collect())
}

/// Creates the SyncTarget, or adds labels and taints to the one that is there.
async fn record(
    hub: &Cluster,
    name: &str,
    labels: &BTreeMap<String, String>,
    taints: &[Taint],
) -> Result<Change, Failure> {
    let key = ObjectKey::cluster(name);
    if apply::create_once(hub, &target::sync_target(name, labels, taints)).await? == Change::Created
    {
        return Ok(Change::Created);
    }
    let there: SyncTarget = super::find(hub, name).await?;
    if there.metadata.deletion_timestamp.is_some() {
        return Err(Failure::failed(format!("target {name:?} is being removed"))
            .hint("wait until it is gone, then register it again"));
    }
    let patch = additions(&there, labels, taints);
    if patch.is_null() {
        return Ok(Change::Unchanged);
    }
    let _after: RawObject = hub
        .connection
        .merge_patch(&api::SYNC_TARGETS, &key, None, &patch, CLI_MANAGER)
        .await
        .map_err(|error| hub.failure(&error))?;
    Ok(Change::Changed)
}

/// Merge patch that brings in labels and taints which are not there yet; null where all are.
fn additions(there: &SyncTarget, labels: &BTreeMap<String, String>, taints: &[Taint]) -> Value {
    let have = there.metadata.labels.clone().unwrap_or_default();
    let new_labels: Map<String, Value> = labels
        .iter()
        .filter(|(key, value)| have.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let mut all = there.spec.taints.clone();
    for taint in taints {
        match all
            .iter_mut()
            .find(|t| t.key == taint.key && t.effect == taint.effect)
        {
            Some(old) => *old = taint.clone(),
            None => all.push(taint.clone()),
        }
    }
    let mut patch = Map::new();
    if !new_labels.is_empty() {
        patch.insert("metadata".to_owned(), json!({ "labels": new_labels }));
    }
    if all != there.spec.taints {
        // A precondition, because a merge patch replaces lists whole.
        let metadata = patch.entry("metadata").or_insert_with(|| json!({}));
        metadata["resourceVersion"] = json!(there.metadata.resource_version);
        patch.insert("spec".to_owned(), json!({ "taints": all }));
    }
    if patch.is_empty() {
        Value::Null
    } else {
        Value::Object(patch)
    }
}

/// Namespace, rights, inventory and heartbeat of the target.
async fn hub_side(hub: &Cluster, name: &str, hub_uid: &str) -> Result<(), Failure> {
    apply::apply_all(hub, &target::side(name)).await?;
    apply::create_once(hub, &target::inventory(name, hub_uid)).await?;
    apply::create_once(hub, &target::lease(name)).await?;
    Ok(())
}

/// Without a way to the member: its side as YAML, for somebody who has one.
async fn print_member_side(
    hub: &Cluster,
    args: &Register,
    hub_uid: &str,
    endpoint: &Endpoint,
    session: &Session,
) -> Result<(), Failure> {
    let account = ObjectKey::new(target_namespace(&args.name), AGENT_ACCOUNT);
    let wait = format!("inhaul target wait {}{}", args.name, session.hub_flags());
    match args.agent {
        RunBy::Deployment => {
            let issued =
                credentials::issue(hub, &account, endpoint, &account.namespace, None).await?;
            output::data(&member_side::yaml(
                &args.name,
                hub_uid,
                Some((&issued, &args.image)),
            )?)?;
            output::talk(
                "What the member needs is on stdout; it holds the agent's credentials, so keep it to yourself. Apply it there:",
            );
            output::talk("  … | kubectl --context MEMBER apply --server-side -f -");
        }
        RunBy::External => {
            let dir = agent_dir(args);
            let file = dir.join("hub.kubeconfig");
            let issued = credentials::issue(
                hub,
                &account,
                endpoint,
                &account.namespace,
                credentials::read_file(&file)?,
            )
            .await?;
            if issued.change != Change::Unchanged {
                credentials::write_file(&file, &issued.text)?;
            }
            output::data(&member_side::yaml(&args.name, hub_uid, None)?)?;
            output::talk(&format!(
                "The agent's hub credentials are in {}. What the member needs is on stdout; apply it there,",
                file.display()
            ));
            output::talk(&format!(
                "and run inhaul-syncer --target {} with a kubeconfig of the member's account inhaul-system/{AGENT_ACCOUNT}.",
                args.name
            ));
        }
    }
    output::talk(&format!("Then: {wait}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use placement_api::kinds::SyncTargetSpec;
    use placement_api::toleration::TaintEffect;

    use super::*;

    fn taint(key: &str, value: &str) -> Taint {
        Taint {
            key: key.into(),
            value: value.into(),
            effect: TaintEffect::NoSchedule,
        }
    }

    #[test]
    fn registering_again_only_adds() {
        let mut there = SyncTarget::new(
            "eu-1",
            SyncTargetSpec {
                taints: vec![taint("a", "1")],
                ..SyncTargetSpec::default()
            },
        );
        there.metadata.labels = Some([("tier".to_owned(), "gpu".to_owned())].into());
        there.metadata.resource_version = Some("7".into());
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };

        assert_eq!(additions(&there, &labels(&[]), &[]), Value::Null);
        assert_eq!(
            additions(&there, &labels(&[("tier", "gpu")]), &[taint("a", "1")]),
            Value::Null
        );
        assert_eq!(
            additions(&there, &labels(&[("zone", "a")]), &[]),
            json!({ "metadata": { "labels": { "zone": "a" } } })
        );
        let changed = additions(&there, &labels(&[]), &[taint("a", "2"), taint("b", "")]);
        assert_eq!(changed["metadata"]["resourceVersion"], "7");
        assert_eq!(changed["spec"]["taints"].as_array().unwrap().len(), 2);
    }
}
