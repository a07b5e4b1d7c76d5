//! `bench place`: 500 Deployments, each to two members, on real API servers.
//!
//! The members have no workload controllers, as in the published runs of others, so what is measured is the way of an
//! object and not the making of pods. The floor is the same number of the same writes by a bare client, in the same run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use client::{WatchEvent, WatchScope};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::api;
use placement_api::names;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::cost;
use crate::cluster::Component;
use crate::fleet::FleetSpec;
use crate::rig::{Rig, RigSpec, RigTarget};

/// How long the whole burst may take before the bench gives up.
const LIMIT: Duration = Duration::from_secs(300);
/// Creates in flight, for the user and for the floor.
const CONCURRENCY: usize = 32;
const NAMESPACE: &str = "bench";
const TARGETS: [&str; 2] = ["one", "two"];

/// Sizes of the run.
#[derive(Debug, Clone, clap::Args)]
pub struct PlaceArgs {
    /// Deployments in the burst.
    #[arg(long, default_value_t = 500)]
    workloads: usize,
    /// Deployments and status changes one after the other, for the latencies.
    #[arg(long, default_value_t = 100)]
    single: usize,
    /// Text for people, or JSON.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Runs it and prints the figures.
pub(super) async fn run(args: PlaceArgs) -> Result<()> {
    let rig = start().await?;
    let idle: BTreeMap<String, f64> = cost::own_pids(&rig)
        .into_iter()
        .map(|(name, pid)| (name, cost::resident_mib(pid)))
        .collect();
    let mut arrivals = Arrivals::watch(&rig);

    let floor = floor(&rig, args.workloads).await?;
    let burst = burst(&rig, &mut arrivals, args.workloads).await?;
    let (down, up) = singles(&rig, &mut arrivals, args.single).await?;

    let memory: BTreeMap<String, f64> = cost::own_pids(&rig)
        .into_iter()
        .map(|(name, pid)| (name, cost::resident_mib(pid)))
        .collect();
    let report = json!({
        "workloads": args.workloads,
        "burst": {"perSecond": burst.per_second, "floorPerSecond": floor.per_second, "floorRatio": floor.per_second / burst.per_second},
        "hubWritesPerWorkload": burst.writes_per_workload,
        "hubWritesByResource": burst.writes,
        "cpuSecondsPerWorkload": {"all": burst.cpu_all, "ours": burst.cpu_ours, "floor": floor.cpu_all},
        "createToApplied": {"p50Ms": cost::percentile(&down, 50), "p99Ms": cost::percentile(&down, 99)},
        "statusUp": {"p50Ms": cost::percentile(&up, 50), "p99Ms": cost::percentile(&up, 99)},
        "memoryMiB": {"idle": idle, "after": memory},
    });
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text => print(&report),
    }
    Ok(())
}

async fn start() -> Result<Rig> {
    let spec = RigSpec {
        fleet: FleetSpec::new(2)?,
        targets: vec![
            RigTarget::new(TARGETS[0], "member1", &[]),
            RigTarget::new(TARGETS[1], "member2", &[]),
        ],
        scheduler_args: Vec::new(),
        agent_args: vec!["--unschedulable-after".into(), "1h".into()],
    };
    let rig = Rig::start(spec, |step| eprintln!("✓ {step}")).await?;
    for member in ["member1", "member2"] {
        for component in [
            Component::Kwok,
            Component::ControllerManager,
            Component::Scheduler,
        ] {
            rig.fleet().member(member).kill(component)?;
        }
        // Nobody makes the default account any more; nothing here makes pods either.
    }
    rig.hub()
        .apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}"
        ))
        .await?;
    rig.hub()
        .apply(
            &json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": "Placement", "metadata": {"name": "bench"},
                "spec": {"strategy": "Duplicate", "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}}})
            .to_string(),
        )
        .await?;
    Ok(rig)
}

/// When objects arrive on the members and when their status arrives on the hub.
struct Arrivals {
    events: mpsc::Receiver<(&'static str, String, Option<i64>, Instant)>,
}

impl Arrivals {
    fn watch(rig: &Rig) -> Self {
        let (send, events) = mpsc::channel(16_384);
        let places = [
            ("hub", rig.hub()),
            (TARGETS[0], rig.member(TARGETS[0])),
            (TARGETS[1], rig.member(TARGETS[1])),
        ];
        for (place, admin) in places {
            let mut stream = admin
                .connection()
                .watch(&known::DEPLOYMENT, WatchScope::namespace(NAMESPACE));
            let send = send.clone();
            tokio::spawn(async move {
                while let Some(event) = stream.next().await {
                    if let WatchEvent::Applied(object) = event {
                        let status: Option<Value> = object.section_as("status").ok().flatten();
                        let ready = status.and_then(|s| s["readyReplicas"].as_i64());
                        if send
                            .send((place, object.metadata.name, ready, Instant::now()))
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                }
            });
        }
        Self { events }
    }

    /// Waits until an object with this name prefix has arrived on both members so many times.
    async fn on_both(&mut self, wanted: usize) -> Result<Instant> {
        let mut seen: BTreeMap<(&str, String), Instant> = BTreeMap::new();
        timeout(LIMIT, async {
            while let Some((place, name, _, at)) = self.events.recv().await {
                if place != "hub" && name.starts_with("burst-") {
                    seen.entry((place, name)).or_insert(at);
                }
                if seen.len() == wanted * TARGETS.len() {
                    return seen.values().max().copied().context("nothing was wanted");
                }
            }
            anyhow::bail!("the watches ended")
        })
        .await
        .with_context(|| format!("the burst did not arrive within {} s", LIMIT.as_secs()))?
    }

    /// Waits for one event.
    async fn one(&mut self, at: &str, name: &str, ready: Option<i64>) -> Result<Instant> {
        timeout(Duration::from_secs(30), async {
            while let Some((place, seen, status, when)) = self.events.recv().await {
                if place == at && seen == name && (ready.is_none() || status == ready) {
                    return Ok(when);
                }
            }
            anyhow::bail!("the watches ended")
        })
        .await
        .with_context(|| format!("{name} did not arrive on {at}"))?
    }
}

struct Burst {
    per_second: f64,
    writes: BTreeMap<String, u64>,
    writes_per_workload: f64,
    cpu_all: f64,
    cpu_ours: f64,
}

async fn burst(rig: &Rig, arrivals: &mut Arrivals, count: usize) -> Result<Burst> {
    let writes_before = cost::writes(rig.hub()).await?;
    let (ours_before, all_before) = cost::cpu(rig);
    let begun = Instant::now();
    let connection = rig.hub().connection();
    let create = async {
        stream::iter(0..count)
            .map(|i| async move {
                let body = deployment(&format!("burst-{i}"));
                connection
                    .create::<_, Value>(&known::DEPLOYMENT, NAMESPACE, &body, "bench")
                    .await
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        anyhow::Ok(())
    };
    let (created, arrived) = tokio::join!(create, arrivals.on_both(count));
    created?;
    let seconds = arrived?.duration_since(begun).as_secs_f64();
    // The writes of a workload include its first aggregated status: wait for the last of them.
    crate::rig::eventually("the statuses are on the hub", || async {
        let assignments = rig.hub().list(&api::ASSIGNMENTS, None, None).await?;
        let applied = assignments
            .iter()
            .filter(|a| a["status"]["phase"].is_string())
            .count();
        ensure!(applied >= count * TARGETS.len(), "{applied} statuses");
        Ok(())
    })
    .await?;
    let (ours, all) = cost::cpu(rig);
    let mut writes = cost::writes(rig.hub()).await?;
    for (resource, before) in writes_before {
        writes
            .entry(resource)
            .and_modify(|now| *now = now.saturating_sub(before));
    }
    writes.retain(|_, n| *n > 0);
    let each = count as f64;
    Ok(Burst {
        per_second: each / seconds,
        writes_per_workload: writes.values().sum::<u64>() as f64 / each,
        writes,
        cpu_all: (all - all_before) / each,
        cpu_ours: (ours - ours_before) / each,
    })
}

struct Floor {
    per_second: f64,
    cpu_all: f64,
}

/// What the servers cost alone: per workload the user's object, a Workload, two Assignments, on each member a ledger entry
/// and the object, two first statuses and one aggregated, by a client that decides nothing and watches nothing.
async fn floor(rig: &Rig, count: usize) -> Result<Floor> {
    const SCRATCH: &str = "bench-floor";
    let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {SCRATCH}}}}}");
    for admin in [rig.hub(), rig.member(TARGETS[0]), rig.member(TARGETS[1])] {
        admin.apply(&namespace).await?;
    }
    let (_, before) = cost::cpu(rig);
    let begun = Instant::now();
    stream::iter(0..count)
        .map(|i| async move {
            let name = format!("floor-{i}");
            let hub = rig.hub().connection();
            let mut object = deployment(&name);
            object["metadata"]["namespace"] = json!(SCRATCH);
            let root = json!({"group": "apps", "version": "v1", "kind": "Deployment", "namespace": SCRATCH, "name": name, "uid": "u"});
            let own = |kind: &str, spec: Value| json!({"apiVersion": "inhaul.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": SCRATCH}, "spec": spec});
            let _: Value = hub.create(&known::DEPLOYMENT, SCRATCH, &object, "floor").await?;
            let workload = own("Workload", json!({"root": root, "placement": "bench", "queue": "default", "epoch": 1, "term": 1}));
            let _: Value = hub.create(&api::WORKLOADS, SCRATCH, &workload, "floor").await?;
            for (at, target) in TARGETS.iter().enumerate() {
                let mut assignment = own(
                    "Assignment",
                    json!({"workload": root, "epoch": 1, "term": 1, "digest": "d", "state": "Active", "manifests": [{"plural": "deployments", "object": object}]}),
                );
                assignment["metadata"]["name"] = json!(format!("{name}-{at}"));
                let _: Value = hub.create(&api::ASSIGNMENTS, SCRATCH, &assignment, "floor").await?;
                let member = rig.member(target).connection();
                let ledger = own("AppliedAssignment", json!({"hubUID": "h", "workload": root, "epoch": 1, "term": 1, "digest": "d"}));
                let _: Value = member.create(&api::APPLIED_ASSIGNMENTS, SCRATCH, &ledger, "floor").await?;
                let _: Value = member.create(&known::DEPLOYMENT, SCRATCH, &object, "floor").await?;
                let status = json!({"status": {"observedGeneration": 1, "epoch": 1, "session": 1, "phase": "Applied"}});
                let key = ObjectKey::new(SCRATCH, format!("{name}-{at}"));
                let _: Value = hub.merge_patch(&api::ASSIGNMENTS, &key, Some("status"), &status, "floor").await?;
            }
            let status = json!({"status": {"observedGeneration": 1}});
            let _: Value = hub.merge_patch(&known::DEPLOYMENT, &ObjectKey::new(SCRATCH, &name), Some("status"), &status, "floor").await?;
            anyhow::Ok(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    let seconds = begun.elapsed().as_secs_f64();
    let (_, after) = cost::cpu(rig);
    Ok(Floor {
        per_second: count as f64 / seconds,
        cpu_all: (after - before) / count as f64,
    })
}

/// One after the other, on an otherwise idle system: create → in the member, status in the member → on the hub (ms, sorted).
async fn singles(rig: &Rig, arrivals: &mut Arrivals, count: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for i in 0..count {
        let name = format!("single-{i}");
        let begun = Instant::now();
        let _: Value = rig
            .hub()
            .connection()
            .create(&known::DEPLOYMENT, NAMESPACE, &deployment(&name), "bench")
            .await?;
        let at = arrivals.one(TARGETS[0], &name, None).await?;
        down.push(at.duration_since(begun).as_secs_f64() * 1000.0);
        let assignment = ObjectKey::new(
            names::target_namespace(TARGETS[0]),
            names::workload_name("apps", "Deployment", NAMESPACE, &name),
        );
        let _ = rig
            .hub()
            .eventually(
                "its first status is there",
                &api::ASSIGNMENTS,
                &assignment,
                |a| a.is_some_and(|a| a["status"]["phase"].is_string()),
            )
            .await?;
        let status = json!({"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1, "observedGeneration": 1}});
        let key = ObjectKey::new(NAMESPACE, &name);
        let begun = Instant::now();
        let _: Value = rig
            .member(TARGETS[0])
            .connection()
            .merge_patch(&known::DEPLOYMENT, &key, Some("status"), &status, "bench")
            .await?;
        let at = arrivals.one("hub", &name, Some(1)).await?;
        up.push(at.duration_since(begun).as_secs_f64() * 1000.0);
    }
    down.sort_by(f64::total_cmp);
    up.sort_by(f64::total_cmp);
    Ok((down, up))
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/app:1",
                "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}}}]}}},
    })
}

fn print(r: &Value) {
    let n = |v: &Value, digits: usize| format!("{:.digits$}", v.as_f64().unwrap_or(f64::NAN));
    println!(
        "{} Deployments to two members, no workload controllers there\n",
        r["workloads"]
    );
    println!(
        "{:44} {:>12} {:>12} {:>18}",
        "", "measured", "floor", "to reach"
    );
    println!(
        "{:44} {:>12} {:>12} {:>18}",
        "workloads/s until applied in both",
        n(&r["burst"]["perSecond"], 1),
        n(&r["burst"]["floorPerSecond"], 1),
        "≤ 1.4 × floor time"
    );
    println!(
        "{:44} {:>12}",
        "  floor / measured",
        n(&r["burst"]["floorRatio"], 2)
    );
    println!(
        "{:44} {:>12} {:>12} {:>18}",
        "hub writes per workload",
        n(&r["hubWritesPerWorkload"], 2),
        "7",
        "≤ 7"
    );
    for (resource, count) in r["hubWritesByResource"].as_object().into_iter().flatten() {
        println!("  {resource:42} {count:>12}");
    }
    let cpu = &r["cpuSecondsPerWorkload"];
    println!(
        "{:44} {:>12} {:>12} {:>18}",
        "CPU-seconds per workload, all processes",
        n(&cpu["all"], 4),
        n(&cpu["floor"], 4),
        "≤ 0.03"
    );
    println!(
        "{:44} {:>12} {:>12} {:>18}",
        "  of it ours",
        n(&cpu["ours"], 4),
        "0",
        "≤ 0.006"
    );
    let latency = |name: &str, v: &Value, reach: &str| {
        println!(
            "{name:44} {:>12} {:>12} {reach:>18}",
            format!("{} / {}", n(&v["p50Ms"], 1), n(&v["p99Ms"], 1)),
            ""
        );
    };
    latency(
        "create → in the member, idle, p50 / p99 ms",
        &r["createToApplied"],
        "≤ 25 / 60",
    );
    latency(
        "status in the member → hub, p50 / p99 ms",
        &r["statusUp"],
        "≤ 15 / 200",
    );
    for (name, after) in r["memoryMiB"]["after"].as_object().into_iter().flatten() {
        let idle = n(&r["memoryMiB"]["idle"][name], 0);
        println!(
            "{:44} {:>12}",
            format!("memory of {name}, idle / after, MiB"),
            format!("{idle} / {}", n(after, 0))
        );
    }
}
