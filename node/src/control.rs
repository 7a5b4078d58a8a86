//! The edge's session with its control plane.
//!
//! - [`endpoint`]: where a control plane is, and how this node shows who it is
//! - [`session`]: stays with the first that answers: reports go up, origins and questions come down
//! - [`catchup`]: what was missed of the log, read again
//! - [`holding`]: what this node holds of an id
//!
//! Viewers never wait for any of this.

pub mod catchup;
pub mod endpoint;
pub mod holding;
pub mod session;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};
use tonic::{service::interceptor::InterceptedService, transport::Channel};
use wcdn_proto::pb::edge::v1::edge_service_client::EdgeServiceClient;

use self::endpoint::Token;
pub use self::{catchup::ControlCatchup, session::Session};

/// A client of a control plane's service for edges.
pub type Client = EdgeServiceClient<InterceptedService<Channel, Token>>;

/// The connection of the session, as long as there is one. The session writes it.
#[derive(Debug, Clone, Default)]
pub struct Line {
    client: Arc<watch::Sender<Option<Client>>>,
}

/// How long whoever wants to read the log waits for a session: a node that starts has none yet, and
/// reads its first snapshot as soon as it does.
const LINE_PATIENCE: Duration = Duration::from_secs(30);

impl Line {
    /// The client, once a control plane is there; `None` if none is for some seconds.
    pub async fn client(&self) -> Option<Client> {
        let mut open = self.client.subscribe();
        let waiting = timeout(LINE_PATIENCE, open.wait_for(Option::is_some)).await;
        waiting.ok()?.ok()?.clone()
    }

    fn open(&self, client: Client) {
        self.client.send_replace(Some(client));
    }

    fn close(&self) {
        self.client.send_replace(None);
    }
}
