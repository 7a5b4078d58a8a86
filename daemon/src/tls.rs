//! Certificates that can be exchanged while a server runs.

mod clients;
mod expiry;
mod pair;

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, ProducesTickets, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub use clients::ClientAuthorities;
use pair::{Files, Pair};

/// A certificate with its intermediates and its key, as they lie in two files. Clones share it.
#[derive(Clone)]
pub struct Certificates {
    shared: Arc<Shared>,
}

struct Shared {
    provider: Arc<CryptoProvider>,
    certificate: PathBuf,
    key: PathBuf,
    /// Written by `reload` alone, read by every handshake.
    current: ArcSwap<Pair>,
    /// Held by a reload, so that one which read older files does not undo a later one.
    reloading: Mutex<()>,
    /// One for all server configurations, so that sessions resume whichever port they return to.
    tickets: Arc<dyn ProducesTickets>,
}

/// What a reload found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The files are as they were.
    Unchanged,
    /// The files have changed, and handshakes from now on see what they hold.
    Changed,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there or not readable.
    #[error("cannot read {}; it must be a PEM file that this user may read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A file can be read, but not used.
    #[error("{} {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, in words that follow its name, and the remedy.
        problem: &'static str,
    },
    /// Both files are sound, but they are not of one pair.
    #[error(
        "the key in {} is not that of the first certificate in {}; the server's own certificate \
         comes first, then the intermediates",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The system gives no random bytes for the keys of session tickets.
    #[error("cannot make keys for session tickets")]
    Tickets(#[source] rustls::Error),
}

impl Certificates {
    /// Reads a certificate and its key: PEM; PKCS#8, SEC1 or PKCS#1. Both may be in one file.
    ///
    /// # Errors
    /// [`TlsError`] names the file and the remedy.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = Pair::parse(&Files::read(certificate, key)?, &provider)?;
        let shared = Shared {
            provider,
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: ArcSwap::from_pointee(pair),
            reloading: Mutex::new(()),
            tickets: aws_lc_rs::Ticketer::new().map_err(TlsError::Tickets)?,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A configuration that serves TLS 1.2 and 1.3 with whatever certificate is current when a
    /// handshake begins, and speaks these protocols, the preferred one first. Whoever shows a
    /// certificate must show one of `clients`; nobody must, and nobody is asked for one without them.
    ///
    /// Sessions resume for up to twelve hours by tickets; their keys rotate every six, and are not
    /// written anywhere. Nothing is accepted before a handshake ends (no 0-RTT).
    pub fn server_config(
        &self,
        alpn: &[&'static [u8]],
        clients: Option<&ClientAuthorities>,
    ) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.shared.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has cipher suites for both versions");
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Resolver(self.clone())));
        config.alpn_protocols = alpn.iter().map(|&protocol| protocol.to_owned()).collect();
        config.ticketer = Arc::clone(&self.shared.tickets);
        Arc::new(config)
    }

    /// Reads the files again. New handshakes see a changed certificate at once; connections that
    /// have had theirs are not touched, nor are sessions that resume. It blocks on the disk.
    ///
    /// # Errors
    /// [`TlsError`], as when loading; what was current stays so.
    pub fn reload(&self) -> Result<Reloaded, TlsError> {
        let _one_at_a_time = self.shared.reloading.lock();
        let files = Files::read(&self.shared.certificate, &self.shared.key)?;
        if files.digest() == self.shared.current.load().digest {
            return Ok(Reloaded::Unchanged);
        }
        let pair = Pair::parse(&files, &self.shared.provider)?;
        self.shared.current.store(Arc::new(pair));
        Ok(Reloaded::Changed)
    }

    /// When the current certificate expires.
    pub fn not_after(&self) -> SystemTime {
        self.shared.current.load().not_after
    }

    /// Reloads when the files have changed, until `shutdown`. It compares what they hold, not
    /// their times, so that it sees the exchanged symbolic links of mounted secrets too. A change is
    /// logged, and a failure once.
    ///
    /// # Panics
    /// If `every` is zero.
    pub async fn keep_fresh(self, every: Duration, shutdown: CancellationToken) {
        let mut round = interval(every);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Told::default();
        while shutdown.run_until_cancelled(round.tick()).await.is_some() {
            let again = self.clone();
            // It fails only when the runtime ends.
            let Ok(outcome) = spawn_blocking(move || again.reload()).await else { return };
            if told.is_news(&outcome) {
                self.tell(&outcome);
            }
        }
    }

    fn tell(&self, outcome: &Result<Reloaded, TlsError>) {
        let certificate = self.shared.certificate.display();
        match outcome {
            Ok(_) => {
                let expires_in = self.not_after().duration_since(SystemTime::now());
                let days = expires_in.unwrap_or_default().as_secs() / (24 * 60 * 60);
                tracing::info!(%certificate, expires_in_days = days, "certificate reloaded");
            }
            Err(error) => {
                let error: &dyn Error = error;
                tracing::warn!(%certificate, error, "certificate not reloaded; the old one stays");
            }
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("certificate", &self.shared.certificate)
            .field("key", &self.shared.key)
            .finish_non_exhaustive()
    }
}

/// What a handshake asks for the certificate.
#[derive(Debug)]
struct Resolver(Certificates);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.shared.current.load().certified))
    }
}

/// What was last said of failures, so that one which lasts is told once.
#[derive(Debug, Default)]
struct Told {
    failure: Option<String>,
}

impl Told {
    fn is_news(&mut self, outcome: &Result<Reloaded, TlsError>) -> bool {
        let failure = outcome.as_ref().err().map(|error| format!("{error:?}"));
        let changed = matches!(outcome, Ok(Reloaded::Changed));
        let fails_anew = failure.is_some() && failure != self.failure;
        self.failure = failure;
        changed || fails_anew
    }
}

#[cfg(test)]
mod tests;
