//! The edge's sessions: one with each control plane.
//!
//! - [`endpoint`]: where control planes are, and how this node shows who it is
//! - [`sessions`]: which there are at present
//! - [`session`]: one of them, as long as it is listed: reports go up, origins and questions come down
//! - [`report`]: what is told to each of them
//! - [`origins`]: which of their origin pools is in force
//! - [`mod@line`]: a connection to any of them
//! - [`catchup`]: what was missed of the log, read again from one of them
//! - [`holding`]: what this node holds of an id
//! - [`gathered`]: what is told of origins
//!
//! Every control plane so knows all nodes, and answers for them without asking another. Viewers never
//! wait for any of this.

pub mod catchup;
pub mod endpoint;
pub mod gathered;
pub mod holding;
mod keys;
pub mod line;
pub mod origins;
pub mod report;
pub mod session;
pub mod sessions;

use tonic::{service::interceptor::InterceptedService, transport::Channel};
use wcdn_proto::pb::edge::v1::edge_service_client::EdgeServiceClient;

use self::endpoint::Token;
pub use self::{catchup::ControlCatchup, line::Line, sessions::Sessions};

/// A client of a control plane's service for edges.
pub type Client = EdgeServiceClient<InterceptedService<Channel, Token>>;
