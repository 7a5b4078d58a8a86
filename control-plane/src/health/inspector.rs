//! The task that looks at what edges say about lies, one claim after another.

use std::collections::HashMap;

use rand::seq::SliceRandom as _;
use tokio::{sync::mpsc, time::Instant};
use wcdn_proto::BlobId;

use super::{
    Monitor,
    evidence::{Evidence, Finding, Hearing},
    probe::Probe,
    target::{Key, Kind, Target},
    traffic::Claim,
};

/// The task.
#[derive(Debug)]
pub(super) struct Inspector {
    monitor: Monitor,
    claims: mpsc::Receiver<Claim>,
    evidence: Evidence,
}

impl Inspector {
    pub(super) fn new(monitor: Monitor, claims: mpsc::Receiver<Claim>) -> Self {
        Self { monitor, claims, evidence: Evidence::default() }
    }

    /// Runs until it is cancelled.
    pub(super) async fn run(&mut self) {
        while let Some(claim) = self.claims.recv().await {
            let result = match self.evidence.hear(&claim, Instant::now()) {
                Hearing::Doubted => "doubted",
                Hearing::Known => "known",
                Hearing::Late => "late",
                Hearing::Look => self.look(&claim).await,
            };
            self.monitor.metrics.claimed(result);
        }
    }

    async fn look(&mut self, claim: &Claim) -> &'static str {
        let key = Key { kind: Kind::Aggregator, name: claim.origin.clone() };
        let Some((finding, probe)) = self.monitor.verify(&key, &claim.blob).await else {
            return "gone";
        };
        let is_doubted = self.evidence.note(claim, finding, Instant::now());
        let (node, region) = (claim.node.as_str(), claim.region.as_str());
        if is_doubted {
            tracing::warn!(
                node,
                region,
                "an edge says again and again that honest origins lied; it is not believed for an hour: \
                 is its memory sound?"
            );
        }
        let (origin, blob) = (claim.origin.as_str(), claim.blob);
        tracing::info!(node, region, origin, %blob, ?finding, "looked at what an edge says of a lie");
        self.monitor.take(HashMap::from([(key, vec![probe])])).await;
        match finding {
            Finding::Lied => "true",
            Finding::Honest => "false",
            Finding::Unknown => "unknown",
        }
    }
}

impl Monitor {
    /// Looks whether an aggregator lies about a blob; none if it is not in the pool.
    pub(super) async fn verify(&self, key: &Key, blob: &BlobId) -> Option<(Finding, Probe)> {
        let targets = Target::all(&self.pools.now());
        let accused = targets.iter().find(|target| target.key == *key)?;
        let mut others: Vec<&Target> = targets
            .iter()
            .filter(|target| target.key.kind == key.kind && target.key != *key)
            .filter(|target| !target.origin.ejected)
            .collect();
        others.shuffle(&mut rand::rng());
        let others: Vec<_> =
            others.into_iter().map(|other| self.prober.aggregator(other)).collect();
        let accused = self.prober.aggregator(accused);
        Some(self.verifier.verify(blob, &accused, &others).await)
    }
}
