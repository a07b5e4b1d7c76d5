//! `inhaul target …`: clusters that run workloads.

use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::{SyncTarget, api};
use placement_api::names::{AGENT_LEASE, target_namespace};

use crate::args;
use crate::cluster::Cluster;
use crate::failure::{self, Failure};
use crate::session::Session;
use crate::views::LeaseView;

mod checks;
mod cordon;
mod describe;
mod drain;
mod list;
mod member_side;
mod ready;
mod register;
mod remove;

pub(crate) use list::{contact, contacts, rows as list_rows};

/// Runs one of the commands.
pub(crate) async fn run(session: &Session, command: args::Target) -> Result<(), Failure> {
    match command {
        args::Target::Register(args) => register::run(session, *args).await,
        args::Target::List { output } => list::run(&session.hub().await?, output).await,
        args::Target::Describe { name, output } => {
            describe::run(&session.hub().await?, &name, output).await
        }
        args::Target::Wait { name, timeout } => ready::run(session, &name, timeout.get()).await,
        args::Target::Cordon { name } => cordon::cordon(&session.hub().await?, &name).await,
        args::Target::Uncordon { name } => cordon::uncordon(&session.hub().await?, &name).await,
        args::Target::Drain(args) => drain::run(session, args).await,
        args::Target::Remove(args) => remove::run(session, args).await,
    }
}

/// The target of this name, or the names that there are.
async fn find(hub: &Cluster, name: &str) -> Result<SyncTarget, Failure> {
    // A name that cannot be one would be a path of its own.
    let found = if checks::valid_name(name).is_ok() {
        hub.get(&api::SYNC_TARGETS, &ObjectKey::cluster(name))
            .await?
    } else {
        None
    };
    if let Some(target) = found {
        return Ok(target);
    }
    let all: Vec<SyncTarget> = hub.list(&api::SYNC_TARGETS, None).await?;
    let known: Vec<String> = all.into_iter().filter_map(|t| t.metadata.name).collect();
    Err(failure::unknown("target", name, &known))
}

/// The heartbeat of a target's agent.
async fn lease(hub: &Cluster, target: &str) -> Result<Option<LeaseView>, Failure> {
    hub.get(
        &known::LEASE,
        &ObjectKey::new(target_namespace(target), AGENT_LEASE),
    )
    .await
}
