//! Waiting until a target is Ready, by watching; and why it is not, when it is not.

use std::collections::BTreeSet;
use std::time::Duration;

use client::{Class, WatchEvent, WatchScope};
use futures::StreamExt;
use jiff::Timestamp;
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::{Inventory, SyncTarget, api};
use placement_api::names::{AGENT_LEASE, INVENTORY, SCHEDULER, SYSTEM_NAMESPACE, target_namespace};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;
use crate::views::LeaseView;
use crate::words;

/// A heartbeat that was renewed this recently is one.
const ALIVE: i64 = 40;

/// `inhaul target wait`.
pub(super) async fn run(session: &Session, name: &str, timeout: Duration) -> Result<(), Failure> {
    let hub = session.hub().await?;
    super::find(&hub, name).await?;
    wait(&hub, name, timeout, &session.hub_flags()).await
}

/// Waits until the target is Ready and says what came in.
pub(super) async fn wait(
    hub: &Cluster,
    name: &str,
    timeout: Duration,
    flags: &str,
) -> Result<(), Failure> {
    let mut seen = Seen::default();
    let result = tokio::time::timeout(timeout, follow(hub, name, &mut seen)).await;
    match result {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => return Err(failure),
        Err(_) => return Err(diagnose(hub, name, timeout, &seen, flags).await),
    }
    let key = ObjectKey::new(target_namespace(name), INVENTORY);
    if let Some(inventory) = hub.get::<Inventory>(&api::INVENTORIES, &key).await? {
        output::done("inventory", &describe(&inventory));
    }
    let state = seen.state;
    output::talk(&format!(
        "{name} is {state}. Next: create a Placement, apply your objects, and see them with `inhaul get -A`."
    ));
    Ok(())
}

/// What the watches have shown so far.
#[derive(Debug, Default)]
struct Seen {
    connected: bool,
    state: String,
    message: String,
}

async fn follow(hub: &Cluster, name: &str, seen: &mut Seen) -> Result<(), Failure> {
    let start = Instant::now();
    let only = |field: &str, namespace: Option<String>| WatchScope {
        namespace,
        field_selector: Some(format!("metadata.name={field}")),
        ..WatchScope::default()
    };
    let targets = hub
        .connection
        .watch(&api::SYNC_TARGETS, only(name, None))
        .map(|event| (true, event));
    let leases = hub
        .connection
        .watch(
            &known::LEASE,
            only(AGENT_LEASE, Some(target_namespace(name))),
        )
        .map(|event| (false, event));
    let mut events = futures::stream::select(targets, leases);
    let mut first_lease = true;
    let mut ready = false;
    while let Some((is_target, event)) = events.next().await {
        match event {
            WatchEvent::Applied(object) if is_target => {
                let target: SyncTarget =
                    object.parse().map_err(|e| Failure::failed(e.to_string()))?;
                (ready, seen.state, seen.message) = standing(&target);
            }
            WatchEvent::Applied(object) => {
                let lease: LeaseView =
                    object.parse().map_err(|e| Failure::failed(e.to_string()))?;
                let renewed = lease.spec.renew_time.map_or(i64::MIN, Timestamp::as_second);
                let is_new = !std::mem::take(&mut first_lease);
                let alive = lease.is_held()
                    && (is_new || Timestamp::now().as_second().saturating_sub(renewed) < ALIVE);
                if alive && !seen.connected {
                    seen.connected = true;
                    output::done(
                        "connected",
                        &format!("after {:.1} s", start.elapsed().as_secs_f64()),
                    );
                }
            }
            WatchEvent::Deleted(_) if is_target => {
                return Err(Failure::failed(format!(
                    "target {name:?} was removed meanwhile"
                )));
            }
            WatchEvent::Error(error) if error.class() == Class::Denied => {
                return Err(hub.failure(&error));
            }
            _ => {}
        }
        if ready && seen.connected {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether it is Ready, its state in one word, and the message of its condition.
fn standing(target: &SyncTarget) -> (bool, String, String) {
    let Some(status) = &target.status else {
        return (false, String::new(), String::new());
    };
    let condition = status.conditions.iter().find(|c| c.type_ == "Ready");
    let ready = condition.is_some_and(|c| c.status == "True");
    (
        ready,
        status.state.clone(),
        condition.map(|c| c.message.clone()).unwrap_or_default(),
    )
}

/// `3 node classes · 32 × nvidia.com/gpu (H100) in 4 racks`.
fn describe(inventory: &Inventory) -> String {
    let Some(status) = &inventory.status else {
        return "not reported yet".to_owned();
    };
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let mut parts = vec![
        words::count(number(status.nodes.len()), "node"),
        words::count(number(status.classes.len()), "node class"),
    ];
    for device in &status.devices {
        let product = if device.product.is_empty() {
            String::new()
        } else {
            format!(" ({})", words::product(&device.product))
        };
        parts.push(format!("{} × {}{product}", device.total, device.resource));
    }
    const RACK: &str = "topology.kubernetes.io/rack";
    let racks: BTreeSet<&String> = status
        .nodes
        .iter()
        .filter_map(|n| n.labels.get(RACK))
        .collect();
    let mut text = parts.join(" · ");
    if !racks.is_empty() {
        text.push_str(" in ");
        text.push_str(&words::count(number(racks.len()), "rack"));
    }
    text
}

async fn diagnose(
    hub: &Cluster,
    name: &str,
    timeout: Duration,
    seen: &Seen,
    flags: &str,
) -> Failure {
    let after = format!("{name} is not Ready after {} s", timeout.as_secs());
    let again = format!("then wait for it: inhaul target wait {name}{flags}");
    if !seen.connected {
        return Failure::failed(format!("{after}: its agent has not connected"))
            .hint("does it run? As a Deployment, on the member: kubectl -n inhaul-system logs deployment/inhaul-agent")
            .hint("as a process: start inhaul-syncer with the credentials that `register` wrote")
            .hint(again);
    }
    let key = ObjectKey::new(SYSTEM_NAMESPACE, SCHEDULER);
    let lease = hub
        .get::<LeaseView>(&known::LEASE, &key)
        .await
        .ok()
        .flatten();
    if !lease.is_some_and(|l| l.is_held()) {
        return Failure::failed(format!(
            "{after}: its agent is connected, but no scheduler runs on the hub"
        ))
        .hint("start inhaul-scheduler; `inhaul install` says how")
        .hint(again);
    }
    let why = if seen.message.is_empty() {
        "the scheduler has not said why".to_owned()
    } else {
        seen.message.clone()
    };
    let state = if seen.state.is_empty() {
        "Pending"
    } else {
        &seen.state
    };
    Failure::failed(format!("{after} but {state}: {why}"))
        .hint(format!("inhaul target describe {name}{flags}"))
}

#[cfg(test)]
mod tests {
    use placement_api::kinds::{
        DeviceSummary, InventoryNode, InventorySpec, InventoryStatus, NodeClass,
    };

    use super::*;

    #[test]
    fn inventory_in_one_line() {
        let mut inventory = Inventory::new("inventory", InventorySpec::default());
        assert_eq!(describe(&inventory), "not reported yet");
        let node = |rack: &str| InventoryNode {
            labels: [("topology.kubernetes.io/rack".to_owned(), rack.to_owned())].into(),
            ..InventoryNode::default()
        };
        inventory.status = Some(InventoryStatus {
            classes: vec![NodeClass::default()],
            nodes: vec![node("r1"), node("r2"), node("r1")],
            devices: vec![DeviceSummary {
                resource: "nvidia.com/gpu".into(),
                product: "NVIDIA-H100-80GB-HBM3".into(),
                sharing: "Whole".into(),
                total: 24,
                free: 24,
                physical: None,
            }],
            ..InventoryStatus::default()
        });
        assert_eq!(
            describe(&inventory),
            "3 nodes · 1 node class · 24 × nvidia.com/gpu (H100) in 2 racks"
        );
    }
}
