//! One line of a table, with errors that name it.

use anyhow::{Context as _, Result, bail};

/// A line and its number, from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) fields: &'a [&'a str],
}

impl<'a> Line<'a> {
    /// The text of a column.
    pub(super) fn text(&self, column: usize, name: &str) -> Result<&'a str> {
        self.fields
            .get(column)
            .map(|field| field.trim())
            .with_context(|| {
                let (number, have) = (self.number, self.fields.len());
                format!(
                    "line {number}: has {have} columns, {name} is column {}",
                    column + 1
                )
            })
    }

    /// A whole number from `least` on.
    pub(super) fn whole(&self, column: usize, name: &str, least: i64) -> Result<i64> {
        let text = self.text(column, name)?;
        match text.parse::<i64>() {
            Ok(value) if value >= least => Ok(value),
            _ => bail!(
                "line {}: {name} {text:?} is not a whole number from {least} on",
                self.number
            ),
        }
    }

    /// Seconds, as milliseconds.
    pub(super) fn seconds(&self, column: usize, name: &str) -> Result<i64> {
        Ok(to_ms(self.number_from_zero(column, name)?))
    }

    /// A finite number that is not negative and not beyond what a replay can count.
    pub(super) fn number_from_zero(&self, column: usize, name: &str) -> Result<f64> {
        let text = self.text(column, name)?;
        match text.parse::<f64>() {
            Ok(value) if (0.0..=1e12).contains(&value) => Ok(value),
            _ => bail!(
                "line {}: {name} {text:?} is not a number from 0 to 1e12",
                self.number
            ),
        }
    }
}

/// Seconds to milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "readers accept at most 1e12 seconds"
)]
pub(super) fn to_ms(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}
