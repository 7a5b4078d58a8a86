//! Strangers among the datagrams, and a thief with the cluster's key.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use prometheus_client::registry::Registry;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{net::UdpSocket, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wcdn_dev::GossipPlace;
use wcdn_gossip::{
    driver::{IssuerPlane, IssuerPlaneSettings, PlaneSettings},
    frame::{Frame, SigningKey},
    membership::{CLUSTER, MembershipSettings},
    seal::{ClusterKey, ClusterKeys},
    seam::{Head, HeadError},
};
use wcdn_proto::{BlobId, Change, ContentId, Position, Purge, Span};
use wcdn_tests::{Fleet, bytes, eventually, far::Far, wan::Weather};

const EDGES: usize = 3;

/// What nobody committed.
struct Lie(Position);

impl Head for Lie {
    async fn head(&self) -> Result<Position, HeadError> {
        Ok(self.0)
    }
}

/// A control plane of somebody's own. It ends when dropped.
struct Rogue {
    plane: IssuerPlane,
    key: Arc<SigningKey>,
    _end: tokio_util::sync::DropGuard,
}

impl Rogue {
    /// Joins those at `seeds` with this key, under a signing key of its own, and tells everybody that
    /// the log ends at `head`.
    async fn join(cluster_key: [u8; 32], seeds: &[SocketAddr], head: Position) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (node, region) = ("control-plane-9".parse().unwrap(), "us-west".parse().unwrap());
        let mut membership = MembershipSettings::new(CLUSTER, node, region, address);
        membership.seeds = seeds.iter().map(ToString::to_string).collect();
        let keys = ClusterKeys { current: ClusterKey::new(cluster_key), also: None };
        let key = Arc::new(SigningKey::from_seed(&[9; 32]));
        let settings =
            IssuerPlaneSettings::new(PlaneSettings { membership, keys }, Arc::clone(&key));
        let (end, mut registry) = (CancellationToken::new(), Registry::with_prefix("wcdn"));
        let (head, tasks) = (Arc::new(Lie(head)), TaskTracker::new());
        let plane = IssuerPlane::start(settings, socket, head, &mut registry, end.clone(), tasks);
        Self { plane, key, _end: end.drop_guard() }
    }

    fn publish(&self, first: Position, changes: Vec<Change>) {
        self.plane.publish(Frame::pack(&self.key, first, 0, changes));
    }
}

/// Stores blobs, and makes every edge hold them.
async fn held_everywhere(fleet: &Fleet, seeds: std::ops::Range<u64>) -> Vec<BlobId> {
    let mut ids = Vec::new();
    for seed in seeds {
        let id = fleet.store(bytes(seed, 500)).await;
        for edge in 0..EDGES {
            assert_eq!(get(fleet, edge, &id).await.0, StatusCode::OK);
        }
        ids.push(id);
    }
    ids
}

/// The status, and `Cache-Status`.
async fn get(fleet: &Fleet, edge: usize, id: &BlobId) -> (StatusCode, String) {
    let reply = fleet.client.get(&fleet.edge(edge, &format!("/cdn/{id}"))).await;
    (reply.status, reply.header("cache-status").to_owned())
}

async fn assert_held(fleet: &Fleet, ids: &[BlobId]) {
    for id in ids {
        for edge in 0..EDGES {
            let (status, cache) = get(fleet, edge, id).await;
            let is_held = cache.contains("; hit") && !cache.contains("unconfirmed");
            assert!(status == StatusCode::OK && is_held, "{status} {cache}");
        }
    }
}

/// Purges, and every edge fetches it again.
async fn assert_purges(fleet: &Fleet, id: &BlobId) {
    let receipt = fleet.operator().purge(&[id]).await;
    assert_eq!(receipt.nodes.len(), EDGES, "{receipt:?}");
    let before = fleet.fetches(id).await;
    for edge in 0..EDGES {
        let (_, cache) = get(fleet, edge, id).await;
        assert!(cache.contains("fwd=miss"), "{cache}");
    }
    assert!(fleet.fetches(id).await >= before + EDGES as u64);
}

/// How far each edge has followed the log: the epoch, what is applied, what is known.
async fn followed(fleet: &Fleet) -> Vec<[f64; 3]> {
    let mut all = Vec::new();
    for edge in 0..EDGES {
        let mut of_edge = [0.0; 3];
        let names = ["wcdn_events_epoch", "wcdn_events_applied_seq", "wcdn_events_known_seq"];
        for (value, name) in of_edge.iter_mut().zip(names) {
            *value = fleet.metric_of(edge, name, "").await;
        }
        all.push(of_edge);
    }
    all
}

/// What a stranger may send: each kind, and the reason for which it is dropped.
fn inventions(recorded: &[Bytes], rng: &mut StdRng) -> Vec<(&'static str, Vec<u8>)> {
    let mut kinds = Vec::new();
    let one = &recorded[rng.random_range(0..recorded.len())];
    kinds.push(("length", vec![1; rng.random_range(0..40)]));
    kinds.push(("length", vec![1; 1_201]));
    let mut junk: Vec<u8> = (0..rng.random_range(100..1_200)).map(|_| rng.random()).collect();
    junk[0] = rng.random_range(2..=u8::MAX);
    kinds.push(("version", junk.clone()));
    junk[0] = 1;
    kinds.push(("key", junk));
    let mut forged = one.to_vec();
    let at = rng.random_range(29..forged.len());
    forged[at] ^= 1 << rng.random_range(0..8);
    // Of a sender that was heard, and of one that was not.
    kinds.push(("forged", forged.clone()));
    forged[5] ^= 1;
    kinds.push(("forged", forged));
    kinds.push(("replayed", one.to_vec()));
    kinds
}

#[tokio::test]
async fn datagrams_of_strangers_and_datagrams_of_old_change_nothing() {
    let far = Far::start(Weather::fine(), 1, |_| {}).await;
    let fleet = &far.fleet;
    let ids = held_everywhere(fleet, 0..4).await;
    // Something worth to be played again.
    assert_purges(fleet, &ids[0]).await;
    let (recorded, before) = (far.wan.recorded(), followed(fleet).await);
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut rng = StdRng::seed_from_u64(4);
    let _foreign = Rogue::join([3; 32], &far.sockets, Position { epoch: u64::MAX, seq: 1 }).await;

    // What is refused is a metric of each edge, by the reason.
    for edge in 0..EDGES {
        for reason in ["length", "version", "key", "forged", "replayed"] {
            let name = "wcdn_gossip_rejected_total";
            let label = format!("reason=\"{reason}\"");
            let counted = fleet.metric_of(edge, name, &label).await;
            eventually("strangers are counted", || {
                let kinds = inventions(&recorded, &mut rng);
                let (stranger, to, label) = (&stranger, &far.sockets, &label);
                async move {
                    for (_, datagram) in kinds.iter().filter(|(kind, _)| *kind == reason) {
                        for socket in to {
                            stranger.send_to(datagram, socket).await.unwrap();
                        }
                    }
                    fleet.metric_of(edge, name, label).await >= counted + 20.0
                }
            })
            .await;
        }
    }
    // All that was ever sent, to everybody, backwards.
    for datagram in recorded.iter().rev() {
        for socket in &far.sockets {
            stranger.send_to(datagram, socket).await.unwrap();
        }
    }
    assert_purges(fleet, &ids[1]).await;
    assert_held(fleet, &ids[2..]).await;
    for (edge, (before, after)) in before.into_iter().zip(followed(fleet).await).enumerate() {
        let [epoch, applied, known] = before;
        assert_eq!(after, [epoch, applied + 1.0, known + 1.0], "edge {edge}: one purge, no more");
        let members = fleet.metric_of(edge, "wcdn_gossip_members_known", "").await;
        assert_eq!(members, 1.0 + EDGES as f64, "edge {edge} knows a stranger");
    }
}

#[tokio::test]
async fn who_stole_the_clusters_key_cannot_make_anything_true() {
    const LEASE: u64 = 2;
    let data = tempfile::tempdir().unwrap();
    let (mut places, mut sockets) = (Vec::new(), Vec::new());
    for _ in 0..=EDGES {
        let place = GossipPlace::bind(0).await.unwrap();
        sockets.push(place.advertise);
        places.push(place);
    }
    let fleet = Fleet::among(places, |topology| {
        topology.control_plane = true;
        topology.data = Some(data.path().to_owned());
        topology.edge.cluster.lease = Span::secs(LEASE);
        // Whoever could confirm the head in its place, or keep it from being confirmed, would show.
        topology.edge.cluster.strict = true;
    })
    .await;
    fleet.operator().sees(EDGES).await;
    let first = fleet.store(bytes(1_000, 9)).await;
    for edge in 0..EDGES {
        eventually("the head is confirmed", || async {
            get(&fleet, edge, &first).await.0 == StatusCode::OK
        })
        .await;
    }
    let ids = held_everywhere(&fleet, 0..6).await;
    assert_purges(&fleet, &ids[0]).await;
    let before = followed(&fleet).await;
    let head = fleet.operator().head().await;
    let (epoch, seq) = (head.epoch, head.seq);

    let lie = Position { epoch: epoch + 1, seq: seq + 1_000 };
    let rogue = Rogue::join(cluster_key(data.path()), &sockets, lie).await;
    eventually("the thief is a member like others", || async {
        rogue.plane.members().len() == EDGES + 2
    })
    .await;
    let forged = || {
        vec![
            Change::Purge(Purge::All),
            Change::Purge(Purge::Ids(ids.clone())),
            Change::Block(vec![ContentId::Blob(ids[1])]),
        ]
    };
    for edge in 0..EDGES {
        eventually("forged frames are refused", || async {
            rogue.publish(Position { epoch, seq: seq + 1 }, forged());
            rogue.publish(Position { epoch: epoch + 1, seq: 1 }, forged());
            let refused = "result=\"refused\"";
            fleet.metric_of(edge, "wcdn_gossip_frames_total", refused).await >= 100.0
        })
        .await;
    }
    assert_eq!(followed(&fleet).await, before, "nothing of it was applied");

    // For longer than the lease it goes on, and so do purges.
    let end = Instant::now() + Duration::from_secs(2 * LEASE);
    while Instant::now() < end {
        rogue.publish(Position { epoch, seq: seq + 1 }, forged());
        assert_held(&fleet, &ids[1..]).await;
        assert_purges(&fleet, &ids[0]).await;
    }
    let after = fleet.operator().head().await;
    assert_eq!(after.epoch, epoch);
    for [of_epoch, applied, known] in followed(&fleet).await {
        let all = [of_epoch, applied, known];
        assert_eq!(all, [epoch as f64, after.seq as f64, after.seq as f64]);
    }
}

fn cluster_key(data: &std::path::Path) -> [u8; 32] {
    let digits = std::fs::read_to_string(data.join("cluster.key")).unwrap();
    let byte = |n: usize| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap();
    std::array::from_fn(byte)
}
