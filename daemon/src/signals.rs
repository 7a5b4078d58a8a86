//! Signals that end the process.
//!
//! SIGHUP is left as it is, so it ends the process at once; it is kept for a reload of the
//! configuration.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Cancels `shutdown` at the first SIGTERM or SIGINT, and exits at once at the second, with the
/// code a shell gives to a process that the signal killed.
pub(crate) fn cancel_on_signal(shutdown: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Nobody waits for this task: it is the way out when what is waited for hangs.
    TaskTracker::new().spawn(async move {
        loop {
            let code = tokio::select! {
                _ = terminate.recv() => 128 + 15,
                _ = interrupt.recv() => 128 + 2,
            };
            if shutdown.is_cancelled() {
                tracing::warn!("second signal; exiting at once");
                std::process::exit(code);
            }
            tracing::info!("draining; a second signal exits at once");
            shutdown.cancel();
        }
    });
    Ok(())
}
