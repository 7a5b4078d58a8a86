//! What the configuration keeps in files of its own: keys, passwords, certificates.

use std::path::{Path, PathBuf};

use wcdn_daemon::{
    config::Problems,
    secret::{Key, Secret},
    tls::Certificates,
};

use crate::config::Config;

/// Everything read, once. `Debug` shows none of it.
#[derive(Debug)]
pub struct Secrets {
    /// What nodes vouch to each other by.
    pub(crate) cluster_key: Option<Key>,
    /// The password of the region's Redis.
    pub(crate) redis_password: Option<Secret>,
    /// PEM of the authorities that sign its certificates.
    pub(crate) redis_ca: Option<Vec<u8>>,
    /// PEM of the authorities that sign the control plane's certificate.
    pub(crate) control_ca: Option<Vec<u8>>,
    /// PEM of the certificate that the control plane is shown, and of its key.
    pub(crate) control_identity: Option<(Vec<u8>, Secret)>,
    /// What viewers are shown over TLS.
    pub(crate) certificates: Option<Certificates>,
}

/// Authorities are a few KiB; a file that is not is the wrong one.
const MAX_AUTHORITIES: usize = 1 << 20;

impl Secrets {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// [`Problems`] names each key and file, and the remedy.
    pub fn read(config: &Config) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let cluster_key =
            each(&mut problems, "cluster.key_file", &config.cluster.key_file, Key::read);
        let password = &config.redis.password_file;
        let redis_password = each(&mut problems, "redis.password_file", password, Secret::read);
        let redis_ca = each(&mut problems, "redis.ca_file", &config.redis.ca_file, authorities);
        let control_ca =
            each(&mut problems, "control.ca_file", &config.control.ca_file, authorities);
        let shown =
            each(&mut problems, "control.certificate", &config.control.certificate, authorities);
        let key = each(&mut problems, "control.key", &config.control.key, Secret::read_text);
        let control_identity = shown.zip(key);
        let key = &config.tls.key;
        let certificates =
            each(&mut problems, "tls.certificate", &config.tls.certificate, |path| {
                key.as_deref().map(|key| Certificates::load(path, key)).transpose()
            });
        let certificates = certificates.flatten();
        problems.into_result()?;
        Ok(Self {
            cluster_key,
            redis_password,
            redis_ca,
            control_ca,
            control_identity,
            certificates,
        })
    }
}

/// Reads one file, if it is named; notes what is wrong with it.
fn each<T, E: std::error::Error>(
    problems: &mut Problems,
    key: &str,
    path: &Option<PathBuf>,
    read: impl FnOnce(&Path) -> Result<T, E>,
) -> Option<T> {
    match read(path.as_deref()?) {
        Ok(value) => Some(value),
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            problems.push(key, format!("is of no use: {error}{cause}"));
            None
        }
    }
}

fn authorities(path: &Path) -> std::io::Result<Vec<u8>> {
    let pem = std::fs::read(path).map_err(|error| {
        std::io::Error::other(format!("cannot read {}: {error}", path.display()))
    })?;
    let looks_right = pem.len() <= MAX_AUTHORITIES
        && pem.windows(27).any(|line| line == b"-----BEGIN CERTIFICATE-----");
    match looks_right {
        true => Ok(pem),
        false => Err(std::io::Error::other(format!("{} holds no certificate", path.display()))),
    }
}
