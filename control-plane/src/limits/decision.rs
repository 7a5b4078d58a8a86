//! What a caller is told of its budget.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};
use wcdn_daemon::gcra::Rate;

/// What became of a request, and what is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// "key" or "anonymous".
    policy: &'static str,
    /// Requests a minute.
    pub(crate) quota: u32,
    /// Requests that are left now.
    pub(crate) left: u64,
    /// Until all of them are there again.
    reset: Duration,
    /// How long to wait, if this one was too many.
    pub(crate) wait: Option<Duration>,
}

/// As `draft-ietf-httpapi-ratelimit-headers` has them.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl Decision {
    /// By how far what is spent lies ahead of now, in nanoseconds.
    pub(super) fn new(
        policy: &'static str,
        quota: u32,
        rate: Rate,
        ahead: u64,
        wait: Option<Duration>,
    ) -> Self {
        let left = if wait.is_some() { 0 } else { rate.left(ahead) };
        Self { policy, quota, left, reset: Duration::from_nanos(ahead), wait }
    }

    /// Tells it in headers.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let Self { policy, quota, left, .. } = self;
        let reset = whole_seconds(self.reset);
        let texts = [
            (RATE_LIMIT_POLICY, format!("\"{policy}\";q={quota};w=60")),
            (RATE_LIMIT, format!("\"{policy}\";r={left};t={reset}")),
        ];
        for (name, text) in texts {
            headers.insert(name, HeaderValue::try_from(text).expect("it is visible ASCII"));
        }
        if let Some(wait) = self.wait {
            headers.insert(RETRY_AFTER, whole_seconds(wait).max(1).into());
        }
    }
}

/// Rounded up: whoever waits so long has waited long enough.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
