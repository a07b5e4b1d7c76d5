//! The table of workloads.

use jiff::Timestamp;
use placement_api::kinds::{ObjectRef, SyncTarget, Workload, WorkloadSpec};
use placement_api::raw::RawObject;

use super::state;
use crate::explain;
use crate::table::{Align, Table};
use crate::views::{self, AssignmentView};
use crate::words;

/// Rows as people look for them: by namespace, kind and name.
pub(super) fn table(
    workloads: &[Workload],
    assignments: Option<&[AssignmentView]>,
    targets: &[SyncTarget],
    now: Timestamp,
    with_namespace: bool,
    wide: bool,
) -> Table {
    let mut columns = vec![
        ("WORKLOAD", Align::Left),
        ("QUEUE", Align::Left),
        ("WANTS", Align::Left),
        ("WHERE", Align::Left),
        ("STATE", Align::Left),
        ("AGE", Align::Left),
    ];
    if with_namespace {
        columns.insert(0, ("NAMESPACE", Align::Left));
    }
    if wide {
        columns.extend([
            ("PLACEMENT", Align::Left),
            ("PRIORITY", Align::Right),
            ("EPOCH", Align::Right),
            ("REASON", Align::Left),
        ]);
    }
    columns.push(("", Align::Left));
    let mut table = Table::new(&columns);
    let by_workload = assignments.map(state::by_workload);
    let lost = state::lost(targets);
    let mut sorted: Vec<&Workload> = workloads.iter().collect();
    sorted.sort_by_key(|w| (&w.metadata.namespace, &w.spec.root.kind, &w.spec.root.name));
    for workload in sorted {
        let name = workload.metadata.name.as_deref().unwrap_or_default();
        let own = by_workload
            .as_ref()
            .map(|map| map.get(name).cloned().unwrap_or_default());
        let standing = state::standing(workload, own.as_deref(), &lost);
        let mut row = vec![
            root_name(&workload.spec.root),
            dash(&workload.spec.queue),
            dash(&wants(&workload.spec)),
            place(workload),
            standing.word.to_owned(),
            words::since(views::created(&workload.metadata), now),
        ];
        if with_namespace {
            row.insert(0, workload.metadata.namespace.clone().unwrap_or_default());
        }
        if wide {
            let reason = workload
                .status
                .as_ref()
                .and_then(|s| s.reason)
                .map(|r| r.to_string());
            row.extend([
                dash(&workload.spec.placement),
                workload.spec.priority.to_string(),
                workload.spec.epoch.to_string(),
                reason.unwrap_or_else(|| "–".to_owned()),
            ]);
        }
        row.push(standing.remark);
        table.row(row);
    }
    table
}

/// What it asks for in a few words.
fn wants(spec: &WorkloadSpec) -> String {
    if !spec.wants.is_empty() {
        return spec.wants.clone();
    }
    let pods: i64 = spec.pod_sets.iter().map(|set| set.count).sum();
    if pods == 0 {
        String::new()
    } else {
        words::count(pods, "pod")
    }
}

/// Where it is, in words.
pub(crate) fn place(workload: &Workload) -> String {
    if let Some(status) = workload.status.as_ref().filter(|s| !s.place.is_empty()) {
        return status.place.clone();
    }
    let parts: Vec<String> = workload
        .spec
        .assignments
        .iter()
        .map(|a| {
            a.replicas
                .map_or_else(|| a.target.clone(), |n| format!("{} {n}", a.target))
        })
        .collect();
    dash(&parts.join(" · "))
}

fn dash(text: &str) -> String {
    if text.is_empty() {
        "–".to_owned()
    } else {
        text.to_owned()
    }
}

fn root_name(root: &ObjectRef) -> String {
    format!("{}/{}", root.kind, root.name)
}

/// `Deployment/web` of a Workload that nobody has parsed yet.
pub(super) fn shown_name(object: &RawObject) -> String {
    spec(object).map_or_else(
        || object.metadata.name.clone(),
        |spec| root_name(&spec.root),
    )
}

/// Whether a Workload is meant by the name of its object (`web`, `deploy/web`) or by its own.
pub(super) fn is_named(object: &RawObject, name: &str) -> bool {
    if object.metadata.name == name {
        return true;
    }
    let Some(root) = spec(object).map(|s| s.root) else {
        return false;
    };
    match name.split_once('/') {
        Some((kind, name)) => root.name == name && explain::kind_is(kind, &root.group, &root.kind),
        None => root.name == name,
    }
}

fn spec(object: &RawObject) -> Option<WorkloadSpec> {
    object.section_as("spec").ok().flatten()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use placement_api::kinds::{AssignmentPhase, WorkloadPhase};
    use placement_api::reason::Reason;

    use super::super::state::tests::{assignment, workload};
    use super::*;
    use crate::output::Paint;

    fn three() -> Vec<Workload> {
        let mut web = workload(WorkloadPhase::Assigned, &["eu-1", "us-1"]);
        web.spec.wants = "6 replicas".into();
        web.spec.assignments[0].replicas = Some(4);
        web.spec.assignments[1].replicas = Some(2);
        web.metadata.creation_timestamp = Some(Time("2026-01-06T11:58:00Z".parse().unwrap()));
        let mut sweep = workload(WorkloadPhase::Pending, &[]);
        sweep.metadata.namespace = Some("vision".into());
        sweep.metadata.name = Some("job-sweep".into());
        sweep.metadata.creation_timestamp = Some(Time("2026-01-06T11:59:00Z".parse().unwrap()));
        sweep.spec.root.kind = "Job".into();
        sweep.spec.root.name = "sweep".into();
        sweep.spec.queue = "vision".into();
        sweep.spec.wants = "4 gpu, one rack".into();
        if let Some(status) = &mut sweep.status {
            status.message = "no rack with 4 free GPUs (3 targets)".into();
            status.reason = Some(Reason::TopologyTooSmall);
        }
        vec![sweep, web]
    }

    #[test]
    fn the_table_of_workloads() {
        let now = "2026-01-06T12:00:00Z".parse().unwrap();
        let assignments = [
            assignment("eu-1", AssignmentPhase::Healthy),
            assignment("us-1", AssignmentPhase::Healthy),
        ];
        assert_eq!(
            table(&three(), Some(&assignments), &[], now, true, false).render(Paint::plain()),
            "\
NAMESPACE  WORKLOAD        QUEUE    WANTS            WHERE            STATE    AGE
shop       Deployment/web  default  6 replicas       eu-1 4 · us-1 2  Running  2m
vision     Job/sweep       vision   4 gpu, one rack  –                Pending  60s  no rack with 4 free GPUs (3 targets)
"
        );
    }

    #[test]
    fn wide_has_more() {
        let now = "2026-01-06T12:00:00Z".parse().unwrap();
        let text = table(&three(), None, &[], now, false, true).render(Paint::plain());
        assert!(text.starts_with("WORKLOAD        QUEUE    WANTS            WHERE            STATE     AGE  PLACEMENT  PRIORITY  EPOCH  REASON\n"), "{text}");
        assert!(
            text.contains("Assigned"),
            "without the right to read Assignments: {text}"
        );
        assert!(text.contains("TopologyTooSmall"), "{text}");
    }

    #[test]
    fn objects_are_named_as_people_do() {
        let object = RawObject::from_typed(&three()[1]).unwrap();
        for name in [
            "web",
            "deploy/web",
            "Deployment/web",
            "deployments/web",
            "deployment.apps/web",
            &object.metadata.name,
        ] {
            assert!(is_named(&object, name), "{name}");
        }
        for name in ["job/web", "deploy/we", "deployment.batch/web", "webb"] {
            assert!(!is_named(&object, name), "{name}");
        }
        assert_eq!(shown_name(&object), "Deployment/web");
    }
}
