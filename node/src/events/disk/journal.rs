//! The records of what is withheld.

use wcdn_proto::{ContentId, Position, QuiltPatchId};

use crate::events::words::Word;

/// Bytes of a record.
pub(super) const RECORD: usize = 64;

const SUMMED: usize = 56;
const ID: usize = QuiltPatchId::BYTES;

/// A record each.
pub(super) fn encode(words: &[(ContentId, Word)]) -> Vec<u8> {
    words.iter().flat_map(|(id, word)| record(id, *word)).collect()
}

fn record(id: &ContentId, word: Word) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0] = match (id, word.is_set) {
        (ContentId::Blob(_), true) => 1,
        (ContentId::Patch(_), true) => 2,
        (ContentId::Blob(_), false) => 3,
        (ContentId::Patch(_), false) => 4,
    };
    let bytes = id.to_vec();
    record[1..=bytes.len()].copy_from_slice(&bytes);
    record[1 + ID..9 + ID].copy_from_slice(&word.at.epoch.to_le_bytes());
    record[9 + ID..17 + ID].copy_from_slice(&word.at.seq.to_le_bytes());
    let sum = sum(&record);
    record[SUMMED..].copy_from_slice(&sum);
    record
}

fn sum(record: &[u8]) -> [u8; RECORD - SUMMED] {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(&record[..SUMMED]).as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The records that are whole, in order.
pub(super) fn decode(bytes: &[u8]) -> Vec<(ContentId, Word)> {
    bytes.chunks_exact(RECORD).filter_map(word).collect()
}

fn word(record: &[u8]) -> Option<(ContentId, Word)> {
    if record.get(SUMMED..)? != sum(record) {
        return None;
    }
    let (length, is_set) = match record[0] {
        1 => (32, true),
        2 => (ID, true),
        3 => (32, false),
        4 => (ID, false),
        _ => return None,
    };
    let id = ContentId::try_from(&record[1..=length]).ok()?;
    let number = |at: usize| record[at..at + 8].try_into().ok().map(u64::from_le_bytes);
    let at = Position { epoch: number(1 + ID)?, seq: number(9 + ID)? };
    Some((id, Word { at, is_set }))
}
