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

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tonic::{service::interceptor::InterceptedService, transport::Channel};
use wcdn_proto::{
    Position,
    pb::{edge::v1::edge_service_client::EdgeServiceClient, event::v1 as event},
};

use self::endpoint::Token;
pub use self::{catchup::ControlCatchup, session::Session};

/// A client of a control plane's service for edges.
pub type Client = EdgeServiceClient<InterceptedService<Channel, Token>>;

/// The connection of the session, as long as there is one.
#[derive(Debug, Clone, Default)]
pub struct Line {
    client: Arc<ArcSwapOption<Client>>,
}

impl Line {
    /// The client, if a control plane is there.
    pub fn client(&self) -> Option<Client> {
        self.client.load().as_deref().cloned()
    }

    fn open(&self, client: Client) {
        self.client.store(Some(Arc::new(client)));
    }

    fn close(&self) {
        self.client.store(None);
    }
}

fn to_wire(at: Position) -> event::Position {
    event::Position { epoch: at.epoch, seq: at.seq }
}

fn from_wire(at: Option<event::Position>) -> Position {
    at.map_or(Position::ORIGIN, |event::Position { epoch, seq }| Position { epoch, seq })
}
