//! Watches: each a task of its own that hands on what it is told, until it is dropped.

use client::{Connection, WatchEvent, WatchScope};
use futures::StreamExt;
use placement_api::api_type::ApiType;
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

use super::event::Event;

/// A running watch; ends when dropped.
#[derive(Debug)]
pub struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a watch whose events reach the engine in the given wrapping.
pub fn watch(
    connection: &Connection,
    api: &ApiType,
    scope: WatchScope,
    engine: &Sender<Event>,
    wrap: impl Fn(WatchEvent) -> Event + Send + 'static,
) -> Watching {
    let mut stream = connection.watch(api, scope);
    let engine = engine.clone();
    let api = api.clone();
    let task = tokio::spawn(async move {
        while let Some(event) = stream.next().await {
            if let WatchEvent::Error(error) = &event {
                tracing::debug!(%api, %error, "a watch was cut off and goes on");
            }
            if engine.send(wrap(event)).await.is_err() {
                return;
            }
        }
    });
    Watching(task.abort_handle())
}
