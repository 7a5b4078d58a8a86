//! What stands in Redis of a blob: a record of facts that the cluster's key vouches for.
//!
//! ```text
//! wcdn:{0:ID}:wG      the record           G is the seq of the latest purge of everything, or nothing
//! wcdn:{0:ID}:wG:N    slice N of the body, 1 MiB each but the last
//!
//! record  = version u8 = 1 | level u8 | length u64 | epoch u64 | seq u64 | inserted ms u64
//!         | media length u8, media | BLAKE3 of the body | BLAKE3 of each slice | tag
//! tag     = BLAKE3 keyed with the cluster's key over ID and all of the above
//! ```
//!
//! Integers are little-endian, digests and tag 32 bytes. All keys of a blob share one slot of a
//! cluster. Nothing that Redis says is believed without the tag, and no slice without its digest:
//! whoever can write to Redis can make it forget, not lie.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use wcdn_proto::{BlobId, Position};

use crate::{
    cache::entry::{Entry, Level, Record, SLICE},
    edge::media,
};

const VERSION: u8 = 1;

/// Bytes of a digest, and of the tag.
const DIGEST: usize = 32;

/// The longest record that is read: that of a blob of 2 GiB.
pub(super) const MAX_RECORD: usize = 64 << 10;

/// Makes and checks tags.
pub struct Attestor {
    key: [u8; 32],
    /// Checks as well: of the cluster's other key while keys are changed.
    also: Option<[u8; 32]>,
}

/// A record that the cluster's key vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The facts; its level is at most that which the writer vouched for.
    pub record: Record,
    /// The digest of each slice.
    pub slices: Vec<blake3::Hash>,
}

/// Why a value is no record of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// Another version of the format.
    #[error("the record has version {0}")]
    Version(u8),
    /// No record at all.
    #[error("the value is no record")]
    Malformed,
    /// The tag is not that of a key of the cluster.
    #[error("the record was not made with this cluster's key")]
    Forged,
}

/// Where the keys of a blob stand. A purge of everything leaves them behind, to go when their time is
/// over: nobody looks there any more. The slot in a cluster stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The seq of the latest purge of everything.
    pub generation: u64,
    /// The blob.
    pub id: BlobId,
}

impl Place {
    /// Where the record stands.
    pub fn record(&self) -> String {
        match self {
            Self { generation: 0, id } => format!("wcdn:{{0:{id}}}:w"),
            Self { generation, id } => format!("wcdn:{{0:{id}}}:w{generation}"),
        }
    }

    /// Where a slice of the body stands.
    pub fn slice(&self, slice: usize) -> String {
        format!("{}:{slice}", self.record())
    }
}

impl std::fmt::Debug for Attestor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attestor(…)")
    }
}

impl Attestor {
    /// Tags of the cluster with this key; those of `also` are believed, and not made. The keys
    /// themselves are not used for anything else.
    pub fn new(cluster_key: &[u8; 32], also: Option<&[u8; 32]>) -> Self {
        let tags =
            |key: &[u8; 32]| blake3::derive_key("wcdn 2026-11 attestation of redis records", key);
        Self { key: tags(cluster_key), also: also.map(tags) }
    }

    /// The record of an entry; `None` if its bytes are no longer those that were checked.
    pub fn seal(&self, id: &BlobId, entry: &Entry) -> Option<Vec<u8>> {
        let digests = digests(entry)?;
        let record = entry.record();
        let media = record.media.as_str().as_bytes();
        let (media, length) = match u8::try_from(media.len()) {
            Ok(length) => (media, length),
            Err(_) => (&[][..], 0),
        };
        let inserted = record.inserted.duration_since(UNIX_EPOCH).unwrap_or_default();
        let inserted = u64::try_from(inserted.as_millis()).unwrap_or(u64::MAX);
        let mut text = vec![VERSION, record.level as u8];
        for number in [record.length, record.token.epoch, record.token.seq, inserted] {
            text.extend_from_slice(&number.to_le_bytes());
        }
        text.push(length);
        text.extend_from_slice(media);
        text.extend_from_slice(record.digest.as_bytes());
        digests.iter().for_each(|digest| text.extend_from_slice(digest.as_bytes()));
        let tag = tag(&self.key, id, &text);
        text.extend_from_slice(tag.as_bytes());
        Some(text)
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// [`InvalidRecord`].
    pub fn open(&self, id: &BlobId, value: &[u8]) -> Result<Attested, InvalidRecord> {
        let (text, given) = value
            .len()
            .checked_sub(DIGEST)
            .filter(|_| value.len() <= MAX_RECORD)
            .map(|at| value.split_at(at))
            .ok_or(InvalidRecord::Malformed)?;
        match text.first() {
            Some(&VERSION) => {}
            Some(&other) => return Err(InvalidRecord::Version(other)),
            None => return Err(InvalidRecord::Malformed),
        }
        // Compared in constant time, and before anything is read from what it vouches for.
        let given: [u8; DIGEST] = given.try_into().map_err(|_| InvalidRecord::Malformed)?;
        let given = blake3::Hash::from_bytes(given);
        let mut keys = std::iter::once(&self.key).chain(&self.also);
        if !keys.any(|key| tag(key, id, text) == given) {
            return Err(InvalidRecord::Forged);
        }
        parse(&text[1..]).ok_or(InvalidRecord::Malformed)
    }
}

fn tag(key: &[u8; 32], id: &BlobId, text: &[u8]) -> blake3::Hash {
    blake3::Hasher::new_keyed(key).update(id.as_bytes()).update(text).finalize()
}

/// The digest of each slice, if together they are still what was admitted.
fn digests(entry: &Entry) -> Option<Vec<blake3::Hash>> {
    let (mut body, mut slices) = (blake3::Hasher::new(), Vec::new());
    for slice in entry.slices() {
        body.update(slice);
        slices.push(blake3::hash(slice));
    }
    (body.finalize() == entry.record().digest).then_some(slices)
}

/// What stands between version and tag.
fn parse(mut text: &[u8]) -> Option<Attested> {
    let level = match *text.split_off_first()? {
        0 => Level::Origin,
        1 | 2 => Level::Attested,
        _ => return None,
    };
    let mut number = || text.split_off(..8)?.try_into().ok().map(u64::from_le_bytes);
    let (length, epoch, seq, inserted) = (number()?, number()?, number()?, number()?);
    let media = usize::from(*text.split_off_first()?);
    let media = std::str::from_utf8(text.split_off(..media)?).ok()?;
    let mut digest = || text.split_off(..DIGEST)?.try_into().ok().map(blake3::Hash::from_bytes);
    let body = digest()?;
    let slices: Vec<_> = std::iter::from_fn(&mut digest).collect();
    let fits = text.is_empty() && slices.len() as u64 == length.div_ceil(SLICE as u64);
    let record = Record {
        length,
        total: length,
        media: media::sniff(&[], Some(media)),
        level,
        digest: body,
        token: Position { epoch, seq },
        inserted: UNIX_EPOCH
            .checked_add(Duration::from_millis(inserted))
            .unwrap_or(SystemTime::now()),
    };
    fits.then_some(Attested { record, slices })
}

impl Attested {
    /// Bytes of slice `n`.
    pub fn slice_len(&self, n: usize) -> u64 {
        let base = n as u64 * SLICE as u64;
        self.record.length.saturating_sub(base).min(SLICE as u64)
    }

    /// Whether these bytes are slice `n`.
    pub fn is_slice(&self, n: usize, bytes: &Bytes) -> bool {
        bytes.len() as u64 == self.slice_len(n)
            && self.slices.get(n).is_some_and(|digest| blake3::hash(bytes) == *digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{cache::budget::Budget, edge::validator};

    fn entry(id: &BlobId, body: &[u8], media: &str, level: Level) -> Entry {
        let record = Record {
            length: body.len() as u64,
            total: body.len() as u64,
            media: media::sniff(&[], Some(media)),
            level,
            digest: blake3::hash(body),
            token: Position { epoch: 3, seq: 17 },
            inserted: UNIX_EPOCH + Duration::from_millis(1_795_000_000_123),
        };
        let held = Budget::new(u64::MAX).reserve(1 << 40).unwrap();
        let slices = body.chunks(SLICE).map(Bytes::copy_from_slice).collect();
        Entry::new(record, validator::etag(id), slices, held)
    }

    #[test]
    fn a_record_is_read_back_with_what_it_vouches_for() {
        let attestor = Attestor::new(&[7; 32], None);
        let id = BlobId::from_bytes([1; 32]);
        for length in [0, 1, SLICE, SLICE + 1, 2 * SLICE + 5] {
            let body: Vec<u8> = (0..251).cycle().take(length).collect();
            let entry = entry(&id, &body, "text/html; charset=utf-8", Level::Full);
            let attested = attestor.open(&id, &attestor.seal(&id, &entry).unwrap()).unwrap();
            let expected = Record { level: Level::Attested, ..entry.record().clone() };
            assert_eq!(attested.record, expected, "what another checked is attested here");
            assert_eq!(attested.slices.len(), entry.slices().len());
            for (n, slice) in entry.slices().iter().enumerate() {
                assert!(attested.is_slice(n, slice));
                assert!(!attested.is_slice(n, &slice.slice(1..)));
                assert!(!attested.is_slice(n + 1, slice));
            }
        }
    }

    #[test]
    fn unchecked_bytes_stay_unchecked() {
        let (attestor, id) = (Attestor::new(&[7; 32], None), BlobId::from_bytes([1; 32]));
        let sealed = attestor.seal(&id, &entry(&id, b"x", "text/plain", Level::Origin)).unwrap();
        assert_eq!(attestor.open(&id, &sealed).unwrap().record.level, Level::Origin);
    }

    #[test]
    fn the_record_of_another_blob_or_another_cluster_is_forged() {
        let (id, other) = (BlobId::from_bytes([1; 32]), BlobId::from_bytes([2; 32]));
        let attestor = Attestor::new(&[7; 32], None);
        let sealed = attestor.seal(&id, &entry(&id, b"bytes", "text/plain", Level::Full)).unwrap();
        assert_eq!(attestor.open(&other, &sealed), Err(InvalidRecord::Forged));
        assert_eq!(Attestor::new(&[8; 32], None).open(&id, &sealed), Err(InvalidRecord::Forged));
    }

    #[test]
    fn while_keys_are_changed_both_are_believed_and_one_is_used() {
        let (id, old, new) = (BlobId::from_bytes([1; 32]), [7; 32], [8; 32]);
        let sealed =
            |by: &Attestor| by.seal(&id, &entry(&id, b"bytes", "text/plain", Level::Full)).unwrap();
        let (accepts, uses) = (Attestor::new(&old, Some(&new)), Attestor::new(&new, Some(&old)));
        for (reader, writer) in [(&accepts, &uses), (&uses, &accepts)] {
            assert!(reader.open(&id, &sealed(reader)).is_ok());
            assert!(reader.open(&id, &sealed(writer)).is_ok());
        }
        let only_new = Attestor::new(&new, None);
        assert!(only_new.open(&id, &sealed(&uses)).is_ok());
        assert_eq!(only_new.open(&id, &sealed(&accepts)), Err(InvalidRecord::Forged));
    }

    proptest! {
        #[test]
        fn one_changed_bit_is_found(bit in 8usize..(8 * 137)) {
            let (attestor, id) = (Attestor::new(&[7; 32], None), BlobId::from_bytes([1; 32]));
            let mut sealed = attestor.seal(&id, &entry(&id, b"bytes", "text/plain", Level::Full)).unwrap();
            let bit = bit % (8 * sealed.len());
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(attestor.open(&id, &sealed).is_err());
        }

        #[test]
        fn no_value_makes_the_reader_panic(value in prop::collection::vec(any::<u8>(), 0..400)) {
            let (attestor, id) = (Attestor::new(&[7; 32], None), BlobId::from_bytes([1; 32]));
            prop_assert!(attestor.open(&id, &value).is_err());
            let mut versioned = value;
            versioned.insert(0, VERSION);
            prop_assert!(attestor.open(&id, &versioned).is_err());
            let _parsed = parse(&versioned[1..]).is_some();
        }
    }

    #[test]
    fn bytes_that_changed_in_memory_are_not_vouched_for() {
        let (attestor, id) = (Attestor::new(&[7; 32], None), BlobId::from_bytes([1; 32]));
        let sound = entry(&id, b"as admitted", "text/plain", Level::Full);
        let record = Record { digest: blake3::hash(b"something else"), ..sound.record().clone() };
        let held = Budget::new(u64::MAX).reserve(1 << 40).unwrap();
        let rotten = Entry::new(record, validator::etag(&id), sound.slices().to_vec(), held);
        assert!(attestor.seal(&id, &rotten).is_none());
    }

    #[test]
    fn all_keys_of_a_blob_share_a_slot() {
        let id = BlobId::from_bytes([9; 32]);
        let tag =
            |key: String| key.split_once('{').unwrap().1.split_once('}').unwrap().0.to_owned();
        let place = Place { generation: 7, id };
        assert_eq!(tag(place.record()), tag(place.slice(63)));
    }
}
