//! The region's Redis, and the key that the nodes of a cluster share.

use std::path::PathBuf;

use ::redis::IntoConnectionInfo;
use serde::{Deserialize, Serialize};
use wcdn_daemon::config::Problems;
use wcdn_proto::{ByteSize, Span};

use super::{not_zero, takes_time};
use crate::{cache::redis, secrets::Secrets};

/// The region's Redis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// `redis://host:port` or, with TLS, `rediss://host:port`: one server, or nodes of a cluster.
    /// Empty means that there is none.
    pub urls: Vec<String>,
    /// Whether they are nodes of a Redis Cluster.
    pub cluster: bool,
    /// Who the node logs in as; empty for the default user.
    pub username: String,
    /// The file with its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The file with the authorities that sign its certificates; those of the web without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long one operation may take before the node goes on without Redis; each moves 1 MiB at
    /// most. Writing, for which nobody waits, may take ten times as long.
    pub timeout: Span,
    /// How long a blob is kept there.
    pub ttl: Span,
    /// The largest blob that is kept there.
    pub max_blob: ByteSize,
    /// Connections to each server to read from; one more is for writing.
    pub connections: usize,
    /// Bytes that may wait to be written; what is more is not written.
    pub max_pending: ByteSize,
    /// How often each pinned blob is looked for there: if it is there, its time begins anew, else it is
    /// written again.
    pub pin_check: Span,
}

/// What the nodes of a cluster share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The file with the key by which nodes vouch to each other for what they checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The file with another one that is believed as well while keys are changed: first the one to
    /// come, then the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_key_file: Option<PathBuf>,
    /// Whether nothing is served while purges and blocks may not have been heard of.
    pub strict: bool,
    /// How long the log's head is taken for confirmed, from when it was asked for.
    pub lease: Span,
}

impl Default for Cluster {
    fn default() -> Self {
        Self { key_file: None, previous_key_file: None, strict: false, lease: Span::secs(5) }
    }
}

impl Cluster {
    pub(super) fn check(&self, problems: &mut Problems) {
        let (least, most) = (Span::secs(2), Span::secs(300));
        if self.lease < least || self.lease > most {
            let lease = self.lease;
            problems.push(
                "cluster.lease",
                format!(
                    "is {lease}; it lies between 2s and 5m, for the head is asked for each second"
                ),
            );
        }
        match (&self.key_file, &self.previous_key_file) {
            (None, Some(_)) => problems.push(
                "cluster.key_file",
                "is missing; cluster.previous_key_file is of use only beside it",
            ),
            (Some(key), Some(previous)) if key == previous => problems.push(
                "cluster.previous_key_file",
                format!(
                    "is {}, as cluster.key_file is; leave it out unless keys are changed",
                    key.display()
                ),
            ),
            _ => {}
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            cluster: false,
            username: String::new(),
            password_file: None,
            ca_file: None,
            timeout: Span::millis(50),
            ttl: Span::secs(86_400),
            max_blob: ByteSize::mib(64),
            connections: 2,
            max_pending: ByteSize::mib(64),
            pin_check: Span::secs(600),
        }
    }
}

impl Redis {
    /// The same, for the tier itself.
    pub(crate) fn settings(&self, secrets: &Secrets, unchecked: bool) -> redis::Settings {
        redis::Settings {
            urls: self.urls.clone(),
            cluster: self.cluster,
            username: self.username.clone(),
            password: secrets.redis_password.as_ref().map(|it| it.expose().to_owned()),
            ca: secrets.redis_ca.clone(),
            timeout: self.timeout.duration(),
            ttl: self.ttl.duration(),
            max_blob: self.max_blob.bytes(),
            connections: self.connections,
            max_pending: self.max_pending.bytes(),
            unchecked,
        }
    }

    pub(super) fn check(&self, cluster: &Cluster, problems: &mut Problems) {
        for url in &self.urls {
            if let Some(problem) = wrong_with(url) {
                problems.push("redis.urls", problem);
            }
        }
        if self.urls.len() > 1 && !self.cluster {
            let count = self.urls.len();
            problems.push(
                "redis.urls",
                format!("has {count} URLs; give one, or set redis.cluster = true"),
            );
        }
        if !self.urls.is_empty() && cluster.key_file.is_none() {
            problems.push(
                "cluster.key_file",
                "is missing, and redis.urls needs it: nodes believe what is in Redis by this key; \
                 make one with `openssl rand -hex 32` and give every node the same",
            );
        }
        let (longest, shortest) = (Span::secs(365 * 86_400), Span::secs(1));
        if self.ttl < shortest || self.ttl > longest {
            let ttl = self.ttl;
            problems.push("redis.ttl", format!("is {ttl}; it lies between 1s and 365d"));
        }
        if self.max_pending < self.max_blob {
            let (pending, blob) = (self.max_pending, self.max_blob);
            problems.push(
                "redis.max_pending",
                format!("is {pending}; the least is redis.max_blob ({blob})"),
            );
        }
        let most = Span::secs(6 * 3_600);
        if self.pin_check > most {
            let check = self.pin_check;
            problems.push("redis.pin_check", format!("is {check}; the most is {most}"));
        }
        not_zero(problems, [("redis.connections", self.connections)]);
        takes_time(
            problems,
            [("redis.timeout", self.timeout), ("redis.pin_check", self.pin_check)],
        );
    }
}

/// What is wrong with a URL; it is not repeated, since it may hold a password.
fn wrong_with(url: &str) -> Option<&'static str> {
    let Ok(info) = url.into_connection_info() else {
        return Some("has an entry that is no URL; write it like redis://10.0.0.5:6379");
    };
    let login = info.redis_settings();
    (login.username().is_some() || login.password().is_some()).then_some(
        "has an entry with credentials; put them into redis.username and redis.password_file",
    )
}
