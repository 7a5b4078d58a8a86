//! The audit log as a chain: each entry's hash covers the one before, so that none can be changed,
//! removed or moved unnoticed.
//!
//! ```text
//! hash = BLAKE3("wcdn audit 1\n" | hash of the entry before (32) | seq | at_ms | count
//!              | class | action | outcome | key_id | key_name | address | request_id | target | detail)
//! head = "wcdn audit head 1\n" | seq | at_ms | hash (32), signed by the control plane (Ed25519)
//! ```
//!
//! Numbers are little-endian, of 64 bits; each text stands behind its length. Before the first entry the
//! hash is all zero. As text the log is an object a line, the oldest entry first, and the signed head at the
//! end: without it, entries missing at the end would not show. Whoever holds the signing key and the store
//! can write another history; a head that was kept elsewhere shows that, too.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;

const CONTEXT: &[u8] = b"wcdn audit 1\n";
const HEAD_CONTEXT: &[u8] = b"wcdn audit head 1\n";

/// A hash of the chain: 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditHash(pub [u8; 32]);

/// One entry, as a line of text has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditEntry {
    /// From 1, without gaps.
    pub seq: u64,
    /// Unix time in milliseconds.
    pub at_ms: u64,
    /// "authentication", "operation" or "system".
    pub class: String,
    /// What, such as "purge" or "key.rotate".
    pub action: String,
    /// "done", "refused" or "failed".
    pub outcome: String,
    /// The id of the API key; empty if there was none.
    pub key_id: String,
    /// Its name, or the part of the program.
    pub key_name: String,
    /// From where; empty if it was the program.
    pub address: String,
    /// By which the request is found in other logs.
    pub request_id: String,
    /// What it was done to.
    pub target: String,
    /// How many such things the entry stands for.
    pub count: u64,
    /// More: an object.
    pub detail: Box<RawValue>,
    /// The hash of the entry before.
    pub previous: AuditHash,
    /// Of all this.
    pub hash: AuditHash,
}

/// How far a chain reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditHead {
    /// The last entry.
    pub seq: u64,
    /// When this was signed: Unix time in milliseconds.
    pub at_ms: u64,
    /// Of the last entry.
    pub hash: AuditHash,
    /// The public key of whoever signed: 64 hexadecimal digits.
    pub issuer: String,
    /// Ed25519 over [`AuditHead::message`]: 128 hexadecimal digits.
    pub signature: String,
}

/// A line of an exported log.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AuditLine {
    /// The last one.
    Head {
        /// How far the chain reaches.
        head: AuditHead,
    },
    /// An entry.
    Entry(AuditEntry),
}

/// A chain that is being followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditChain {
    /// The first entry that was seen.
    first: Option<u64>,
    /// The last entry, and its hash.
    last: Option<(u64, AuditHash)>,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// The text of an entry is another one than its hash says.
    #[error("entry {seq} was changed: its hash does not fit what it says")]
    Changed {
        /// Which.
        seq: u64,
    },
    /// Entries are missing, or in another order.
    #[error("entry {seq} follows entry {after}: entries were removed or moved")]
    Gap {
        /// The one before.
        after: u64,
        /// The one that should be the next one.
        seq: u64,
    },
    /// Numbers follow each other, but hashes do not.
    #[error("entry {seq} does not follow the entry before it: one of them was replaced")]
    Replaced {
        /// Which.
        seq: u64,
    },
    /// It does not begin where it should.
    #[error("the log begins with entry {seq}, not with entry {expected}: entries were removed")]
    Begins {
        /// The first entry there is.
        seq: u64,
        /// The one that should be.
        expected: u64,
    },
    /// It ends before or beside its head.
    #[error("the head is entry {head}, but the log ends with entry {last}: entries were removed")]
    Ends {
        /// The last entry there is; 0 for none.
        last: u64,
        /// The one that was signed for.
        head: u64,
    },
    /// The head is of another history.
    #[error("the head's hash is another one than that of entry {seq}: one of them was replaced")]
    Head {
        /// The last entry.
        seq: u64,
    },
}

impl AuditEntry {
    /// What its hash should be.
    pub fn digest(&self) -> AuditHash {
        let mut hash = blake3::Hasher::new();
        hash.update(CONTEXT).update(&self.previous.0);
        for number in [self.seq, self.at_ms, self.count] {
            hash.update(&number.to_le_bytes());
        }
        for text in [
            &*self.class,
            &self.action,
            &self.outcome,
            &self.key_id,
            &self.key_name,
            &self.address,
            &self.request_id,
            &self.target,
            self.detail.get(),
        ] {
            hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        AuditHash(*hash.finalize().as_bytes())
    }
}

impl AuditLine {
    /// Reads a line.
    ///
    /// # Errors
    /// What it is not, in the words of JSON.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Head {
            head: AuditHead,
        }
        match line.trim_start().starts_with("{\"head\"") {
            true => serde_json::from_str(line).map(|Head { head }| Self::Head { head }),
            false => serde_json::from_str(line).map(Self::Entry),
        }
    }
}

impl AuditHead {
    /// What is signed for it.
    pub fn message(seq: u64, at_ms: u64, hash: &AuditHash) -> Vec<u8> {
        [HEAD_CONTEXT, &seq.to_le_bytes(), &at_ms.to_le_bytes(), &hash.0].concat()
    }
}

impl AuditChain {
    /// One that goes on after this entry, which was seen elsewhere.
    pub fn after(seq: u64, hash: AuditHash) -> Self {
        Self { first: None, last: Some((seq, hash)) }
    }

    /// The first entry that was seen.
    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// The last entry; 0 before any.
    pub fn last(&self) -> u64 {
        self.last.map_or(0, |(seq, _)| seq)
    }

    /// Goes on to the next entry. The first one is taken as it is, unless it is entry 1: what came before
    /// may have been forgotten as it should.
    ///
    /// # Errors
    /// [`BrokenChain`].
    pub fn follow(&mut self, entry: &AuditEntry) -> Result<(), BrokenChain> {
        let seq = entry.seq;
        if entry.digest() != entry.hash {
            return Err(BrokenChain::Changed { seq });
        }
        match self.last {
            Some((after, _)) if seq != after.saturating_add(1) && self.first.is_none() => {
                return Err(BrokenChain::Begins { seq, expected: after.saturating_add(1) });
            }
            Some((after, _)) if seq != after.saturating_add(1) => {
                return Err(BrokenChain::Gap { after, seq });
            }
            Some((_, hash)) if hash != entry.previous => return Err(BrokenChain::Replaced { seq }),
            None if seq == 0 || (seq == 1 && entry.previous != AuditHash::default()) => {
                return Err(BrokenChain::Replaced { seq });
            }
            Some(_) | None => {}
        }
        self.first.get_or_insert(seq);
        self.last = Some((seq, entry.hash));
        Ok(())
    }

    /// Whether it ends where the head says.
    ///
    /// # Errors
    /// [`BrokenChain`].
    pub fn reaches(&self, head: &AuditHead) -> Result<(), BrokenChain> {
        match self.last {
            None if head.seq == 0 => Ok(()),
            Some((seq, hash)) if seq == head.seq => {
                if hash == head.hash {
                    Ok(())
                } else {
                    Err(BrokenChain::Head { seq })
                }
            }
            last => {
                let last = last.map_or(0, |(seq, _)| seq);
                Err(BrokenChain::Ends { last, head: head.seq })
            }
        }
    }
}

impl fmt::Display for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuditHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditHash({self})")
    }
}

/// A text that is no [`AuditHash`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 hexadecimal digits")]
pub struct InvalidAuditHash;

impl std::str::FromStr for AuditHash {
    type Err = InvalidAuditHash;

    fn from_str(text: &str) -> Result<Self, InvalidAuditHash> {
        let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(InvalidAuditHash);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(InvalidAuditHash);
            };
            *byte = u8::try_from(high << 4 | low).map_err(|_| InvalidAuditHash)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for AuditHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AuditHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
