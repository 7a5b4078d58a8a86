//! Edges that hear and confirm by datagrams.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, transport::Channel};
use wcdn_gossip::{
    driver::{EdgePlane, EdgePlaneSettings, PlaneSettings},
    frame::IssuerKeys,
    membership::{CLUSTER, MembershipSettings},
    seal::{ClusterKey, ClusterKeys},
    seam::{Catchup, CatchupError, CaughtUp, Sink},
};
use wcdn_proto::{
    Events, Position, Span,
    pb::{
        admin::v1::{
            Change, ListNodesRequest, NodeState, PurgeRequest, Receipt, WatchReceiptRequest,
        },
        edge::v1::{
            GetSnapshotRequest, ReplayRequest, edge_service_client::EdgeServiceClient,
            get_snapshot_response::Part,
        },
        event::v1 as event,
    },
};

use crate::stage::{Stage, all, blob, next};

/// What became true on an edge.
#[derive(Default)]
struct Applied(Mutex<BTreeSet<Position>>);

impl Sink for Applied {
    fn apply(&self, events: &Events) {
        self.0.lock().extend(events.iter().map(|(position, _)| position));
    }
}

/// The log, read over gRPC as edges do.
struct Log {
    client: EdgeServiceClient<Channel>,
    bearer: String,
}

impl Log {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.parse().unwrap());
        request
    }
}

impl Catchup for Log {
    async fn catch_up(&self, after: Position) -> Result<CaughtUp, CatchupError> {
        let mut client = self.client.clone();
        let from = event::Position { epoch: after.epoch, seq: after.seq };
        let replay = client.replay(self.request(ReplayRequest { after: Some(from) })).await;
        if let Ok(replay) = replay {
            let parts = all(replay.into_inner()).await;
            let parts = parts.map_err(|status| CatchupError(status.into()))?;
            return Ok(CaughtUp::Frames(parts.into_iter().flat_map(|part| part.frames).collect()));
        }
        let snapshot = client.get_snapshot(self.request(GetSnapshotRequest {})).await;
        let mut snapshot = snapshot.map_err(|status| CatchupError(status.into()))?.into_inner();
        let head = next(&mut snapshot).await.map_err(|status| CatchupError(status.into()))?;
        let Some(Part::Head(head)) = head.part else { panic!("the first part is no head") };
        let position = head.position.unwrap();
        Ok(CaughtUp::Snapshot(Position { epoch: position.epoch, seq: position.seq }))
    }
}

struct Edge {
    plane: EdgePlane,
    applied: Arc<Applied>,
    shutdown: CancellationToken,
}

async fn edge(stage: &Stage, name: &str) -> Edge {
    edge_with(stage, name, |_| {}).await
}

async fn edge_with(stage: &Stage, name: &str, change: impl FnOnce(&mut EdgePlaneSettings)) -> Edge {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (node, region) = (name.parse().unwrap(), "eu-west".parse().unwrap());
    let mut membership = MembershipSettings::new(CLUSTER, node, region, address);
    membership.seeds = vec![stage.plane.gossip_addr().unwrap().to_string()];
    membership.interval = Duration::from_millis(100);
    let current = ClusterKey::new(stage.cluster_key().try_into().unwrap());
    let plane = PlaneSettings { membership, keys: ClusterKeys { current, also: None } };
    let keys = IssuerKeys::new(vec![stage.plane.issuer_key()]);
    let applied = Arc::<Applied>::default();
    let bearer = format!("Bearer {}", stage.token());
    let log = Log { client: EdgeServiceClient::new(stage.channel()), bearer };
    let shutdown = CancellationToken::new();
    let mut settings = EdgePlaneSettings::new(plane, keys, 1);
    change(&mut settings);
    let plane = EdgePlane::start(
        settings,
        socket,
        Arc::clone(&applied),
        Arc::new(log),
        &mut Registry::default(),
        shutdown.clone(),
        TaskTracker::new(),
    );
    Edge { plane, applied, shutdown }
}

/// Until the control plane lists so many nodes; it is asked again as fast as it answers.
async fn listed(stage: &mut Stage, count: usize) {
    let look = async {
        loop {
            let request = stage.keyed(ListNodesRequest {});
            let nodes = stage.admin.list_nodes(request).await.unwrap().into_inner().nodes;
            if nodes.iter().filter(|node| node.state == "live").count() == count {
                return;
            }
        }
    };
    timeout(Duration::from_secs(20), look).await.expect("the nodes are listed");
}

async fn settled(stage: &mut Stage, change: &Change) -> Receipt {
    let request = stage.keyed(WatchReceiptRequest { change_id: change.id.clone() });
    let mut receipts = stage.admin.watch_receipt(request).await.unwrap().into_inner();
    loop {
        let receipt = next(&mut receipts).await.unwrap().receipt.unwrap();
        if receipt.settled {
            return receipt;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_reaches_edges_by_datagrams_and_their_confirmations_make_the_receipt() {
    let any_port = Some(([127, 0, 0, 1], 0).into());
    let mut stage = Stage::with(|config| config.listen.gossip = any_port).await;
    let edges = [edge(&stage, "a").await, edge(&stage, "b").await];
    listed(&mut stage, 2).await;
    let request = stage.keyed(PurgeRequest { ids: vec![blob(1)], ..Default::default() });
    let change = stage.admin.purge(request).await.unwrap().into_inner().change.unwrap();
    let settled = settled(&mut stage, &change).await;
    assert!(settled.complete);
    let states: Vec<_> = settled.nodes.iter().map(|node| (&*node.node, node.state())).collect();
    assert_eq!(states, [("a", NodeState::Applied), ("b", NodeState::Applied)]);
    let last = change.last.unwrap();
    for edge in &edges {
        let place = Position { epoch: last.epoch, seq: last.seq };
        assert!(edge.applied.0.lock().contains(&place));
        assert_eq!(edge.plane.applied(), place);
        edge.shutdown.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_fenced_only_after_the_lease_that_its_datagrams_told_of() {
    const LEASE: Duration = Duration::from_secs(3);
    let mut stage = Stage::with(|config| {
        config.listen.gossip = Some(([127, 0, 0, 1], 0).into());
        (config.receipts.lease, config.receipts.lost_after) = (Span::secs(1), Span::secs(60));
    })
    .await;
    let edge = edge_with(&stage, "slow", |settings| {
        (settings.is_strict, settings.lease) = (true, LEASE);
    })
    .await;
    listed(&mut stage, 1).await;
    // Nobody hears of it any more, but it may serve until its own lease is over.
    edge.shutdown.cancel();
    let began = Instant::now();
    let request = stage.keyed(PurgeRequest { ids: vec![blob(1)], ..Default::default() });
    let change = stage.admin.purge(request).await.unwrap().into_inner().change.unwrap();
    let receipt = settled(&mut stage, &change).await;
    assert!(began.elapsed() >= LEASE, "{:?}", began.elapsed());
    assert_eq!(receipt.nodes[0].state(), NodeState::Fenced, "{receipt:?}");
}
