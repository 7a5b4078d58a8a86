//! What operators ask of a running process with signals.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a program hears of signals.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Cancelled by the first SIGTERM or SIGINT; the program is to drain then.
    pub shutdown: CancellationToken,
    /// Raised by each SIGHUP. A program that has nothing to reload drops it.
    pub reload: Reload,
}

/// Requests to read configuration, certificates and the like again. Each clone hears of every
/// request that comes after it was made.
#[derive(Debug, Clone)]
pub struct Reload {
    raised: watch::Receiver<()>,
}

/// The other end of a [`Reload`].
#[derive(Debug)]
pub struct ReloadTrigger {
    raise: watch::Sender<()>,
}

impl Reload {
    /// A reload that is raised by hand.
    pub fn new() -> (ReloadTrigger, Self) {
        let (raise, raised) = watch::channel(());
        (ReloadTrigger { raise }, Self { raised })
    }

    /// Waits for a request. Those that came since the last one was seen count as one, for a reload
    /// looks at everything. If the trigger is gone it waits for ever.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call sees the request.
    pub async fn requested(&mut self) {
        if self.raised.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl ReloadTrigger {
    /// Asks for a reload; `false` if nobody is left to hear of it.
    pub fn raise(&self) -> bool {
        self.raise.send(()).is_ok()
    }
}

/// Cancels `shutdown` at the first SIGTERM or SIGINT, and exits at once at the second, with the
/// code a shell gives to a process that the signal killed. SIGHUP raises `reload`.
pub(crate) fn listen() -> io::Result<Signals> {
    let shutdown = CancellationToken::new();
    let (trigger, reload) = Reload::new();
    end_on_signal(shutdown.clone())?;
    reload_on_signal(trigger)?;
    Ok(Signals { shutdown, reload })
}

fn end_on_signal(shutdown: CancellationToken) -> io::Result<()> {
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

fn reload_on_signal(trigger: ReloadTrigger) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    // Nobody waits for this task: it holds nothing, and ends with the runtime.
    TaskTracker::new().spawn(async move {
        while hangup.recv().await.is_some() {
            if trigger.raise() {
                tracing::info!("reload requested");
            } else {
                tracing::info!("reload requested, but there is nothing to reload");
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn requests_that_nobody_looked_at_are_one() {
        let (trigger, mut reload) = Reload::new();
        assert!(reload.requested().now_or_never().is_none());
        assert!(trigger.raise() && trigger.raise());
        reload.requested().await;
        assert!(reload.requested().now_or_never().is_none());
    }

    #[tokio::test]
    async fn every_clone_hears_of_a_request() {
        let (trigger, mut one) = Reload::new();
        let mut other = one.clone();
        trigger.raise();
        one.requested().await;
        other.requested().await;
    }

    #[tokio::test]
    async fn without_a_listener_nothing_is_raised_and_without_a_trigger_nothing_is_heard() {
        let (trigger, reload) = Reload::new();
        drop(reload);
        assert!(!trigger.raise());
        let (_, mut reload) = Reload::new();
        assert!(reload.requested().now_or_never().is_none());
    }
}
