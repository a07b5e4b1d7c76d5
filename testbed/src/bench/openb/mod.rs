//! `bench openb`: how much of the GPUs of a production fleet is in use when more is asked for than there is.
//!
//! The protocol of the openb lists (`shared/traces/openb/README.md`): tasks arrive one by one, each is tried once, nothing
//! leaves. Ours goes through the planner that the live scheduler runs; the baselines are implemented beside it, and FGD
//! must come out as published, else the harness is wrong.

mod baselines;
mod ours;
mod scan;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::busy;
use baselines::{Chance, Policy, Rule, Scored};
use ours::Ours;
use scan::Scan;
use trace::{LISTS, List, NodeSpec, Random, TaskOrder};
use world::World;

/// First seed; the others follow.
const FIRST_SEED: u64 = 20_000;
/// How far our FGD may be from the published mean, in points.
const FGD_TOLERANCE: f64 = 0.6;

/// What is run.
#[derive(Debug, Clone, clap::Args)]
pub struct OpenbArgs {
    /// Folder of the traces.
    #[arg(long, default_value = "../shared/traces")]
    traces: PathBuf,
    /// Runs per list and policy.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Only these lists.
    #[arg(long, value_delimiter = ',')]
    lists: Vec<String>,
    /// Only these policies.
    #[arg(long, value_delimiter = ',', value_enum)]
    policies: Vec<Which>,
    /// Whether ours knows the mix of tasks or learns it as they arrive.
    #[arg(long, value_enum, default_value_t = MixOf::Known)]
    mix: MixOf,
    /// Order of the nodes: `file`, `sorted` (by size), `random:SEED`.
    #[arg(long, default_value = "file")]
    node_order: String,
    /// Order in which tasks arrive.
    #[arg(long, value_enum, default_value_t = TaskOrder::Shuffled)]
    task_order: TaskOrder,
    /// The fleet so many times over, with as many times the tasks.
    #[arg(long, default_value_t = 1)]
    copies: usize,
    /// GPUs asked for, in fleets.
    #[arg(long, default_value_t = 1.3)]
    arrive: f64,
    /// Text for people, or JSON.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum MixOf {
    Known,
    Learned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Which {
    /// Ours, through the planner.
    Ours,
    /// The same policy as a plain scan over all nodes: the judge of the planner's index.
    Scan,
    Random,
    BestFit,
    DotProduct,
    Fgd,
}

impl Which {
    const ALL: [Self; 6] = [
        Self::Ours,
        Self::Scan,
        Self::Random,
        Self::BestFit,
        Self::DotProduct,
        Self::Fgd,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Scan => "scan",
            Self::Random => "random",
            Self::BestFit => "best-fit",
            Self::DotProduct => "dot-product",
            Self::Fgd => "FGD",
        }
    }

    /// Its name in the published table.
    fn published(self) -> Option<&'static str> {
        match self {
            Self::Ours | Self::Scan => None,
            Self::Random => Some("Random"),
            Self::BestFit => Some("BestFit"),
            Self::DotProduct => Some("DotProd"),
            Self::Fgd => Some("FGD"),
        }
    }
}

/// Allocated GPU in % of the fleet by what has arrived, in % too.
type Curve = BTreeMap<i64, f64>;

/// Runs it and prints the figures; an error where FGD is not as published.
pub(super) fn run(args: &OpenbArgs) -> Result<()> {
    let folder = args.traces.join("openb");
    let specs = copied(&trace::nodes(&folder)?, args.copies);
    let specs = ordered(specs, &args.node_order)?;
    let published = trace::published(&folder)?;
    let chosen = |name: &str| args.lists.is_empty() || args.lists.iter().any(|one| one == name);
    let policies: Vec<Which> = Which::ALL
        .into_iter()
        .filter(|which| args.policies.is_empty() || args.policies.contains(which))
        .collect();
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (name, target, bound) in LISTS.into_iter().filter(|(name, _, _)| chosen(name)) {
        let mut list = trace::list(&folder, name)?;
        list.tasks = list.tasks.repeat(args.copies);
        let mut figures = serde_json::Map::new();
        for which in &policies {
            let mut runs = Vec::new();
            let mut times = Vec::new();
            for seed in 0..args.seeds {
                let (curve, took) = one(args, &specs, &list, *which, FIRST_SEED + seed)?;
                runs.push(curve);
                times.extend(took);
            }
            let (mean, sd) = statistics(&runs, percent(args.arrive));
            let (at_100, _) = statistics(&runs, 100);
            let theirs = which
                .published()
                .and_then(|policy| published.get(&(name.to_owned(), policy.to_owned())));
            if *which == Which::Fgd
                && faithful(args)
                && let Some((published, _)) = theirs
                && (published - mean).abs() > FGD_TOLERANCE
            {
                wrong.push(format!("{name}: {mean:.2}, published {published:.2}"));
            }
            let reached = (*which == Which::Ours).then_some(mean >= target);
            figures.insert(
                which.name().to_owned(),
                json!({"mean": mean, "sd": sd, "at100": at_100, "published": theirs.map(|one| one.0), "published100": theirs.map(|one| one.1),
                    "reached": reached, "decisions": Speed::new(times).json()}),
            );
        }
        let row = json!({"list": name, "target": target, "bound": bound, "policies": figures});
        if args.output == Output::Text {
            print(&row);
        }
        rows.push(row);
    }
    let means = summary(&rows, &policies);
    match args.output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&json!({"lists": rows, "means": means}))?
        ),
        Output::Text => {
            for (policy, mean) in &means {
                println!("mean over {} lists: {policy} {mean:.2}", rows.len());
            }
        }
    }
    if !wrong.is_empty() {
        bail!(
            "the harness is wrong: FGD is not as published ({})",
            wrong.join("; ")
        );
    }
    Ok(())
}

fn summary(rows: &[Value], policies: &[Which]) -> BTreeMap<&'static str, f64> {
    let mean = |name: &str| {
        let values = rows
            .iter()
            .filter_map(|row| row["policies"][name]["mean"].as_f64());
        values.sum::<f64>() / rows.len().max(1) as f64
    };
    policies
        .iter()
        .map(|which| (which.name(), mean(which.name())))
        .collect()
}

/// Times of decisions.
struct Speed(Vec<Duration>);

impl Speed {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    fn json(&self) -> Value {
        let micros = |per_mille: usize| {
            let last = self.0.len().saturating_sub(1);
            let at = self.0.get((self.0.len() * per_mille / 1000).min(last));
            at.map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        let total: Duration = self.0.iter().sum();
        if self.0.is_empty() {
            return Value::Null;
        }
        json!({"perSecond": self.0.len() as f64 / total.as_secs_f64(), "p50us": micros(500), "p99us": micros(990), "p999us": micros(999)})
    }
}

/// Whether the published protocol is run, so that FGD can be judged.
fn faithful(args: &OpenbArgs) -> bool {
    args.task_order == TaskOrder::Shuffled && (args.arrive - 1.3).abs() < 1e-9 && args.seeds >= 2
}

/// One run: what is allocated, and how long each decision took.
fn one(
    args: &OpenbArgs,
    specs: &[NodeSpec],
    list: &List,
    which: Which,
    seed: u64,
) -> Result<(Curve, Vec<Duration>)> {
    let mut random = Random::new(seed);
    let capacity: i64 = specs
        .iter()
        .map(|spec| 1000 * i64::try_from(spec.gpus).unwrap_or_default())
        .sum();
    let arrivals = trace::arrivals(list, capacity, args.arrive, args.task_order, &mut random);
    let mut meter = Meter::new(capacity);
    let mut specs = specs.to_vec();
    if which == Which::Ours {
        // The planner knows nodes by name: so their order is in their names.
        for (position, spec) in specs.iter_mut().enumerate() {
            spec.name = format!("node-{position:07}");
        }
        let mut ours = Ours::new(&specs, list, args.mix == MixOf::Known);
        for class in arrivals {
            let task = &list.classes[class];
            let placed = ours.arrive(class, task)?;
            meter.arrived(task.total(), placed);
        }
        ours.check()?;
        return Ok((meter.curve(), ours.times));
    }
    if which != Which::Scan {
        // The published tie rule: the first of an order that is drawn once per run.
        random.shuffle(&mut specs);
    }
    let mut world = World::new(&specs, list);
    let mut policy: Box<dyn Policy> = match which {
        Which::Ours | Which::Scan => {
            let known = (args.mix == MixOf::Known).then_some(&list.tasks[..]);
            Box::new(Scan::new(&world, &specs, known))
        }
        Which::Random => Box::new(Chance(random)),
        Which::BestFit => Box::new(Scored::new(Rule::BestFit, &world, Vec::new())),
        Which::DotProduct => Box::new(Scored::new(Rule::DotProduct, &world, Vec::new())),
        Which::Fgd => {
            let target = baselines::target(&world, &list.tasks);
            Box::new(Scored::new(Rule::Fgd, &world, target))
        }
    };
    let mut times = Vec::new();
    for class in arrivals {
        let began = busy();
        let placed = policy.choose(&world, class);
        if let Some((node, gpu)) = placed {
            world.take(class, node, gpu);
            policy.changed(node);
        }
        times.push(busy().saturating_sub(began));
        meter.arrived(list.classes[class].total(), placed.is_some());
    }
    Ok((meter.curve(), times))
}

/// Adds up what arrives and what is placed.
struct Meter {
    capacity: i64,
    asked: i64,
    used: i64,
    points: BTreeMap<i64, (f64, f64)>,
}

impl Meter {
    fn new(capacity: i64) -> Self {
        Self {
            capacity,
            asked: 0,
            used: 0,
            points: BTreeMap::new(),
        }
    }

    fn arrived(&mut self, total: i64, placed: bool) {
        self.asked += total;
        if placed {
            self.used += total;
        }
        let at = percent(self.asked as f64 / self.capacity as f64);
        let point = self.points.entry(at).or_insert((0.0, 0.0));
        point.0 += 100.0 * self.used as f64 / self.capacity as f64;
        point.1 += 1.0;
    }

    fn curve(self) -> Curve {
        self.points
            .into_iter()
            .map(|(at, (sum, count))| (at, sum / count))
            .collect()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a percentage")]
fn percent(part: f64) -> i64 {
    (100.0 * part).round() as i64
}

fn statistics(runs: &[Curve], at: i64) -> (f64, f64) {
    let values: Vec<f64> = runs
        .iter()
        .filter_map(|curve| curve.range(..=at).next_back().map(|(_, value)| *value))
        .collect();
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum::<f64>();
    (mean, (square / (count - 1.0).max(1.0)).sqrt())
}

/// The same nodes several times, under names of their own.
fn copied(specs: &[NodeSpec], copies: usize) -> Vec<NodeSpec> {
    let copy = |number: usize| {
        specs.iter().map(move |spec| NodeSpec {
            name: format!("{}-{number:03}", spec.name),
            ..spec.clone()
        })
    };
    (0..copies).flat_map(copy).collect()
}

fn ordered(mut specs: Vec<NodeSpec>, order: &str) -> Result<Vec<NodeSpec>> {
    match order {
        "file" => {}
        "sorted" => {
            specs.sort_by_key(|spec| (spec.gpus, spec.cpu, spec.memory, spec.model.clone()));
        }
        _ => match order
            .strip_prefix("random:")
            .and_then(|seed| seed.parse().ok())
        {
            Some(seed) => Random::new(seed).shuffle(&mut specs),
            None => bail!("--node-order is file, sorted or random:SEED, not {order}"),
        },
    }
    Ok(specs)
}

fn print(row: &Value) {
    println!(
        "{}: target {}, bound without refusals {}",
        row["list"].as_str().unwrap_or(""),
        row["target"],
        row["bound"]
    );
    for (name, figures) in row["policies"].as_object().into_iter().flatten() {
        let number = |key: &str| figures[key].as_f64();
        let published = number("published").map_or(String::new(), |published| {
            format!(
                ", published {published:.2} / {:.2}",
                number("published100").unwrap_or_default()
            )
        });
        let reached = match figures["reached"].as_bool() {
            Some(true) => ", reached",
            Some(false) => ", NOT reached",
            None => "",
        };
        let time = |key: &str| figures["decisions"][key].as_f64().unwrap_or_default();
        println!(
            "  {name:12} {:.2} (sd {:.2}), at 100 % arrived {:.2}{published}{reached}; {:.0} decisions/s, p50 {:.1} us, p99 {:.0} us, p99.9 {:.0} us",
            number("mean").unwrap_or_default(),
            number("sd").unwrap_or_default(),
            number("at100").unwrap_or_default(),
            time("perSecond"),
            time("p50us"),
            time("p99us"),
            time("p999us"),
        );
    }
}
