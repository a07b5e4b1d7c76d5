//! Shockwave's traces: no header, twelve columns, tabs. The run time is the static one: what the job would take with its
//! first batch size.

use anyhow::Result;

use super::columns::Line;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_times() {
        let line = "LM\tcmd\tlm\t--steps\t1\t13\t2\tgns\t1\t-1.0\t1418\t55";
        let job = &parse(line).expect("a trace").jobs[0];
        assert_eq!((job.gpus, job.run_ms, job.submit_ms), (2, 1_418_000, 55_000));
        let error = parse("LM\tcmd").expect_err("short").to_string();
        assert!(error.contains("line 1: has 2 columns"), "{error}");
    }
}
