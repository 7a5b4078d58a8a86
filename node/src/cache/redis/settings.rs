//! How the region's Redis is reached and used.

use std::time::Duration;

/// How the region's Redis is reached and used.
#[derive(Clone)]
pub struct Settings {
    /// URLs of one server, or of nodes of a cluster.
    pub urls: Vec<String>,
    /// Whether it is a cluster.
    pub cluster: bool,
    /// Who we log in as; empty for the default user.
    pub username: String,
    /// Our password, if one is needed.
    pub password: Option<String>,
    /// PEM of the authorities that sign its certificates; those of the web if none are given.
    pub ca: Option<Vec<u8>>,
    /// How long one operation may take; none moves more than 1 MiB.
    pub timeout: Duration,
    /// How long what is written is kept.
    pub ttl: Duration,
    /// The largest blob that is written.
    pub max_blob: u64,
    /// Connections.
    pub connections: usize,
    /// Bytes that may wait to be written.
    pub max_pending: u64,
    /// Whether blobs are served that nobody checked.
    pub unchecked: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("urls", &self.urls).finish_non_exhaustive()
    }
}
