//! `wcdn.edge.v1`: each call, and where it is done.

use std::sync::Arc;

use tonic::{Request, Streaming};
use wcdn_proto::{
    Position,
    pb::edge::v1::{self as edge, edge_service_server::EdgeService},
};

use super::{
    admit, session, snapshot,
    told::{Answer, Told, told},
};
use crate::{
    calls::{
        stream::{self, Feed, Sent},
        tail,
    },
    desk::Desk,
    refusal::Refusal,
};

/// The service.
#[derive(Debug)]
pub(super) struct Edge(pub(super) Arc<Desk>);

/// Bytes of frames in one message.
const CHUNK: usize = 256 << 10;

#[tonic::async_trait]
impl EdgeService for Edge {
    type SessionStream = Told<edge::SessionResponse>;
    type ReplayStream = Told<edge::ReplayResponse>;
    type GetSnapshotStream = Told<edge::GetSnapshotResponse>;

    async fn session(
        &self,
        request: Request<Streaming<edge::SessionRequest>>,
    ) -> Answer<Self::SessionStream> {
        self.0.answer(session::open(&self.0, request).await.map(told))
    }

    async fn replay(&self, request: Request<edge::ReplayRequest>) -> Answer<Self::ReplayStream> {
        self.0.answer(replay(&self.0, request).await.map(told))
    }

    async fn get_snapshot(
        &self,
        request: Request<edge::GetSnapshotRequest>,
    ) -> Answer<Self::GetSnapshotStream> {
        self.0.answer(snapshot::get(&self.0, request).map(told))
    }
}

async fn replay(
    desk: &Arc<Desk>,
    request: Request<edge::ReplayRequest>,
) -> Result<Sent<edge::ReplayResponse>, Refusal> {
    admit::edge(&request)?;
    let room = desk.room_to_read()?;
    let deadline = admit::deadline(request.metadata());
    let after = Position::from(request.into_inner().after);
    // Nothing of an earlier log can be replayed, not even the beginning of all.
    let head = desk.store.head().await?;
    if after.epoch != head.epoch {
        let oldest = Position { seq: 0, ..head };
        return Err(Refusal::LogTruncated { after, oldest });
    }
    tail::reachable(desk, after).await?;
    Ok(stream::begin(desk, room, deadline, move |desk, feed| async move {
        send_frames(&desk, &feed, after).await
    }))
}

async fn send_frames(
    desk: &Desk,
    feed: &Feed<edge::ReplayResponse>,
    mut after: Position,
) -> Result<(), Refusal> {
    // Of the store, since its end is a confirmation: memory may know of less.
    let head = desk.store.head().await?;
    while after < head {
        let (mut frames, mut bytes) = (Vec::new(), 0);
        for frame in tail::next_frames(desk, after).await? {
            after.seq = after.seq.max(frame.last_seq);
            bytes += frame.bytes.len();
            frames.push(frame.bytes);
            if bytes >= CHUNK {
                bytes = 0;
                let frames = std::mem::take(&mut frames);
                feed.send(edge::ReplayResponse { frames }).await?;
            }
        }
        if !frames.is_empty() {
            feed.send(edge::ReplayResponse { frames }).await?;
        }
    }
    Ok(())
}
