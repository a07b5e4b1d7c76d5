//! How a workload stands, in one word and where it matters one sentence: scheduling from the Workload, health from its Assignments.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{AssignmentPhase, SyncTarget, Workload, WorkloadPhase};

use crate::views::AssignmentView;

/// A word, and what people should know besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Pending, Starting, Running, Degraded, Refused, Lost, Moving, Deleting, Succeeded, Failed; Assigned and Finished where the Assignments
    /// may not be read.
    pub(crate) word: &'static str,
    /// One sentence; empty where all is well.
    pub(crate) remark: String,
}

/// Targets without contact.
pub(crate) fn lost(targets: &[SyncTarget]) -> BTreeSet<String> {
    targets
        .iter()
        .filter(|t| t.status.as_ref().is_some_and(|s| s.state == "Lost"))
        .filter_map(|t| t.metadata.name.clone())
        .collect()
}

/// Assignments by the name they share with their Workload.
pub(crate) fn by_workload(assignments: &[AssignmentView]) -> BTreeMap<&str, Vec<&AssignmentView>> {
    let mut map: BTreeMap<&str, Vec<&AssignmentView>> = BTreeMap::new();
    for assignment in assignments {
        map.entry(assignment.metadata.name.as_deref().unwrap_or_default())
            .or_default()
            .push(assignment);
    }
    map
}

/// How a workload stands. `assignments` are its own, or `None` where they may not be read.
pub(crate) fn standing(
    workload: &Workload,
    assignments: Option<&[&AssignmentView]>,
    lost: &BTreeSet<String>,
) -> Standing {
    let status = workload.status.clone().unwrap_or_default();
    let word = |word: &'static str| Standing {
        word,
        remark: String::new(),
    };
    let said = |word: &'static str| Standing {
        word,
        remark: status.message.clone(),
    };
    if workload.metadata.deletion_timestamp.is_some() {
        let targets: Vec<&str> = workload
            .spec
            .assignments
            .iter()
            .map(|a| a.target.as_str())
            .collect();
        let remark = if targets.is_empty() {
            "everything is gone from its targets".to_owned()
        } else {
            format!("until it is gone from {}", targets.join(", "))
        };
        return Standing {
            word: "Deleting",
            remark,
        };
    }
    match status.state {
        WorkloadPhase::Pending => said("Pending"),
        WorkloadPhase::Evicting => said("Moving"),
        WorkloadPhase::Finished => match assignments {
            Some(own) if own.iter().any(|a| a.phase() == AssignmentPhase::Failed) => {
                worst(own, AssignmentPhase::Failed, "Failed")
            }
            Some(own) if own.iter().any(|a| a.phase() == AssignmentPhase::Succeeded) => {
                word("Succeeded")
            }
            _ => said("Finished"),
        },
        WorkloadPhase::Assigned => {
            assigned(workload, assignments, lost).unwrap_or_else(|| said("Assigned"))
        }
    }
}

/// Health over the targets that it is assigned to.
fn assigned(
    workload: &Workload,
    assignments: Option<&[&AssignmentView]>,
    lost: &BTreeSet<String>,
) -> Option<Standing> {
    let own: Vec<&AssignmentView> = assignments?
        .iter()
        .copied()
        .filter(|a| {
            workload
                .spec
                .assignments
                .iter()
                .any(|w| w.target == a.target() && !w.evicting)
        })
        .collect();
    let has = |phase: AssignmentPhase| own.iter().any(|a| a.phase() == phase);
    let away: Vec<&str> = workload
        .spec
        .assignments
        .iter()
        .map(|a| a.target.as_str())
        .filter(|t| lost.contains(*t))
        .collect();
    let message = workload
        .status
        .as_ref()
        .map(|s| s.message.clone())
        .unwrap_or_default();
    Some(if has(AssignmentPhase::Refused) {
        worst(&own, AssignmentPhase::Refused, "Refused")
    } else if has(AssignmentPhase::Failed) {
        worst(&own, AssignmentPhase::Failed, "Failed")
    } else if !away.is_empty() {
        let remark = if message.is_empty() {
            format!("no contact with {}", away.join(", "))
        } else {
            message
        };
        Standing {
            word: "Lost",
            remark,
        }
    } else if has(AssignmentPhase::Degraded) {
        worst(&own, AssignmentPhase::Degraded, "Degraded")
    } else if own.len()
        < workload
            .spec
            .assignments
            .iter()
            .filter(|a| !a.evicting)
            .count()
        || has(AssignmentPhase::Pending)
        || has(AssignmentPhase::Applied)
    {
        Standing {
            word: "Starting",
            remark: message,
        }
    } else if own.iter().all(|a| a.phase() == AssignmentPhase::Succeeded) {
        Standing {
            word: "Succeeded",
            remark: message,
        }
    } else {
        Standing {
            word: "Running",
            remark: message,
        }
    })
}

/// The word for a phase, with the first message of an assignment that is in it.
fn worst(own: &[&AssignmentView], phase: AssignmentPhase, word: &'static str) -> Standing {
    let remark = own
        .iter()
        .find(|a| a.phase() == phase)
        .map(|a| format!("{}: {}", a.target(), problem(a)));
    Standing {
        word,
        remark: remark.unwrap_or_default(),
    }
}

/// The first thing that an Assignment says of its trouble.
pub(crate) fn problem(assignment: &AssignmentView) -> String {
    let Some(status) = &assignment.status else {
        return String::new();
    };
    let condition = status
        .conditions
        .iter()
        .find(|c| c.status == "False" && !c.message.is_empty())
        .map(|c| c.message.clone());
    let pod = status
        .pods
        .as_ref()
        .and_then(|p| p.failing.first())
        .map(|pod| {
            let exit = pod
                .exit_code
                .map(|code| format!(", exit code {code}"))
                .unwrap_or_default();
            format!("pod {} {}{exit}", pod.name, pod.reason)
        });
    let manifest = status
        .manifests
        .iter()
        .find(|m| !m.message.is_empty())
        .map(|m| format!("{}: {}", m.reference, m.message));
    condition
        .or(pod)
        .or(manifest)
        .unwrap_or_else(|| format!("{:?}", status.phase))
}

#[cfg(test)]
pub(crate) mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use placement_api::kinds::{
        AssignmentStatus, FailingPod, ObjectRef, PodsSummary, WorkloadAssignment, WorkloadSpec,
        WorkloadState,
    };
    use placement_api::names::{target_namespace, workload_name};

    use super::*;
    use crate::views::AssignmentSpecView;

    /// A Deployment shop/web on these targets.
    pub(crate) fn workload(state: WorkloadPhase, targets: &[&str]) -> Workload {
        let mut workload = Workload::new(
            &workload_name("apps", "Deployment", "shop", "web"),
            WorkloadSpec {
                root: ObjectRef {
                    group: "apps".into(),
                    version: "v1".into(),
                    kind: "Deployment".into(),
                    namespace: "shop".into(),
                    name: "web".into(),
                    uid: "u".into(),
                },
                queue: "default".into(),
                assignments: targets
                    .iter()
                    .map(|t| WorkloadAssignment {
                        target: (*t).into(),
                        epoch: 1,
                        ..WorkloadAssignment::default()
                    })
                    .collect(),
                ..WorkloadSpec::default()
            },
        );
        workload.metadata.namespace = Some("shop".into());
        workload.status = Some(WorkloadState {
            state,
            ..WorkloadState::default()
        });
        workload
    }

    /// Its Assignment on a target.
    pub(crate) fn assignment(target: &str, phase: AssignmentPhase) -> AssignmentView {
        AssignmentView {
            metadata: ObjectMeta {
                name: Some(workload_name("apps", "Deployment", "shop", "web")),
                namespace: Some(target_namespace(target)),
                ..ObjectMeta::default()
            },
            spec: AssignmentSpecView {
                epoch: 1,
                ..AssignmentSpecView::default()
            },
            status: Some(AssignmentStatus {
                epoch: 1,
                phase,
                ..AssignmentStatus::default()
            }),
        }
    }

    #[test]
    fn words() {
        use AssignmentPhase as P;
        let two = workload(WorkloadPhase::Assigned, &["eu-1", "us-1"]);
        let lost = BTreeSet::from(["us-1".to_owned()]);
        for (phases, away, word) in [
            ([P::Healthy, P::Healthy], false, "Running"),
            ([P::Healthy, P::Applied], false, "Starting"),
            ([P::Healthy, P::Degraded], false, "Degraded"),
            ([P::Refused, P::Degraded], false, "Refused"),
            ([P::Healthy, P::Healthy], true, "Lost"),
            ([P::Succeeded, P::Succeeded], false, "Succeeded"),
        ] {
            let (a, b) = (assignment("eu-1", phases[0]), assignment("us-1", phases[1]));
            let lost = if away { lost.clone() } else { BTreeSet::new() };
            assert_eq!(
                standing(&two, Some(&[&a, &b]), &lost).word,
                word,
                "{phases:?}"
            );
        }
        let one = assignment("eu-1", P::Healthy);
        assert_eq!(
            standing(&two, Some(&[&one]), &BTreeSet::new()).word,
            "Starting",
            "one is not written yet"
        );
        assert_eq!(
            standing(&two, None, &BTreeSet::new()).word,
            "Assigned",
            "may not be read"
        );
        assert_eq!(
            standing(
                &workload(WorkloadPhase::Pending, &[]),
                Some(&[]),
                &BTreeSet::new()
            )
            .word,
            "Pending"
        );
        let mut deleted = workload(WorkloadPhase::Evicting, &["eu-1"]);
        deleted.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        let deleting = standing(&deleted, Some(&[]), &BTreeSet::new());
        assert_eq!(
            (deleting.word, deleting.remark.as_str()),
            ("Deleting", "until it is gone from eu-1")
        );
        let old = AssignmentView {
            spec: AssignmentSpecView {
                epoch: 2,
                ..AssignmentSpecView::default()
            },
            ..assignment("eu-1", P::Healthy)
        };
        let single = workload(WorkloadPhase::Assigned, &["eu-1"]);
        assert_eq!(
            standing(&single, Some(&[&old]), &BTreeSet::new()).word,
            "Starting",
            "the status is of an older epoch"
        );
    }

    #[test]
    fn trouble_is_told() {
        let mut bad = assignment("eu-1", AssignmentPhase::Degraded);
        if let Some(status) = &mut bad.status {
            status.pods = Some(PodsSummary {
                failing: vec![FailingPod {
                    name: "web-1".into(),
                    reason: "CrashLoopBackOff".into(),
                    exit_code: Some(3),
                    ..FailingPod::default()
                }],
                ..PodsSummary::default()
            });
        }
        let single = workload(WorkloadPhase::Assigned, &["eu-1"]);
        assert_eq!(
            standing(&single, Some(&[&bad]), &BTreeSet::new()).remark,
            "eu-1: pod web-1 CrashLoopBackOff, exit code 3"
        );
    }
}
