//! How an origin has behaved lately, and for how long that counts.

use std::time::Duration;

use tokio::time::Instant;

/// The record of one origin: pure, driven by whoever asks it.
///
/// ```text
///            outage, 3 faults in a row, more than half of the recent answers faults, a lie
///   Passing ─────────────────────────────────────────────────────────────▶ Ejected
///      ▲                                                                    │    ▲
///      │ answer                        the time-out ends, somebody asks     ▼    │ fault: twice as long
///      └──────────────────────────────────────────────────────────────── Probing
/// ```
///
/// Where there is nobody better, it may be asked before its time-out ends. That is a probe too,
/// unless it had lied; failing then does not make the time-out longer. A busy origin (429, 503) is backed off from,
/// which is counted apart: it is no fault.
#[derive(Debug, Default)]
pub struct Standing {
    state: State,
    /// Faults in a row.
    strikes: u32,
    recent: Recent,
    /// How long the last ejection was meant to last, and when it was to end.
    last: Option<(Duration, Instant)>,
    backoffs: u32,
    backoff: Option<Instant>,
    /// Whether it said itself when to come back.
    is_told: bool,
    /// The smallest blob it refused as too large, and until when that is remembered.
    refused: Option<(u64, Instant)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Passing,
    Ejected {
        until: Instant,
        lied: bool,
    },
    /// One request tries whether it is well. Without an answer it stays ejected until then.
    Probing {
        since: Instant,
        until: Instant,
    },
}

/// Whether an origin should be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// As any other.
    Passing,
    /// After the others: it has no room for us until then.
    BackingOff(Instant),
    /// After the others: it failed. Where a probe is under way, the end lies in the past.
    Ejected(Instant),
}

/// What a request says about the origin that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It answered as an origin should, if only that there is no such blob.
    Answered,
    /// It has no room for us, and may have said when to come back.
    Busy(Option<Duration>),
    /// It answered wrongly; that happens.
    Fault,
    /// It cannot be reached, or keeps us waiting: the next request would fare alike.
    Outage,
    /// Its bytes are not the blob.
    Lie,
}

/// The first ejection; doubled by each further one.
const FIRST_EJECTION: Duration = Duration::from_secs(1);

/// The longest ejection, and that for a lie, which is no accident of load.
pub const LONGEST_EJECTION: Duration = Duration::from_secs(60);

/// The first back-off; doubled by each further one in a row.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// The longest back-off of an origin that does not say when to come back.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// The longest `Retry-After` that is honoured.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Faults in a row that eject.
const MAX_STRIKES: u32 = 3;

/// How long it is remembered that a blob was too large: operators change their limits.
const REFUSAL_TTL: Duration = Duration::from_secs(600);

impl Standing {
    /// Whether it should be asked now. Where its time-out has ended it passes, until somebody
    /// [`admit`](Self::admit)s the request that tries it.
    pub fn availability(&self, now: Instant) -> Availability {
        match self.state {
            State::Ejected { until, .. } if now < until => return Availability::Ejected(until),
            State::Probing { since, .. } => return Availability::Ejected(since),
            State::Passing | State::Ejected { .. } => {}
        }
        match self.backoff.filter(|end| now < *end) {
            Some(end) => Availability::BackingOff(end),
            None => Availability::Passing,
        }
    }

    /// For how long it must not be asked, whatever the need: it said so itself.
    pub fn told_to_wait(&self, now: Instant) -> Option<Duration> {
        self.backoff.filter(|end| self.is_told && now < *end).map(|end| end - now)
    }

    /// Whether one request is trying if it is well again; others are to wait for that.
    pub fn is_probed(&self) -> bool {
        matches!(self.state, State::Probing { .. })
    }

    /// Begins a request; `true` if it is the one that tries whether the origin is well again.
    pub fn admit(&mut self, now: Instant) -> bool {
        match self.state {
            State::Ejected { until, lied } if until <= now || !lied => {
                self.state = State::Probing { since: now, until };
                true
            }
            _ => false,
        }
    }

    /// The request that was to try it ended. Without a verdict the next one may try.
    pub fn probe_ended(&mut self, now: Instant) {
        if let State::Probing { until, .. } = self.state {
            self.state = State::Ejected { until: until.max(now), lied: false };
        }
    }

    /// Notes what came of a request.
    pub fn note(&mut self, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Answered => {
                self.backoffs = 0;
                self.answered(now);
            }
            Verdict::Busy(retry_after) => {
                self.answered(now);
                self.back_off(now, retry_after);
            }
            Verdict::Fault => {
                self.strikes = self.strikes.saturating_add(1);
                self.recent.add(1.0);
                if self.strikes >= MAX_STRIKES || self.recent.is_bad() || self.is_on_trial(now) {
                    self.eject(now, None);
                }
            }
            Verdict::Outage => {
                self.strikes = self.strikes.saturating_add(1);
                self.eject(now, None);
            }
            Verdict::Lie => self.eject(now, Some(LONGEST_EJECTION)),
        }
    }

    /// Notes that it began to serve a blob of this length.
    pub fn serves(&mut self, length: u64) {
        self.refused = self.refused.filter(|(least, _)| length < *least);
    }

    /// Notes that it refused a blob of this length as too large.
    pub fn refused(&mut self, length: u64, now: Instant) {
        let least = self.refused_from(now).map_or(length, |least| least.min(length));
        self.refused = Some((least, now + REFUSAL_TTL));
    }

    /// The length from which on it refuses blobs, as far as is known.
    pub fn refused_from(&self, now: Instant) -> Option<u64> {
        self.refused.filter(|(_, end)| now < *end).map(|(least, _)| least)
    }

    /// Faults in a row.
    pub fn strikes(&self) -> u32 {
        self.strikes
    }

    /// Whether it is ejected, or was and has not proved to be well since.
    pub fn is_ejected(&self) -> bool {
        self.state != State::Passing
    }

    fn answered(&mut self, now: Instant) {
        self.strikes = 0;
        self.recent.add(0.0);
        if self.is_on_trial(now) {
            self.state = State::Passing;
        }
    }

    /// Whether the next verdict decides.
    fn is_on_trial(&self, now: Instant) -> bool {
        match self.state {
            State::Passing => false,
            State::Ejected { until, .. } => until <= now,
            State::Probing { .. } => true,
        }
    }

    /// Ejects it for `span` because it lied, or for twice as long as the last time. An ejection
    /// long ago counts no more; one that is running is not made longer by further failures.
    fn eject(&mut self, now: Instant, span: Option<Duration>) {
        self.probe_ended(now);
        if matches!(self.state, State::Ejected { until, .. } if now < until) && span.is_none() {
            return;
        }
        let doubled = match self.last {
            Some((last, end)) if now < end + LONGEST_EJECTION => last * 2,
            _ => FIRST_EJECTION,
        };
        let lied = span.is_some();
        let span = span.unwrap_or(doubled).min(LONGEST_EJECTION);
        self.last = Some((span, now + span));
        self.state = State::Ejected { until: now + span, lied };
        self.recent = Recent::default();
    }

    fn back_off(&mut self, now: Instant, retry_after: Option<Duration>) {
        let doubled = FIRST_BACKOFF.saturating_mul(1 << self.backoffs.min(10)).min(LONGEST_BACKOFF);
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let end = now + doubled.max(asked);
        // Requests that ran side by side are told the same once.
        if self.backoff.is_none_or(|running| running <= now) {
            self.backoffs = self.backoffs.saturating_add(1);
        }
        self.is_told = retry_after.is_some() || self.told_to_wait(now).is_some();
        self.backoff = Some(self.backoff.map_or(end, |running| running.max(end)));
    }
}

/// The share of faults among the last answers, about fifty of them: each one fades by a fiftieth
/// with every further one.
#[derive(Debug, Default)]
struct Recent {
    /// Answers in all, not faded.
    seen: u32,
    answers: f64,
    faults: f64,
}

/// What an answer keeps of its weight when the next one comes.
const FADE: f64 = 1.0 - 1.0 / 50.0;

/// Answers below which their share says nothing.
const LEAST_ANSWERS: u32 = 10;

impl Recent {
    fn add(&mut self, fault: f64) {
        self.seen = self.seen.saturating_add(1);
        self.answers = self.answers * FADE + 1.0;
        self.faults = self.faults * FADE + fault;
    }

    fn is_bad(&self) -> bool {
        self.seen >= LEAST_ANSWERS && self.faults > self.answers / 2.0
    }
}

#[cfg(test)]
mod tests;
