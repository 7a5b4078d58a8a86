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
    /// Another key of the cluster that is believed as well.
    pub(crate) previous_key: Option<Key>,
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
        let previous_key = cluster_key.as_ref().and_then(|key| {
            let path = &config.cluster.previous_key_file;
            each(&mut problems, "cluster.previous_key_file", path, |it| Key::read_other(it, key))
        });
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
            previous_key,
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn another_key_of_the_cluster_is_read_or_refused_by_name() {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = home.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let mut config = Config::default();
        config.cluster.key_file = Some(file("cluster.key", &"0f".repeat(32)));
        config.cluster.previous_key_file = Some(file("other.key", &"f0".repeat(32)));
        let secrets = Secrets::read(&config).unwrap();
        assert_eq!(secrets.previous_key.unwrap().expose(), &[0xf0; 32]);
        for (text, words) in [("0f".repeat(32), "is in use"), ("0f".to_owned(), "holds no key")] {
            file("other.key", &text);
            let told = Secrets::read(&config).unwrap_err().to_string();
            assert!(told.starts_with("cluster.previous_key_file is of no use: "), "{told}");
            assert!(told.contains(words) && !told.contains(&text), "{told}");
        }
    }
}
