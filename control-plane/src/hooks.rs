//! Doors for other systems: what a hook is, and whether what comes through it is from whom it should be.
//!
//! A hook has a token, which is part of its URL, and a secret, by which each call is signed in the manner
//! of Standard Webhooks: `webhook-signature` is `v1,` and the base64 of HMAC-SHA-256 over
//! `{webhook-id}.{webhook-timestamp}.{body}`. A call that is older or younger than five minutes is refused,
//! and one whose id was seen does nothing again: its change is the one that it made then.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use wcdn_proto::{KeyId, Scope, Scopes};

use crate::{
    api_key::{ApiKeyHash, Pepper},
    auth::{Key, Settings},
    base32,
};

/// A hook as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    /// As that of a key.
    pub(crate) id: KeyId,
    /// Unique.
    pub(crate) name: String,
    /// Whether it may purge everything.
    pub(crate) all: bool,
    /// Whether it may purge what is pinned.
    pub(crate) force: bool,
    /// Unix time in milliseconds; 0 for never.
    pub(crate) created_at_ms: u64,
    pub(crate) created_by: String,
    pub(crate) used_at_ms: u64,
}

/// What is at the end of a hook's URL. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

/// What secrets of hooks follow from.
#[derive(Clone)]
pub(crate) struct Root([u8; 32]);

/// What calls of a hook are signed with.
pub(crate) struct Secret([u8; 32]);

/// Digits of a token: 240 bits.
const TOKEN_DIGITS: usize = 48;

/// How far the sender's clock may be off, and how long a call may take, in seconds.
const TOLERANCE: u64 = 5 * 60;

/// Characters of the sender's own id of a call.
const MAX_ID: usize = 100;

/// Signatures that are looked at: more than one while a secret is changed.
const MAX_SIGNATURES: usize = 8;

/// Why a call through a hook is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSigned {
    /// A header is not there.
    #[error("the header {0} is missing, or no text")]
    Missing(&'static str),
    /// It is too long, or has characters that nobody needs.
    #[error("webhook-id must have 1 to {MAX_ID} visible characters")]
    Id,
    /// It is no number.
    #[error("webhook-timestamp must be Unix time in seconds")]
    Timestamp,
    /// It is too far from now.
    #[error("webhook-timestamp is {off} s off; the most is {TOLERANCE}: set the sender's clock")]
    Stale {
        /// Seconds.
        off: u64,
    },
    /// None fits.
    #[error("no signature fits; sign \"{{id}}.{{timestamp}}.{{body}}\" with the hook's secret")]
    Signature,
}

impl Token {
    /// A new one.
    pub(crate) fn generate() -> Self {
        Self(base32::encode(&rand::random::<[u8; 30]>()))
    }

    /// One that came with a call, if it may be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == TOKEN_DIGITS && text.bytes().all(|c| c.is_ascii_alphanumeric());
        is_one.then(|| Self(text.to_owned()))
    }

    /// What is stored of it.
    pub(crate) fn hash(&self, pepper: &Pepper) -> ApiKeyHash {
        pepper.hash(&format!("hook {}", self.0))
    }

    /// For its owner.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Root {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret of a hook.
    pub(crate) fn secret(&self, id: &KeyId) -> Secret {
        Secret(*blake3::keyed_hash(&self.0, id.as_str().as_bytes()).as_bytes())
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root(…)")
    }
}

impl Secret {
    /// For its owner, as Standard Webhooks write it.
    pub(crate) fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// Whether a call is signed with it, and recent. Its id, if so.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub(crate) fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_s: u64,
    ) -> Result<String, NotSigned> {
        let id = header(headers, "webhook-id")?;
        let timestamp = header(headers, "webhook-timestamp")?;
        let signatures = header(headers, "webhook-signature")?;
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(NotSigned::Id);
        }
        let is_number = timestamp.bytes().all(|c| c.is_ascii_digit());
        let at = timestamp.parse::<u64>().ok().filter(|_| is_number).ok_or(NotSigned::Timestamp)?;
        let off = at.abs_diff(now_s);
        if off > TOLERANCE {
            return Err(NotSigned::Stale { off });
        }
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let fits = |text: &str| {
            let tag = text.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
            tag.is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok())
        };
        let mut signatures = signatures.split(' ').take(MAX_SIGNATURES);
        if signatures.any(fits) { Ok(id.to_owned()) } else { Err(NotSigned::Signature) }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, NotSigned> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.ok_or(NotSigned::Missing(name))
}

impl Hook {
    /// What it may do, as a key would.
    pub(crate) fn key(&self) -> Key {
        let mut scopes: Scopes = [Scope::CachePurge].into_iter().collect();
        if self.all {
            scopes = [Scope::CachePurge, Scope::CachePurgeAll].into_iter().collect();
        }
        Key {
            id: self.id.clone(),
            name: format!("hook:{}", self.name),
            settings: Settings { scopes, ..Settings::unrestricted() },
            created_at_ms: self.created_at_ms,
            created_by: self.created_by.clone(),
            rotated_at_ms: 0,
            previous_until_ms: 0,
            revoked_at_ms: 0,
            used_at_ms: self.used_at_ms,
            used_from: String::new(),
            revision: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn secret() -> Secret {
        Root::new([7; 32]).secret(&"0123456789".parse().unwrap())
    }

    fn signed(secret: &Secret, id: &str, at: &str, body: &[u8]) -> HeaderMap {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
        let tag = hmac::sign(&key, &[id.as_bytes(), b".", at.as_bytes(), b".", body].concat());
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", at.parse().unwrap());
        let signature = format!("v0,x v1,{}", STANDARD.encode(tag));
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn the_example_of_standard_webhooks_is_verified() {
        // https://github.com/standard-webhooks/standard-webhooks: secret, message and signature.
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let message = b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        let tag = STANDARD.decode("g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=").unwrap();
        assert!(hmac::verify(&key, message, &tag).is_ok());
    }

    #[test]
    fn a_call_is_believed_that_is_signed_and_recent() {
        let secret = secret();
        let verify = |headers: &HeaderMap, body: &[u8]| secret.verify(headers, body, NOW);
        let good = signed(&secret, "msg_1", "1700000299", b"{}");
        assert_eq!(verify(&good, b"{}"), Ok("msg_1".to_owned()));
        assert_eq!(verify(&good, b"{} "), Err(NotSigned::Signature));
        for (at, off) in [("1700000301", 301), ("1699999699", 301)] {
            let stale = signed(&secret, "msg_1", at, b"{}");
            assert_eq!(verify(&stale, b"{}"), Err(NotSigned::Stale { off }));
        }
        let other = Root::new([8; 32]).secret(&"0123456789".parse().unwrap());
        let foreign = signed(&other, "msg_1", "1700000000", b"{}");
        assert_eq!(verify(&foreign, b"{}"), Err(NotSigned::Signature));
        let mut none = good.clone();
        none.remove("webhook-id");
        assert_eq!(verify(&none, b"{}"), Err(NotSigned::Missing("webhook-id")));
        let signs = signed(&secret, "msg_1", "+1700000000", b"{}");
        assert_eq!(verify(&signs, b"{}"), Err(NotSigned::Timestamp));
    }

    proptest! {
        #[test]
        fn any_headers_are_believed_or_not(id in "[ -~]{0,120}", at: String, signatures in "[ -~]{0,80}") {
            let mut headers = HeaderMap::new();
            for (name, value) in
                [("webhook-id", &id), ("webhook-timestamp", &at), ("webhook-signature", &signatures)]
            {
                if let Ok(value) = value.parse() {
                    headers.insert(name, value);
                }
            }
            prop_assert!(secret().verify(&headers, b"", NOW).is_err());
        }

        #[test]
        fn any_text_is_a_token_or_none(text: String) {
            prop_assert!(Token::parse(&text).is_none_or(|token| token.expose() == text));
        }
    }
}
