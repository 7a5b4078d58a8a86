//! The port that operators and their machines look at.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    drain,
    health::{Health, Readiness},
};

/// What the admin port tells.
#[derive(Debug)]
pub struct Admin {
    registry: Registry,
    health: Health,
}

/// Connections at once; probes and scrapers need few.
const MAX_CONNECTIONS: usize = 64;

/// From the first byte of a request to the end of its head, and between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// For answers in flight when the process ends.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

impl Admin {
    /// Tells these metrics and this health.
    pub fn new(registry: Registry, health: Health) -> Self {
        Self { registry, health }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let readiness = self.health.readiness();
        let status = match readiness {
            Readiness::Ready => StatusCode::OK,
            Readiness::Starting | Readiness::Draining => StatusCode::SERVICE_UNAVAILABLE,
        };
        text(status, format!("{}\n", readiness.as_str()))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut metrics = String::new();
        if encode(&mut metrics, &self.registry).is_err() {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n");
        }
        let mut response = text(StatusCode::OK, metrics);
        let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        response
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// Serves the admin port until `shutdown`.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: CancellationToken) {
    let (admin, room, tasks) =
        (Arc::new(admin), Arc::new(Semaphore::new(MAX_CONNECTIONS)), TaskTracker::new());
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                    continue;
                };
                let (admin, stop) = (Arc::clone(&admin), shutdown.clone());
                tasks.spawn(async move {
                    converse(stream, admin, stop).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the admin port");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drain::finish(&tasks, DRAIN_TIMEOUT).await;
}

async fn converse(stream: TcpStream, admin: Arc<Admin>, shutdown: CancellationToken) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = admin.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(admin: Admin, request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let shutdown = CancellationToken::new();
        let client = async {
            let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            shutdown.cancel();
            answer
        };
        tokio::join!(serve(listener, admin, shutdown.clone()), client).1
    }

    fn admin(health: &Health) -> Admin {
        let (mut registry, counter) = (Registry::default(), Counter::<u64>::default());
        registry.register("things", "Things", counter.clone());
        counter.inc_by(7);
        Admin::new(registry, health.clone())
    }

    #[tokio::test]
    async fn readiness_follows_the_life_of_the_process() {
        let health = Health::new();
        assert!(ask(admin(&health), "GET /readyz").await.starts_with("HTTP/1.1 503"));
        health.ready();
        assert!(ask(admin(&health), "GET /readyz").await.starts_with("HTTP/1.1 200"));
        health.draining();
        let draining = ask(admin(&health), "GET /readyz").await;
        assert!(draining.starts_with("HTTP/1.1 503") && draining.ends_with("draining\n"));
        assert!(ask(admin(&health), "GET /livez").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn metrics_are_told_in_the_format_that_scrapers_ask_for() {
        let told = ask(admin(&Health::new()), "GET /metrics").await;
        assert!(told.contains("content-type: application/openmetrics-text; version=1.0.0"));
        assert!(told.contains("\nthings_total 7\n") && told.ends_with("# EOF\n"), "{told}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused_helpfully() {
        let missing = ask(admin(&Health::new()), "GET /metric").await;
        assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("/metrics"));
        let post = ask(admin(&Health::new()), "POST /metrics").await;
        assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"));
    }
}
