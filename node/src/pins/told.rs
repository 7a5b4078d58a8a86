//! What this node does for each pin that it keeps, for control planes to be told.
//!
//! Every word has a number. Whoever was told up to one is told what came after it, and whoever was told
//! nothing, or so long ago that ends are forgotten since, is told everything.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use wcdn_proto::{
    BlobId,
    pb::edge::v1::{Keeping, PinState, Pins},
};

/// The latest word on every pin.
#[derive(Debug, Default)]
pub struct Told {
    words: Mutex<Words>,
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Words {
    words: HashMap<BlobId, Word>,
    by_number: BTreeMap<u64, BlobId>,
    /// Of those that this node no longer keeps.
    ends: BTreeSet<u64>,
    /// Of the last end that was forgotten.
    forgotten: u64,
    last: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    number: u64,
    keeping: Keeping,
    reason: Arc<str>,
}

/// How far somebody was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The number of the last word.
    word: u64,
    /// Of the last end that was forgotten when this telling began.
    forgotten: u64,
}

/// What a control plane is told at once.
#[derive(Debug, PartialEq)]
pub struct Chunk {
    /// As it travels; `None` if there is nothing to tell.
    pub pins: Option<Pins>,
    /// How far it tells: whoever was told it is told what comes after.
    pub last: Mark,
    /// Whether there is no more.
    pub is_all: bool,
}

/// Characters of a reason.
const MAX_REASON: usize = 200;

/// Ends that are remembered.
const MAX_ENDS: usize = 16_384;

impl Told {
    /// This is what is done for a pin from now on.
    pub fn tell(&self, id: BlobId, keeping: Keeping, reason: &str) {
        let end = reason.char_indices().nth(MAX_REASON).map_or(reason.len(), |(at, _)| at);
        let reason = reason.get(..end).unwrap_or_default();
        let mut words = self.words.lock();
        let is_known = |word: &Word| word.keeping == keeping && &*word.reason == reason;
        let is_news = match words.words.get(&id) {
            Some(word) => !is_known(word),
            // That nothing is done is no news of what nobody heard of.
            None => keeping != Keeping::Unspecified,
        };
        if is_news {
            words.put(id, keeping, reason.into());
            let last = words.last;
            drop(words);
            self.last.send_replace(last);
        }
    }

    /// Nothing is done for it any more.
    pub fn end(&self, id: BlobId) {
        self.tell(id, Keeping::Unspecified, "");
    }

    /// Where it can be waited for that there is something to tell.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// What came after a word of this number, `most` of it at once; everything, for whoever was told
    /// nothing.
    pub fn after(&self, told: Option<Mark>, most: usize) -> Chunk {
        let words = self.words.lock();
        // No end was forgotten that it was not told.
        let is_complete =
            |told: &Mark| told.word >= words.forgotten || told.forgotten == words.forgotten;
        let told = told.filter(is_complete);
        let (begins, from) = (told.is_none(), told.map_or(0, |told| told.word + 1));
        let mut rest = words
            .by_number
            .range(from..)
            .filter(|(number, _)| !begins || !words.ends.contains(number));
        let mut last = told.map_or(0, |told| told.word);
        let mut states = Vec::new();
        for (number, id) in rest.by_ref().take(most) {
            last = *number;
            states.extend(words.words.get(id).map(|word| word.to_wire(id)));
        }
        let is_all = rest.next().is_none();
        if is_all {
            last = words.last;
        }
        let pins = (begins || !states.is_empty()).then_some(Pins { begins, states });
        let last = Mark { word: last, forgotten: words.forgotten };
        Chunk { pins, last, is_all }
    }

    /// How many pins are in each state.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for word in self.words.lock().words.values() {
            if let Some(state) = name(word.keeping) {
                *counts.entry(state).or_default() += 1;
            }
        }
        counts
    }
}

impl Words {
    fn put(&mut self, id: BlobId, keeping: Keeping, reason: Arc<str>) {
        self.last += 1;
        let number = self.last;
        if let Some(before) = self.words.insert(id, Word { number, keeping, reason }) {
            self.by_number.remove(&before.number);
            self.ends.remove(&before.number);
        }
        self.by_number.insert(number, id);
        if keeping == Keeping::Unspecified {
            self.ends.insert(number);
        }
        if self.ends.len() > MAX_ENDS
            && let Some(number) = self.ends.pop_first()
            && let Some(id) = self.by_number.remove(&number)
        {
            self.words.remove(&id);
            self.forgotten = number;
        }
    }
}

impl Word {
    fn to_wire(&self, id: &BlobId) -> PinState {
        PinState {
            id: id.as_bytes().to_vec().into(),
            keeping: self.keeping.into(),
            reason: self.reason.to_string(),
        }
    }
}

/// A state as one word; `None` of what is not kept.
pub fn name(keeping: Keeping) -> Option<&'static str> {
    match keeping {
        Keeping::Unspecified => None,
        Keeping::Filling => Some("filling"),
        Keeping::Held => Some("held"),
        Keeping::OverBudget => Some("over_budget"),
        Keeping::Failed => Some("failed"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> BlobId {
        BlobId::from_bytes([n; 32])
    }

    /// A control plane that takes what it is told.
    #[derive(Default)]
    struct Heard {
        told: Option<Mark>,
        states: BTreeMap<Vec<u8>, (i32, String)>,
    }

    impl Heard {
        fn hear(&mut self, told: &Told, most: usize) -> bool {
            let Chunk { pins, last, is_all } = told.after(self.told, most);
            self.told = Some(last);
            if let Some(Pins { begins, states }) = pins {
                if begins {
                    self.states.clear();
                }
                for PinState { id, keeping, reason } in states {
                    match keeping == i32::from(Keeping::Unspecified) {
                        true => self.states.remove(&*id),
                        false => self.states.insert(id.to_vec(), (keeping, reason)),
                    };
                }
            }
            is_all
        }
    }

    proptest! {
        #[test]
        fn however_it_is_told_all_of_it_is_known_in_the_end(
            steps in prop::collection::vec((0u8..6, 0i32..5, 0usize..4), 0..60),
        ) {
            let (told, mut heard) = (Told::default(), Heard::default());
            let mut truth = BTreeMap::new();
            for (n, keeping, most) in steps {
                let keeping = Keeping::try_from(keeping).unwrap();
                told.tell(id(n), keeping, "why");
                match keeping {
                    Keeping::Unspecified => truth.remove(id(n).as_bytes().as_slice()),
                    _ => truth.insert(id(n).as_bytes().to_vec(), (keeping.into(), "why".to_owned())),
                };
                if most > 0 {
                    heard.hear(&told, most);
                }
            }
            while !heard.hear(&told, 2) {}
            prop_assert_eq!(&heard.states, &truth);
            let mut another = Heard::default();
            while !another.hear(&told, 3) {}
            prop_assert_eq!(&another.states, &truth);
            prop_assert!(told.after(heard.told, 1).pins.is_none());
        }
    }

    #[test]
    fn whoever_was_told_before_ends_were_forgotten_is_told_everything_anew() {
        let (told, mut heard) = (Told::default(), Heard::default());
        told.tell(id(1), Keeping::Held, "");
        assert!(heard.hear(&told, 10));
        let numbered = |n: usize| BlobId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes());
        for n in 0..=MAX_ENDS {
            told.tell(numbered(n), Keeping::Filling, "");
            told.end(numbered(n));
        }
        told.end(id(1));
        let chunk = told.after(heard.told, 10);
        assert!(chunk.pins.is_some_and(|pins| pins.begins && pins.states.is_empty()));
        assert!(chunk.is_all);
        assert!(told.words.lock().words.len() <= MAX_ENDS);
    }

    #[test]
    fn what_is_told_in_pieces_after_ends_were_forgotten_has_an_end() {
        let told = Told::default();
        (1..=5).for_each(|n| told.tell(id(n), Keeping::Held, ""));
        let numbered = |n: usize| BlobId::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes());
        for n in 0..=MAX_ENDS {
            told.tell(numbered(n), Keeping::Filling, "");
            told.end(numbered(n));
        }
        let mut heard = Heard::default();
        // Ends that came since are told with it.
        assert!((0..=MAX_ENDS).any(|_| heard.hear(&told, 2)), "it has no end");
        assert_eq!(heard.states.len(), 5);
        told.end(id(1));
        while !heard.hear(&told, 2) {}
        assert_eq!(heard.states.len(), 4);
    }
}
