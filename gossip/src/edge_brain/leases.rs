//! When the head of the log was last confirmed.

use std::collections::VecDeque;

use wcdn_proto::Position;

use crate::time::Time;

/// The most polls that are waited for, and the most heads that are not applied yet. At a poll every
/// 300 ms, 16 are as old as the default window of the lease.
const MAX_WAITING: usize = 16;

/// Polls under way, heads that were answered, and what they prove together.
///
/// A poll that was sent at `t` and answered with head `h` proves, once `h` is applied, that at `t`
/// nothing was committed that is not applied: the head was read after `t`. The time of the answer
/// proves nothing, so a delayed datagram does no harm.
#[derive(Debug, Default)]
pub(super) struct Leases {
    polls: VecDeque<(u64, Time)>,
    heads: VecDeque<(Position, Time)>,
    confirmed: Option<Time>,
}

impl Leases {
    pub(super) fn poll(&mut self, nonce: u64, now: Time) {
        push(&mut self.polls, (nonce, now));
    }

    /// When the poll of this nonce was sent, if one was and nobody answered it.
    pub(super) fn sent(&self, nonce: u64) -> Option<Time> {
        self.polls.iter().find(|(n, _)| *n == nonce).map(|&(_, at)| at)
    }

    /// Notes the signed answer to the poll of this nonce.
    pub(super) fn answer(&mut self, nonce: u64, head: Position) {
        let Some(sent) = self.sent(nonce) else { return };
        self.polls.retain(|(n, _)| *n != nonce);
        push(&mut self.heads, (head, sent));
    }

    /// Notes that everything that was committed at a time is applied.
    pub(super) fn confirm(&mut self, at: Option<Time>) {
        self.confirmed = self.confirmed.max(at);
    }

    /// Notes what is applied by now.
    pub(super) fn settle(&mut self, applied: Position) {
        let proven = self.heads.iter().filter(|(head, _)| *head <= applied);
        let latest = proven.map(|&(_, sent)| sent).max();
        self.confirm(latest);
        self.heads.retain(|&(head, _)| head > applied);
    }

    pub(super) fn confirmed(&self) -> Option<Time> {
        self.confirmed
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == MAX_WAITING {
        queue.pop_front();
    }
    queue.push_back(item);
}
