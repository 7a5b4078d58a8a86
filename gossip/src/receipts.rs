//! Who has confirmed how much of the log, and when.
//!
//! Times are by the issuer's clock: from when it was given a commit to publish to when a confirmation
//! reached it. The node applied it before that, and no clocks need be in step.

use std::collections::VecDeque;

use wcdn_proto::{NodeId, Position, Region};

use crate::time::Time;

/// The most commits whose time is remembered.
const MAX_COMMITS: usize = 16_384;

/// The most steps of a node that are remembered: 32 kB a node. Each step is one confirmation, of
/// however many events; 1,024 are five seconds of acks at their highest rate.
const MAX_STEPS: usize = 1_024;

/// How a node stands to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeProgress {
    /// Its name.
    pub node: NodeId,
    /// Where it stands.
    pub region: Region,
    /// What is known of it.
    pub state: Confirmation,
}

/// What is known of one node and one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// It has not confirmed it.
    Pending,
    /// It has applied everything up to the position.
    Applied {
        /// At most this long after it was published; `None` if that was by another issuer, or is no
        /// longer remembered.
        after: Option<Time>,
    },
}

/// When positions were first known to be committed.
///
/// The commit was before, so a window that is counted from here ends no earlier than one that is
/// counted from the commit.
#[derive(Debug, Default)]
pub(crate) struct Commits(VecDeque<Commit>);

#[derive(Debug)]
struct Commit {
    upto: Position,
    at: Time,
    /// The first position of what this issuer published then, if it did: only of that the time means
    /// something to people.
    own: Option<Position>,
}

impl Commits {
    /// Notes that somebody committed everything up to a position.
    pub(crate) fn hear(&mut self, upto: Position, now: Time) {
        if self.head() < upto {
            self.push(self.0.len(), Commit { upto, at: now, own: None });
        }
    }

    /// Notes that this issuer committed what lies between two positions, both included, which may have
    /// been heard of before.
    pub(crate) fn publish(&mut self, first: Position, last: Position, now: Time) {
        let index = self.0.partition_point(|commit| commit.upto < last);
        match self.0.get_mut(index).filter(|commit| commit.upto == last) {
            Some(commit) if commit.own.is_some() => {}
            Some(commit) => (commit.at, commit.own) = (now, Some(first)),
            None => self.push(index, Commit { upto: last, at: now, own: Some(first) }),
        }
    }

    /// When a position was known to be committed; the oldest time that is remembered, if it was
    /// before that.
    pub(crate) fn at(&self, position: Position) -> Option<Time> {
        self.covering(position).map(|commit| commit.at)
    }

    /// The highest position that is known to be committed.
    pub(crate) fn head(&self) -> Position {
        self.0.back().map_or(Position::ORIGIN, |commit| commit.upto)
    }

    /// When this issuer published a position, if it did and remembers.
    fn published(&self, position: Position) -> Option<Time> {
        let commit = self.covering(position)?;
        commit.own.filter(|first| *first <= position).map(|_| commit.at)
    }

    fn covering(&self, position: Position) -> Option<&Commit> {
        self.0.get(self.0.partition_point(|commit| commit.upto < position))
    }

    fn push(&mut self, index: usize, commit: Commit) {
        self.0.insert(index, commit);
        if self.0.len() > MAX_COMMITS {
            self.0.pop_front();
        }
    }
}

/// What one node has confirmed over time.
///
/// Steps only rise: what a node confirmed stays confirmed when it begins anew, because it begins
/// without bytes of before that it would believe.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    steps: VecDeque<(Position, Time)>,
    /// The highest step that was forgotten.
    forgotten: Option<Position>,
}

impl Steps {
    /// Notes that everything up to a position is applied.
    pub(crate) fn note(&mut self, upto: Position, now: Time) {
        if upto == Position::ORIGIN || self.upto() >= upto {
            return;
        }
        if self.steps.len() == MAX_STEPS {
            self.forgotten = self.steps.pop_front().map(|(upto, _)| upto);
        }
        self.steps.push_back((upto, now));
    }

    /// The highest that was confirmed.
    pub(crate) fn upto(&self) -> Position {
        self.steps.back().map_or(Position::ORIGIN, |&(upto, _)| upto)
    }

    /// Whether a position is confirmed, and if so how long after its commit.
    pub(crate) fn confirmation(
        &self,
        position: Position,
        commits: &Commits,
    ) -> Option<Confirmation> {
        let index = self.steps.partition_point(|(upto, _)| *upto < position);
        let (_, at) = *self.steps.get(index)?;
        let is_own = self.forgotten.is_none_or(|forgotten| forgotten < position);
        let published = commits.published(position).filter(|_| is_own);
        let after = published.map(|published| at.saturating_sub(published));
        Some(Confirmation::Applied { after })
    }
}

#[cfg(test)]
mod tests;
