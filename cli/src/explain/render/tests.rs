//! Golden texts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use placement_api::kinds::{
    AssignmentPhase, FailingPod, Failover, PodsSummary, Refusal, SyncTarget, SyncTargetSpec,
    SyncTargetStatus, TargetVerdict, Workload, WorkloadPodSet,
};
use placement_api::quantity::Quantity;

use super::*;
use crate::explain::faster::Hint;
use crate::explain::in_line::InLine;
use crate::get::state::tests::{assignment, workload};

fn now() -> Timestamp {
    "2026-01-06T12:00:00Z".parse().unwrap()
}

fn facts(workload: Workload, assignments: Vec<AssignmentView>) -> Facts {
    Facts {
        workload,
        assignments: assignments
            .into_iter()
            .map(|a| (a.target().to_owned(), Some(a)))
            .collect(),
        may_read: true,
        targets: Vec::new(),
        in_line: None,
        hints: None,
        expected_ms: None,
    }
}

fn pods(name: &str, count: i64, requests: &[(&str, &str)]) -> WorkloadPodSet {
    WorkloadPodSet {
        name: name.into(),
        count,
        min_count: None,
        requests: requests
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Quantity::parse(v).unwrap()))
            .collect(),
    }
}

fn verdict(target: &str, reason: Reason, message: &str) -> TargetVerdict {
    TargetVerdict {
        target: target.into(),
        reason,
        message: message.into(),
    }
}

#[test]
fn a_job_that_waits() {
    let mut job = workload(WorkloadPhase::Pending, &[]);
    job.spec.root.kind = "Job".into();
    job.spec.root.namespace = "vision".into();
    job.spec.root.name = "sweep".into();
    job.spec.queue = "vision".into();
    job.spec.priority = 100;
    job.spec.placement = "research-training".into();
    job.spec.also_selected_by = vec!["everything".into()];
    job.spec.wants = "4 gpu, one rack".into();
    job.spec.pod_sets = vec![pods("main", 4, &[("nvidia.com/gpu", "1"), ("cpu", "4")])];
    job.spec.failover = Failover {
        mode: Some(FailoverMode::Never),
        after: None,
    };
    let status = job.status.as_mut().unwrap();
    status.reason = Some(Reason::TopologyTooSmall);
    status.message = "no target has a rack with 4 free H100".into();
    status.since = "2026-01-06T11:55:00Z".into();
    status.explanation = vec![
        verdict(
            "eu-1",
            Reason::TopologyTooSmall,
            "4 free, but 2 in r1 and 2 in r2",
        ),
        verdict("us-1", Reason::NoDevice, "no GPU of this product"),
    ];
    status.expected_start = Some("2026-01-06T12:12:00Z".into());
    status.refusals = vec![Refusal {
        target: "us-2".into(),
        message: "exceeded quota: gpus".into(),
        count: 2,
        until: "2026-01-06T12:00:40Z".into(),
    }];
    let mut facts = facts(job, Vec::new());
    facts.in_line = Some(InLine {
        share: Some((
            "nvidia.com/gpu".into(),
            Quantity::from_units(20),
            Quantity::from_units(24),
        )),
        place: Some((2, 5)),
    });
    let hint = |change: &str, starts: &str| Hint {
        change: change.into(),
        starts: starts.into(),
        helps: starts != "no change",
    };
    facts.hints = Some(vec![
        hint("topology Preferred", "now, on eu-1"),
        hint("priority +1", "no change"),
    ]);
    assert_eq!(
        render(&facts, now(), Paint::plain()),
        "\
Job vision/sweep waits: no target has a rack with 4 free H100.
  asks       4 gpu, one rack: 4 pods × 1 nvidia.com/gpu, 4 cpu
  queue      vision: uses 20 of the 24 gpu that it is entitled to; 2nd of 5 in line; priority 100
  placement  research-training; everything would select it too, and lost by precedence, being less specific, or being younger
  failover   waits for its target when that is lost (Never)
  targets    eu-1  4 free, but 2 in r1 and 2 in r2  TopologyTooSmall
             us-1  no GPU of this product           NoDevice
  starts     in about 12m, or earlier: promised
  faster     topology Preferred: now, on eu-1
             priority +1: no change
  refused    by us-2 (2 times in a row), avoided for another 40s: exceeded quota: gpus
  since      5m ago
"
    );
}

#[test]
fn a_deployment_in_two_places_of_which_one_is_in_trouble() {
    let mut web = workload(WorkloadPhase::Assigned, &["eu-1", "us-1"]);
    web.spec.placement = "shop".into();
    web.spec.assignments[0].replicas = Some(4);
    web.spec.assignments[1].replicas = Some(2);
    web.spec.assignments[0].domain =
        [("topology.kubernetes.io/rack".to_owned(), "r2".to_owned())].into();
    web.spec.assignments[0].nodes = vec![
        NodeShare {
            name: "n1".into(),
            pods: 3,
            ..NodeShare::default()
        },
        NodeShare {
            name: "n2".into(),
            pods: 1,
            ..NodeShare::default()
        },
    ];
    web.spec.failover = Failover {
        mode: Some(FailoverMode::Overlap),
        after: Some("5m".into()),
    };
    let mut good = assignment("eu-1", AssignmentPhase::Healthy);
    good.status.as_mut().unwrap().pods = Some(PodsSummary {
        total: 4,
        ready: 4,
        ..PodsSummary::default()
    });
    let mut bad = assignment("us-1", AssignmentPhase::Degraded);
    bad.status.as_mut().unwrap().pods = Some(PodsSummary {
        total: 2,
        ready: 1,
        pending: 0,
        failed: 0,
        failing: vec![FailingPod {
            name: "web-5c".into(),
            container: "app".into(),
            reason: "CrashLoopBackOff".into(),
            exit_code: Some(1),
            message: "no such file: /etc/web.conf\nexiting".into(),
        }],
    });
    assert_eq!(
        render(&facts(web, vec![good, bad]), now(), Paint::plain()),
        "\
Deployment shop/web is on eu-1 (4) and us-1 (2), degraded: us-1: pod web-5c CrashLoopBackOff, exit code 1.
  queue      default, priority 0
  placement  shop
  failover   replaced elsewhere after 5m when its target is lost (Overlap)
  runs       eu-1  Healthy   4 of 4 pods ready  4 replicas · rack r2 · epoch 1
                   n1 ×3, n2
             us-1  Degraded  1 of 2 pods ready  2 replicas · epoch 1
  trouble    us-1  pod web-5c, container app: CrashLoopBackOff, exit code 1: no such file: /etc/web.conf
             exiting
"
    );
}

#[test]
fn on_a_lost_target() {
    let mut target = SyncTarget::new("eu-1", SyncTargetSpec::default());
    target.status = Some(SyncTargetStatus {
        state: "Lost".into(),
        conditions: vec![Condition {
            type_: "Ready".into(),
            status: "False".into(),
            reason: "Lost".into(),
            message: String::new(),
            last_transition_time: Time("2026-01-06T11:57:00Z".parse().unwrap()),
            observed_generation: None,
        }],
        ..SyncTargetStatus::default()
    });
    let mut web = workload(WorkloadPhase::Assigned, &["eu-1"]);
    web.spec.placement = "shop".into();
    if let Some(status) = &mut web.status {
        status.message = "it waits until eu-1 is back or confirmed dead (FailoverNever)".into();
    }
    let mut facts = facts(web, vec![assignment("eu-1", AssignmentPhase::Healthy)]);
    facts.targets = vec![target];
    let text = render(&facts, now(), Paint::plain());
    assert!(text.starts_with("Deployment shop/web was last seen on eu-1: it waits until eu-1 is back or confirmed dead (FailoverNever).\n"), "{text}");
    assert!(text.contains("eu-1 has been lost for 3m"), "{text}");
}

#[test]
fn users_without_the_right_to_see_targets_see_what_the_workload_says() {
    let mut web = workload(WorkloadPhase::Assigned, &["eu-1"]);
    web.spec.placement = "shop".into();
    let facts = Facts {
        workload: web,
        assignments: std::collections::BTreeMap::new(),
        may_read: false,
        targets: Vec::new(),
        in_line: None,
        hints: None,
        expected_ms: None,
    };
    let text = render(&facts, now(), Paint::plain());
    assert!(
        text.starts_with("Deployment shop/web is assigned to eu-1.\n"),
        "{text}"
    );
    assert!(text.contains("for platform owners to see"), "{text}");
}

#[test]
fn what_is_on_its_way_is_no_trouble() {
    let condition = |type_: &str, reason: &str, message: &str| Condition {
        type_: type_.into(),
        status: "False".into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: Time(now()),
        observed_generation: None,
    };
    let mut on_its_way = assignment("eu-1", AssignmentPhase::Applied);
    let status = on_its_way.status.as_mut().unwrap();
    status.conditions = vec![condition(
        "Healthy",
        "Progressing",
        "0 of 3 replicas available",
    )];
    let mut refused = assignment("us-1", AssignmentPhase::Refused);
    let status = refused.status.as_mut().unwrap();
    status.conditions = vec![condition("Applied", "Denied", "exceeded quota: gpus")];
    let mut web = workload(WorkloadPhase::Assigned, &["eu-1", "us-1"]);
    web.spec.placement = "shop".into();
    let text = render(
        &facts(web, vec![on_its_way, refused]),
        now(),
        Paint::plain(),
    );
    assert!(
        text.contains("  progress   eu-1  0 of 3 replicas available\n"),
        "{text}"
    );
    assert!(
        text.contains("  trouble    us-1  exceeded quota: gpus (Denied)\n"),
        "{text}"
    );
}

#[test]
fn an_estimate_is_shown_where_nothing_is_promised() {
    let mut job = workload(WorkloadPhase::Pending, &[]);
    job.spec.placement = "shop".into();
    let mut facts = facts(job, Vec::new());
    facts.expected_ms = Some(now().as_millisecond() + 3 * 3_600_000);
    let text = render(&facts, now(), Paint::plain());
    let told =
        "starts     in about 3h, if everybody runs as long as was said: an estimate, no promise";
    assert!(text.contains(told), "{text}");
    if let Some(status) = &mut facts.workload.status {
        status.expected_start = Some("2026-01-06T12:12:00Z".into());
    }
    let text = render(&facts, now(), Paint::plain());
    assert!(!text.contains("an estimate"), "{text}");
}

#[test]
fn who_says_how_long_it_runs() {
    let mut job = workload(WorkloadPhase::Pending, &[]);
    job.spec.expected_runtime = Some("1h30m0s".into());
    let told = |job: &Workload| render(&facts(job.clone(), Vec::new()), now(), Paint::plain());
    assert!(
        told(&job).contains("\n  lasts      90m, as it says\n"),
        "{}",
        told(&job)
    );
    job.spec.past_runs = Some(12);
    let text = "\n  lasts      90m or less, as nine of ten of its 12 last runs did\n";
    assert!(told(&job).contains(text), "{}", told(&job));
}
