//! Requests as a viewer sends them, and what came back.

use std::{net::IpAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::aws_lc_rs,
    pki_types::CertificateDer,
};

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The protocol it came by.
    pub version: Version,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as far as it came.
    pub body: Bytes,
    /// Whether the body ended as it should, rather than being cut.
    pub complete: bool,
}

impl Reply {
    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers are text"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {:?}", self.body))
    }

    /// The code of an error of the `/cdn` family.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A client with connections of its own.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Default for Client {
    fn default() -> Self {
        Self::from(None, Protocol::Http1, tls(&[], rustls::DEFAULT_VERSIONS))
    }
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: offered in a TLS handshake, else with prior knowledge.
    Http2,
}

fn tls(
    trusted: &[CertificateDer<'static>],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("the provider has both versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

impl Client {
    fn from(source: Option<IpAddr>, protocol: Protocol, tls: ClientConfig) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(source);
        connector.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = match protocol {
            Protocol::Http1 => builder.enable_http1().wrap_connector(connector),
            Protocol::Http2 => builder.enable_http2().wrap_connector(connector),
        };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(protocol == Protocol::Http2)
            .build(connector);
        Self { pool }
    }

    /// A client that speaks HTTP/2 on one connection.
    pub fn http2() -> Self {
        Self::from(None, Protocol::Http2, tls(&[], rustls::DEFAULT_VERSIONS))
    }

    /// A client at another address of this machine.
    pub fn at(source: IpAddr, protocol: Protocol) -> Self {
        Self::from(Some(source), protocol, tls(&[], rustls::DEFAULT_VERSIONS))
    }

    /// A client that trusts only this certificate and speaks these versions of TLS.
    pub fn over_tls(
        protocol: Protocol,
        trusted: &CertificateDer<'static>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        Self::from(None, protocol, tls(std::slice::from_ref(trusted), versions))
    }
}

/// Builds one request.
#[derive(Debug)]
pub struct Asking<'a> {
    client: &'a Client,
    request: http::request::Builder,
    body: Bytes,
}

impl Client {
    /// A request with this method.
    pub fn request(&self, method: Method, url: &str) -> Asking<'_> {
        let request = Request::builder().method(method).uri(url);
        Asking { client: self, request, body: Bytes::new() }
    }

    /// GET.
    pub async fn get(&self, url: &str) -> Reply {
        self.request(Method::GET, url).send().await
    }

    /// HEAD.
    pub async fn head(&self, url: &str) -> Reply {
        self.request(Method::HEAD, url).send().await
    }

    /// GET with a `Range`.
    pub async fn range(&self, url: &str, range: &str) -> Reply {
        self.request(Method::GET, url).header("range", range).send().await
    }
}

impl Asking<'_> {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// When no response head comes.
    pub async fn send(self) -> Reply {
        let response = self.response().await.unwrap_or_else(|error| {
            panic!("no response head: {error:?}");
        });
        let (head, mut rest) = response.into_parts();
        let (mut body, mut complete) = (BytesMut::new(), true);
        while let Some(frame) = rest.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Err(_) => complete = false,
            }
        }
        let (version, status, headers) = (head.version, head.status, head.headers);
        Reply { version, status, headers, body: body.freeze(), complete }
    }

    /// Sends it and leaves the body unread.
    ///
    /// # Errors
    /// When no response head comes.
    pub async fn open(
        self,
    ) -> Result<(StatusCode, HeaderMap, Incoming), hyper_util::client::legacy::Error> {
        let (head, body) = self.response().await?.into_parts();
        Ok((head.status, head.headers, body))
    }

    /// Sends it and leaves the body unread.
    ///
    /// # Errors
    /// When no response head comes.
    pub async fn response(self) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        let request = self.request.body(Full::new(self.body)).expect("a test's request is valid");
        self.client.pool.request(request).await
    }
}
