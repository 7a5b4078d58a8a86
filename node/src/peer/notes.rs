//! What nodes of other regions vouch for, and what this one tells them: a blob is checked once in the
//! whole network, as long as no datagram is lost.
//!
//! ```text
//! note = id | attestation
//! ```
//!
//! A note is a hint that saves work. One that is lost, forgotten, or comes too late costs one check.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use tokio::sync::{Notify, mpsc};
use wcdn_gossip::driver::EdgePlane;
use wcdn_proto::BlobId;

use super::{
    attestation::{Attestation, LENGTH, Voucher},
    view::View,
};
use crate::{
    cache::entry::{Level, Record},
    events::Log,
    metrics::{events::Tier, peer::PeerMetrics},
};

/// What others vouch for. Clones share it.
#[derive(Debug, Clone)]
pub struct Notes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kept: moka::sync::Cache<BlobId, Attestation, foldhash::fast::RandomState>,
    /// Woken when one more is kept.
    arrived: Notify,
    voucher: Arc<Voucher>,
    log: Arc<Log>,
    to_tell: mpsc::Sender<(BlobId, Attestation)>,
    metrics: Arc<PeerMetrics>,
}

/// Attestations that are to be told.
pub(crate) type ToTell = mpsc::Receiver<(BlobId, Attestation)>;

/// Attestations kept, the ones that were of use last; each takes some 200 bytes.
const MAX_KEPT: u64 = 65_536;

/// Those that wait to be told. One that finds no room is not: checks take longer than telling of them.
const MAX_TO_TELL: usize = 256;

/// Those that wait to be read.
pub(crate) const MAX_TO_READ: usize = 1_024;

/// How many owners of a blob in each other region are told: the second answers when the first is gone.
const OWNERS: usize = 2;

/// Bytes of an id.
const ID: usize = 32;

impl Notes {
    /// Nothing yet, and where what is to be told comes out.
    pub(crate) fn new(
        voucher: Arc<Voucher>,
        log: Arc<Log>,
        metrics: Arc<PeerMetrics>,
    ) -> (Self, ToTell) {
        let (to_tell, telling) = mpsc::channel(MAX_TO_TELL);
        let kept = moka::sync::Cache::builder()
            .max_capacity(MAX_KEPT)
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(foldhash::fast::RandomState::default());
        let arrived = Notify::new();
        let shared = Shared { kept, arrived, voucher, log, to_tell, metrics };
        (Self { shared: Arc::new(shared) }, telling)
    }

    /// Has others told that this node computed the id of a blob from its bytes.
    pub fn tell(&self, id: BlobId, record: &Record) {
        debug_assert_eq!(record.level, Level::Full);
        if self.shared.to_tell.try_send((id, Attestation::of(record))).is_err() {
            self.shared.metrics.note("dropped");
        }
    }

    /// Keeps what another node tells, if it may be believed. It counts for no newer than what is known
    /// here, so that every later removal ends it.
    pub fn hear(&self, note: &[u8]) {
        let Shared { kept, arrived, voucher, log, metrics, .. } = &*self.shared;
        let opened = note.split_first_chunk::<ID>().and_then(|(id, rest)| {
            let id = BlobId::from_bytes(*id);
            Some((id, voucher.open(&id, rest).ok()?))
        });
        let Some((id, attestation)) = opened.filter(|(_, it)| it.level >= Level::Attested) else {
            metrics.note("disbelieved");
            return;
        };
        let token = attestation.token.min(log.positions.known());
        if !log.admits(&id, token, Tier::Peer) {
            metrics.note("removed");
            return;
        }
        kept.insert(id, Attestation { token, ..attestation });
        metrics.note("kept");
        arrived.notify_waiters();
    }

    /// Whether another node checked a blob of this length and digest, and no event removed it since.
    pub fn vouch_for(&self, id: &BlobId, length: u64, digest: &blake3::Hash) -> bool {
        self.shared.kept.get(id).is_some_and(|it| {
            it.length == length
                && it.digest == *digest
                && self.shared.log.admits(id, it.token, Tier::Peer)
        })
    }

    /// Waits until another node vouches for it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn vouched(&self, id: &BlobId, length: u64, digest: &blake3::Hash) {
        loop {
            let arrived = self.shared.arrived.notified();
            if self.vouch_for(id, length, digest) {
                return;
            }
            arrived.await;
        }
    }

    /// Forgets what was said of a blob: it was not so.
    pub fn forget(&self, id: &BlobId) {
        self.shared.kept.invalidate(id);
    }

    /// Reads what others tell, until they are gone.
    pub(crate) async fn listen(self, mut heard: mpsc::Receiver<Bytes>) {
        while let Some(note) = heard.recv().await {
            self.hear(&note);
        }
    }

    /// Tells others what is to be told, as long as there is anybody to say it.
    pub(crate) async fn spread(self, mut to_tell: ToTell, plane: EdgePlane, view: View) {
        while let Some((id, attestation)) = to_tell.recv().await {
            let sealed = self.shared.voucher.seal(&id, &attestation);
            let note = Bytes::from([&id.as_bytes()[..], &sealed].concat());
            for to in addressees(&view, &id) {
                plane.note(to, note.clone()).await;
                self.shared.metrics.note("sent");
            }
        }
    }
}

/// The first owners of a blob in every region but this one.
fn addressees(view: &View, id: &BlobId) -> Vec<SocketAddr> {
    let rings = view.rings();
    let owners =
        rings.others(view.region()).flat_map(|ring| ring.owners(id).into_iter().take(OWNERS));
    owners.map(|owner| owner.gossip).collect()
}

const _: () = assert!(ID + LENGTH <= wcdn_gossip::message::MAX_NOTE, "a note fits a datagram");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::{Duration, timeout};
    use wcdn_gossip::member::{Member, Role};
    use wcdn_proto::Position;

    use super::*;
    use crate::{
        events::{Follows, Lease},
        peer::ring::RingNode,
    };

    const ID: BlobId = BlobId::from_bytes([3; 32]);

    fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    fn notes() -> (Notes, ToTell, Arc<Log>) {
        let lease = Lease { window: Duration::from_secs(60), is_strict: false };
        let log = Arc::new(Log::new(Follows::Log(lease), None, Arc::default()));
        log.removed.begin(1);
        log.positions.hear(at(10));
        let voucher = Arc::new(Voucher::new(&[7; 32], None));
        let (notes, telling) = Notes::new(voucher, Arc::clone(&log), Arc::default());
        (notes, telling, log)
    }

    fn note(key: u8, level: Level, token: Position, body: &[u8]) -> Vec<u8> {
        let (length, digest) = (body.len() as u64, blake3::hash(body));
        let attestation = Attestation { level, length, token, digest };
        let sealed = Voucher::new(&[key; 32], None).seal(&ID, &attestation);
        [&ID.as_bytes()[..], &sealed].concat()
    }

    fn vouch(notes: &Notes, body: &[u8]) -> bool {
        notes.vouch_for(&ID, body.len() as u64, &blake3::hash(body))
    }

    #[tokio::test]
    async fn what_another_checked_counts_until_an_event_removes_it() {
        let (notes, _telling, log) = notes();
        notes.hear(&note(7, Level::Full, at(9), b"body"));
        assert!(vouch(&notes, b"body") && !vouch(&notes, b"bodx") && !vouch(&notes, b"bod"));
        log.removed.remove(&[ID], at(11));
        assert!(!vouch(&notes, b"body"));
        notes.hear(&note(7, Level::Full, at(9), b"body"));
        assert!(!vouch(&notes, b"body"), "it is as old as it was");
    }

    #[tokio::test]
    async fn nobody_makes_a_note_that_no_removal_reaches() {
        let (notes, _telling, log) = notes();
        notes.hear(&note(7, Level::Full, Position { epoch: 9, seq: 9 }, b"body"));
        assert!(vouch(&notes, b"body"));
        log.removed.remove(&[ID], at(11));
        assert!(!vouch(&notes, b"body"));
    }

    #[tokio::test]
    async fn strangers_and_unchecked_bytes_are_not_believed() {
        let (notes, _telling, _log) = notes();
        notes.hear(&note(8, Level::Full, at(9), b"body"));
        notes.hear(&note(7, Level::Origin, at(9), b"body"));
        notes.hear(&note(7, Level::Full, at(9), b"body")[1..]);
        assert!(!vouch(&notes, b"body"));
        notes.hear(&note(7, Level::Full, at(9), b"body"));
        notes.forget(&ID);
        assert!(!vouch(&notes, b"body"));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_note_that_it_waits_for() {
        let (notes, _telling, _log) = notes();
        let digest = blake3::hash(b"body");
        let waiting = notes.vouched(&ID, 4, &digest);
        let telling = async {
            notes.hear(&note(7, Level::Full, at(9), b"other"));
            tokio::task::yield_now().await;
            notes.hear(&note(7, Level::Full, at(9), b"body"));
        };
        let both = async { tokio::join!(waiting, telling) };
        timeout(Duration::from_secs(20), both).await.expect("it is woken");
    }

    #[tokio::test]
    async fn the_first_two_owners_of_every_other_region_are_told() {
        let member = |name: &str, region: &str, port: u16| Member {
            node: name.parse().unwrap(),
            region: region.parse().unwrap(),
            address: ([10, 0, 0, 1], port).into(),
            peer: None,
            role: Role::Edge,
            is_live: true,
        };
        let me =
            RingNode { node: "me".parse().unwrap(), gossip: ([10, 0, 0, 1], 1).into(), peer: None };
        let view = View::new("here".parse().unwrap(), me);
        let members = [
            member("near", "here", 2),
            member("a", "there", 3),
            member("b", "there", 4),
            member("c", "there", 5),
            member("d", "elsewhere", 6),
        ];
        view.see(&members, tokio::time::Instant::now());
        let told = addressees(&view, &ID);
        let there = view.rings();
        let owners = there.region(&"there".parse().unwrap()).unwrap().owners(&ID);
        let wanted = [members[4].address, owners[0].gossip, owners[1].gossip];
        assert_eq!(told, wanted);
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (notes, _telling, _log) = notes();
            notes.hear(&bytes);
            prop_assert!(!notes.shared.kept.contains_key(&ID));
        }
    }
}
