//! All that a node must know to begin.

use std::sync::Arc;

use bytes::Bytes;
use tonic::Request;
use wcdn_proto::{REMOVAL_SLOTS, pb::edge::v1 as edge};

use super::admit;
use crate::{
    calls::stream::{self, Feed, Sent},
    desk::Desk,
    refusal::Refusal,
};

/// Slots of one message: at most 240 kB.
const SLOTS: usize = 16_384;

/// Ids of one message: at most 160 kB.
const IDS: usize = 4_096;

pub(super) fn get(
    desk: &Arc<Desk>,
    request: Request<edge::GetSnapshotRequest>,
) -> Result<Sent<edge::GetSnapshotResponse>, Refusal> {
    admit::edge(&request)?;
    // Each holds a copy of what is not zero in the table: 12 MiB at most, and the ids withheld or
    // pinned.
    let room = desk.room_to_read()?;
    let deadline = admit::deadline(request.metadata());
    Ok(stream::begin(desk, room, deadline, |desk, feed| async move { send(&desk, &feed).await }))
}

async fn send(desk: &Desk, feed: &Feed<edge::GetSnapshotResponse>) -> Result<(), Refusal> {
    let Copied { head, removed, blocked, pinned } = copy(desk);
    part(feed, edge::get_snapshot_response::Part::Head(head)).await?;
    for removed in removed.chunks(SLOTS) {
        let (slots, seqs) = removed.iter().copied().unzip();
        let removed = edge::RemovedSlots { slots, seqs };
        part(feed, edge::get_snapshot_response::Part::Removed(removed)).await?;
    }
    for ids in blocked.chunks(IDS) {
        let blocked = edge::BlockedIds { ids: ids.to_vec() };
        part(feed, edge::get_snapshot_response::Part::Blocked(blocked)).await?;
    }
    for ids in pinned.chunks(IDS) {
        let pinned = edge::PinnedIds { ids: ids.to_vec() };
        part(feed, edge::get_snapshot_response::Part::Pinned(pinned)).await?;
    }
    Ok(())
}

/// What a snapshot is made of.
struct Copied {
    head: edge::SnapshotHead,
    removed: Vec<(u32, u64)>,
    blocked: Vec<Bytes>,
    pinned: Vec<Bytes>,
}

/// All of one position: the lock is held for the copy, not while it is sent.
fn copy(desk: &Desk) -> Copied {
    let state = desk.log.state().read();
    let head = edge::SnapshotHead {
        position: Some(state.position().into()),
        floor_seq: state.floor(),
        slots: REMOVAL_SLOTS,
    };
    let blocked = state.blocks().iter().map(|id| id.to_vec().into()).collect();
    let pinned = state.pins().iter().map(|id| id.as_bytes().to_vec().into()).collect();
    Copied { head, removed: state.removed().collect(), blocked, pinned }
}

async fn part(
    feed: &Feed<edge::GetSnapshotResponse>,
    part: edge::get_snapshot_response::Part,
) -> Result<(), Refusal> {
    feed.send(edge::GetSnapshotResponse { part: Some(part) }).await
}
