//! `inhaul get --watch`: the table, and then each row again when it changes by more than the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use client::{Class, WatchEvent, WatchScope};
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use placement_api::api_type::{ApiType, ObjectKey};

use super::{Query, Snapshot};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::output::{self, Paint};

/// Prints until it is interrupted or nobody reads any more.
pub(super) async fn run(hub: &Cluster, query: &Query) -> Result<(), Failure> {
    // Errors that a watch would only repeat are told at once; what may not be read is left out of it.
    let mut snapshot = Snapshot::read(hub, query).await?;
    let mut following = Following::start(hub, query, &snapshot);
    let mut printed = Printed::default();
    loop {
        let table = super::table(hub, query, &snapshot, Timestamp::now()).await?;
        printed.print(&table)?;
        following.changes(hub, &mut snapshot).await?;
    }
}

/// The watches behind a table.
struct Following {
    events: SelectAll<BoxStream<'static, (ApiType, WatchEvent)>>,
    /// What a list that is under way has brought so far.
    listing: BTreeMap<String, BTreeSet<ObjectKey>>,
}

impl Following {
    fn start(hub: &Cluster, query: &Query, snapshot: &Snapshot) -> Self {
        let first = query.what.api();
        let kinds = std::iter::once(&first)
            .chain(query.what.beside())
            .filter(|api| snapshot.of(api).is_some());
        let streams = kinds.map(|api| {
            let scope = WatchScope {
                namespace: query.namespace_of(api).map(str::to_owned),
                ..WatchScope::default()
            };
            let api = api.clone();
            hub.connection
                .watch(&api, scope)
                .map(move |event| (api.clone(), event))
                .boxed()
        });
        Self {
            events: futures::stream::select_all(streams),
            listing: BTreeMap::new(),
        }
    }

    /// Waits for changes and brings them, and all that have come in meanwhile, into the snapshot.
    async fn changes(&mut self, hub: &Cluster, snapshot: &mut Snapshot) -> Result<(), Failure> {
        let mut next = self.events.next().await;
        while let Some((api, event)) = next {
            self.take(hub, snapshot, &api, event)?;
            next = self.events.next().now_or_never().flatten();
        }
        Ok(())
    }

    fn take(
        &mut self,
        hub: &Cluster,
        snapshot: &mut Snapshot,
        api: &ApiType,
        event: WatchEvent,
    ) -> Result<(), Failure> {
        let plural = api.plural.to_string();
        let objects = snapshot.objects.entry(plural.clone()).or_default();
        match event {
            WatchEvent::Restarted => {
                self.listing.insert(plural, BTreeSet::new());
            }
            WatchEvent::Applied(object) => {
                if let Some(listed) = self.listing.get_mut(&plural) {
                    listed.insert(object.key());
                }
                objects.insert(object.key(), object);
            }
            WatchEvent::Deleted(object) => {
                objects.remove(&object.key());
            }
            WatchEvent::Synced => {
                if let Some(listed) = self.listing.remove(&plural) {
                    objects.retain(|key, _| listed.contains(key));
                }
            }
            WatchEvent::Error(error) if error.class() == Class::Denied => {
                return Err(hub.failure(&error));
            }
            WatchEvent::Error(_) => {}
        }
        Ok(())
    }
}

/// What stands on the screen.
#[derive(Debug, Default)]
struct Printed {
    widths: Vec<usize>,
    rows: BTreeMap<String, String>,
    header: bool,
}

impl Printed {
    fn print(&mut self, table: &crate::table::Table) -> Result<(), Failure> {
        let text = self.update(table);
        if text.is_empty() {
            Ok(())
        } else {
            output::data(&text)
        }
    }

    /// The lines to print: new and changed rows, and those that have gone.
    fn update(&mut self, table: &crate::table::Table) -> String {
        let paint = Paint::stdout();
        let widths = table.widths();
        self.widths.resize(widths.len(), 0);
        for (have, new) in self.widths.iter_mut().zip(widths) {
            *have = (*have).max(new);
        }
        let rows = table.fingerprints();
        let changed: BTreeSet<usize> = rows
            .iter()
            .enumerate()
            .filter(|(_, (key, content))| self.rows.get(key) != Some(content))
            .map(|(index, _)| index)
            .collect();
        let mut text = String::new();
        if !self.header && !rows.is_empty() {
            self.header = true;
            text += &table.header(&self.widths, paint);
        }
        text += &table
            .only(|index| changed.contains(&index))
            .body(&self.widths, paint);
        let now: BTreeMap<String, String> = rows.into_iter().collect();
        for gone in self.rows.keys().filter(|key| !now.contains_key(*key)) {
            let _infallible = writeln!(text, "{gone} is gone");
        }
        self.rows = now;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Align, Table};

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("STATE", Align::Left),
            ("AGE", Align::Left),
        ]);
        rows.iter()
            .for_each(|row| table.row(row.iter().map(|c| (*c).to_owned()).collect()));
        table
    }

    #[test]
    fn only_changes_are_printed() {
        let mut printed = Printed::default();
        assert_eq!(printed.update(&table(&[])), "");
        assert_eq!(
            printed.update(&table(&[["a", "Ready", "1s"]])),
            "NAME  STATE  AGE\na     Ready  1s\n"
        );
        assert_eq!(
            printed.update(&table(&[["a", "Ready", "2s"]])),
            "",
            "only the clock has moved"
        );
        assert_eq!(
            printed.update(&table(&[["a", "Lost", "3s"], ["b", "Ready", "0s"]])),
            "a     Lost   3s\nb     Ready  0s\n"
        );
        assert_eq!(
            printed.update(&table(&[["b", "Ready", "1s"]])),
            "a is gone\n"
        );
    }
}
