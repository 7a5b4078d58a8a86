//! What the log says: its head, its frames, and what is true at its head.

use bytes::Bytes;
use prost::Message as _;
use sqlx::AnyConnection;
use wcdn_gossip::frame::Frame;
use wcdn_proto::{
    ContentId, Events, Position,
    pb::{edge::v1::OriginPool, event::v1 as event},
};

use super::{Store, StoreError, keys, number, pins, sql};
use crate::state::State;

/// Frames that are read at once: at most 1.1 MB.
pub(crate) const CHUNK: i64 = 1_024;

/// A frame as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredFrame {
    /// Its last event.
    pub(crate) last_seq: u64,
    /// Encoded and signed.
    pub(crate) bytes: Bytes,
}

impl StoredFrame {
    /// Its events. Signatures are for those who got frames from elsewhere: whoever can write to the
    /// store needs none.
    pub(crate) fn events(&self) -> Result<Events, StoreError> {
        decode(&self.bytes)
    }

    /// The same, to be sent.
    pub(super) fn frame(self) -> Result<Frame, StoreError> {
        Frame::stored(self.bytes).map_err(|_| StoreError::Damaged { what: "frame" })
    }
}

pub(super) fn decode(bytes: &Bytes) -> Result<Events, StoreError> {
    let damaged = StoreError::Damaged { what: "frame" };
    let Ok(frame) = event::Frame::decode(bytes.clone()) else { return Err(damaged) };
    Events::decode(&frame.body).map_err(|_| damaged)
}

impl Store {
    /// The last event that was committed.
    ///
    /// # Errors
    /// [`StoreError::Replaced`], if that may not be all that ever was.
    pub(crate) async fn head(&self) -> Result<Position, StoreError> {
        Ok(self.head_and_time().await?.0)
    }

    /// The same, and the time by the database's clock: Unix time in milliseconds.
    pub(crate) async fn head_and_time(&self) -> Result<(Position, u64), StoreError> {
        let mut connection = self.readers.acquire().await?;
        let end = self.look_at_end(&mut connection).await?;
        Ok((end.head, end.now_ms))
    }

    /// The events up to here are no longer there.
    pub(crate) async fn pruned(&self) -> Result<u64, StoreError> {
        let seq = sqlx::query_scalar("SELECT seq FROM checkpoint").fetch_one(&self.readers).await?;
        Ok(number(seq))
    }

    /// The next frames after an event, in order, [`CHUNK`] at most; the first may begin before it.
    /// None if the one that should come next is no longer there.
    pub(crate) async fn frames_after(&self, seq: u64) -> Result<Vec<StoredFrame>, StoreError> {
        frames_after(&mut *self.readers.acquire().await?, seq).await
    }

    /// Everything that is true at the head, from the checkpoint and the frames behind it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], if frames are missing.
    pub(crate) async fn fold(&self) -> Result<State, StoreError> {
        let mut tx = self.read_at_once().await?;
        let head = self.look_at_end(&mut tx).await?.head;
        let (seq, floor): (i64, i64) =
            sqlx::query_as("SELECT seq, floor_seq FROM checkpoint").fetch_one(&mut *tx).await?;
        let from = Position { epoch: head.epoch, seq: number(seq) };
        let mut state = State::new(from, number(floor));
        let removed: Vec<(i64, i64)> =
            sqlx::query_as("SELECT slot, seq FROM removed").fetch_all(&mut *tx).await?;
        for (slot, seq) in removed {
            state.restore_slot(u32::try_from(slot).unwrap_or(u32::MAX), number(seq));
        }
        loop {
            let frames = frames_after(&mut tx, state.position().seq).await?;
            for frame in &frames {
                let gap = |gap| {
                    tracing::error!(error = &gap as &dyn std::error::Error, "frames are missing");
                    StoreError::Damaged { what: "log" }
                };
                state.apply(&frame.events()?).map_err(gap)?;
            }
            if frames.is_empty() {
                break;
            }
        }
        if state.position() != head {
            return Err(StoreError::Damaged { what: "log, which ends before its head" });
        }
        let blocks: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT content FROM blocks").fetch_all(&mut *tx).await?;
        let blocks: Result<Vec<_>, _> = blocks.iter().map(|bytes| content(bytes)).collect();
        state.restore_blocks(blocks?);
        let pins: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT content FROM pins").fetch_all(&mut *tx).await?;
        let pins: Result<Vec<_>, _> = pins.iter().map(|bytes| pins::blob(bytes)).collect();
        state.restore_pins(pins?);
        for key in keys::states(&mut tx).await? {
            state.restore_key(key);
        }
        tx.rollback().await?;
        Ok(state)
    }

    /// The origin pool; that of revision 0 if none was ever set.
    pub(crate) async fn pool(&self) -> Result<OriginPool, StoreError> {
        let row: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT bytes FROM pool").fetch_optional(&self.readers).await?;
        pool(row)
    }
}

pub(super) async fn frames_after(
    connection: &mut AnyConnection,
    seq: u64,
) -> Result<Vec<StoredFrame>, StoreError> {
    // The frame that holds the next event is the last that begins at or before it.
    let rows: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT first_seq, last_seq, bytes FROM frames WHERE first_seq >= COALESCE( \
           (SELECT MAX(first_seq) FROM frames WHERE first_seq <= $1), 0) AND last_seq >= $1 \
         ORDER BY first_seq LIMIT $2",
    )
    .bind(sql(seq.saturating_add(1)))
    .bind(CHUNK)
    .fetch_all(connection)
    .await?;
    if rows.first().is_some_and(|(first_seq, ..)| number(*first_seq) > seq.saturating_add(1)) {
        return Ok(Vec::new());
    }
    let frame = |(_, last_seq, bytes): (i64, i64, Vec<u8>)| StoredFrame {
        last_seq: number(last_seq),
        bytes: bytes.into(),
    };
    Ok(rows.into_iter().map(frame).collect())
}

pub(super) fn pool(row: Option<Vec<u8>>) -> Result<OriginPool, StoreError> {
    let Some(bytes) = row else { return Ok(OriginPool::default()) };
    OriginPool::decode(&*bytes).map_err(|_| StoreError::Damaged { what: "origin pool" })
}

pub(super) fn content(bytes: &[u8]) -> Result<ContentId, StoreError> {
    ContentId::try_from(bytes).map_err(|_| StoreError::Damaged { what: "block" })
}
