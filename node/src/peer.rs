//! One fill per region: a node reads what it lacks through the node that owns the blob.
//!
//! [`View`] knows the nodes; [`ring`] says to which of them a blob belongs; [`client`] asks one of them
//! and `server` answers, over TLS that proves the cluster's key (`tls`), as [`wire`] has it. What one
//! region has checked, [`notes`] tell the others.
//!
//! What keeps it simple is what it does not promise. A peer is a source as an origin is: one that is
//! dead, slow, busy, behind, or that breaks off is passed over, and the fill goes on elsewhere, at the
//! byte reached. Nodes need not agree on who owns what: where they do not, a blob is fetched once more
//! than it need be. And a node that is asked never asks another in turn, so that there are no loops.

pub mod attestation;
pub mod client;
pub mod error;
mod link;
pub mod notes;
pub mod ring;
pub(crate) mod server;
pub(crate) mod tls;
pub mod view;
pub mod wire;

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_proto::{BlobId, NodeId};

use self::{
    attestation::Voucher,
    client::{Means, Peer},
    link::Dialer,
    view::View,
};
use crate::{
    cache::entry::{Key, Part},
    config::Config,
    metrics::peer::PeerMetrics,
    origin::hedge::Hedging,
    rendezvous,
};

/// The other nodes of the region, as sources of blobs. Clones share them.
#[derive(Debug, Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    view: View,
    known: ArcSwap<HashMap<NodeId, Arc<Peer>>>,
    voucher: Arc<Voucher>,
    means: Arc<Means>,
}

/// Peers asked for one fill before origins are.
const MAX_ASKED: usize = 2;

/// Requests to one peer under way up to which it is not passed over for being busier than others: below,
/// who is asked is to depend on the blob alone.
const LEAST_LOAD: u64 = 32;

/// How long the head of a peer's answer is waited for before another is asked too, as long as it is not
/// known what is usual.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// Slices of a large blob that follow each other and belong to one node: several nodes share the load,
/// and each still fetches in a row.
const SLICES_TOGETHER: u32 = 8;

impl Peers {
    /// Those in `view`, asked over `tls`.
    pub(crate) fn new(
        config: &Config,
        view: View,
        tls: Arc<ClientConfig>,
        voucher: Arc<Voucher>,
        metrics: &Arc<PeerMetrics>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let connect_timeout = config.peer.connect_timeout.duration();
        let means = Means {
            me: config.node.id.clone(),
            dialer: Dialer { tls, connect_timeout, tasks, shutdown },
            max_requests: config.peer.max_requests,
            fetch: config.fetch.clone(),
            hedging: Mutex::new(Hedging::new(config.fetch.hedge)),
            metrics: Arc::clone(metrics),
        };
        let (known, means) = (ArcSwap::default(), Arc::new(means));
        Self { shared: Arc::new(Shared { view, known, voucher, means }) }
    }

    /// Looks again who is there. Those whose name and address stay keep their standing.
    pub fn look(&self) {
        let Shared { view, known, means, .. } = &*self.shared;
        let before = known.load();
        let after: HashMap<_, _> = view.with_ring(|ring| {
            let others = ring.nodes().iter().filter(|node| node.node != view.me().node);
            let peers = others.filter_map(|node| {
                let address = node.peer?;
                let kept = before.get(&node.node).filter(|peer| peer.address() == address);
                let new = || Arc::new(Peer::new(node.node.clone(), address, Arc::clone(means)));
                Some((node.node.clone(), kept.cloned().unwrap_or_else(new)))
            });
            peers.collect()
        });
        // This node is one of them.
        means.metrics.nodes.set(i64::try_from(after.len() + 1).unwrap_or(i64::MAX));
        known.store(Arc::new(after));
    }

    /// Whom to ask for a part of a blob, the owner first; nobody if that is this node.
    pub fn route(&self, key: &Key) -> Vec<Arc<Peer>> {
        let Shared { view, known, .. } = &*self.shared;
        let known = known.load();
        if known.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let mut route: Vec<_> = view.with_ring(|ring| {
            let before_me = ring.owners(&place(key)).into_iter();
            let before_me = before_me.take_while(|owner| owner.node != view.me().node);
            before_me.filter_map(|owner| known.get(&owner.node)).cloned().collect()
        });
        route.retain(|peer| peer.is_well(now));
        let under_way = known.values().map(|peer| peer.in_flight()).sum();
        let most = rendezvous::share(under_way, 1, known.len() as u64).max(LEAST_LOAD);
        route.sort_by_key(|peer| peer.in_flight() as u64 > most);
        route.truncate(MAX_ASKED);
        route
    }

    /// How long to wait for a head before another is asked too; `None` where that is never done.
    pub fn patience(&self) -> Option<Duration> {
        let may = self.shared.means.fetch.hedge > 0.0;
        let usual = self.shared.means.hedging.lock().patience();
        may.then_some(usual.unwrap_or(FIRST_PATIENCE))
    }

    /// Takes one hedge from the budget; `false`, counted, if there is none left.
    pub fn may_hedge(&self) -> bool {
        let may = self.shared.means.hedging.lock().take();
        if !may {
            self.metrics().hedge("denied");
        }
        may
    }

    /// What attestations are checked by.
    pub fn voucher(&self) -> &Voucher {
        &self.shared.voucher
    }

    /// Where it is counted.
    pub fn metrics(&self) -> &PeerMetrics {
        &self.shared.means.metrics
    }
}

/// What a part of a blob is placed by in the ring.
fn place(Key { id, part }: &Key) -> BlobId {
    match part {
        Part::Slice(n) => {
            let group = n / SLICES_TOGETHER;
            let mut hasher = blake3::Hasher::new();
            hasher.update(id.as_bytes()).update(&group.to_le_bytes());
            BlobId::from_bytes(*hasher.finalize().as_bytes())
        }
        Part::Whole | Part::Probe | Part::Beginning | Part::Patch { .. } => *id,
    }
}

#[cfg(test)]
mod tests;
