//! Purges without a pause, whatever befalls the control plane meanwhile.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::RngExt as _;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, transport::Channel};
use wcdn_proto::{
    BlobId,
    pb::{
        admin::v1::{
            Change, PurgeRequest, TailEventsRequest, admin_service_client::AdminServiceClient,
        },
        event::v1::Position,
    },
};

/// The storm. It ends when dropped.
#[derive(Debug)]
pub struct Storm {
    callers: JoinSet<Vec<Change>>,
    acknowledged: Arc<AtomicUsize>,
    end: CancellationToken,
}

/// A caller of the control plane who does not give up.
#[derive(Debug, Clone)]
pub struct Caller {
    admin: AdminServiceClient<Channel>,
    key: String,
}

/// Callers at once.
const CALLERS: usize = 8;

/// Of so many purges one is of a blob that exists.
const MIXED: usize = 10;

/// How long a control plane may be away, and how long a caller waits before the next attempt.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

impl Storm {
    /// Begins to purge these blobs, each once, among others that nobody has.
    pub fn begin(caller: &Caller, blobs: &[BlobId]) -> Self {
        let blobs = Arc::new(Mutex::new(blobs.iter().copied().collect::<VecDeque<_>>()));
        let (acknowledged, end) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (caller, blobs, end) = (caller.clone(), Arc::clone(&blobs), end.clone());
            let acknowledged = Arc::clone(&acknowledged);
            callers.spawn(async move {
                let mut changes = Vec::new();
                for turn in 0.. {
                    let wanted = turn % MIXED == 0 || end.is_cancelled();
                    let blob = if wanted { blobs.lock().expect("ours").pop_front() } else { None };
                    if blob.is_none() && end.is_cancelled() {
                        break;
                    }
                    changes.push(caller.purge(blob.unwrap_or_else(any_blob)).await);
                    acknowledged.fetch_add(1, Relaxed);
                }
                changes
            });
        }
        Self { callers, acknowledged, end }
    }

    /// Waits until so many more purges are acknowledged than now.
    pub async fn goes_on(&self, count: usize) {
        let goal = self.acknowledged.load(Relaxed) + count;
        crate::eventually("purges are acknowledged", || async {
            self.acknowledged.load(Relaxed) >= goal
        })
        .await;
    }

    /// Purges the rest, and returns every change that was acknowledged.
    pub async fn end(mut self) -> Vec<Change> {
        self.end.cancel();
        let callers = std::mem::take(&mut self.callers);
        callers.join_all().await.into_iter().flatten().collect()
    }
}

impl Caller {
    /// Of the control plane at this address.
    ///
    /// # Panics
    /// Never: an address makes a URL.
    pub fn new(grpc: SocketAddr, key: &str) -> Self {
        let channel = Channel::from_shared(format!("http://{grpc}")).expect("an address");
        let channel = channel.timeout(PATIENCE).connect_lazy();
        Self { admin: AdminServiceClient::new(channel), key: key.to_owned() }
    }

    fn keyed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("x-api-key", self.key.parse().expect("a key is text"));
        request
    }

    /// Purges a blob: asks again, under the same token, until somebody acknowledges it.
    async fn purge(&self, blob: BlobId) -> Change {
        let request = PurgeRequest {
            ids: vec![blob.to_string()],
            idempotency_token: format!("storm-{blob}"),
            ..PurgeRequest::default()
        };
        let end = Instant::now() + PATIENCE;
        loop {
            match self.admin.clone().purge(self.keyed(request.clone())).await {
                Ok(answer) => return answer.into_inner().change.expect("a purge is a change"),
                Err(status) => assert!(Instant::now() < end, "still: {status}"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Every seq of the log, in its order.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn log(&self, epoch: u64) -> Result<Vec<u64>, Status> {
        let after = Some(Position { epoch, seq: 0 });
        let request = self.keyed(TailEventsRequest { after, follow: false });
        let mut events = self.admin.clone().tail_events(request).await?.into_inner();
        let mut seqs = Vec::new();
        while let Some(event) = events.message().await? {
            seqs.extend(event.position.filter(|at| at.epoch == epoch).map(|at| at.seq));
        }
        Ok(seqs)
    }
}

/// An id that no blob has.
///
/// # Panics
/// Never: 32 bytes are an id.
pub fn any_blob() -> BlobId {
    let bytes: [u8; 32] = rand::rng().random();
    BlobId::try_from(&bytes[..]).expect("32 bytes")
}
