//! What is pinned, and what whoever keeps it has to look at.

use std::collections::HashSet;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use wcdn_proto::{BlobId, Position};

use super::words::{Word, Words};

/// Blobs that are pinned.
#[derive(Debug, Default)]
pub struct Pins {
    words: RwLock<Words<BlobId>>,
    doubts: Mutex<Doubts>,
    more: Notify,
}

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// These.
    At(Vec<BlobId>),
    /// All that is pinned, and all that was.
    All,
}

/// Blobs of which something may have changed: whether they are pinned, or whether they are held.
#[derive(Debug, Default)]
struct Doubts {
    ids: HashSet<BlobId, foldhash::fast::RandomState>,
    all: bool,
}

/// Beyond so many, all are looked at.
const MAX_DOUBTS: usize = 16_384;

impl Pins {
    /// Whether a blob is pinned.
    pub fn contains(&self, id: &BlobId) -> bool {
        self.words.read().says(id)
    }

    /// Every blob that is.
    pub fn ids(&self) -> Vec<BlobId> {
        self.words.read().ids().collect()
    }

    /// How many are.
    pub fn count(&self) -> usize {
        self.words.read().count()
    }

    /// Takes the word of an event; an older one than is known changes nothing.
    pub fn hear(&self, ids: &[BlobId], word: Word) {
        let mut words = self.words.write();
        ids.iter().for_each(|id| words.hear(*id, word));
        drop(words);
        self.doubt(ids.iter().copied());
    }

    /// Takes what is pinned by a snapshot of everything up to `at`, whatever an older log said.
    pub fn replace(&self, ids: &[BlobId], at: Position) {
        let mut words = self.words.write();
        words.retain(|word| word.at > at);
        ids.iter().for_each(|id| words.hear(*id, Word { at, is_set: true }));
        drop(words);
        self.doubt_all();
    }

    /// Forgets ends that no older pin can follow: everything up to `at` has been heard.
    pub fn forget_ends(&self, at: Position) {
        self.words.write().forget_ends(at);
    }

    /// Everything that is known.
    pub fn export(&self) -> Vec<(BlobId, Word)> {
        self.words.read().export()
    }

    /// Something may have changed for these.
    pub fn doubt(&self, ids: impl IntoIterator<Item = BlobId>) {
        let mut doubts = self.doubts.lock();
        if !doubts.all {
            doubts.ids.extend(ids);
            if doubts.ids.len() > MAX_DOUBTS {
                *doubts = Doubts { all: true, ..Doubts::default() };
            }
        }
        drop(doubts);
        self.more.notify_one();
    }

    /// Something may have changed for all.
    pub fn doubt_all(&self) {
        *self.doubts.lock() = Doubts { all: true, ..Doubts::default() };
        self.more.notify_one();
    }

    /// What is to be looked at next, once there is something.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn look(&self) -> Look {
        loop {
            let Doubts { ids, all } = std::mem::take(&mut *self.doubts.lock());
            match (all, ids.is_empty()) {
                (true, _) => return Look::All,
                (false, false) => return Look::At(ids.into_iter().collect()),
                (false, true) => self.more.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> BlobId {
        BlobId::from_bytes([n; 32])
    }

    fn word(seq: u64, is_set: bool) -> Word {
        Word { at: Position { epoch: 1, seq }, is_set }
    }

    proptest! {
        #[test]
        fn the_latest_word_counts_in_whatever_order_it_comes(
            says in prop::collection::vec((0u8..4, any::<bool>()), 1..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
        ) {
            let pins = Pins::default();
            let all = 0..says.len();
            for n in order.iter().map(|n| n.index(says.len())).chain(all) {
                pins.hear(&[id(says[n].0)], word(n as u64 + 1, says[n].1));
            }
            let last = |n| says.iter().rev().find(|(id, _)| *id == n).is_some_and(|(_, says)| *says);
            for n in 0..4 {
                prop_assert_eq!(pins.contains(&id(n)), last(n));
            }
            prop_assert_eq!(pins.count(), (0..4).filter(|n| last(*n)).count());
            prop_assert_eq!(pins.ids().len(), pins.count());
        }
    }

    #[test]
    fn a_snapshot_tells_all_but_what_came_after_it() {
        let pins = Pins::default();
        pins.hear(&[id(1), id(2)], word(3, true));
        pins.hear(&[id(3)], word(9, true));
        pins.hear(&[id(4)], word(9, false));
        let at = Position { epoch: 1, seq: 5 };
        pins.replace(&[id(2), id(4)], at);
        let mut ids = pins.ids();
        ids.sort();
        assert_eq!(ids, [id(2), id(3)]);
        pins.replace(&[id(7)], Position { epoch: 2, seq: 1 });
        assert_eq!(
            pins.ids(),
            [id(7)],
            "pins of an older log are those that the new one begins with"
        );
        pins.forget_ends(at);
        assert_eq!(pins.export().len(), 1);
    }

    #[tokio::test]
    async fn what_is_in_doubt_is_looked_at_once() {
        let pins = Pins::default();
        pins.hear(&[id(1)], word(1, true));
        pins.doubt([id(1)]);
        assert_eq!(pins.look().await, Look::At(vec![id(1)]));
        assert!(futures_util::poll!(std::pin::pin!(pins.look())).is_pending());
        let many = (0..=u32::try_from(MAX_DOUBTS).unwrap())
            .map(|n| BlobId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes()));
        pins.doubt(many);
        pins.doubt([id(2)]);
        assert_eq!(pins.look().await, Look::All, "so many that one by one is no gain");
    }
}
