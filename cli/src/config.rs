//! Where the control planes are, and what opens it: from flags, the environment or a file.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint, Uri},
};

use crate::args::ConnectionArgs;

#[cfg(test)]
mod tests;

/// All that a connection needs.
#[derive(Debug)]
pub(crate) struct Connection {
    /// To control planes of one network, at least one, in the order in which they are tried.
    pub(crate) ways: Vec<Way>,
    pub(crate) key: ApiKey,
    pub(crate) call_timeout: Duration,
}

/// Where one of them is.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) endpoint: Endpoint,
    /// As it was given, for messages.
    pub(crate) address: String,
}

/// What opens the control plane.
#[derive(Clone)]
pub(crate) struct ApiKey(MetadataValue<Ascii>);

/// Why there is no [`Connection`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// Without the line's text, since somebody may have written a secret there.
    #[error("{}, line {line}: {}", path.display(), cause.message())]
    Nonsense { path: PathBuf, line: usize, cause: Box<toml::de::Error> },
    #[error("there is no profile {name:?} in {}", path.display())]
    NoProfile { name: String, path: PathBuf },
    #[error("there is no configuration file, so no profile: HOME and XDG_CONFIG_HOME are not set")]
    NoHome,
    #[error("{address:?} is no address: write host:port, http://host:port or https://host:port")]
    Address { address: String },
    #[error("{} holds no certificates in PEM that can be used", path.display())]
    Authorities {
        path: PathBuf,
        #[source]
        cause: Option<tonic::transport::Error>,
    },
    #[error("no API key: set WCDN_API_KEY, or name a file by --api-key-file")]
    NoKey,
    #[error("what {place} holds is no API key: it is empty, or has blanks or other than ASCII")]
    Key { place: String },
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    endpoint: Option<String>,
    api_key_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    profile: BTreeMap<String, Settings>,
}

/// What one place says.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    endpoint: Option<String>,
    api_key_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    /// Of the environment only.
    #[serde(skip)]
    api_key: Option<String>,
}

const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:4501";

/// Beyond it the address is taken for wrong.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream without events must not outlive the other side unnoticed.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How a certificate begins in PEM.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

impl Connection {
    /// # Errors
    /// [`ConfigError`], before anything is sent.
    pub(crate) fn read(
        args: ConnectionArgs,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let call_timeout = args.call_timeout.duration();
        let places = places(args, variable)?;
        let addresses = first(&places, |place| place.endpoint.clone());
        let addresses = addresses.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let ca_file = first(&places, |place| place.ca_file.clone());
        let key = first(&places, ApiKey::of).unwrap_or(Err(ConfigError::NoKey))?;
        let way = |address: &str| {
            let endpoint = endpoint(address, ca_file.clone())?;
            Ok(Way { endpoint, address: address.to_owned() })
        };
        let ways = addresses.split(',').map(|address| way(address.trim()));
        Ok(Self { ways: ways.collect::<Result<_, ConfigError>>()?, key, call_timeout })
    }
}

/// The places that may say something, the one that counts most first.
fn places(
    args: ConnectionArgs,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Settings>, ConfigError> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let text = |name| set(name).and_then(|value| value.into_string().ok());
    let flags = Settings {
        endpoint: args.endpoint,
        api_key_file: args.api_key_file,
        ca_file: args.ca_file,
        api_key: None,
    };
    let environment = Settings {
        endpoint: text("WCDN_ENDPOINT"),
        api_key_file: None,
        ca_file: set("WCDN_CA_FILE").map(PathBuf::from),
        api_key: text("WCDN_API_KEY"),
    };
    let folder = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")));
    let (profile, head) = match folder.map(|folder| folder.join("wcdn/config.toml")) {
        Some(path) => settings(&path, args.profile)?,
        None if args.profile.is_some() => return Err(ConfigError::NoHome),
        None => Default::default(),
    };
    Ok(vec![flags, profile, environment, head])
}

/// What the file says in the profile and in its head; nothing if there is none.
fn settings(path: &Path, profile: Option<String>) -> Result<(Settings, Settings), ConfigError> {
    let mut file: ConfigFile = match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|cause| nonsense(path, &text, cause))?,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => ConfigFile::default(),
        Err(cause) => return Err(ConfigError::Unreadable { path: path.to_owned(), cause }),
    };
    let named = match profile {
        Some(name) => file
            .profile
            .remove(&name)
            .ok_or_else(|| ConfigError::NoProfile { name, path: path.to_owned() })?,
        None => Settings::default(),
    };
    let head = Settings {
        endpoint: file.endpoint,
        api_key_file: file.api_key_file,
        ca_file: file.ca_file,
        api_key: None,
    };
    let folder = path.parent().unwrap_or(path);
    Ok((named.beside(folder), head.beside(folder)))
}

fn nonsense(path: &Path, text: &str, cause: toml::de::Error) -> ConfigError {
    let before = cause.span().and_then(|at| text.as_bytes().get(..at.start)).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    ConfigError::Nonsense { path: path.to_owned(), line, cause: Box::new(cause) }
}

impl Settings {
    /// With paths relative to where they are written.
    fn beside(self, folder: &Path) -> Self {
        Self {
            api_key_file: self.api_key_file.map(|path| folder.join(path)),
            ca_file: self.ca_file.map(|path| folder.join(path)),
            ..self
        }
    }
}

fn first<T>(places: &[Settings], what: impl Fn(&Settings) -> Option<T>) -> Option<T> {
    places.iter().find_map(what)
}

fn endpoint(address: &str, ca_file: Option<PathBuf>) -> Result<Endpoint, ConfigError> {
    let wrong = || ConfigError::Address { address: address.to_owned() };
    let url = if is_bare(address) { with_scheme(address, &ca_file) } else { address.to_owned() };
    let endpoint = Endpoint::from_shared(url).map_err(|_unparsed| wrong())?;
    let host = endpoint.uri().host().unwrap_or_default();
    let is_encrypted = match endpoint.uri().scheme_str() {
        Some("http") if !host.is_empty() => false,
        Some("https") if !host.is_empty() => true,
        _ => return Err(wrong()),
    };
    let endpoint = endpoint
        .user_agent(concat!("wcdn/", env!("CARGO_PKG_VERSION")))
        .map_err(|_unparsed| wrong())?
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE / 2);
    if is_encrypted { encrypted(endpoint, ca_file) } else { Ok(endpoint) }
}

/// Whether an address is `host:port`, or `[host]:port` of IPv6.
fn is_bare(address: &str) -> bool {
    address.parse::<Uri>().is_ok_and(|uri| uri.scheme().is_none() && uri.port_u16().is_some())
}

/// Who names authorities would not have the key sent to somebody whom none of them knows.
fn with_scheme(address: &str, ca_file: &Option<PathBuf>) -> String {
    let scheme = if ca_file.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

fn encrypted(endpoint: Endpoint, ca_file: Option<PathBuf>) -> Result<Endpoint, ConfigError> {
    let tls = ClientTlsConfig::new();
    let path = ca_file.clone().unwrap_or_default();
    let tls = match ca_file {
        None => tls.with_webpki_roots(),
        Some(path) => tls.ca_certificate(authorities(path)?),
    };
    endpoint.tls_config(tls).map_err(|cause| ConfigError::Authorities { path, cause: Some(cause) })
}

fn authorities(path: PathBuf) -> Result<Certificate, ConfigError> {
    match fs::read(&path) {
        // A file without any would be taken for one that trusts nobody.
        Ok(pem) if !pem.windows(BEGIN.len()).any(|part| part == BEGIN) => {
            Err(ConfigError::Authorities { path, cause: None })
        }
        Ok(pem) => Ok(Certificate::from_pem(pem)),
        Err(cause) => Err(ConfigError::Unreadable { path, cause }),
    }
}

impl ApiKey {
    /// The key of this place, if it has one.
    fn of(place: &Settings) -> Option<Result<Self, ConfigError>> {
        if let Some(path) = &place.api_key_file {
            let text = fs::read_to_string(path);
            let text = text.map_err(|cause| ConfigError::Unreadable { path: path.clone(), cause });
            return Some(text.and_then(|text| Self::parse(&text, path.display().to_string())));
        }
        place.api_key.as_deref().map(|text| Self::parse(text, "WCDN_API_KEY".to_owned()))
    }

    fn parse(text: &str, place: String) -> Result<Self, ConfigError> {
        let text = text.trim();
        let is_sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let value = text.parse::<MetadataValue<Ascii>>().ok().filter(|_| is_sound);
        let mut value = value.ok_or(ConfigError::Key { place })?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// As it is sent.
    pub(crate) fn header(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}
