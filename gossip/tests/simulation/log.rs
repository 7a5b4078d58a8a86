//! The durable log, as the store of a control plane keeps it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use wcdn_gossip::frame::{Frame, IssuerKeys, SigningKey};
use wcdn_proto::{BlobId, Change, Position, Purge};

use crate::{checks::ids, sink::Sink};

/// Frames of one answer to a replay.
const CHUNK: usize = 20;

/// Frames since the last truncation, the state at the head, and everything that was ever committed.
pub(crate) struct Log {
    pub(crate) key: Arc<SigningKey>,
    pub(crate) head: Position,
    /// Every position that was ever committed, and when.
    pub(crate) commits: Vec<(Position, Duration)>,
    /// What ever purged a blob and when, the latest last.
    pub(crate) purges: BTreeMap<BlobId, Vec<(Position, Duration)>>,
    /// What blocked or unblocked a blob last.
    pub(crate) blocks: BTreeMap<BlobId, (Position, bool)>,
    frames: Vec<Frame>,
    /// States after each event of the present lineage.
    states: Vec<Sink>,
    floor: u64,
}

impl Log {
    pub(crate) fn new() -> Self {
        let head = Position { epoch: 1, seq: 0 };
        Self {
            key: SigningKey::from_seed(&[7; 32]).into(),
            head,
            commits: Vec::new(),
            purges: BTreeMap::new(),
            blocks: BTreeMap::new(),
            frames: Vec::new(),
            states: vec![Sink::at(head)],
            floor: 0,
        }
    }

    pub(crate) fn keys(&self) -> IssuerKeys {
        IssuerKeys::new(vec![self.key.public()])
    }

    pub(crate) fn commit(&mut self, changes: Vec<Change>, now: Duration) -> Vec<Frame> {
        let first = Position { seq: self.head.seq + 1, ..self.head };
        let frames = Frame::pack(&self.key, first, 0, changes);
        for frame in &frames {
            for (position, change) in frame.events().iter() {
                self.commits.push((position, now));
                self.note(position, change, now);
            }
            let mut state = self.snapshot();
            state.apply(frame.events());
            self.states.push(state);
            self.head = frame.last();
        }
        self.frames.extend(frames.iter().cloned());
        frames
    }

    fn note(&mut self, position: Position, change: &Change, now: Duration) {
        let (removed, (blocked, is_blocked)) = match change {
            Change::Purge(Purge::All) => (ids().collect(), (Vec::new(), false)),
            Change::Purge(Purge::Ids(ids)) => (ids.clone(), (Vec::new(), false)),
            Change::Block(ids) => (Vec::new(), (ids.clone(), true)),
            Change::Unblock(ids) => (Vec::new(), (ids.clone(), false)),
            _ => return,
        };
        for id in removed {
            self.purges.entry(id).or_default().push((position, now));
        }
        for id in blocked {
            self.blocks.insert(id.blob(), (position, is_blocked));
        }
    }

    pub(crate) fn snapshot(&self) -> Sink {
        self.states.last().expect("the first is never removed").clone()
    }

    /// What comes after a position, unless a snapshot is needed.
    pub(crate) fn replay(&self, after: Position) -> Option<Vec<Bytes>> {
        if after.epoch != self.head.epoch || after.seq < self.floor {
            return None;
        }
        let later = self.frames.iter().filter(|frame| frame.last() > after);
        Some(later.take(CHUNK).map(|frame| frame.encoded().clone()).collect())
    }

    /// Forgets all frames.
    pub(crate) fn truncate(&mut self) {
        self.frames.clear();
        self.floor = self.head.seq;
    }

    /// An older backup takes the place of the log: the latest `lost` frames never were.
    pub(crate) fn restore(&mut self, lost: usize, seq_goes_on: bool) {
        self.states.truncate(self.states.len().saturating_sub(lost).max(1));
        let seq = if seq_goes_on { self.head.seq } else { 0 };
        self.head = Position { epoch: self.head.epoch + 1, seq };
        let restored = self.snapshot().moved_to(self.head);
        self.states = vec![restored];
        self.frames.clear();
        self.floor = seq;
    }
}
