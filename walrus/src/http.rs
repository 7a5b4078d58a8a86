//! The HTTP client that aggregators and publishers are asked with.

mod dial;
pub(crate) mod dns;
pub(crate) mod outage;
pub(crate) mod public;
mod reuse;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::TcpStream;
use tower::util::MapResponse;

use self::{
    dial::Dial,
    dns::{DnsOptions, Resolver},
    reuse::{Tracked, Used},
};

/// A pool of connections. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    user_agent: HeaderValue,
}

/// Names to addresses to TCP to TLS, each stream knowing whether it was used before.
type Connector = MapResponse<HttpsConnector<Dial>, Track>;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

type Track = fn(Stream) -> Tracked<Stream>;

/// How connections are made and kept.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// To connect, over all addresses of a host: they are tried in turn, and each has its share of
    /// the time.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// Idle connections kept to one host.
    pub max_idle_per_host: usize,
    /// Who we say we are.
    pub user_agent: &'static str,
    /// How names are looked up.
    pub dns: DnsOptions,
    /// Whether only hosts in the public internet are connected to, whatever their names lead to.
    pub public_only: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            pool_idle_timeout: Duration::from_secs(15),
            max_idle_per_host: 32,
            user_agent: concat!("wcdn/", env!("CARGO_PKG_VERSION")),
            dns: DnsOptions::default(),
            public_only: false,
        }
    }
}

/// How long a connection over IPv6 may take before one over IPv4 is tried as well (RFC 8305 §8).
const HAPPY_EYEBALLS: Duration = Duration::from_millis(250);

/// Bytes of a connection's buffer, and so of a response head: what arrives is taken out at once,
/// and a thousand connections with the default of 400 KiB would be a lot of memory.
const MAX_BUFFER: usize = 64 << 10;

/// Bytes of an error's body that are read: the rest would only cost.
const MAX_ERROR_BODY: usize = 16 << 10;

impl HttpClient {
    /// A pool without connections.
    ///
    /// # Panics
    /// Never: the cryptography that is compiled in supports the protocol versions asked for.
    pub fn new(options: HttpOptions) -> Self {
        let mut dial = Dial::new(Resolver::new(options.dns), options.public_only);
        let tcp = dial.tcp();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(options.connect_timeout));
        tcp.set_happy_eyeballs_timeout(Some(HAPPY_EYEBALLS));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)
            .expect("the provider supports TLS 1.2 and 1.3")
            .https_or_http()
            .enable_http1()
            .wrap_connector(dial);
        let connector = MapResponse::new(connector, Tracked::new as Track);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.pool_idle_timeout)
            .pool_max_idle_per_host(options.max_idle_per_host)
            .http1_max_buf_size(MAX_BUFFER)
            .build(connector);
        Self { client, user_agent: HeaderValue::from_static(options.user_agent) }
    }

    /// Sends a request; resolves with the response head. One that only reads is sent once more if
    /// it met a connection that was just being closed.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, self.user_agent.clone());
        // Aggregators copy Accept into Content-Type unless it has an asterisk.
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let again = only_reads.then(|| request.clone());
        let response = match (self.client.request(request).await, again) {
            (Err(error), Some(again)) if reuse::met_closing(&error) => {
                self.client.request(again).await?
            }
            (response, _) => response?,
        };
        Used::note(response.extensions());
        Ok(response)
    }
}

/// An error and what caused it, down to the first cause.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The beginning of an error's body, as text; what has come of it, if it breaks off.
pub(crate) async fn error_text(mut body: Incoming) -> String {
    let mut text = Vec::new();
    while text.len() < MAX_ERROR_BODY
        && let Some(Ok(frame)) = body.frame().await
    {
        text.extend(frame.into_data().iter().flatten());
    }
    text.truncate(MAX_ERROR_BODY);
    String::from_utf8_lossy(&text).into_owned()
}
