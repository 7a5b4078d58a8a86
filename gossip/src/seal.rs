//! Sealed datagrams: only who holds the cluster's key is heard at all.
//!
//! ```text
//!  byte  0        version, 1
//!        1 ..5    which cluster key: the first bytes of a digest of it
//!        5 ..21   the sender's boot id: random, of this start of the program
//!        21..29   counter of the sender, big-endian, from 0
//!        29..     AES-256-GCM of one plane byte and the payload, then its 16-byte tag
//! ```
//!
//! Each start of a program seals under a key of its own, HKDF-SHA256 of the cluster's key and the
//! boot id, so that a counter never repeats under a key. The header and the cluster's name are
//! authenticated with the payload. A datagram is at most [`MAX_DATAGRAM`] bytes, so that no path
//! has to fragment it.
//!
//! What does not open is dropped before any parser sees it, the cheapest checks first: length,
//! version and key id cost nothing; a sender that was heard before costs one AEAD, another one HKDF
//! more. Only a datagram that opened puts its sender into the table.
//!
//! Each sender's last 1,024 counters are remembered, and a datagram is taken once. Whoever recorded
//! datagrams can play them to a node that has started since, or to one that has heard 4,096 newer
//! senders: what is inside must not do harm when it comes late or twice. Frames and positions only
//! ever grow, leases answer a nonce, and chitchat's values have versions.
//!
//! During a change of keys a node seals with one and opens with two: first every node is told to
//! accept the new key, then to use it, then to forget the old one.

mod window;

use std::{
    collections::HashMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest, hkdf,
};
use rand::RngExt as _;

use self::window::Window;
use crate::metrics::Plane;

/// The most bytes of a datagram. 1,280 is what IPv6 promises of every path, 48 of them are headers;
/// the rest is left to tunnels.
pub const MAX_DATAGRAM: usize = 1_200;

/// The most bytes that one datagram carries.
pub const MAX_PAYLOAD: usize = MAX_DATAGRAM - OVERHEAD;

const VERSION: u8 = 1;
const HEADER: usize = 29;
const TAG: usize = 16;
const OVERHEAD: usize = HEADER + 1 + TAG;

/// Senders whose counters are remembered.
const MAX_SENDERS: usize = 4_096;

/// Under which the keys of senders follow from the cluster's.
const SENDER_CONTEXT: &[u8] = b"wcdn gossip seal 1";
const KEY_ID_CONTEXT: &[u8] = b"wcdn gossip key id 1\n";

/// Of one start of a program: random.
pub(crate) type BootId = [u8; 16];

/// A secret that every member of a cluster holds.
#[derive(Clone)]
pub struct ClusterKey([u8; 32]);

/// The keys of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterKeys {
    /// Seals, and opens.
    pub current: ClusterKey,
    /// Opens as well, during a change of keys: the one to come, then the one before.
    pub also: Option<ClusterKey>,
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// It is too short or too long to be one.
    Length,
    /// It is of a version that this program does not speak.
    Version,
    /// It is sealed with no key that is accepted here.
    Key,
    /// It was changed, or is of another cluster.
    Forged,
    /// It came before, or so late that nobody knows.
    Replayed,
    /// It carries something that this program does not know.
    Plane,
    /// It opened, and is no message.
    Malformed,
    /// It opened, and there was no room for it.
    Overflow,
}

/// Seals what this start of the program sends.
pub(crate) struct Sealer {
    key: LessSafeKey,
    prefix: [u8; 21],
    cluster: Box<[u8]>,
    counter: AtomicU64,
}

/// Opens what others send.
pub(crate) struct Opener {
    keys: Vec<AcceptedKey>,
    cluster: Box<[u8]>,
    senders: HashMap<(BootId, [u8; 4]), Sender>,
    /// Datagrams opened: the clock of who was heard last.
    opened: u64,
}

/// What a sealed datagram carried.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    /// Who sealed it.
    pub(crate) sender: BootId,
    /// Whom it is for.
    pub(crate) plane: Plane,
    /// What it carried.
    pub(crate) payload: &'a [u8],
}

struct AcceptedKey {
    id: [u8; 4],
    root: hkdf::Prk,
}

struct Sender {
    key: LessSafeKey,
    window: Window,
    heard: u64,
}

impl ClusterKey {
    /// The key of these secret bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    fn id(&self) -> [u8; 4] {
        let digest = digest::digest(&digest::SHA256, &[KEY_ID_CONTEXT, &self.0].concat());
        let bytes = digest.as_ref();
        [bytes[0], bytes[1], bytes[2], bytes[3]]
    }

    fn root(&self) -> hkdf::Prk {
        hkdf::Salt::new(hkdf::HKDF_SHA256, SENDER_CONTEXT).extract(&self.0)
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

impl Rejection {
    /// As a label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Version => "version",
            Self::Key => "key",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Plane => "plane",
            Self::Malformed => "malformed",
            Self::Overflow => "overflow",
        }
    }
}

impl Sealer {
    /// For one start of a program in `cluster`.
    pub(crate) fn new(key: &ClusterKey, cluster: &str) -> Self {
        let boot: BootId = rand::rng().random();
        let mut prefix = [VERSION; 21];
        prefix[1..5].copy_from_slice(&key.id());
        prefix[5..].copy_from_slice(&boot);
        let key = sender_key(&key.root(), &boot);
        Self { key, prefix, cluster: cluster.as_bytes().into(), counter: AtomicU64::new(0) }
    }

    /// The datagram that carries `payload`.
    ///
    /// # Panics
    /// If the payload is longer than [`MAX_PAYLOAD`].
    pub(crate) fn seal(&self, plane: Plane, payload: &[u8]) -> Vec<u8> {
        assert!(payload.len() <= MAX_PAYLOAD, "a payload fits a datagram");
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut datagram = Vec::with_capacity(OVERHEAD + payload.len());
        datagram.extend_from_slice(&self.prefix);
        datagram.extend_from_slice(&counter.to_be_bytes());
        let aad = Aad::from([&datagram[..], &self.cluster].concat());
        datagram.push(plane_byte(plane));
        datagram.extend_from_slice(payload);
        let sealed =
            self.key.seal_in_place_separate_tag(nonce(counter), aad, &mut datagram[HEADER..]);
        datagram
            .extend_from_slice(sealed.expect("a datagram is within the cipher's limits").as_ref());
        datagram
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Opener {
    /// For a member of `cluster`.
    pub(crate) fn new(keys: &ClusterKeys, cluster: &str) -> Self {
        let accepted = |key: &ClusterKey| AcceptedKey { id: key.id(), root: key.root() };
        Self {
            keys: std::iter::once(&keys.current).chain(&keys.also).map(accepted).collect(),
            cluster: cluster.as_bytes().into(),
            senders: HashMap::new(),
            opened: 0,
        }
    }

    /// What `datagram` carries; it is decrypted where it lies.
    ///
    /// # Errors
    /// [`Rejection`], and nothing was changed.
    pub(crate) fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Opened<'a>, Rejection> {
        if !(OVERHEAD..=MAX_DATAGRAM).contains(&datagram.len()) {
            return Err(Rejection::Length);
        }
        let (header, sealed) = datagram.split_at_mut(HEADER);
        let header = &*header;
        if header[0] != VERSION {
            return Err(Rejection::Version);
        }
        let id: [u8; 4] = header[1..5].try_into().expect("it has four bytes");
        let boot: BootId = header[5..21].try_into().expect("it has sixteen bytes");
        let counter = u64::from_be_bytes(header[21..].try_into().expect("it has eight bytes"));
        if !self.keys.iter().any(|key| key.id == id) {
            return Err(Rejection::Key);
        }
        let aad = [header, &self.cluster].concat();
        self.admit(id, boot, counter, &aad, sealed)?;

        let (plane, payload) = sealed.split_first().expect("a plane byte was sealed");
        let payload = &payload[..payload.len() - TAG];
        let plane = plane_of(*plane).ok_or(Rejection::Plane)?;
        Ok(Opened { sender: boot, plane, payload })
    }

    /// Decrypts, and only then notes that the sender used this counter.
    fn admit(
        &mut self,
        id: [u8; 4],
        boot: BootId,
        counter: u64,
        aad: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), Rejection> {
        if let Some(sender) = self.senders.get_mut(&(boot, id)) {
            if sender.window.has(counter) {
                return Err(Rejection::Replayed);
            }
            decrypt(&sender.key, counter, aad, sealed)?;
            self.opened += 1;
            sender.heard = self.opened;
            sender.window.note(counter);
            return Ok(());
        }
        let accepted = self.keys.iter().find(|key| key.id == id).ok_or(Rejection::Key)?;
        let key = sender_key(&accepted.root, &boot);
        decrypt(&key, counter, aad, sealed)?;
        self.make_room();
        self.opened += 1;
        let sender = Sender { key, window: Window::beginning_with(counter), heard: self.opened };
        self.senders.insert((boot, id), sender);
        Ok(())
    }

    /// Forgets who was heard least recently. It looks at all, once per new sender of a full table.
    fn make_room(&mut self) {
        if self.senders.len() < MAX_SENDERS {
            return;
        }
        let longest = self.senders.iter().min_by_key(|(_, sender)| sender.heard);
        if let Some(id) = longest.map(|(&id, _)| id) {
            self.senders.remove(&id);
        }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({} senders)", self.senders.len())
    }
}

fn decrypt(
    key: &LessSafeKey,
    counter: u64,
    aad: &[u8],
    sealed: &mut [u8],
) -> Result<(), Rejection> {
    let opened = key.open_in_place(nonce(counter), Aad::from(aad), sealed);
    opened.map(|_| ()).map_err(|_| Rejection::Forged)
}

fn sender_key(root: &hkdf::Prk, boot: &BootId) -> LessSafeKey {
    let info = [&boot[..]];
    let expanded = root.expand(&info, &AES_256_GCM).expect("a key is shorter than HKDF's limit");
    LessSafeKey::new(UnboundKey::from(expanded))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn plane_byte(plane: Plane) -> u8 {
    match plane {
        Plane::Membership => 1,
        Plane::Event => 2,
    }
}

fn plane_of(byte: u8) -> Option<Plane> {
    match byte {
        1 => Some(Plane::Membership),
        2 => Some(Plane::Event),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
