//! What one node vouches for to another: that these bytes are that blob.
//!
//! ```text
//! version u8 = 1 | level u8 | length u64 | epoch u64 | seq u64 | BLAKE3 of the body | tag
//! tag = BLAKE3 keyed with the cluster's key over the id and all of the above
//! ```
//!
//! Integers are little-endian, digest and tag 32 bytes. It says nothing of how it came here, so it may
//! be repeated at will: it stays as true as it was. What it no longer holds for is told by its token.

use wcdn_proto::{BlobId, Position};

use crate::cache::entry::{Level, Record};

const VERSION: u8 = 1;

/// Bytes of a digest, and of the tag.
const DIGEST: usize = 32;

/// Bytes of an attestation.
pub const LENGTH: usize = 2 + 3 * 8 + 2 * DIGEST;

/// What is vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attestation {
    /// How far the bytes were checked; here it is at most `attested`.
    pub level: Level,
    /// Bytes of the blob.
    pub length: u64,
    /// The position that was known when they were fetched from an origin.
    pub token: Position,
    /// BLAKE3 of the blob.
    pub digest: blake3::Hash,
}

/// Makes and checks attestations by the keys of a cluster.
pub struct Voucher {
    /// What is vouched with.
    current: [u8; DIGEST],
    /// Whose word is believed: the current key's, and that of another while keys change.
    believed: Vec<[u8; DIGEST]>,
}

/// Why bytes are no attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAttestation {
    /// They are of another length or version.
    #[error("these are no attestation")]
    Malformed,
    /// The tag is not that of a key of this cluster.
    #[error("the attestation was not made with this cluster's key")]
    Forged,
}

impl std::fmt::Debug for Voucher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Voucher(…)")
    }
}

impl Attestation {
    /// What can be said of an entry.
    pub fn of(record: &Record) -> Self {
        let Record { level, length, token, digest, .. } = *record;
        Self { level, length, token, digest }
    }
}

impl Voucher {
    /// Vouches by the first of these keys of the cluster, and believes what was vouched for by any.
    pub fn new(current: &[u8; DIGEST], also: Option<&[u8; DIGEST]>) -> Self {
        let derive =
            |key: &[u8; DIGEST]| blake3::derive_key("wcdn 2026-11 attestation between nodes", key);
        let current = derive(current);
        Self { current, believed: std::iter::once(current).chain(also.map(derive)).collect() }
    }

    /// An attestation as bytes.
    pub fn seal(&self, id: &BlobId, attestation: &Attestation) -> [u8; LENGTH] {
        let Attestation { level, length, token, digest } = attestation;
        let mut text = Vec::with_capacity(LENGTH);
        text.extend([VERSION, *level as u8]);
        for number in [*length, token.epoch, token.seq] {
            text.extend_from_slice(&number.to_le_bytes());
        }
        text.extend_from_slice(digest.as_bytes());
        let tag = tag(&self.current, id, &text);
        text.extend_from_slice(tag.as_bytes());
        text.try_into().expect("its parts have this length")
    }

    /// Reads one back.
    ///
    /// # Errors
    /// [`InvalidAttestation`].
    pub fn open(&self, id: &BlobId, bytes: &[u8]) -> Result<Attestation, InvalidAttestation> {
        let (text, given) = bytes
            .split_last_chunk::<DIGEST>()
            .filter(|_| bytes.len() == LENGTH && bytes[0] == VERSION)
            .ok_or(InvalidAttestation::Malformed)?;
        // Compared in constant time, and before anything is read from what it vouches for.
        let given = blake3::Hash::from_bytes(*given);
        if !self.believed.iter().any(|key| tag(key, id, text) == given) {
            return Err(InvalidAttestation::Forged);
        }
        parse(&text[1..]).ok_or(InvalidAttestation::Malformed)
    }
}

fn tag(key: &[u8; DIGEST], id: &BlobId, text: &[u8]) -> blake3::Hash {
    blake3::Hasher::new_keyed(key).update(id.as_bytes()).update(text).finalize()
}

/// What stands between version and tag.
fn parse(mut text: &[u8]) -> Option<Attestation> {
    let level = match *text.split_off_first()? {
        0 => Level::Origin,
        1 | 2 => Level::Attested,
        _ => return None,
    };
    let mut number = || text.split_off(..8)?.try_into().ok().map(u64::from_le_bytes);
    let (length, epoch, seq) = (number()?, number()?, number()?);
    let digest = blake3::Hash::from_bytes(text.try_into().ok()?);
    Some(Attestation { level, length, token: Position { epoch, seq }, digest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attestation(level: Level) -> Attestation {
        let token = Position { epoch: 3, seq: 17 };
        Attestation { level, length: 5, token, digest: blake3::hash(b"bytes") }
    }

    const ID: BlobId = BlobId::from_bytes([1; 32]);

    #[test]
    fn what_another_checked_is_attested_here_and_what_nobody_did_stays_unchecked() {
        let voucher = Voucher::new(&[7; 32], None);
        for (said, heard) in [
            (Level::Full, Level::Attested),
            (Level::Attested, Level::Attested),
            (Level::Origin, Level::Origin),
        ] {
            let sealed = voucher.seal(&ID, &attestation(said));
            assert_eq!(voucher.open(&ID, &sealed), Ok(attestation(heard)));
        }
    }

    #[test]
    fn another_blob_or_cluster_is_forged_and_a_key_that_is_changed_is_believed() {
        let sealed = Voucher::new(&[7; 32], None).seal(&ID, &attestation(Level::Full));
        let forged = Err(InvalidAttestation::Forged);
        let other = BlobId::from_bytes([2; 32]);
        assert_eq!(Voucher::new(&[7; 32], None).open(&other, &sealed), forged);
        assert_eq!(Voucher::new(&[8; 32], None).open(&ID, &sealed), forged);
        assert!(Voucher::new(&[8; 32], Some(&[7; 32])).open(&ID, &sealed).is_ok());
    }

    proptest! {
        #[test]
        fn one_changed_bit_is_found(bit in 0usize..8 * LENGTH) {
            let voucher = Voucher::new(&[7; 32], None);
            let mut sealed = voucher.seal(&ID, &attestation(Level::Full));
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(voucher.open(&ID, &sealed).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let voucher = Voucher::new(&[7; 32], None);
            prop_assert!(voucher.open(&ID, &bytes).is_err());
            bytes.resize(LENGTH, 0);
            bytes[0] = VERSION;
            prop_assert!(voucher.open(&ID, &bytes).is_err());
            let _parsed = parse(&bytes[1..LENGTH - DIGEST]).is_some();
        }
    }
}
