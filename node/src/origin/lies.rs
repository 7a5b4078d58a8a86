//! The last lies of all origins, for control planes to look at.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use wcdn_proto::{BlobId, OriginName, pb::edge::v1::Lie};

/// Lies that are remembered; a liar is left alone for a minute, so there are few.
const REMEMBERED: usize = 64;

/// The last lies.
#[derive(Debug, Default)]
pub struct Lies(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// So many in all.
    count: u64,
    last: VecDeque<Lie>,
}

impl Lies {
    /// Notes that an origin sent bytes that are not the blob.
    pub fn note(&self, origin: &OriginName, blob: &BlobId) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let content = blob.as_bytes().to_vec().into();
        let mut told = self.0.lock();
        told.count += 1;
        let lie = Lie { origin: origin.to_string(), content, seq: told.count, at_ms };
        if told.last.len() == REMEMBERED {
            told.last.pop_front();
        }
        told.last.push_back(lie);
    }

    /// Those after this one that are still remembered, the first one first.
    pub fn after(&self, seq: u64) -> Vec<Lie> {
        let told = self.0.lock();
        told.last.iter().filter(|lie| lie.seq > seq).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_told_each_with_its_number() {
        let (lies, origin) = (Lies::default(), "a".parse().unwrap());
        assert_eq!(lies.after(0), []);
        for n in 0..70 {
            lies.note(&origin, &BlobId::from_bytes([n; 32]));
        }
        let seqs: Vec<_> = lies.after(0).iter().map(|lie| lie.seq).collect();
        assert_eq!(seqs, (7..=70).collect::<Vec<_>>());
        assert_eq!(lies.after(69)[0].content, vec![69; 32]);
        assert_eq!(lies.after(70), []);
    }
}
