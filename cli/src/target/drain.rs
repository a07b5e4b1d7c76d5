//! `inhaul target drain`: the scheduler decides what can move; this says what it found.

use std::fmt::Write as _;
use std::time::Duration;

use client::{Class, WatchEvent, WatchScope};
use futures::StreamExt;
use placement_api::kinds::{DrainStatus, SyncTarget, api};

use super::cordon;
use crate::args;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

/// Drains a target. Ends with exit code 3 where something stays.
pub(super) async fn run(session: &Session, args: args::Drain) -> Result<(), Failure> {
    if args.force {
        return Err(Failure::typed(
            "--force does not exist yet: what has no room elsewhere stays where it runs",
        )
        .hint("free room on other targets, or delete those workloads"));
    }
    let hub = session.hub().await?;
    let target = super::find(&hub, &args.name).await?;
    let before = assigned(&target);
    let target = if target.spec.unschedulable && target.spec.drain {
        target
    } else {
        cordon::set(&hub, &args.name, true, true).await?
    };
    let generation = target.metadata.generation.unwrap_or_default();
    let timeout = args.timeout.get();

    let Some(answer) = within(timeout, answer(&hub, &args.name, generation, false)).await? else {
        return Err(Failure::failed(format!("{} is cordoned and marked for draining, but the scheduler has not answered within {} s", args.name, timeout.as_secs()))
            .hint("does it run? kubectl -n inhaul-system get lease inhaul-scheduler")
            .hint(format!("see how it stands: inhaul target describe {}{}", args.name, session.hub_flags())));
    };
    let status = drain_status(&answer);
    output::data(&report(&args.name, before, &status))?;
    output::talk(&advice(&args.name, &status, &session.hub_flags()));
    if args.wait && status.moving > 0 {
        let Some(moved) = within(timeout, self::answer(&hub, &args.name, generation, true)).await?
        else {
            return Err(Failure::failed(format!(
                "{} has not been emptied within {} s; it goes on by itself",
                args.name,
                timeout.as_secs()
            ))
            .hint(format!(
                "inhaul target describe {}{}",
                args.name,
                session.hub_flags()
            )));
        };
        let left = drain_status(&moved);
        output::talk(&format!(
            "All that had room elsewhere has moved; {} stay.",
            left.stuck
        ));
        return if left.stuck > 0 {
            Err(Failure::part())
        } else {
            Ok(())
        };
    }
    if status.stuck > 0 {
        Err(Failure::part())
    } else {
        Ok(())
    }
}

fn assigned(target: &SyncTarget) -> i64 {
    target.status.as_ref().map_or(0, |s| s.workloads)
}

fn drain_status(target: &SyncTarget) -> DrainStatus {
    target
        .status
        .as_ref()
        .and_then(|s| s.drain.clone())
        .unwrap_or_default()
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result.map(Some),
        Err(_) => Ok(None),
    }
}

/// The target once the scheduler has answered this generation; with `moved`, once nothing moves any more.
async fn answer(
    hub: &Cluster,
    name: &str,
    generation: i64,
    moved: bool,
) -> Result<SyncTarget, Failure> {
    let scope = WatchScope {
        field_selector: Some(format!("metadata.name={name}")),
        ..WatchScope::default()
    };
    let mut events = hub.connection.watch(&api::SYNC_TARGETS, scope);
    while let Some(event) = events.next().await {
        match event {
            WatchEvent::Applied(object) => {
                let target: SyncTarget =
                    object.parse().map_err(|e| Failure::failed(e.to_string()))?;
                if is_answered(&target, generation) && (!moved || drain_status(&target).moving == 0)
                {
                    return Ok(target);
                }
            }
            WatchEvent::Deleted(_) => {
                return Err(Failure::failed(format!(
                    "target {name:?} was removed meanwhile"
                )));
            }
            WatchEvent::Error(error) if error.class() == Class::Denied => {
                return Err(hub.failure(&error));
            }
            _ => {}
        }
    }
    Err(Failure::failed("the watch has ended"))
}

fn is_answered(target: &SyncTarget, generation: i64) -> bool {
    target.status.as_ref().is_some_and(|s| {
        s.drain.is_some()
            && s.observed_generation
                .is_some_and(|observed| observed >= generation)
    })
}

/// What moves and what does not.
fn report(name: &str, before: i64, status: &DrainStatus) -> String {
    if status.moving == 0 && status.stuck == 0 {
        return match before {
            0 => format!("{name} has no workloads.\n"),
            _ => format!("{name} has no workloads any more.\n"),
        };
    }
    let all = status.moving + status.stuck;
    let mut text = match (status.moving, status.stuck) {
        (1, 0) => "1 workload to move: it has room elsewhere.\n".to_owned(),
        (0, 1) => "1 workload to move, and it has no room elsewhere:\n".to_owned(),
        (0, stuck) => format!(
            "{} to move, and none has room elsewhere:\n",
            workloads(stuck)
        ),
        (moving, 0) => format!("{} to move: all have room elsewhere.\n", workloads(moving)),
        (moving, stuck) => format!(
            "{} to move: {moving} {} room elsewhere, {stuck} {} none:\n",
            workloads(all),
            if moving == 1 { "has" } else { "have" },
            if stuck == 1 { "has" } else { "have" }
        ),
    };
    let width = status
        .stuck_workloads
        .iter()
        .map(|w| w.workload.chars().count())
        .max()
        .unwrap_or_default();
    for stuck in &status.stuck_workloads {
        let _infallible = writeln!(text, "  {:width$}   {}", stuck.workload, stuck.message);
    }
    let named = i64::try_from(status.stuck_workloads.len()).unwrap_or(i64::MAX);
    if status.stuck > named {
        let _infallible = writeln!(text, "  … and {} more", status.stuck - named);
    }
    text
}

fn workloads(n: i64) -> String {
    crate::words::count(n, "workload")
}

/// What happens now.
fn advice(name: &str, status: &DrainStatus, flags: &str) -> String {
    let moving = match status.moving {
        0 => format!("{name} is cordoned"),
        1 => format!(
            "{name} is cordoned and the one is moving (watch with `inhaul get -A --watch{flags}`)"
        ),
        n => format!(
            "{name} is cordoned and the {n} are moving (watch with `inhaul get -A --watch{flags}`)"
        ),
    };
    match status.stuck {
        0 => format!("{moving}. Undo with: inhaul target uncordon {name}{flags}"),
        1 => format!(
            "{moving}; the one that is stuck stays where it is, and moves by itself when there is room elsewhere."
        ),
        n => format!(
            "{moving}; the {n} that are stuck stay where they are, and move by themselves when there is room elsewhere."
        ),
    }
}

#[cfg(test)]
mod tests {
    use placement_api::kinds::{StuckWorkload, SyncTargetSpec, SyncTargetStatus};

    use super::*;

    fn status(moving: i64, stuck: &[(&str, &str)], more: i64) -> DrainStatus {
        DrainStatus {
            moving,
            stuck: i64::try_from(stuck.len()).unwrap() + more,
            stuck_workloads: stuck
                .iter()
                .map(|(w, m)| StuckWorkload {
                    workload: (*w).into(),
                    message: (*m).into(),
                })
                .collect(),
        }
    }

    #[test]
    fn reports() {
        assert_eq!(
            report("us-1", 0, &status(0, &[], 0)),
            "us-1 has no workloads.\n"
        );
        assert_eq!(
            report("us-1", 1, &status(1, &[], 0)),
            "1 workload to move: it has room elsewhere.\n"
        );
        assert!(
            report("us-1", 2, &status(0, &[("a/Job/b", "full")], 1)).starts_with(
                "2 workloads to move, and none has room elsewhere:\n  a/Job/b   full\n"
            )
        );
        assert_eq!(
            report(
                "us-1",
                14,
                &status(
                    11,
                    &[
                        (
                            "vision/Job/pretrain",
                            "needs one rack with 16 H100; the largest free one has 8 (eu-1 r3)"
                        ),
                        ("a/Job/b", "full")
                    ],
                    1
                )
            ),
            "14 workloads to move: 11 have room elsewhere, 3 have none:\n  \
             vision/Job/pretrain   needs one rack with 16 H100; the largest free one has 8 (eu-1 r3)\n  \
             a/Job/b               full\n  \
             … and 1 more\n"
        );
    }

    #[test]
    fn an_answer_is_one_of_this_generation() {
        let mut target = SyncTarget::new("a", SyncTargetSpec::default());
        assert!(!is_answered(&target, 2));
        let mut status = SyncTargetStatus {
            observed_generation: Some(1),
            drain: Some(DrainStatus::default()),
            ..SyncTargetStatus::default()
        };
        target.status = Some(status.clone());
        assert!(!is_answered(&target, 2));
        status.observed_generation = Some(2);
        target.status = Some(status.clone());
        assert!(is_answered(&target, 2));
        status.drain = None;
        target.status = Some(status);
        assert!(!is_answered(&target, 2));
    }
}
