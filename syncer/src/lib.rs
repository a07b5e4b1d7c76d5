//! The agent of a member cluster: pulls assignments, applies them, reports back.
//!
//! [`decide`] is the pure core: what to do, never doing it. [`interpret`] reads how a root object stands. [`shell`] watches, writes and
//! reports. [`main_with`] is the whole program.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

pub mod cli;
pub mod decide;
pub mod interpret;
mod run;
pub mod shell;

/// Runs the agent with these arguments, the program's name first.
pub fn main_with(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match cli::Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Whoever embeds this program may have set these up already.
    drop(match args.log_format {
        cli::LogFormat::Text => log.try_init(),
        cli::LogFormat::Json => log.json().try_init(),
    });
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
