//! The latest word on each id, of events that come out of order.
//!
//! An end is remembered as long as an older word may still come.

use std::{collections::HashMap, hash::Hash};

use wcdn_proto::Position;

/// What was said of ids, the latest of each.
#[derive(Debug)]
pub struct Words<I> {
    words: HashMap<I, Word, foldhash::fast::RandomState>,
    /// Ids that are set.
    count: usize,
}

/// The latest word on an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The event that said it.
    pub at: Position,
    /// Whether it sets, or ends.
    pub is_set: bool,
}

impl<I> Default for Words<I> {
    fn default() -> Self {
        Self { words: HashMap::default(), count: 0 }
    }
}

impl<I: Copy + Eq + Hash> Words<I> {
    /// Whether an id is set.
    pub fn says(&self, id: &I) -> bool {
        self.words.get(id).is_some_and(|word| word.is_set)
    }

    /// Takes the word of an event; an older one than is known changes nothing.
    pub fn hear(&mut self, id: I, word: Word) {
        if self.words.get(&id).is_some_and(|known| known.at > word.at) {
            return;
        }
        let was_set = self.words.insert(id, word).is_some_and(|word| word.is_set);
        self.count = self.count + usize::from(word.is_set) - usize::from(was_set);
    }

    /// Forgets the others.
    pub fn retain(&mut self, keeps: impl Fn(&Word) -> bool) {
        self.words.retain(|_, word| keeps(word));
        self.count = self.words.values().filter(|word| word.is_set).count();
    }

    /// Forgets ends that no older word can follow: everything up to `at` has been heard.
    pub fn forget_ends(&mut self, at: Position) {
        self.words.retain(|_, word| word.is_set || word.at > at);
    }

    /// Everything that is known.
    pub fn export(&self) -> Vec<(I, Word)> {
        self.words.iter().map(|(id, word)| (*id, *word)).collect()
    }

    /// The ids that are set.
    pub fn ids(&self) -> impl Iterator<Item = I> {
        self.words.iter().filter(|(_, word)| word.is_set).map(|(id, _)| *id)
    }

    /// How many are.
    pub fn count(&self) -> usize {
        self.count
    }
}
