//! Who did what, from where, and what came of it.
//!
//! A change is written down in the transaction that makes it. Everything else waits here for some
//! moments, and what happens often is told together: the first of its kind at once, the others of the
//! same minute as one entry with their number.

pub(crate) mod detail;

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::auth::Author;

/// What is to be written down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    pub(crate) class: Class,
    /// Such as "purge" or "key.rotate".
    pub(crate) action: String,
    pub(crate) outcome: Outcome,
    pub(crate) author: Author,
    /// What it was done to.
    pub(crate) target: String,
    /// How many such things it stands for.
    pub(crate) count: u64,
    /// More: an object.
    pub(crate) detail: Value,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Somebody showed a key.
    Authentication,
    /// Somebody asked for something.
    Operation,
    /// Something happened by itself.
    System,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Done,
    Refused,
    Failed,
}

/// What waits to be written down.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    drafts: Vec<Draft>,
    /// What happens often, since when, and how often since it was last told.
    often: HashMap<Often, (Instant, u64)>,
    /// What there was no room for.
    lost: u64,
}

/// What makes two of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Often {
    class: Class,
    action: String,
    outcome: Outcome,
    key_id: String,
    key_name: String,
    address: String,
    target: String,
}

/// Entries that wait; what comes beyond is counted, and that is written down.
const MAX_WAITING: usize = 10_000;

/// Kinds that are counted; those beyond are one by one.
const MAX_OFTEN: usize = 10_000;

/// How long things of one kind are counted before they are told.
const MINUTE: Duration = Duration::from_secs(60);

impl Class {
    /// As one word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Operation => "operation",
            Self::System => "system",
        }
    }
}

impl Outcome {
    /// As one word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Draft {
    /// Something that was done.
    pub(crate) fn done(class: Class, action: &str, author: Author) -> Self {
        Self {
            class,
            action: action.to_owned(),
            outcome: Outcome::Done,
            author,
            target: String::new(),
            count: 1,
            detail: json!({}),
        }
    }

    /// Something that happened by itself.
    pub(crate) fn system(action: &str, target: impl Into<String>, detail: Value) -> Self {
        let done = Self::done(Class::System, action, Author::program("control-plane"));
        Self { target: target.into(), detail, ..done }
    }

    fn kind(&self) -> Often {
        let Author { key_id, name, address, .. } = &self.author;
        Often {
            class: self.class,
            action: self.action.clone(),
            outcome: self.outcome,
            key_id: key_id.clone(),
            key_name: name.clone(),
            address: address.clone(),
            target: self.target.clone(),
        }
    }
}

impl Recorder {
    /// To be written down.
    pub(crate) fn note(&self, draft: Draft) {
        self.0.lock().push(draft);
    }

    /// To be written down, if it is the first of its kind for a minute, or else to be counted.
    pub(crate) fn note_often(&self, draft: Draft, now: Instant) {
        let mut waiting = self.0.lock();
        let kind = draft.kind();
        if let Some((_, count)) = waiting.often.get_mut(&kind) {
            *count += 1;
            return;
        }
        if waiting.often.len() < MAX_OFTEN {
            waiting.often.insert(kind, (now, 0));
        }
        waiting.push(draft);
    }

    /// What is to be written down now; with `all`, also what is still being counted.
    pub(crate) fn take(&self, now: Instant, all: bool) -> Vec<Draft> {
        let mut waiting = self.0.lock();
        let mut drafts = std::mem::take(&mut waiting.drafts);
        waiting.often.retain(|kind, (since, count)| {
            let is_over = all || now.saturating_duration_since(*since) >= MINUTE;
            if is_over && *count > 0 {
                drafts.push(kind.counted(*count));
            }
            !is_over
        });
        let lost = std::mem::take(&mut waiting.lost);
        if lost > 0 {
            let detail = json!({"reason": "more happened than could be written down"});
            drafts.push(Draft { count: lost, ..Draft::system("audit.lost", "", detail) });
        }
        drafts
    }

    /// These could not be written down: they are the first next time.
    pub(crate) fn put_back(&self, drafts: Vec<Draft>) {
        let mut waiting = self.0.lock();
        let later = std::mem::replace(&mut waiting.drafts, drafts);
        later.into_iter().for_each(|draft| waiting.push(draft));
    }
}

impl Waiting {
    fn push(&mut self, draft: Draft) {
        match self.drafts.len() < MAX_WAITING {
            true => self.drafts.push(draft),
            false => self.lost = self.lost.saturating_add(draft.count),
        }
    }
}

impl Often {
    /// So many more of them.
    fn counted(&self, count: u64) -> Draft {
        let (key_id, name, address) =
            (self.key_id.clone(), self.key_name.clone(), self.address.clone());
        let author = Author { key_id, name, address, request_id: String::new() };
        let done = Draft::done(self.class, &self.action, author);
        Draft { outcome: self.outcome, target: self.target.clone(), count, ..done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used() -> Draft {
        Draft::done(Class::Authentication, "key.used", Author::program("ci"))
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_told_at_once_and_then_once_a_minute() {
        let recorder = Recorder::default();
        let begin = Instant::now();
        for _ in 0..100 {
            recorder.note_often(used(), begin);
        }
        assert_eq!(recorder.take(begin, false), [used()]);
        assert_eq!(recorder.take(begin + MINUTE / 2, false), []);
        let told = recorder.take(begin + MINUTE, false);
        assert_eq!(told, [Draft { count: 99, ..used() }]);
        assert_eq!(recorder.take(begin + 3 * MINUTE, true), []);
        recorder.note_often(used(), begin);
        recorder.note_often(used(), begin);
        assert_eq!(recorder.take(begin, true).len(), 2, "nothing is left at the end");
    }

    #[tokio::test(start_paused = true)]
    async fn what_there_is_no_room_for_is_counted_and_what_failed_comes_first_again() {
        let recorder = Recorder::default();
        for _ in 0..MAX_WAITING + 7 {
            recorder.note(used());
        }
        let taken = recorder.take(Instant::now(), false);
        assert_eq!((taken.len(), taken[MAX_WAITING].count), (MAX_WAITING + 1, 7));
        recorder.note(Draft::system("node.lost", "a", json!({})));
        recorder.put_back(vec![used()]);
        let again = recorder.take(Instant::now(), false);
        assert_eq!(
            again.iter().map(|it| &*it.action).collect::<Vec<_>>(),
            ["key.used", "node.lost"]
        );
    }
}
