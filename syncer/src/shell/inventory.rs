//! The Inventory: put together from the engine's state, written when it has changed, at most once per second.

use placement_api::api_type::ObjectKey;
use placement_api::kinds::{CountedAssignment, InventoryStatus};

use super::discovery::served;
use super::state::State;
use crate::decide::inventory::take_stock;

/// Trouble that is named in the Inventory.
const PROBLEMS: usize = 20;

/// The Inventory's status; `None` while the first look at the member is not complete.
pub fn make(
    state: &State,
    session: i64,
    cluster_uid: &str,
    counted: Vec<CountedAssignment>,
    mut problems: Vec<String>,
) -> Option<InventoryStatus> {
    let discovery = state.discovery.as_ref()?;
    if !state.nodes.is_synced() || !state.pods.is_synced() || !state.devices.is_known() {
        return None;
    }
    let mut stock = take_stock(state.nodes.values(), state.pods.values());
    let devices = state.devices.take(|name| {
        let node = state.nodes.get(&ObjectKey::cluster(name));
        node.is_some_and(|node| node.unusable.is_none())
    });
    for node in &mut stock.nodes {
        node.devices = devices.nodes.get(&node.name).cloned();
    }
    stock.devices.extend(devices.summaries);
    problems.extend(devices.problems);
    problems.sort();
    if problems.len() > PROBLEMS {
        let more = problems.len() - PROBLEMS;
        problems.truncate(PROBLEMS);
        problems.push(format!("and {more} more"));
    }
    Some(InventoryStatus {
        session,
        cluster_uid: cluster_uid.to_owned(),
        kubernetes_version: state.version.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        classes: stock.classes,
        nodes: stock.nodes,
        devices: stock.devices,
        device_classes: devices.classes,
        device_shapes: devices.shapes,
        device_layouts: devices.layouts,
        served: served(discovery),
        counted,
        problems,
    })
}

/// Whether the hub has this already. Which session wrote it makes no difference.
pub fn is_news(last: Option<&InventoryStatus>, new: &InventoryStatus) -> bool {
    last.is_none_or(|last| {
        let same_session = InventoryStatus {
            session: last.session,
            ..new.clone()
        };
        *last != same_session
    })
}
