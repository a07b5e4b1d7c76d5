//! Decides which workload runs on which target.
//!
//! ```text
//! watch -> event -> fleet model -> plan() -> (Decision, Explanation) -> diff -> write(term) -> Workload, Assignment
//! ```
//!
//! [`fleet`], [`plan`] and [`shares`] are pure: plain data in, plain data out. So are [`record`] (what went in, and a run once more), [`ask`] (what an object wants), [`select`] (which
//! Placement it belongs to), [`runs`] (how long it runs), [`manifest`] (what travels), [`merge`] and [`scenario`] (fleets described in files). Everything that talks
//! to the hub is in `shell`.

mod annotations;
pub mod ask;
pub mod cli;
pub mod fleet;
pub mod manifest;
pub mod merge;
pub mod plan;
pub mod record;
mod run;
pub mod runs;
pub mod scenario;
pub mod select;
pub mod shares;
mod shell;
pub mod whatif;

pub use shell::Reader;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use cli::{Args, LogFormat};

/// The scheduler as a process: reads the arguments (the program's name first), leads or stands by, and ends on SIGTERM or
/// SIGINT with the lease given back.
pub fn main_with(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    log(args.log_format);
    // Somebody else of this process may have installed it already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run::run(args));
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second subscriber in one process (tests) is refused; the first one stays.
    drop(match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    });
}
