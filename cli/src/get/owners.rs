//! Tables of what platform owners write: queues, placements, locations.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use placement_api::kinds::{Failover, Location, Placement, Queue};
use placement_api::quantity::ResourceList;

use crate::table::{Align, Table};
use crate::views;
use crate::words;

fn dash(text: String) -> String {
    if text.is_empty() {
        "–".to_owned()
    } else {
        text
    }
}

/// Amounts in one cell: `16 nvidia.com/gpu, 200 cpu`.
fn amounts(list: &ResourceList) -> String {
    if list.is_empty() {
        "–".to_owned()
    } else {
        words::requests(list)
    }
}

/// What a condition `Valid: False` says.
fn invalid(conditions: Option<&Vec<Condition>>) -> String {
    conditions
        .into_iter()
        .flatten()
        .find(|c| c.type_ == "Valid" && c.status == "False")
        .map(|c| format!("invalid: {}", c.message))
        .unwrap_or_default()
}

/// Queues.
pub(super) fn queues(queues: &[Queue], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("PARENT", Align::Left),
        ("WEIGHT", Align::Right),
        ("PRIORITY", Align::Right),
        ("GUARANTEED", Align::Left),
        ("LIMIT", Align::Left),
        ("USED", Align::Left),
        ("WAITING", Align::Right),
        ("AGE", Align::Left),
        ("", Align::Left),
    ]);
    for queue in queues {
        let status = queue.status.as_ref();
        let waiting = status
            .and_then(|s| s.waiting.get("workloads"))
            .map(|q| q.value());
        table.row(vec![
            queue.metadata.name.clone().unwrap_or_default(),
            dash(queue.spec.parent.clone().unwrap_or_default()),
            queue.spec.weight.to_string(),
            queue.spec.priority.to_string(),
            amounts(&queue.spec.guaranteed),
            amounts(&queue.spec.limit),
            status.map_or_else(|| "–".to_owned(), |s| amounts(&s.used)),
            waiting.map_or_else(|| "–".to_owned(), |n| n.to_string()),
            words::since(views::created(&queue.metadata), now),
            invalid(status.map(|s| &s.conditions)),
        ]);
    }
    table
}

/// Placements.
pub(super) fn placements(placements: &[Placement], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("SELECTED", Align::Right),
        ("STRATEGY", Align::Left),
        ("LOCATIONS", Align::Left),
        ("TOPOLOGY", Align::Left),
        ("QUEUE", Align::Left),
        ("FAILOVER", Align::Left),
        ("AGE", Align::Left),
        ("", Align::Left),
    ]);
    for placement in placements {
        let spec = &placement.spec;
        let topology = spec.topology.as_ref().map(|t| {
            let level = t
                .level
                .rsplit_once('/')
                .map_or(t.level.as_str(), |(_, word)| word);
            format!("{level} ({:?})", t.mode)
        });
        let locations: Vec<&str> = spec.locations.iter().map(|l| l.name.as_str()).collect();
        table.row(vec![
            placement.metadata.name.clone().unwrap_or_default(),
            placement
                .status
                .as_ref()
                .map_or_else(|| "–".to_owned(), |s| s.selected.to_string()),
            spec.strategy
                .map_or_else(|| "by kind".to_owned(), |s| format!("{s:?}")),
            if locations.is_empty() {
                "all".to_owned()
            } else {
                locations.join(" > ")
            },
            dash(topology.unwrap_or_default()),
            dash(spec.queue.clone().unwrap_or_default()),
            failover(spec.failover.as_ref()),
            words::since(views::created(&placement.metadata), now),
            invalid(placement.status.as_ref().map(|s| &s.conditions)),
        ]);
    }
    table
}

/// `Overlap after 5m`.
pub(crate) fn failover(failover: Option<&Failover>) -> String {
    let mode = failover
        .and_then(|f| f.mode)
        .map_or_else(|| "by kind".to_owned(), |mode| format!("{mode:?}"));
    match failover.and_then(|f| f.after.as_ref()) {
        Some(after) => format!("{mode} after {after}"),
        None => mode,
    }
}

/// Locations.
pub(super) fn locations(locations: &[Location], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("TARGETS", Align::Right),
        ("READY", Align::Right),
        ("DESCRIPTION", Align::Left),
        ("AGE", Align::Left),
    ]);
    for location in locations {
        let count = |pick: fn(&placement_api::kinds::LocationStatus) -> i64| {
            location
                .status
                .as_ref()
                .map_or_else(|| "–".to_owned(), |s| pick(s).to_string())
        };
        table.row(vec![
            location.metadata.name.clone().unwrap_or_default(),
            count(|s| s.targets),
            count(|s| s.ready),
            dash(location.spec.description.clone()),
            words::since(views::created(&location.metadata), now),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use placement_api::kinds::{
        FailoverMode, LocationRef, LocationSpec, LocationStatus, PlacementSpec, PlacementStatus,
        Strategy, TopologyMode, TopologyRequest,
    };

    use super::*;
    use crate::output::Paint;

    #[test]
    fn the_table_of_placements() {
        let mut training = Placement::new(
            "training",
            PlacementSpec {
                strategy: Some(Strategy::Gang),
                locations: vec![
                    LocationRef {
                        name: "eu-gpu".into(),
                    },
                    LocationRef {
                        name: "us-gpu".into(),
                    },
                ],
                topology: Some(TopologyRequest {
                    level: "topology.kubernetes.io/rack".into(),
                    mode: TopologyMode::Required,
                    relax_after: None,
                }),
                queue: Some("vision".into()),
                failover: Some(Failover {
                    mode: Some(FailoverMode::Fenced),
                    after: Some("15m".into()),
                }),
                ..PlacementSpec::default()
            },
        );
        training.status = Some(PlacementStatus {
            selected: 3,
            conditions: vec![Condition {
                type_: "Valid".into(),
                status: "False".into(),
                message: "spec.locations[1]: no Location \"us-gpu\"".into(),
                reason: "UnknownLocation".into(),
                last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                    Timestamp::UNIX_EPOCH,
                ),
                observed_generation: None,
            }],
            ..PlacementStatus::default()
        });
        let all = Placement::new("all", PlacementSpec::default());
        assert_eq!(
            placements(&[all, training], Timestamp::UNIX_EPOCH).render(Paint::plain()),
            "\
NAME      SELECTED  STRATEGY  LOCATIONS        TOPOLOGY         QUEUE   FAILOVER          AGE
all              –  by kind   all              –                –       by kind           –
training         3  Gang      eu-gpu > us-gpu  rack (Required)  vision  Fenced after 15m  –    invalid: spec.locations[1]: no Location \"us-gpu\"
"
        );
    }

    #[test]
    fn the_table_of_locations() {
        let mut eu = Location::new(
            "eu",
            LocationSpec {
                description: "Europe".into(),
                ..LocationSpec::default()
            },
        );
        eu.status = Some(LocationStatus {
            targets: 3,
            ready: 2,
        });
        assert_eq!(
            locations(&[eu], Timestamp::UNIX_EPOCH).render(Paint::plain()),
            "NAME  TARGETS  READY  DESCRIPTION  AGE\neu          3      2  Europe       –\n"
        );
    }
}
