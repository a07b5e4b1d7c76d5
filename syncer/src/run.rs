//! The wiring, from top to bottom.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use client::{ConnectOptions, Connection, WatchScope};
use k8s_openapi::api::core::v1::Namespace;
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::Inventory;
use placement_api::kinds::api::{ASSIGNMENTS, SYNC_POLICIES};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use crate::cli::Args;
use crate::shell::engine::{End, Engine, Fixed};
use crate::shell::event::Event;
use crate::shell::hub::Hub;
use crate::shell::lease::Held;
use crate::shell::member::watch;
use crate::shell::metrics::Metrics;
use crate::shell::state::State;
use crate::shell::{discovery, lease, ledgers, serve};

/// Events that wait for the engine; then the watches wait for it.
const EVENTS: usize = 1024;

/// Runs the agent until it is told to stop.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let options = || ConnectOptions {
        user_agent: concat!("inhaul/syncer-", env!("CARGO_PKG_VERSION")).to_owned(),
        ..ConnectOptions::default()
    };
    let hub = Connection::from_kubeconfig(&args.hub_kubeconfig, None, options())
        .await
        .context("hub")?;
    let member = match &args.member_kubeconfig {
        Some(path) => Connection::from_kubeconfig(path, None, options()).await,
        None => Connection::in_cluster(options()).await,
    }
    .context("member")?;

    let metrics = Metrics::default();
    let ready = Arc::new(AtomicBool::new(false));
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    hub.register(&mut registry, "hub");
    member.register(&mut registry, "member");
    if args.listen.port() != 0 {
        let listener = TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen on {}", args.listen))?;
        tokio::spawn(serve::serve(
            listener,
            Arc::new(registry),
            Arc::clone(&ready),
        ));
    }
    tracing::info!(target = %args.target, hub = %hub.server_url(), member = %member.server_url(), "agent started");

    let hub = Hub::new(hub, &args.target);
    let prepared = tokio::select! {
        prepared = prepare(&args, &hub, &member) => prepared?,
        () = stopped() => return Ok(()),
    };
    work(&args, hub, member, metrics, ready, prepared).await
}

/// What is known before the work begins.
struct Prepared {
    inventory: Inventory,
    cluster_uid: String,
    held: Held,
}

/// Waits for hub and member, and for the lease.
async fn prepare(args: &Args, hub: &Hub, member: &Connection) -> anyhow::Result<Prepared> {
    let inventory = read_inventory(hub).await;
    let cluster_uid = cluster_uid(member).await;
    if let Some(known) = inventory
        .status
        .as_ref()
        .map(|status| &status.cluster_uid)
        .filter(|uid| **uid != cluster_uid)
    {
        anyhow::bail!(
            "target {} is cluster {known}, but this is cluster {cluster_uid}: register this cluster under a name of its own",
            args.target
        );
    }
    let last_session = inventory.status.as_ref().map_or(0, |status| status.session);
    let identity = args.identity();
    let heartbeat = args.heartbeat.get();
    let held = lease::acquire(
        &hub.connection,
        &hub.namespace,
        &identity,
        heartbeat,
        last_session,
    )
    .await;
    // Another agent may have written it until now.
    let inventory = read_inventory(hub).await;

    Ok(Prepared {
        inventory,
        cluster_uid,
        held,
    })
}

async fn work(
    args: &Args,
    hub: Hub,
    member: Connection,
    metrics: Metrics,
    ready: Arc<AtomicBool>,
    prepared: Prepared,
) -> anyhow::Result<()> {
    let Prepared {
        inventory,
        cluster_uid,
        mut held,
    } = prepared;
    let hub_uid: Arc<str> = inventory.spec.hub_uid.as_str().into();
    let session = held.session;
    metrics.session.set(session);
    tracing::info!(session, "holds the target");

    // What was applied is read after the lease is held: nobody else writes it now.
    let ledgers = ledgers(&member, &hub_uid).await;
    let (tell, events) = mpsc::channel(EVENTS);
    let discover = Arc::new(Notify::new());
    let tasks = [
        tokio::spawn(discovery::follow(
            member.clone(),
            Arc::clone(&discover),
            tell.clone(),
        )),
        {
            let tell = tell.clone();
            tokio::spawn(async move {
                stopped().await;
                drop(tell.send(Event::Stop).await);
            })
        },
    ];
    let here = || WatchScope::namespace(&hub.namespace);
    let watches = [
        watch(
            &hub.connection,
            &ASSIGNMENTS,
            here(),
            &tell,
            Event::Assignments,
        ),
        watch(
            &hub.connection,
            &known::SECRET,
            here(),
            &tell,
            Event::Secrets,
        ),
        watch(&member, &known::POD, WatchScope::all(), &tell, Event::Pods),
        watch(
            &member,
            &known::NODE,
            WatchScope::all(),
            &tell,
            Event::Nodes,
        ),
        watch(
            &member,
            &known::NAMESPACE,
            WatchScope::all(),
            &tell,
            Event::Namespaces,
        ),
        watch(
            &member,
            &known::CUSTOM_RESOURCE_DEFINITION,
            WatchScope::all(),
            &tell,
            Event::Crds,
        ),
        watch(
            &member,
            &SYNC_POLICIES,
            WatchScope::all(),
            &tell,
            Event::Policies,
        ),
    ];
    let state = State {
        hub_uid,
        hub_namespace: hub.namespace.clone(),
        ledgers,
        ..State::default()
    };
    let fixed = Fixed {
        hub,
        member,
        cluster_uid,
        session,
        unschedulable_after: args.unschedulable_after.get(),
        metrics,
        ready,
        discover,
        tell,
    };
    let engine = Engine::new(fixed, state, inventory.status);
    let end = tokio::select! {
        end = engine.run(events) => end,
        deposed = held.keep() => End::Deposed(deposed.0),
    };
    drop(watches);
    for task in tasks {
        task.abort();
    }
    match end {
        End::Stopped => {
            held.release().await;
            tracing::info!("stopped; what runs keeps running");
            Ok(())
        }
        End::Deposed(holder) => {
            anyhow::bail!("another agent has taken over the target: {holder:?}")
        }
    }
}

async fn read_inventory(hub: &Hub) -> Inventory {
    let mut told = false;
    loop {
        match hub.inventory().await {
            Ok(Some(inventory)) if !inventory.spec.hub_uid.is_empty() => return inventory,
            Ok(_) if !told => {
                told = true;
                tracing::warn!(namespace = %hub.namespace, "the target is not registered on this hub; waiting");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the hub does not answer yet"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn cluster_uid(member: &Connection) -> String {
    loop {
        match member
            .get::<Namespace>(&known::NAMESPACE, &ObjectKey::cluster("kube-system"))
            .await
        {
            Ok(Some(namespace)) => return namespace.metadata.uid.unwrap_or_default(),
            Ok(None) => tracing::warn!("the member has no namespace kube-system yet"),
            Err(error) => tracing::warn!(%error, "the member does not answer yet"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn ledgers(
    member: &Connection,
    hub_uid: &str,
) -> std::collections::BTreeMap<String, placement_api::kinds::AppliedAssignment> {
    loop {
        match ledgers::read(member, hub_uid).await {
            Ok(all) => {
                return all
                    .into_iter()
                    .filter_map(|ledger| Some((ledger.metadata.name.clone()?, ledger)))
                    .collect();
            }
            Err(error) => tracing::warn!(%error, "the ledgers on the member cannot be read yet"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Returns when the process is told to stop.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
