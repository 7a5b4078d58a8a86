//! What is withheld: blobs, and single files of quilts.
//!
//! Blocks and their ends come out of order, so the latest word counts for each id; an end is
//! remembered as long as an older block may still come.

use std::{
    collections::HashMap,
    sync::atomic::{
        AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

use parking_lot::RwLock;
use wcdn_proto::{BlobId, ContentId, Position, QuiltPatchId};

/// Ids that are answered with 451.
#[derive(Debug)]
pub struct Blocked {
    /// A bit for every id that was ever blocked, by its blob. Bits are never cleared while the node
    /// runs: who shares one pays with a look at the map.
    filter: Box<[AtomicU64]>,
    words: RwLock<HashMap<ContentId, Word, foldhash::fast::RandomState>>,
    count: AtomicUsize,
}

/// The latest word on an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The event that said it.
    pub at: Position,
    /// Whether it withholds.
    pub is_blocked: bool,
}

/// Bits of the filter.
const BITS: usize = 1 << 20;

impl Default for Blocked {
    fn default() -> Self {
        Self {
            filter: (0..BITS / 64).map(|_| AtomicU64::new(0)).collect(),
            words: RwLock::default(),
            count: AtomicUsize::new(0),
        }
    }
}

impl Blocked {
    /// Whether a blob is withheld: one load of the filter, where it is not.
    pub fn is_blocked(&self, blob: &BlobId) -> bool {
        self.may_be(blob) && self.says(&ContentId::Blob(*blob))
    }

    /// Whether a file of a quilt is, by itself or with its quilt.
    pub fn is_file_blocked(&self, file: &QuiltPatchId) -> bool {
        self.may_be(&file.quilt())
            && (self.says(&ContentId::Blob(file.quilt())) || self.says(&ContentId::Patch(*file)))
    }

    /// Either of them.
    pub fn is_content_blocked(&self, id: &ContentId) -> bool {
        match id {
            ContentId::Blob(blob) => self.is_blocked(blob),
            ContentId::Patch(file) => self.is_file_blocked(file),
        }
    }

    fn may_be(&self, blob: &BlobId) -> bool {
        let (word, bit) = place(blob);
        self.filter[word].load(SeqCst) & bit != 0
    }

    fn says(&self, id: &ContentId) -> bool {
        self.words.read().get(id).is_some_and(|word| word.is_blocked)
    }

    /// Takes the word of an event; an older one than is known changes nothing.
    pub fn hear(&self, ids: &[ContentId], word: Word) {
        let mut words = self.words.write();
        for id in ids {
            self.put(&mut words, *id, word);
        }
    }

    /// Takes what a snapshot of everything up to `at` withholds. What was blocked in the same epoch
    /// and is not in it was unblocked; blocks of older epochs stay, until an event ends them.
    pub fn replace(&self, ids: &[ContentId], at: Position) {
        let mut words = self.words.write();
        words.retain(|_, word| word.at.epoch != at.epoch || word.at > at);
        let count = words.values().filter(|word| word.is_blocked).count();
        self.count.store(count, Relaxed);
        for id in ids {
            self.put(&mut words, *id, Word { at, is_blocked: true });
        }
    }

    fn put(&self, words: &mut Words, id: ContentId, word: Word) {
        if words.get(&id).is_some_and(|known| known.at > word.at) {
            return;
        }
        if word.is_blocked {
            // Before the map, or a reader would find the word and not look.
            let (place, bit) = place(&id.blob());
            self.filter[place].fetch_or(bit, SeqCst);
        }
        let was_blocked = words.insert(id, word).is_some_and(|word| word.is_blocked);
        // Only whoever holds the lock changes it.
        self.count.fetch_add(usize::from(word.is_blocked), Relaxed);
        self.count.fetch_sub(usize::from(was_blocked), Relaxed);
    }

    /// Forgets ends that no older block can follow: everything up to `at` has been heard.
    pub fn forget_ends(&self, at: Position) {
        self.words.write().retain(|_, word| word.is_blocked || word.at > at);
    }

    /// Everything that is known.
    pub fn export(&self) -> Vec<(ContentId, Word)> {
        self.words.read().iter().map(|(id, word)| (*id, *word)).collect()
    }

    /// Ids withheld.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
}

type Words = HashMap<ContentId, Word, foldhash::fast::RandomState>;

fn place(blob: &BlobId) -> (usize, u64) {
    let [a, b, c, ..] = *blob.as_bytes();
    let bit = u32::from_le_bytes([a, b, c, 0]) as usize % BITS;
    (bit / 64, 1 << (bit % 64))
}

#[cfg(test)]
mod tests;
