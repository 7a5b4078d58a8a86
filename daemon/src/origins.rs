//! Which web origins may read responses (CORS).

use std::{fmt, net::Ipv6Addr, str::FromStr};

use http::HeaderValue;
use serde::{Deserialize, Serialize};

/// A list of web origins: all, or some by name, each maybe with all that lie below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(Vec<AllowedOrigin>);

/// An origin, or several, as the web knows them (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AllowedOrigin {
    /// Every one.
    Any,
    /// This one, written as browsers write it.
    One(String),
    /// Those of every host below a domain, but not that of the domain.
    Below {
        /// `https://`
        scheme: String,
        /// `.example.org`, and the port if it is not that of the scheme.
        domain: String,
    },
}

/// Why text names no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoOrigin {
    /// `null`.
    #[error(
        "null is no origin: files and sandboxed frames of everybody send it; list origins like \
         https://app.example, or allow \"*\""
    )]
    Null,
    /// There is more to it.
    #[error("{entry} is more than an origin; leave out what follows the host and its port")]
    Path {
        /// What was written.
        entry: String,
    },
    /// It is none.
    #[error(
        "{entry} is no origin; write it like https://app.example, https://app.example:8443 or \
         https://*.example.org, or allow \"*\""
    )]
    Malformed {
        /// What was written.
        entry: String,
    },
}

impl Origins {
    /// Everybody.
    pub fn everybody() -> Self {
        Self(vec![AllowedOrigin::Any])
    }

    /// What an origin is told, if it may: itself, or that everybody may.
    pub fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.is_everybody() {
            return Some(HeaderValue::from_static("*"));
        }
        self.0.iter().any(|entry| entry.allows(origin.as_bytes())).then(|| origin.clone())
    }

    /// Whether everybody may.
    pub fn is_everybody(&self) -> bool {
        self.0.contains(&AllowedOrigin::Any)
    }

    /// Whether what is told depends on who asks.
    pub fn depend(&self) -> bool {
        !self.0.is_empty() && !self.is_everybody()
    }

    /// Entries of it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it lists nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<AllowedOrigin> for Origins {
    fn from_iter<I: IntoIterator<Item = AllowedOrigin>>(origins: I) -> Self {
        Self(origins.into_iter().collect())
    }
}

impl AllowedOrigin {
    /// Whether the `Origin` of a request is one of these.
    pub fn allows(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one.as_bytes() == origin,
            Self::Below { scheme, domain } => origin
                .strip_prefix(scheme.as_bytes())
                .and_then(|rest| rest.strip_suffix(domain.as_bytes()))
                .is_some_and(are_labels),
        }
    }
}

fn are_labels(host: &[u8]) -> bool {
    let is_fit = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    host.split(|byte| *byte == b'.').all(|label| !label.is_empty() && label.iter().all(is_fit))
}

impl FromStr for AllowedOrigin {
    type Err = NoOrigin;

    /// Takes capitals and the port of the scheme, which browsers would not write.
    fn from_str(entry: &str) -> Result<Self, NoOrigin> {
        let malformed = || NoOrigin::Malformed { entry: entry.to_owned() };
        match entry {
            "*" => return Ok(Self::Any),
            "null" => return Err(NoOrigin::Null),
            _ => {}
        }
        let lower = entry.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://").ok_or_else(malformed)?;
        if authority.contains(['/', '?', '#']) {
            return Err(NoOrigin::Path { entry: entry.to_owned() });
        }
        let (host, port) = split_port(authority).ok_or_else(malformed)?;
        let port = match (scheme, port) {
            ("https", Some(443)) | ("http", Some(80)) | (_, None) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        let parent = host.strip_prefix("*.");
        if !is_scheme(scheme) || !is_host(parent.unwrap_or(host), parent.is_some()) {
            return Err(malformed());
        }
        Ok(match parent {
            Some(parent) => {
                Self::Below { scheme: format!("{scheme}://"), domain: format!(".{parent}{port}") }
            }
            None => Self::One(format!("{scheme}://{host}{port}")),
        })
    }
}

/// Host and port; `None` where what follows the host is no port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = authority.find(']').map_or(0, |bracket| bracket + 1);
    let (_, rest) = authority.split_at(end_of_host);
    match rest.split_once(':') {
        None => Some((authority, None)),
        Some((more, port)) => {
            let (host, _) = authority.split_at(end_of_host + more.len());
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
            Some((host, Some(port)))
        }
    }
}

fn is_scheme(scheme: &str) -> bool {
    let is_fit = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_lowercase()) && scheme.bytes().all(is_fit)
}

fn is_host(host: &str, is_parent: bool) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match address {
        Some(address) => !is_parent && address.parse::<Ipv6Addr>().is_ok(),
        None => are_labels(host.as_bytes()),
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(one) => f.write_str(one),
            Self::Below { scheme, domain } => write!(f, "{scheme}*{domain}"),
        }
    }
}

impl TryFrom<String> for AllowedOrigin {
    type Error = NoOrigin;

    fn try_from(entry: String) -> Result<Self, NoOrigin> {
        entry.parse()
    }
}

impl From<AllowedOrigin> for String {
    fn from(origin: AllowedOrigin) -> Self {
        origin.to_string()
    }
}

#[cfg(test)]
mod tests;
