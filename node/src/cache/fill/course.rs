//! Whom a fill asks next, and what all the answers together mean.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::error::{Exhaustion, FillError, Tried};
use crate::origin::{
    Need, Origin, Permit, Pool, Unready,
    attempt::AttemptError,
    witness::{self, Witnesses},
};

/// The origins of one fill, from best to worst, and what they said.
///
/// `fetch.tries` origins may fail before the fill is given up. One that lied does not count: the
/// next one is asked as long as there is one, so that a single honest origin suffices. Nor does
/// one that has no room for a request of ours: it was not asked. One that breaks off after it gave
/// a good piece comes last and may be asked again, a few times in all: where every origin breaks
/// off now and then, a large body still gets done.
#[derive(Debug)]
pub(super) struct Course {
    pool: Pool,
    waiting: VecDeque<Arc<Origin>>,
    /// Those asked of whom nothing was heard yet.
    asked: Vec<Arc<Origin>>,
    /// How many independent origins must say that there is no such blob.
    witnesses: usize,
    tries: usize,
    resumes: usize,
    alone: bool,
    /// Lengths too large to hold, each with those who say so.
    large: Vec<(u64, Witnesses)>,
    /// Those who say that there is no such blob, or withhold it.
    absent: Witnesses,
    blocked: Witnesses,
    not_found: bool,
    /// Those who refuse the blob as too large, whose length is not known yet.
    refusing: Vec<Arc<Origin>>,
    failures: usize,
    timed_out: usize,
    busy: usize,
    retry_after: Option<Duration>,
    tried: Tried,
}

/// How often origins that broke off may be asked again in one fill.
const MAX_RESUMES: usize = 8;

impl Course {
    pub(super) fn new(pool: Pool, ranked: Vec<Arc<Origin>>) -> Self {
        Self {
            witnesses: witness::needed(&ranked),
            waiting: ranked.into(),
            asked: Vec::new(),
            tries: pool.fetch().tries,
            resumes: MAX_RESUMES,
            pool,
            alone: false,
            large: Vec::new(),
            absent: Witnesses::default(),
            blocked: Witnesses::default(),
            not_found: false,
            refusing: Vec::new(),
            failures: 0,
            timed_out: 0,
            busy: 0,
            retry_after: None,
            tried: Tried::default(),
        }
    }

    /// The right to ask the next origin, or why there is none.
    ///
    /// Whoever was asked before and is not waited for any more, because a peer was faster, may be asked
    /// again.
    pub(super) fn next(&mut self) -> Result<Permit, FillError> {
        self.asked.drain(..).rev().for_each(|origin| self.waiting.push_front(origin));
        if self.blocked.suffice(self.witnesses) {
            return Err(FillError::Blocked);
        }
        if self.not_found && self.absent.suffice(self.witnesses) {
            return Err(FillError::NotFound);
        }
        if self.tries == 0 {
            return Err(self.exhausted());
        }
        let permit = self.take(Need::Choice).or_else(|_| self.take(Need::LastResort));
        let permit = permit.map_err(|unready| self.without_room(unready))?;
        if self.failures > 0 {
            self.pool.metrics().failovers.inc();
        }
        Ok(permit)
    }

    /// Whether another origin may be asked while one is.
    pub(super) fn may_hedge(&self) -> bool {
        self.tries > 1 && !self.waiting.is_empty()
    }

    /// The right to ask one more origin while another is being asked.
    pub(super) fn spare(&mut self) -> Option<Permit> {
        self.take(Need::Hedge).ok()
    }

    /// Puts back an origin that another was faster than.
    pub(super) fn put_back(&mut self, origin: Arc<Origin>) {
        self.heard_of(&origin);
        self.waiting.push_front(origin);
    }

    /// Notes that an origin answered.
    pub(super) fn heard_of(&mut self, origin: &Arc<Origin>) {
        self.asked.retain(|asked| !Arc::ptr_eq(asked, origin));
    }

    /// Takes the first origin that has room out of those waiting; the others keep their places.
    /// If none has, tells why.
    fn take(&mut self, need: Need) -> Result<Permit, Vec<Unready>> {
        let mut unready = Vec::new();
        for n in 0..self.waiting.len() {
            match self.waiting[n].acquire(need) {
                Ok(permit) => {
                    self.asked.extend(self.waiting.remove(n));
                    return Ok(permit);
                }
                Err(reason) => unready.push(reason),
            }
        }
        Err(unready)
    }

    /// Notes that an origin failed or refused.
    pub(super) fn failed(&mut self, origin: &Arc<Origin>, error: &AttemptError) {
        self.heard_of(origin);
        origin.failed(error);
        self.tries = self.tries.saturating_sub(1);
        self.failures += 1;
        self.busy += usize::from(error.is_busy());
        self.timed_out += usize::from(error.is_timeout());
        self.retry_after = self.retry_after.max(error.retry_after());
        if error.is_too_large() {
            self.refusing.push(Arc::clone(origin));
        }
        if let AttemptError::Refused(refusal) = error {
            self.not_found |= refusal.is_not_found();
            if refusal.is_not_found() || refusal.is_blocked() {
                self.absent.add(origin);
            }
            if refusal.is_blocked() {
                self.blocked.add(origin);
            }
        }
        self.tried.push(origin.name().clone(), error);
    }

    /// Notes that an origin failed after it gave a good piece of the body.
    pub(super) fn broke_off(&mut self, origin: &Arc<Origin>, error: &AttemptError) {
        self.failed(origin, error);
        if self.resumes > 0 && !self.alone {
            self.resumes -= 1;
            self.tries += 1;
            self.waiting.push_back(Arc::clone(origin));
        }
    }

    /// Notes how long the blob is: those who refused it are remembered not to serve such blobs.
    pub(super) fn has_length(&mut self, total: u64) {
        self.refusing.drain(..).for_each(|origin| origin.refuses(total));
    }

    /// Notes that the bytes of an origin were not the blob.
    pub(super) fn lied(&mut self, origin: &Origin) {
        self.failures += 1;
        self.tried.push(origin.name().clone(), &AttemptError::Lied);
    }

    /// From here on the body must come from one origin alone, because what several gave together
    /// contradicted itself. Those `origins` may be asked once more, each for the whole.
    pub(super) fn alone(&mut self, origins: impl IntoIterator<Item = Arc<Origin>>) {
        if !self.alone {
            let before = self.waiting.len();
            self.waiting.extend(origins);
            self.tries += self.waiting.len() - before;
            self.alone = true;
        }
    }

    /// Notes that an origin says the blob is too large to hold; `true` once that is believed. One
    /// that lies could otherwise keep a small blob from ever being checked.
    pub(super) fn claims_large(&mut self, origin: &Origin, total: u64) -> bool {
        let known = self.large.iter().position(|(claimed, _)| *claimed == total);
        let n = known.unwrap_or_else(|| {
            self.large.push((total, Witnesses::default()));
            self.large.len() - 1
        });
        let claim = &mut self.large[n].1;
        claim.add(origin);
        claim.suffice(self.witnesses)
    }

    /// The large length that somebody says and nobody contradicts.
    pub(super) fn undisputed_length(&self) -> Option<u64> {
        match self.large[..] {
            [(total, _)] => Some(total),
            _ => None,
        }
    }

    /// Whether the body must come from one origin.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Who was asked so far, and what came of it.
    pub(super) fn tried(&self) -> &Tried {
        &self.tried
    }

    /// Nobody who is left has room for a request, if anybody is left.
    fn without_room(&mut self, unready: Vec<Unready>) -> FillError {
        for (origin, reason) in self.waiting.iter().zip(unready) {
            origin.passed_over();
            self.busy += 1;
            if let Unready::Told(wait) = reason {
                self.retry_after = self.retry_after.max(Some(wait));
            }
            self.tried.push(origin.name().clone(), &reason);
        }
        self.exhausted()
    }

    fn exhausted(&self) -> FillError {
        let kind = if self.busy > 0 {
            Exhaustion::Busy(self.retry_after)
        } else if self.timed_out > 0 {
            Exhaustion::TimedOut
        } else {
            Exhaustion::Broken
        };
        FillError::Exhausted { tried: self.tried.clone(), kind }
    }
}
