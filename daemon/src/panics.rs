//! What a panic does: it is a bug, so it is reported in full and ends the process.

use std::{backtrace::Backtrace, panic};

/// Reports a panic with all that a bug report needs, then aborts: a process that goes on with a
/// thread missing is harder to notice than one that its supervisor restarts.
pub(crate) fn hook(name: &'static str) {
    panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        eprintln!(
            "{name} {} panicked in thread {:?}: {panic}\n{}\nThis is a bug; please report it.",
            env!("CARGO_PKG_VERSION"),
            thread.name().unwrap_or("unnamed"),
            Backtrace::force_capture(),
        );
        std::process::abort();
    }));
}
