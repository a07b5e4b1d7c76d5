//! Reads from the hub what the planner would see, with the rights of whoever asks.

use client::Class;
use futures::future::join_all;
use placement_api::api_type::ApiType;
use placement_api::raw::RawObject;
use scheduler::Reader;
use scheduler::whatif::View;

use crate::cluster::Cluster;
use crate::failure::Failure;

/// Kinds that are listed at once.
const AT_ONCE: usize = 8;

/// Everything that the planner sees, read now.
pub(crate) async fn view(hub: &Cluster) -> Result<View, Failure> {
    let mut reader = Reader::new();
    let mut denied = Vec::new();
    list(hub, &Reader::first(), &mut reader, &mut denied).await?;
    let discovery = hub.connection.discover().await;
    let discovery = discovery.map_err(|error| hub.failure(&error))?;
    let then = reader.then(&discovery);
    list(hub, &then, &mut reader, &mut denied).await?;
    if denied.is_empty() {
        return Ok(reader.view());
    }
    let first = denied.first().cloned().unwrap_or_default();
    Err(Failure::failed(format!(
        "to plan the fleet one has to see all of it, and you may not list {}",
        denied.join(", ")
    ))
    .hint(format!("check with: kubectl auth can-i list {first} -A"))
    .hint("the ClusterRoles inhaul-whatif and view, bound for all namespaces, are enough; nothing is written, and no Secret is read"))
}

async fn list(
    hub: &Cluster,
    kinds: &[ApiType],
    reader: &mut Reader,
    denied: &mut Vec<String>,
) -> Result<(), Failure> {
    for some in kinds.chunks(AT_ONCE) {
        let lists = some.iter().map(|api| async move {
            let objects = hub.connection.list::<RawObject>(api, None, None).await;
            (api, objects)
        });
        for (api, objects) in join_all(lists).await {
            match objects {
                Ok(objects) => reader.take(api, objects),
                Err(error) if error.class() == Class::Denied && error.code == Some(403) => {
                    denied.push(resource(api));
                }
                Err(error) => return Err(hub.failure(&error)),
            }
        }
    }
    Ok(())
}

/// As kubectl takes it: `jobs.batch`.
fn resource(api: &ApiType) -> String {
    if api.group.is_empty() {
        api.plural.to_string()
    } else {
        format!("{}.{}", api.plural, api.group)
    }
}
