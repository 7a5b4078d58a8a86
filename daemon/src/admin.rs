//! The port that operators and their machines look at.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    drain,
    health::{Health, Readiness},
    listen,
};

/// What the admin port tells: `/livez`, `/readyz`, `/metrics`, and the pages added to them.
pub struct Admin {
    registry: Registry,
    health: Health,
    pages: Vec<Page>,
}

struct Page {
    path: &'static str,
    show: Box<dyn Fn() -> String + Send + Sync>,
}

/// Connections at once; probes and scrapers need few.
const MAX_CONNECTIONS: usize = 64;

/// From the first byte of a request to the end of its head, and between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection is kept, so that a client which does not read its answers does not hold
/// one of the few for ever. Scrapers and probes give up after 10 s or less, and reconnect.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// For answers in flight when a connection or the process ends.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// The head of a request must fit.
const MAX_HEAD: usize = 16 << 10;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Admin {
    /// Tells these metrics and this health.
    pub fn new(registry: Registry, health: Health) -> Self {
        Self { registry, health, pages: Vec::new() }
    }

    /// Adds a page of JSON, such as what a component knows right now. `show` runs on the threads
    /// that serve, so it must not block.
    #[must_use]
    pub fn page(
        mut self,
        path: &'static str,
        show: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let show = Box::new(show);
        self.pages.push(Page { path, show });
        self
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut response = error(status, "method_not_allowed", "only GET and HEAD");
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            return response;
        }
        match path {
            "/livez" => respond(StatusCode::OK, TEXT, "alive\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => match self.pages.iter().find(|page| page.path == path) {
                Some(page) => respond(StatusCode::OK, JSON, (page.show)()),
                None => self.missing(),
            },
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let readiness = self.health.readiness();
        let status = match readiness {
            Readiness::Ready => StatusCode::OK,
            Readiness::Starting | Readiness::Draining => StatusCode::SERVICE_UNAVAILABLE,
        };
        respond(status, TEXT, format!("{}\n", readiness.as_str()))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut metrics = String::new();
        match encode(&mut metrics, &self.registry) {
            Ok(()) => respond(StatusCode::OK, OPEN_METRICS, metrics),
            Err(fmt::Error) => error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the metrics cannot be written",
            ),
        }
    }

    fn missing(&self) -> Response<Full<Bytes>> {
        let pages = self.pages.iter().map(|page| page.path);
        let paths: Vec<_> = ["/livez", "/readyz", "/metrics"].into_iter().chain(pages).collect();
        let message = format!("there are {}", paths.join(", "));
        error(StatusCode::NOT_FOUND, "not_found", &message)
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages: Vec<_> = self.pages.iter().map(|page| page.path).collect();
        f.debug_struct("Admin")
            .field("health", &self.health)
            .field("pages", &pages)
            .finish_non_exhaustive()
    }
}

fn respond(
    status: StatusCode,
    media: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let media = HeaderValue::from_static(media);
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

/// Code and message are ours and need no escapes.
fn error(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    let body = format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"{message}\"}}}}\n");
    respond(status, JSON, body)
}

/// Serves the admin port until `shutdown`. It should be the last thing a process cancels, so that
/// `/readyz` says that it drains; where another process listens on the same port it should be the
/// first, or half of the probes meet the one that drains.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: CancellationToken) {
    let admin = Arc::new(admin);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let tasks = TaskTracker::new();
    let admit = |stream, _| {
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::debug!("admin port is full; connection refused");
            return;
        };
        let (admin, stop) = (Arc::clone(&admin), shutdown.clone());
        tasks.spawn(async move {
            converse(stream, admin, stop).await;
            drop(permit);
        });
    };
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => admit(stream, peer),
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the admin port");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    listen::close(listener, admit);
    drain::finish(&tasks, DRAIN_TIMEOUT).await;
}

/// Waits until a client says something: the library closes a connection of which it has read
/// nothing when it is told to end it, though a request may be under way.
async fn speaks(stream: &TcpStream, shutdown: &CancellationToken) -> bool {
    let drained = async {
        shutdown.cancelled().await;
        sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        readable = stream.readable() => readable.is_ok(),
        () = drained => false,
        () = sleep(HEAD_TIMEOUT) => false,
    }
}

async fn converse(stream: TcpStream, admin: Arc<Admin>, shutdown: CancellationToken) {
    if !speaks(&stream, &shutdown).await {
        return;
    }
    let service = service_fn(|request: Request<Incoming>| {
        let response = admin.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let limit = timeout(CONNECTION_TIMEOUT, shutdown.cancelled());
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => Ok(ended),
        _ = limit => {
            connection.as_mut().graceful_shutdown();
            timeout(DRAIN_TIMEOUT, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection ended early"),
        Err(_) => tracing::debug!("admin connection cut"),
    }
}

#[cfg(test)]
mod tests;
