//! `bench plan`: how many decisions the planner makes in a second on large fleets, on one core, without any writing.
//!
//! The fleets of `figures.md` "Decisions". Every decision goes through the planner that the live scheduler runs, one request
//! per cycle unless `--batch` says otherwise; what binding would make of the figure stands beside it. Times are those of this
//! thread on its core, so that what else the machine does at the time does not count.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass};
use placement_api::quantity::Quantity;
use placement_api::selector::Labels;
use scheduler::fleet::{Fleet, TargetName, TargetState, WorkloadId};
use scheduler::plan::{Planner, PodSetRequest, Request};
use scheduler::record::{Core, Encoder};
use serde_json::{Value, json};

use super::busy;

const GPU: &str = "nvidia.com/gpu";

/// What is run.
#[derive(Debug, Clone, clap::Args)]
pub struct PlanArgs {
    /// Only these shapes, by name.
    #[arg(long, value_delimiter = ',')]
    shapes: Vec<String>,
    /// Runs of each; the median is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Requests per cycle.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Part of the workloads to plan, in percent.
    #[arg(long, default_value_t = 100)]
    percent: usize,
    /// The most workloads that wait, in `pending`.
    #[arg(long, default_value_t = 1_000_000)]
    pending: usize,
    /// Text for people, or JSON.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// A fleet and what arrives.
struct Shape {
    name: &'static str,
    targets: usize,
    nodes: usize,
    workloads: usize,
    /// Part of the workloads that are gangs over several nodes, in percent.
    gangs: usize,
    bar: &'static str,
    /// Decisions per second, and milliseconds at p99, to reach; 0: none.
    per_second: f64,
    p99_ms: f64,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "1x5000",
        targets: 1,
        nodes: 5_000,
        workloads: 50_000,
        gangs: 0,
        bar: "kube-scheduler's CI floor 680-810 pods/s",
        per_second: 50_000.0,
        p99_ms: 0.2,
    },
    Shape {
        name: "100x5000",
        targets: 100,
        nodes: 5_000,
        workloads: 100_000,
        gangs: 0,
        bar: "Karmada's choice p50 12 ms, p99 32 ms",
        per_second: 20_000.0,
        p99_ms: 0.5,
    },
    Shape {
        name: "1000x100",
        targets: 1_000,
        nodes: 100,
        workloads: 100_000,
        gangs: 10,
        bar: "Protean a few ms",
        per_second: 30_000.0,
        p99_ms: 2.0,
    },
    Shape {
        name: "10000x100",
        targets: 10_000,
        nodes: 100,
        workloads: 1_000_000,
        gangs: 0,
        bar: "Firmament < 1 s at 12,500 nodes",
        per_second: 20_000.0,
        p99_ms: 3.0,
    },
];

/// Runs it and prints the figures.
pub(super) fn run(args: &PlanArgs) -> Result<()> {
    let chosen = |name: &str| args.shapes.is_empty() || args.shapes.iter().any(|one| one == name);
    let mut rows = Vec::new();
    for shape in SHAPES.iter().filter(|shape| chosen(shape.name)) {
        let mut runs: Vec<Value> = (0..args.runs.max(1))
            .map(|_| measure(shape, args))
            .collect::<Result<_>>()?;
        let rate = |run: &Value| run["perSecond"].as_f64().unwrap_or_default();
        runs.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
        let row = runs.swap_remove(runs.len() / 2);
        if args.output == Output::Text {
            print(&row);
        }
        rows.push(row);
    }
    if chosen("pending") {
        let row = pending(args.pending)?;
        if args.output == Output::Text {
            println!(
                "one node freed, everything full, by workloads that wait: {}",
                row["byWaiting"]
            );
        }
        rows.push(row);
    }
    if chosen("recording") {
        let row = recording(args.runs);
        if args.output == Output::Text {
            println!(
                "recording, 1,000 x 100: {} of a decision's time without (median of {} in turns), {} bytes a decision; the thread that writes: {} us a decision",
                row["ratio"], row["runs"], row["bytesEach"], row["encodingUs"]
            );
        }
        rows.push(row);
    }
    if args.output == Output::Json {
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({"shapes": rows}))?
        );
    }
    Ok(())
}

fn measure(shape: &Shape, args: &PlanArgs) -> Result<Value> {
    let began = busy();
    let mut fleet = fleet(shape.targets, shape.nodes);
    let built = busy().saturating_sub(began);
    let mut planner = Planner::new();
    let count = shape.workloads * args.percent / 100;
    let mut times = Vec::with_capacity(count);
    let (mut placed, mut next, mut first) = (0, 0, Duration::ZERO);
    while next < count {
        let last = (next + args.batch.max(1)).min(count);
        let requests: Vec<Request> = (next..last)
            .map(|number| arrival(number, shape.gangs))
            .collect();
        let began = busy();
        let (decisions, _) = planner.plan(&mut fleet, &requests, 0);
        let took = busy().saturating_sub(began);
        if next == 0 {
            first = took;
        }
        let each = took / u32::try_from(last - next)?;
        times.extend(std::iter::repeat_n(each, last - next));
        placed += decisions
            .iter()
            .filter(|decision| !decision.parts.is_empty())
            .count();
        next = last;
    }
    let total: Duration = times.iter().sum();
    times.sort_unstable();
    let micros = |per_mille: usize| {
        let at = (times.len() * per_mille / 1000).min(times.len().saturating_sub(1));
        times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    let rate = count as f64 / total.as_secs_f64();
    let with_bind = |milliseconds: f64| 1.0 / (1.0 / rate + milliseconds / 1000.0);
    Ok(json!({
        "shape": shape.name, "workloads": count, "placed": placed, "bar": shape.bar, "batch": args.batch,
        "perSecond": rate, "p50us": micros(500), "p99us": micros(990), "p999us": micros(999),
        "toReach": {"perSecond": shape.per_second, "p99ms": shape.p99_ms},
        "reached": {"perSecond": rate >= shape.per_second, "p99": micros(990) <= shape.p99_ms * 1000.0},
        "coldStartSeconds": (built + first).as_secs_f64(), "memoryMiB": memory()?,
        "withBind": {"1ms": with_bind(1.0), "10ms": with_bind(10.0)},
    }))
}

/// What one freed node costs while so many wait for one: the end of what ran there, and the start of who is next.
fn pending(most: usize) -> Result<Value> {
    let mut row = serde_json::Map::new();
    for waiting in [10_000, 100_000, 1_000_000] {
        if waiting > most {
            continue;
        }
        let mut fleet = fleet(1, 100);
        let mut planner = Planner::new();
        let mut runs = None;
        let began = busy();
        for number in 0..waiting {
            let request = with_gpus(number, [8, 4, 2, 1][number % 4]);
            let (decisions, _) = planner.plan(&mut fleet, std::slice::from_ref(&request), 0);
            let placed = decisions.iter().any(|one| !one.parts.is_empty());
            if placed && runs.is_none() {
                runs = Some(request);
            }
        }
        let arrived = busy().saturating_sub(began);
        let runs = runs.context("something runs")?;
        let finished = Request {
            finished: true,
            ..runs
        };
        let began = busy();
        let (_, report) = planner.plan(&mut fleet, std::slice::from_ref(&finished), 1);
        let woken = planner.wake(&report.freed);
        let number = |id: &WorkloadId| id.as_str().trim_start_matches('w').parse::<usize>();
        let mut asked = Vec::new();
        for id in &woken {
            let number = number(id)?;
            asked.push(with_gpus(number, [8, 4, 2, 1][number % 4]));
        }
        let (decisions, _) = planner.plan(&mut fleet, &asked, 1);
        let took = busy().saturating_sub(began);
        let started = decisions.iter().filter(|one| !one.parts.is_empty()).count();
        ensure!(started > 0, "nobody was started");
        row.insert(
            waiting.to_string(),
            json!({"us": took.as_secs_f64() * 1e6, "woken": woken.len(), "planned": decisions.len(), "started": started,
                "usPerArrival": arrived.as_secs_f64() * 1e6 / waiting as f64, "memoryMiB": memory()?}),
        );
    }
    Ok(json!({"shape": "pending", "byWaiting": row}))
}

/// What the cycle pays for a recording, what the thread that writes it pays, and how much is written.
fn recording(runs: usize) -> Value {
    const WORKLOADS: usize = 50_000;
    let (mut ratios, mut bytes, mut encoding) = (Vec::new(), 0, Duration::ZERO);
    for _ in 0..runs.max(1) {
        let mut took = [Duration::ZERO; 2];
        for recorded in [false, true] {
            let mut core = Core::new();
            for (name, labels, status) in targets(1_000, 100) {
                core.set_target(&name, labels, Vec::new(), TargetState::Ready, 0);
                core.set_inventory(&name, &status);
                core.serve_everything(&name);
            }
            if recorded {
                core.record();
            }
            let (mut encoder, _) = Encoder::begin("bench", 0);
            (bytes, encoding) = (0, Duration::ZERO);
            for number in 0..WORKLOADS {
                let request = arrival(number, 10);
                let began = busy();
                core.plan(std::slice::from_ref(&request), 0);
                let steps = core.take_steps();
                took[usize::from(recorded)] += busy().saturating_sub(began);
                let began = busy();
                bytes += steps
                    .into_iter()
                    .map(|step| encoder.step(step).len())
                    .sum::<usize>();
                encoding += busy().saturating_sub(began);
            }
        }
        ratios.push(took[1].as_secs_f64() / took[0].as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let round = |number: f64| (number * 100.0).round() / 100.0;
    json!({
        "shape": "recording", "runs": ratios.len(), "ratio": round(ratios[ratios.len() / 2]), "bytesEach": bytes / WORKLOADS,
        "encodingUs": round(encoding.as_secs_f64() * 1e6 / WORKLOADS as f64),
    })
}

fn fleet(count: usize, nodes: usize) -> Fleet {
    let mut fleet = Fleet::new();
    for (name, labels, status) in targets(count, nodes) {
        fleet.set_target(&name, labels, Vec::new(), TargetState::Ready, 0);
        fleet.set_inventory(&name, &status);
        fleet.serve_everything(&name);
    }
    fleet
}

/// Half of the nodes of a target have eight GPUs, half none.
fn targets(
    count: usize,
    nodes: usize,
) -> impl Iterator<Item = (TargetName, Labels, InventoryStatus)> {
    (0..count).map(move |number| {
        let name = TargetName::from(format!("target-{number:05}"));
        let labels: Labels = [
            ("region".to_owned(), format!("r{}", number % 8)),
            ("name".to_owned(), name.to_string()),
        ]
        .into();
        let class = |id: &str, cpu: i64, gib: i64, gpus: i64| NodeClass {
            id: id.to_owned(),
            allocatable: [
                ("cpu".to_owned(), Quantity::from_units(cpu)),
                ("memory".to_owned(), Quantity::from_bytes(gib << 30)),
                ("pods".to_owned(), Quantity::from_units(110)),
                (GPU.to_owned(), Quantity::from_units(gpus)),
            ]
            .into_iter()
            .filter(|(name, _)| gpus > 0 || name != GPU)
            .collect(),
            ..NodeClass::default()
        };
        let status = InventoryStatus {
            classes: vec![class("gpu", 96, 768, 8), class("cpu", 64, 256, 0)],
            nodes: (0..nodes)
                .map(|node| InventoryNode {
                    name: format!("n{node:05}"),
                    class: if node % 2 == 0 { "gpu" } else { "cpu" }.to_owned(),
                    ..InventoryNode::default()
                })
                .collect(),
            ..InventoryStatus::default()
        };
        (name, labels, status)
    })
}

/// One of a dozen sorts of workloads: plain ones, and such with GPUs.
fn arrival(number: usize, gangs: usize) -> Request {
    // A fixed scramble, so that sorts do not come in a row.
    let draw = (number * 2_654_435_761) >> 8;
    if draw % 100 < gangs {
        let mut gang = with_gpus(number, [1, 2, 4, 8][draw / 100 % 4]);
        gang.pod_sets[0].count = [2, 4, 8, 16][draw / 400 % 4];
        return gang;
    }
    // All fit: 50,000 pods on 5,000 nodes leave a sixth of the GPUs.
    match draw / 100 % 6 {
        0 => with_gpus(number, [1, 1, 2, 4][draw / 600 % 4]),
        _ => request(
            number,
            [500, 1_000, 2_000, 4_000][draw / 600 % 4],
            [1, 2][draw / 2400 % 2],
            0,
        ),
    }
}

fn with_gpus(number: usize, gpus: i64) -> Request {
    request(number, 8_000 * gpus, 8, gpus)
}

fn request(number: usize, cpu: i64, gib_per_core: i64, gpus: i64) -> Request {
    let mut requests = vec![
        ("cpu".to_owned(), cpu),
        (
            "memory".to_owned(),
            (cpu * gib_per_core / 1000).max(1) << 30,
        ),
    ];
    if gpus > 0 {
        requests.push((GPU.to_owned(), gpus));
    }
    let pods = PodSetRequest {
        name: "main".to_owned(),
        count: 1,
        requests: requests.into_iter().collect(),
        gateable: true,
        ..PodSetRequest::default()
    };
    Request {
        id: WorkloadId::from(format!("w{number:07}")),
        name: format!("w{number:07}"),
        submitted_ms: i64::try_from(number).unwrap_or_default(),
        pod_sets: vec![pods],
        ..Request::default()
    }
}

/// Resident memory of this process, in MiB.
fn memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.context("VmRSS")?.parse::<f64>()? / 1024.0)
}

fn print(row: &Value) {
    let number = |key: &str| row[key].as_f64().unwrap_or_default();
    let said = |reached: &Value| {
        if reached.as_bool() == Some(true) {
            "reached"
        } else {
            "NOT reached"
        }
    };
    println!(
        "{}: {:.0} decisions/s ({} {}), p50 {:.1} us, p99 {:.1} us ({} ms {}), p99.9 {:.0} us; {} of {} placed; cold start {:.2} s; {:.0} MiB",
        row["shape"].as_str().unwrap_or(""),
        number("perSecond"),
        row["toReach"]["perSecond"],
        said(&row["reached"]["perSecond"]),
        number("p50us"),
        number("p99us"),
        row["toReach"]["p99ms"],
        said(&row["reached"]["p99"]),
        number("p999us"),
        row["placed"],
        row["workloads"],
        number("coldStartSeconds"),
        number("memoryMiB"),
    );
    println!(
        "  bar: {}; with a bind of 1 ms {:.0}/s, of 10 ms {:.0}/s, one after the other",
        row["bar"].as_str().unwrap_or(""),
        row["withBind"]["1ms"].as_f64().unwrap_or_default(),
        row["withBind"]["10ms"].as_f64().unwrap_or_default(),
    );
}
