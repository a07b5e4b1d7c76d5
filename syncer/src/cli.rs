//! What the user typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use placement_api::duration::GoDuration;

/// The agent of a member cluster: pulls assignments from the hub, applies them here, reports back.
#[derive(Clone, Debug, Parser)]
#[command(name = "inhaul-syncer", version)]
pub struct Args {
    /// Kubeconfig of the hub, with the credentials of this target's agent.
    #[arg(long, value_name = "FILE", env = "INHAUL_HUB_KUBECONFIG")]
    pub hub_kubeconfig: PathBuf,
    /// Kubeconfig of the member; without it, the pod's own service account.
    #[arg(long, value_name = "FILE")]
    pub member_kubeconfig: Option<PathBuf>,
    /// Name of the SyncTarget that this cluster is.
    #[arg(long, value_name = "NAME", env = "INHAUL_TARGET")]
    pub target: String,
    /// Address of /healthz, /readyz and /metrics; port 0: none.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Who this is in the lease; the same identity takes over at once. [default: the host name and the process id]
    #[arg(long, value_name = "ID", env = "INHAUL_IDENTITY")]
    pub identity: Option<String>,
    /// Time between two renewals of the lease.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = GoDuration::parse)]
    pub heartbeat: GoDuration,
    /// Pods without a node for this long make the assignment refused.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = GoDuration::parse)]
    pub unschedulable_after: GoDuration,
    /// Form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Args {
    /// The identity, made up if none was given.
    pub fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| {
            let host = std::env::var("HOSTNAME").unwrap_or_else(|_| self.target.clone());
            format!("{host}-{}", std::process::id())
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags() {
        Args::command().debug_assert();
        let args = [
            "inhaul-syncer",
            "--hub-kubeconfig",
            "h",
            "--target",
            "eu-1",
            "--heartbeat",
            "500ms",
        ];
        let args = Args::try_parse_from(args).unwrap();
        assert_eq!(
            (
                args.heartbeat.as_millis(),
                args.unschedulable_after.as_secs()
            ),
            (500, 60)
        );
        assert!(args.identity().ends_with(&std::process::id().to_string()));
        assert!(Args::try_parse_from(["inhaul-syncer"]).is_err());
    }
}
