//! What requests say, as domain types; whatever is wrong with one is told at once.

use std::{collections::BTreeSet, time::Duration};

use wcdn_proto::{
    BlobId, ContentId, InvalidName, OriginName, Position, Purge, Region,
    pb::{admin::v1 as admin, edge::v1 as edge},
};
use wcdn_walrus::BaseUrl;

use crate::{
    refusal::{Refusal, Violation},
    tracker::Registered,
};

/// Ids of one purge.
const MAX_PURGED: usize = 100_000;

/// Ids of one block.
const MAX_BLOCKED: usize = 10_000;

/// Ids of one pin, or watched at once.
const MAX_PINNED: usize = 10_000;

/// Regions of one preload.
const MAX_REGIONS: usize = 100;

/// Origins of a pool.
const MAX_ORIGINS: usize = 1_000;

/// The weight of an origin among others.
const MAX_WEIGHT: u32 = 1_000;

/// Characters of what is said of an origin.
const MAX_WORDS: usize = 200;

/// Characters of a reason, a version, a URL.
const MAX_TEXT: usize = 500;

/// Characters of a name.
const MAX_NAME: usize = 100;

/// Characters of a token.
const MAX_TOKEN: usize = 128;

/// The longest lease of a node, as nodes limit it.
const MAX_LEASE: Duration = Duration::from_secs(5 * 60);

/// Violations that are told of one request.
const MAX_TOLD: usize = 100;

#[derive(Default)]
struct Problems(Vec<Violation>);

impl Problems {
    fn push(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        if self.0.len() < MAX_TOLD {
            self.0.push(Violation { field: field.into(), problem: problem.into() });
        }
    }

    fn none(self) -> Result<(), Refusal> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Invalid { violations: self.0 }),
        }
    }
}

/// What a purge removes.
pub(crate) fn purge(request: &admin::PurgeRequest) -> Result<Purge, Refusal> {
    match (request.all, request.ids.is_empty()) {
        (true, true) => Ok(Purge::All),
        (true, false) => Err(Refusal::invalid("all", "is set, and there are ids: choose one")),
        (false, _) => Ok(Purge::Ids(blobs(&request.ids, MAX_PURGED)?)),
    }
}

/// Blobs to keep ready, or no longer to.
pub(crate) fn pinned(ids: &[String]) -> Result<Vec<BlobId>, Refusal> {
    blobs(ids, MAX_PINNED)
}

/// Regions; none stands for all.
pub(crate) fn regions(names: &[String]) -> Result<Vec<Region>, Refusal> {
    if names.len() > MAX_REGIONS {
        let problem = format!("has {} entries; the most is {MAX_REGIONS}", names.len());
        return Err(Refusal::invalid("regions", problem));
    }
    let region = |(n, name): (usize, &String)| {
        let wrong = |error: InvalidName| {
            Refusal::invalid(format!("regions[{n}]"), format!("is wrong: {error}"))
        };
        name.parse().map_err(wrong)
    };
    names.iter().enumerate().map(region).collect()
}

/// Each once, in order. Patches of one quilt are one blob.
fn blobs(ids: &[String], most: usize) -> Result<Vec<BlobId>, Refusal> {
    let blobs: BTreeSet<BlobId> = contents(ids, most)?.iter().map(ContentId::blob).collect();
    Ok(blobs.into_iter().collect())
}

/// Ids to withhold, or no longer to.
pub(crate) fn blocked(ids: &[String]) -> Result<Vec<ContentId>, Refusal> {
    Ok(contents(ids, MAX_BLOCKED)?.into_iter().collect())
}

/// One id.
pub(crate) fn content(field: &str, text: &str) -> Result<ContentId, Refusal> {
    text.parse().map_err(|error| Refusal::invalid(field, unreadable(text, &error)))
}

/// Each once, in order: so the same ids are the same request.
fn contents(ids: &[String], most: usize) -> Result<BTreeSet<ContentId>, Refusal> {
    if ids.is_empty() {
        return Err(Refusal::invalid("ids", "is empty: name at least one id"));
    }
    if ids.len() > most {
        let problem = format!("has {} entries; the most is {most}", ids.len());
        return Err(Refusal::invalid("ids", problem));
    }
    let (mut contents, mut problems) = (BTreeSet::new(), Problems::default());
    for (n, text) in ids.iter().enumerate() {
        match text.parse::<ContentId>() {
            Ok(content) => {
                contents.insert(content);
            }
            Err(error) => problems.push(format!("ids[{n}]"), unreadable(text, &error)),
        }
    }
    problems.none().map(|()| contents)
}

fn unreadable(text: &str, error: &dyn std::error::Error) -> String {
    let shown: String = text.chars().take(80).collect();
    format!("is {shown:?}: {error}")
}

/// A token of the caller; none if it is empty.
pub(crate) fn token(text: String) -> Result<Option<String>, Refusal> {
    let field = "idempotency_token";
    if text.len() > MAX_TOKEN {
        let problem = format!("has {} bytes; the most is {MAX_TOKEN}", text.len());
        return Err(Refusal::invalid(field, problem));
    }
    if text.contains('\0') {
        return Err(Refusal::invalid(field, "has a NUL character"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// The name of a key or a hook.
pub(crate) fn name(text: String) -> Result<String, Refusal> {
    let count = text.chars().count();
    let is_name = (1..=MAX_NAME).contains(&count)
        && text.trim() == text
        && !text.contains(|c: char| c.is_control());
    if is_name {
        return Ok(text);
    }
    let shown: String = text.chars().take(MAX_NAME).collect();
    let problem = format!("is {shown:?}; use 1 to {MAX_NAME} visible characters");
    Err(Refusal::invalid("name", problem))
}

/// A text for people.
pub(crate) fn text(field: &str, text: String) -> Result<String, Refusal> {
    if text.chars().count() > MAX_TEXT {
        let problem = format!("has {} characters; the most is {MAX_TEXT}", text.chars().count());
        return Err(Refusal::invalid(field, problem));
    }
    if text.contains(|c: char| c.is_control()) {
        return Err(Refusal::invalid(field, "has control characters; write one line"));
    }
    Ok(text)
}

/// An origin pool to set.
pub(crate) fn pool(pool: Option<edge::OriginPool>) -> Result<edge::OriginPool, Refusal> {
    let pool = pool.ok_or_else(|| Refusal::invalid("pool", "is missing"))?;
    let mut problems = Problems::default();
    if pool.origins.is_empty() {
        let problem = format!("has 0 entries; give 1 to {MAX_ORIGINS}");
        problems.push("pool.origins", problem);
    } else if pool.origins.iter().all(|origin| origin.ejected) {
        problems.push("pool.origins", "are all ejected; leave one that can be asked");
    }
    origins(&mut problems, "pool.origins", &pool.origins);
    origins(&mut problems, "pool.publishers", &pool.publishers);
    problems.none().map(|()| pool)
}

fn origins(problems: &mut Problems, list: &str, origins: &[edge::Origin]) {
    if origins.len() > MAX_ORIGINS {
        let problem = format!("has {} entries; give 1 to {MAX_ORIGINS}", origins.len());
        problems.push(list, problem);
    }
    let mut names = BTreeSet::new();
    for (n, origin) in origins.iter().enumerate().take(MAX_ORIGINS) {
        let field = |name| format!("{list}[{n}].{name}");
        if let Err(error) = origin.name.parse::<OriginName>() {
            problems.push(field("name"), format!("is wrong: {error}"));
        }
        if !names.insert(origin.name.as_str()) {
            problems.push(field("name"), format!("is {:?}, as another is", origin.name));
        }
        if let Err(error) = origin.url.parse::<BaseUrl>() {
            problems.push(field("url"), format!("is wrong: {error}"));
        }
        if origin.weight > MAX_WEIGHT {
            let problem = format!("is {}; the most is {MAX_WEIGHT}", origin.weight);
            problems.push(field("weight"), problem);
        }
        for (name, words) in [("reason", &origin.reason), ("operator", &origin.operator)] {
            if words.chars().count() > MAX_WORDS || words.contains(char::is_control) {
                let problem = format!("must be one line of at most {MAX_WORDS} characters");
                problems.push(field(name), problem);
            }
        }
    }
}

/// A node, and how far it has applied the log.
pub(crate) fn register(register: edge::Register) -> Result<(Registered, Position), Refusal> {
    let lease = Duration::from_millis(register.lease_ms);
    let mut problems = Problems::default();
    let node = register.node.parse();
    let region = register.region.parse();
    if let Err(error) = &node {
        problems.push("register.node", format!("is wrong: {error}"));
    }
    if let Err(error) = &region {
        problems.push("register.region", format!("is wrong: {error}"));
    }
    if lease > MAX_LEASE {
        // Receipts wait for so long.
        let problem = format!("is {}; the most is {}", register.lease_ms, MAX_LEASE.as_millis());
        problems.push("register.lease_ms", problem);
    }
    let applied = Position::from(register.applied);
    let (version, edge_url) = (
        text("register.version", register.version)?,
        text("register.edge_url", register.edge_url)?,
    );
    problems.none()?;
    let who = Registered {
        node: node.expect("a wrong one is a problem"),
        region: region.expect("a wrong one is a problem"),
        incarnation: register.incarnation,
        version,
        edge_url,
        strict: register.strict,
        lease,
    };
    Ok((who, applied))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> String {
        BlobId::from_bytes([n; 32]).to_string()
    }

    #[test]
    fn every_wrong_id_is_told_with_its_place_and_value() {
        let ids = vec![id(1), "nope".to_owned(), id(2), "no:pe".to_owned()];
        let request = admin::PurgeRequest { ids, ..Default::default() };
        let Err(Refusal::Invalid { violations }) = purge(&request) else { panic!("accepted") };
        let fields: Vec<_> = violations.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["ids[1]", "ids[3]"]);
        assert!(violations[0].problem.starts_with("is \"nope\": "), "{violations:?}");
    }

    #[test]
    fn the_same_ids_in_another_order_are_the_same_purge() {
        let some = |ids| purge(&admin::PurgeRequest { ids, ..Default::default() }).unwrap();
        assert_eq!(some(vec![id(2), id(1), id(2)]), some(vec![id(1), id(2)]));
    }

    #[test]
    fn a_purge_names_ids_or_everything() {
        let both = admin::PurgeRequest { ids: vec![id(1)], all: true, ..Default::default() };
        assert!(purge(&both).is_err());
        assert!(purge(&admin::PurgeRequest::default()).is_err());
        let all = admin::PurgeRequest { all: true, ..Default::default() };
        assert_eq!(purge(&all).unwrap(), Purge::All);
    }

    #[test]
    fn a_pool_needs_names_that_differ_and_urls() {
        let origin = |name: &str, url: &str| edge::Origin {
            name: name.to_owned(),
            url: url.to_owned(),
            ..edge::Origin::default()
        };
        let wrong = edge::OriginPool {
            origins: vec![origin("a", "http://a"), origin("a", "ftp://b"), origin("B", "http://c")],
            ..edge::OriginPool::default()
        };
        let Err(Refusal::Invalid { violations }) = pool(Some(wrong)) else { panic!("accepted") };
        let fields: Vec<_> = violations.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["pool.origins[1].name", "pool.origins[1].url", "pool.origins[2].name"]);
        assert!(pool(Some(edge::OriginPool::default())).is_err());
    }

    #[test]
    fn a_pool_needs_one_that_can_be_asked_and_weights_and_words_have_bounds() {
        let origin = |weight, ejected, reason: &str| edge::Origin {
            name: "a".to_owned(),
            url: "http://a".to_owned(),
            weight,
            ejected,
            reason: reason.to_owned(),
            ..edge::Origin::default()
        };
        let told = |origin: edge::Origin| {
            let publishers = vec![origin.clone()];
            let wrong = edge::OriginPool { revision: 0, origins: vec![origin], publishers };
            let Err(Refusal::Invalid { violations }) = pool(Some(wrong)) else { return vec![] };
            violations.into_iter().map(|it| it.field).collect::<Vec<_>>()
        };
        assert_eq!(told(origin(0, false, "")), Vec::<String>::new());
        assert_eq!(told(origin(0, true, "")), ["pool.origins"]);
        let both = ["pool.origins[0].weight", "pool.publishers[0].weight"];
        assert_eq!(told(origin(1_001, false, "")), both);
        let both = ["pool.origins[0].reason", "pool.publishers[0].reason"];
        assert_eq!(told(origin(0, false, "two\nlines")), both);
    }
}
