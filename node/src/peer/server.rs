//! What other nodes of the region are answered: what is here, and what this node then fetches itself.
//!
//! A peer joins the fill of what it asks for, or begins it, as a viewer would: bytes go out as they
//! arrive, and the end waits for the check. It pays from no budget of misses, for its viewer paid at
//! its own node; instead there is a bound on what one peer, and all of them, may have fetched here.

mod accounts;
mod body;
mod connection;

use std::{ops::Range, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use rustls::ServerConfig;
use wcdn_proto::{BlobId, ContentId, NodeId};

pub(crate) use self::connection::serve;
use self::{
    accounts::{Accounts, Place},
    body::Body,
};
use super::{
    attestation::Voucher,
    error::PeerError,
    wire::{Ask, Found, Refusal},
};
use crate::{
    cache::{
        Cache, Lookup,
        entry::{Entry, Key, Part, Record},
        fill::{self, Fills, Reader, Ready, error::FillError},
        negative,
    },
    config::Config,
    edge::{Guard, response::Source},
    events::{Confirmation, Log},
    metrics::peer::PeerMetrics,
};

/// What peers are answered from.
#[derive(Debug)]
pub(crate) struct Server {
    cache: Arc<Cache>,
    fills: Fills,
    log: Arc<Log>,
    metrics: Arc<PeerMetrics>,
    voucher: Arc<Voucher>,
    accounts: Accounts,
    tls: Arc<ServerConfig>,
    /// Requests of one peer at once.
    max_requests: usize,
    /// The longest that anybody waits here for a head.
    patience: Duration,
}

/// An answer: what is said of the bytes, and the bytes.
struct Answer {
    found: Found,
    range: Range<u64>,
    held: Held,
    guard: Guard,
    place: Place,
}

/// Where the bytes of an answer come from.
enum Held {
    Entry(Arc<Entry>),
    Fill(Reader),
}

/// What is said of bytes, they themselves, and where in the blob they begin.
type Had = (Found, Held, u64);

impl Server {
    /// Answers from these.
    pub(crate) fn new(
        config: &Config,
        cache: &Arc<Cache>,
        fills: &Fills,
        metrics: &Arc<PeerMetrics>,
        tls: Arc<ServerConfig>,
        voucher: Arc<Voucher>,
    ) -> Self {
        Self {
            cache: Arc::clone(cache),
            fills: fills.clone(),
            log: Arc::clone(cache.log()),
            metrics: Arc::clone(metrics),
            voucher,
            accounts: Accounts::new(config, &metrics.serving),
            tls,
            max_requests: config.peer.max_requests,
            patience: config.fetch.first_byte_timeout.duration(),
        }
    }

    /// Answers a request.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, _) = request.into_parts();
        let (ask, node) = match Ask::of_request(&head) {
            Ok(asked) => asked,
            Err(odd) => {
                tracing::debug!(%odd, "a peer asks for something strange");
                return self.refuse(&Refusal::Malformed);
            }
        };
        match self.find(&ask, &node).await {
            Ok(answer) => self.give(ask.key, answer),
            Err(refusal) => self.refuse(&refusal),
        }
    }

    async fn find(&self, ask: &Ask, node: &NodeId) -> Result<Answer, Refusal> {
        let guard = Guard::new(&self.log, ContentId::Blob(ask.key.id));
        let guard = guard.map_err(|_| Refusal::Withheld)?;
        if self.log.confirmation() == Confirmation::Fenced {
            return Err(Refusal::Busy(None));
        }
        // Whatever is fetched now would be too old for whoever asks.
        if self.log.positions.known() < ask.least {
            return Err(Refusal::Behind);
        }
        if matches!(ask.key.part, Part::Slice(_)) && ask.slice != self.fills.slice() {
            return Err(Refusal::Malformed);
        }
        let place = self.accounts.enter(node).ok_or(Refusal::Busy(None))?;
        let (found, held, begins) = match self.at_hand(ask) {
            Some(entry) => of_entry(ask, entry, Source::Memory)?,
            None => self.fetch(ask, &place).await?,
        };
        let part = ask.key.part.range(found.total, ask.slice);
        let from = part.start.saturating_add(ask.start);
        if from > part.end {
            return Err(Refusal::Malformed);
        }
        let range = from - begins..part.end - begins;
        Ok(Answer { found, range, held, guard, place })
    }

    /// What lies in memory, if it is new enough: the part itself, or the whole that it is of.
    fn at_hand(&self, ask: &Ask) -> Option<Arc<Entry>> {
        let whole = Key { part: Part::Whole, ..ask.key };
        [whole, ask.key].iter().find_map(|key| match self.cache.lookup(key) {
            Lookup::Hit(entry) if entry.record().token >= ask.least => Some(entry),
            _ => None,
        })
    }

    async fn fetch(&self, ask: &Ask, place: &Place) -> Result<Had, Refusal> {
        self.known(ask)?;
        let ask = Ask { patience: ask.patience.min(self.patience), ..ask.clone() };
        let had = self.fills.have_for_peer(&ask, place.payer()).await;
        match had.map_err(|error| self.refusal(&ask.key.id, &error))? {
            fill::Had::Hit(entry) => of_entry(&ask, entry, Source::Memory),
            fill::Had::Filled { ready, reader, .. } => match ready {
                Ready::Entry(entry, source) => of_entry(&ask, entry, source),
                Ready::Streaming(head) => {
                    let (total, token, source) = (head.total, head.token, head.source);
                    let found = Found { total, token, age: Duration::ZERO, source };
                    let begins = ask.key.part.range(total, ask.slice).start;
                    Ok((found, Held::Fill(reader), begins))
                }
                Ready::Large { total, token } => Err(Refusal::Large { total, token }),
            },
        }
    }

    /// What is known without asking anybody.
    fn known(&self, ask: &Ask) -> Result<(), Refusal> {
        if let Some(refused) = self.cache.refused(&ask.key.id).filter(|it| it.token >= ask.least) {
            return Err(absent(&refused));
        }
        match self.cache.lookup(&Key { part: Part::Probe, ..ask.key }) {
            Lookup::Hit(entry) if ask.key.part == Part::Whole => {
                let Record { total, token, .. } = *entry.record();
                let is_large = total > self.fills.whole() && token >= ask.least;
                if is_large { Err(Refusal::Large { total, token }) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// What a peer is told of a fill that failed.
    fn refusal(&self, id: &BlobId, error: &FillError) -> Refusal {
        match error {
            // Origins said so just now; where there was no room to remember it, it counts as failed.
            FillError::NotFound | FillError::Blocked => {
                self.cache.refused(id).map_or(Refusal::Failed, |refused| absent(&refused))
            }
            FillError::Withheld => Refusal::Withheld,
            FillError::Throttled { retry_after } => Refusal::Busy(Some(*retry_after)),
            FillError::Shed(_) | FillError::Abandoned | FillError::Overtaken => Refusal::Busy(None),
            FillError::Slow { .. } => Refusal::Slow,
            FillError::Exhausted { .. }
            | FillError::Corrupt { .. }
            | FillError::Unverifiable { .. } => Refusal::Failed,
        }
    }

    fn give(&self, key: Key, answer: Answer) -> Response<Body> {
        self.metrics.answered(answer.found.source.as_str());
        let (found, length) = (answer.found, answer.range.end - answer.range.start);
        let voucher = (key.part == Part::Whole).then(|| Arc::clone(&self.voucher));
        let body = Body::new(key.id, answer, voucher, Arc::clone(&self.log));
        let mut response = Response::new(body);
        found.write(response.headers_mut());
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        self.metrics.answered(PeerError::Refused(*refusal).outcome());
        let mut response = Response::new(Body::empty());
        *response.status_mut() = refusal.status();
        refusal.write(response.headers_mut());
        response
    }
}

/// What is said of an entry.
///
/// # Errors
/// [`Refusal::Large`], where it has no bytes but the length of a large blob.
fn of_entry(ask: &Ask, entry: Arc<Entry>, source: Source) -> Result<Had, Refusal> {
    let Record { length, total, token, .. } = *entry.record();
    let is_whole = length == total;
    let part = ask.key.part.range(total, ask.slice);
    let begins = if is_whole { 0 } else { part.start };
    if length < part.end - begins {
        return Err(Refusal::Large { total, token });
    }
    let found = Found { total, token, age: entry.age(), source };
    Ok((found, Held::Entry(entry), begins))
}

fn absent(refused: &negative::Refusal) -> Refusal {
    Refusal::Absent { absence: refused.absence, token: refused.token, age: refused.age() }
}
