//! A control plane on free ports, and a client of it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wcdn_control_plane::{Config, ControlPlane, Doors, config::WalrusNetwork, start};
use wcdn_proto::BlobId;

/// Longer than anything takes that is to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    pub(crate) plane: ControlPlane,
    pub(crate) key: String,
    client: Client<HttpConnector, Full<Bytes>>,
    pub(crate) shutdown: CancellationToken,
    _folder: TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request under construction.
pub(crate) struct Asking<'a> {
    stage: &'a Stage,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Stage {
    pub(crate) async fn begin() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.path = folder.path().join("store/a.db");
        config.cluster.key_file = folder.path().join("keys/cluster.key");
        config.cluster.signing_key_file = folder.path().join("keys/signing.key");
        config.listen.grpc = ([127, 0, 0, 1], 0).into();
        config.listen.http = ([127, 0, 0, 1], 0).into();
        config.listen.admin = ([127, 0, 0, 1], 0).into();
        config.walrus.network = WalrusNetwork::Local;
        config.limits.drain_delay = "0s".parse().unwrap();
        change(&mut config);
        let shutdown = CancellationToken::new();
        let doors = Doors::bind(&config.listen).unwrap();
        let plane = start(config, doors, shutdown.clone()).await.unwrap();
        let key = plane.first_key().unwrap().expose().to_owned();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { plane, key, client, shutdown, _folder: folder }
    }

    /// A request with the first key, of a path under `/api/v1`.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Asking<'_> {
        let path = format!("/api/v1{path}");
        self.bare(method, &path).header("x-api-key", &self.key)
    }

    /// A request of any path.
    pub(crate) fn bare(&self, method: &str, path: &str) -> Asking<'_> {
        Asking {
            stage: self,
            method: method.parse().unwrap(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Makes a key: its text.
    pub(crate) async fn make(&self, name: &str, scopes: &[&str]) -> String {
        let asked = serde_json::json!({"name": name, "scopes": scopes});
        let made = self.ask("POST", "/keys").json(&asked).send().await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["key"].as_str().unwrap().to_owned()
    }
}

impl Asking<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string(), "application/json")
    }

    pub(crate) fn body(self, body: impl Into<Bytes>, kind: &str) -> Self {
        let body = body.into();
        Self { body, ..self.header("content-type", kind) }
    }

    pub(crate) async fn send(self) -> Answer {
        let url = format!("http://{}{}", self.stage.plane.http_addr(), self.path);
        let mut request = Request::builder().method(self.method).uri(url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).unwrap();
        let response =
            timeout(PATIENCE, self.stage.client.request(request)).await.unwrap().unwrap();
        let (head, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The stable code of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn blob(n: u8) -> String {
    BlobId::from_bytes([n; 32]).to_string()
}
