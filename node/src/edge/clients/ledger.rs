//! The table of clients, with a bound.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;
use wcdn_daemon::{
    gcra::{Rate, Spent},
    proxy::Customer,
};

use super::{Client, Payer};
use crate::config::Limits;

/// Every client that has something open, or has spent what is not earned again. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What all [`Spent`] are counted from.
    beginning: Instant,
    /// The clients, each in the part that its hash says: behind a proxy every request looks its
    /// client up.
    parts: [Mutex<Part>; PARTS],
    /// Of the better kind: the fast one spreads neighbouring addresses unevenly now and then.
    hasher: foldhash::quality::RandomState,
    connections: AtomicUsize,
    node_misses: Spent,
    rates: ArcSwap<Rates>,
    /// Whether `rates` has one for requests: a plain flag, for it is read by every request.
    limits_requests: AtomicBool,
}

#[derive(Debug, Default)]
struct Part {
    clients: HashMap<Customer, Arc<Client>, foldhash::fast::RandomState>,
    /// One for all who found no room.
    crowd: Arc<Client>,
    swept: Option<Instant>,
}

/// The rates and counts in force.
#[derive(Debug)]
pub(super) struct Rates {
    pub(super) requests: Option<Rate>,
    pub(super) misses: Option<Rate>,
    pub(super) node_misses: Option<Rate>,
    /// Fills of one client at once.
    pub(super) fills: u32,
}

impl Rates {
    fn new(limits: &Limits) -> Self {
        let requests = limits.requests_per_second_per_client;
        let node = limits.misses_per_second;
        Self {
            requests: Rate::new(requests, requests.saturating_mul(2)),
            misses: Rate::new(limits.misses_per_client, limits.miss_burst_per_client),
            node_misses: Rate::new(node, node.saturating_mul(4)),
            fills: limits.fills_per_client,
        }
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Entered(Clients);

/// Clients told apart; more share one account. A record takes about a hundred bytes.
pub(super) const MAX_CLIENTS: usize = 65_536;

/// Parts of the table, each with a lock of its own: many more than cores that could want one.
const PARTS: usize = 64;

/// Looking for idle clients goes through a whole part, so it is not done more often than this.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

impl Clients {
    /// Nobody yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        let rates = Rates::new(limits);
        let shared = Shared {
            beginning: Instant::now(),
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: foldhash::quality::RandomState::default(),
            connections: AtomicUsize::new(0),
            node_misses: Spent::default(),
            limits_requests: AtomicBool::new(rates.requests.is_some()),
            rates: ArcSwap::from_pointee(rates),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Other rates from now on; what was spent stays spent.
    pub(crate) fn limit(&self, limits: &Limits) {
        let rates = Rates::new(limits);
        let limits_requests = rates.requests.is_some();
        self.shared.rates.store(Arc::new(rates));
        self.shared.limits_requests.store(limits_requests, Relaxed);
    }

    /// Lets a connection in, unless there are `most`.
    pub(crate) fn enter(&self, most: usize) -> Option<Entered> {
        let more = |count| (count < most).then_some(count + 1);
        self.shared.connections.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Entered(self.clone()))
    }

    /// The account of an address.
    pub(crate) fn payer(&self, address: IpAddr) -> Payer {
        let now = Instant::now();
        let client = self.client(address.into(), now);
        Payer { client, clients: self.clone() }
    }

    /// An account of its own, of nobody in the table.
    pub(crate) fn account(&self) -> Payer {
        Payer { client: Arc::default(), clients: self.clone() }
    }

    fn client(&self, key: Customer, now: Instant) -> Arc<Client> {
        let hash = self.shared.hasher.hash_one(key);
        let number = usize::try_from(hash % PARTS as u64).unwrap_or_default();
        let mut part = self.shared.parts[number].lock();
        if let Some(client) = part.clients.get(&key) {
            return Arc::clone(client);
        }
        if part.clients.len() >= MAX_CLIENTS / PARTS {
            self.sweep(&mut part, now);
        }
        if part.clients.len() >= MAX_CLIENTS / PARTS {
            return Arc::clone(&part.crowd);
        }
        Arc::clone(part.clients.entry(key).or_default())
    }

    /// Drops those who have nothing open and nothing to earn again.
    fn sweep(&self, part: &mut Part, now: Instant) {
        if part.swept.is_some_and(|swept| now - swept < SWEEP_PAUSE) {
            return;
        }
        part.swept = Some(now);
        let now = self.nanos(now);
        // Nobody else holds it, and nobody can get it while the part is locked.
        part.clients.retain(|_, client| {
            Arc::strong_count(client) > 1
                || !client.misses.is_whole(now)
                || !client.requests.is_whole(now)
        });
    }

    pub(super) fn rates(&self) -> Arc<Rates> {
        self.shared.rates.load_full()
    }

    pub(super) fn limits_requests(&self) -> bool {
        self.shared.limits_requests.load(Relaxed)
    }

    pub(super) fn node_misses(&self) -> &Spent {
        &self.shared.node_misses
    }

    pub(super) fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.shared.beginning);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shared.parts.iter().map(|part| part.lock().clients.len()).sum()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.shared.connections.fetch_sub(1, Relaxed);
    }
}
