//! From two files of PEM to a certificate with its key.

use std::{fs::File, io::Read, path::Path, sync::Arc, time::SystemTime};

use rustls::{
    Error, InconsistentKeys,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::{CertifiedKey, SigningKey},
};

use super::{TlsError, expiry};

/// What two files hold.
pub(super) struct Files<'a> {
    certificate: Contents<'a>,
    key: Contents<'a>,
}

pub(super) struct Contents<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
}

/// A certificate and the key that belongs to it.
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) not_after: SystemTime,
    /// Of the files it came from.
    pub(super) digest: blake3::Hash,
}

/// A certificate with ten intermediates takes 20 KiB.
const MAX_FILE: u64 = 1 << 20;

impl<'a> Files<'a> {
    pub(super) fn read(certificate: &'a Path, key: &'a Path) -> Result<Self, TlsError> {
        Ok(Self { certificate: Contents::read(certificate)?, key: Contents::read(key)? })
    }

    /// Tells files apart without keeping the key's text in memory.
    pub(super) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for contents in [&self.certificate, &self.key] {
            hasher.update(blake3::hash(&contents.bytes).as_bytes());
        }
        hasher.finalize()
    }
}

impl<'a> Contents<'a> {
    pub(super) fn read(path: &'a Path) -> Result<Self, TlsError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
            .map_err(|cause| TlsError::Read { path: path.to_owned(), cause })?;
        let contents = Self { path, bytes };
        if contents.bytes.len() as u64 > MAX_FILE {
            return Err(contents.unusable("is larger than 1 MiB; it must be a PEM file"));
        }
        Ok(contents)
    }

    pub(super) fn unusable(&self, problem: &'static str) -> TlsError {
        TlsError::Unusable { path: self.path.to_owned(), problem }
    }
}

impl Pair {
    pub(super) fn parse(
        files: &Files<'_>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let chain = chain(&files.certificate)?;
        let certified = CertifiedKey::new(chain, signer(&files.key, provider)?);
        match certified.keys_match() {
            Ok(()) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                let (certificate, key) = (files.certificate.path, files.key.path);
                let (certificate, key) = (certificate.to_owned(), key.to_owned());
                return Err(TlsError::Mismatch { certificate, key });
            }
            Err(_) => return Err(files.certificate.unusable(NOT_X509)),
        }
        let expires = certified.cert.first().and_then(|own| expiry::not_after(own, provider));
        let not_after = expires.ok_or_else(|| files.certificate.unusable(NOT_X509))?;
        Ok(Self { certified: Arc::new(certified), not_after, digest: files.digest() })
    }
}

const NOT_X509: &str = "begins with a certificate that is not X.509; look at it with \
    openssl x509 -noout -text -in FILE";

/// The certificates in a file, in their order; at least one.
pub(super) fn chain(file: &Contents<'_>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(file.unusable(
            "holds no certificate; it must be PEM: that of a server, then the intermediates; or those \
             of authorities",
        )),
        Ok(chain) => Ok(chain),
        Err(_) => Err(file.unusable("is damaged; write it anew as PEM")),
    }
}

fn signer(file: &Contents<'_>, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, TlsError> {
    // What the parser says of damage may quote the file, so it is not passed on.
    let key = PrivateKeyDer::from_pem_slice(&file.bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => file.unusable(
            "holds no private key; it must be PEM and not encrypted (openssl pkey -in FILE \
             takes a passphrase off)",
        ),
        _ => file.unusable("is damaged; write it anew as PEM"),
    })?;
    provider.key_provider.load_private_key(key).map_err(|_| {
        file.unusable("holds a key that TLS has no use for; take ECDSA P-256 or RSA of 2048 bits")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use rustls::crypto::aws_lc_rs;

    use super::*;

    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

    static PEM: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        let issued = rcgen::generate_simple_self_signed(["edge.test".to_owned()]).unwrap();
        [issued.cert.pem().into_bytes(), issued.signing_key.serialize_pem().into_bytes()]
    });

    fn files(certificate: Vec<u8>, key: Vec<u8>) -> Files<'static> {
        let contents = |name, bytes| Contents { path: Path::new(name), bytes };
        Files { certificate: contents("tls.crt", certificate), key: contents("tls.key", key) }
    }

    #[test]
    fn text_that_moves_from_one_file_to_the_other_is_a_change() {
        let (one, other) = (files(b"ab".into(), b"c".into()), files(b"a".into(), b"bc".into()));
        assert_ne!(one.digest(), other.digest());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(certificate: Vec<u8>, key: Vec<u8>) {
            prop_assert!(Pair::parse(&files(certificate, key), &PROVIDER).is_err());
        }

        #[test]
        fn no_damage_makes_it_panic(place: prop::sample::Index, byte: u8, in_key: bool) {
            let mut both = PEM.clone();
            let damaged = &mut both[usize::from(in_key)];
            let place = place.index(damaged.len());
            damaged[place] = byte;
            let [certificate, key] = both;
            if let Ok(pair) = Pair::parse(&files(certificate, key), &PROVIDER) {
                prop_assert!(pair.certified.keys_match().is_ok());
            }
        }
    }
}
