//! Operators that purge: many calls at once, over several connections.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{
    Request,
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint},
};
use wcdn_proto::{
    BlobId,
    pb::admin::v1::{
        Change, PurgeRequest, WatchReceiptRequest, admin_service_client::AdminServiceClient,
    },
};

use crate::figures::millis;

const CONNECTIONS: usize = 8;

/// Calls under way at once on each of them, at most.
const CALLS: usize = 64;

/// How long the last purge may take until it is answered, and then until it is everywhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// What operators do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Ids of each call.
    pub(super) ids: u64,
    /// Calls a second; as many as there can be if not given.
    pub(super) calls_per_second: Option<f64>,
    pub(super) time: Duration,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Purged {
    pub(super) calls_per_second: f64,
    /// Milliseconds until each call was acknowledged: from when it was due, or from when it was made if
    /// it was not late.
    pub(super) millis: Vec<f64>,
    /// From the last acknowledgement until the receipt of the last change was complete.
    pub(super) everywhere_after: Duration,
}

/// Operators of one control plane.
#[derive(Debug)]
pub(super) struct Operators {
    endpoint: Endpoint,
    key: AsciiMetadataValue,
    /// Ids so far: none is purged twice.
    ids: AtomicU64,
}

/// Calls that are handed out one by one.
struct Calls {
    plan: Plan,
    began: Instant,
    next: AtomicU64,
}

/// What one caller saw: how long each call took, and the latest change.
type Seen = (Vec<f64>, Option<Change>);

impl Operators {
    pub(super) fn new(grpc: u16, key: &'static str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{grpc}"))?;
        Ok(Self { endpoint, key: AsciiMetadataValue::from_static(key), ids: AtomicU64::new(0) })
    }

    async fn connect(&self) -> anyhow::Result<Vec<AdminServiceClient<Channel>>> {
        let connections = (0..CONNECTIONS).map(|_| self.endpoint.connect());
        let channels = try_join_all(connections).await.context("no control plane")?;
        Ok(channels.into_iter().map(AdminServiceClient::new).collect())
    }

    /// Purges as planned, and waits until everybody has all of it.
    pub(super) async fn purge(&self, plan: Plan) -> anyhow::Result<Purged> {
        let clients = self.connect().await?;
        let calls = Calls { plan, began: Instant::now(), next: AtomicU64::new(0) };
        let callers = clients.iter().flat_map(|client| std::iter::repeat_n(client, CALLS));
        let calling = try_join_all(callers.map(|client| self.call(client.clone(), &calls)));
        let seen =
            timeout(plan.time + PATIENCE, calling).await.context("no answer to a purge")??;
        let ended = Instant::now();
        let seconds = (ended - calls.began).as_secs_f64();
        let seq = |change: &Change| change.last.map_or(0, |last| last.seq);
        let last = seen.iter().filter_map(|(_, change)| change.as_ref()).max_by_key(|it| seq(it));
        let last = last.context("nothing was purged")?.id.clone();
        let millis: Vec<f64> = seen.into_iter().flat_map(|(millis, _)| millis).collect();
        let everywhere = self.everywhere(clients[0].clone(), last);
        timeout(PATIENCE, everywhere).await.context("a purge is not everywhere")??;
        Ok(Purged {
            calls_per_second: millis.len() as f64 / seconds,
            millis,
            everywhere_after: ended.elapsed(),
        })
    }

    /// One call after the other, until the time is over.
    async fn call(
        &self,
        mut client: AdminServiceClient<Channel>,
        calls: &Calls,
    ) -> anyhow::Result<Seen> {
        let (mut took, mut last) = (Vec::new(), None);
        while let Some(from) = calls.next().await {
            let ids = (0..calls.plan.ids).map(|_| self.id()).collect();
            let request = self.request(PurgeRequest { ids, ..PurgeRequest::default() });
            let purged = client.purge(request).await.context("a purge is refused")?;
            took.push(millis(from.elapsed()));
            last = purged.into_inner().change;
        }
        Ok((took, last))
    }

    /// Waits for a receipt that names every edge, each with what it applied.
    async fn everywhere(
        &self,
        mut client: AdminServiceClient<Channel>,
        change_id: String,
    ) -> anyhow::Result<()> {
        let request = self.request(WatchReceiptRequest { change_id });
        let mut receipts = client.watch_receipt(request).await?.into_inner();
        while let Some(answer) = receipts.message().await? {
            let receipt = answer.receipt.context("no receipt")?;
            if receipt.complete {
                ensure!(receipt.nodes.len() == 3, "a receipt of {} nodes", receipt.nodes.len());
                return Ok(());
            }
        }
        anyhow::bail!("a receipt ended before all edges had applied its change")
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-api-key", self.key.clone());
        request
    }

    /// One that no blob has.
    fn id(&self) -> String {
        let mut bytes = [0xA5; 32];
        // Mixed, so that ids are spread over tables as true ones are.
        let mixed = self.ids.fetch_add(1, Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bytes[..8].copy_from_slice(&mixed.to_be_bytes());
        bytes[8..16].copy_from_slice(&mixed.to_le_bytes());
        BlobId::from_bytes(bytes).to_string()
    }
}

impl Calls {
    /// When the next call is due, once it is; none when the time is over.
    async fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        let n = self.next.fetch_add(1, Relaxed);
        let due = self
            .plan
            .calls_per_second
            .map_or(now, |rate| self.began + Duration::from_secs_f64(n as f64 / rate));
        if due.max(now) >= self.began + self.plan.time {
            return None;
        }
        if due <= now {
            return Some(due);
        }
        sleep_until(due).await;
        // Waking up late is no fault of the control plane.
        Some(Instant::now())
    }
}
