//! What must hold after every step, and what must hold in the end.

use std::time::Duration;

use wcdn_gossip::receipts::Confirmation;
use wcdn_proto::{BlobId, Position};

use crate::{
    cluster::name,
    script::blob,
    sink::Entry,
    world::{Node, SKEW, WINDOW, World},
};

/// How many blobs there are.
pub(crate) const IDS: u8 = 4;

/// How often receipts are checked if nothing but time changes them.
const RECEIPT_INTERVAL: Duration = Duration::from_millis(50);

/// Of how many commits, the latest, receipts are checked.
const RECEIPTS: usize = 12;

pub(crate) fn ids() -> impl Iterator<Item = BlobId> {
    (0..IDS).map(blob)
}

impl World {
    /// The invariants.
    pub(crate) fn check(&mut self) {
        self.check_receipts();
        for edge in 0..self.shape.edges {
            let Some(brain) = self.edge(edge) else { continue };
            let applied = brain.applied();
            let over = self.now.saturating_sub(WINDOW.mul_f64(1.0 + 1.25 * SKEW));
            self.check_position(edge, applied);
            self.check_blocks(edge, applied);
            self.check_lease(edge, over);
            let holds_lease = self.holds_lease(edge);
            for (id, entry) in self.answerable(edge) {
                let newer = self.log.purges.get(&id).into_iter().flatten().rev();
                for &(position, at) in newer.take_while(|(_, at)| *at > entry.fetched_at) {
                    let says = |what: &str| {
                        format!(
                            "edge {edge} answers {entry:?} of {id}, {position:?} purged: {what}"
                        )
                    };
                    assert!(position > applied, "{} {applied:?}", says("it reports"));
                    let receipted = self.nodes[edge].receipted;
                    assert!(position > receipted, "{} {receipted:?}", says("its receipt says"));
                    assert!(!holds_lease || at >= over, "{}", says("its lease is over"));
                }
            }
        }
    }

    /// What an edge would answer from what it holds or may read.
    fn answerable(&self, edge: usize) -> Vec<(BlobId, Entry)> {
        let node = &self.nodes[edge];
        let redis = self.redis[node.region].iter().filter(|_| self.believes_redis(edge));
        let all = node.memory.iter().chain(redis);
        let passing = all.filter(|(id, entry)| node.sink.lets_pass(**id, entry));
        passing.map(|(id, entry)| (*id, *entry)).collect()
    }

    fn check_position(&self, edge: usize, applied: Position) {
        let truth = self.nodes[edge].sink.contiguous(applied.epoch);
        assert!(
            applied == Position::ORIGIN || truth.is_some_and(|truth| truth >= applied),
            "edge {edge} reports {applied:?}, and has {truth:?}"
        );
    }

    /// What an edge said that it has applied is withheld, also after a crash that its disk outlasted.
    fn check_blocks(&self, edge: usize, applied: Position) {
        let Node { sink, said, .. } = &self.nodes[edge];
        for (id, &(position, is_blocked)) in &self.log.blocks {
            // A block that a restored log has lost is kept only where it was applied.
            let is_in = |upto: Position| position <= upto && position.epoch == upto.epoch;
            let is_due = is_blocked && (is_in(applied) || is_in(*said));
            assert!(!is_due || sink.is_blocked(*id), "edge {edge} lets {id} pass");
        }
    }

    fn check_receipts(&mut self) {
        let issuers = self.shape.edges..self.nodes.len();
        let revisions: Vec<u64> =
            issuers.clone().map(|n| self.issuer(n).map_or(0, |issuer| issuer.revision())).collect();
        let (checked, known) = &self.receipts_checked;
        if *known == revisions && self.now < *checked + RECEIPT_INTERVAL {
            return;
        }
        self.receipts_checked = (self.now, revisions);
        let commits = self.log.commits.iter().rev().map(|(position, _)| *position);
        let latest: Vec<Position> = commits.take(RECEIPTS).collect();
        for issuer in issuers {
            for &position in &latest {
                self.check_receipt(issuer, position);
            }
        }
    }

    fn check_receipt(&mut self, issuer: usize, position: Position) {
        let Some(brain) = self.issuer(issuer) else { return };
        for progress in brain.progress(position) {
            let edge = (0..self.shape.edges)
                .find(|edge| name(*edge) == progress.node)
                .expect("only edges are tracked");
            let ever = self.nodes[edge].ever;
            if let Confirmation::Applied { .. } = progress.state {
                assert!(ever >= position, "edge {edge} has {ever:?}, receipt says {position:?}");
                let receipted = self.nodes[edge].receipted.max(position);
                self.nodes[edge].receipted = receipted;
            }
        }
    }

    /// The theorem: who holds a lease has all that was committed before it. So receipts may say of a
    /// strict node that has not confirmed in time that it serves nothing older.
    fn check_lease(&self, edge: usize, over: Duration) {
        let older = self.log.commits.iter().rev().find(|(_, at)| *at < over);
        let ever = self.nodes[edge].ever;
        assert!(
            !self.holds_lease(edge) || older.is_none_or(|(position, _)| ever >= *position),
            "edge {edge} holds a lease, has {ever:?}, and {older:?} is older than the lease"
        );
    }

    /// Everybody who is up has everything, knows it, has confirmed it, and is known to have.
    pub(crate) fn check_converged(&self) {
        let head = self.log.head;
        for edge in 0..self.shape.edges {
            let Some(brain) = self.edge(edge) else { continue };
            assert_eq!(brain.applied(), head, "edge {edge} has not applied the head");
            assert_eq!(brain.known(), head, "edge {edge} does not know the head");
            assert!(self.holds_lease(edge), "edge {edge} has no lease");
            for issuer in self.shape.edges..self.nodes.len() {
                let Some(issuer) = self.issuer(issuer) else { continue };
                let progress = issuer.progress(head);
                let mut of = progress.iter().filter(|p| p.node == name(edge));
                let state = of.next().expect("it is known").state;
                let is_applied = matches!(state, Confirmation::Applied { .. });
                assert!(is_applied, "edge {edge} stands as {state:?} for {head:?}");
            }
        }
    }
}
