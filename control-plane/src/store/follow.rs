//! What others wrote to the log.

use std::time::Duration;

use tokio::time::Instant;
use wcdn_gossip::frame::Frame;
use wcdn_proto::{Position, pb::edge::v1::OriginPool};

use super::{Store, StoreError, changes, read};
use crate::change::Recorded;

/// What follows a position.
#[derive(Debug)]
pub(crate) enum Following {
    /// Nothing.
    Nothing,
    /// These, of maybe more.
    More(Box<Part>),
    /// Another log has begun, or what follows is no longer there: all must be read anew.
    Anew,
}

/// A part of the log.
#[derive(Debug)]
pub(crate) struct Part {
    /// In order, without a gap.
    pub(crate) frames: Vec<Frame>,
    /// Those that begin in it, in order, and when they were committed, or before that.
    pub(crate) changes: Vec<(Recorded, Instant)>,
    /// At the end of the log.
    pub(crate) pool: OriginPool,
}

impl Store {
    /// What follows a position, all as it was at one moment after the call.
    pub(crate) async fn after(&self, after: Position) -> Result<Following, StoreError> {
        let mut tx = self.read_at_once().await?;
        let asked = Instant::now();
        let end = self.look_at_end(&mut tx).await?;
        if end.head == after {
            return Ok(Following::Nothing);
        }
        if end.head < after {
            // Nobody shortens a log: this is an older copy, whatever it says of itself.
            return Err(StoreError::Replaced);
        }
        if end.head.epoch != after.epoch {
            return Ok(Following::Anew);
        }
        let stored = read::frames_after(&mut tx, after.seq).await?;
        let Some(last) = stored.last().map(|frame| frame.last_seq) else {
            return Ok(Following::Anew);
        };
        let frames: Result<_, _> = stored.into_iter().map(read::StoredFrame::frame).collect();
        let upto = Position { seq: last, ..after };
        let changes = changes::between(&mut tx, after, upto).await?;
        let pool = sqlx::query_scalar("SELECT bytes FROM pool").fetch_optional(&mut *tx).await?;
        // The time was noted before the commit, and read after the question: the commit was later.
        let since = |change: Recorded| {
            let age = end.now_ms.saturating_sub(change.committed_at_ms).saturating_add(1);
            let since = asked.checked_sub(Duration::from_millis(age)).unwrap_or(asked);
            (change, since)
        };
        Ok(Following::More(Box::new(Part {
            frames: frames?,
            changes: changes.into_iter().map(since).collect(),
            pool: read::pool(pool)?,
        })))
    }
}
