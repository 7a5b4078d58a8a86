//! A node that says whatever a test makes it say, as one with bad memory, or a stolen one, might: it has
//! the cluster's token and a session, and nothing behind them.

use std::{net::SocketAddr, path::Path};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, transport::Endpoint};
use wcdn_proto::pb::edge::v1::{
    Register, Report, SessionRequest, SessionResponse, edge_service_client::EdgeServiceClient,
    session_request::Kind as Up, session_response::Kind as Down,
};

/// The node.
#[derive(Debug)]
pub struct ForgedNode {
    up: mpsc::Sender<SessionRequest>,
    down: Streaming<SessionResponse>,
}

impl ForgedNode {
    /// Opens a session under a name, with the key in a file.
    ///
    /// # Panics
    /// When it is not let in.
    pub async fn join(grpc: SocketAddr, key_file: &Path, node: &str, region: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{grpc}")).expect("an address");
        let channel = endpoint.connect().await.expect("the control plane is there");
        let (up, sent) = mpsc::channel(16);
        let register = Register {
            node: node.to_owned(),
            region: region.to_owned(),
            incarnation: 1,
            lease_ms: 5_000,
            ..Register::default()
        };
        up.send(SessionRequest { kind: Some(Up::Register(register)) }).await.expect("it is read");
        let mut request = Request::new(ReceiverStream::new(sent));
        let bearer = format!("Bearer {}", token(key_file)).parse().expect("a token is text");
        request.metadata_mut().insert("authorization", bearer);
        let session = EdgeServiceClient::new(channel).session(request).await;
        let mut down = session.expect("it is let in").into_inner();
        let first = down.message().await.expect("it is answered").and_then(|first| first.kind);
        assert!(matches!(first, Some(Down::Welcome(_))), "{first:?}");
        Self { up, down }
    }

    /// Reports.
    ///
    /// # Panics
    /// When the session has ended.
    pub async fn report(&self, report: Report) {
        let report = SessionRequest { kind: Some(Up::Report(report)) };
        self.up.send(report).await.expect("the session goes on");
    }

    /// The next message.
    ///
    /// # Panics
    /// When the session has ended.
    pub async fn next(&mut self) -> SessionResponse {
        let next = self.down.message().await.expect("the session goes on");
        next.expect("the session goes on")
    }
}

/// What follows from the cluster's key, by which edges are known.
fn token(key_file: &Path) -> String {
    let digits = std::fs::read_to_string(key_file).expect("there is a key");
    let digits = digits.trim().as_bytes();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("digits are text");
        u8::from_str_radix(text, 16).expect("digits are hexadecimal")
    };
    let key: Vec<u8> = digits.chunks(2).map(byte).collect();
    let token = blake3::derive_key("wcdn 2026 edge session token", &key);
    blake3::Hash::from_bytes(token).to_hex().to_string()
}
