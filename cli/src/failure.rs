//! Why a command ended without having done what was asked: the message, the way out, and the exit code.

use std::fmt::Write as _;

use crate::output;

/// Why a command ended early. The message names the object and the field, the hints the way out.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    hints: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It failed.
    Failed,
    /// It was typed wrong.
    Typed,
    /// Some of it was done, and has been reported already.
    Part,
    /// Nobody reads the output any more: `inhaul get | head`.
    ClosedPipe,
}

impl Failure {
    /// It failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// It was typed wrong.
    pub(crate) fn typed(message: impl Into<String>) -> Self {
        Self::new(Kind::Typed, message)
    }

    /// Some of it was done; everything has been said.
    pub(crate) fn part() -> Self {
        Self::new(Kind::Part, "")
    }

    /// It failed; everything has been said.
    pub(crate) fn said_failed() -> Self {
        Self::new(Kind::Failed, "")
    }

    /// It was typed wrong; everything has been said.
    pub(crate) fn said_typed() -> Self {
        Self::new(Kind::Typed, "")
    }

    /// The output could not be written.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Kind::ClosedPipe, "");
        }
        Self::failed(format!("cannot write the output: {error}"))
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// Adds a line that says what to do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// 1 it failed, 2 it was typed wrong, 3 it was done in part.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Typed => 2,
            Kind::Part => 3,
            Kind::ClosedPipe => 0,
        }
    }

    /// Message and hints as they are printed; empty where everything has been said.
    pub(crate) fn text(&self) -> String {
        if self.message.is_empty() {
            return String::new();
        }
        let mut text = format!("error: {}\n", self.message);
        for hint in &self.hints {
            for line in hint.lines() {
                let _infallible = writeln!(text, "  {line}");
            }
        }
        text
    }

    /// Prints it on stderr.
    pub(crate) fn print(&self) {
        let text = self.text();
        let (head, rest) = text.split_once(": ").unwrap_or((text.as_str(), ""));
        if !head.is_empty() {
            let paint = output::Paint::stderr();
            output::talk(&format!("{}: {}", paint.red(head), rest.trim_end()));
        }
    }
}

/// Distance of two words, for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// A name that does not exist, with those that do.
pub(crate) fn unknown(what: &str, name: &str, known: &[String]) -> Failure {
    let failure = Failure::failed(format!("{what} {name:?} does not exist"));
    if known.is_empty() {
        return failure.hint(format!("there is no {what} yet"));
    }
    let near = known
        .iter()
        .map(|k| (distance(name, k), k))
        .min()
        .filter(|(d, k)| *d * 3 <= k.chars().count().max(3));
    let failure = match near {
        Some((_, near)) => failure.hint(format!("did you mean {near:?}?")),
        None => failure,
    };
    const MOST: usize = 20;
    let mut list = known
        .iter()
        .take(MOST)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if known.len() > MOST {
        let _infallible = write!(list, ", … ({} in all)", known.len());
    }
    failure.hint(format!("known {what}s: {list}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_and_texts() {
        assert_eq!(Failure::failed("x").exit_code(), 1);
        assert_eq!(Failure::typed("x").exit_code(), 2);
        assert_eq!(Failure::part().exit_code(), 3);
        assert_eq!(Failure::part().text(), "");
        let closed = Failure::output(&std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((closed.exit_code(), closed.text().as_str()), (0, ""));
        assert_eq!(
            Failure::output(&std::io::Error::other("disk full")).exit_code(),
            1
        );
    }

    #[test]
    fn unknown_names_come_with_the_known_ones() {
        let known = ["default", "research", "vision"].map(str::to_owned);
        assert_eq!(
            unknown("queue", "nope", &known).text(),
            "error: queue \"nope\" does not exist\n  known queues: default, research, vision\n"
        );
        assert_eq!(
            unknown("queue", "visoin", &known).text(),
            "error: queue \"visoin\" does not exist\n  did you mean \"vision\"?\n  known queues: default, research, vision\n"
        );
        assert_eq!(
            unknown("queue", "nope", &[]).text(),
            "error: queue \"nope\" does not exist\n  there is no queue yet\n"
        );
    }
}
