//! `bench openb`: how much of the GPUs of a production fleet is in use when more is asked for than there is.
//!
//! The protocol of the openb lists (`shared/traces/openb/README.md`): tasks arrive one by one, each is tried once, nothing
//! leaves. Ours goes through the planner that the live scheduler runs; the baselines are implemented beside it, and FGD
//! must come out as published, else the harness is wrong.

mod baselines;
mod scan;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use baselines::{Chance, Policy, Rule, Scored};
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
    /// Ours, as a plain scan over all nodes.
    Scan,
    Random,
    BestFit,
    DotProduct,
    Fgd,
}

impl Which {
    const ALL: [Self; 5] = [
        Self::Scan,
        Self::Random,
        Self::BestFit,
        Self::DotProduct,
        Self::Fgd,
    ];

    fn name(self) -> &'static str {
        match self {
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
            Self::Scan => None,
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
    let specs = ordered(trace::nodes(&folder)?, &args.node_order)?;
    let published = trace::published(&folder)?;
    let chosen = |name: &str| args.lists.is_empty() || args.lists.iter().any(|one| one == name);
    let policies: Vec<Which> = Which::ALL
        .into_iter()
        .filter(|which| args.policies.is_empty() || args.policies.contains(which))
        .collect();
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (name, target, bound) in LISTS.into_iter().filter(|(name, _, _)| chosen(name)) {
        let list = trace::list(&folder, name)?;
        let mut figures = serde_json::Map::new();
        for which in &policies {
            let began = Instant::now();
            let runs: Vec<Curve> = (0..args.seeds)
                .map(|seed| one(args, &specs, &list, *which, FIRST_SEED + seed))
                .collect();
            let last = percent(args.arrive);
            let (mean, sd) = statistics(&runs, last);
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
            figures.insert(
                which.name().to_owned(),
                json!({"mean": mean, "sd": sd, "at100": at_100, "published": theirs.map(|one| one.0), "published100": theirs.map(|one| one.1),
                    "seconds": began.elapsed().as_secs_f64()}),
            );
        }
        let row = json!({"list": name, "target": target, "bound": bound, "policies": figures});
        if args.output == Output::Text {
            print(&row);
        }
        rows.push(row);
    }
    if args.output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&json!({"lists": rows}))?);
    }
    if !wrong.is_empty() {
        bail!(
            "the harness is wrong: FGD is not as published ({})",
            wrong.join("; ")
        );
    }
    Ok(())
}

/// Whether the published protocol is run, so that FGD can be judged.
fn faithful(args: &OpenbArgs) -> bool {
    args.task_order == TaskOrder::Shuffled && (args.arrive - 1.3).abs() < 1e-9 && args.seeds >= 2
}

/// One run.
fn one(args: &OpenbArgs, specs: &[NodeSpec], list: &List, which: Which, seed: u64) -> Curve {
    let mut random = Random::new(seed);
    let capacity: i64 = specs
        .iter()
        .map(|spec| 1000 * i64::try_from(spec.gpus).unwrap_or_default())
        .sum();
    let arrivals = trace::arrivals(list, capacity, args.arrive, args.task_order, &mut random);
    let mut specs = specs.to_vec();
    if which != Which::Scan {
        // The published tie rule: the first of an order that is drawn once per run.
        random.shuffle(&mut specs);
    }
    let mut world = World::new(&specs, list);
    let mut policy: Box<dyn Policy> = match which {
        Which::Scan => {
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
    let mut meter = Meter::new(capacity);
    for class in arrivals {
        let placed = policy.choose(&world, class);
        if let Some((node, gpu)) = placed {
            world.take(class, node, gpu);
            policy.changed(node);
        }
        meter.arrived(list.classes[class].total(), placed.is_some());
    }
    meter.curve()
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
        println!(
            "  {name:12} {:.2} (sd {:.2}), at 100 % arrived {:.2}{published}; {:.1} s",
            number("mean").unwrap_or_default(),
            number("sd").unwrap_or_default(),
            number("at100").unwrap_or_default(),
            number("seconds").unwrap_or_default(),
        );
    }
}
