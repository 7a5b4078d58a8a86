//! Frames: consecutive events of the log, signed by the control plane.
//!
//! A frame is an encoded `wcdn.event.v1.Frame` of at most [`MAX_FRAME`] bytes. It is made once, when
//! its events are committed, and stored, sent and passed on byte for byte; whoever holds it can
//! check it against the control plane's public keys. Edges hold no signing key: one that is stolen
//! can withhold frames, not forge them.

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use bytes::Bytes;
use prost::Message as _;
use wcdn_proto::{Change, Events, InvalidEvents, Position, Purge, pb::event::v1 as event};

/// The most bytes of a frame: with the seal and its envelope it fits a datagram of 1,200.
pub const MAX_FRAME: usize = 1_100;

/// The most ids of one event; a change of more becomes several events.
pub const MAX_IDS: usize = 24;

/// What is signed in front of a body, so that a signature means nothing elsewhere.
const FRAME_CONTEXT: &[u8] = b"wcdn frame 1\n";
const LEASE_CONTEXT: &[u8] = b"wcdn lease 1\n";

/// Bytes of a frame beyond its events: the signature (64), the key's hint (4), epoch, seq and time
/// (30 at most), and the tags and lengths around them.
const FRAME_OVERHEAD: usize = 128;

/// The control plane's secret: 32 bytes from which its key pair follows.
pub struct SigningKey(Ed25519KeyPair);

/// A public key of the control plane: 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IssuerKey([u8; 32]);

/// The public keys that an edge believes.
#[derive(Debug, Clone)]
pub struct IssuerKeys(Vec<IssuerKey>);

/// A frame whose signature was checked, or made here.
#[derive(Debug, Clone)]
pub struct Frame {
    encoded: Bytes,
    events: Events,
}

/// Why bytes are no frame that may be believed.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFrame {
    /// They are no frame at all.
    #[error("not a frame")]
    Encoding(#[from] prost::DecodeError),
    /// They are more than a frame may have.
    #[error("a frame has at most {MAX_FRAME} bytes, not {length}")]
    Length {
        /// Bytes given.
        length: usize,
    },
    /// No key that is believed made the signature.
    #[error("the signature is of no known control plane")]
    Signature,
    /// The events make no sense.
    #[error(transparent)]
    Events(#[from] InvalidEvents),
}

/// Text that is no public key.
#[derive(Debug, thiserror::Error)]
#[error("a public key is 64 hexadecimal digits")]
pub struct InvalidKey;

impl SigningKey {
    /// The key pair that follows from 32 secret bytes.
    ///
    /// # Panics
    /// Never: any 32 bytes make one.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("32 bytes make an Ed25519 key"))
    }

    /// The public half.
    ///
    /// # Panics
    /// Never: an Ed25519 public key has 32 bytes.
    pub fn public(&self) -> IssuerKey {
        let bytes = self.0.public_key().as_ref().try_into();
        IssuerKey(bytes.expect("an Ed25519 public key has 32 bytes"))
    }

    /// Signs the head of the log for whoever asked under `nonce`.
    pub fn sign_lease(&self, nonce: u64, head: Position) -> Vec<u8> {
        self.0.sign(&lease(nonce, head)).as_ref().to_vec()
    }

    /// Signs how far the audit log reaches: the message of an `AuditHead`, which begins as no frame and no
    /// lease does.
    pub fn sign_audit_head(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }

    fn sign(&self, body: &[u8]) -> Bytes {
        Bytes::copy_from_slice(self.0.sign(&[FRAME_CONTEXT, body].concat()).as_ref())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl IssuerKey {
    /// The first bytes, by which a frame says who signed it.
    pub fn hint(&self) -> [u8; 4] {
        [self.0[0], self.0[1], self.0[2], self.0[3]]
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for IssuerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for IssuerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuerKey({self})")
    }
}

impl FromStr for IssuerKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(InvalidKey);
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            for &digit in pair {
                let value = char::from(digit).to_digit(16).ok_or(InvalidKey)?;
                *byte = *byte << 4 | u8::try_from(value).map_err(|_| InvalidKey)?;
            }
        }
        Ok(Self(key))
    }
}

impl IssuerKeys {
    /// These keys; during a change of keys there are two.
    pub fn new(keys: Vec<IssuerKey>) -> Self {
        Self(keys)
    }

    /// Whether the head of the log was signed for `nonce` by one of them.
    pub fn verify_lease(&self, nonce: u64, head: Position, hint: &[u8], signature: &[u8]) -> bool {
        self.verify(&lease(nonce, head), hint, signature)
    }

    fn verify(&self, message: &[u8], hint: &[u8], signature: &[u8]) -> bool {
        let mut hinted = self.0.iter().filter(|key| key.hint() == hint);
        hinted.any(|key| key.verifies(message, signature))
    }
}

impl Frame {
    /// Puts committed changes into frames, in order, as many into each as fit; the first change is
    /// at `first`.
    ///
    /// # Panics
    /// If a change names more than [`MAX_IDS`] ids: [`split`] it before it gets its number.
    pub fn pack(
        key: &SigningKey,
        first: Position,
        committed_at_ms: u64,
        changes: Vec<Change>,
    ) -> Vec<Self> {
        let mut frames = Vec::new();
        let mut room = 0;
        let mut parts: Vec<Vec<Change>> = Vec::new();
        for change in changes {
            // A tag, a length of at most two bytes, and the event.
            let size = 3 + change.to_wire().encoded_len();
            assert!(size <= MAX_FRAME - FRAME_OVERHEAD, "a change fits a frame");
            if size > room {
                parts.push(Vec::new());
                room = MAX_FRAME - FRAME_OVERHEAD;
            }
            room -= size;
            parts.last_mut().expect("one was pushed").push(change);
        }
        let mut next = first;
        for changes in parts {
            let events = Events { first: next, committed_at_ms, changes };
            next.seq = events.last().seq + 1;
            frames.push(Self::sign(key, events));
        }
        frames
    }

    fn sign(key: &SigningKey, events: Events) -> Self {
        let body = Bytes::from(events.encode());
        let signature = key.sign(&body);
        let key_hint = Bytes::copy_from_slice(&key.public().hint());
        let encoded = event::Frame { body, signature, key_hint }.encode_to_vec().into();
        Self { encoded, events }
    }

    /// The places of the first and the last event that a frame claims to hold, which nobody has
    /// checked: enough to know that it is not needed.
    ///
    /// # Errors
    /// [`InvalidFrame`]
    pub fn peek(encoded: &Bytes) -> Result<(Position, Position), InvalidFrame> {
        if encoded.len() > MAX_FRAME {
            return Err(InvalidFrame::Length { length: encoded.len() });
        }
        let events = Events::decode(&event::Frame::decode(encoded.clone())?.body)?;
        Ok((events.first, events.last()))
    }

    /// Reads a frame and checks who signed it.
    ///
    /// # Errors
    /// [`InvalidFrame`]; the signature is checked before the events are looked at.
    pub fn open(encoded: Bytes, keys: &IssuerKeys) -> Result<Self, InvalidFrame> {
        if encoded.len() > MAX_FRAME {
            return Err(InvalidFrame::Length { length: encoded.len() });
        }
        let frame = event::Frame::decode(encoded.clone())?;
        let message = [FRAME_CONTEXT, &frame.body].concat();
        if !keys.verify(&message, &frame.key_hint, &frame.signature) {
            return Err(InvalidFrame::Signature);
        }
        Ok(Self { encoded, events: Events::decode(&frame.body)? })
    }

    /// Reads a frame that lay where only control planes write, so that its signature needs no check here.
    ///
    /// # Errors
    /// [`InvalidFrame`], if it was damaged.
    pub fn stored(encoded: Bytes) -> Result<Self, InvalidFrame> {
        let events = Events::decode(&event::Frame::decode(encoded.clone())?.body)?;
        Ok(Self { encoded, events })
    }

    /// The bytes that are stored and sent.
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// What is in it.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The place of its first event.
    pub fn first(&self) -> Position {
        self.events.first
    }

    /// The place of its last event.
    pub fn last(&self) -> Position {
        self.events.last()
    }
}

/// A change as changes that each fit a frame: of many ids, several of some.
pub fn split(change: Change) -> Vec<Change> {
    match change {
        Change::Purge(Purge::Ids(ids)) => {
            ids.chunks(MAX_IDS).map(|ids| Change::Purge(Purge::Ids(ids.to_vec()))).collect()
        }
        Change::Block(ids) => ids.chunks(MAX_IDS).map(|ids| Change::Block(ids.to_vec())).collect(),
        Change::Unblock(ids) => {
            ids.chunks(MAX_IDS).map(|ids| Change::Unblock(ids.to_vec())).collect()
        }
        Change::Pin(ids) => ids.chunks(MAX_IDS).map(|ids| Change::Pin(ids.to_vec())).collect(),
        Change::Unpin(ids) => ids.chunks(MAX_IDS).map(|ids| Change::Unpin(ids.to_vec())).collect(),
        whole => vec![whole],
    }
}

fn lease(nonce: u64, head: Position) -> Vec<u8> {
    let numbers = [nonce, head.epoch, head.seq].map(u64::to_be_bytes);
    [LEASE_CONTEXT, numbers.as_flattened()].concat()
}

#[cfg(test)]
mod tests;
