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
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use wcdn_proto::{ContentId, NodeId, pb::edge::v1::Holding};

use crate::{refusal::Refusal, tracker::Registered};

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
    /// Another handle takes its place: the session ends.
    _present: DropGuard,
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
    /// The node has opened another one.
    pub(crate) superseded: CancellationToken,
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
        let superseded = CancellationToken::new();
        let _present = superseded.clone().drop_guard();
        let handle = Handle { number, incarnation: who.incarnation, questions: sender, _present };
        open.insert(who.node.clone(), handle);
        Ok(Entered {
            number,
            questions,
            superseded,
            node: who.node.clone(),
            open: Arc::clone(&self.open),
            _place: place,
        })
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

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if open.get(&self.node).is_some_and(|handle| handle.number == self.number) {
            open.remove(&self.node);
        }
    }
}
