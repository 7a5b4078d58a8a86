//! The keys that lie in files of their own; two of them are made at the first start.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use wcdn_daemon::{
    config::Problems,
    secret::{Key, Secret},
    tls::{Certificates, ClientAuthorities},
};
use wcdn_gossip::{
    frame::{IssuerKey, IssuerKeys, SigningKey},
    seal::{ClusterKey, ClusterKeys},
};
use wcdn_proto::pb::EDGE_TOKEN_CONTEXT;

use crate::{
    api_key::ApiKey,
    config::{Config, Tls},
    store::create_folder,
};

/// Everything read, once. `Debug` shows none of it.
#[derive(Debug)]
pub struct Secrets {
    /// What signs frames.
    pub(crate) signing: Arc<SigningKey>,
    /// Whose frames are believed: our own, and those of the other control planes.
    pub(crate) issuers: IssuerKeys,
    /// What datagrams are sealed with; none before the first start.
    pub(crate) sealing: Option<ClusterKeys>,
    /// What admits edges.
    pub(crate) tokens: ClusterTokens,
    /// An API key of the operator's choice.
    pub(crate) fixed_key: Option<ApiKey>,
    /// The password of the Redis of the limits.
    pub(crate) limits_password: Option<Secret>,
    /// What is shown to whoever connects.
    pub(crate) tls: Option<ServerTls>,
}

/// How connections are encrypted.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls {
    /// What is shown; read again when it changes.
    pub(crate) certificates: Certificates,
    /// Whose certificates admit edges.
    pub(crate) clients: Option<ClientAuthorities>,
}

/// The tokens that admit edges: that of the key in use, and of the other one while keys are changed.
pub(crate) struct ClusterTokens(Vec<blake3::Hash>);

impl Secrets {
    /// Reads the files that the configuration names, without making any.
    ///
    /// # Errors
    /// [`Problems`] names each key and file, and the remedy.
    pub fn check(config: &Config) -> Result<(), Problems> {
        Self::read(config, false).map(drop)
    }

    /// The public key of what signs frames.
    ///
    /// # Errors
    /// [`Problems`] names the file and the remedy.
    pub fn issuer_key(config: &Config) -> Result<IssuerKey, Problems> {
        let mut problems = Problems::default();
        let key = Key::read(&config.cluster.signing_key_file);
        match each(&mut problems, "cluster.signing_key_file", key) {
            Some(key) => Ok(SigningKey::from_seed(key.expose()).public()),
            None => Err(problems),
        }
    }

    /// Reads the files that the configuration names, and makes those that it allows to be made.
    pub(crate) fn open(config: &Config) -> Result<Self, Problems> {
        Self::read(config, config.cluster.create_keys)
    }

    fn read(config: &Config, create: bool) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let cluster = &config.cluster;
        let mut own = |key, path: &Path| {
            if create && each(&mut problems, key, create_key(path)) == Some(true) {
                tracing::info!(path = %path.display(), "key made");
                if config.store.url.is_some() || config.store.path.exists() {
                    tracing::warn!(
                        key,
                        "a new key beside an old store: edges must be given it too"
                    );
                }
            }
            // A check before the first start finds no file where one will be made.
            let will_be = !create && cluster.create_keys && !path.exists();
            if will_be { None } else { each(&mut problems, key, Key::read(path)) }
        };
        let key = own("cluster.key_file", &cluster.key_file);
        let signing = own("cluster.signing_key_file", &cluster.signing_key_file);
        let previous = cluster.previous_key_file.as_deref().map(|path| match &key {
            Some(key) => Key::read_other(path, key),
            None => Key::read(path),
        });
        let previous =
            previous.and_then(|read| each(&mut problems, "cluster.previous_key_file", read));
        let password = config.store.password_file.as_deref().map(Secret::read);
        let _ = password.and_then(|read| each(&mut problems, "store.password_file", read));
        let limits = config.limits.redis_password_file.as_deref().map(Secret::read);
        let limits_password =
            limits.and_then(|read| each(&mut problems, "limits.redis_password_file", read));
        let fixed = config.keys.fixed_key_file.as_deref().map(fixed_key);
        let fixed_key = fixed.and_then(|read| each(&mut problems, "keys.fixed_key_file", read));
        let tls = server_tls(&config.tls, &mut problems);
        problems.into_result()?;
        let signing = signing.map_or([0; 32], |key| *key.expose());
        let signing = SigningKey::from_seed(&signing);
        let others = cluster.issuer_keys.iter().filter_map(|text| text.parse().ok());
        Ok(Self {
            issuers: IssuerKeys::new(others.chain([signing.public()]).collect()),
            sealing: key.as_ref().map(|key| sealing(key, previous.as_ref())),
            signing: Arc::new(signing),
            tokens: ClusterTokens::new(key.iter().chain(&previous)),
            fixed_key,
            limits_password,
            tls,
        })
    }
}

impl ClusterTokens {
    fn new<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Self {
        let token = |key: &Key| blake3::derive_key(EDGE_TOKEN_CONTEXT, key.expose()).into();
        Self(keys.into_iter().map(token).collect())
    }

    /// Whether a text is one of them; how long it takes does not tell how much of it is right.
    pub(crate) fn admit(&self, text: &str) -> bool {
        let Ok(given) = blake3::Hash::from_hex(text) else { return false };
        self.0.contains(&given)
    }
}

impl std::fmt::Debug for ClusterTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterTokens(…)")
    }
}

fn sealing(key: &Key, previous: Option<&Key>) -> ClusterKeys {
    let seals = |key: &Key| ClusterKey::new(*key.expose());
    ClusterKeys { current: seals(key), also: previous.map(seals) }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, cause: std::io::Error },
    #[error("{} holds no API key: it must be one line of 16 to 256 visible characters, and one that begins with wcdn_ must be whole", path.display())]
    NoApiKey { path: PathBuf },
    #[error(transparent)]
    Secret(#[from] wcdn_daemon::secret::SecretError),
}

fn each<T, E: std::error::Error>(
    problems: &mut Problems,
    key: &str,
    read: Result<T, E>,
) -> Option<T> {
    read.map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        problems.push(key, format!("is of no use: {error}{cause}"));
    })
    .ok()
}

/// Makes a file with a new key, if there is none. Says whether it did.
fn create_key(path: &Path) -> Result<bool, FileError> {
    if path.exists() {
        return Ok(false);
    }
    let failed = |cause| FileError::Write { path: path.to_owned(), cause };
    create_folder(path).map_err(|error| failed(std::io::Error::other(error)))?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let digits: String = rand::random::<[u8; 32]>().iter().map(|it| format!("{it:02x}")).collect();
    writeln!(file, "{digits}").and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(true)
}

fn fixed_key(path: &Path) -> Result<ApiKey, FileError> {
    let text = Secret::read(path)?;
    ApiKey::fixed(text.expose()).map_err(|_| FileError::NoApiKey { path: path.to_owned() })
}

fn server_tls(tls: &Tls, problems: &mut Problems) -> Option<ServerTls> {
    let (certificate, key) = tls.certificate.as_deref().zip(tls.key.as_deref())?;
    let certificates = each(problems, "tls.certificate", Certificates::load(certificate, key));
    // Operators have API keys instead.
    let clients = tls.client_ca.as_deref().map(ClientAuthorities::load);
    let clients = clients.and_then(|read| each(problems, "tls.client_ca", read));
    Some(ServerTls { certificates: certificates?, clients })
}
