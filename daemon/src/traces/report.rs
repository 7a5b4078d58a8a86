//! Saying once that a collector is away, and once that it is back.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use http::Uri;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use tokio::{runtime::Handle, time::timeout};

use super::EXPORT_TIMEOUT;

/// An exporter whose failures are seen.
#[derive(Debug)]
pub(super) struct Reporting<E> {
    exporter: E,
    endpoint: Uri,
    runtime: Handle,
    standing: Standing,
}

impl<E> Reporting<E> {
    pub(super) fn new(exporter: E, endpoint: Uri, runtime: Handle) -> Self {
        Self { exporter, endpoint, runtime, standing: Standing::default() }
    }
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        // Batches are exported on a thread without a clock, and the exporter's own time-out does
        // not count the time a connection takes.
        let bounded = {
            let _inside = self.runtime.enter();
            timeout(EXPORT_TIMEOUT, self.exporter.export(batch))
        };
        let late = |_| Err(OTelSdkError::Timeout(EXPORT_TIMEOUT));
        let outcome = bounded.await.unwrap_or_else(late);
        match (self.standing.turn(outcome.is_ok()), &outcome) {
            (true, Ok(())) => tracing::info!(collector = %self.endpoint, "collector is back"),
            (true, Err(error)) => {
                tracing::warn!(collector = %self.endpoint, %error, "collector takes no traces");
            }
            (false, _) => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Whether the collector took the last batch; it is trusted to take the first.
#[derive(Debug, Default)]
struct Standing {
    away: AtomicBool,
}

impl Standing {
    /// Notes an outcome; whether it differs from the last.
    fn turn(&self, taken: bool) -> bool {
        self.away.swap(!taken, Relaxed) == taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_told_of_when_it_goes_and_when_it_returns() {
        let standing = Standing::default();
        let taken = [true, true, false, false, false, true, true, false];
        let told = taken.map(|taken| standing.turn(taken));
        assert_eq!(told, [false, false, true, false, false, true, false, true]);
    }
}
