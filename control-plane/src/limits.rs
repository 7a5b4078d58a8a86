//! How much callers may ask for: so many requests a minute, of a key or of an address.
//!
//! What is spent is counted here, and, where there is a Redis, there too, so that several control planes
//! give one budget together. Whoever is beyond it here is not asked about there. A Redis that does not answer
//! costs one deadline; then each control plane gives its part, until it answers again.

mod accounts;
mod decision;
mod shared;

use std::{net::IpAddr, time::Duration};

use tokio::time::Instant;
use wcdn_daemon::{
    gcra::{Rate, Spent},
    proxy::Customer,
};
use wcdn_proto::KeyId;

pub(crate) use self::decision::{Decision, whole_seconds};
use self::{accounts::Accounts, shared::Shared};
use crate::config;

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Payer {
    /// Somebody without a key.
    Address(Customer),
    /// A key, or a hook.
    Key(KeyId),
}

/// Counts, and decides.
#[derive(Debug)]
pub(crate) struct Limiter {
    beginning: Instant,
    accounts: Accounts,
    shared: Option<Shared>,
    anonymous_per_minute: u32,
    key_per_minute: u32,
    /// Nobody mistypes a key often, and each that is looked up costs a look into the store.
    failures: Option<Rate>,
    replicas: u32,
}

impl Limiter {
    /// Nothing is spent yet.
    ///
    /// # Errors
    /// If the address of the Redis makes no sense.
    pub(crate) fn new(
        limits: &config::Limits,
        password: Option<&str>,
    ) -> Result<Self, redis::RedisError> {
        let url = limits.redis_url.as_deref();
        Ok(Self {
            beginning: Instant::now(),
            accounts: Accounts::default(),
            shared: url.map(|url| Shared::new(url, password)).transpose()?,
            anonymous_per_minute: limits.anonymous_per_minute,
            key_per_minute: limits.key_per_minute,
            failures: Rate::per_minute(limits.failures_per_minute),
            replicas: limits.replicas.max(1),
        })
    }

    /// Takes a request of somebody without a key; none if there is no limit, or nobody to tell apart.
    pub(crate) async fn anonymous(&self, address: Option<IpAddr>) -> Option<Decision> {
        let payer = Payer::Address(address?.into());
        self.take(payer, "anonymous", self.anonymous_per_minute).await
    }

    /// Takes a request of a key, which may have a number of its own; none if there is no limit.
    pub(crate) async fn key(&self, id: &KeyId, own_per_minute: u32) -> Option<Decision> {
        let per_minute = if own_per_minute > 0 { own_per_minute } else { self.key_per_minute };
        self.take(Payer::Key(id.clone()), "key", per_minute).await
    }

    async fn take(&self, payer: Payer, policy: &'static str, quota: u32) -> Option<Decision> {
        let whole = Rate::per_minute(quota)?;
        let is_shared = self.shared.as_ref().is_some_and(Shared::is_up);
        let part = if is_shared { whole } else { self.part(quota) };
        let told = |ahead, wait| Decision::new(policy, quota, whole, ahead, wait);
        let (ahead, wait) = self.here(&payer, part);
        if wait.is_some() || !is_shared {
            return Some(told(ahead, wait));
        }
        let shared = self.shared.as_ref()?;
        match shared.take(&payer, whole).await {
            Some(Ok(ahead)) => Some(told(ahead, None)),
            Some(Err((ahead, wait))) => Some(told(ahead, Some(wait))),
            // It was asked in vain: this one was counted here.
            None => Some(told(ahead, None)),
        }
    }

    /// What one of several control planes gives by itself.
    fn part(&self, quota: u32) -> Rate {
        let part = (quota / self.replicas).max(1);
        Rate::per_minute(part).expect("a part is one at least")
    }

    /// Takes a request here: how far what is spent lies ahead, and how long to wait if it is too much.
    fn here(&self, payer: &Payer, rate: Rate) -> (u64, Option<Duration>) {
        let now = self.nanos();
        self.accounts.with(payer, now, |account| {
            let wait = account.requests.take(rate, now).err();
            (account.requests.ahead(now), wait)
        })
    }

    /// Whether an address may show one more key that is not known yet.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn may_try(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.with_failures(address, |failures, rate, now| {
            let ahead = failures.ahead(now);
            if rate.left(ahead) > 0 { Ok(()) } else { Err(rate.wait(ahead)) }
        })
    }

    /// An address has shown a key that is none.
    pub(crate) fn failed(&self, address: Option<IpAddr>) {
        let _is_slowed = self.with_failures(address, Spent::take).is_err();
    }

    fn with_failures(
        &self,
        address: Option<IpAddr>,
        done: impl FnOnce(&Spent, Rate, u64) -> Result<(), Duration>,
    ) -> Result<(), Duration> {
        let (Some(address), Some(rate)) = (address, self.failures) else { return Ok(()) };
        let now = self.nanos();
        let payer = Payer::Address(address.into());
        self.accounts.with(&payer, now, |account| done(&account.failures, rate, now))
    }

    /// Connects to the Redis, and again whenever that is lost, until `shutdown`.
    pub(crate) async fn keep_connected(&self, shutdown: tokio_util::sync::CancellationToken) {
        if let Some(shared) = &self.shared {
            shared.keep_connected(shutdown).await;
        }
    }

    fn nanos(&self) -> u64 {
        let since = Instant::now().saturating_duration_since(self.beginning);
        // Away from 0, from which everything spent would count.
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
