//! `cargo demo`: the main job, told from the beginning to the end on real clusters.
//!
//! ```text
//! clusters -> register -> apply ordinary manifests -> everything runs -> check on the members
//!          -> drain one target -> kill another with its agent -> check again -> (keep | end)
//! ```
//!
//! What it claims it checks against the members themselves, and it ends with 1 where anything is not as it should be.

mod check;
mod operator;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::api;
use serde_json::Value;

use crate::cluster::Component;
use crate::fleet::FleetSpec;
use crate::rig::{Rig, RigSpec, RigTarget, eventually};

const FLEET: &str = include_str!("../../demo/00-fleet.yaml");
const MODEL_CRD: &str = include_str!("../../demo/01-model-crd.yaml");
const MODEL_PROFILE: &str = include_str!("../../demo/02-model-profile.yaml");
const MODEL_ROLE: &str = include_str!("../../demo/member/model-role.yaml");
/// What users apply, in this order.
const MANIFESTS: [(&str, &str, &str); 4] = [
    (
        "10-shop.yaml",
        "a shop: 4 Deployments with Services, ConfigMap, Secret",
        include_str!("../../demo/10-shop.yaml"),
    ),
    (
        "20-inference.yaml",
        "inference with 8 GPUs, in both regions",
        include_str!("../../demo/20-inference.yaml"),
    ),
    (
        "30-training.yaml",
        "a gang of 16 GPUs in one rack, and two more Jobs",
        include_str!("../../demo/30-training.yaml"),
    ),
    (
        "40-models.yaml",
        "Models of three teams, a kind that Inhaul does not know",
        include_str!("../../demo/40-models.yaml"),
    ),
];

/// The targets of the demo.
const EU: &str = "eu-1";
const US: &str = "us-1";
const US_CPU: &str = "us-2";

/// What the demo was asked to do.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct DemoArgs {
    /// Leave everything running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// Runs the demo.
pub fn run(args: DemoArgs) -> Result<ExitCode> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            ended = tell(args) => ended,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("\ninterrupted: every process of the demo ends with it");
                Ok(ExitCode::from(130))
            }
        }
    })
}

/// Runs the operator of Models on one member until it is killed.
pub fn operate(kubeconfig: &std::path::Path) -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(operator::run(kubeconfig))
}

async fn tell(args: DemoArgs) -> Result<ExitCode> {
    let mut story = Story::new();
    story.title("Inhaul on real Kubernetes: a hub, three members, a scheduler, three agents");

    let rig = start(&mut story).await?;
    apply(&rig, &mut story).await?;
    story.title("What runs where, and why");
    story.show(&rig, &["get", "-A"]).await?;
    story
        .show(&rig, &["explain", "job/sweep", "-n", "vision"])
        .await?;
    check::everything_runs(&rig, &mut story).await?;

    drain(&rig, &mut story).await?;
    lose(&rig, &mut story).await?;

    story.title("In the end");
    story.show(&rig, &["target", "list"]).await?;
    story.show(&rig, &["get", "-A"]).await?;
    let code = story.end();
    if args.keep {
        keep(&rig).await?;
    }
    Ok(code)
}

async fn start(story: &mut Story) -> Result<Rig> {
    let spec = RigSpec {
        fleet: FleetSpec::new(3)?,
        targets: vec![
            RigTarget::new(
                EU,
                "member1",
                &["topology.kubernetes.io/region=eu", "tier=gpu"],
            ),
            RigTarget::new(
                US,
                "member2",
                &["topology.kubernetes.io/region=us", "tier=gpu"],
            ),
            RigTarget::new(US_CPU, "member3", &["topology.kubernetes.io/region=us"]),
        ],
        // A demo that waits 40 s for a target to count as lost is a dull one.
        scheduler_args: vec!["--lost-after".into(), "10s".into()],
        agent_args: vec!["--heartbeat".into(), "2s".into()],
    };
    let mut steps = Vec::new();
    let rig = Rig::start(spec, |step| {
        let line = match step {
            "clusters" => {
                "hub and 3 members  etcd, kube-apiserver, controllers, kube-scheduler, kwok nodes"
                    .to_owned()
            }
            "hub" => "inhaul installed   kinds, roles and the scheduler on the hub".to_owned(),
            target => format!("{target} is Ready"),
        };
        story.step(&line);
        steps.push(line);
    })
    .await?;
    Ok(rig)
}

async fn apply(rig: &Rig, story: &mut Story) -> Result<()> {
    story.title("The platform owner says where, users apply ordinary manifests");
    for target in [EU, US, US_CPU] {
        let member = rig.member(target);
        member.apply(MODEL_CRD).await?;
        member.apply(MODEL_ROLE).await?;
    }
    rig.hub().apply(MODEL_CRD).await?;
    rig.hub()
        .kubectl(
            &[
                "wait",
                "--for=condition=Established",
                "crd/models.training.faros.sh",
                "--timeout=30s",
            ],
            "",
        )
        .await?;
    for target in [EU, US, US_CPU] {
        rig.start_operator(target)?;
    }
    rig.hub().apply(FLEET).await?;
    rig.hub().apply(MODEL_PROFILE).await?;
    story.step("placements         demo/00-fleet.yaml, and how to read a Model");
    let applied = Instant::now();
    for (file, what, manifest) in MANIFESTS {
        rig.hub()
            .apply(manifest)
            .await
            .with_context(|| format!("cannot apply {file}"))?;
        story.step(&format!("{file:18} {what}"));
    }
    let progress = story.progress();
    let workloads = eventually(
        "every workload but the one that waits is healthy in its members",
        || async {
            let (healthy, all) = check::healthy(rig).await?;
            progress.say(&format!("{healthy} of {all} workloads run"));
            anyhow::ensure!(
                all == 11 && healthy == all - 1,
                "{healthy} of {all} are healthy"
            );
            Ok(all)
        },
    )
    .await?;
    progress.clear();
    story.step(&format!(
        "running            {} of {workloads} workloads, {:.1} s after the first manifest; one waits, as it should",
        workloads - 1,
        applied.elapsed().as_secs_f64()
    ));
    Ok(())
}

async fn drain(rig: &Rig, story: &mut Story) -> Result<()> {
    story.title(&format!(
        "{US} is drained: what has a refuge moves, the rest is named"
    ));
    let code = story.show(rig, &["target", "drain", US]).await?;
    check::drained(rig, story, US, code).await?;
    rig.inhaul(["target", "uncordon", US]).await?;
    rig.target_state(US, "Ready").await?;
    story.step(&format!("{US} takes work again"));
    Ok(())
}

async fn lose(rig: &Rig, story: &mut Story) -> Result<()> {
    story.title(&format!(
        "{EU} dies, with its agent: Overlap moves, the rest waits and says why"
    ));
    let before = check::replicas_on(rig, EU).await?;
    rig.kill_agent(EU);
    rig.kill_operator(EU);
    rig.kill_member(EU).await?;
    story.step(&format!("{EU} killed         API server, controllers, nodes and agent, {before} replicas of the shop with it"));
    let progress = story.progress();
    progress.say("its lease runs out");
    rig.target_state(EU, "Lost").await?;
    progress.clear();
    story.step(&format!(
        "{EU} is Lost        no renewal of its lease for 10 s"
    ));
    check::survived(rig, story, EU).await?;
    story
        .show(rig, &["explain", "job/pretrain", "-n", "vision"])
        .await?;
    Ok(())
}

async fn keep(rig: &Rig) -> Result<()> {
    let hub = rig.hub().kubeconfig().display().to_string();
    println!("\nEverything keeps running until Ctrl-C. To look around:\n");
    println!("  export KUBECONFIG={hub}");
    println!(
        "  kubectl get inhaul -A              # kubectl of any recent version, or {}",
        rig.hub().kubectl_path().display()
    );
    println!(
        "  kubectl get deployments -n shop    # the users' own objects, with the status of the members"
    );
    println!("  cargo inhaul get -A                # from the project's folder");
    println!("  cargo inhaul explain deployment/web -n shop");
    for target in [US, US_CPU] {
        println!(
            "  kubectl --kubeconfig {} get pods -A   # {target}",
            rig.member(target).kubeconfig().display()
        );
    }
    println!("  logs: {}", rig.dir().display());
    std::future::pending().await
}

/// What the demo says, and whether all of it was true.
pub(crate) struct Story {
    begun: Instant,
    colour: bool,
    failures: Vec<String>,
    checks: usize,
}

impl Story {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            failures: Vec::new(),
            checks: 0,
        }
    }

    fn title(&self, title: &str) {
        let (on, off) = if self.colour {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        println!("\n{on}{title}{off}");
    }

    fn step(&self, line: &str) {
        let (on, off) = if self.colour {
            ("\x1b[32m", "\x1b[0m")
        } else {
            ("", "")
        };
        println!(
            "{on}✓{off} {line}  ({:.0} s)",
            self.begun.elapsed().as_secs_f64()
        );
    }

    /// A claim and whether it holds; the demo goes on and fails at the end.
    pub(crate) fn check(&mut self, claim: &str, outcome: Result<String>) {
        self.checks += 1;
        match outcome {
            Ok(evidence) => self.step(&format!("{claim}: {evidence}")),
            Err(error) => {
                let (on, off) = if self.colour {
                    ("\x1b[31m", "\x1b[0m")
                } else {
                    ("", "")
                };
                println!("{on}✗{off} {claim}: {error:#}");
                self.failures.push(claim.to_owned());
            }
        }
    }

    /// Runs the command line and shows it as a person would see it; gives back its exit code.
    async fn show(&self, rig: &Rig, args: &[&str]) -> Result<i32> {
        println!("\n$ inhaul {}", args.join(" "));
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let output = rig.inhaul_output(&args).await?;
        print!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        println!();
        Ok(output.status.code().unwrap_or(-1))
    }

    fn progress(&self) -> Progress {
        Progress {
            terminal: std::io::stderr().is_terminal(),
            begun: self.begun,
        }
    }

    fn end(self) -> ExitCode {
        let seconds = self.begun.elapsed().as_secs_f64();
        if self.failures.is_empty() {
            println!(
                "\nAll {} checks against the members hold. {seconds:.0} s in all.",
                self.checks
            );
            return ExitCode::SUCCESS;
        }
        println!(
            "\n{} of {} checks failed:",
            self.failures.len(),
            self.checks
        );
        for failure in &self.failures {
            println!("  ✗ {failure}");
        }
        ExitCode::FAILURE
    }
}

/// One line that is overwritten while something is awaited; silent where nobody watches.
struct Progress {
    terminal: bool,
    begun: Instant,
}

impl Progress {
    fn say(&self, what: &str) {
        if self.terminal {
            eprint!(
                "\r\x1b[2K… {what}  ({:.0} s)",
                self.begun.elapsed().as_secs_f64()
            );
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[2K");
        }
    }
}

/// The Workload of a root object.
pub(crate) async fn workload(
    rig: &Rig,
    group: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Value> {
    let key = ObjectKey::new(
        namespace,
        placement_api::names::workload_name(group, kind, namespace, name),
    );
    rig.hub()
        .get(&api::WORKLOADS, &key)
        .await?
        .with_context(|| format!("{kind} {namespace}/{name} has no Workload"))
}

impl Rig {
    /// Kills everything of a member at once.
    async fn kill_member(&self, target: &str) -> Result<()> {
        let cluster = self.fleet().member(self.member_name(target));
        for component in [
            Component::Kwok,
            Component::ControllerManager,
            Component::Scheduler,
            Component::Apiserver,
            Component::Etcd,
        ] {
            cluster.kill(component)?;
        }
        let gone = self
            .member(target)
            .get(&known::NAMESPACE, &ObjectKey::cluster("default"))
            .await;
        anyhow::ensure!(gone.is_err(), "{target} still answers");
        Ok(())
    }
}
