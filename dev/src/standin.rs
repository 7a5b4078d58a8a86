//! A Walrus to go with it: one publisher and several aggregators over one store.
//!
//! They behave like the real daemons of version 1.56, quirks included: bare ETags, `Accept` copied
//! into `Content-Type`, ranges only as `bytes=A-B`, queries with unknown parameters refused, errors
//! as AIP-193 or plain text. Blob ids are the real ones. And each of them can be made to misbehave
//! ([`faults`]), which is what a cache has to live with.

mod aggregator;
mod answer;
pub mod faults;
mod form;
mod publisher;
mod range;
mod socket;
mod store;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use http::{HeaderValue, Method, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use wcdn_walrus::{BaseUrl, Encoding};

use self::{
    faults::{Faults, Stats},
    socket::{Cut, Socket},
    store::Store,
};

/// What a stand-in consists of.
#[derive(Debug)]
pub struct StandinOptions {
    /// The code of its blobs.
    pub encoding: Encoding,
    /// Where the publisher answers.
    pub publisher: TcpListener,
    /// Where the aggregators answer.
    pub aggregators: Vec<TcpListener>,
    /// Where blobs are kept; memory only if not given.
    pub dir: Option<PathBuf>,
    /// How long aggregators do not see a blob just stored.
    pub visible_after: Duration,
    /// The largest blob the publisher takes.
    pub max_body: usize,
    /// The largest form of quilt files the publisher takes.
    pub max_quilt_body: usize,
}

/// What public publishers take by default.
pub const MAX_BODY: usize = 10 << 20;

/// The same, for quilts.
pub const MAX_QUILT_BODY: usize = 100 << 20;

/// A running stand-in.
#[derive(Debug)]
pub struct Standin {
    /// Where to store.
    pub publisher_url: BaseUrl,
    /// Where to read.
    pub aggregator_urls: Vec<BaseUrl>,
    tasks: TaskTracker,
}

/// One daemon: the store they share, and its own faults and counts.
#[derive(Debug)]
struct Daemon {
    store: Arc<Store>,
    faults: Mutex<Faults>,
    stats: Mutex<Stats>,
    max_body: usize,
    max_quilt_body: usize,
}

impl Standin {
    /// Starts all daemons; they run until `shutdown`.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or a listener has no address.
    pub async fn start(options: StandinOptions, shutdown: CancellationToken) -> io::Result<Self> {
        let store = Store::open(options.encoding, options.dir, options.visible_after).await?;
        let store = Arc::new(store);
        let daemon = || {
            Arc::new(Daemon {
                store: Arc::clone(&store),
                faults: Mutex::default(),
                stats: Mutex::default(),
                max_body: options.max_body,
                max_quilt_body: options.max_quilt_body,
            })
        };
        let tasks = TaskTracker::new();
        let serve = |listener: TcpListener, router: Router| -> io::Result<BaseUrl> {
            let url = format!("http://{}", listener.local_addr()?);
            tasks.spawn(accept(listener, router, tasks.clone(), shutdown.clone()));
            url.parse().map_err(io::Error::other)
        };
        let publisher_url = serve(options.publisher, with_manners(publisher::routes(), daemon()))?;
        let aggregators = options.aggregators.into_iter();
        let aggregator_urls = aggregators
            .map(|listener| serve(listener, with_manners(aggregator::routes(), daemon())))
            .collect::<io::Result<_>>()?;
        tasks.close();
        Ok(Self { publisher_url, aggregator_urls, tasks })
    }

    /// Waits until all daemons have stopped.
    pub async fn join(self) {
        self.tasks.wait().await;
    }
}

/// Serves connections until `shutdown`. By hand, because a daemon that refuses must be able to
/// close a connection without an answer.
async fn accept(
    listener: TcpListener,
    router: Router,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (router, stop) = (router.clone(), shutdown.clone());
        tasks.spawn(async move {
            let cut = Cut::default();
            let socket = TokioIo::new(Socket::new(stream, cut.clone()));
            let service = service_fn(move |mut request: http::Request<Incoming>| {
                request.extensions_mut().insert(cut.clone());
                let answer = router.clone().oneshot(request.map(Body::new));
                async move { faults::unless_refused(answer.await) }
            });
            let connection = http1::Builder::new().serve_connection(socket, service);
            // Broken connections are this daemon's trade, and nobody reads of them.
            let _broken = stop.run_until_cancelled(connection).await;
        });
    }
}

/// Adds what every daemon has: its own routes, faults, and CORS on everything.
fn with_manners(routes: Router<Arc<Daemon>>, daemon: Arc<Daemon>) -> Router {
    let always = Router::new()
        .route("/status", axum::routing::get(|| async { "OK" }))
        .merge(faults::routes());
    routes
        .route_layer(middleware::from_fn_with_state(Arc::clone(&daemon), faults::before))
        .merge(always)
        .layer(middleware::from_fn(cors))
        .with_state(daemon)
}

/// CORS as the real daemons have it: everything allowed, nothing exposed, `OPTIONS` answered.
async fn cors(request: Request, next: Next) -> Response {
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response =
        if is_preflight { Response::new(Body::empty()) } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let vary = "origin, access-control-request-method, access-control-request-headers";
    headers.insert(header::VARY, HeaderValue::from_static(vary));
    if is_preflight {
        for name in [header::ACCESS_CONTROL_ALLOW_METHODS, header::ACCESS_CONTROL_ALLOW_HEADERS] {
            headers.insert(name, HeaderValue::from_static("*"));
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}

#[cfg(test)]
mod tests;
