//! Standard output: people's tables or programs' JSON.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use serde::Serialize;

use crate::{
    args::OutputArgs,
    table::{Look, Table},
    text::plain,
};

/// Tells on standard error what went wrong.
pub(crate) fn complain(line: &str) {
    // Nobody who closed standard error wants to know.
    let _unread = writeln!(io::stderr().lock(), "wcdn: {}", plain(line)).is_err();
}

/// Where results go, and how they are to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    args: OutputArgs,
    look: Look,
}

impl Output {
    pub(crate) fn new(args: OutputArgs) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let is_monochrome = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.into());
        let look = Look {
            has_headings: !args.quiet,
            has_colour: is_terminal && !is_monochrome,
            width: width.filter(|columns| is_terminal && *columns > 0),
        };
        Self { args, look }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.args.json
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.args.quiet
    }

    /// One JSON document on one line.
    pub(crate) fn document(&self, document: &impl Serialize) -> io::Result<()> {
        self.line(&serde_json::to_string(document)?)
    }

    pub(crate) fn table<const N: usize>(&self, table: &Table<N>) -> io::Result<()> {
        self.write(&table.render(self.look))
    }

    /// A line that explains, which nobody wants who asked for quiet.
    pub(crate) fn remark(&self, line: &str) -> io::Result<()> {
        if self.args.quiet { Ok(()) } else { self.line(&plain(line)) }
    }

    pub(crate) fn line(&self, line: &str) -> io::Result<()> {
        self.write(&format!("{line}\n"))
    }

    /// # Errors
    /// `BrokenPipe` once the reader has gone.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}
