//! What edges say about lies, and whom they are believed: pure.
//!
//! An edge that says that an origin lied may be right; it may also have bad memory, or be stolen. So its
//! word alone ejects nobody: the control plane fetches the blob itself. Who accuses honest origins again
//! and again is not listened to for a while, so that its claims do not keep those of others waiting.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;
use wcdn_proto::{BlobId, NodeId, OriginName};

use super::traffic::Claim;

/// What came of a look at a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It is true.
    Lied,
    /// It is not: the bytes are the blob.
    Honest,
    /// Nobody can say.
    Unknown,
}

/// Which claims are looked at.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Looked at a moment ago, the oldest first.
    recent: VecDeque<(Instant, OriginName, BlobId)>,
    nodes: HashMap<NodeId, Repute>,
}

/// How a node has done.
#[derive(Debug)]
struct Repute {
    /// Claims in a row that were not true.
    wrong: u32,
    heard: Instant,
}

/// What is to be done with a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// The blob is to be fetched.
    Look,
    /// It was, a moment ago.
    Known,
    /// Its node is not believed for a while.
    Doubted,
    /// It waited for too long, where others looked.
    Late,
}

/// For so long nobody looks again.
const FRESH: Duration = Duration::from_secs(60);

/// A claim that waits for longer is not looked at: control planes that do not look at any keep some.
const TIMELY: Duration = Duration::from_secs(300);

/// Claims that are remembered.
const MAX_RECENT: usize = 1_024;

/// Wrong claims in a row after which a node is not believed, and for how long.
const MAX_WRONG: u32 = 3;
const DOUBTED: Duration = Duration::from_secs(3_600);

/// Nodes that are remembered.
const MAX_NODES: usize = 10_000;

impl Evidence {
    /// What is to be done with a claim.
    pub(crate) fn hear(&mut self, claim: &Claim, now: Instant) -> Hearing {
        while self.recent.front().is_some_and(|(at, ..)| now - *at >= FRESH) {
            self.recent.pop_front();
        }
        if now.saturating_duration_since(claim.heard) >= TIMELY {
            return Hearing::Late;
        }
        let repute = self.nodes.get(&claim.node);
        if repute.is_some_and(|node| node.wrong >= MAX_WRONG && now - node.heard < DOUBTED) {
            return Hearing::Doubted;
        }
        let is_same = |(_, origin, blob): &(Instant, OriginName, BlobId)| {
            *origin == claim.origin && *blob == claim.blob
        };
        if self.recent.iter().any(is_same) { Hearing::Known } else { Hearing::Look }
    }

    /// Notes what came of a claim. True if its node is not believed from now on.
    pub(crate) fn note(&mut self, claim: &Claim, finding: Finding, now: Instant) -> bool {
        self.recent.push_back((now, claim.origin.clone(), claim.blob));
        if self.recent.len() > MAX_RECENT {
            self.recent.pop_front();
        }
        if finding == Finding::Unknown {
            return false;
        }
        if self.nodes.len() >= MAX_NODES {
            self.nodes.retain(|_, node| now - node.heard < DOUBTED);
        }
        if self.nodes.len() >= MAX_NODES && !self.nodes.contains_key(&claim.node) {
            return false;
        }
        let repute =
            self.nodes.entry(claim.node.clone()).or_insert(Repute { wrong: 0, heard: now });
        let is_old = now - repute.heard >= DOUBTED;
        repute.wrong = match finding {
            Finding::Honest if !is_old => repute.wrong.saturating_add(1),
            Finding::Honest => 1,
            _ => 0,
        };
        repute.heard = now;
        repute.wrong == MAX_WRONG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(node: &str, origin: &str, blob: u8) -> Claim {
        Claim {
            node: node.parse().unwrap(),
            region: "eu-west".parse().unwrap(),
            origin: origin.parse().unwrap(),
            blob: BlobId::from_bytes([blob; 32]),
            heard: Instant::now(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_claim_is_looked_at_once_a_minute_whoever_makes_it() {
        let (mut evidence, now) = (Evidence::default(), Instant::now());
        assert_eq!(evidence.hear(&claim("n", "a", 1), now), Hearing::Look);
        evidence.note(&claim("n", "a", 1), Finding::Lied, now);
        assert_eq!(evidence.hear(&claim("m", "a", 1), now), Hearing::Known);
        assert_eq!(evidence.hear(&claim("m", "a", 2), now), Hearing::Look);
        assert_eq!(evidence.hear(&claim("m", "b", 1), now), Hearing::Look);
        assert_eq!(evidence.hear(&claim("m", "a", 1), now + FRESH), Hearing::Look);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_wrong_again_and_again_is_not_believed_for_an_hour() {
        let (mut evidence, now) = (Evidence::default(), Instant::now());
        let told: Vec<bool> =
            (1..=3).map(|n| evidence.note(&claim("n", "a", n), Finding::Honest, now)).collect();
        assert_eq!(told, [false, false, true]);
        assert_eq!(evidence.hear(&claim("n", "b", 9), now), Hearing::Doubted);
        assert_eq!(evidence.hear(&claim("m", "b", 9), now), Hearing::Look, "others are");
        let later = now + DOUBTED;
        assert_eq!(evidence.hear(&claim("n", "b", 9), later), Hearing::Late);
        tokio::time::advance(DOUBTED).await;
        assert_eq!(evidence.hear(&claim("n", "b", 9), later), Hearing::Look);
        assert!(!evidence.note(&claim("n", "b", 9), Finding::Honest, later), "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn one_true_claim_makes_up_for_wrong_ones_and_unknown_is_no_wrong() {
        let (mut evidence, now) = (Evidence::default(), Instant::now());
        for (n, finding) in (0..).zip([
            Finding::Honest,
            Finding::Honest,
            Finding::Lied,
            Finding::Honest,
            Finding::Honest,
        ]) {
            assert!(!evidence.note(&claim("n", "a", n), finding, now));
        }
        assert!(!evidence.note(&claim("n", "a", 9), Finding::Unknown, now));
        assert_eq!(evidence.hear(&claim("n", "a", 10), now), Hearing::Look);
    }
}
