//! One question to DNS: both families at once, under one deadline.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RecordType,
};
use tokio::{pin, select, time::timeout};

use super::DnsOptions;

/// Asks name servers.
#[derive(Debug)]
pub(super) struct Lookup {
    options: DnsOptions,
    resolver: Mutex<Option<TokioResolver>>,
}

/// Addresses, and how long they hold; none of the family is an answer too.
type Answer = Result<(Vec<IpAddr>, Duration), String>;

/// How long the second family is waited for once the first has answered: enough for an answer
/// that is under way, not for a server that does not answer such questions at all (RFC 8305 §3,
/// which waits for 50 ms; it has more to lose than we, who keep what we found for minutes).
const SECOND_FAMILY: Duration = Duration::from_millis(300);

/// How often one question is sent within the deadline: datagrams get lost.
const ATTEMPTS: u32 = 3;

impl Lookup {
    pub(super) fn new(options: DnsOptions) -> Self {
        Self { options, resolver: Mutex::default() }
    }

    /// The addresses of a host, IPv6 first, and how long they hold.
    pub(super) async fn ask(&self, host: &str) -> Answer {
        let resolver = self.resolver()?;
        let limit = self.options.timeout;
        let found = timeout(limit, both(&resolver, host)).await;
        let found = found.unwrap_or_else(|_| Err(format!("no answer for {limit:?}")));
        if found.is_err() {
            // The system may ask other servers by now.
            *self.resolver.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        found
    }

    fn resolver(&self) -> Result<TokioResolver, String> {
        let mut kept = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(resolver) => Ok(resolver.clone()),
            None => {
                let made = make(&self.options).map_err(|error| error.to_string())?;
                Ok(kept.insert(made).clone())
            }
        }
    }
}

/// A resolver of these servers, or of the system's.
fn make(options: &DnsOptions) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let given = || ResolverConfig::from_name_servers(options.servers.iter().map(server).collect());
    let mut builder = if options.servers.is_empty() {
        // Without a resolv.conf a server on this host is asked, as resolv.conf(5) has it.
        let local = || ResolverConfig::from_name_servers(vec![server(&LOCAL)]);
        TokioResolver::builder_tokio()
            .unwrap_or_else(|_| TokioResolver::builder_with_config(local(), provider))
    } else {
        TokioResolver::builder_with_config(given(), provider)
    };
    let settings: &mut ResolverOpts = builder.options_mut();
    // What is known is kept by us, and the deadline is ours.
    settings.cache_size = 0;
    settings.timeout = options.timeout / ATTEMPTS;
    settings.attempts = ATTEMPTS as usize;
    builder.build()
}

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// Asks for both families. Once one has addresses, the other is waited for a moment only.
async fn both(resolver: &TokioResolver, host: &str) -> Answer {
    let (six, four) =
        (family(resolver, host, RecordType::AAAA), family(resolver, host, RecordType::A));
    pin!(six, four);
    let silent = |_| Err("no answer".to_owned());
    let suffices = |found: &Answer| found.as_ref().is_ok_and(|(found, _)| !found.is_empty());
    select! {
        found = six.as_mut() => {
            let patience = if suffices(&found) { SECOND_FAMILY } else { Duration::MAX };
            join(found, timeout(patience, four).await.unwrap_or_else(silent))
        }
        found = four.as_mut() => {
            let patience = if suffices(&found) { SECOND_FAMILY } else { Duration::MAX };
            join(timeout(patience, six).await.unwrap_or_else(silent), found)
        }
    }
}

/// Both families as one answer; one that has addresses makes up for the other's failure.
fn join(six: Answer, four: Answer) -> Answer {
    let (addresses, ttl) = match (six, four) {
        (Ok((mut six, ttl)), Ok((four, other))) => {
            let ttl = match (six.is_empty(), four.is_empty()) {
                (true, _) => other,
                (_, true) => ttl,
                _ => ttl.min(other),
            };
            six.extend(four);
            (six, ttl)
        }
        (Ok(one), Err(_)) | (Err(_), Ok(one)) if !one.0.is_empty() => one,
        (_, Err(why)) | (Err(why), _) => return Err(why),
    };
    if addresses.is_empty() { Err("there are none".to_owned()) } else { Ok((addresses, ttl)) }
}

async fn family(resolver: &TokioResolver, host: &str, kind: RecordType) -> Answer {
    let lookup = match resolver.lookup(host, kind).await {
        Ok(lookup) => lookup,
        Err(error) if error.is_no_records_found() => return Ok((Vec::new(), Duration::ZERO)),
        Err(error) => return Err(error.to_string()),
    };
    let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
    let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
    Ok((addresses, Duration::from_secs(ttl.into())))
}
