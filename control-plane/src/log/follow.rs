//! Reading what others wrote, and what became of a write that failed.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tokio::time::{Instant, timeout};
use wcdn_gossip::frame::Frame;
use wcdn_proto::{Change, Position, pb::edge::v1::OriginPool};

use super::{
    News,
    keeper::{Keeper, Told},
};
use crate::{
    change::Recorded,
    state::Gap,
    store::{
        StoreError,
        follow::{Following, Part},
    },
};

/// How long the whole store may take to be read.
const FOLD: Duration = Duration::from_secs(60);

/// A store that could not be read is left alone for so long.
const QUIET: Duration = Duration::from_secs(1);

impl Keeper {
    /// A write that failed may have been done all the same: what the store says is true.
    pub(super) async fn be_sure(&mut self) -> Result<(), StoreError> {
        if !self.is_unsure {
            return Ok(());
        }
        if self.quiet_until.is_some_and(|until| Instant::now() < until) {
            return Err(StoreError::Overdue);
        }
        self.catch_up().await
    }

    /// Takes in everything that the store has.
    pub(super) async fn catch_up(&mut self) -> Result<(), StoreError> {
        match self.read_on().await {
            Ok(()) => {
                if self.quiet_until.take().is_some() {
                    tracing::warn!("the store answers again");
                }
                self.is_unsure = false;
                self.told.metrics.store_up.set(1);
                Ok(())
            }
            Err(error) => {
                // Told once, and not each second.
                if self.quiet_until.is_none() {
                    tracing::error!(error = &error as &dyn std::error::Error, "log cannot be read");
                }
                self.is_unsure = true;
                self.told.metrics.store_up.set(0);
                self.store.look_for_primary().await;
                self.quiet_until = Some(Instant::now() + QUIET);
                Err(error)
            }
        }
    }

    async fn read_on(&mut self) -> Result<(), StoreError> {
        loop {
            let known = self.told.position();
            match self.store.in_time(self.store.after(known)).await {
                Ok(Following::Nothing) => return Ok(()),
                Ok(Following::More(part)) => self.take(*part, None)?,
                Ok(Following::Anew) => return self.fold().await,
                Err(StoreError::Replaced) => {
                    let head = self.store.in_time(self.store.raise_if_replaced(known)).await?;
                    tracing::error!(
                        epoch = head.epoch,
                        "the store was brought back or has another primary, and may lack what was \
                         acknowledged: a new log begins"
                    );
                    return self.fold().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes in what comes before a commit of our own. False if that is not what comes next.
    pub(super) async fn catch_up_to(&mut self, first: Position) -> Result<bool, StoreError> {
        loop {
            let known = self.told.position();
            if known.epoch == first.epoch && known.seq.saturating_add(1) >= first.seq {
                return Ok(true);
            }
            match self.store.in_time(self.store.after(known)).await? {
                Following::More(part) if known.epoch == first.epoch => {
                    self.take(*part, Some(first))?;
                }
                Following::More(_) | Following::Nothing | Following::Anew => return Ok(false),
            }
        }
    }

    /// Makes true what others committed, up to an event of our own, and tells of it.
    fn take(&mut self, part: Part, before: Option<Position>) -> Result<(), StoreError> {
        let Part { mut frames, mut changes, pool } = part;
        if let Some(before) = before {
            frames.retain(|frame| frame.first() < before);
            changes.retain(|(change, _)| change.first < before);
        }
        if let Err(gap) = self.told.apply(&frames) {
            tracing::error!(error = &gap as &dyn std::error::Error, "frames are missing");
            return Err(StoreError::Damaged { what: "log" });
        }
        self.told.set_pool(pool);
        self.told.tell_of_others(&frames, &changes);
        Ok(())
    }

    /// Reads the whole.
    pub(super) async fn fold(&mut self) -> Result<(), StoreError> {
        let reading = async { Ok((self.store.fold().await?, self.store.pool().await?)) };
        let (folded, pool) = timeout(FOLD, reading).await.unwrap_or(Err(StoreError::Overdue))?;
        let (head, before) = (folded.position(), self.told.position());
        if head < before {
            // Edges have more: positions would mean two things.
            return Err(StoreError::Damaged { what: "log, which was longer before" });
        }
        *self.told.state.write() = folded;
        self.told.key_changes.fetch_add(1, SeqCst);
        self.told.set_pool(pool);
        self.is_unsure = false;
        if head > before {
            let since = Instant::now();
            self.told.tell(&News { head, frames: &[], changes: &[], since, is_own: false });
        }
        Ok(())
    }
}

impl Told {
    /// The last event that is true here.
    pub(super) fn position(&self) -> Position {
        self.state.read().position()
    }

    /// Makes events true.
    pub(super) fn apply(&self, frames: &[Frame]) -> Result<(), Gap> {
        let applied = {
            let mut state = self.state.write();
            frames.iter().try_for_each(|frame| state.apply(frame.events()))
        };
        let is_of_key = |frame: &Frame| {
            frame.events().changes.iter().any(|change| matches!(change, Change::Key(_)))
        };
        if frames.iter().any(is_of_key) {
            self.key_changes.fetch_add(1, SeqCst);
        }
        applied
    }

    fn set_pool(&self, pool: OriginPool) {
        self.pool.send_if_modified(|present| {
            let is_other = *present != pool;
            *present = pool;
            is_other
        });
    }

    /// Tells of each commit of others as if it were one of our own.
    fn tell_of_others(&self, frames: &[Frame], changes: &[(Recorded, Instant)]) {
        let mut frames = frames;
        for commit in changes.chunk_by(|(a, _), (b, _)| a.committed_at_ms == b.committed_at_ms) {
            let (changes, since): (Vec<_>, Vec<_>) = commit.iter().cloned().unzip();
            let last = changes.last().map_or(Position::ORIGIN, |change| change.last);
            let (told, later) = frames.split_at(frames.partition_point(|it| it.first() <= last));
            frames = later;
            let since = since.into_iter().min().unwrap_or_else(Instant::now);
            self.tell_part(told, &changes, since);
        }
        // The rest of a change whose beginning was told of before.
        self.tell_part(frames, &[], Instant::now());
    }

    fn tell_part(&self, frames: &[Frame], changes: &[Recorded], since: Instant) {
        if let Some(head) = frames.last().map(Frame::last) {
            self.tell(&News { head, frames, changes, since, is_own: false });
        }
    }

    pub(super) fn tell(&self, news: &News<'_>) {
        (self.tell)(news);
        if news.is_own {
            self.metrics.frames(news.frames.len());
        }
        self.metrics.head(news.head);
        self.head.send_replace(news.head);
    }
}
