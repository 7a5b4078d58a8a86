//! The events of the log, from a position on.

use std::sync::Arc;

use wcdn_proto::{Change, Position, pb::admin::v1 as admin};

use super::stream::{self, Feed, Sent};
use crate::{auth::Caller, desk::Desk, refusal::Refusal, store::read::StoredFrame};

pub(crate) async fn tail(
    desk: &Arc<Desk>,
    caller: &Caller,
    request: admin::TailEventsRequest,
) -> Result<Sent<admin::TailEventsResponse>, Refusal> {
    let room = desk.room_to_watch()?;
    let after = match request.after {
        None => desk.log.head(),
        Some(_) => reachable(desk, request.after.into()).await?,
    };
    Ok(stream::begin(desk, room, caller.deadline, move |desk, feed| async move {
        follow(&desk, &feed, after, request.follow).await
    }))
}

/// Some events after a position, or the oldest that there are; and after which to go on, if there are more.
pub(crate) async fn page(
    desk: &Arc<Desk>,
    _: &Caller,
    after: Option<Position>,
    limit: usize,
) -> Result<(Vec<admin::TailEventsResponse>, Option<Position>), Refusal> {
    let _room = desk.room_to_read()?;
    let head = desk.store.head().await?;
    let mut after = match after {
        Some(after) => reachable(desk, after).await?,
        None => Position { epoch: head.epoch, seq: desk.store.pruned().await? },
    };
    let mut events = Vec::new();
    while after < head {
        for frame in next_frames(desk, after).await? {
            for event in told(&frame, after)? {
                if events.len() == limit {
                    return Ok((events, Some(after)));
                }
                after = event.position.into();
                events.push(event);
            }
        }
    }
    Ok((events, None))
}

/// The events of a frame that come after a position.
fn told(frame: &StoredFrame, after: Position) -> Result<Vec<admin::TailEventsResponse>, Refusal> {
    let events = frame.events()?;
    let event = |(position, change): (Position, &Change)| admin::TailEventsResponse {
        position: Some(position.into()),
        committed_at_ms: events.committed_at_ms,
        event: Some(change.to_wire()),
    };
    Ok(events.iter().filter(|(position, _)| *position > after).map(event).collect())
}

/// A position from which the log can be read; the beginning of all means that of the log.
pub(crate) async fn reachable(desk: &Desk, after: Position) -> Result<Position, Refusal> {
    let head = desk.store.head().await?;
    let oldest = Position { epoch: head.epoch, seq: desk.store.pruned().await? };
    let after = if after == Position::ORIGIN { Position { seq: 0, ..head } } else { after };
    let is_within = after.epoch == head.epoch && after.seq >= oldest.seq && after <= head;
    if is_within { Ok(after) } else { Err(Refusal::LogTruncated { after, oldest }) }
}

/// The next frames after a position that is below the head.
pub(crate) async fn next_frames(desk: &Desk, after: Position) -> Result<Vec<StoredFrame>, Refusal> {
    let frames = desk.store.frames_after(after.seq).await?;
    if frames.is_empty() {
        // They were pruned meanwhile, or another log has begun.
        let oldest = reachable(desk, after).await?;
        return Err(Refusal::LogTruncated { after, oldest });
    }
    Ok(frames)
}

async fn follow(
    desk: &Desk,
    feed: &Feed<admin::TailEventsResponse>,
    mut after: Position,
    stay: bool,
) -> Result<(), Refusal> {
    let mut heads = desk.log.heads();
    loop {
        let head = *heads.borrow_and_update();
        if head.epoch != after.epoch {
            return Err(Refusal::EpochRaised);
        }
        while after < head {
            for frame in next_frames(desk, after).await? {
                after = send(feed, &frame, after).await?;
            }
        }
        if !stay || heads.changed().await.is_err() {
            return Ok(());
        }
    }
}

async fn send(
    feed: &Feed<admin::TailEventsResponse>,
    frame: &StoredFrame,
    after: Position,
) -> Result<Position, Refusal> {
    let mut last = after;
    for event in told(frame, after)? {
        last = event.position.into();
        feed.send(event).await?;
    }
    Ok(last)
}
