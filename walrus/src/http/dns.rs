//! The addresses of hosts, asked for with a deadline and remembered.
//!
//! The system's own resolver would do it on threads that block for as long as it takes, ten
//! seconds and more when DNS is silent, once for every connection. Here a look-up has a deadline,
//! all who wait for a name share one, and the last good answer outlives a DNS that has gone silent.

mod lookup;
mod memory;

use std::{
    collections::HashMap,
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
use tokio_util::task::TaskTracker;

use self::{
    lookup::Lookup,
    memory::{Known, Memory},
};
use super::causes;

/// How names are looked up.
#[derive(Debug, Clone)]
pub struct DnsOptions {
    /// Whom to ask; empty means whom the system asks.
    pub servers: Vec<SocketAddr>,
    /// How long one look-up may take in all.
    pub timeout: Duration,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: Duration::from_secs(2) }
    }
}

/// A host whose addresses could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the addresses of {host} cannot be found: {why}")]
pub struct Unresolved {
    host: String,
    why: Arc<str>,
}

impl Unresolved {
    /// The one that caused this error, if that is why.
    pub(crate) fn among<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        causes(error).find_map(|error| error.downcast_ref())
    }
}

/// Finds the addresses of hosts. Cheap to clone; clones share what they know.
#[derive(Debug, Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lookup: Lookup,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    /// Turns the order of addresses a step further each time.
    turn: AtomicUsize,
}

/// What is known of one host. Whoever holds the permit looks it up; the others wait for it, and if
/// it is dropped on the way, the next one does it.
#[derive(Debug)]
struct Host {
    memory: Mutex<Memory>,
    turn: Semaphore,
}

/// Addresses of each family that are tried: the time to connect is divided among them, and less
/// than half a second is too little for the other side of the world.
const MAX_ADDRESSES: usize = 4;

/// Hosts remembered. Only configured ones are ever asked for, so this is never reached.
const MAX_HOSTS: usize = 1024;

impl Resolver {
    /// One that knows nothing yet.
    pub fn new(options: DnsOptions) -> Self {
        let (lookup, hosts) = (Lookup::new(options), Mutex::default());
        Self { shared: Arc::new(Shared { lookup, hosts, turn: AtomicUsize::new(0) }) }
    }

    /// Some addresses of a host, in the order in which to try them; as [`Self::all`].
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let found = self.all(host).await?;
        let turn = self.shared.turn.fetch_add(1, Relaxed);
        Ok(in_turn(&found, turn))
    }

    /// Every address of a host, in no order.
    ///
    /// # Errors
    /// [`Unresolved`] when nobody knows them, or nobody says so in time.
    ///
    /// # Cancel safety
    /// Cancel safe: the next who waits begins anew.
    pub async fn all(&self, host: &str) -> Result<Arc<[IpAddr]>, Unresolved> {
        let found = Shared::find(&self.shared, host).await;
        found.map_err(|why| Unresolved { host: host.to_owned(), why })
    }
}

impl Shared {
    async fn find(this: &Arc<Self>, name: &str) -> Result<Arc<[IpAddr]>, Arc<str>> {
        let host = this.host(name);
        match host.known() {
            Known::Fresh(answer) => answer,
            // Somebody looks, and nobody needs to wait for it.
            Known::Stale(addresses) => {
                if host.turn.available_permits() > 0 {
                    let (this, name) = (Arc::clone(this), name.to_owned());
                    // What it finds is noted; nobody waits for the task itself.
                    TaskTracker::new().spawn(async move {
                        let _noted = this.look_up(&host, &name).await.is_ok();
                    });
                }
                Ok(addresses)
            }
            Known::Nothing => this.look_up(&host, name).await,
        }
    }

    async fn look_up(&self, host: &Host, name: &str) -> Result<Arc<[IpAddr]>, Arc<str>> {
        let Ok(_permit) = host.turn.acquire().await else {
            return Err("the resolver is closed".into());
        };
        // Whoever had the turn before may have found it.
        if let Known::Fresh(answer) = host.known() {
            return answer;
        }
        let found = self.lookup.ask(name).await;
        host.memory().note(found, Instant::now())
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= MAX_HOSTS {
            hosts.clear();
        }
        let key = name.to_ascii_lowercase();
        let new = || Arc::new(Host { memory: Mutex::default(), turn: Semaphore::new(1) });
        Arc::clone(hosts.entry(key).or_insert_with(new))
    }
}

impl Host {
    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> Known {
        self.memory().known(Instant::now())
    }
}

/// IPv6 first, where there is any (the other family follows 250 ms later if that does not connect,
/// RFC 8305); each family begins one address further than the time before, so that one that is
/// dead does not cost every connection its time.
fn in_turn(addresses: &[IpAddr], turn: usize) -> Vec<IpAddr> {
    let (mut six, mut four): (Vec<_>, Vec<_>) = addresses.iter().partition(|ip| ip.is_ipv6());
    for family in [&mut six, &mut four].into_iter().filter(|family| !family.is_empty()) {
        let step = turn % family.len();
        family.rotate_left(step);
        family.truncate(MAX_ADDRESSES);
    }
    six.into_iter().chain(four).collect()
}

#[cfg(test)]
mod tests;
