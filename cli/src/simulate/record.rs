//! `--record`: the steps of a simulated run in a file, for `inhaul replay`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use scheduler::record::Encoder;
use scheduler::scenario::{self, Broken, Outcome, Scenario};

use crate::failure::Failure;

/// Simulates and writes everything down.
pub(super) fn simulate(
    scenario: &Scenario,
    to: &Path,
    micros: &mut dyn FnMut() -> u64,
) -> Result<Result<Outcome, Broken>, Failure> {
    let (outcome, steps) = match scenario::recorded(scenario, micros) {
        Ok(recorded) => recorded,
        Err(broken) => return Ok(Err(broken)),
    };
    let (mut encoder, mut text) = Encoder::begin(&scenario.file, scenario.now_ms);
    for step in steps {
        text += &encoder.step(step);
    }
    text += &encoder.end("the simulation is over");
    // What is there may be a recording that somebody needs.
    let file = OpenOptions::new().write(true).create_new(true).open(to);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            Failure::failed(format!(
                "--record: {} cannot be written: {error}",
                to.display()
            ))
        })?;
    Ok(Ok(outcome))
}
