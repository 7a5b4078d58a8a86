//! Tables of text, aligned.

use crate::text::plain;

/// What a cell says, beyond its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn toned(text: &str, tone: Tone) -> Self {
        Self { text: plain(text), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text.as_ref(), Tone::Plain)
    }
}

/// How a table is to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) has_headings: bool,
    pub(crate) has_colour: bool,
    /// Columns of the terminal, if it is one.
    pub(crate) width: Option<usize>,
}

/// Rows under headings. What does not fit into the terminal is cut off the last column.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    headings: [&'static str; N],
    rows: Vec<[Cell; N]>,
}

const GAP: usize = 2;

impl<const N: usize> Table<N> {
    pub(crate) fn new(headings: [&'static str; N]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// One line of text for each row; without rows none at all.
    pub(crate) fn render(&self, look: Look) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let widths = self.widths(look.has_headings);
        let mut text = String::new();
        if look.has_headings {
            line(&mut text, &self.headings.map(Cell::from), &widths, look);
        }
        for row in &self.rows {
            line(&mut text, row, &widths, look);
        }
        text
    }

    fn widths(&self, has_headings: bool) -> [usize; N] {
        std::array::from_fn(|column| {
            let rows = self.rows.iter().map(|row| row[column].text.chars().count());
            let heading = if has_headings { self.headings[column].len() } else { 0 };
            rows.max().unwrap_or(0).max(heading)
        })
    }
}

fn line(text: &mut String, cells: &[Cell], widths: &[usize], look: Look) {
    let begin = text.len();
    let mut used = 0;
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let is_last = column + 1 == cells.len();
        let shown = if is_last { cut(&cell.text, look.width, used) } else { cell.text.clone() };
        let length = shown.chars().count();
        text.push_str(&coloured(&shown, if look.has_colour { cell.tone } else { Tone::Plain }));
        if !is_last {
            let padding = width.saturating_sub(length) + GAP;
            text.push_str(&" ".repeat(padding));
            used += length + padding;
        }
    }
    let end = text.trim_end().len().max(begin);
    text.truncate(end);
    text.push('\n');
}

fn cut(text: &str, width: Option<usize>, used: usize) -> String {
    // A terminal that narrow is left to wrap.
    const LEAST: usize = 8;
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(used).max(LEAST));
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room - 1).chain(['…']).collect()
}

fn coloured(text: &str, tone: Tone) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => 32,
        Tone::Doubtful => 33,
        Tone::Bad => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { has_headings: true, has_colour: false, width: None };

    fn table() -> Table<3> {
        let mut table = Table::new(["NODE", "STATE", "WHY"]);
        table.row(["a".into(), Cell::toned("applied", Tone::Good), "".into()]);
        table.row(["eu-west-1".into(), Cell::toned("lost", Tone::Bad), "it is gone now".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_text_does() {
        let text =
            "NODE       STATE    WHY\na          applied\neu-west-1  lost     it is gone now\n";
        assert_eq!(table().render(PLAIN), text);
    }

    #[test]
    fn the_last_column_is_cut_where_the_terminal_ends() {
        let text = table().render(Look { width: Some(30), has_headings: false, ..PLAIN });
        assert_eq!(text, "a          applied\neu-west-1  lost     it is gon…\n");
        assert!(text.lines().all(|line| line.chars().count() <= 30));
    }

    #[test]
    fn colour_does_not_disturb_alignment() {
        let text = table().render(Look { has_colour: true, ..PLAIN });
        assert!(text.contains("eu-west-1  \x1b[31mlost\x1b[0m     it is"), "{text:?}");
    }

    #[test]
    fn what_would_command_the_terminal_is_left_out() {
        let mut table = Table::new(["WHY"]);
        table.row(["\x1b[2Jgone\nnow".into()]);
        assert_eq!(table.render(PLAIN), "WHY\n [2Jgone now\n");
    }

    #[test]
    fn a_table_without_rows_has_no_headings() {
        assert_eq!(Table::new(["NODE"]).render(PLAIN), "");
    }
}
