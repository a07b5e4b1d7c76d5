//! The command line `testbed`: what the user typed, and what they see.

use std::{
    ffi::OsString,
    fmt::Display,
    io::Write as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use crate::{
    bench,
    build::Tools,
    cluster::Role,
    demo, files,
    fleet::FleetSpec,
    nodes::Description,
    process,
    up::{self, ClusterState, Event, Found, State, Testbed},
};

/// Prints a line; nobody reading any more (`| head`) is no reason to fail.
macro_rules! out {
    ($($arg:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($arg)*);
    }};
}

/// Real Kubernetes control planes on one machine: no Docker, no cluster, all on 127.0.0.1.
#[derive(Debug, Parser)]
#[command(name = "testbed", bin_name = "cargo testbed", version)]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Debug, Subcommand)]
enum Cmd {
    /// Start a hub and members, and leave them running.
    Up {
        /// Name of the testbed; several can run side by side.
        #[arg(long, default_value = up::DEFAULT)]
        name: String,
        /// Number of members: member1, member2 …
        #[arg(long, default_value_t = 3)]
        members: usize,
        /// Description of the members' nodes (YAML; see testbed/nodes/demo.yaml).
        #[arg(long, value_name = "FILE")]
        nodes: Option<PathBuf>,
    },
    /// End a testbed and remove all it wrote.
    Down {
        /// Name of the testbed.
        #[arg(long, default_value = up::DEFAULT)]
        name: String,
    },
    /// Show what runs. Exit code 1 unless all of it is well.
    Status {
        /// Only this testbed.
        #[arg(long)]
        name: Option<String>,
    },
    /// Print the path of a kubeconfig: of all clusters, or of one.
    Kubeconfig {
        /// [TESTBED] [CLUSTER], as in `kubeconfig default member1`, `kubeconfig member1`.
        #[arg(num_args = 0..=2, value_name = "TESTBED|CLUSTER")]
        names: Vec<String>,
    },
    /// Build the servers' binaries into the cache, if there are none.
    Build,
    /// The main job, from the beginning to the end, checked against the members.
    Demo(demo::DemoArgs),
    /// Print figures and what to compare them with.
    #[command(subcommand)]
    Bench(bench::Bench),
    #[command(name = "model-operator", hide = true)]
    ModelOperator {
        #[arg(long)]
        kubeconfig: PathBuf,
    },
    #[command(name = process::EXEC_CHILD, hide = true)]
    ExecChild {
        parent: u32,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    #[command(name = up::SUPERVISE, hide = true)]
    Supervise { dir: PathBuf },
}

/// The program: reads the command line, acts, and gives the exit code (1: it failed, 2: typed wrong).
pub fn main() -> ExitCode {
    if let Some(code) = daemon() {
        return code;
    }
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The daemons and the command line run out of this executable too: under their own name (a link), or as first argument.
fn daemon() -> Option<ExitCode> {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let linked = args
        .first()
        .and_then(|program| PathBuf::from(program).file_name().map(OsString::from));
    let named = |name: Option<&OsString>| name.and_then(|n| n.to_str()).and_then(main_of);
    let main = named(linked.as_ref()).or_else(|| {
        let main = named(args.get(1))?;
        args.remove(0);
        Some(main)
    })?;
    Some(main(args))
}

fn main_of(name: &str) -> Option<fn(Vec<OsString>) -> ExitCode> {
    match name {
        "inhaul" | "kubectl-inhaul" => Some(|args| ::cli::main_with(args.into_iter())),
        "inhaul-scheduler" => Some(|args| scheduler::main_with(args.into_iter())),
        "inhaul-syncer" => Some(|args| syncer::main_with(args.into_iter())),
        _ => None,
    }
}

fn run(command: Cmd) -> Result<ExitCode> {
    match command {
        Cmd::Demo(args) => return demo::run(args),
        Cmd::Bench(bench) => bench::run(bench)?,
        Cmd::ModelOperator { kubeconfig } => demo::operate(&kubeconfig)?,
        Cmd::Up {
            name,
            members,
            nodes,
        } => return up(&Testbed::named(&name)?, members, nodes),
        Cmd::Down { name } => down(&Testbed::named(&name)?)?,
        Cmd::Status { name } => return status(name.as_deref()),
        Cmd::Kubeconfig { names } => kubeconfig(&names)?,
        Cmd::Build => line(true, "tools", tools_line(&Tools::ensure()?)),
        Cmd::ExecChild { parent, command } => process::exec_child(parent, &command)?,
        Cmd::Supervise { dir } => up::supervise(&dir)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(testbed: &Testbed, members: usize, nodes: Option<PathBuf>) -> Result<ExitCode> {
    if members > 20 {
        bail!("--members {members}: 20 is what a machine bears");
    }
    match testbed.find()? {
        Found::Up(state) => {
            out!("Testbed {} is up already:", testbed.name());
            let well = show(&state);
            next(testbed, &state);
            return Ok(code(well));
        }
        Found::Starting => bail!("testbed {} is starting in another terminal", testbed.name()),
        Found::Left | Found::Nothing => {}
    }
    let nodes = match nodes {
        None => Description::demo()?,
        Some(path) => {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Description::parse(&text).with_context(|| path.display().to_string())?
        }
    };
    let tools = Tools::ensure()?;
    line(true, "tools", tools_line(&tools));
    let started = std::time::Instant::now();
    let state = testbed.start(&FleetSpec::with_nodes(members, &nodes), &tools, |event| {
        if let Event::Ready(cluster) = event {
            line(
                true,
                &cluster.name,
                format_args!(
                    "{} · usable after {:.1} s",
                    describe(cluster),
                    cluster.seconds
                ),
            );
        }
    })?;
    out!(
        "Testbed {} is up: {:.1} s, {:.1} GiB of memory.",
        testbed.name(),
        started.elapsed().as_secs_f64(),
        gib(state.memory)
    );
    next(testbed, &state);
    Ok(ExitCode::SUCCESS)
}

fn down(testbed: &Testbed) -> Result<()> {
    let found = testbed.find()?;
    let ran = testbed.down()?;
    match (found, ran) {
        (Found::Nothing, _) => out!("There is no testbed {}.", testbed.name()),
        (_, true) => out!(
            "✓ Testbed {} is down; its programs ended and {} is removed.",
            testbed.name(),
            files::short(testbed.dir())
        ),
        (_, false) => out!(
            "✓ Testbed {} did not run any more; {} is removed.",
            testbed.name(),
            files::short(testbed.dir())
        ),
    }
    Ok(())
}

fn status(name: Option<&str>) -> Result<ExitCode> {
    let testbeds = match name {
        Some(name) => vec![Testbed::named(name)?],
        None => Testbed::all()?,
    };
    let mut well = !testbeds.is_empty();
    if testbeds.is_empty() {
        out!("No testbed is up. Start one: cargo testbed up");
    }
    for testbed in testbeds {
        let name = testbed.name();
        well &= match testbed.find()? {
            Found::Nothing => {
                out!("There is no testbed {name}. Start it: cargo testbed up --name {name}");
                false
            }
            Found::Starting => {
                out!("Testbed {name} is starting.");
                false
            }
            Found::Left => {
                out!(
                    "Testbed {name} ended without `down`. Remove what it left: cargo testbed down --name {name}"
                );
                false
            }
            Found::Up(state) => {
                let age = jiff::Timestamp::now()
                    .duration_since(state.since)
                    .as_secs()
                    .max(0);
                out!(
                    "Testbed {name} is up for {}: {}, {:.1} GiB of memory.",
                    human(age),
                    state.tools.versions(),
                    gib(memory(&state))
                );
                show(&state)
            }
        };
    }
    Ok(code(well))
}

fn kubeconfig(names: &[String]) -> Result<()> {
    let (testbed, cluster) = match names {
        [] => (Testbed::named(up::DEFAULT)?, None),
        // One name is a testbed's if there is one of it, and else a cluster's.
        [one] => match Testbed::named(one) {
            Ok(testbed) if testbed.dir().is_dir() => (testbed, None),
            _ => (Testbed::named(up::DEFAULT)?, Some(one)),
        },
        [testbed, cluster, ..] => (Testbed::named(testbed)?, Some(cluster)),
    };
    let Found::Up(state) = testbed.find()? else {
        bail!(
            "testbed {} is not up. Start it: cargo testbed up --name {}",
            testbed.name(),
            testbed.name()
        );
    };
    let Some(wanted) = cluster else {
        out!("{}", testbed.kubeconfig().display());
        return Ok(());
    };
    let Some(cluster) = state
        .clusters
        .iter()
        .find(|cluster| cluster.name == *wanted)
    else {
        let known: Vec<&str> = state
            .clusters
            .iter()
            .map(|cluster| cluster.name.as_str())
            .collect();
        bail!(
            "testbed {} has no cluster {wanted:?}\n  its clusters: {}",
            testbed.name(),
            known.join(", ")
        );
    };
    out!("{}", cluster.kubeconfig.display());
    Ok(())
}

/// Shows the clusters of a testbed as they are now; whether all are well.
fn show(state: &State) -> bool {
    let mut well = true;
    for cluster in &state.clusters {
        let ended = cluster.ended();
        let trouble = if !ended.is_empty() {
            let names: Vec<&str> = ended.iter().map(|component| component.name()).collect();
            Some(format!("{} ended", names.join(", ")))
        } else if ready(state, cluster) {
            None
        } else {
            Some("the API server does not answer".to_owned())
        };
        well &= trouble.is_none();
        match trouble {
            None => line(true, &cluster.name, describe(cluster)),
            Some(trouble) => line(
                false,
                &cluster.name,
                format_args!("{} · {trouble}", describe(cluster)),
            ),
        }
    }
    well
}

fn ready(state: &State, cluster: &ClusterState) -> bool {
    let mut command = Command::new(&state.tools.kubectl.path);
    command.arg("--kubeconfig").arg(&cluster.kubeconfig).args([
        "get",
        "--raw",
        "/readyz",
        "--request-timeout=3s",
    ]);
    command.output().is_ok_and(|output| output.status.success())
}

fn next(testbed: &Testbed, state: &State) {
    let name = if testbed.name() == up::DEFAULT {
        String::new()
    } else {
        format!(" --name {}", testbed.name())
    };
    out!("Next:");
    out!("  export KUBECONFIG={}", testbed.kubeconfig().display());
    let kubectl = if in_path("kubectl") {
        "kubectl".to_owned()
    } else {
        state.tools.kubectl.path.display().to_string()
    };
    out!(
        "  {kubectl} --context {} get nodes",
        state
            .clusters
            .iter()
            .find(|c| c.role == Role::Member)
            .map_or("hub", |c| &c.name)
    );
    out!("  cargo testbed status{name}");
    out!("  cargo testbed down{name}");
}

fn in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

fn describe(cluster: &ClusterState) -> String {
    if cluster.nodes.is_empty() {
        cluster.server.clone()
    } else {
        format!("{} · {}", cluster.server, cluster.nodes)
    }
}

fn tools_line(tools: &Tools) -> String {
    let dir = tools
        .apiserver
        .path
        .parent()
        .map(files::short)
        .unwrap_or_default();
    format!("{} ({dir})", tools.versions())
}

fn line(good: bool, subject: &str, text: impl Display) {
    out!("{} {subject:<8} {text}", if good { '✓' } else { '✗' });
}

fn memory(state: &State) -> u64 {
    process::memory(
        state
            .clusters
            .iter()
            .flat_map(|cluster| cluster.processes.values().copied()),
    )
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn human(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn code(well: bool) -> ExitCode {
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_a_child_is_told_is_left_alone() {
        let cli = Cli::parse_from(["testbed", "exec-child", "42", "--", "etcd", "--name", "x"]);
        let Cmd::ExecChild { parent, command } = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(
            (parent, command),
            (42, vec!["etcd".into(), "--name".into(), "x".into()])
        );
    }

    #[test]
    fn ages_read_well() {
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h")] {
            assert_eq!(human(seconds), text);
        }
    }
}
