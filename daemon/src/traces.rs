//! Spans, sent to a collector over OTLP.

mod report;

use std::time::Duration;

use clap::Args;
use http::Uri;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithTonicConfig,
    tonic_types::transport::ClientTlsConfig,
};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider},
};
use tokio::runtime::Runtime;
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::args::VERSION;
use report::Reporting;

/// Where traces go, and how many of them.
#[derive(Debug, Clone, Args)]
pub struct Otlp {
    /// Send traces to this OTLP collector over gRPC, such as http://localhost:4317.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = endpoint)]
    pub otlp_endpoint: Option<Uri>,
    /// The share of requests to trace, 0 to 1.
    #[arg(long, value_name = "RATIO", default_value = "0.01", value_parser = ratio)]
    pub otlp_sample: f64,
}

/// Traces on their way to a collector, if there is one.
pub(crate) struct Traces {
    provider: Option<SdkTracerProvider>,
    name: &'static str,
}

/// Spans that wait to be sent; more are dropped. At some 1 KiB each they take 2 MiB.
const MAX_QUEUE: usize = 2048;

/// Spans sent at once.
const MAX_BATCH: usize = 512;

/// How long spans wait for others to be sent with.
const BATCH_DELAY: Duration = Duration::from_secs(5);

/// For a batch to be taken, with all that a connection needs.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// For what still waits when the process ends, which has drained by then.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What the targets of our own spans begin with.
const OURS: &str = "wcdn";

impl Traces {
    /// Prepares to send; nothing is connected before the first spans are to go. The connection
    /// lives in `runtime`, the batches on a thread of their own.
    pub(crate) fn start(
        name: &'static str,
        otlp: &Otlp,
        runtime: &Runtime,
    ) -> Result<Self, ExporterBuildError> {
        let Some(endpoint) = &otlp.otlp_endpoint else {
            return Ok(Self { provider: None, name });
        };
        let _inside = runtime.enter();
        let exporter =
            Reporting::new(exporter(endpoint)?, endpoint.clone(), runtime.handle().clone());
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_QUEUE)
            .with_max_export_batch_size(MAX_BATCH)
            .with_scheduled_delay(BATCH_DELAY)
            .build();
        let version = KeyValue::new("service.version", VERSION.as_str());
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::new(exporter, batches))
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                otlp.otlp_sample,
            ))))
            .with_resource(
                Resource::builder().with_service_name(name).with_attribute(version).build(),
            )
            .build();
        Ok(Self { provider: Some(provider), name })
    }

    /// What hands over our spans from level INFO on, whatever the log shows. Libraries have spans
    /// too, the one that sends these among them.
    pub(crate) fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let tracer = self.provider.as_ref()?.tracer(self.name);
        let ours = filter_fn(|metadata| {
            *metadata.level() <= Level::INFO && metadata.target().starts_with(OURS)
        });
        Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours))
    }

    /// Sends what waits, but does not wait for long. It blocks, and what it waits for runs on the
    /// runtime, so it is not for one of the runtime's threads.
    pub(crate) fn flush(self) {
        let Some(provider) = self.provider else { return };
        if let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

fn exporter(endpoint: &Uri) -> Result<SpanExporter, ExporterBuildError> {
    let builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.to_string())
        .with_timeout(EXPORT_TIMEOUT);
    if endpoint.scheme() != Some(&http::uri::Scheme::HTTPS) {
        return builder.build();
    }
    builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots()).build()
}

fn endpoint(text: &str) -> Result<Uri, &'static str> {
    // It is logged, so it must not hold a password.
    let is_plain = |url: &Uri| url.authority().is_some_and(|host| !host.as_str().contains('@'));
    let is_http = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https"));
    let url = text.parse().ok().filter(|url| is_plain(url) && is_http(url));
    url.ok_or("it must be the URL of a collector, such as http://localhost:4317")
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or("it must be a number from 0 to 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_url_of_http() {
        for right in ["http://localhost:4317", "https://otel.example", "http://[::1]:4317/"] {
            assert!(endpoint(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "localhost:4317",
            "/v1/traces",
            "grpc://localhost",
            "http://",
            "http://a:b@c",
            "a b",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_between_none_and_all() {
        assert_eq!((ratio("0"), ratio("0.01"), ratio("1")), (Ok(0.0), Ok(0.01), Ok(1.0)));
        for wrong in ["", "-0.1", "1.1", "NaN", "inf", "1%"] {
            assert!(ratio(wrong).is_err(), "{wrong}");
        }
    }
}
