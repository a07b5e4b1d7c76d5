//! `inhaul target list`.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use placement_api::kinds::{SyncTarget, api};
use placement_api::raw::RawObject;

use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::get;
use crate::output::{self, Format, Paint};
use crate::table::{Align, Table};
use crate::views::{self, LeaseView};
use crate::words;

/// Leases are read one by one, so many at once.
const AT_ONCE: usize = 16;

/// Lists targets.
pub(super) async fn run(hub: &Cluster, format: Option<Format>) -> Result<(), Failure> {
    let raws: Vec<RawObject> = hub.list(&api::SYNC_TARGETS, None).await?;
    if let Some(done) = get::machine(&raws, format, None) {
        return done;
    }
    let targets: Vec<SyncTarget> = get::parse(&raws)?;
    if targets.is_empty() {
        output::talk(
            "There is no target yet: inhaul target register NAME --member-kubeconfig FILE",
        );
        return Ok(());
    }
    let contacts = contacts(hub, &targets).await?;
    let table = rows(
        &targets,
        &contacts,
        Timestamp::now(),
        format == Some(Format::Wide),
    );
    output::data(&table.render(Paint::stdout()))
}

/// Heartbeats by target.
pub(crate) async fn contacts(
    hub: &Cluster,
    targets: &[SyncTarget],
) -> Result<BTreeMap<String, LeaseView>, Failure> {
    let names: Vec<String> = targets
        .iter()
        .filter_map(|t| t.metadata.name.clone())
        .collect();
    futures::stream::iter(names)
        .map(|name| async move {
            Ok((
                name.clone(),
                super::lease(hub, &name).await?.unwrap_or_default(),
            ))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Time since the last renewal.
pub(crate) fn contact(lease: Option<&LeaseView>, now: Timestamp) -> String {
    lease
        .and_then(|l| l.spec.renew_time)
        .map_or_else(|| "never".to_owned(), |t| words::since(Some(t), now))
}

/// The table of targets.
pub(crate) fn rows(
    targets: &[SyncTarget],
    contacts: &BTreeMap<String, LeaseView>,
    now: Timestamp,
    wide: bool,
) -> Table {
    let mut columns = vec![
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("LOCATIONS", Align::Left),
        ("NODES", Align::Right),
        ("GPUS", Align::Left),
        ("FREE", Align::Right),
        ("WORKLOADS", Align::Right),
        ("CONTACT", Align::Left),
        ("VERSION", Align::Left),
        ("AGE", Align::Left),
    ];
    if wide {
        columns.extend([
            ("CPU FREE", Align::Left),
            ("MEMORY FREE", Align::Left),
            ("LABELS", Align::Left),
        ]);
    }
    let mut table = Table::new(&columns);
    for target in targets {
        let name = target.metadata.name.clone().unwrap_or_default();
        let status = target.status.clone().unwrap_or_default();
        let state = if status.state.is_empty() {
            "Pending".to_owned()
        } else {
            status.state.clone()
        };
        let dash = |text: String| {
            if text.is_empty() {
                "–".to_owned()
            } else {
                text
            }
        };
        let mut row = vec![
            name.clone(),
            state,
            dash(status.locations.join(", ")),
            status.nodes.to_string(),
            words::devices(&status.devices),
            words::free_devices(&status.devices),
            status.workloads.to_string(),
            contact(contacts.get(&name), now),
            dash(status.kubernetes_version.clone()),
            words::since(views::created(&target.metadata), now),
        ];
        if wide {
            let of = |resource: &str| {
                let amount = |list: &placement_api::quantity::ResourceList| {
                    list.get(resource).copied().unwrap_or_default()
                };
                let (free, all) = (amount(&status.free), amount(&status.capacity));
                format!(
                    "{} of {}",
                    words::amount(resource, free),
                    words::amount(resource, all)
                )
            };
            let labels = target.metadata.labels.clone().unwrap_or_default();
            row.extend([
                of("cpu"),
                of("memory"),
                labels
                    .iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>()
                    .join(","),
            ]);
        }
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use placement_api::kinds::{DeviceSummary, SyncTargetSpec, SyncTargetStatus};

    use super::*;
    use crate::views::LeaseSpecView;

    #[test]
    fn the_table_of_targets() {
        let now: Timestamp = "2026-01-06T12:00:00Z".parse().unwrap();
        let target = |name: &str,
                      state: &str,
                      locations: &[&str],
                      nodes: i64,
                      gpus: Option<(&str, i64, i64)>,
                      workloads: i64| {
            let mut target = SyncTarget::new(name, SyncTargetSpec::default());
            target.metadata.creation_timestamp =
                Some(Time("2026-01-01T12:00:00Z".parse().unwrap()));
            target.status = Some(SyncTargetStatus {
                state: state.into(),
                locations: locations.iter().map(|l| (*l).to_owned()).collect(),
                nodes,
                workloads,
                kubernetes_version: "v1.36.3".into(),
                devices: gpus
                    .into_iter()
                    .map(|(product, total, free)| DeviceSummary {
                        product: product.into(),
                        total,
                        free,
                        ..DeviceSummary::default()
                    })
                    .collect(),
                ..SyncTargetStatus::default()
            });
            target
        };
        let targets = [
            target(
                "eu-1",
                "Ready",
                &["eu", "eu-gpu"],
                6,
                Some(("NVIDIA-H100-80GB-HBM3", 32, 12)),
                14,
            ),
            target("us-1", "Cordoned", &["us"], 40, None, 31),
            target(
                "us-2",
                "Lost",
                &[],
                4,
                Some(("NVIDIA-A100-SXM4-80GB", 16, 0)),
                6,
            ),
            SyncTarget::new("new", SyncTargetSpec::default()),
        ];
        let lease = |time: &str| LeaseView {
            spec: LeaseSpecView {
                holder_identity: Some("a".into()),
                renew_time: Some(time.parse().unwrap()),
            },
        };
        let contacts = [
            ("eu-1", "2026-01-06T11:59:58Z"),
            ("us-1", "2026-01-06T11:59:59Z"),
            ("us-2", "2026-01-06T11:55:48Z"),
        ]
        .into_iter()
        .map(|(name, time)| (name.to_owned(), lease(time)))
        .collect();
        assert_eq!(
            rows(&targets, &contacts, now, false).render(Paint::plain()),
            "\
NAME  STATE     LOCATIONS   NODES  GPUS     FREE  WORKLOADS  CONTACT  VERSION  AGE
eu-1  Ready     eu, eu-gpu      6  32 H100    12         14  2s       v1.36.3  5d
us-1  Cordoned  us             40  0           –         31  1s       v1.36.3  5d
us-2  Lost      –               4  16 A100     0          6  4m12s    v1.36.3  5d
new   Pending   –               0  0           –          0  never    –        –
"
        );
    }
}
