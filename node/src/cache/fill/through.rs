//! Reading through the node of the region that owns the blob, before any origin is asked.

use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;
use wcdn_proto::{ContentId, Position};

use super::{
    assemble::Stop,
    course::Course,
    error::FillError,
    giver::{Download, GiveError, Giver, Opened},
    task::Task,
};
use crate::{
    cache::{
        entry::Level,
        negative::{self, Absence},
    },
    edge::response::Source,
    metrics::events::Tier,
    peer::{
        Peers,
        attestation::Attestation,
        client::Peer,
        error::PeerError,
        wire::{Ask, Refusal},
    },
    verify::Verdict,
};

/// The peers that one fill may still ask.
#[derive(Debug, Default)]
pub(super) struct Route {
    waiting: VecDeque<Arc<Peer>>,
}

/// What a fill wants next.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Bytes of the part that are here.
    pub(super) got: u64,
    /// Whether a body was begun.
    pub(super) is_begun: bool,
    /// Where in the blob the rest lies, as an origin is asked; `None` for all of it.
    pub(super) range: Option<RangeInclusive<u64>>,
}

/// The share of the time that a viewer waits that peers may take for a head: where they give none, an
/// origin still can.
const SHARE: u32 = 2;

impl Route {
    /// Asks nobody any more.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl Task {
    /// Whom to ask before origins: nobody, where this node owns the blob, was asked for it itself, or
    /// does not know yet what was removed before it started.
    pub(super) fn route(&self) -> Route {
        let may_ask = !self.fill.by_itself.is_cancelled()
            && self.shared.cache.log().positions.has_caught_up();
        let peers = self.shared.peers.as_ref().filter(|_| may_ask);
        let waiting = peers.map(|peers| peers.route(&self.fill.key)).unwrap_or_default();
        Route { waiting: waiting.into() }
    }

    /// Opens a download at the next who may give the blob: a peer, then an origin. Where the head of a
    /// peer is later than is usual, the next one is asked too, within a budget, and the first head
    /// counts.
    pub(super) async fn open_next(
        &self,
        route: &mut Route,
        course: &mut Course,
        wanted: Wanted,
    ) -> Result<Opened, Stop> {
        if self.fill.by_itself.is_cancelled() || course.is_alone() {
            route.clear();
        }
        let (Some(peers), Some(peer)) = (&self.shared.peers, route.waiting.pop_front()) else {
            return self.open_origin(course, wanted).await;
        };
        let asking = self.open_peer(peers, peer, route, course, &wanted);
        if let Some(opened) = self.fill.by_itself.run_until_cancelled(asking).await {
            return opened;
        }
        route.clear();
        self.open_origin(course, wanted).await
    }

    async fn open_peer(
        &self,
        peers: &Peers,
        peer: Arc<Peer>,
        route: &mut Route,
        course: &mut Course,
        wanted: &Wanted,
    ) -> Result<Opened, Stop> {
        let mut first = Box::pin(self.ask(peer, wanted.got));
        let early = match peers.patience() {
            Some(patience) => timeout(patience, first.as_mut()).await.ok(),
            None => Some(first.as_mut().await),
        };
        match early {
            Some(opened) => return self.heard(opened, wanted),
            None if peers.may_hedge() => {}
            None => {
                let opened = first.await;
                return self.heard(opened, wanted);
            }
        }
        let mut second = Box::pin(async {
            match route.waiting.pop_front() {
                Some(peer) => Ok(self.ask(peer, wanted.got).await),
                None => self.open_origin(course, wanted.clone()).await,
            }
        });
        tokio::select! {
            biased;
            opened = first.as_mut() => {
                peers.metrics().hedge(if opened.is_ok() { "lost" } else { "won" });
                match self.heard(opened, wanted)? {
                    Ok(download) => Ok(Ok(download)),
                    Err(_passed_over) => second.await.and_then(|opened| self.heard(opened, wanted)),
                }
            }
            opened = second.as_mut() => {
                let is_of_use = matches!(opened, Ok(Ok(_)));
                peers.metrics().hedge(if is_of_use { "won" } else { "lost" });
                drop(second);
                match opened {
                    Ok(Ok(download)) => return self.heard(Ok(download), wanted),
                    Ok(Err((Giver::Origin(origin), GiveError::Origin(error)))) => {
                        course.failed(&origin, &error);
                    }
                    // A peer was noted where it was asked. Without origins the first is all there is.
                    Ok(Err(_)) | Err(_) => {}
                }
                let opened = first.await;
                self.heard(opened, wanted)
            }
        }
    }

    async fn ask(&self, peer: Arc<Peer>, got: u64) -> Opened {
        let (log, key) = (self.shared.cache.log(), self.fill.key);
        let least = log.removed.least(&key.id).max(self.least);
        let ask = Ask {
            key,
            total: self.total,
            slice: self.shared.limits.slice,
            start: got,
            // What goes on with a body must not be older than its beginning.
            least: if got > 0 { least.max(self.token()) } else { least },
            patience: self.patience(got),
        };
        match Arc::clone(&peer).open(ask).await {
            Ok(download) => {
                if download.found().source == Source::Walrus {
                    self.charge.spend();
                }
                Ok(Download::Peer(download))
            }
            Err(error) => Err((Giver::Peer(peer), GiveError::Peer(error))),
        }
    }

    /// How long a peer is waited for: all of them together, until a body is begun.
    fn patience(&self, got: u64) -> Duration {
        let all = self.shared.pool.fetch().first_byte_timeout.duration() / SHARE;
        if got > 0 { all } else { all.saturating_sub(self.began.elapsed()) }
    }

    /// What a peer's answer means for the fill: some are the end of it.
    fn heard(&self, opened: Opened, wanted: &Wanted) -> Result<Opened, Stop> {
        let refusal = match &opened {
            Err((_, GiveError::Peer(PeerError::Refused(refusal)))) => *refusal,
            _ => return Ok(opened),
        };
        let (log, id) = (self.shared.cache.log(), self.fill.key.id);
        if matches!(refusal, Refusal::Withheld) && log.withholds(&ContentId::Blob(id)) {
            return Err(FillError::Withheld.into());
        }
        if !matches!(refusal, Refusal::Withheld | Refusal::Behind | Refusal::Busy(_)) {
            // Origins were asked for us.
            self.charge.spend();
        }
        match refusal {
            _ if wanted.is_begun => Ok(opened),
            Refusal::Absent { absence, token, age } => {
                let token = token.min(log.positions.known());
                self.shared.cache.refuse(id, negative::Refusal::new(absence, token, age));
                match absence {
                    Absence::NotFound => Err(FillError::NotFound.into()),
                    Absence::Blocked => Err(FillError::Blocked.into()),
                }
            }
            Refusal::Large { total, token } if self.adopt(token) => Err(Stop::Large { total }),
            _ => Ok(opened),
        }
    }

    /// Takes the token of bytes that a peer has; `false` if they are too old to be served, or older than
    /// those that are here.
    ///
    /// It may know more of the log than this node. Then its bytes count as no newer than what this node
    /// knows: whoever stole the cluster's key could else make bytes that no removal reaches.
    pub(super) fn adopt(&self, token: Position) -> bool {
        let log = self.shared.cache.log();
        let token = token.min(log.positions.known());
        log.admits(&self.fill.key.id, token, Tier::Peer)
            && token >= *self.adopted.get_or_init(|| token)
    }

    /// Whether somebody whose word counts has checked a body of this digest.
    pub(super) fn is_vouched_for(
        &self,
        attested: Option<Attestation>,
        total: u64,
        digest: &blake3::Hash,
    ) -> bool {
        let log = self.shared.cache.log();
        let is_it = |it: &Attestation| {
            let token = it.token.min(log.positions.known());
            it.level >= Level::Attested
                && it.length == total
                && it.digest == *digest
                && log.admits(&self.fill.key.id, token, Tier::Peer)
        };
        let limits = &self.shared.limits;
        if !limits.checks || !attested.is_some_and(|it| is_it(&it)) {
            return false;
        }
        self.shared.metrics.peer.spared("peer");
        true
    }

    /// Checks a body, unless another region vouches for it before that is done: then `None`.
    pub(super) async fn check(
        &self,
        total: u64,
        digest: &blake3::Hash,
        slices: Vec<Bytes>,
    ) -> Option<Verdict> {
        let id = self.fill.key.id;
        let checking = self.shared.verifier.check(id, slices);
        let Some(notes) = self.shared.notes.as_ref().filter(|_| self.shared.limits.checks) else {
            return Some(checking.await);
        };
        tokio::select! {
            biased;
            () = notes.vouched(&id, total, digest) => {
                self.shared.metrics.peer.spared("region");
                None
            }
            verdict = checking => Some(verdict),
        }
    }

    /// What a peer vouches for at the end of a body, if its tag is right.
    pub(super) fn attested(&self, download: &Download) -> Option<Attestation> {
        let Download::Peer(download) = download else { return None };
        let peers = self.shared.peers.as_ref()?;
        let opened = peers.voucher().open(&self.fill.key.id, download.attestation()?);
        opened
            .inspect_err(|error| {
                tracing::warn!(
                    peer = %download.peer().node(), blob = %self.fill.key.id, %error,
                    "a peer's attestation is not believed"
                );
            })
            .ok()
    }
}
