//! Whether an origin lies: a blob is fetched from it, and its id computed.
//!
//! Bytes that are not the blob are a lie only if others do not send the same ones. There are blobs whose id
//! nobody can compute any more (of an encoding that was retired), and the control plane's own memory may be
//! bad; so the id is computed twice, and nobody is called a liar unless another origin sends the blob, or two
//! know of none.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use wcdn_proto::BlobId;
use wcdn_walrus::{Aggregator, Encoding, blob_id};

use super::{
    evidence::Finding,
    fault::{Fault, FaultKind},
    probe::{Asked, Probe},
};
use crate::{config::Config, store::now_ms};

/// Fetches and checks.
#[derive(Debug, Clone)]
pub(crate) struct Verifier {
    encoding: Encoding,
    most: u64,
    timeout: Duration,
}

/// What an origin gave.
enum Given {
    /// The blob.
    Blob,
    /// Something else.
    Other(blake3::Hash),
    /// Nothing.
    Nothing(Fault),
}

const SAME: &str = "others send the same bytes, which are not the blob";
const ALONE: &str = "sent bytes that are not the blob, and too few others say what it is";

/// Other origins that are asked, until it is clear.
const OTHERS: usize = 3;

/// Origins that must say that there is no such blob.
const WITNESSES: usize = 2;

impl Verifier {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            encoding: config.walrus.encoding(),
            most: config.health.max_verify.bytes(),
            timeout: config.health.verify_timeout.duration(),
        }
    }

    /// Looks whether an origin lies about a blob, beside what others say of it.
    pub(crate) async fn verify(
        &self,
        blob: &BlobId,
        accused: &Aggregator,
        others: &[Aggregator],
    ) -> (Finding, Probe) {
        let (at_ms, began) = (now_ms(), Instant::now());
        let given = self.fetch(blob, accused).await;
        let took = began.elapsed();
        let (finding, outcome) = match given {
            Given::Blob => (Finding::Honest, Ok(())),
            // That somebody does not have any one blob says nothing about it.
            Given::Nothing(fault) if fault.kind == FaultKind::Missing => {
                (Finding::Unknown, Err(unknown(&fault.reason)))
            }
            Given::Nothing(fault) => (Finding::Unknown, Err(fault)),
            Given::Other(bytes) => match self.is_contradicted(blob, bytes, others).await {
                Some(true) => (Finding::Lied, Err(lie(blob))),
                Some(false) => (Finding::Unknown, Err(unknown(SAME))),
                None => (Finding::Unknown, Err(unknown(ALONE))),
            },
        };
        (finding, Probe { at_ms, asked: Asked::Verify, took, outcome, about: Some(*blob) })
    }

    /// Whether the others say otherwise; none if too few of them say anything. Who sends the blob proves
    /// it; a word alone proves nothing, for who gives it may be the liar.
    async fn is_contradicted(
        &self,
        blob: &BlobId,
        bytes: blake3::Hash,
        others: &[Aggregator],
    ) -> Option<bool> {
        let mut against = 0;
        for other in others.iter().take(OTHERS) {
            match self.fetch(blob, other).await {
                Given::Blob => return Some(true),
                Given::Other(theirs) if theirs == bytes => return Some(false),
                // Who says that there is no such blob says that these bytes are none.
                Given::Nothing(fault) if fault.kind == FaultKind::Missing => against += 1,
                Given::Other(_) | Given::Nothing(_) => {}
            }
        }
        (against >= WITNESSES).then_some(true)
    }

    async fn fetch(&self, blob: &BlobId, from: &Aggregator) -> Given {
        let body = match timeout(self.timeout, self.body(blob, from)).await {
            Ok(Ok(body)) => body,
            Ok(Err(fault)) => return Given::Nothing(fault),
            Err(_) => return Given::Nothing(Fault::timeout(self.timeout)),
        };
        let (encoding, blob) = (self.encoding, *blob);
        let checking = tokio::task::spawn_blocking(move || {
            let is_blob = || blob_id(encoding, &body).is_ok_and(|id| id == blob);
            // Twice: what a bad bit made of it once it hardly makes of it again.
            if is_blob() || is_blob() {
                return Given::Blob;
            }
            let mut hasher = blake3::Hasher::new();
            body.iter().for_each(|piece| {
                hasher.update(piece);
            });
            Given::Other(hasher.finalize())
        });
        checking.await.unwrap_or_else(|_| Given::Nothing(unknown("the check did not end")))
    }

    async fn body(&self, blob: &BlobId, from: &Aggregator) -> Result<Vec<Bytes>, Fault> {
        let mut response = from.blob(blob).await.map_err(|error| Fault::of_read(&error))?;
        if response.total() > self.most {
            let problem = format!(
                "not checked: it has {} bytes, and the most is {} (health.max_verify)",
                response.total(),
                self.most
            );
            return Err(unknown(&problem));
        }
        let mut body = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| Fault::new(FaultKind::Broken, error.to_string()))?
        {
            body.push(piece);
        }
        Ok(body)
    }
}

fn lie(blob: &BlobId) -> Fault {
    Fault::new(FaultKind::Lied, format!("sent bytes that are not the blob {blob}"))
}

fn unknown(problem: &str) -> Fault {
    Fault::new(FaultKind::Unknown, problem)
}
