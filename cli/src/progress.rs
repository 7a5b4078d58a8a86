//! How far a change has come, on standard error while it is waited for.

use std::io::{self, IsTerminal as _, Write as _};

use crate::text::plain;

/// One line that is rewritten on a terminal; elsewhere a line now and then.
#[derive(Debug)]
pub(crate) enum Progress {
    Hidden,
    Terminal { width: usize },
    Lines,
}

impl Progress {
    pub(crate) fn new(is_quiet: bool) -> Self {
        let stderr = io::stderr();
        if is_quiet {
            return Self::Hidden;
        }
        match rustix::termios::tcgetwinsize(&stderr) {
            Ok(size) if stderr.is_terminal() && size.ws_col > 0 => {
                Self::Terminal { width: size.ws_col.into() }
            }
            _ => Self::Lines,
        }
    }

    /// Something happened; only a terminal shows it at once.
    pub(crate) fn changed(&self, line: &str) {
        if matches!(self, Self::Terminal { .. }) {
            self.elapsed(line);
        }
    }

    /// A second went by.
    pub(crate) fn elapsed(&self, line: &str) {
        let line = plain(line);
        match self {
            Self::Hidden => {}
            Self::Lines => write(&format!("{line}\n")),
            Self::Terminal { width } => {
                let line: String = line.chars().take(width - 1).collect();
                write(&format!("\r\x1b[K{line}"));
            }
        }
    }

    /// Makes place for what is printed next.
    pub(crate) fn clear(&self) {
        if matches!(self, Self::Terminal { .. }) {
            write("\r\x1b[K");
        }
    }
}

fn write(text: &str) {
    // Nobody who closed standard error wants to know.
    let _unread = io::stderr().lock().write_all(text.as_bytes()).is_err();
}
