//! Rounds: everybody is asked, again and again.

use std::{collections::HashMap, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep};

use super::{
    Monitor,
    evidence::Finding,
    probe::Probe,
    target::{Key, Target},
};
use crate::store::{jobs::Fence, now_ms};

/// A round comes so much earlier or later, at random: control planes that started together do not ask all
/// at the same time.
const JITTER: f64 = 0.1;

impl Monitor {
    /// Tells of whoever is ejected by hand as of all others.
    pub(super) async fn follow(&self) {
        let mut pools = self.pools.watch();
        while pools.changed().await.is_ok() {
            self.take(HashMap::new()).await;
        }
    }

    /// Asks everybody, again and again.
    pub(super) async fn rounds(&self, turn: Fence) {
        sleep(self.due().await).await;
        loop {
            self.round(turn).await;
            let jitter = rand::random_range(1.0 - JITTER..1.0 + JITTER);
            sleep(self.interval.mul_f64(jitter)).await;
        }
    }

    /// How long until a round is due: at once, unless everybody was asked not long ago.
    async fn due(&self) -> Duration {
        let known = self.store.origins().await.unwrap_or_default();
        let last = known.values().flat_map(|origin| origin.probes.first()).map(|last| last.at_ms);
        let ago = last.min().map(|last| Duration::from_millis(now_ms().saturating_sub(last)));
        ago.map_or(Duration::ZERO, |ago| self.interval.saturating_sub(ago))
    }

    async fn round(&self, turn: Fence) {
        let targets = Target::all(&self.pools.now());
        let mut asking: FuturesUnordered<_> = targets
            .iter()
            .map(|target| async { (target.key.clone(), self.prober.probe(target).await) })
            .collect();
        let mut probes: HashMap<Key, Vec<Probe>> = HashMap::new();
        while let Some((key, answered)) = asking.next().await {
            probes.insert(key, answered);
        }
        for (key, proof) in self.proofs().await {
            probes.entry(key).or_default().push(proof);
        }
        self.send(probes, Some(turn)).await;
    }

    /// Who lied is asked for the same blob again, or, if that is gone, for the one that all should have.
    /// Where that takes too long, those that are left have their turn in another round.
    async fn proofs(&self) -> Vec<(Key, Probe)> {
        let known = self.store.origins().await.unwrap_or_default();
        let (mut proofs, began) = (Vec::new(), Instant::now());
        let liars = known.into_iter().filter_map(|(key, it)| Some((key, it.record.lied_about?)));
        for (key, blob) in liars {
            if began.elapsed() >= self.interval {
                break;
            }
            let again = self.verify(&key, &blob).await;
            let is_settled =
                again.as_ref().is_some_and(|(finding, _)| *finding != Finding::Unknown);
            let proof = match self.prober.known_blob() {
                Some(other) if !is_settled => self.verify(&key, &other).await,
                _ => again,
            };
            proofs.extend(proof.map(|(_, probe)| (key, probe)));
        }
        proofs
    }
}
