//! Shockwave's traces: no header, twelve columns, tabs. The run time is the static one: what the job would take with its
//! first batch size.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::columns::{Line, to_ms};
use crate::replay::{Job, Trace};

pub(super) fn parse(text: &str) -> Result<Trace> {
    let mut jobs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        let line = Line {
            number: index + 1,
            fields: &fields,
        };
        let run_ms = line.seconds(10, "duration")?;
        jobs.push(Job {
            name: index.to_string(),
            submit_ms: line.seconds(11, "arrival")?,
            run_ms,
            gpus: line.whole(6, "GPUs", 1)?,
            queue: String::new(),
            priority: 0,
            told_ms: Some(run_ms),
        });
    }
    Ok(Trace::new(jobs))
}

/// Run times of the dynamic jobs when alone, ms, from the published completion times and rho of one policy (they are the same in
/// all of them): `jct / rho / share`, `share` being jobs / GPUs.
pub(super) fn isolated(text: &str, run_set: &str, share: f64) -> Result<BTreeMap<usize, i64>> {
    let mut isolated = BTreeMap::new();
    for (index, line) in text.lines().enumerate().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let line = Line {
            number: index + 1,
            fields: &fields,
        };
        let first = isolated_key(&line)?;
        if first.0 != run_set || first.1 != "simulation" {
            continue;
        }
        let job = usize::try_from(line.whole(3, "list_index", 0)?).unwrap_or_default();
        let (jct, rho) = (
            line.number_from_zero(4, "jct_s")?,
            line.number_from_zero(5, "finish_time_fairness")?,
        );
        if rho > 0.0 {
            isolated
                .entry(job)
                .or_insert_with(|| to_ms(jct / rho / share));
        }
    }
    isolated
        .first_key_value()
        .with_context(|| format!("there is no run set {run_set:?}"))?;
    Ok(isolated)
}

fn isolated_key<'a>(line: &Line<'a>) -> Result<(&'a str, &'a str)> {
    Ok((line.text(0, "run_set")?, line.text(2, "kind")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_times() {
        let line = "LM\tcmd\tlm\t--steps\t1\t13\t2\tgns\t1\t-1.0\t1418\t55";
        let job = &parse(line).expect("a trace").jobs[0];
        assert_eq!(
            (job.gpus, job.run_ms, job.submit_ms),
            (2, 1_418_000, 55_000)
        );
        let error = parse("LM\tcmd").expect_err("short").to_string();
        assert!(error.contains("line 1: has 2 columns"), "{error}");
    }
}
