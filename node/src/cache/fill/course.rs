//! Whom a fill asks next, and what all the answers together mean.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::error::{Exhaustion, FillError, Tried};
use crate::origin::{Origin, attempt::AttemptError};

/// The origins of one fill, from best to worst, and what they said.
///
/// `tries` origins may fail before the fill is given up. One that lied does not count: the next
/// one is asked as long as there is one, so that a single honest origin suffices.
#[derive(Debug)]
pub(super) struct Course {
    waiting: VecDeque<Arc<Origin>>,
    origins: usize,
    tries: usize,
    alone: bool,
    /// Lengths too large to hold, each with how many origins say so.
    large: Vec<(u64, usize)>,
    not_found: usize,
    blocked: usize,
    timed_out: usize,
    busy: usize,
    retry_after: Option<Duration>,
    tried: Tried,
}

/// Origins that must say "no such blob" before it is believed; one alone may be behind or lie.
const WITNESSES: usize = 2;

impl Course {
    pub(super) fn new(ranked: Vec<Arc<Origin>>, tries: usize) -> Self {
        Self {
            origins: ranked.len(),
            waiting: ranked.into(),
            tries,
            alone: false,
            large: Vec::new(),
            not_found: 0,
            blocked: 0,
            timed_out: 0,
            busy: 0,
            retry_after: None,
            tried: Tried::default(),
        }
    }

    /// The next origin to ask, or why there is none.
    pub(super) fn next(&mut self) -> Result<Arc<Origin>, FillError> {
        let witnesses = WITNESSES.min(self.origins);
        if self.not_found > 0 && self.not_found + self.blocked >= witnesses {
            return Err(FillError::NotFound);
        }
        if self.blocked >= witnesses.max(1) {
            return Err(FillError::Blocked);
        }
        if self.tries == 0 {
            return Err(self.exhausted());
        }
        self.waiting.pop_front().ok_or_else(|| self.exhausted())
    }

    /// Notes that an origin failed or refused.
    pub(super) fn failed(&mut self, origin: &Origin, error: &AttemptError) {
        origin.failed(error);
        self.tries -= 1;
        self.busy += usize::from(error.is_busy());
        self.timed_out += usize::from(error.is_timeout());
        self.retry_after = self.retry_after.max(error.retry_after());
        if let AttemptError::Refused(refusal) = error {
            self.not_found += usize::from(refusal.is_not_found());
            self.blocked += usize::from(refusal.is_blocked());
        }
        self.tried.push(origin.name().clone(), error);
    }

    /// Notes that the bytes of an origin were not the blob.
    pub(super) fn lied(&mut self, origin: &Origin) {
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
    pub(super) fn claims_large(&mut self, total: u64) -> bool {
        let witnesses = WITNESSES.min(self.origins);
        match self.large.iter_mut().find(|(claimed, _)| *claimed == total) {
            Some((_, count)) => {
                *count += 1;
                *count >= witnesses
            }
            None => {
                self.large.push((total, 1));
                witnesses <= 1
            }
        }
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
