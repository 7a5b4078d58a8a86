//! Signals that end the process.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Cancels `shutdown` at the first SIGTERM or SIGINT, and exits at once at the second, with the
/// code a shell gives to a process that the signal killed.
pub(crate) fn cancel_on_signal(shutdown: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
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
