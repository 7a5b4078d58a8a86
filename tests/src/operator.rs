//! An operator: somebody with a key to the control plane.

mod pins;

use std::{fmt::Display, net::SocketAddr, time::Duration};

use tokio::time::timeout;
use tonic::{
    Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use wcdn_proto::pb::{
    admin::v1::{
        BarrierRequest, BlockRequest, Change, ExplainRequest, GetReceiptRequest, ListBlocksRequest,
        ListNodesRequest, Node, NodeHolding, NodeReceipt, NodeState, PurgeRequest, Receipt,
        UnblockRequest, WatchReceiptRequest, WatchReceiptResponse,
        admin_service_client::AdminServiceClient,
    },
    event::v1::Position,
};

/// Calls the control plane; a call that is refused fails the test.
#[derive(Debug, Clone)]
pub struct Operator {
    pub(crate) admin: AdminServiceClient<InterceptedService<Channel, Key>>,
}

/// Puts the API key into every request.
#[derive(Debug, Clone)]
pub(crate) struct Key(MetadataValue<Ascii>);

/// Longer than anything takes that is to happen.
const DEADLINE: Duration = Duration::from_secs(30);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("x-api-key", self.0.clone());
        Ok(request)
    }
}

impl Operator {
    /// Of the control plane at this address. It is connected to when it is needed, and again when it
    /// was away.
    ///
    /// # Panics
    /// When the key can be none.
    pub fn new(grpc: SocketAddr, key: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{grpc}")).expect("an address");
        let channel = endpoint.timeout(DEADLINE).connect_lazy();
        let key = Key(key.parse().expect("a key is text"));
        Self { admin: AdminServiceClient::with_interceptor(channel, key) }
    }

    /// Waits until so many nodes are live.
    pub async fn sees(&self, count: usize) {
        crate::eventually("the nodes are live", || async {
            let nodes = self.nodes().await;
            nodes.iter().filter(|node| node.state == "live" && node.has_session).count() == count
        })
        .await;
    }

    /// Every node that is known.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn nodes(&self) -> Vec<Node> {
        let answer = self.admin.clone().list_nodes(ListNodesRequest {}).await;
        answer.expect("the nodes are listed").into_inner().nodes
    }

    /// Where the log ends.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn head(&self) -> Position {
        let answer = self.admin.clone().list_nodes(ListNodesRequest {}).await;
        answer.expect("the nodes are listed").into_inner().head.expect("a log has an end")
    }

    /// Commits a purge.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn commit(&self, purge: PurgeRequest) -> Change {
        let answer = self.admin.clone().purge(purge).await.expect("the purge is committed");
        answer.into_inner().change.expect("a purge is a change")
    }

    /// Purges these ids from every node, each of which has applied it when this returns.
    ///
    /// # Panics
    /// When a node has not.
    pub async fn purge<T: Display>(&self, ids: &[T]) -> Receipt {
        let change = self.begin_purge(ids).await;
        self.complete(&change).await
    }

    /// Commits a purge of these ids.
    pub async fn begin_purge<T: Display>(&self, ids: &[T]) -> Change {
        let ids = ids.iter().map(ToString::to_string).collect();
        self.commit(PurgeRequest { ids, ..PurgeRequest::default() }).await
    }

    /// Purges everything from every node.
    pub async fn purge_all(&self) -> Receipt {
        let change = self.commit(PurgeRequest { all: true, ..PurgeRequest::default() }).await;
        self.complete(&change).await
    }

    /// Withholds these ids on every node.
    ///
    /// # Panics
    /// When a node does not apply it.
    pub async fn block<T: Display>(&self, ids: &[T]) -> Receipt {
        let change = self.begin_block(ids).await;
        self.complete(&change).await
    }

    /// Commits a block of these ids.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn begin_block<T: Display>(&self, ids: &[T]) -> Change {
        let ids = ids.iter().map(ToString::to_string).collect();
        let block = BlockRequest { ids, reason: "a test".into(), ..BlockRequest::default() };
        let answer = self.admin.clone().block(block).await.expect("the block is committed");
        answer.into_inner().change.expect("a block is a change")
    }

    /// Ends that.
    ///
    /// # Panics
    /// When a node does not apply it.
    pub async fn unblock<T: Display>(&self, ids: &[T]) -> Receipt {
        let ids = ids.iter().map(ToString::to_string).collect();
        let unblock = UnblockRequest { ids, ..UnblockRequest::default() };
        let answer = self.admin.clone().unblock(unblock).await.expect("its end is committed");
        self.complete(&answer.into_inner().change.expect("its end is a change")).await
    }

    /// What is withheld.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn blocks(&self) -> Vec<String> {
        let answer = self.admin.clone().list_blocks(ListBlocksRequest::default()).await;
        let blocks = answer.expect("the blocks are listed").into_inner().blocks;
        blocks.into_iter().map(|block| block.id).collect()
    }

    /// An event that changes nothing, once every node has heard it.
    ///
    /// # Panics
    /// When one does not.
    pub async fn barrier(&self) -> Receipt {
        let answer = self.admin.clone().barrier(BarrierRequest {}).await;
        let change = answer.expect("the barrier is committed").into_inner().change;
        self.complete(&change.expect("a barrier is a change")).await
    }

    /// The receipt of a change as it is now.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn receipt(&self, change: &Change) -> Receipt {
        let request = GetReceiptRequest { change_id: change.id.clone() };
        let answer = self.admin.clone().get_receipt(request).await.expect("there is a receipt");
        answer.into_inner().receipt.expect("there is a receipt")
    }

    /// Waits until its receipt is settled, and what nodes tell has come; every node must be in it as
    /// one that applied the change.
    ///
    /// # Panics
    /// When it is not, or not in time.
    pub async fn complete(&self, change: &Change) -> Receipt {
        let receipt = self.settled(change).await;
        assert!(receipt.settled && receipt.complete, "{receipt:?}");
        receipt
    }

    /// Waits until its receipt is settled, whoever is missing in it.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn settled(&self, change: &Change) -> Receipt {
        let request = WatchReceiptRequest { change_id: change.id.clone() };
        let watch = self.admin.clone().watch_receipt(request).await.expect("it can be watched");
        let last = timeout(DEADLINE, last(watch.into_inner())).await;
        last.expect("the receipt is settled in time")
    }

    /// Waits until this node has applied a change, whatever others do.
    pub async fn applied_by(&self, node: &str, change: &Change) {
        crate::eventually("the node has applied it", || async {
            let receipt = self.receipt(change).await;
            line(&receipt, node).is_some_and(|line| line.state() == NodeState::Applied)
        })
        .await;
    }

    /// What each node holds of an id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn explain(&self, id: &impl Display) -> Vec<NodeHolding> {
        let request = ExplainRequest { id: id.to_string() };
        let answer = self.admin.clone().explain(request).await.expect("it is explained");
        answer.into_inner().nodes
    }
}

/// Fails if a node holds bytes of an id that are older than a change.
pub async fn assert_nothing_older(operator: &Operator, id: &impl Display, change: &Change) {
    let place = |at: Option<Position>| at.map(|at| (at.epoch, at.seq));
    for node in operator.explain(id).await {
        let holding = node.holding.unwrap_or_default();
        let is_empty = holding.tier.is_empty();
        assert!(
            is_empty || place(holding.token) >= place(change.last),
            "{}: {holding:?}",
            node.node
        );
    }
}

/// What a receipt says of a node.
pub fn line<'a>(receipt: &'a Receipt, node: &str) -> Option<&'a NodeReceipt> {
    receipt.nodes.iter().find(|line| line.node == node)
}

async fn last(mut watch: Streaming<WatchReceiptResponse>) -> Receipt {
    let mut last = None;
    while let Some(answer) = watch.message().await.expect("the stream goes on to its end") {
        last = answer.receipt;
    }
    last.expect("there was a receipt")
}
