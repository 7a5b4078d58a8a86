//! Another node of the region, as this one asks it for blobs.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use wcdn_proto::{BlobId, NodeId};

use super::{
    attestation::LENGTH,
    error::PeerError,
    link::{Dialer, Link},
    wire::{self, Ask, Found},
};
use crate::{
    config::Fetch,
    edge::response::Source,
    metrics::peer::PeerMetrics,
    origin::{
        hedge::Hedging,
        meter::Meter,
        standing::{Availability, Standing, Verdict},
    },
};

/// What all peers are asked with.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) me: NodeId,
    pub(super) dialer: Dialer,
    pub(super) max_requests: usize,
    pub(super) fetch: Fetch,
    pub(super) hedging: Mutex<Hedging>,
    pub(super) metrics: Arc<PeerMetrics>,
}

/// One other node.
#[derive(Debug)]
pub struct Peer {
    node: NodeId,
    address: SocketAddr,
    standing: Mutex<Standing>,
    link: Link,
    in_flight: AtomicUsize,
    means: Arc<Means>,
}

/// One request under way; ended by its drop.
#[derive(Debug)]
struct Request {
    peer: Arc<Peer>,
    /// Whether it tries if the peer is well again.
    probes: bool,
}

/// A body that is being read.
#[derive(Debug)]
pub struct Download {
    request: Request,
    body: Incoming,
    found: Found,
    /// Bytes to come.
    left: u64,
    meter: Meter,
    attestation: Option<[u8; LENGTH]>,
}

/// What the head may take to come back beyond the time that the peer was given for it.
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// A peer looks for another origin when one has been silent for as long as `fetch.idle_timeout`; it is
/// given time to find it.
const IDLE: u32 = 2;

impl Peer {
    pub(super) fn new(node: NodeId, address: SocketAddr, means: Arc<Means>) -> Self {
        let (standing, in_flight) = (Mutex::default(), AtomicUsize::new(0));
        Self { node, address, standing, link: Link::new(address), in_flight, means }
    }

    /// Its name.
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is to be asked now: it has not failed lately, or that is long enough ago.
    pub fn is_well(&self, now: Instant) -> bool {
        self.standing.lock().availability(now) == Availability::Passing
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Its bytes are not what it says they are.
    pub fn lied(&self, id: &BlobId) {
        tracing::warn!(peer = %self.node, blob = %id, "a peer sent bytes that are not the blob");
        self.means.metrics.request("lied");
        self.note(Verdict::Lie);
    }

    /// Its bytes and those of others together are not the blob.
    pub fn suspected(&self) {
        self.note(Verdict::Fault);
    }

    /// It gave all that it was asked for.
    pub fn served(&self) {
        self.note(Verdict::Answered);
    }

    /// It failed while it gave a body.
    pub fn failed(&self, error: &PeerError) {
        self.means.metrics.request(error.outcome());
        if let Some(verdict) = error.verdict() {
            self.note(verdict);
        }
    }

    /// Asks for a blob, and waits for the head of the answer. What comes of it is counted and noted
    /// here, but for what befalls the body.
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn open(self: Arc<Self>, ask: Ask) -> Result<Download, PeerError> {
        let asked = Instant::now();
        let opened = Arc::clone(&self).head(&ask).await;
        match &opened {
            Ok(_) => {
                self.means.hedging.lock().head(asked.elapsed());
                self.means.metrics.request("found");
            }
            Err(error) => {
                tracing::debug!(
                    peer = %self.node, blob = %ask.key.id,
                    error = error as &dyn std::error::Error, "a peer does not serve"
                );
                self.failed(error);
            }
        }
        opened
    }

    async fn head(self: Arc<Self>, ask: &Ask) -> Result<Download, PeerError> {
        let request = self.take()?;
        let mut sender = self.link.sender(&self.means.dialer).await?;
        let patience = ask.patience.saturating_add(ON_THE_WAY);
        let sending = sender.send_request(ask.to_request(&self.means.me));
        let Ok(answered) = timeout(patience, sending).await else {
            self.link.forget();
            return Err(PeerError::Silent(patience));
        };
        let (head, body) = answered.map_err(PeerError::Lost)?.into_parts();
        let found = wire::answer(head.status, &head.headers)??;
        let part = ask.key.part.range(found.total, ask.slice);
        let left = (part.end - part.start).checked_sub(ask.start).ok_or(PeerError::Length)?;
        let meter = Meter::new(&self.means.fetch);
        Ok(Download { request, body, found, left, meter, attestation: None })
    }

    fn take(self: &Arc<Self>) -> Result<Request, PeerError> {
        let most = self.means.max_requests;
        let room = |under_way: usize| (under_way < most).then_some(under_way + 1);
        let taken = self.in_flight.fetch_update(AcqRel, Acquire, room);
        taken.map_err(|_| PeerError::Full(most))?;
        self.means.hedging.lock().asked();
        let probes = self.standing.lock().admit(Instant::now());
        Ok(Request { peer: Arc::clone(self), probes })
    }

    fn note(&self, verdict: Verdict) {
        let now = Instant::now();
        let (was, is) = {
            let mut standing = self.standing.lock();
            let was = standing.is_ejected();
            standing.note(verdict, now);
            (was, standing.is_ejected())
        };
        match (was, is) {
            (false, true) => tracing::warn!(peer = %self.node, ?verdict, "peer is left alone"),
            (true, false) => tracing::info!(peer = %self.node, "peer is asked again"),
            _ => {}
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.peer.in_flight.fetch_sub(1, AcqRel);
        if self.probes {
            self.peer.standing.lock().probe_ended(Instant::now());
        }
    }
}

impl Download {
    /// Who gives it.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.request.peer
    }

    /// What was said of the bytes.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Whether the peer has the bytes, or gives them on as they come from an origin.
    pub fn holds(&self) -> bool {
        matches!(self.found.source, Source::Memory | Source::Redis)
    }

    /// The next piece of the body; `None` at its proper end.
    ///
    /// # Errors
    /// When the body stalls, trickles, breaks off, or is longer or shorter than was said.
    ///
    /// # Cancel safety
    /// Cancel safe: no byte is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        let means = &self.request.peer.means;
        let idle = means.fetch.idle_timeout.duration() * IDLE;
        loop {
            let frame = timeout(idle, self.body.frame()).await;
            let frame = match frame.map_err(|_| PeerError::Stalled(idle))? {
                Some(frame) => frame.map_err(PeerError::Lost)?,
                None if self.left == 0 => return Ok(None),
                None => return Err(PeerError::Length),
            };
            match frame.into_data() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    let rest = self.left.checked_sub(bytes.len() as u64);
                    self.left = rest.ok_or(PeerError::Length)?;
                    self.meter.count(bytes.len(), Instant::now())?;
                    means.metrics.bytes.inc_by(bytes.len() as u64);
                    return Ok(Some(bytes));
                }
                Err(other) => {
                    let trailers = other.into_trailers().ok();
                    self.attestation = trailers.as_ref().and_then(wire::attestation);
                }
            }
        }
    }

    /// What the peer vouches for, once the body has ended; nobody has checked it.
    pub fn attestation(&self) -> Option<&[u8; LENGTH]> {
        self.attestation.as_ref()
    }
}
