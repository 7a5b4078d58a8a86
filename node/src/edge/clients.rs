//! Viewers told apart by address, and what each may still take.

mod ledger;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
use wcdn_daemon::gcra::{Rate, Spent};

pub(crate) use self::ledger::{Clients, Entered};

/// One client: what it has open, and what it has spent.
#[derive(Debug, Default)]
struct Client {
    connections: AtomicU32,
    streams: AtomicU32,
    requests: Spent,
    misses: Spent,
    fills: AtomicU32,
}

/// Who pays for what a request makes the edge do. Clones share the account.
#[derive(Debug, Clone)]
pub struct Payer {
    client: Arc<Client>,
    clients: Clients,
}

/// Why a fill may not be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This client has begun too many; how long to wait.
    Client(Duration),
    /// This client has too many under way.
    Busy,
    /// All of them together have.
    Node(Duration),
}

/// What was paid for a fill, which is under way as long as this lives; given back on drop, unless
/// an origin was asked for it.
#[derive(Debug)]
pub(crate) struct Charge {
    _filling: Filling,
    payer: Payer,
    client: Option<Rate>,
    node: Option<Rate>,
    is_spent: AtomicBool,
}

/// One open connection of a client.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Client>);

/// One fill of a client under way.
#[derive(Debug)]
struct Filling(Arc<Client>);

/// One HTTP/2 request of a client in flight.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Client>);

impl Payer {
    /// Whether it has nothing under way, and no clone of it is held.
    pub(crate) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.client) == 1
    }

    /// Opens a connection, unless the client has `most` open.
    pub(crate) fn connect(&self, most: usize) -> Option<Connected> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        take(&self.client.connections, most).then(|| Connected(Arc::clone(&self.client)))
    }

    /// Begins an HTTP/2 request, unless the client has `most` in flight.
    pub(crate) fn begin(&self, most: u32) -> Option<InFlight> {
        take(&self.client.streams, most).then(|| InFlight(Arc::clone(&self.client)))
    }

    /// Pays for a request, where their rate is limited.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn request(&self, now: Instant) -> Result<(), Duration> {
        if !self.clients.limits_requests() {
            return Ok(());
        }
        match self.clients.rates().requests {
            Some(rate) => self.client.requests.take(rate, self.clients.nanos(now)),
            None => Ok(()),
        }
    }

    /// Whether this client may pay for a fill now.
    pub(crate) fn may_charge(&self) -> bool {
        let now = self.clients.nanos(Instant::now());
        let rates = self.clients.rates();
        self.client.fills.load(Relaxed) < rates.fills
            && rates.misses.is_none_or(|rate| self.client.misses.has_room(rate, now))
    }

    /// Whether it may, and viewers would still have half of what the whole node may.
    pub(crate) fn may_charge_behind(&self) -> bool {
        let now = self.clients.nanos(Instant::now());
        let node = self.clients.rates().node_misses.map(Rate::half);
        let leaves_half = node.is_none_or(|rate| self.clients.node_misses().has_room(rate, now));
        leaves_half && self.may_charge()
    }

    /// Pays for a fill.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing was spent.
    pub(crate) fn charge(&self) -> Result<Charge, Refusal> {
        let now = self.clients.nanos(Instant::now());
        let rates = self.clients.rates();
        if !take(&self.client.fills, rates.fills) {
            return Err(Refusal::Busy);
        }
        let _filling = Filling(Arc::clone(&self.client));
        if let Some(rate) = rates.misses {
            self.client.misses.take(rate, now).map_err(Refusal::Client)?;
        }
        if let Some(rate) = rates.node_misses
            && let Err(wait) = self.clients.node_misses().take(rate, now)
        {
            rates.misses.inspect(|rate| self.client.misses.refund(*rate));
            return Err(Refusal::Node(wait));
        }
        let (payer, is_spent) = (self.clone(), AtomicBool::new(false));
        Ok(Charge { _filling, payer, client: rates.misses, node: rates.node_misses, is_spent })
    }
}

impl Charge {
    /// An origin is asked.
    pub(crate) fn spend(&self) {
        self.is_spent.store(true, Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.is_spent.load(Relaxed) {
            return;
        }
        let Self { payer: Payer { client, clients }, .. } = self;
        self.client.inspect(|rate| client.misses.refund(*rate));
        self.node.inspect(|rate| clients.node_misses().refund(*rate));
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.0.fills.fetch_sub(1, Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

/// Raises a count that stays at `most`.
fn take(count: &AtomicU32, most: u32) -> bool {
    count.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
}

#[cfg(test)]
mod tests;
