//! `inhaul target describe`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use placement_api::api_type::ObjectKey;
use placement_api::kinds::{AssignmentState, Inventory, SyncTarget, api};
use placement_api::names::{INVENTORY, target_namespace};
use placement_api::raw::RawObject;

use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::get;
use crate::lines::Lines;
use crate::output::{self, Format, Paint};
use crate::views::{self, AssignmentView, LeaseView};
use crate::words;

/// Width of the first column.
const WIDTH: usize = 10;
/// So many workloads are named.
const NAMED: usize = 20;

/// Everything about a target on one screen.
pub(super) async fn run(hub: &Cluster, name: &str, format: Option<Format>) -> Result<(), Failure> {
    let target = super::find(hub, name).await?;
    if format.is_some() {
        let raw: Option<RawObject> = hub
            .get(&api::SYNC_TARGETS, &ObjectKey::cluster(name))
            .await?;
        let raws: Vec<RawObject> = raw.into_iter().collect();
        if let Some(done) = get::machine(&raws, format, Some(name)) {
            return done;
        }
    }
    let namespace = target_namespace(name);
    let facts = Facts {
        lease: super::lease(hub, name).await?,
        inventory: hub
            .get(
                &api::INVENTORIES,
                &ObjectKey::new(namespace.clone(), INVENTORY),
            )
            .await?,
        assignments: hub.list(&api::ASSIGNMENTS, Some(&namespace)).await?,
        target,
    };
    output::data(&render(&facts, Timestamp::now(), Paint::stdout()))
}

/// What there is to know.
#[derive(Clone, Debug)]
struct Facts {
    target: SyncTarget,
    lease: Option<LeaseView>,
    inventory: Option<Inventory>,
    assignments: Vec<AssignmentView>,
}

fn render(facts: &Facts, now: Timestamp, paint: Paint) -> String {
    let target = &facts.target;
    let name = target.metadata.name.as_deref().unwrap_or_default();
    let status = target.status.clone().unwrap_or_default();
    let report = facts
        .inventory
        .as_ref()
        .and_then(|i| i.status.clone())
        .unwrap_or_default();
    let state = if status.state.is_empty() {
        "Pending"
    } else {
        &status.state
    };
    let mut out = Lines::new(&format!("{name} is {}.", paint.state(state)), WIDTH);

    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    if let Some(ready) = ready.filter(|c| c.status != "True") {
        out.line("why", &ready.message);
    }
    let agent = if report.agent_version.is_empty() {
        "–"
    } else {
        &report.agent_version
    };
    let version = if status.kubernetes_version.is_empty() {
        &report.kubernetes_version
    } else {
        &status.kubernetes_version
    };
    let version = if version.is_empty() { "–" } else { version };
    out.line(
        "cluster",
        &format!(
            "kubernetes {version}, agent {agent}, UID {}",
            status.cluster_uid.as_deref().unwrap_or("–")
        ),
    );
    let holder = facts
        .lease
        .as_ref()
        .filter(|l| l.is_held())
        .and_then(|l| l.spec.holder_identity.clone());
    let ago = super::contact(facts.lease.as_ref(), now);
    out.line(
        "contact",
        &match (ago.as_str(), holder) {
            ("never", _) => "never".to_owned(),
            (_, Some(holder)) => format!("{ago} ago, by {holder}"),
            (_, None) => format!("{ago} ago; the agent has stopped cleanly since"),
        },
    );
    out.line("age", &words::since(views::created(&target.metadata), now));
    out.line(
        "labels",
        &pairs(&target.metadata.labels.clone().unwrap_or_default()),
    );
    out.line(
        "taints",
        &target
            .spec
            .taints
            .iter()
            .map(|t| {
                if t.value.is_empty() {
                    format!("{}:{:?}", t.key, t.effect)
                } else {
                    format!("{}={}:{:?}", t.key, t.value, t.effect)
                }
            })
            .collect::<Vec<_>>()
            .join(", "),
    );
    out.line("locations", &status.locations.join(", "));
    let unusable: Vec<String> = report
        .nodes
        .iter()
        .filter_map(|n| n.unusable.as_ref().map(|why| format!("{} {why}", n.name)))
        .collect();
    let nodes = words::count(status.nodes, "node");
    out.line(
        "nodes",
        &if unusable.is_empty() {
            nodes
        } else {
            format!("{nodes}; take nothing: {}", unusable.join(", "))
        },
    );
    let free: Vec<String> = status
        .capacity
        .iter()
        .filter(|(resource, _)| {
            matches!(resource.as_str(), "cpu" | "memory") || resource.contains('/')
        })
        .map(|(resource, all)| {
            let free = status.free.get(resource).copied().unwrap_or_default();
            format!(
                "{resource} {} of {}",
                words::amount(resource, free),
                words::amount(resource, *all)
            )
        })
        .collect();
    out.line("free", &free.join(" · "));
    for device in &status.devices {
        let sharing = if device.sharing.is_empty() || device.sharing == "Whole" {
            String::new()
        } else {
            format!(", {}", device.sharing)
        };
        let product = if device.product.is_empty() {
            &device.resource
        } else {
            &device.product
        };
        let physical = device.physical.map_or_else(String::new, |count| {
            format!(" on {}", words::count(count, "physical device"))
        });
        out.line(
            "devices",
            &format!(
                "{product}{sharing}: {} free of {}{physical}",
                device.free, device.total
            ),
        );
    }
    if let Some(drain) = &status.drain {
        out.line(
            "drain",
            &format!(
                "{} moving, {} without room elsewhere",
                drain.moving, drain.stuck
            ),
        );
        let names = drain
            .stuck_workloads
            .iter()
            .map(|w| w.workload.chars().count());
        let width = names.max().unwrap_or_default();
        for stuck in &drain.stuck_workloads {
            out.line("", &format!("{:width$}  {}", stuck.workload, stuck.message));
        }
    }
    for problem in &report.problems {
        out.line("problems", problem);
    }
    let there: Vec<&AssignmentView> = facts.assignments.iter().filter(|a| a.is_there()).collect();
    out.line(
        "workloads",
        &if there.is_empty() {
            "none".to_owned()
        } else {
            there.len().to_string()
        },
    );
    let names = there
        .iter()
        .take(NAMED)
        .map(|a| a.spec.workload.to_string());
    let width = names.map(|n| n.chars().count()).max().unwrap_or_default();
    for assignment in there.iter().take(NAMED) {
        let name = assignment.spec.workload.to_string();
        let going = if assignment.spec.state == AssignmentState::Removed {
            ", being taken away"
        } else {
            ""
        };
        out.line(
            "",
            &format!("{name:width$}  {:?}{going}", assignment.phase()),
        );
    }
    if there.len() > NAMED {
        out.line("", &format!("… and {} more", there.len() - NAMED));
    }
    out.finish()
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use placement_api::kinds::{SyncTargetSpec, SyncTargetStatus};
    use placement_api::toleration::{Taint, TaintEffect};

    use super::*;
    use crate::views::LeaseSpecView;

    #[test]
    fn a_target_on_one_screen() {
        let now: Timestamp = "2026-01-06T12:00:00Z".parse().unwrap();
        let mut target = SyncTarget::new(
            "eu-1",
            SyncTargetSpec {
                taints: vec![Taint {
                    key: "maintenance".into(),
                    value: String::new(),
                    effect: TaintEffect::NoSchedule,
                }],
                ..SyncTargetSpec::default()
            },
        );
        target.metadata.labels = Some([("tier".to_owned(), "gpu".to_owned())].into());
        let amount = |text: &str| placement_api::quantity::Quantity::parse(text).unwrap();
        target.status = Some(SyncTargetStatus {
            state: "Ready".into(),
            nodes: 6,
            kubernetes_version: "v1.36.3".into(),
            cluster_uid: Some("u-1".into()),
            capacity: [
                ("cpu".to_owned(), amount("512")),
                ("memory".to_owned(), amount("4Ti")),
            ]
            .into(),
            free: [
                ("cpu".to_owned(), amount("300500m")),
                ("memory".to_owned(), amount("2Ti")),
            ]
            .into(),
            locations: vec!["eu".into()],
            ..SyncTargetStatus::default()
        });
        let lease = LeaseView {
            spec: LeaseSpecView {
                holder_identity: Some("agent-1".into()),
                renew_time: Some("2026-01-06T11:59:58Z".parse().unwrap()),
            },
        };
        let facts = Facts {
            target,
            lease: Some(lease),
            inventory: None,
            assignments: Vec::new(),
        };
        assert_eq!(
            render(&facts, now, Paint::plain()),
            "\
eu-1 is Ready.
  cluster     kubernetes v1.36.3, agent –, UID u-1
  contact     2s ago, by agent-1
  age         –
  labels      tier=gpu
  taints      maintenance:NoSchedule
  locations   eu
  nodes       6 nodes
  free        cpu 300 of 512 · memory 2048Gi of 4096Gi
  workloads   none
"
        );
    }
}
