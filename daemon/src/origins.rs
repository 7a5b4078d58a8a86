//! Which web origins may read responses (CORS).

use std::{fmt, str::FromStr};

use http::HeaderValue;
use serde::{Deserialize, Serialize};

/// A list of web origins: all, or some by name, each maybe with all that lie below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(Vec<WebOrigin>);

/// One entry of such a list, as `scheme://host[:port]`; a host may begin with `*.`, and `*` alone is
/// everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebOrigin {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Everybody,
    One,
    /// What stands before and behind the star: `https://` and `.example.org:8443`.
    Below {
        before: usize,
        behind: usize,
    },
}

/// A text that is no [`WebOrigin`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no web origin; write https://app.example, https://*.example.org, with :port if it is not \
     the usual one and nothing behind, or *"
)]
pub struct InvalidOrigin {
    text: String,
}

impl Origins {
    /// Everybody.
    pub fn everybody() -> Self {
        Self(vec!["*".parse().expect("it is an origin")])
    }

    /// What an origin is told, if it may: itself, or that everybody may.
    pub fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.is_everybody() {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?;
        self.0.iter().any(|entry| entry.matches(text)).then(|| origin.clone())
    }

    /// Whether everybody may.
    pub fn is_everybody(&self) -> bool {
        self.0.iter().any(|entry| entry.kind == Kind::Everybody)
    }

    /// Whether what is told depends on who asks.
    pub fn depend(&self) -> bool {
        !self.0.is_empty() && !self.is_everybody()
    }
}

impl WebOrigin {
    /// Whether it is this one: browsers write origins in one way only.
    fn matches(&self, origin: &str) -> bool {
        match self.kind {
            Kind::Everybody => true,
            Kind::One => origin == self.text,
            Kind::Below { before, behind } => {
                let (before, behind) = (self.text.get(..before), self.text.get(behind..));
                let (Some(before), Some(behind)) = (before, behind) else { return false };
                let host = origin.strip_prefix(before).and_then(|it| it.strip_suffix(behind));
                host.is_some_and(is_host)
            }
        }
    }
}

fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        !label.is_empty() && label.bytes().all(is_plain)
    };
    !host.is_empty() && host.split('.').all(is_label)
}

fn is_address(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

impl FromStr for WebOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin { text: text.chars().take(100).collect() };
        let kind = |kind| Ok(Self { text: text.to_owned(), kind });
        if text == "*" {
            return kind(Kind::Everybody);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        if !matches!(scheme, "http" | "https") {
            return Err(invalid());
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let is_port = |port: &str| {
            let usual = if scheme == "https" { "443" } else { "80" };
            port != usual && port.parse::<u16>().is_ok_and(|number| number.to_string() == port)
        };
        if port.is_some_and(|port| !is_port(port)) {
            return Err(invalid());
        }
        match host.strip_prefix("*.") {
            Some(below) if is_host(below) => {
                let before = scheme.len() + 3;
                kind(Kind::Below { before, behind: before + 1 })
            }
            None if is_host(host) || is_address(host) => kind(Kind::One),
            _ => Err(invalid()),
        }
    }
}

impl TryFrom<String> for WebOrigin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        text.parse()
    }
}

impl From<WebOrigin> for String {
    fn from(origin: WebOrigin) -> Self {
        origin.text
    }
}

impl FromIterator<WebOrigin> for Origins {
    fn from_iter<I: IntoIterator<Item = WebOrigin>>(origins: I) -> Self {
        Self(origins.into_iter().collect())
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(entry: &str, origin: &str) -> bool {
        let list: Origins = [entry.parse().unwrap()].into_iter().collect();
        list.allow(&HeaderValue::from_str(origin).unwrap()).is_some()
    }

    #[test]
    fn an_origin_is_itself_and_below_a_star_is_whatever_lies_below() {
        for (entry, origin, expected) in [
            ("*", "https://anybody.example", true),
            ("https://app.example", "https://app.example", true),
            ("https://app.example", "http://app.example", false),
            ("https://app.example", "https://app.example:8443", false),
            ("https://app.example", "https://app.example.evil.example", false),
            ("https://app.example:8443", "https://app.example:8443", true),
            ("https://*.example.org", "https://a.example.org", true),
            ("https://*.example.org", "https://a.b.example.org", true),
            ("https://*.example.org", "https://example.org", false),
            ("https://*.example.org", "https://evil-example.org", false),
            ("https://*.example.org", "https://evil.example/.example.org", false),
            ("https://*.example.org", "https://user@a.example.org", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("https://app.example", "null", false),
        ] {
            assert_eq!(allows(entry, origin), expected, "{entry} {origin}");
        }
        assert!(!Origins::default().depend() && !Origins::everybody().depend());
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for none in [
            "",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/a",
            "ftp://app.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://*",
            "https://a.*.example",
            "https://APP.example",
            "https://app.example:0x1",
            "https://*.",
            "https://app.example:08",
        ] {
            assert!(none.parse::<WebOrigin>().is_err(), "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_origin_or_none_and_any_header_is_let_in_or_not(
            entry in "(https?://)?[*a-z.:0-9\\[\\]/]{0,20}",
            origin in "[ -~]{0,40}",
        ) {
            if let Ok(entry) = entry.parse::<WebOrigin>() {
                prop_assert_eq!(entry.to_string().parse::<WebOrigin>().unwrap(), entry.clone());
                entry.matches(&origin);
            }
        }

        #[test]
        fn nothing_that_ends_otherwise_is_below(host in "[ -~]{0,20}", tail in "[a-z.]{1,10}") {
            let entry: WebOrigin = "https://*.example.org".parse().unwrap();
            prop_assume!(!format!("{host}{tail}").ends_with(".example.org"));
            let origin = format!("https://{host}{tail}");
            prop_assert!(!entry.matches(&origin));
        }
    }
}
