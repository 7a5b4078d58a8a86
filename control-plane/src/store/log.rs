//! Writing the log: changes get their places, their frames and their names in one transaction.

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;
use wcdn_gossip::frame::{Frame, SigningKey};
use wcdn_proto::{Change, ContentId, KeyState, Position, Purge, pb::edge::v1::OriginPool};

use super::{
    ROWS, Store, StoreError, Tx, audit, blocks,
    changes::Found,
    keys::{self, KeyRefused},
    listen,
    pins::{self, Spared},
    quota::Quota,
    read, sql,
    statement::Statement,
    told::Told,
};
use crate::{
    audit::detail::Before,
    change::{Asked, Recorded, Request, new_id},
};

/// Signatures beyond which a thread is taken that may block: each is some 20 µs.
const MANY: usize = 64;

/// What a transaction committed.
#[derive(Debug)]
pub(crate) struct Committed {
    /// The last event now.
    pub(crate) head: Position,
    /// New frames, in order.
    pub(crate) frames: Vec<Frame>,
    /// What became of each request, in their order.
    pub(crate) outcomes: Vec<Result<Recorded, Refused>>,
    /// Changes that are new, in order: an outcome may be one of an earlier request.
    pub(crate) new: Vec<Recorded>,
    /// The origin pool, if it is another one.
    pub(crate) pool: Option<OriginPool>,
}

/// Why one request of a transaction was not done; the others were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The token is of another request.
    TokenReused {
        /// What that became.
        change: String,
    },
    /// More ids would be withheld than may be.
    BlocksFull {
        /// The most.
        most: usize,
    },
    /// More blobs would be pinned than may be.
    PinsFull {
        /// The most.
        most: usize,
    },
    /// What should be purged is pinned.
    Pinned(Spared),
    /// The key is not as it was thought to be.
    Key(KeyRefused),
    /// The pool that should be replaced is not the present one.
    PoolChanged {
        /// Of the present one.
        revision: u64,
    },
}

/// How many ids may be what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    /// Withheld.
    pub(crate) blocks: usize,
    /// Pinned.
    pub(crate) pins: usize,
}

/// A transaction under way.
struct Batch {
    tx: Tx,
    now_ms: u64,
    first: Position,
    next: Position,
    changes: Vec<Change>,
    new: Vec<(Recorded, Option<String>, [u8; 32])>,
    /// Tokens of this transaction, by whose they are.
    tokens: HashMap<(String, String), Found>,
    /// The pool, if it is another one.
    pool: Option<OriginPool>,
    /// By whom others are told, if there may be others.
    teller: Option<u64>,
    blocks: Quota,
    pins: Quota,
    told: Told,
}

impl Store {
    /// Commits requests, in order, all at once.
    ///
    /// After an error nothing is known to be committed, and nothing known not to be, unless it is
    /// [`StoreError::Replaced`]: then nothing is.
    pub(crate) async fn append(
        &self,
        key: &Arc<SigningKey>,
        most: Most,
        requests: &[Request],
    ) -> Result<Committed, StoreError> {
        let mut batch = self.begin(most).await?;
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in requests {
            outcomes.push(batch.take(request).await?);
        }
        batch.commit(key, outcomes).await
    }

    async fn begin(&self, most: Most) -> Result<Batch, StoreError> {
        let (tx, end) = self.write_log().await?;
        let first = Position { seq: end.head.seq + 1, ..end.head };
        Ok(Batch {
            tx,
            now_ms: end.now_ms,
            first,
            next: first,
            changes: Vec::new(),
            new: Vec::new(),
            tokens: HashMap::new(),
            pool: None,
            teller: self.is_shared().then_some(self.teller),
            blocks: Quota::of_blocks(most.blocks),
            pins: Quota::of_pins(most.pins),
            told: Told::default(),
        })
    }
}

impl Batch {
    /// Takes one request in, unless it was already, or cannot be.
    async fn take(&mut self, request: &Request) -> Result<Result<Recorded, Refused>, StoreError> {
        let digest = request.asked.digest();
        if let Some(token) = &request.token
            && let Some(found) = self.known(&request.by.name, token).await?
        {
            let Found { change, digest: earlier } = found;
            let is_same = earlier == digest;
            return Ok(if is_same {
                Ok(change)
            } else {
                Err(Refused::TokenReused { change: change.id })
            });
        }
        if let Some(refused) = self.refused(&request.asked).await? {
            return Ok(Err(refused));
        }
        let before = self.before(&request.asked).await?;
        let key = match self.effect(request).await? {
            Ok(key) => key,
            Err(refused) => return Ok(Err(refused)),
        };
        let change = self.record(request, key);
        self.told.add(request, &change, &before);
        if let Some(token) = &request.token {
            let found = Found { change: change.clone(), digest };
            self.tokens.insert((request.by.name.clone(), token.clone()), found);
        }
        self.new.push((change.clone(), request.token.clone(), digest));
        Ok(Ok(change))
    }

    async fn known(&mut self, by: &str, token: &str) -> Result<Option<Found>, StoreError> {
        match self.tokens.get(&(by.to_owned(), token.to_owned())) {
            Some(found) => Ok(Some(found.clone())),
            None => Found::by_token(&mut self.tx, by, token).await,
        }
    }

    /// Why a request cannot be done, if it cannot. What can has its room from now on.
    async fn refused(&mut self, asked: &Asked) -> Result<Option<Refused>, StoreError> {
        Ok(match asked {
            Asked::Origins(pool) => {
                let revision = self.present_pool().await?.revision;
                (pool.revision != revision).then_some(Refused::PoolChanged { revision })
            }
            Asked::Block { ids, .. } => {
                let ids = ids.iter().map(ContentId::to_vec);
                let has_room = self.blocks.takes(&mut self.tx, ids).await?;
                (!has_room).then_some(Refused::BlocksFull { most: self.blocks.most() })
            }
            Asked::Pin { ids, .. } => {
                let ids = ids.iter().map(|id| id.as_bytes().to_vec());
                let has_room = self.pins.takes(&mut self.tx, ids).await?;
                (!has_room).then_some(Refused::PinsFull { most: self.pins.most() })
            }
            Asked::Purge(purge) => self.spared(purge).await?.map(Refused::Pinned),
            Asked::ForcedPurge(_)
            | Asked::Unblock(_)
            | Asked::Unpin(_)
            | Asked::Key(_)
            | Asked::Barrier => None,
        })
    }

    /// What is pinned of what a purge removes.
    async fn spared(&mut self, purge: &Purge) -> Result<Option<Spared>, StoreError> {
        let spared = match (self.pins.present(&mut self.tx).await?, purge) {
            (0, _) => return Ok(None),
            (_, Purge::Ids(ids)) => pins::among(&mut self.tx, ids).await?,
            (count, Purge::All) => pins::some(&mut self.tx, count).await?,
        };
        Ok(Some(spared).filter(|spared| spared.count > 0))
    }

    /// What a change does to the tables that say what is true at the head, and what a key has become.
    async fn effect(
        &mut self,
        request: &Request,
    ) -> Result<Result<Option<KeyState>, Refused>, StoreError> {
        let (tx, by, at) = (&mut self.tx, &request.by.name, sql(self.now_ms));
        match &request.asked {
            Asked::Block { ids, reason } => blocks::insert(tx, ids, reason, by, at).await?,
            Asked::Unblock(ids) => self.blocks.gone(blocks::delete(tx, ids).await?),
            Asked::Pin { ids, note } => pins::insert(tx, ids, note, by, at).await?,
            Asked::Unpin(ids) => self.pins.gone(pins::delete(tx, ids).await?),
            Asked::Key(change) => {
                let changed = keys::change(tx, change, &request.by, at).await?;
                return Ok(changed.map(Some).map_err(Refused::Key));
            }
            Asked::Purge(_) | Asked::ForcedPurge(_) | Asked::Origins(_) | Asked::Barrier => {}
        }
        if let Some(pool) = request.asked.next_pool() {
            self.pool = Some(pool);
        }
        Ok(Ok(None))
    }

    /// What is true before a change, as far as the audit log tells of it.
    async fn before(&mut self, asked: &Asked) -> Result<Before, StoreError> {
        Ok(match asked {
            Asked::Origins(_) => {
                let pool = self.present_pool().await?;
                Before { pool: Some(pool).filter(|pool| pool.revision > 0), key: None }
            }
            Asked::Key(change) => {
                Before { key: keys::present(&mut self.tx, change.id()).await?, pool: None }
            }
            _ => Before::default(),
        })
    }

    async fn present_pool(&mut self) -> Result<OriginPool, StoreError> {
        if let Some(pool) = &self.pool {
            return Ok(pool.clone());
        }
        let pool =
            sqlx::query_scalar("SELECT bytes FROM pool").fetch_optional(&mut *self.tx).await?;
        read::pool(pool)
    }

    fn record(&mut self, request: &Request, key: Option<KeyState>) -> Recorded {
        let changes = request.asked.changes(key);
        let first = self.next;
        self.next.seq += changes.len() as u64;
        self.changes.extend(changes);
        Recorded {
            id: new_id(self.now_ms),
            kind: request.asked.kind().to_owned(),
            first,
            last: Position { seq: self.next.seq - 1, ..first },
            committed_at_ms: self.now_ms,
            ids: request.asked.ids() as u64,
            by: request.by.name.clone(),
        }
    }

    async fn commit(
        mut self,
        key: &Arc<SigningKey>,
        outcomes: Vec<Result<Recorded, Refused>>,
    ) -> Result<Committed, StoreError> {
        let changes = std::mem::take(&mut self.changes);
        let frames = pack(key, self.first, self.now_ms, changes).await;
        let head = Position { seq: self.next.seq - 1, ..self.next };
        if !self.new.is_empty() {
            self.insert_frames(&frames).await?;
            super::changes::insert(&mut self.tx, &self.new).await?;
            audit::append(&mut self.tx, &self.told.drafts()).await?;
            sqlx::query("UPDATE head SET seq = $1")
                .bind(sql(head.seq))
                .execute(&mut *self.tx)
                .await?;
        }
        if let Some(pool) = &self.pool {
            sqlx::query(
                "INSERT INTO pool (one, bytes) VALUES (1, $1) \
                 ON CONFLICT (one) DO UPDATE SET bytes = excluded.bytes",
            )
            .bind(pool.encode_to_vec())
            .execute(&mut *self.tx)
            .await?;
        }
        if let Some(teller) = self.teller.filter(|_| !self.new.is_empty()) {
            listen::tell(&mut self.tx, teller).await?;
        }
        self.tx.commit().await?;
        let new = self.new.into_iter().map(|(change, _, _)| change).collect();
        Ok(Committed { head, frames, outcomes, new, pool: self.pool })
    }

    async fn insert_frames(&mut self, frames: &[Frame]) -> Result<(), StoreError> {
        let at = sql(self.now_ms);
        for frames in frames.chunks(ROWS) {
            let mut insert = Statement::new(
                &self.tx,
                "INSERT INTO frames (first_seq, last_seq, committed_at_ms, bytes) VALUES ",
            );
            insert.rows(frames, |row, frame| {
                row.bind(sql(frame.first().seq))
                    .bind(sql(frame.last().seq))
                    .bind(at)
                    .bind(frame.encoded().to_vec());
            });
            insert.build().execute(&mut *self.tx).await?;
        }
        Ok(())
    }
}

async fn pack(
    key: &Arc<SigningKey>,
    first: Position,
    now_ms: u64,
    changes: Vec<Change>,
) -> Vec<Frame> {
    if changes.len() <= MANY {
        return Frame::pack(key, first, now_ms, changes);
    }
    let key = Arc::clone(key);
    let packing = tokio::task::spawn_blocking(move || Frame::pack(&key, first, now_ms, changes));
    packing.await.expect("packing frames does not panic, and is not aborted")
}
