//! `inhaul target cordon` and `uncordon`.

use placement_api::api_type::ObjectKey;
use placement_api::kinds::{SyncTarget, api};
use placement_api::names::CLI_MANAGER;
use serde_json::json;

use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::output;

/// Nothing new; what runs stays.
pub(super) async fn cordon(hub: &Cluster, name: &str) -> Result<(), Failure> {
    let target = super::find(hub, name).await?;
    if target.spec.unschedulable {
        let also = if target.spec.drain {
            ", and being drained"
        } else {
            ""
        };
        output::talk(&format!("{name} is cordoned already{also}"));
        return Ok(());
    }
    let _after = set(hub, name, true, target.spec.drain).await?;
    output::talk(&format!(
        "{name} is cordoned: it takes nothing new, what runs there stays"
    ));
    Ok(())
}

/// New work again.
pub(super) async fn uncordon(hub: &Cluster, name: &str) -> Result<(), Failure> {
    let target = super::find(hub, name).await?;
    if !target.spec.unschedulable && !target.spec.drain {
        output::talk(&format!("{name} is not cordoned"));
        return Ok(());
    }
    let _after = set(hub, name, false, false).await?;
    output::talk(&if target.spec.drain {
        format!(
            "{name} takes new work again and its drain has ended; what has moved away does not come back by itself"
        )
    } else {
        format!("{name} takes new work again")
    });
    Ok(())
}

/// Sets both fields; they depend on each other.
pub(super) async fn set(
    hub: &Cluster,
    name: &str,
    unschedulable: bool,
    drain: bool,
) -> Result<SyncTarget, Failure> {
    let patch = json!({ "spec": { "unschedulable": unschedulable, "drain": drain } });
    hub.connection
        .merge_patch(
            &api::SYNC_TARGETS,
            &ObjectKey::cluster(name),
            None,
            &patch,
            CLI_MANAGER,
        )
        .await
        .map_err(|error| hub.failure(&error))
}
