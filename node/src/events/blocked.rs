//! What is withheld: blobs, and single files of quilts.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::RwLock;
use wcdn_proto::{BlobId, ContentId, Position, QuiltPatchId};

use super::words::{Word, Words};

/// Ids that are answered with 451.
#[derive(Debug)]
pub struct Blocked {
    /// A bit for every id that was ever blocked, by its blob. Bits are never cleared while the node
    /// runs: who shares one pays with a look at the map.
    filter: Box<[AtomicU64]>,
    words: RwLock<Words<ContentId>>,
}

/// Bits of the filter.
const BITS: usize = 1 << 20;

impl Default for Blocked {
    fn default() -> Self {
        Self {
            filter: (0..BITS / 64).map(|_| AtomicU64::new(0)).collect(),
            words: RwLock::default(),
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
        self.words.read().says(id)
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
        words.retain(|word| word.at.epoch != at.epoch || word.at > at);
        for id in ids {
            self.put(&mut words, *id, Word { at, is_set: true });
        }
    }

    fn put(&self, words: &mut Words<ContentId>, id: ContentId, word: Word) {
        if word.is_set {
            // Before the map, or a reader would find the word and not look.
            let (place, bit) = place(&id.blob());
            self.filter[place].fetch_or(bit, SeqCst);
        }
        words.hear(id, word);
    }

    /// Forgets ends that no older block can follow: everything up to `at` has been heard.
    pub fn forget_ends(&self, at: Position) {
        self.words.write().forget_ends(at);
    }

    /// Everything that is known.
    pub fn export(&self) -> Vec<(ContentId, Word)> {
        self.words.read().export()
    }

    /// Ids withheld.
    pub fn count(&self) -> usize {
        self.words.read().count()
    }
}

fn place(blob: &BlobId) -> (usize, u64) {
    let [a, b, c, ..] = *blob.as_bytes();
    let bit = u32::from_le_bytes([a, b, c, 0]) as usize % BITS;
    (bit / 64, 1 << (bit % 64))
}

#[cfg(test)]
mod tests;
