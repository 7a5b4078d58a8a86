//! Which edges have a session, and questions to them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::timeout,
};
use wcdn_proto::{ContentId, NodeId, pb::edge::v1::Holding};

use crate::{grpc::error::Refusal, tracker::Registered};

/// Questions that wait to be sent to one node.
const WAITING: usize = 64;

/// The sessions of one control plane.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Arc<Mutex<HashMap<NodeId, Handle>>>,
    next: AtomicU64,
    room: Arc<Semaphore>,
}

/// A session as others see it.
#[derive(Debug)]
struct Handle {
    number: u64,
    incarnation: u64,
    questions: mpsc::Sender<Question>,
    end: watch::Sender<Option<Why>>,
}

/// Why a session must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The node has opened another one.
    Superseded,
    /// There is a new log.
    EpochRaised,
}

/// A question to a node.
#[derive(Debug)]
pub(crate) struct Question {
    /// What it is about.
    pub(crate) content: ContentId,
    /// Where the answer goes.
    pub(crate) answer: oneshot::Sender<Holding>,
}

/// A session's place; dropped, it is free.
#[derive(Debug)]
pub(crate) struct Entered {
    /// Of this session; later ones have larger ones.
    pub(crate) number: u64,
    /// To be sent.
    pub(crate) questions: mpsc::Receiver<Question>,
    /// See [`ended`].
    pub(crate) end: watch::Receiver<Option<Why>>,
    node: NodeId,
    open: Arc<Mutex<HashMap<NodeId, Handle>>>,
    _place: OwnedSemaphorePermit,
}

/// Why a node said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// It cannot be asked.
    #[error("it has no session")]
    NoSession,
    /// It is asked too much.
    #[error("it has too many questions to answer")]
    Busy,
    /// It did not answer.
    #[error("it did not answer in time")]
    Silent,
}

impl Sessions {
    /// So many at once.
    pub(crate) fn new(most: usize) -> Self {
        let room = Arc::new(Semaphore::new(most));
        Self { open: Arc::default(), next: AtomicU64::new(1), room }
    }

    /// Gives a node a session, and ends the one that it had.
    ///
    /// # Errors
    /// If a later start of it has one, or there are too many.
    pub(crate) fn enter(&self, who: &Registered) -> Result<Entered, Refusal> {
        let place = Arc::clone(&self.room).try_acquire_owned();
        let place = place.map_err(|_| Refusal::Full { what: "sessions" })?;
        let mut open = self.open.lock();
        if open.get(&who.node).is_some_and(|present| present.incarnation > who.incarnation) {
            return Err(Refusal::NameTaken { node: who.node.to_string() });
        }
        let number = self.next.fetch_add(1, Relaxed);
        let (sender, questions) = mpsc::channel(WAITING);
        let (end, ended) = watch::channel(None);
        let handle = Handle { number, incarnation: who.incarnation, questions: sender, end };
        if let Some(earlier) = open.insert(who.node.clone(), handle) {
            earlier.end.send_replace(Some(Why::Superseded));
        }
        Ok(Entered {
            number,
            questions,
            end: ended,
            node: who.node.clone(),
            open: Arc::clone(&self.open),
            _place: place,
        })
    }

    /// Ends every session: nodes open new ones.
    pub(crate) fn end_all(&self, why: Why) {
        for handle in self.open.lock().values() {
            handle.end.send_replace(Some(why));
        }
    }

    /// Asks a node what it holds of an id.
    pub(crate) async fn ask(
        &self,
        node: &NodeId,
        content: ContentId,
        patience: Duration,
    ) -> Result<Holding, Unanswered> {
        let (answer, answered) = oneshot::channel();
        let questions = self.open.lock().get(node).map(|handle| handle.questions.clone());
        let questions = questions.ok_or(Unanswered::NoSession)?;
        questions.try_send(Question { content, answer }).map_err(|_| Unanswered::Busy)?;
        match timeout(patience, answered).await {
            Ok(Ok(holding)) => Ok(holding),
            Ok(Err(_)) | Err(_) => Err(Unanswered::Silent),
        }
    }
}

/// Why a session must end, once it must.
///
/// # Cancel safety
/// Nothing is lost.
pub(crate) async fn ended(end: &mut watch::Receiver<Option<Why>>) -> Why {
    match end.wait_for(Option::is_some).await {
        Ok(why) => why.unwrap_or(Why::Superseded),
        Err(_) => Why::Superseded,
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if open.get(&self.node).is_some_and(|handle| handle.number == self.number) {
            open.remove(&self.node);
        }
    }
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        match why {
            Why::Superseded => Self::Superseded,
            Why::EpochRaised => Self::EpochRaised,
        }
    }
}
