//! The state as bytes.

use wcdn_proto::{BlobId, Position};

use super::{Kept, journal};
use crate::events::{removed::Removals, words::Word};

const MAGIC: &[u8] = b"wcdn events 2\n";

/// Of a version that knew of no pins.
const WITHOUT_PINS: &[u8] = b"wcdn events 1\n";

const DIGEST: usize = 32;

pub(super) fn encode(kept: &Kept) -> Vec<u8> {
    let Kept { position, removals, words, pins, origins } = kept;
    let origins = origins.as_ref().map(serde_json::to_vec);
    let origins = origins.transpose().ok().flatten().unwrap_or_default();
    let mut bytes = MAGIC.to_vec();
    for number in [position.epoch, position.seq, removals.floor] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    put_count(&mut bytes, origins.len());
    bytes.extend_from_slice(&origins);
    put_count(&mut bytes, removals.slots.len());
    for (slot, seq) in &removals.slots {
        bytes.extend_from_slice(&slot.to_le_bytes());
        bytes.extend_from_slice(&seq.to_le_bytes());
    }
    put_count(&mut bytes, words.len());
    bytes.extend_from_slice(&journal::encode(words));
    put_count(&mut bytes, pins.len());
    for (id, word) in pins {
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&word.at.epoch.to_le_bytes());
        bytes.extend_from_slice(&word.at.seq.to_le_bytes());
        bytes.push(u8::from(word.is_set));
    }
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("far fewer than four billions are kept");
    bytes.extend_from_slice(&count.to_le_bytes());
}

/// What the bytes say; `None` if any of them is another than was written.
pub(super) fn decode(bytes: &[u8]) -> Option<Kept> {
    let (text, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    if blake3::hash(text).as_bytes() != digest {
        return None;
    }
    parse(text)
}

pub(super) fn parse(text: &[u8]) -> Option<Kept> {
    let is_present = text.starts_with(MAGIC);
    let magic = if is_present { MAGIC } else { WITHOUT_PINS };
    let mut rest = text.strip_prefix(magic)?;
    let position = Position { epoch: number(&mut rest)?, seq: number(&mut rest)? };
    let floor = number(&mut rest)?;
    let length = count(&mut rest)?;
    let origins = rest.split_off(..length)?;
    let mut slots = Vec::new();
    for _ in 0..count(&mut rest)? {
        let slot = rest.split_off(..4)?.try_into().ok().map(u32::from_le_bytes)?;
        slots.push((slot, number(&mut rest)?));
    }
    let length = count(&mut rest)?.checked_mul(journal::RECORD)?;
    let words = journal::decode(rest.split_off(..length)?);
    let origins = serde_json::from_slice(origins).ok();
    if !is_present {
        return rest.is_empty().then(|| Kept { words, origins, ..Kept::default() });
    }
    let mut pins = Vec::new();
    for _ in 0..count(&mut rest)? {
        pins.push(pin(&mut rest)?);
    }
    let removals = Removals { epoch: position.epoch, floor, slots };
    rest.is_empty().then_some(Kept { position, removals, words, pins, origins })
}

fn pin(rest: &mut &[u8]) -> Option<(BlobId, Word)> {
    let id = BlobId::try_from(rest.split_off(..32)?).ok()?;
    let at = Position { epoch: number(rest)?, seq: number(rest)? };
    let is_set = match rest.split_off(..1)? {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    Some((id, Word { at, is_set }))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    rest.split_off(..8)?.try_into().ok().map(u64::from_le_bytes)
}

fn count(rest: &mut &[u8]) -> Option<usize> {
    rest.split_off(..4)?.try_into().ok().map(u32::from_le_bytes).and_then(|n| n.try_into().ok())
}
