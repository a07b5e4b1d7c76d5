//! The openb lists: nodes, tasks, published figures, and how a run's arrivals are drawn from a list.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// The lists, with the target of `figures.md` at 130 % arrived and the bound for policies that refuse nothing.
pub(super) const LISTS: [(&str, f64, f64); 11] = [
    ("default", 96.25, 96.45),
    ("cpu050", 96.25, 96.45),
    ("cpu200", 96.25, 96.45),
    ("cpu250", 95.6, 96.5),
    ("gpushare40", 94.8, 95.12),
    ("gpushare80", 90.5, 90.85),
    ("gpushare100", 88.4, 88.67),
    ("gpuspec10", 96.1, 96.5),
    ("gpuspec33", 95.9, 96.6),
    ("multigpu20", 96.4, 96.95),
    ("multigpu50", 97.6, 98.06),
];

/// Bytes of a MiB.
const MIB: i64 = 1 << 20;

/// One node, empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeSpec {
    pub(super) name: String,
    pub(super) cpu: i64,
    pub(super) memory: i64,
    pub(super) gpus: usize,
    pub(super) model: String,
}

/// What a task asks; equal tasks are one class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Task {
    pub(super) cpu: i64,
    pub(super) memory: i64,
    pub(super) gpus: i64,
    /// Thousandths of each GPU.
    pub(super) milli: i64,
    /// Allowed models; empty: all.
    pub(super) models: Vec<String>,
}

impl Task {
    /// Thousandths of GPUs in all.
    pub(super) fn total(&self) -> i64 {
        self.gpus * self.milli
    }
}

/// A list: its classes, and each task's class in the order of the file.
pub(super) struct List {
    pub(super) classes: Vec<Task>,
    pub(super) tasks: Vec<usize>,
}

/// Reads the GPU nodes of the experiments.
pub(super) fn nodes(folder: &Path) -> Result<Vec<NodeSpec>> {
    let rows = table(&folder.join("openb_node_list_gpu_node.csv"))?;
    rows.iter()
        .map(|row| {
            Ok(NodeSpec {
                name: text(row, "sn").to_owned(),
                cpu: number(row, "cpu_milli")?,
                memory: number(row, "memory_mib")? * MIB,
                gpus: usize::try_from(number(row, "gpu")?)?,
                model: text(row, "model").to_owned(),
            })
        })
        .collect()
}

/// Reads a list of tasks.
pub(super) fn list(folder: &Path, name: &str) -> Result<List> {
    let rows = table(&folder.join(format!("openb_pod_list_{name}.csv")))?;
    let mut numbers: BTreeMap<Task, usize> = BTreeMap::new();
    let mut all = Vec::new();
    for row in &rows {
        let mut models: Vec<String> = text(row, "gpu_spec")
            .split('|')
            .filter(|model| !model.is_empty())
            .map(str::to_owned)
            .collect();
        models.sort_unstable();
        let gpus = number(row, "num_gpu")?;
        let milli = if gpus > 0 {
            number(row, "gpu_milli")?
        } else {
            0
        };
        let task = Task {
            cpu: number(row, "cpu_milli")?,
            memory: number(row, "memory_mib")? * MIB,
            gpus: if milli > 0 { gpus } else { 0 },
            milli,
            models,
        };
        ensure!(
            task.gpus <= 1 || milli == 1000,
            "{name}: several GPUs by shares are not in the published protocol"
        );
        numbers.insert(task.clone(), 0);
        all.push(task);
    }
    for (next, number) in numbers.values_mut().enumerate() {
        *number = next;
    }
    let tasks = all.iter().map(|task| numbers[task]).collect();
    Ok(List {
        classes: numbers.into_keys().collect(),
        tasks,
    })
}

/// Published mean at 130 % arrived by list and policy, and at 100 %.
pub(super) fn published(folder: &Path) -> Result<BTreeMap<(String, String), (f64, f64)>> {
    let rows = table(&folder.join("expected/summary_mean_sd.csv"))?;
    let mut all: BTreeMap<(String, String), (f64, f64)> = BTreeMap::new();
    for row in rows
        .iter()
        .filter(|row| text(row, "metric") == "alloc_gpu_pct")
    {
        let key = (
            text(row, "trace").to_owned(),
            text(row, "policy").to_owned(),
        );
        let mean: f64 = text(row, "mean").parse()?;
        match text(row, "arrived_pct") {
            "130" => all.entry(key).or_default().0 = mean,
            "100" => all.entry(key).or_default().1 = mean,
            _ => {}
        }
    }
    Ok(all)
}

/// In which order tasks arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TaskOrder {
    /// Shuffled, as published.
    Shuffled,
    /// As in the file.
    File,
    /// Least GPU first.
    SmallFirst,
    /// Most GPU first.
    BigFirst,
}

/// The arrivals of one run: the tasks in their order, then tasks drawn with replacement until `arrive` times the fleet's GPUs are
/// asked for; too many are left out.
pub(super) fn arrivals(
    list: &List,
    capacity: i64,
    arrive: f64,
    order: TaskOrder,
    random: &mut Random,
) -> Vec<usize> {
    let mut tasks = list.tasks.clone();
    let size = |class: &usize| {
        let task = &list.classes[*class];
        (task.total(), task.cpu)
    };
    if order != TaskOrder::File {
        random.shuffle(&mut tasks);
    }
    let wanted = (arrive * capacity as f64).ceil();
    let mut total: i64 = tasks.iter().map(|class| list.classes[*class].total()).sum();
    while total as f64 > wanted {
        let Some(class) = tasks.pop() else { break };
        total -= list.classes[class].total();
    }
    while (total as f64) < wanted {
        let class = list.tasks[random.below(list.tasks.len())];
        total += list.classes[class].total();
        tasks.push(class);
    }
    match order {
        TaskOrder::SmallFirst => tasks.sort_by_key(size),
        TaskOrder::BigFirst => tasks.sort_by_key(|class| std::cmp::Reverse(size(class))),
        TaskOrder::Shuffled | TaskOrder::File => {}
    }
    tasks
}

/// A small generator of pseudo-random numbers (splitmix64), the same everywhere.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_F42D_4C95_7F2D)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

type Row = BTreeMap<String, String>;

fn table(path: &Path) -> Result<Vec<Row>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let row = |line: &str| {
        header
            .iter()
            .zip(line.split(','))
            .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
            .collect()
    };
    Ok(lines.filter(|line| !line.is_empty()).map(row).collect())
}

fn text<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).map_or("", String::as_str)
}

fn number(row: &Row, name: &str) -> Result<i64> {
    let value = text(row, name);
    let parsed: f64 = value
        .parse()
        .with_context(|| format!("column {name}: {value:?} is no number"))?;
    #[expect(clippy::cast_possible_truncation, reason = "amounts of one node")]
    Ok(parsed as i64)
}
