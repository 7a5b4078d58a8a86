//! Sui objects that hold blobs: which blob an object id leads to.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use wcdn_proto::{BlobId, ObjectId, Position};

use crate::{
    cache::fill::{
        Fills,
        error::{Exhaustion, FillError, Tried},
    },
    edge::clients::Payer,
    metrics::ShedReason,
    origin::{
        Need,
        attempt::in_time,
        witness::{self, Witnesses},
    },
};

/// What object ids lead to, as origins say.
///
/// Nothing in an answer proves that an object holds a blob, so two independent origins must agree
/// (or one that is trusted, or the one there is), and what they say is believed for a minute: an
/// object can be burned. One asks for an object at a time; while it renews an answer, the others
/// go on with the old one.
#[derive(Debug)]
pub struct Objects {
    fills: Fills,
    known: Mutex<HashMap<ObjectId, Known>>,
    asking: Mutex<HashMap<ObjectId, Arc<tokio::sync::Mutex<()>>>>,
}

/// What origins said of an object.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The blob it holds; `None` where there is no such object.
    blob: Option<BlobId>,
    until: Instant,
    /// The position that was known when they were asked; a purge of everything forgets the answer.
    token: Position,
}

/// Whether an answer may be given.
enum Answer {
    /// Yes.
    Fresh(Option<BlobId>),
    /// While somebody asks anew.
    Stale(BlobId),
    /// There is none.
    None,
}

/// How long an answer is believed.
const TTL: Duration = Duration::from_secs(60);

/// How much longer, while it is being renewed.
const STALE: Duration = Duration::from_secs(60);

/// How long it is believed that there is no such object: it may appear any moment.
const ABSENT_TTL: Duration = Duration::from_secs(2);

/// Objects remembered; beyond it the expired ones are dropped, then nothing is added.
const MAX_OBJECTS: usize = 16_384;

/// Objects asked for at once: anybody can ask for random ones, and each costs two origins a
/// request.
const MAX_ASKING: usize = 64;

impl Objects {
    /// No objects yet.
    pub fn new(fills: Fills) -> Self {
        Self { fills, known: Mutex::default(), asking: Mutex::default() }
    }

    fn known(&self, object: &ObjectId) -> Answer {
        let Some(known) = self.known.lock().get(object).copied() else { return Answer::None };
        if self.fills.log().removed.covers_all(known.token) {
            return Answer::None;
        }
        let now = Instant::now();
        match known.blob {
            blob if now < known.until => Answer::Fresh(blob),
            Some(blob) if now < known.until + STALE => Answer::Stale(blob),
            _ => Answer::None,
        }
    }

    /// The blob of an object, within the time a viewer is kept waiting.
    ///
    /// # Errors
    /// [`FillError`], `NotFound` where origins agree that there is no such object.
    pub async fn resolve(
        &self,
        object: ObjectId,
        payer: &Payer,
        patience: Duration,
    ) -> Result<BlobId, Arc<FillError>> {
        let known = self.known(&object);
        if let Answer::Fresh(blob) = known {
            return blob.ok_or_else(|| Arc::new(FillError::NotFound));
        }
        let turn = self.turn(object).map_err(Arc::new)?;
        let waiting = match (turn.try_lock(), known) {
            (Err(_), Answer::Stale(blob)) => return Ok(blob),
            (Ok(first), _) => Ok(first),
            (Err(_), _) => timeout(patience, turn.lock()).await,
        };
        let answered = async {
            let _turn = waiting.map_err(|_| slow(patience))?;
            match self.known(&object) {
                Answer::Fresh(blob) => blob.ok_or(FillError::NotFound),
                Answer::Stale(_) | Answer::None => {
                    self.fills.charge(payer)?.spend();
                    self.renew(object, patience).await
                }
            }
        };
        let answer = answered.await;
        self.asking.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
        answer.map_err(Arc::new)
    }

    /// The right to ask for an object, which one has at a time.
    fn turn(&self, object: ObjectId) -> Result<Arc<tokio::sync::Mutex<()>>, FillError> {
        let mut asking = self.asking.lock();
        if let Some(turn) = asking.get(&object) {
            return Ok(Arc::clone(turn));
        }
        asking.retain(|_, turn| Arc::strong_count(turn) > 1);
        if asking.len() >= MAX_ASKING {
            return Err(FillError::Shed(ShedReason::Fills));
        }
        Ok(Arc::clone(asking.entry(object).or_default()))
    }

    async fn renew(&self, object: ObjectId, patience: Duration) -> Result<BlobId, FillError> {
        let token = self.fills.log().positions.known();
        let answer = timeout(patience, self.ask(object)).await.map_err(|_| slow(patience))?;
        let (blob, ttl) = match &answer {
            Ok(blob) => (Some(*blob), TTL),
            Err(FillError::NotFound) => (None, ABSENT_TTL),
            Err(_) => return answer,
        };
        let now = Instant::now();
        let mut known = self.known.lock();
        if known.len() >= MAX_OBJECTS {
            known.retain(|_, known| now < known.until);
        }
        if known.len() < MAX_OBJECTS {
            known.insert(object, Known { blob, until: now + ttl, token });
        }
        answer
    }

    async fn ask(&self, object: ObjectId) -> Result<BlobId, FillError> {
        let pool = self.fills.pool();
        // Ranked as if the object were a blob: the same origins know the same objects.
        let origins = pool.ranked(&BlobId::from_bytes(*object.as_bytes()), None);
        let needed = witness::needed(&origins);
        let mut votes: HashMap<Option<BlobId>, Witnesses> = HashMap::new();
        let (mut tried, mut kind) = (Tried::default(), Exhaustion::Broken);
        let mut tries = pool.fetch().tries.max(needed);
        for origin in &origins {
            let permit = match origin.acquire(Need::LastResort) {
                Ok(permit) if tries > 0 => permit,
                Ok(_) => break,
                Err(unready) => {
                    origin.passed_over();
                    tried.push(origin.name().clone(), &unready);
                    kind = Exhaustion::Busy(None);
                    continue;
                }
            };
            tries -= 1;
            let asked = origin.aggregator().resolve_object(&object);
            let vote = match in_time(&permit, pool.fetch(), asked).await {
                Ok(resolved) => {
                    origin.served();
                    Some(resolved.blob)
                }
                Err(error) => {
                    origin.failed(&error);
                    tried.push(origin.name().clone(), &error);
                    if !error.is_not_found() {
                        continue;
                    }
                    None
                }
            };
            let witnesses = votes.entry(vote).or_default();
            witnesses.add(origin);
            if witnesses.suffice(needed) {
                return vote.ok_or(FillError::NotFound);
            }
        }
        Err(FillError::Exhausted { tried, kind })
    }
}

fn slow(waited: Duration) -> FillError {
    FillError::Slow { waited, tried: Tried::default() }
}
