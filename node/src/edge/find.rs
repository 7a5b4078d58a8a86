//! Finding a body: in memory, by a fill, or slice by slice.

use std::{sync::Arc, time::Duration};

use http::header;
use wcdn_proto::{BlobId, ContentId, QuiltPatchId};

use super::{
    Edge,
    error::ServeError,
    media::MediaType,
    respond::{Found, Held},
    response::{CacheResult, Facts, Source},
    serve::Asked,
    validator,
};
use crate::{
    cache::{
        Lookup,
        entry::{Entry, Key, Level, Part},
        fill::{Had, Ready, Want, error::FillError},
    },
    quilt,
};

/// Finds a blob: in memory, by a fill, or slice by slice.
pub(super) async fn blob(edge: &Edge, asked: &Asked, id: BlobId) -> Result<Found, ServeError> {
    let content = ContentId::Blob(id);
    if let Lookup::Hit(entry) = edge.cache.lookup(&blob_key(id)) {
        return Ok(Found::hit(content, entry));
    }
    if let Some(total) = known_length(edge, id)
        && total > edge.fills.whole()
    {
        return Ok(sliced(edge, asked, id, total, CacheResult::Miss(Level::Origin)).await);
    }
    let in_part = asked.byte_range.is_some() || asked.headers.contains_key(header::RANGE);
    // Whoever may begin no fill anyhow does not make Redis work either.
    if (asked.is_head || in_part)
        && edge.fills.probes()
        && !(asked.payer().may_charge() && edge.fills.region_holds(&id).await)
        && let Some(found) = probe(edge, asked, id).await?
    {
        return Ok(found);
    }
    let had =
        edge.fills.have(blob_key(id), None, asked.payer(), Want::Beginning, edge.patience).await;
    let (ready, reader, collapsed) = match had.map_err(|error| ServeError::from(&*error))? {
        Had::Filled { ready, reader, collapsed } => (ready, reader, collapsed),
        Had::Hit(entry) => return Ok(Found::hit(content, entry)),
    };
    let result = |level, source| match (source, collapsed) {
        (Source::Redis, _) => CacheResult::Hit(level),
        (_, true) => CacheResult::Collapsed(level),
        (_, false) => CacheResult::Miss(level),
    };
    match ready {
        Ready::Entry(entry, source) => {
            let result = result(entry.record().level, source);
            Ok(Found::entry(content, entry, result, source))
        }
        Ready::Streaming(head) => {
            let result = result(head.level, head.source);
            let mut facts = arriving(edge, &id, result);
            facts.media = Some(head.media);
            facts.etag = Some(head.etag);
            facts.source = head.source;
            Ok(Found { content, facts, length: head.total, held: Held::Reader(reader) })
        }
        Ready::Large { total, .. } => {
            let result = result(Level::Origin, Source::Walrus);
            Ok(sliced(edge, asked, id, total, result).await)
        }
    }
}

/// Learns the length first, where fetching the whole might be a waste: for HEAD, which needs no
/// more, and for ranges, which decides how they are fetched. `None` if the whole is to be fetched.
async fn probe(edge: &Edge, asked: &Asked, id: BlobId) -> Result<Option<Found>, ServeError> {
    let total = match known_length(edge, id) {
        Some(total) => total,
        None => match measure(edge, asked, probe_key(id)).await {
            Ok(total) => total,
            Err(error) => match &*error {
                FillError::NotFound
                | FillError::Blocked
                | FillError::Shed(_)
                | FillError::Throttled { .. } => {
                    return Err(ServeError::from(&*error));
                }
                // An empty blob has no first byte; and if origins are at fault, the fill of the
                // whole tells it better.
                _ => return Ok(None),
            },
        },
    };
    let result = CacheResult::Miss(Level::Origin);
    if total > edge.fills.whole() {
        return Ok(Some(sliced(edge, asked, id, total, result).await));
    }
    let facts = arriving(edge, &id, result);
    let content = ContentId::Blob(id);
    Ok(asked.is_head.then_some(Found { content, facts, length: total, held: Held::Nothing }))
}

/// The length of a blob, if an origin said it a moment ago.
fn known_length(edge: &Edge, id: BlobId) -> Option<u64> {
    match edge.cache.lookup(&probe_key(id)) {
        Lookup::Hit(entry) => Some(entry.record().total),
        Lookup::Refused(_) | Lookup::Miss => None,
    }
}

async fn measure(edge: &Edge, asked: &Asked, key: Key) -> Result<u64, Arc<FillError>> {
    match edge.fills.have(key, None, asked.payer(), Want::Beginning, edge.patience).await? {
        Had::Hit(entry) => Ok(entry.record().total),
        Had::Filled { ready, .. } => match ready {
            Ready::Entry(entry, _) => Ok(entry.record().total),
            Ready::Streaming(head) => Ok(head.total),
            Ready::Large { total, .. } => Ok(total),
        },
    }
}

pub(super) async fn patch(
    edge: &Edge,
    asked: &Asked,
    id: QuiltPatchId,
) -> Result<Found, ServeError> {
    let content = ContentId::Patch(id);
    if let Lookup::Hit(entry) = edge.cache.lookup(&quilt::key(id)) {
        return Ok(Found::hit(content, entry));
    }
    let entry: Arc<Entry> = edge.quilts.patch(id, asked.payer(), edge.patience).await?;
    let result = CacheResult::Miss(entry.record().level);
    Ok(Found::entry(content, entry, result, Source::Walrus))
}

/// A blob too large to hold; what it is, its first bytes tell.
async fn sliced(edge: &Edge, asked: &Asked, id: BlobId, total: u64, result: CacheResult) -> Found {
    let mut facts = arriving(edge, &id, result);
    let key = Key { id, part: Part::Beginning };
    facts.media = match edge.cache.lookup(&key) {
        Lookup::Hit(entry) => Some(entry.record().media.clone()),
        // Without them it is of no known kind, and whoever asks gets it all the same.
        Lookup::Refused(_) | Lookup::Miss => beginning(edge, asked, key, total).await.ok(),
    };
    let held = Held::Large(id, asked.payer().clone());
    Found { content: ContentId::Blob(id), facts, length: total, held }
}

async fn beginning(
    edge: &Edge,
    asked: &Asked,
    key: Key,
    total: u64,
) -> Result<MediaType, Arc<FillError>> {
    match edge.fills.have(key, Some(total), asked.payer(), Want::Whole, edge.patience).await? {
        Had::Hit(entry) => Ok(entry.record().media.clone()),
        Had::Filled { ready, .. } => match ready {
            Ready::Entry(entry, _) => Ok(entry.record().media.clone()),
            Ready::Streaming(head) => Ok(head.media),
            Ready::Large { .. } => Err(Arc::new(FillError::Abandoned)),
        },
    }
}

/// What is said of bytes that nobody has checked yet.
fn arriving(edge: &Edge, id: &BlobId, result: CacheResult) -> Facts {
    let etag =
        if edge.fills.checks() { validator::unchecked_etag(id) } else { validator::etag(id) };
    Facts {
        etag: Some(etag),
        media: None,
        identifier: None,
        result,
        source: Source::Walrus,
        age: Duration::ZERO,
        name_is_immutable: true,
    }
}

/// What a whole blob is kept under.
pub(super) fn blob_key(id: BlobId) -> Key {
    Key { id, part: Part::Whole }
}

fn probe_key(id: BlobId) -> Key {
    Key { id, part: Part::Probe }
}
