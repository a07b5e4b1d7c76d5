//! What was typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use placement_api::duration::GoDuration;
use placement_api::toleration::{Taint, TaintEffect};

use crate::output::Format;

/// Assigns workloads to Kubernetes clusters and shows what runs where, and why.
#[derive(Debug, Parser)]
#[command(
    name = "inhaul",
    version,
    propagate_version = true,
    max_term_width = 110
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 typed wrong, 3 done in part.\n\
    Everything that inhaul shows can also be read with kubectl: kubectl get inhaul -A"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Kubeconfig of the hub; else $KUBECONFIG, ~/.kube/config or the pod's own account
    #[arg(long, global = true, value_name = "FILE", help_heading = "Hub")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the hub in that kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Hub")]
    pub(crate) context: Option<String>,
    /// Longest time for one request, such as 10s or 1m
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Hub")]
    pub(crate) request_timeout: GoDuration,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put the kinds, roles and the scheduler's account on a hub
    Install(Install),
    /// Register clusters and look after them
    #[command(subcommand, visible_alias = "targets")]
    Target(Target),
    /// Show workloads, targets, queues, placements or locations
    Get(Get),
    /// Say where an object runs, or why it waits
    Explain(Explain),
    /// Show the tree of queues, or one queue and who waits in its line
    #[command(visible_alias = "queues")]
    Queue(Queue),
    /// Plan a fleet that a file describes, and compare what is expected
    Simulate(Simulate),
    /// Say what a change would do to the fleet as it is now; nothing is written
    #[command(name = "whatif", visible_alias = "what-if")]
    WhatIf(WhatIf),
    /// Have a recorded run of the planner again, and compare every decision
    Replay(Replay),
    /// Print the CustomResourceDefinitions
    Crds(Crds),
    /// Print a completion script for a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// Who runs a process of Inhaul.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunBy {
    /// A Deployment
    Deployment,
    /// You; its credentials are written to files
    External,
}

/// `inhaul install`.
#[derive(Debug, clap::Args)]
pub(crate) struct Install {
    /// How the scheduler runs
    #[arg(long, value_enum, default_value = "deployment")]
    pub(crate) scheduler: RunBy,
    /// With `--scheduler external`: where its kubeconfig is written
    #[arg(
        long,
        value_name = "FILE",
        default_value = "inhaul-scheduler.kubeconfig"
    )]
    pub(crate) scheduler_kubeconfig: PathBuf,
    /// With `--scheduler deployment`: its image
    #[arg(long, value_name = "IMAGE", default_value = concat!("inhaul-scheduler:", env!("CARGO_PKG_VERSION")))]
    pub(crate) image: String,
    /// Print what would be applied, as YAML, and write nothing
    #[arg(long)]
    pub(crate) print: bool,
}

/// `inhaul target …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Target {
    /// Register a cluster as a target, and connect it
    Register(Box<Register>),
    /// List targets
    #[command(visible_alias = "ls")]
    List {
        /// For machines, or wide
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
    /// Show everything about a target
    Describe {
        /// Target
        name: String,
        /// For machines
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
    /// Wait until a target is Ready
    Wait {
        /// Target
        name: String,
        /// How long
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
        timeout: GoDuration,
    },
    /// Take nothing new; what runs stays
    Cordon {
        /// Target
        name: String,
    },
    /// Take new work again, and end a drain
    Uncordon {
        /// Target
        name: String,
    },
    /// Move away what has room elsewhere, and name the rest
    Drain(Drain),
    /// Forget a target
    #[command(visible_alias = "rm")]
    Remove(Remove),
}

/// `inhaul target register`.
#[derive(Debug, clap::Args)]
pub(crate) struct Register {
    /// Name of the target; it stays for ever
    pub(crate) name: String,
    /// Kubeconfig of the member cluster; without it, prints what the member needs
    #[arg(long, value_name = "FILE")]
    pub(crate) member_kubeconfig: Option<PathBuf>,
    /// Context of the member in that kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) member_context: Option<String>,
    /// Label of the target, for Locations and overrides; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) labels: Vec<(String, String)>,
    /// Taint of the target, as kubectl writes it; may be given several times
    #[arg(long = "taint", value_name = "KEY[=VALUE]:EFFECT", value_parser = taint)]
    pub(crate) taints: Vec<Taint>,
    /// How the agent runs
    #[arg(long, value_enum, default_value = "deployment")]
    pub(crate) agent: RunBy,
    /// With `--agent external`: folder for the agent's two kubeconfigs [default: inhaul-agent-NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) agent_dir: Option<PathBuf>,
    /// With `--agent deployment`: its image
    #[arg(long, value_name = "IMAGE", default_value = concat!("inhaul-syncer:", env!("CARGO_PKG_VERSION")))]
    pub(crate) image: String,
    /// Address of the hub as the agent reaches it [default: that of the hub's kubeconfig]
    #[arg(long, value_name = "URL")]
    pub(crate) hub_server: Option<String>,
    /// How long to wait until the target is Ready
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) wait: GoDuration,
    /// Do not wait; see `inhaul target wait`
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// The hub itself may be this target
    #[arg(long)]
    pub(crate) allow_hub: bool,
    /// The member belonged to another hub or target that is gone: take it over
    #[arg(long)]
    pub(crate) take_over: bool,
}

/// `inhaul target drain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// Target
    pub(crate) name: String,
    /// Wait until everything that has room elsewhere has moved
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait for the scheduler's answer, and with --wait for the moves
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: GoDuration,
    /// Not there yet
    #[arg(long, hide = true)]
    pub(crate) force: bool,
}

/// `inhaul target remove`.
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// Target
    pub(crate) name: String,
    /// Kubeconfig of the member cluster: takes the agent away there too
    #[arg(long, value_name = "FILE")]
    pub(crate) member_kubeconfig: Option<PathBuf>,
    /// Context of the member in that kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) member_context: Option<String>,
    /// Even with workloads assigned to it; what runs on the member keeps running, and nobody looks after it
    #[arg(long)]
    pub(crate) force: bool,
    /// With --force: do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `inhaul get`.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// workloads, targets, queues, placements or locations, or KIND/NAME of an object [default: workloads]
    pub(crate) what: Option<String>,
    /// Only this one
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Print again what changes, until interrupted
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// For machines, or wide
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

/// Which namespaces.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Scope {
    /// Namespace [default: that of the context]
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

/// `inhaul explain`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  inhaul explain job/pretrain -n vision\n  inhaul explain deploy web"
)]
pub(crate) struct Explain {
    /// KIND/NAME of the object, or KIND and then NAME
    #[arg(value_name = "KIND/NAME", num_args = 1..=2, required = true)]
    pub(crate) object: Vec<String>,
    /// Namespace [default: that of the context]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// If it waits: try what would let it start earlier, on the fleet as it is (needs the right to see all of it)
    #[arg(long)]
    pub(crate) faster: bool,
    /// For machines
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

/// `inhaul simulate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The planner is that of the live scheduler; no hub is needed. Exit code 1: something is not as the file expects, 2: \
    the file is wrong.\nExamples:\n  inhaul simulate docs/examples/gang.yaml\n  inhaul simulate -o json fleet.yaml"
)]
pub(crate) struct Simulate {
    /// Scenario files, YAML or JSON; - is the standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// json or yaml, for machines
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
    /// Print only what is wrong
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Plan a second time with a change, such as 'queue vision guaranteed gpu +4', and print what differs; may be given several times
    #[arg(long, value_name = "CHANGE")]
    pub(crate) what_if: Vec<String>,
    /// Write down what goes into the planner, for `inhaul replay`
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

/// `inhaul whatif`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Changes:\n  queue NAME guaranteed|limit RESOURCE +N|-N|=N\n  queue NAME weight +N|-N|=N\n  workload KIND/NAME priority +N|-N|=N\n  \
    workload KIND/NAME product H100\n  workload KIND/NAME topology Required|Preferred|none\n  target add NAME like OTHER\n  target lose NAME\n  target cordon NAME\n\
    Examples:\n  inhaul whatif queue vision guaranteed gpu +4\n  inhaul whatif -n vision workload job/sweep priority +100\n  \
    inhaul whatif 'target lose us-2' 'target add us-3 like us-2'"
)]
pub(crate) struct WhatIf {
    /// One change as words, or several in quotes
    #[arg(value_name = "CHANGE", required = true, num_args = 1.., allow_negative_numbers = true)]
    pub(crate) changes: Vec<String>,
    /// Namespace of the workload that is named [default: that of the context]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// json or yaml, for machines
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

/// `inhaul replay`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Recordings are made by `inhaul-scheduler --record DIR` and `inhaul simulate --record FILE`. Exit code 1: a decision came out \
    otherwise, or the file is damaged."
)]
pub(crate) struct Replay {
    /// The recording; - is the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// json or yaml, for machines
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

/// `inhaul queue`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  inhaul queue\n  inhaul queue vision -o wide")]
pub(crate) struct Queue {
    /// Only this one, with its line of waiting workloads
    pub(crate) name: Option<String>,
    /// For machines, or wide: all resources, and whole messages
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

/// `inhaul crds`.
#[derive(Debug, clap::Args)]
pub(crate) struct Crds {
    /// Those of a member instead of the hub's
    #[arg(long)]
    pub(crate) member: bool,
    /// Write hub.yaml and member.yaml into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "member")]
    pub(crate) out: Option<PathBuf>,
}

fn duration(text: &str) -> Result<GoDuration, String> {
    GoDuration::parse(text).map_err(|error| format!("{error}; examples: 500ms, 30s, 1m30s"))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("want KEY=VALUE")?;
    if key.is_empty() {
        return Err("the key is empty; want KEY=VALUE".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn taint(text: &str) -> Result<Taint, String> {
    const WANT: &str =
        "want KEY[=VALUE]:EFFECT, with effect NoSchedule, PreferNoSchedule or NoExecute";
    let (left, effect) = text.rsplit_once(':').ok_or(WANT)?;
    let effect = match effect {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        _ => return Err(WANT.to_owned()),
    };
    let (key, value) = left.split_once('=').unwrap_or((left, ""));
    if key.is_empty() {
        return Err(WANT.to_owned());
    }
    Ok(Taint {
        key: key.to_owned(),
        value: value.to_owned(),
        effect,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn taints_read_like_kubectls() {
        let maintenance = |value: &str| Taint {
            key: "maintenance".into(),
            value: value.into(),
            effect: TaintEffect::NoExecute,
        };
        assert_eq!(taint("maintenance:NoExecute"), Ok(maintenance("")));
        assert_eq!(taint("maintenance=now:NoExecute"), Ok(maintenance("now")));
        for wrong in [
            "maintenance",
            "maintenance:Never",
            ":NoSchedule",
            "=x:NoSchedule",
        ] {
            assert!(taint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn labels_need_a_key() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("a").is_err());
        assert!(key_value("=b").is_err());
    }

    #[test]
    fn wrong_words_are_exit_code_2() {
        for args in [
            vec!["inhaul", "frobnicate"],
            vec!["inhaul", "get", "-n", "a", "-A"],
            vec!["inhaul", "target", "register", "x", "--wait", "soon"],
            vec!["inhaul", "explain"],
            vec!["inhaul", "whatif"],
            vec!["inhaul", "replay"],
        ] {
            let error = Args::try_parse_from(&args).err();
            assert_eq!(error.map(|e| e.exit_code()), Some(2), "{args:?}");
        }
    }

    #[test]
    fn global_options_stand_anywhere() {
        let args =
            Args::try_parse_from(["inhaul", "get", "-A", "--kubeconfig", "x", "--context", "y"])
                .unwrap();
        assert_eq!(args.global.kubeconfig, Some("x".into()));
        assert_eq!(args.global.context.as_deref(), Some("y"));
    }
}
