//! What a panic does: it is a bug, so it is reported in full and ends the process.

use std::{backtrace::Backtrace, panic, thread};

use crate::args::VERSION;

/// Reports a panic with all that a bug report needs, then aborts: a process that goes on with a
/// thread missing is harder to notice than one that its supervisor restarts.
///
/// The report goes to standard error past the log, which may be filtered, or what panicked.
pub(crate) fn hook(name: &'static str) {
    panic::set_hook(Box::new(move |panic| {
        eprintln!(
            "{name} {}: thread {:?} {panic}\n{}\nthis is a bug; please report it with these lines",
            *VERSION,
            thread::current().name().unwrap_or("unnamed"),
            Backtrace::force_capture(),
        );
        std::process::abort();
    }));
}
