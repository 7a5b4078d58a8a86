//! Signals that hang a process, wake it, and kill it.

use std::process::Command;

/// What a process is told.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    /// It does nothing any more, but its connections stay.
    Stop,
    /// It goes on.
    Continue,
    /// It is no more.
    Kill,
}

impl Signal {
    /// Tells it.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn send(self, pid: u32) {
        let name = match self {
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
            Self::Kill => "-KILL",
        };
        let status = Command::new("kill").args([name, &pid.to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}
