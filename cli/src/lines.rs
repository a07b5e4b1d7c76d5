//! A screen about one thing: a sentence, and below it lines with a name in front.

use std::fmt::Write as _;

/// Text in the making.
#[derive(Debug)]
pub(crate) struct Lines {
    text: String,
    /// Columns that names take.
    width: usize,
    last: String,
}

impl Lines {
    /// Begins with a sentence.
    pub(crate) fn new(head: &str, width: usize) -> Self {
        Self {
            text: format!("{head}\n"),
            width,
            last: String::new(),
        }
    }

    /// Adds a line. A name that was just written is not repeated, and an empty value leaves no line.
    pub(crate) fn line(&mut self, name: &str, value: &str) {
        let width = self.width;
        // Text from elsewhere may have several lines.
        for (index, part) in value.lines().enumerate() {
            let shown = if index > 0 || name == self.last {
                ""
            } else {
                name
            };
            let _infallible = writeln!(self.text, "  {shown:width$}  {part}");
        }
        if !value.is_empty() && !name.is_empty() {
            name.clone_into(&mut self.last);
        }
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_once() {
        let mut lines = Lines::new("eu-1 is Ready.", 5);
        lines.line("nodes", "6");
        lines.line("gone", "");
        lines.line("gpus", "H100");
        lines.line("gpus", "A100\nand more");
        lines.line("", "below");
        lines.line("gpus", "T4");
        assert_eq!(
            lines.finish(),
            "eu-1 is Ready.\n  nodes  6\n  gpus   H100\n         A100\n         and more\n         below\n         T4\n"
        );
    }
}
