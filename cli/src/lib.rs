//! The `inhaul` command, also `kubectl inhaul`.
//!
//! ```text
//! argv -> args (what was typed) -> Session (what it means: which hub, which format) -> one module per command
//!                                                  data on stdout, talk on stderr, an exit code for scripts
//! ```
//!
//! Exit codes: 0 done, 1 it failed, 2 it was typed wrong, 3 it was done in part.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use tracing_subscriber::EnvFilter;

mod apply;
mod args;
mod cluster;
mod crds;
mod credentials;
mod explain;
mod failure;
mod get;
mod install;
mod kubeconfig;
mod lines;
mod manifests;
mod output;
mod queue;
mod replay;
mod session;
mod simulate;
mod table;
mod target;
mod views;
mod whatif;
mod words;

use args::{Args, Command};
use failure::Failure;
use session::Session;

/// Runs the command line. The first of `args` is the name of the program.
pub fn main_with(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let mut command = Args::command();
    if let Some(name) = shown_name(args.first()) {
        command = command.bin_name(name);
    }
    let parsed = command
        .try_get_matches_from(&args)
        .and_then(|matches| Args::from_arg_matches(&matches));
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are errors to clap, with exit code 0. A closed pipe is nobody's trouble.
            let _closed_pipe = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit_code())
        }
    }
}

/// As a kubectl plugin the help should say what people type.
fn shown_name(program: Option<&OsString>) -> Option<&'static str> {
    let stem = Path::new(program?).file_stem()?.to_str()?;
    stem.starts_with("kubectl-").then_some("kubectl inhaul")
}

fn run(args: Args) -> Result<(), Failure> {
    // What needs no hub needs no runtime either.
    match &args.command {
        Command::Crds(crds) => return crds::run(crds),
        Command::Completions { shell } => return completions(*shell),
        Command::Simulate(simulate) => return simulate::run(simulate),
        Command::Replay(replay) => return replay::run(replay),
        _ => {}
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    // The testbed runs this beside others in one process; the first subscriber stays.
    let _already = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .try_init();
    let _already = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let session = Session::new(args.global);
    let result = runtime.block_on(async {
        match args.command {
            Command::Install(install) => install::run(&session, install).await,
            Command::Target(command) => target::run(&session, command).await,
            Command::Get(get) => get::run(&session, get).await,
            Command::Explain(explain) => explain::run(&session, explain).await,
            Command::Queue(queue) => queue::run(&session, queue).await,
            Command::WhatIf(asked) => whatif::run(&session, asked).await,
            Command::Crds(_)
            | Command::Completions { .. }
            | Command::Simulate(_)
            | Command::Replay(_) => Ok(()),
        }
    });
    // A connection may still be closing; nobody waits for that.
    runtime.shutdown_background();
    result
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "inhaul", &mut text);
    output::data(&String::from_utf8_lossy(&text))
}
