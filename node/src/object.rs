//! Sui objects that hold blobs: which blob an object id leads to.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};
use wcdn_proto::{BlobId, ObjectId};

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
/// (or one that is trusted, or the one there is), and what they say is believed for a minute: an object can be burned.
#[derive(Debug)]
pub struct Objects {
    fills: Fills,
    known: Mutex<HashMap<ObjectId, (Instant, BlobId)>>,
    /// Questions under way.
    asking: Semaphore,
}

/// How long an answer is believed.
const TTL: Duration = Duration::from_secs(60);

/// Objects remembered; beyond it the expired ones are dropped, then nothing is added.
const MAX_OBJECTS: usize = 16_384;

/// Questions at once: anybody can ask for random objects, and each costs two origins a request.
const MAX_ASKING: usize = 64;

impl Objects {
    /// No objects yet.
    pub fn new(fills: Fills) -> Self {
        Self { fills, known: Mutex::default(), asking: Semaphore::new(MAX_ASKING) }
    }

    /// The blob of an object, if it was asked for within the last minute.
    pub fn known(&self, object: &ObjectId) -> Option<BlobId> {
        let known = self.known.lock();
        let (end, blob) = known.get(object)?;
        (Instant::now() < *end).then_some(*blob)
    }

    /// The blob of an object.
    ///
    /// # Errors
    /// [`FillError`], `NotFound` where origins agree that there is no such object.
    pub async fn resolve(&self, object: ObjectId, payer: &Payer) -> Result<BlobId, Arc<FillError>> {
        if let Some(blob) = self.known(&object) {
            return Ok(blob);
        }
        let Ok(_permit) = self.asking.try_acquire() else {
            return Err(Arc::new(FillError::Shed(ShedReason::Fills)));
        };
        self.fills.charge(payer).map_err(Arc::new)?.spend();
        let blob = self.ask(object).await.map_err(Arc::new)?;
        let now = Instant::now();
        let mut known = self.known.lock();
        if known.len() >= MAX_OBJECTS {
            known.retain(|_, (end, _)| now < *end);
        }
        if known.len() < MAX_OBJECTS {
            known.insert(object, (now + TTL, blob));
        }
        Ok(blob)
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
