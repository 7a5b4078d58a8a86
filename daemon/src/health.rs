//! Whether a process should be sent work.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

/// The readiness of a process. Clones share it. It goes one way: starting, ready, draining.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<AtomicU8>,
}

/// Readiness as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet.
    Starting,
    /// Yes.
    Ready,
    /// No more.
    Draining,
}

impl Health {
    /// Starting.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on work is welcome, unless the process is draining already.
    pub fn ready(&self) {
        self.state.fetch_max(Readiness::Ready as u8, Relaxed);
    }

    /// From now on it is not.
    pub fn draining(&self) {
        self.state.fetch_max(Readiness::Draining as u8, Relaxed);
    }

    /// How it stands.
    pub fn readiness(&self) -> Readiness {
        match self.state.load(Relaxed) {
            0 => Readiness::Starting,
            1 => Readiness::Ready,
            _ => Readiness::Draining,
        }
    }
}

impl Readiness {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_tell_the_same() {
        let (health, seen) = (Health::new(), Health::new());
        let handle = health.clone();
        assert_eq!(handle.readiness(), Readiness::Starting);
        health.ready();
        assert_eq!(handle.readiness(), Readiness::Ready);
        assert_eq!(seen.readiness(), Readiness::Starting);
    }

    #[test]
    fn a_start_that_ends_late_does_not_undo_draining() {
        let health = Health::new();
        health.draining();
        health.ready();
        assert_eq!(health.readiness(), Readiness::Draining);
    }
}
