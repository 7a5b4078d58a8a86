//! The origin behind the caches, and the bare server that no cache can beat.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::body;

/// An aggregator as far as caches see it, that counts how often it is asked.
pub(crate) fn origin(port: u16, sizes: &[usize]) -> anyhow::Result<()> {
    let bodies: HashMap<String, Bytes> = sizes
        .iter()
        .map(|size| body::of(*size))
        .map(|body| (format!("/v1/blobs/{}", body.id), body.bytes))
        .collect();
    let count = AtomicU64::new(0);
    serve(port, move |path| {
        if path == "/_stats" {
            return Response::new(Full::from(count.load(Relaxed).to_string()));
        }
        count.fetch_add(1, Relaxed);
        let Some(bytes) = bodies.get(path) else { return not_found() };
        let mut response = Response::new(Full::from(bytes.clone()));
        let caching = HeaderValue::from_static("public, max-age=3600");
        response.headers_mut().insert(header::CACHE_CONTROL, caching);
        response
    })
}

/// The same bodies without a cache, a lookup, or a header more than there must be.
pub(crate) fn ceiling(port: u16, sizes: &[usize]) -> anyhow::Result<()> {
    let bodies: HashMap<String, Bytes> =
        sizes.iter().map(|size| (format!("/{size}"), body::of(*size).bytes)).collect();
    serve(port, move |path| match bodies.get(path) {
        Some(bytes) => Response::new(Full::from(bytes.clone())),
        None => not_found(),
    })
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn serve(
    port: u16,
    answer: impl Fn(&str) -> Response<Full<Bytes>> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (answer, tasks) = (Arc::new(answer), TaskTracker::new());
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = Arc::clone(&answer);
            tasks.spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let response = answer(request.uri().path());
                    async move { Ok::<_, Infallible>(response) }
                });
                // A client that ends its run closes connections in the middle of answers.
                let _cut =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
