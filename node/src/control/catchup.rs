//! What was missed of the log: its frames, or a snapshot where it no longer has them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use wcdn_gossip::seam::{Catchup, CatchupError, CaughtUp};
use wcdn_proto::{
    BlobId, ContentId, MAX_BLOCKS, MAX_PINS, Position, REMOVAL_SLOTS,
    pb::edge::v1::{
        GetSnapshotRequest, GetSnapshotResponse, ReplayRequest, SnapshotHead,
        get_snapshot_response::Part,
    },
};

use super::{Client, Line};
use crate::events::{
    Log,
    apply::{Applier, Snapshot},
    removed::Removals,
};

/// Reads the log of a control plane that there is a session with: of the one that was of use last, else
/// of the others.
#[derive(Debug)]
pub struct ControlCatchup {
    line: Line,
    applier: Arc<Applier>,
    log: Arc<Log>,
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("no control plane is connected")]
    NotConnected,
    #[error("the control plane refuses")]
    Refused(#[from] Status),
    #[error("the control plane sends nothing for {0:?}")]
    Silent(Duration),
    #[error("the snapshot is of position {epoch}.{seq}, an older log than is followed")]
    Old { epoch: u64, seq: u64 },
    #[error("the snapshot {0}")]
    Malformed(&'static str),
}

/// Between two messages.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of frames that are taken at once; the rest is asked for again.
const MAX_FRAMES: usize = 4 << 20;

impl ControlCatchup {
    /// Applies snapshots by `applier`, over the connection of a session.
    pub fn new(line: Line, applier: Arc<Applier>, log: Arc<Log>) -> Self {
        Self { line, applier, log }
    }

    async fn read(&self, after: Position) -> Result<CaughtUp, Trouble> {
        let applied = self.log.positions.applied();
        if after.epoch == 0 && applied.epoch > 0 {
            // The first snapshot was taken. Another one would cost all that was filled since.
            return Ok(CaughtUp::Snapshot(applied));
        }
        let clients = self.line.clients().await;
        let mut trouble = Trouble::NotConnected;
        let mut for_snapshot = Vec::new();
        for (number, mut client) in clients {
            let frames = match after.epoch {
                0 => Ok(None),
                _ => self.replay(&mut client, after).await,
            };
            match frames {
                Ok(Some(frames)) => {
                    self.line.prefer(number);
                    return Ok(CaughtUp::Frames(frames));
                }
                Ok(None) => for_snapshot.push((number, client)),
                Err(error) => trouble = error,
            }
        }
        // Last, since it costs all that is held: none of them has the frames.
        for (number, mut client) in for_snapshot {
            match self.take_snapshot(&mut client).await {
                Ok(at) => {
                    self.line.prefer(number);
                    return Ok(CaughtUp::Snapshot(at));
                }
                Err(error) => trouble = error,
            }
        }
        Err(trouble)
    }

    async fn take_snapshot(&self, client: &mut Client) -> Result<Position, Trouble> {
        let snapshot = timed(client.get_snapshot(GetSnapshotRequest {})).await?.into_inner();
        let (at, snapshot) = collect(snapshot).await?;
        match self.applier.replace(snapshot).await {
            true => Ok(at),
            false => Err(Trouble::Old { epoch: at.epoch, seq: at.seq }),
        }
    }

    /// `None` if only a snapshot helps.
    async fn replay(
        &self,
        client: &mut Client,
        after: Position,
    ) -> Result<Option<Vec<Bytes>>, Trouble> {
        let request = ReplayRequest { after: Some(after.into()) };
        let mut replay = match timed(client.replay(request)).await {
            Ok(replay) => replay.into_inner(),
            Err(error) if is_out_of_range(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut frames, mut size) = (Vec::new(), 0);
        while size < MAX_FRAMES {
            match timed(replay.message()).await {
                Ok(Some(more)) => {
                    size += more.frames.iter().map(Bytes::len).sum::<usize>();
                    frames.extend(more.frames);
                }
                // What came by then is true, and leads to another question.
                Err(_) if !frames.is_empty() => break,
                Err(error) if is_out_of_range(&error) => return Ok(None),
                Err(error) => return Err(error),
                Ok(None) if frames.is_empty() => {
                    self.log.positions.head(after);
                    break;
                }
                Ok(None) => break,
            }
        }
        Ok(Some(frames))
    }
}

impl Catchup for ControlCatchup {
    async fn catch_up(&self, after: Position) -> Result<CaughtUp, CatchupError> {
        self.read(after).await.map_err(|trouble| CatchupError(Box::new(trouble)))
    }
}

fn is_out_of_range(error: &Trouble) -> bool {
    matches!(error, Trouble::Refused(status) if status.code() == Code::OutOfRange)
}

async fn timed<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Trouble> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(Trouble::Silent(PATIENCE)),
    }
}

async fn collect(
    mut parts: Streaming<GetSnapshotResponse>,
) -> Result<(Position, Snapshot), Trouble> {
    let Some(Part::Head(head)) = timed(parts.message()).await?.and_then(|first| first.part) else {
        return Err(Trouble::Malformed("does not begin with its head"));
    };
    let mut collected = Collected::new(&head);
    if head.floor_seq > collected.position.seq {
        return Err(Trouble::Malformed("removes everything beyond its position"));
    }
    while let Some(GetSnapshotResponse { part }) = timed(parts.message()).await? {
        if let Some(part) = part {
            collected.add(part)?;
        }
    }
    let Collected { position, removals, blocked, pinned } = collected;
    Ok((position, Snapshot { position: Some(position), removals, blocked, pinned }))
}

/// A snapshot so far.
struct Collected {
    position: Position,
    /// `None` if its slots are others than ours.
    removals: Option<Removals>,
    blocked: Vec<ContentId>,
    pinned: Vec<BlobId>,
}

impl Collected {
    fn new(head: &SnapshotHead) -> Self {
        let position = Position::from(head.position);
        let removals = (head.slots == REMOVAL_SLOTS).then_some(Removals {
            epoch: position.epoch,
            floor: head.floor_seq,
            slots: Vec::new(),
        });
        Self { position, removals, blocked: Vec::new(), pinned: Vec::new() }
    }

    fn add(&mut self, part: Part) -> Result<(), Trouble> {
        match part {
            Part::Head(_) => return Err(Trouble::Malformed("has two heads")),
            Part::Removed(removed) => {
                if removed.slots.len() != removed.seqs.len() {
                    return Err(Trouble::Malformed("has more slots than numbers"));
                }
                let Some(removals) = &mut self.removals else { return Ok(()) };
                let most = REMOVAL_SLOTS as usize;
                if removals.slots.len() + removed.slots.len() > most
                    || removed.slots.iter().any(|slot| *slot >= REMOVAL_SLOTS)
                {
                    return Err(Trouble::Malformed("has slots beyond the table"));
                }
                // Nothing that is fetched could ever be as new.
                if removed.seqs.iter().any(|seq| *seq > self.position.seq) {
                    return Err(Trouble::Malformed("removes beyond its position"));
                }
                removals.slots.extend(removed.slots.into_iter().zip(removed.seqs));
            }
            Part::Blocked(blocked) => {
                for id in &blocked.ids {
                    let id = ContentId::try_from(&id[..]);
                    self.blocked.push(id.map_err(|_| Trouble::Malformed("blocks what is no id"))?);
                }
                if self.blocked.len() > MAX_BLOCKS {
                    return Err(Trouble::Malformed("blocks more than a node can hold"));
                }
            }
            Part::Pinned(pinned) => {
                for id in &pinned.ids {
                    let id = BlobId::try_from(&id[..]);
                    self.pinned.push(id.map_err(|_| Trouble::Malformed("pins what is no blob"))?);
                }
                if self.pinned.len() > MAX_PINS {
                    return Err(Trouble::Malformed("pins more than a node can hold"));
                }
            }
        }
        Ok(())
    }
}
