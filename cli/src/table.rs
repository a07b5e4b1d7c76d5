//! Tables as they stand in a terminal: aligned, no lines, no spaces at the ends.

use std::fmt::Write as _;

use crate::output::Paint;

/// On which side a column is flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    /// Columns whose cells are words for states, to be coloured.
    state: Option<usize>,
}

impl Table {
    /// A table with these columns; a column without a name at the end is for remarks.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            state: columns.iter().position(|(name, _)| *name == "STATE"),
        }
    }

    /// Adds a row. Missing cells stay empty.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Rows by what names them, each with its cells but those that change by the clock alone.
    pub(crate) fn fingerprints(&self) -> Vec<(String, String)> {
        const BY_THE_CLOCK: [&str; 2] = ["AGE", "CONTACT"];
        let names = if self
            .columns
            .first()
            .is_some_and(|(name, _)| *name == "NAMESPACE")
        {
            2
        } else {
            1
        };
        let content = |row: &Vec<String>| {
            let cells = row
                .iter()
                .zip(&self.columns)
                .filter(|(_, (name, _))| !BY_THE_CLOCK.contains(name));
            cells
                .map(|(cell, _)| cell.as_str())
                .collect::<Vec<_>>()
                .join("\u{1f}")
        };
        self.rows
            .iter()
            .map(|row| {
                (
                    row.iter()
                        .take(names)
                        .cloned()
                        .collect::<Vec<_>>()
                        .join("/"),
                    content(row),
                )
            })
            .collect()
    }

    /// The same table with only some of its rows.
    pub(crate) fn only(&self, keep: impl Fn(usize) -> bool) -> Self {
        let rows = self
            .rows
            .iter()
            .enumerate()
            .filter(|(index, _)| keep(*index))
            .map(|(_, row)| row.clone())
            .collect();
        Self {
            columns: self.columns.clone(),
            rows,
            state: self.state,
        }
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Width of each column.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| width(name)).collect();
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate() {
                if let Some(have) = widths.get_mut(index) {
                    *have = (*have).max(width(cell));
                }
            }
        }
        widths
    }

    /// The whole table.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let widths = self.widths();
        let mut text = self.header(&widths, paint);
        text.push_str(&self.body(&widths, paint));
        text
    }

    /// The line with the names.
    pub(crate) fn header(&self, widths: &[usize], paint: Paint) -> String {
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        format!(
            "{}\n",
            paint.bold(&self.line(&names, widths, Paint::plain()))
        )
    }

    /// The rows, in columns of these widths.
    pub(crate) fn body(&self, widths: &[usize], paint: Paint) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let _infallible = writeln!(text, "{}", self.line(row, widths, paint));
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize], paint: Paint) -> String {
        let mut text = String::new();
        let mut due = 0;
        for (index, (_, align)) in self.columns.iter().enumerate() {
            let cell = cells.get(index).map_or("", String::as_str);
            let room = widths.get(index).copied().unwrap_or_default();
            let gap = room.saturating_sub(width(cell));
            let (before, after) = match align {
                Align::Left => (0, gap),
                Align::Right => (gap, 0),
            };
            due += before;
            if !cell.is_empty() {
                text.extend(std::iter::repeat_n(' ', due));
                due = 0;
                if self.state == Some(index) {
                    text.push_str(&paint.state(cell));
                } else {
                    text.push_str(cell);
                }
            }
            due += after + 2;
        }
        text
    }
}

/// Columns that a text takes; everything that Inhaul prints is one column a character.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_with_their_last_word() {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("NODES", Align::Right),
            ("WHERE", Align::Left),
            ("", Align::Left),
        ]);
        table.row(vec![
            "eu-1".into(),
            "6".into(),
            "eu · us".into(),
            String::new(),
        ]);
        table.row(vec![
            "long-name".into(),
            "1200".into(),
            String::new(),
            "no room".into(),
        ]);
        assert_eq!(
            table.render(Paint::plain()),
            "NAME       NODES  WHERE\n\
             eu-1           6  eu · us\n\
             long-name   1200           no room\n"
        );
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(
            Table::new(&[("NAME", Align::Left)]).render(Paint::plain()),
            "NAME\n"
        );
    }
}
