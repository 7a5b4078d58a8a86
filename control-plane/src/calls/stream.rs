//! Streams to callers, as tasks that end with whoever reads them.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{desk::Desk, refusal::Refusal};

/// Messages that wait for the reader.
const WAITING: usize = 16;

/// How long the last word of a stream may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What a stream sends.
pub(crate) type Sent<T> = ReceiverStream<Result<T, Refusal>>;

/// The writing end of a stream.
#[derive(Debug)]
pub(crate) struct Feed<T> {
    sender: mpsc::Sender<Result<T, Refusal>>,
    stall: Duration,
}

impl<T> Feed<T> {
    /// A stream, and its writing end.
    pub(crate) fn new(desk: &Desk) -> (Self, Sent<T>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let stall = desk.limits.stall_timeout.duration();
        (Self { sender, stall }, ReceiverStream::new(receiver))
    }

    /// Sends a message, once there is room for it.
    ///
    /// # Errors
    /// [`Refusal::Stalled`], if the reader is gone or takes nothing.
    pub(crate) async fn send(&self, message: T) -> Result<(), Refusal> {
        match timeout(self.stall, self.sender.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Refusal::Stalled),
        }
    }

    /// Ends the stream with a reason.
    pub(crate) async fn end(self, desk: &Desk, refusal: Refusal) {
        desk.metrics.refused(refusal.reason());
        let last = self.sender.send(Err(refusal));
        // Whoever does not take it is gone.
        drop(timeout(LAST_WORD, last).await);
    }

    /// Ends when nobody reads any more.
    pub(crate) async fn abandoned(&self) {
        self.sender.closed().await;
    }
}

/// Begins a stream that `work` writes, until it is done, the reader is gone, its deadline has passed, or
/// the process leaves.
pub(crate) fn begin<T, W>(
    desk: &Arc<Desk>,
    room: OwnedSemaphorePermit,
    deadline: Option<Instant>,
    work: impl FnOnce(Arc<Desk>, Arc<Feed<T>>) -> W,
) -> Sent<T>
where
    T: Send + 'static,
    W: Future<Output = Result<(), Refusal>> + Send + 'static,
{
    let (feed, sent) = Feed::new(desk);
    let feed = Arc::new(feed);
    let work = work(Arc::clone(desk), Arc::clone(&feed));
    let desk = Arc::clone(desk);
    desk.tasks.clone().spawn(async move {
        let ended = tokio::select! {
            biased;
            () = desk.ending.cancelled() => Err(Refusal::Draining),
            () = passed(deadline) => Err(Refusal::Deadline),
            () = feed.abandoned() => Ok(()),
            ended = work => ended,
        };
        if let (Err(refusal), Some(feed)) = (ended, Arc::into_inner(feed)) {
            feed.end(&desk, refusal).await;
        }
        drop(room);
    });
    sent
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
