//! The scheduler at work: watch, plan, write, report.

mod adopt;
mod answers;
mod asking;
mod config;
mod copies;
mod cycle;
mod engine;
mod events;
mod intake;
mod jobs;
mod kinds;
pub(crate) mod lease;
pub(crate) mod metrics;
mod model;
mod past_runs;
mod queues;
mod reader;
pub(crate) mod recorder;
mod reports;
pub(crate) mod serve;
mod status;
mod targets;
#[cfg(test)]
mod tests;
mod timers;
mod watch;
mod writer;

pub(crate) use engine::{End, Engine};
pub(crate) use model::Model;
pub use reader::Reader;
