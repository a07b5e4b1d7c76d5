//! `inhaul replay`: a recorded run of the planner once more, and every decision compared with what was recorded.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use jiff::Timestamp;
use scheduler::record::{Replay, Summary};

use crate::args;
use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::words;

/// The longest line, in bytes: an inventory of a hundred thousand nodes is shorter.
const MOST: u64 = 256 << 20;

/// Runs the command.
pub(crate) fn run(args: &args::Replay) -> Result<(), Failure> {
    let yaml = match args.output {
        None => None,
        Some(Format::Json) => Some(false),
        Some(Format::Yaml) => Some(true),
        Some(Format::Name | Format::Wide) => {
            return Err(Failure::typed("replay prints text, json or yaml")
                .hint("leave out -o, or write -o json"));
        }
    };
    let name = args.file.display().to_string();
    let summary = if name == "-" {
        replay(&name, &mut std::io::stdin().lock())?
    } else {
        replay(&name, &mut open(&args.file)?)?
    };
    match yaml {
        Some(yaml) => output::structured(&summary, yaml)?,
        None => output::data(&render(&name, &summary, Paint::stdout()))?,
    }
    if summary.different > 0 {
        return Err(Failure::said_failed());
    }
    Ok(())
}

fn open(file: &Path) -> Result<BufReader<File>, Failure> {
    File::open(file).map(BufReader::new).map_err(|error| {
        Failure::failed(format!("{} cannot be read: {error}", file.display())).hint(
            "write the path of a recording: a file in the folder of `inhaul-scheduler --record`",
        )
    })
}

fn replay(name: &str, from: &mut impl BufRead) -> Result<Summary, Failure> {
    let mut replay = Replay::new();
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        let at = |message: &str| Failure::failed(format!("{name}: line {number}: {message}"));
        bytes.clear();
        let read = from
            .by_ref()
            .take(MOST)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| at(&format!("cannot be read: {error}")))?;
        if read == 0 {
            break;
        }
        if bytes.len() as u64 == MOST {
            return Err(at("it is too long for a recording"));
        }
        let line = std::str::from_utf8(&bytes)
            .map_err(|_| at("it is not text in UTF-8: the file is damaged here"))?;
        if let Err(damaged) = replay.line(line) {
            let so_far = replay.summary();
            return Err(Failure::failed(format!("{name}: {damaged}")).hint(format!(
                "up to there: {} of {}, {} different",
                words::count(number_of(so_far.cycles), "cycle"),
                words::count(number_of(so_far.decisions), "decision"),
                so_far.different
            )));
        }
    }
    if replay.summary().lines == 0 {
        return Err(Failure::failed(format!("{name} is empty"))
            .hint("a recording has at least its first line"));
    }
    Ok(replay.summary())
}

fn number_of(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn render(name: &str, summary: &Summary, paint: Paint) -> String {
    let mut out = format!("{name}: {}\n", summary.of);
    let own = env!("CARGO_PKG_VERSION");
    let version = if summary.version == own {
        own.to_owned()
    } else {
        format!(
            "{}; this is {own}, which may decide otherwise by intention",
            summary.version
        )
    };
    let _infallible = writeln!(out, "  version    {version}");
    let span = summary.span_ms.map_or_else(String::new, |(from, to)| {
        format!(" over {}", words::span((to - from) / 1000))
    });
    let _infallible = writeln!(
        out,
        "  replayed   {}, {}{span}",
        words::count(number_of(summary.cycles), "cycle"),
        words::count(number_of(summary.decisions), "decision")
    );
    let end = summary
        .end
        .as_deref()
        .unwrap_or("there is no last line: it is still being written, or the process was killed");
    let _infallible = writeln!(out, "  ends       {end}");
    if summary.different == 0 {
        let _infallible = writeln!(
            out,
            "  {}",
            paint.green("every decision came out as it was recorded, bit for bit")
        );
        return out;
    }
    let cycles = words::count(number_of(summary.different), "cycle");
    let _infallible = writeln!(
        out,
        "  {}",
        paint.red(&format!("{cycles} came out otherwise"))
    );
    for one in &summary.differences {
        let when = Timestamp::from_millisecond(one.at_ms)
            .map_or_else(|_| String::new(), |at| format!(", {at}"));
        let workload = one.workload.as_deref().unwrap_or("the cycle as a whole");
        let _infallible = writeln!(
            out,
            "\nline {}, cycle {}{when}: {workload}\n  recorded  {}\n  now       {}",
            one.line, one.cycle, one.recorded, one.now
        );
    }
    out
}
