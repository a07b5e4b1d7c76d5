//! What the member serves: asked at the start, and again when somebody has reason to believe that it changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{Connection, Discovery};
use placement_api::api_type::{ApiType, GroupKind};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

use super::event::Event;

/// Without any reason it is asked this often: aggregated APIs come and go unseen.
const ROUTINE: Duration = Duration::from_secs(600);
/// Changes come in bursts; one question answers them all.
const GATHER: Duration = Duration::from_millis(100);

/// Asks whenever `changed` is notified, and tells the engine.
pub async fn follow(member: Connection, changed: Arc<Notify>, engine: Sender<Event>) {
    let mut wait = Duration::from_millis(200);
    loop {
        let version = member.version().await;
        match (member.discover().await, version) {
            (Ok(discovery), Ok(version)) => {
                wait = Duration::from_millis(200);
                if engine
                    .send(Event::Discovered(Box::new(discovery), version))
                    .await
                    .is_err()
                {
                    return;
                }
                tokio::select! {
                    () = changed.notified() => sleep(GATHER).await,
                    () = sleep(ROUTINE) => {}
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "the member does not say what it serves; asking again");
                sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(15));
            }
        }
    }
}

/// The kind in the version it is written in, or, where that is gone, as the server prefers it.
pub fn resolve(discovery: &Discovery, api_version: &str, kind: &GroupKind) -> Option<ApiType> {
    discovery
        .find_version(api_version, &kind.kind)
        .or_else(|| discovery.find(kind))
        .map(|served| served.api.clone())
}

/// Every kind that can be written, as the Inventory names them.
pub fn served(discovery: &Discovery) -> Vec<String> {
    let all: BTreeSet<String> = discovery
        .apis
        .iter()
        .filter(|served| served.can("create") && served.can("patch") && served.can("watch"))
        .map(|served| format!("{}/{}", served.api.api_version(), served.api.kind))
        .collect();
    all.into_iter().collect()
}
