//! What the user typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use placement_api::duration::GoDuration;
use placement_api::quantity::Quantity;

/// Decides which workload runs on which target.
#[derive(Clone, Debug, Parser)]
#[command(name = "inhaul-scheduler", version)]
pub struct Args {
    /// Kubeconfig of the hub; absent: KUBECONFIG, ~/.kube/config, or the pod's own account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig other than its current one.
    #[arg(long)]
    pub context: Option<String>,
    /// Address for /healthz, /readyz and /metrics; 0 for none.
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = listen)]
    pub listen: Listen,
    /// Name of this process in the leader's lease; absent: host name and process id. A process that starts with the name that the lease
    /// carries takes it over at once, so no two may have the same.
    #[arg(long, env = "INHAUL_IDENTITY")]
    pub identity: Option<String>,
    /// A target is lost so long after the last renewal of its lease.
    #[arg(long, default_value = "40s", value_parser = duration)]
    pub lost_after: Duration,
    /// How long the leader's lease holds without a renewal.
    #[arg(long, default_value = "15s", value_parser = duration)]
    pub lease_duration: Duration,
    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Folder for recordings of what goes into the planner, one file for each leadership; `inhaul replay` has the same run again.
    #[arg(long, value_name = "DIR", env = "INHAUL_RECORD")]
    pub record: Option<PathBuf>,
    /// A recording that has become so large ends; scheduling goes on.
    #[arg(long, value_name = "BYTES", default_value = "1Gi", value_parser = bytes)]
    pub record_limit: u64,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

fn listen(text: &str) -> Result<Listen, String> {
    if text == "0" {
        return Ok(Listen(None));
    }
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    full.parse()
        .map(|address| Listen(Some(address)))
        .map_err(|_| {
            "write an address and a port, such as 127.0.0.1:8080, or 0 for none".to_owned()
        })
}

fn bytes(text: &str) -> Result<u64, String> {
    let most = Quantity::parse(text)
        .ok()
        .and_then(|quantity| u64::try_from(quantity.value()).ok());
    most.filter(|most| *most > 0)
        .ok_or_else(|| "write a number of bytes, such as 64Mi or 1Gi".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = GoDuration::parse(text)
        .map_err(|error| error.to_string())?
        .get();
    if duration.is_zero() {
        return Err("must be longer than 0".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments() {
        Args::command().debug_assert();
        let parse = |words: &[&str]| Args::try_parse_from([&["inhaul-scheduler"], words].concat());
        let args = parse(&[
            "--listen",
            "0",
            "--lost-after",
            "6s",
            "--log-format",
            "json",
            "--record",
            "/tmp/runs",
            "--record-limit",
            "64Mi",
        ])
        .unwrap();
        assert_eq!(args.listen, Listen(None));
        assert_eq!(args.lost_after, Duration::from_secs(6));
        assert_eq!(args.log_format, LogFormat::Json);
        assert_eq!(args.record_limit, 64 << 20);
        assert!(
            parse(&["--listen", ":9000"])
                .unwrap()
                .listen
                .0
                .unwrap()
                .ip()
                .is_unspecified()
        );
        for wrong in [
            &["--lost-after", "0s"][..],
            &["--lost-after", "6"],
            &["--listen", "here"],
            &["--record-limit", "0"],
            &["--record-limit", "much"],
            &["more"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
