//! What a run costs: CPU of processes, writes that an API server counted, memory.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::rig::{Admin, Rig};

/// Ticks per second of `/proc/PID/stat`; Linux has it fixed at 100 for user space.
const TICKS: f64 = 100.0;

/// CPU-seconds (user and system) of a process so far; 0 where it is gone.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold spaces: count from behind it.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |i: usize| {
        fields
            .get(i)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / TICKS
}

/// Resident memory of a process in MiB.
pub(super) fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    kib / 1024.0
}

/// CPU-seconds of our own processes, and of all.
pub(super) fn cpu(rig: &Rig) -> (f64, f64) {
    let ours: f64 = own_pids(rig).into_values().map(cpu_seconds).sum();
    let servers: f64 = rig
        .fleet()
        .clusters()
        .flat_map(|c| c.processes().into_values())
        .map(cpu_seconds)
        .sum();
    (ours, ours + servers)
}

/// Our own processes by name.
pub(super) fn own_pids(rig: &Rig) -> BTreeMap<String, u32> {
    let agents = rig
        .targets()
        .filter_map(|t| Some((format!("syncer {t}"), rig.agent_pid(t)?)));
    agents
        .chain(rig.scheduler_pid().map(|pid| ("scheduler".to_owned(), pid)))
        .collect()
}

/// Writes that an API server has answered so far, heartbeats left out, by resource.
pub(super) async fn writes(admin: &Admin) -> Result<BTreeMap<String, u64>> {
    let text = admin.connection().raw_get("/metrics").await?;
    let text = String::from_utf8(text).context("/metrics is not text")?;
    let mut found = BTreeMap::new();
    for line in text
        .lines()
        .filter_map(|l| l.strip_prefix("apiserver_request_total{"))
    {
        let Some((labels, value)) = line.split_once("} ") else {
            continue;
        };
        let label = |name: &str| {
            labels
                .split(',')
                .find_map(|l| l.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
        };
        let resource = label("resource").unwrap_or_default();
        let write = matches!(
            label("verb"),
            Some("POST" | "PUT" | "PATCH" | "APPLY" | "DELETE")
        );
        if write
            && resource != "leases"
            && resource != "subjectaccessreviews"
            && resource != "tokenreviews"
        {
            let name = match label("subresource") {
                Some(sub) if !sub.is_empty() => format!("{resource}/{sub}"),
                _ => resource.to_owned(),
            };
            *found.entry(name).or_default() += value
                .split('.')
                .next()
                .and_then(|v| v.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    Ok(found)
}

/// The value at a percentile of sorted milliseconds.
pub(super) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len().saturating_sub(1) * percent).div_ceil(100);
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
