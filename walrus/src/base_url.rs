//! Where an aggregator or publisher answers.

use std::{fmt, str::FromStr};

use http::{Uri, uri::Scheme};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An `http` or `https` URL that paths are put behind: no query, no credentials, and no slash at
/// its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    uri: Uri,
}

/// A text that is no [`BaseUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no base URL: {why}")]
pub struct InvalidBaseUrl {
    text: String,
    why: &'static str,
}

impl BaseUrl {
    /// The host, without the dot that may end a fully qualified name.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_end_matches('.')
    }

    /// Host and port, as written.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.uri.port_u16()
    }

    /// The URI of a path below this URL; `path` begins with a slash and is already encoded.
    ///
    /// # Panics
    /// When `path` is no valid path: callers build it from ids and encoded names.
    pub(crate) fn join(&self, path: &str) -> Uri {
        format!("{self}{path}").parse().expect("a base URL and an encoded path make a URI")
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why| InvalidBaseUrl { text: text.chars().take(200).collect(), why };
        let uri: Uri = text
            .trim_end_matches('/')
            .parse()
            .map_err(|_| invalid("write it like https://aggregator.example.com"))?;
        if ![Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme()) {
            return Err(invalid("it begins with neither http:// nor https://"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(invalid("it names no host"));
        }
        if uri.query().is_some() {
            return Err(invalid("it has a query"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(invalid("it holds credentials"));
        }
        Ok(Self { uri })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.to_string().trim_end_matches('/'))
    }
}

impl Serialize for BaseUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_behind_hosts_ports_and_prefixes() {
        for (base, joined) in [
            ("https://a.example", "https://a.example/x"),
            ("http://a.example:9000/", "http://a.example:9000/x"),
            ("https://a.example/walrus/", "https://a.example/walrus/x"),
            ("https://a.example.", "https://a.example./x"),
            ("http://127.0.0.1:4591", "http://127.0.0.1:4591/x"),
        ] {
            let base: BaseUrl = base.parse().unwrap();
            assert_eq!(base.join("/x").to_string(), joined);
            assert_eq!(base.to_string().parse(), Ok(base));
        }
    }

    #[test]
    fn what_requests_cannot_be_sent_to_is_refused() {
        for text in
            ["", "a.example", "ftp://a.example", "https://", "http://a?b=c", "http://u:p@a", "/x"]
        {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }
}
