//! What viewers meet: connections, the gates a request passes, and the response it gets.
//!
//! `accept → opening → connection → gates → serve → (range, validators) → response`. The pure parts
//! ([`path`], [`range`], [`validator`], [`media`]) know no socket, clock or lock.

mod accept;
pub mod body;
pub(crate) mod clients;
mod connection;
mod cors;
mod discard;
pub mod error;
mod find;
mod frames;
mod gates;
mod guard;
mod http2;
mod large;
pub mod media;
mod multipart;
mod opening;
pub mod path;
pub mod range;
mod request_id;
mod respond;
pub mod response;
mod serve;
mod sniff;
mod socket;
mod streams;
pub mod validator;
mod watch;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_daemon::proxy::Proxies;

use self::clients::Clients;
pub(crate) use self::{accept::accept, connection::Door, cors::Cors, guard::Guard, http2::Tasks};
use crate::{
    access_log::AccessLog,
    cache::{Cache, fill::Fills},
    config::{self, Config},
    events::Log,
    metrics::Metrics,
    object::Objects,
    peer::view::View,
    quilt::Quilts,
};

/// Everything a request can reach.
#[derive(Debug)]
pub struct Edge {
    pub(crate) cache: Arc<Cache>,
    pub(crate) fills: Fills,
    pub(crate) quilts: Quilts,
    pub(crate) objects: Objects,
    pub(crate) metrics: Arc<Metrics>,
    /// What is removed or withheld.
    pub(crate) log: Arc<Log>,
    /// The other nodes.
    pub(crate) view: View,
    pub(crate) access_log: AccessLog,
    pub(crate) labels: response::Labels,
    /// What browsers are told over TLS.
    pub(crate) hsts: Option<HeaderValue>,
    /// Whose pages may read responses.
    pub(crate) cors: Cors,
    /// From a miss to the first byte.
    pub(crate) patience: Duration,
    pub(crate) viewers: Viewers,
    /// Ends every connection at once.
    pub(crate) cut: CancellationToken,
}

/// What is known of viewers, and what they may take.
#[derive(Debug)]
pub struct Viewers {
    pub(crate) limits: ArcSwap<config::Limits>,
    pub(crate) clients: Clients,
    proxies: Proxies,
    /// Whether trusted peers begin with a PROXY header.
    proxy_protocol: bool,
    /// Requests over HTTP/2 under way.
    pub(crate) streams: TaskTracker,
    turned_away: Arc<Semaphore>,
}

impl Viewers {
    /// Nobody yet.
    pub fn new(config: &Config) -> Self {
        Self {
            limits: ArcSwap::from_pointee(config.limits.clone()),
            clients: Clients::new(&config.limits),
            proxies: Proxies::new(&config.proxy),
            proxy_protocol: config.proxy.protocol,
            streams: TaskTracker::new(),
            turned_away: Arc::new(Semaphore::new(accept::MAX_TURNED_AWAY)),
        }
    }

    /// Other limits from now on; what is open stays open.
    pub(crate) fn limit(&self, limits: &config::Limits) {
        self.clients.limit(limits);
        self.limits.store(Arc::new(limits.clone()));
    }
}
