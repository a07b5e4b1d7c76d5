//! `inhaul target remove`: forgets a target. What runs on the member is never deleted by this.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};

use client::{DeletePreconditions, Deleted, Propagation};
use placement_api::api_type::{ApiType, ObjectKey, known};
use placement_api::kinds::api;
use placement_api::names::{AGENT_ACCOUNT, AGENT_SECRET, SYSTEM_NAMESPACE, target_namespace};
use placement_api::raw::RawObject;

use super::member_side;
use crate::args;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;
use crate::views::AssignmentView;
use crate::words;

/// So many workloads are named.
const NAMED: usize = 20;

/// Removes a target that has no workloads, or, if it is forced, one that has.
pub(super) async fn run(session: &Session, args: args::Remove) -> Result<(), Failure> {
    let hub = session.hub().await?;
    let name = &args.name;
    let target = super::find(&hub, name).await?;
    let member = match &args.member_kubeconfig {
        Some(file) => Some(session.member(file, args.member_context.as_deref()).await?),
        None => None,
    };
    if let Some(member) = &member {
        let uid = member.uid().await?;
        let known = target.status.as_ref().and_then(|s| s.cluster_uid.clone());
        if known.as_ref().is_some_and(|known| *known != uid) {
            return Err(Failure::failed(format!("the cluster of --member-kubeconfig is not {name}: its kube-system has another UID"))
                .hint("nothing was changed; name the right kubeconfig, or leave it out to remove only the hub's side"));
        }
        let hub_uid = hub.uid().await?;
        if let Some((serves_hub, serves)) = member_side::serves(member).await?
            && (serves_hub != hub_uid || serves != *name)
        {
            return Err(Failure::failed(format!(
                "the agent of that cluster is target {serves:?}, not {name:?}"
            ))
            .hint("nothing was changed"));
        }
    }
    let namespace = target_namespace(name);
    let assignments: Vec<AssignmentView> = hub.list(&api::ASSIGNMENTS, Some(&namespace)).await?;
    let there: BTreeSet<String> = assignments
        .iter()
        .filter(|a| a.is_there())
        .map(|a| a.spec.workload.to_string())
        .collect();
    if !there.is_empty() {
        if !args.force {
            return Err(refuse(name, &there, &session.hub_flags()));
        }
        confirm(name, there.len(), args.yes)?;
    }

    // The record first: from then on nothing new is decided for it.
    let uid = target.metadata.uid.clone().unwrap_or_default();
    delete(&hub, &api::SYNC_TARGETS, &ObjectKey::cluster(name), &uid).await?;
    output::done("SyncTarget", &format!("{name} removed"));
    let key = ObjectKey::cluster(namespace.clone());
    if let Some(object) = hub.get::<RawObject>(&known::NAMESPACE, &key).await? {
        let word = match delete(&hub, &known::NAMESPACE, &key, &object.metadata.uid).await? {
            Deleted::Gone => "removed",
            Deleted::Deleting => "is being removed",
        };
        output::done("namespace", &format!("{namespace} {word}"));
    }
    match &member {
        Some(member) => {
            let count = remove_agent(member).await?;
            output::done(
                "agent",
                &format!(
                    "removed from the member ({count} objects); its ledger and its kinds stay"
                ),
            );
        }
        None => output::talk(&format!(
            "The agent has lost its rights here. Take it away on the member: kubectl -n {SYSTEM_NAMESPACE} delete deployment,serviceaccount,secret \
             -l app.kubernetes.io/part-of=inhaul"
        )),
    }
    if !there.is_empty() {
        let count = words::count(i64::try_from(there.len()).unwrap_or(i64::MAX), "workload");
        output::talk(&format!(
            "On {name}, {count} may go on running, and nobody looks after that any more."
        ));
    }
    Ok(())
}

fn refuse(name: &str, there: &BTreeSet<String>, flags: &str) -> Failure {
    let mut failure = Failure::failed(format!(
        "{name} still runs {}",
        words::count(i64::try_from(there.len()).unwrap_or(i64::MAX), "workload")
    ));
    for workload in there.iter().take(NAMED) {
        failure = failure.hint(workload.clone());
    }
    if there.len() > NAMED {
        failure = failure.hint(format!("… and {} more", there.len() - NAMED));
    }
    failure
        .hint(format!(
            "move them away first: inhaul target drain {name}{flags}"
        ))
        .hint("or say --force: they keep running on the member, and nobody looks after them")
}

/// A person types the name of the target, unless `--yes` was given.
fn confirm(name: &str, workloads: usize, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::typed("--force asks first, and nobody is there to answer")
                .hint("say --yes too"),
        );
    }
    output::talk(&format!(
        "{workloads} workloads are assigned to {name}. Type its name to forget them:"
    ));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == name {
        Ok(())
    } else {
        Err(Failure::failed(
            "that was not its name; nothing was changed",
        ))
    }
}

async fn delete(
    cluster: &Cluster,
    api: &ApiType,
    key: &ObjectKey,
    uid: &str,
) -> Result<Deleted, Failure> {
    cluster
        .connection
        .delete(
            api,
            key,
            DeletePreconditions::uid(uid),
            Propagation::Background,
        )
        .await
        .map_err(|error| cluster.failure(&error))
}

/// Deletes the agent, its credentials and its rights, where they are ours.
async fn remove_agent(member: &Cluster) -> Result<usize, Failure> {
    let extra = format!("{AGENT_ACCOUNT}-extra");
    let inside = |name: &str| ObjectKey::new(SYSTEM_NAMESPACE, name);
    let mut count = 0;
    for (api, key) in [
        (known::DEPLOYMENT, inside(AGENT_ACCOUNT)),
        (known::SECRET, inside(AGENT_SECRET)),
        (
            known::CLUSTER_ROLE_BINDING,
            ObjectKey::cluster(AGENT_ACCOUNT),
        ),
        (known::CLUSTER_ROLE_BINDING, ObjectKey::cluster(&extra)),
        (known::CLUSTER_ROLE, ObjectKey::cluster(AGENT_ACCOUNT)),
        (known::CLUSTER_ROLE, ObjectKey::cluster(&extra)),
        (known::SERVICE_ACCOUNT, inside(AGENT_ACCOUNT)),
    ] {
        let Some(object) = member.get::<RawObject>(&api, &key).await? else {
            continue;
        };
        if object.label("app.kubernetes.io/part-of") != Some("inhaul") {
            output::warn(&format!(
                "{} {key} on the member is not ours (no label app.kubernetes.io/part-of=inhaul) and stays",
                api.kind
            ));
            continue;
        }
        delete(member, &api, &key, &object.metadata.uid).await?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_workloads_and_the_way_out() {
        let there = (0..22)
            .map(|n| format!("shop/Deployment/w{n:02}"))
            .collect();
        let text = refuse("eu-1", &there, " --context hub").text();
        assert!(
            text.starts_with("error: eu-1 still runs 22 workloads\n  shop/Deployment/w00\n"),
            "{text}"
        );
        assert!(text.contains("  … and 2 more\n"));
        assert!(text.contains("inhaul target drain eu-1 --context hub"));
    }

    #[test]
    fn nobody_is_asked_with_yes() {
        assert!(confirm("eu-1", 3, true).is_ok());
    }
}
