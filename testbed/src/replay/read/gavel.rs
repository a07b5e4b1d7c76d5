//! Gavel's traces: no header, tabs; the run time is steps by the throughput of a V100 that the job has to itself.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::columns::{Line, to_ms};
use crate::replay::{Job, Trace};

/// Steps per second by kind of job and GPUs.
pub(super) type Speeds = BTreeMap<(String, i64), f64>;

/// Jobs of kinds and sizes that were not measured are left out if `measured`, else they run at the speed of the largest smaller gang.
pub(super) fn parse(text: &str, speeds: &Speeds, measured: bool) -> Result<Trace> {
    let mut jobs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        let line = Line {
            number: index + 1,
            fields: &fields,
        };
        let kind = line.text(0, "job_type")?;
        let gpus = line.whole(6, "scale_factor", 1)?;
        let steps = line.number_from_zero(4, "total_steps")?;
        if measured && !speeds.contains_key(&(kind.to_owned(), gpus)) {
            continue;
        }
        let speed = speeds
            .range((kind.to_owned(), 0)..=(kind.to_owned(), gpus))
            .next_back()
            .map(|(_, speed)| *speed);
        let Some(speed) = speed.filter(|speed| *speed > 0.0) else {
            bail!("line {}: no throughput of {kind:?} on v100", line.number);
        };
        let run_ms = to_ms(steps / speed);
        jobs.push(Job {
            name: index.to_string(),
            submit_ms: line.seconds(5, "arrival_time")?,
            run_ms,
            gpus,
            queue: String::new(),
            priority: 0,
            told_ms: Some(run_ms),
        });
    }
    Ok(Trace::new(jobs))
}

/// Throughputs of a V100 from `simulation_throughputs.json`.
pub(super) fn speeds(text: &str) -> Result<Speeds> {
    let all: serde_json::Value = serde_json::from_str(text)?;
    let workers = all
        .get("v100")
        .and_then(serde_json::Value::as_object)
        .context("there is no worker type v100")?;
    let mut speeds = Speeds::new();
    for (key, pairs) in workers {
        let inner = key
            .strip_prefix("('")
            .and_then(|key| key.strip_suffix(')'))
            .and_then(|key| key.rsplit_once("', "));
        let (kind, gpus) = inner.with_context(|| format!("{key:?} is not ('job type', GPUs)"))?;
        let gpus: i64 = gpus
            .parse()
            .with_context(|| format!("{key:?}: GPUs are not a number"))?;
        if let Some(speed) = pairs.get("null").and_then(serde_json::Value::as_f64) {
            speeds.insert((kind.to_owned(), gpus), speed);
        }
    }
    Ok(speeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_times_are_steps_by_speed() {
        let speeds =
            speeds(r#"{"v100": {"('LM (batch size 5)', 1)": {"null": 2.5}}}"#).expect("speeds");
        let line = "LM (batch size 5)\tcmd\t--steps\t1\t25\t3.5\t1";
        let trace = parse(line, &speeds, true).expect("a trace");
        assert_eq!(
            (trace.jobs[0].submit_ms, trace.jobs[0].run_ms),
            (3500, 10_000)
        );
        for (text, words) in [
            (format!("{line}\nLM\tc"), "line 2"),
            (line.replace("LM", "XY"), "line 1: no throughput of \"XY"),
            (
                line.replace("\t25\t", "\tmany\t"),
                "line 1: total_steps \"many\"",
            ),
        ] {
            let error = parse(&text, &speeds, false).expect_err(&text).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
