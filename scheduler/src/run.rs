//! From arguments to a process that leads, or stands by until it may.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use client::{ConnectOptions, Connection};
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::{Inventory, api};
use placement_api::raw::RawObject;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::cli::Args;
use crate::shell::lease::{Candidate, ConnectionHandle, Held};
use crate::shell::metrics::Metrics;
use crate::shell::recorder::Recording;
use crate::shell::serve::{Readiness, Stage, serve};
use crate::shell::{End, Engine, Model};

/// Calls to the hub at once.
const IN_FLIGHT: usize = 64;
/// How long a clean stop waits for writes that are under way.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Runs until a signal asks to stop.
///
/// # Errors
/// Where the hub cannot be reached at all, or the address is taken.
pub(crate) async fn run(args: Args) -> Result<()> {
    let options = ConnectOptions {
        user_agent: concat!("inhaul-scheduler/", env!("CARGO_PKG_VERSION")).to_owned(),
        max_in_flight: IN_FLIGHT,
        ..ConnectOptions::default()
    };
    let hub =
        Connection::from_environment(args.kubeconfig.as_deref(), args.context.as_deref(), options)
            .await?;
    let identity = args.identity.clone().unwrap_or_else(default_identity);
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    hub.register(&mut registry, "hub");
    let readiness = Readiness::default();
    if let Some(address) = args.listen.0 {
        let (bound, server) = serve(address, Arc::new(registry), readiness.clone())
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        info!(address = %bound, "serving /healthz, /readyz and /metrics");
        tokio::spawn(server);
    }
    eprintln!(
        "inhaul-scheduler {}: hub {}, identity {identity}",
        env!("CARGO_PKG_VERSION"),
        hub.server_url()
    );

    let (stop, stopped) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.send_replace(true);
        // Dropped only with the process: whoever listens has heard.
        std::future::pending::<()>().await;
    });
    let candidate = Candidate {
        hub: ConnectionHandle(hub.clone()),
        identity: identity.clone(),
        duration: args.lease_duration,
    };
    let mut ending = stopped.clone();
    let ended = async move {
        // An error means that the sender is gone, and with it the process.
        drop(ending.wait_for(|stop| *stop).await);
    };
    tokio::select! {
        () = lead_again_and_again(&hub, &candidate, &args, &metrics, &readiness, stopped) => {}
        () = async { ended.await; tokio::time::sleep(LAST_WRITES * 2).await } => {}
    }
    info!("stopped");
    Ok(())
}

async fn lead_again_and_again(
    hub: &Connection,
    candidate: &Candidate,
    args: &Args,
    metrics: &Metrics,
    readiness: &Readiness,
    mut stopped: watch::Receiver<bool>,
) {
    let mut floor = 0;
    loop {
        let prepared = tokio::select! {
            prepared = prepare(hub) => prepared,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let (hub_uid, newest) = prepared;
        floor = floor.max(newest);
        readiness.set(Stage::Standby);
        let (leadership, held) = tokio::select! {
            won = candidate.acquire(floor) => won,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        metrics.leads(Some(leadership.term));
        let model = Model::new(hub_uid, leadership.term, args.lost_after);
        let mut engine = Engine::new(
            hub.clone(),
            leadership,
            candidate.identity.clone(),
            model,
            metrics.clone(),
            readiness.clone(),
        );
        if let Some(folder) = &args.record {
            engine.record(&Recording {
                folder: folder.clone(),
                most: args.record_limit,
            });
        }
        let mut stopping = stopped.clone();
        let patience = async {
            drop(stopping.wait_for(|stop| *stop).await);
            tokio::time::sleep(LAST_WRITES).await;
        };
        // In a task of its own, so that a long cycle of the engine does not keep it waiting.
        let (enough, renewing) = renew(held);
        let mut renewing = renewing;
        let end = tokio::select! {
            end = engine.lead(stopped.clone()) => end,
            _ = &mut renewing => {
                metrics.leads(None);
                warn!("not leading any more");
                continue;
            }
            () = patience => End::Stopped,
        };
        metrics.leads(None);
        drop(enough);
        let held = renewing.await.ok();
        match end {
            End::Stopped => {
                if let Some(held) = held {
                    held.release().await;
                }
                return;
            }
            End::Deposed => warn!("not leading any more"),
            End::Behind(newest) => {
                floor = newest;
                if let Some(held) = held {
                    held.release().await;
                }
            }
        }
    }
}

/// Renews until the lease is lost, or until the sender is dropped.
fn renew(mut held: Held) -> (oneshot::Sender<()>, JoinHandle<Held>) {
    let (enough, asked) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        tokio::select! {
            () = held.renew() => {}
            _ = asked => {}
        }
        held
    });
    (enough, task)
}

/// What has to be known before leading: the hub's UID, and the newest term that any agent was told.
async fn prepare(hub: &Connection) -> (String, i64) {
    loop {
        match known_of_hub(hub).await {
            Ok(known) => return known,
            Err(error) => {
                warn!(%error, "the hub is not ready");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

async fn known_of_hub(hub: &Connection) -> Result<(String, i64)> {
    let system = hub
        .get::<RawObject>(&known::NAMESPACE, &ObjectKey::cluster("kube-system"))
        .await?
        .context("the hub has no namespace kube-system")?;
    let inventories: Vec<Inventory> = hub.list(&api::INVENTORIES, None, None).await?;
    let newest = inventories
        .iter()
        .map(|inventory| inventory.spec.min_term)
        .max()
        .unwrap_or(0);
    Ok((system.metadata.uid, newest))
}

/// Different for every process of a machine, and for every machine.
fn default_identity() -> String {
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .ok()
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "scheduler".to_owned());
    format!("{host}-{}", std::process::id())
}
