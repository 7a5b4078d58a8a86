//! Asks origins, a few at a time.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use wcdn_proto::BlobId;
use wcdn_walrus::{Aggregator, HttpClient, HttpOptions, KNOWN_LIVE_BLOB, Publisher};

use super::{
    fault::Fault,
    probe::{Asked, Probe},
    target::{Kind, Target},
};
use crate::{config::Config, store::now_ms};

/// Asks origins. Clones share its connections and its bounds.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    http: HttpClient,
    timeout: Duration,
    known_blob: Option<BlobId>,
    room: Arc<Semaphore>,
}

impl Prober {
    pub(crate) fn new(config: &Config) -> Self {
        let health = &config.health;
        let timeout = health.timeout.duration();
        let http = HttpClient::new(HttpOptions {
            connect_timeout: timeout,
            public_only: !health.allow_private,
            ..HttpOptions::default()
        });
        let of_network = config.walrus.network.public().and_then(|_| KNOWN_LIVE_BLOB.parse().ok());
        Self {
            http,
            timeout,
            known_blob: health.known_blob.or(of_network),
            room: Arc::new(Semaphore::new(health.max_probes)),
        }
    }

    /// The blob that every aggregator should have.
    pub(crate) fn known_blob(&self) -> Option<BlobId> {
        self.known_blob
    }

    /// Asks an origin all that there is to ask.
    pub(crate) async fn probe(&self, target: &Target) -> Vec<Probe> {
        // It is never closed.
        let _place = self.room.acquire().await;
        match target.key.kind {
            Kind::Publisher => vec![self.alive(target).await],
            Kind::Aggregator => {
                let aggregator = self.aggregator(target);
                let mut probes = vec![self.absent(&aggregator).await];
                if let Some(known) = &self.known_blob {
                    probes.push(self.read(&aggregator, known).await);
                }
                probes
            }
        }
    }

    /// A client of an aggregator.
    pub(crate) fn aggregator(&self, target: &Target) -> Aggregator {
        Aggregator::new(self.http.clone(), target.url.clone())
    }

    /// A blob that nobody has.
    async fn absent(&self, aggregator: &Aggregator) -> Probe {
        let nobodys = BlobId::from_bytes(rand::random());
        let asking = async {
            let status = aggregator.presence(&nobodys).await;
            let status = status.map_err(|error| Fault::of_read(&error))?;
            Fault::of_presence(status.as_u16()).map_or(Ok(()), Err)
        };
        self.asked(Asked::Absent, asking).await
    }

    async fn read(&self, aggregator: &Aggregator, known: &BlobId) -> Probe {
        let asking =
            async { aggregator.first_byte(known).await.map_err(|error| Fault::of_read(&error)) };
        self.asked(Asked::Read, asking).await
    }

    async fn alive(&self, target: &Target) -> Probe {
        let publisher = Publisher::new(self.http.clone(), target.url.clone());
        let asking = async {
            let status = publisher.presence().await;
            status.map(drop).map_err(|error| Fault::of_publisher(&error))
        };
        self.asked(Asked::Alive, asking).await
    }

    async fn asked(&self, asked: Asked, asking: impl Future<Output = Result<(), Fault>>) -> Probe {
        let (at_ms, began) = (now_ms(), Instant::now());
        let outcome = timeout(self.timeout, asking).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Fault::timeout(self.timeout)));
        Probe { at_ms, asked, took: began.elapsed(), outcome, about: None }
    }
}
