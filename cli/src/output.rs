//! Where words go: data on stdout, talk on stderr, colour only where a person looks.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// A format for machines, or a wider table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// `kind/name`, one a line.
    Name,
    /// A table with more columns.
    Wide,
}

/// Writes data to stdout. A closed pipe ends the command without a word.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

/// Writes a line of talk to stderr. Where stderr is closed nobody listens.
pub(crate) fn talk(line: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "{line}");
}

/// A step that was done: `✓ hub         kubernetes v1.36.3`.
pub(crate) fn done(what: &str, message: &str) {
    let paint = Paint::stderr();
    talk(&format!("{} {what:<11} {message}", paint.green("✓")));
}

/// Something that is not wrong but that one should know.
pub(crate) fn warn(message: &str) {
    let paint = Paint::stderr();
    talk(&format!("{} {message}", paint.yellow("warning:")));
}

/// Prints an object or a list of objects for machines. Tables are printed by those who know the columns.
pub(crate) fn structured<T: Serialize>(value: &T, yaml: bool) -> Result<(), Failure> {
    data(&to_text(value, yaml)?)
}

/// As JSON or YAML. Objects that keep their sections as JSON text are read first, so that those are printed like the rest.
fn to_text<T: Serialize>(value: &T, yaml: bool) -> Result<String, Failure> {
    let cannot =
        |error: &dyn std::fmt::Display| Failure::failed(format!("cannot print it: {error}"));
    let value = serde_json::to_value(value).map_err(|e| cannot(&e))?;
    if yaml {
        return serde_yaml_ng::to_string(&value).map_err(|e| cannot(&e));
    }
    let json = serde_json::to_string_pretty(&value).map_err(|e| cannot(&e))?;
    Ok(json + "\n")
}

/// Colours, where they are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// For stdout.
    pub(crate) fn stdout() -> Self {
        Self::when(std::io::stdout().is_terminal())
    }

    /// For stderr.
    pub(crate) fn stderr() -> Self {
        Self::when(std::io::stderr().is_terminal())
    }

    /// Without colour.
    pub(crate) const fn plain() -> Self {
        Self { on: false }
    }

    fn when(terminal: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            on: terminal && wanted,
        }
    }

    /// Trouble.
    pub(crate) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// All is well.
    pub(crate) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// On its way, or waiting.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Headings.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// A word for a state, in its colour.
    pub(crate) fn state(self, word: &str) -> String {
        match word {
            "Ready" | "Running" | "Healthy" | "Succeeded" => self.green(word),
            "Lost" | "Failed" | "Degraded" | "Refused" | "Invalid" => self.red(word),
            "" | "–" | "Finished" | "Assigned" => word.to_owned(),
            _ => self.yellow(word),
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_printed_to_their_last_field() {
        let text =
            br#"{"apiVersion":"v1","kind":"X","metadata":{"name":"a"},"spec":{"b":{"c":1}}}"#;
        let object = placement_api::raw::RawObject::from_json(text).unwrap();
        let yaml = to_text(&object, true).unwrap();
        assert!(yaml.ends_with("spec:\n  b:\n    c: 1\n"), "{yaml}");
        let json = to_text(&object, false).unwrap();
        assert!(json.contains("\"c\": 1\n"), "{json}");
    }

    #[test]
    fn colour_only_where_it_is_on() {
        assert_eq!(Paint::plain().red("x"), "x");
        assert_eq!(Paint { on: true }.state("Lost"), "\u{1b}[31mLost\u{1b}[0m");
        assert_eq!(Paint { on: true }.state(""), "");
    }
}
