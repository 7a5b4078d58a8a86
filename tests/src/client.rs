//! Requests as a viewer sends them, and what came back.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// What came back.
#[derive(Debug)]
pub struct Reply {
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
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl Default for Client {
    fn default() -> Self {
        let pool = Pool::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
        Self { pool }
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
        let (status, headers, mut rest) = self.open().await.unwrap_or_else(|error| {
            panic!("no response head: {error:?}");
        });
        let (mut body, mut complete) = (BytesMut::new(), true);
        while let Some(frame) = rest.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Err(_) => complete = false,
            }
        }
        Reply { status, headers, body: body.freeze(), complete }
    }

    /// Sends it and leaves the body unread.
    ///
    /// # Errors
    /// When no response head comes.
    pub async fn open(
        self,
    ) -> Result<(StatusCode, HeaderMap, Incoming), hyper_util::client::legacy::Error> {
        let request = self.request.body(Full::new(self.body)).expect("a test's request is valid");
        let (head, body) = self.client.pool.request(request).await?.into_parts();
        Ok((head.status, head.headers, body))
    }
}
