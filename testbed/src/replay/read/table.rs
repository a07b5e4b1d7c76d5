//! Comma separated traces with a header.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::Format;
use super::columns::Line;
use crate::replay::{Job, Trace};

/// What a format calls its columns, and whether its times are milliseconds.
struct Names {
    job: &'static str,
    submit: &'static str,
    duration: &'static str,
    gpus: &'static str,
    queue: Option<&'static str>,
    priority: Option<&'static str>,
    millis: bool,
    /// Lines with 0 GPUs are left out instead of refused.
    cpu_jobs: bool,
    /// Every other column is an error.
    strict: bool,
}

fn names(format: Format) -> Names {
    let common = Names {
        job: "job_id",
        submit: "submit_time",
        duration: "duration",
        gpus: "num_gpu",
        queue: None,
        priority: None,
        millis: false,
        cpu_jobs: false,
        strict: false,
    };
    match format {
        Format::Csv => Names {
            job: "job",
            submit: "submit",
            gpus: "gpus",
            queue: Some("queue"),
            priority: Some("priority"),
            strict: true,
            ..common
        },
        Format::Philly => Names {
            job: "jobid",
            submit: "submit",
            gpus: "gpus",
            queue: Some("vc"),
            cpu_jobs: true,
            ..common
        },
        // Muri's column `priority` is a coin flip that its simulator does not use.
        Format::Muri => Names {
            millis: true,
            ..common
        },
        Format::Chronus => Names {
            queue: Some("user"),
            cpu_jobs: true,
            ..common
        },
        Format::Tiresias | Format::Gavel | Format::Shockwave => common,
    }
}

pub(super) fn parse(format: Format, text: &str) -> Result<Trace> {
    let names = names(format);
    let mut lines = text.lines().enumerate();
    let header = lines.next().map(|(_, line)| line).unwrap_or_default();
    let mut columns: BTreeMap<&str, usize> = BTreeMap::new();
    for (position, name) in header.split(',').map(str::trim).enumerate() {
        if columns.insert(name, position).is_some() {
            bail!("line 1: column {name:?} is there twice");
        }
    }
    let must = [names.job, names.submit, names.duration, names.gpus];
    let may: Vec<&str> = must
        .into_iter()
        .chain(names.queue)
        .chain(names.priority)
        .collect();
    if let Some(unknown) = columns
        .keys()
        .find(|name| names.strict && !name.is_empty() && !may.contains(*name))
    {
        bail!(
            "line 1: unknown column {unknown:?}; known are {}",
            may.join(", ")
        );
    }
    if let Some(missing) = must.iter().find(|name| !columns.contains_key(*name)) {
        bail!("line 1: there is no column {missing:?}");
    }
    let mut jobs = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let line = Line {
            number: index + 1,
            fields: &fields,
        };
        let time = |name: &str| {
            if names.millis {
                line.whole(columns[name], name, 0)
            } else {
                line.seconds(columns[name], name)
            }
        };
        let gpus = line.whole(columns[names.gpus], names.gpus, i64::from(!names.cpu_jobs))?;
        if gpus == 0 {
            continue;
        }
        let column = |name: Option<&'static str>| {
            name.and_then(|name| columns.get(name).map(|column| (*column, name)))
        };
        let queue = match column(names.queue) {
            Some((column, name)) => line.text(column, name)?.to_owned(),
            None => String::new(),
        };
        let priority = match column(names.priority) {
            Some((column, name)) => {
                i32::try_from(line.whole(column, name, i64::from(i32::MIN))?).unwrap_or(i32::MAX)
            }
            None => 0,
        };
        let run_ms = time(names.duration)?;
        jobs.push(Job {
            name: line.text(columns[names.job], names.job)?.to_owned(),
            submit_ms: time(names.submit)?,
            run_ms,
            gpus,
            queue,
            priority,
            told_ms: Some(run_ms),
        });
    }
    Ok(Trace::new(jobs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read() {
        let text = "job,submit,duration,gpus,queue,priority\nb,2.5,10,8,q,-1\na,1,0.25,1,,3\n";
        let trace = parse(Format::Csv, text).expect("a trace");
        let seen: Vec<_> = trace
            .jobs
            .iter()
            .map(|job| {
                (
                    job.name.as_str(),
                    job.submit_ms,
                    job.run_ms,
                    job.gpus,
                    job.priority,
                )
            })
            .collect();
        assert_eq!(seen, [("a", 1000, 250, 1, 3), ("b", 2500, 10_000, 8, -1)]);
        assert_eq!(trace.jobs[1].queue, "q");
        let muri = "job_id,num_gpu,submit_time,duration\n7,2,1500,250\n";
        let job = &parse(Format::Muri, muri).expect("a trace").jobs[0];
        assert_eq!((job.submit_ms, job.run_ms), (1500, 250));
    }

    #[test]
    fn errors_name_the_line() {
        for (format, text, words) in [
            (
                Format::Csv,
                "job,submit,duration\n",
                "line 1: there is no column \"gpus\"",
            ),
            (
                Format::Csv,
                "job,submit,duration,gpus,speed\n",
                "line 1: unknown column \"speed\"",
            ),
            (
                Format::Csv,
                "job,job,submit,duration,gpus\n",
                "line 1: column \"job\" is there twice",
            ),
            (
                Format::Csv,
                "job,submit,duration,gpus\na,0,1,1\nb,x,1,1\n",
                "line 3: submit \"x\"",
            ),
            (
                Format::Csv,
                "job,submit,duration,gpus\na,0,-1,1\n",
                "line 2: duration \"-1\"",
            ),
            (
                Format::Csv,
                "job,submit,duration,gpus\na,0,1,0\n",
                "line 2: gpus \"0\"",
            ),
            (
                Format::Csv,
                "job,submit,duration,gpus\na,0,inf,1\n",
                "line 2: duration \"inf\"",
            ),
            (
                Format::Csv,
                "job,submit,duration,gpus\na,0\n",
                "line 2: has 2 columns",
            ),
            (
                Format::Muri,
                "job_id,num_gpu,submit_time,duration\n1,1,0.5,1\n",
                "line 2: submit_time \"0.5\"",
            ),
            (Format::Csv, "", "line 1: there is no column"),
        ] {
            let error = parse(format, text).expect_err(text).to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
