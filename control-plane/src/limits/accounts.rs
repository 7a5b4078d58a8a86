//! What was spent, by whom, with a bound.

use std::{collections::HashMap, hash::BuildHasher, time::Duration};

use parking_lot::Mutex;
use wcdn_daemon::gcra::Spent;

use super::Payer;

/// Accounts in a table with a bound.
#[derive(Debug)]
pub(super) struct Accounts {
    parts: [Mutex<Part>; PARTS],
    hasher: std::hash::RandomState,
}

/// What somebody has spent.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) requests: Spent,
    /// Keys that are none.
    pub(super) failures: Spent,
}

#[derive(Debug, Default)]
struct Part {
    accounts: HashMap<Payer, Account>,
    /// One for all who found no room.
    crowd: Account,
    swept: u64,
}

/// Parts of the table, each with a lock of its own.
const PARTS: usize = 16;

/// Accounts in all; whoever finds no room shares one with others who do not.
const MAX_ACCOUNTS: usize = 65_536;

/// Looking for idle accounts goes through a whole part, so it is not done more often than this.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

impl Default for Accounts {
    fn default() -> Self {
        Self { parts: Default::default(), hasher: std::hash::RandomState::new() }
    }
}

impl Accounts {
    /// Does something with the account of a payer, at a time in nanoseconds.
    pub(super) fn with<T>(&self, payer: &Payer, now: u64, work: impl FnOnce(&Account) -> T) -> T {
        let part = usize::try_from(self.hasher.hash_one(payer) % PARTS as u64).unwrap_or(0);
        let mut part = self.parts[part].lock();
        if let Some(account) = part.accounts.get(payer) {
            return work(account);
        }
        if part.accounts.len() >= MAX_ACCOUNTS / PARTS {
            part.sweep(now);
        }
        match part.accounts.len() < MAX_ACCOUNTS / PARTS {
            true => work(part.accounts.entry(payer.clone()).or_default()),
            false => work(&part.crowd),
        }
    }
}

impl Part {
    /// Drops those who have nothing to earn again.
    fn sweep(&mut self, now: u64) {
        let pause = u64::try_from(SWEEP_PAUSE.as_nanos()).unwrap_or(u64::MAX);
        if self.swept > 0 && now.saturating_sub(self.swept) < pause {
            return;
        }
        self.swept = now;
        self.accounts.retain(|_, it| !it.requests.is_whole(now) || !it.failures.is_whole(now));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use wcdn_daemon::{gcra::Rate, proxy::Customer};

    use super::*;

    #[test]
    fn there_are_no_more_accounts_than_there_is_room_for() {
        let accounts = Accounts::default();
        let rate = Rate::per_minute(60).unwrap();
        let payer = |n: u32| Payer::Address(Customer::V4(Ipv4Addr::from(n)));
        let spend =
            |n, now| accounts.with(&payer(n), now, |it| it.requests.take(rate, now).is_ok());
        let count = || accounts.parts.iter().map(|it| it.lock().accounts.len()).sum::<usize>();
        let many = u32::try_from(MAX_ACCOUNTS).unwrap() * 2;
        for n in 0..many {
            spend(n, 1);
        }
        assert!(count() <= MAX_ACCOUNTS);
        // All is earned again: those who come make room.
        let later = 10 * 60_000_000_000;
        for n in many..many + 1_000 {
            spend(n, later);
        }
        assert!(count() <= 1_000, "{}", count());
    }
}
