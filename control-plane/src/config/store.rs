//! Where everything is kept.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::Span;

use super::takes_time;

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The SQLite file, if there is no `url`.
    pub path: PathBuf,
    /// The PostgreSQL database, which several control planes may share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<StoreUrl>,
    /// The file with the password for it, if the URL has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Connections to it; a quarter of them write.
    pub max_connections: u32,
    /// How long a call waits for one of them.
    pub acquire_timeout: Span,
    /// How long a statement may take there.
    pub statement_timeout: Span,
}

/// A PostgreSQL database: `postgres://user@host:port/database?sslmode=verify-full`. Of several hosts,
/// with commas between them, the one is used that is the primary. Neither `Debug` nor `Display` shows
/// the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreUrl {
    user: String,
    password: Option<String>,
    host: String,
    database: String,
    query: Vec<(String, String)>,
}

/// Why a text is no URL of a store. It does not repeat the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStoreUrl {
    /// Of another scheme.
    #[error("begins with neither postgres:// nor postgresql://; store.path is for SQLite")]
    Scheme,
    /// It says too little.
    #[error("lacks a {0}: postgres://user@host/database")]
    Lacks(&'static str),
    /// It says what is not known.
    #[error("has a parameter that is not one of {}; store.password_file is for passwords", PARAMETERS.join(", "))]
    Parameter,
    /// A value makes no sense.
    #[error("cannot be read; write special characters as % and two digits, such as %40 for @")]
    Malformed,
}

/// What may follow the question mark.
const PARAMETERS: [&str; 6] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name"];

impl Default for Store {
    fn default() -> Self {
        Self {
            path: "wcdn-data/control-plane.db".into(),
            url: None,
            password_file: None,
            max_connections: 16,
            acquire_timeout: Span::secs(5),
            statement_timeout: Span::secs(10),
        }
    }
}

impl Store {
    pub(super) fn check(&self, problems: &mut Problems) {
        if !(4..=1_000).contains(&self.max_connections) {
            let problem = format!("is {}; it must be 4 to 1000", self.max_connections);
            problems.push("store.max_connections", problem);
        }
        match &self.url {
            None if self.password_file.is_some() => {
                problems.push("store.password_file", "is given, but no store.url");
            }
            Some(url) if url.password.is_some() && self.password_file.is_some() => {
                problems.push("store.password_file", "is given, and store.url has a password too");
            }
            None | Some(_) => {}
        }
        takes_time(
            problems,
            [
                ("store.acquire_timeout", self.acquire_timeout),
                ("store.statement_timeout", self.statement_timeout),
            ],
        );
    }
}

impl StoreUrl {
    /// Where it may be.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.host.split(',')
    }

    /// At this host, with this password if it has none, and these settings of each session: a text with
    /// secrets.
    pub(crate) fn reveal(
        &self,
        host: &str,
        password: Option<&str>,
        settings: &[(&str, String)],
    ) -> String {
        let encoded = password.map(|it| encode(it.as_bytes()));
        let password = self.password.as_deref().or(encoded.as_deref());
        let password = password.map(|it| format!(":{it}")).unwrap_or_default();
        let settings = settings.iter().map(|(key, value)| format!("options[{key}]={value}"));
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .chain(settings)
            .collect();
        let Self { user, database, .. } = self;
        // A socket has no host, but a URL has one.
        let host = if host.is_empty() { "localhost" } else { host };
        format!("postgres://{user}{password}@{host}/{database}?{}", query.join("&"))
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, InvalidStoreUrl> {
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or(InvalidStoreUrl::Scheme)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) =
            place.split_once('/').ok_or(InvalidStoreUrl::Lacks("database"))?;
        let (login, host) = authority.rsplit_once('@').ok_or(InvalidStoreUrl::Lacks("user"))?;
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password.to_owned())),
            None => (login, None),
        };
        let mut parameters = Vec::new();
        for parameter in query.split('&').filter(|it| !it.is_empty()) {
            let (key, value) = parameter.split_once('=').ok_or(InvalidStoreUrl::Malformed)?;
            if !PARAMETERS.contains(&key) {
                return Err(InvalidStoreUrl::Parameter);
            }
            parameters.push((key.to_owned(), value.to_owned()));
        }
        let lacks = |what, text: &str| {
            if text.is_empty() { Err(InvalidStoreUrl::Lacks(what)) } else { Ok(text.to_owned()) }
        };
        let has_socket = parameters.iter().any(|(key, _)| key == "host");
        let url = Self {
            user: lacks("user", user)?,
            password: password.filter(|it| !it.is_empty()),
            host: if has_socket { host.to_owned() } else { lacks("host", host)? },
            database: lacks("database", database)?,
            query: parameters,
        };
        if !has_socket && url.hosts().any(str::is_empty) {
            return Err(InvalidStoreUrl::Lacks("host"));
        }
        let is_read = url.hosts().all(|host| {
            sqlx::postgres::PgConnectOptions::from_str(&url.reveal(host, None, &[])).is_ok()
        });
        if is_read { Ok(url) } else { Err(InvalidStoreUrl::Malformed) }
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = InvalidStoreUrl;

    fn try_from(text: String) -> Result<Self, InvalidStoreUrl> {
        text.parse()
    }
}

impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, database, query, .. } = self;
        write!(f, "postgres://{user}@{host}/{database}")?;
        for (n, (key, value)) in query.iter().enumerate() {
            write!(f, "{}{key}={value}", if n == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As it may stand in a URL.
pub(crate) fn encode(text: &[u8]) -> String {
    text.iter().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(*byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_shows_everything_but_its_password() {
        let text = "postgres://wcdn:se%40cret@db.example:5433/wcdn?sslmode=verify-full";
        let url: StoreUrl = text.parse().unwrap();
        let shown = "postgres://wcdn@db.example:5433/wcdn?sslmode=verify-full";
        assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
        let revealed =
            url.reveal("db.example:5433", None, &[("statement_timeout", "10000".to_owned())]);
        assert_eq!(revealed, format!("{text}&options[statement_timeout]=10000"));
        let bare: StoreUrl = shown.parse().unwrap();
        let given = bare.reveal("db.example:5433", Some("a@b/ü"), &[]);
        let expected = "postgres://wcdn:a%40b%2F%C3%BC@db.example:5433/wcdn?sslmode=verify-full";
        assert_eq!(given, expected);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_text() {
        for (text, expected) in [
            ("sqlite://a", InvalidStoreUrl::Scheme),
            ("postgres://a@b", InvalidStoreUrl::Lacks("database")),
            ("postgres://b/c", InvalidStoreUrl::Lacks("user")),
            ("postgres://a@/c", InvalidStoreUrl::Lacks("host")),
            ("postgres://a@b,/c", InvalidStoreUrl::Lacks("host")),
            ("postgres://a@b/", InvalidStoreUrl::Lacks("database")),
            ("postgres://a@b/c?password=x", InvalidStoreUrl::Parameter),
            ("postgres://a@b/c?sslmode=maybe", InvalidStoreUrl::Malformed),
            ("postgres://a@b:port/c", InvalidStoreUrl::Malformed),
        ] {
            assert_eq!(text.parse::<StoreUrl>().unwrap_err(), expected, "{text}");
        }
        assert!("postgres://a@/c?host=/run/postgresql".parse::<StoreUrl>().is_ok());
        let several: StoreUrl = "postgres://a@b,c:5433/d".parse().unwrap();
        assert_eq!(several.hosts().collect::<Vec<_>>(), ["b", "c:5433"]);
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_printed_as_it_was_read(
            text in "postgres(ql)?://[a-z%@:/?=&.0-9]{0,40}|\\PC{0,30}",
        ) {
            if let Ok(url) = text.parse::<StoreUrl>() {
                let mut printed: StoreUrl = url.to_string().parse().unwrap();
                printed.password = url.password.clone();
                prop_assert_eq!(printed, url);
            }
        }
    }
}
