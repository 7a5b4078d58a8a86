//! What this node holds of an id, for whoever asks the control plane to explain it.

use std::{sync::Arc, time::UNIX_EPOCH};

use wcdn_proto::{
    ContentId,
    pb::edge::v1::{Answer, Ask, Holding},
};

use crate::{
    cache::{
        Cache, Lookup,
        entry::{Key, Part, Record},
        fill::Fills,
    },
    quilt,
};

/// Looks in every tier.
#[derive(Debug, Clone)]
pub struct Shelf {
    cache: Arc<Cache>,
    fills: Fills,
}

impl Shelf {
    /// What there is to look into.
    pub fn new(cache: Arc<Cache>, fills: Fills) -> Self {
        Self { cache, fills }
    }

    /// The answer to a question.
    pub async fn answer(&self, Ask { id, content }: Ask) -> Answer {
        let holding = match ContentId::try_from(&content[..]) {
            Ok(content) => self.holding(&content).await,
            Err(_) => Holding::default(),
        };
        Answer { id, holding: Some(holding) }
    }

    async fn holding(&self, content: &ContentId) -> Holding {
        let log = self.cache.log();
        let blob = content.blob();
        let holding = Holding {
            blocked: log.withholds(content),
            removed: log.removed.latest_of(&blob).map(Into::into),
            applied: Some(log.positions.applied().into()),
            ..Holding::default()
        };
        let key = match content {
            ContentId::Blob(id) => Key { id: *id, part: Part::Whole },
            ContentId::Patch(file) => quilt::key(*file),
        };
        if let Lookup::Hit(entry) = self.cache.lookup(&key) {
            let holding = Holding { pinned: self.cache.pinned().get(&key).is_some(), ..holding };
            return of_record(holding, "memory", entry.record());
        }
        if self.fills.is_filling(&blob) {
            return Holding { tier: "filling".to_owned(), ..holding };
        }
        let redis = self.fills.redis().filter(|_| matches!(content, ContentId::Blob(_)));
        let record = match redis {
            Some(redis) => redis.record(&blob).await,
            None => None,
        };
        record.map_or(holding.clone(), |record| of_record(holding, "redis", &record))
    }
}

fn of_record(holding: Holding, tier: &str, record: &Record) -> Holding {
    let inserted = record.inserted.duration_since(UNIX_EPOCH).unwrap_or_default();
    Holding {
        tier: tier.to_owned(),
        length: record.length,
        verified: record.level.as_str().to_owned(),
        content_type: record.media.as_str().to_owned(),
        token: Some(record.token.into()),
        inserted_at_ms: u64::try_from(inserted.as_millis()).unwrap_or(u64::MAX),
        ..holding
    }
}
