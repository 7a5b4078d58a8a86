//! Receipts: opened with a change, kept elsewhere when they are done, or undone with it.

use std::collections::HashSet;

use tokio::{sync::watch, time::Instant};
use wcdn_proto::{Position, pb::admin::v1 as admin};

use super::{
    MAX_LINES, MAX_OPEN, NAMED, Tracker,
    node::Node,
    receipt::{self, Open},
};
use crate::change::Recorded;

impl Tracker {
    /// These changes are in the log, which ends there as far as is known now. `since` is when they were
    /// committed, or before that.
    pub(crate) fn committed(
        &mut self,
        changes: impl IntoIterator<Item = Recorded>,
        head: Position,
        since: Instant,
        now: Instant,
    ) {
        self.heads.grow(head, now);
        for change in changes {
            self.open(change, since);
        }
        self.make_room();
    }

    /// Forgets receipts beyond what memory may hold: settled ones first, of which no more than details
    /// are lost, then the oldest.
    fn make_room(&mut self) {
        let is_over = |open: usize, lines: usize| open > MAX_OPEN || lines > MAX_LINES;
        if !is_over(self.open.len(), self.lines) {
            return;
        }
        let (mut open, mut lines, mut going) = (self.open.len(), self.lines, Vec::new());
        let settled = self.open.iter().filter(|(_, open)| open.settled.is_some());
        let others = self.open.iter().filter(|(_, open)| open.settled.is_none());
        for (place, receipt) in settled.chain(others) {
            if !is_over(open, lines) {
                break;
            }
            (open, lines) = (open - 1, lines - receipt.lines.len());
            going.push(*place);
        }
        for place in going {
            if let Some(forgotten) = self.open.remove(&place) {
                self.close(&forgotten);
                self.forgotten += 1;
            }
        }
    }

    fn open(&mut self, change: Recorded, since: Instant) {
        let open = self.begin(change, since);
        self.lines += open.lines.len();
        self.by_id.insert(open.change.id.clone(), open.change.last);
        self.open.insert(open.change.last, open);
    }

    /// A receipt with every node that there is, and what it has applied.
    fn begin(&self, change: Recorded, since: Instant) -> Open {
        let mut open = Open::new(change, since);
        open.log = open.log.max(self.heads.last().epoch);
        for Node { who, applied, lost, .. } in self.nodes.values() {
            match lost {
                None => {
                    open.wait_for(&who.node, &who.region);
                }
                Some(lost) if since.saturating_duration_since(*lost) < NAMED => {
                    open.name_lost(&who.node, &who.region);
                }
                Some(_) => continue,
            }
            if open.is_covered_by(*applied) {
                open.applied(&who.node, since);
            }
        }
        open.settle(since, |_| None);
        open
    }

    fn close(&mut self, open: &Open) {
        self.lines -= open.lines.len();
        self.by_id.remove(&open.change.id);
    }

    /// Of these changes, the log of this epoch has those, and lacks the others: they are undone, and
    /// nobody has a receipt of them any more.
    pub(crate) fn found(
        &mut self,
        doubtful: &[String],
        there: &HashSet<String>,
        epoch: u64,
        now: Instant,
    ) {
        for id in doubtful {
            let Some(place) = self.by_id.get(id).copied() else { continue };
            if !there.contains(id) {
                if let Some(open) = self.open.remove(&place) {
                    self.close(&open);
                }
                continue;
            }
            let Some(open) = self.open.get_mut(&place) else { continue };
            open.log = open.log.max(epoch);
            for Node { who, applied, .. } in self.nodes.values() {
                if open.is_covered_by(*applied) {
                    open.applied(&who.node, now);
                }
            }
        }
    }

    /// These receipts are kept elsewhere.
    pub(crate) fn kept(&mut self, receipts: &[admin::Receipt]) {
        for id in receipts.iter().filter_map(|receipt| Some(&receipt.change.as_ref()?.id)) {
            let place = self.by_id.get(id).copied();
            if let Some(open) = place.and_then(|place| self.open.remove(&place)) {
                self.close(&open);
            }
        }
    }

    /// An open receipt, and whether nothing can be added to it any more.
    pub(crate) fn receipt(&self, id: &str) -> Option<(admin::Receipt, bool)> {
        let open = self.open.get(self.by_id.get(id)?)?;
        let receipt = receipt::wire(open);
        let is_final = receipt.settled && open.is_told();
        Some((receipt, is_final))
    }

    /// Whether an open receipt is settled; so is one that is not open.
    pub(crate) fn is_settled(&self, id: &str) -> bool {
        let open = self.by_id.get(id).and_then(|place| self.open.get(place));
        open.is_none_or(|open| open.settled.is_some())
    }

    /// Rings whenever an open receipt grows.
    pub(crate) fn bell(&mut self, id: &str) -> Option<watch::Receiver<()>> {
        Some(self.open.get_mut(self.by_id.get(id)?)?.bell())
    }

    /// What can be said of a change whose receipt is no longer in memory and was never kept: who has
    /// applied it by now, without times.
    pub(crate) fn late_receipt(&self, change: Recorded, now: Instant) -> admin::Receipt {
        // Times of this receipt are not known, so each is none.
        let mut open = self.begin(change, now);
        open.settle(now, |name| {
            receipt::given_up(self.nodes.get(name), self.windows, &self.heads, now)
        });
        receipt::wire(&open)
    }

    /// Adds to a receipt that was kept elsewhere who has applied its change since.
    pub(crate) fn bring_up(&self, receipt: &mut admin::Receipt) {
        receipt::bring_up(receipt, &self.nodes);
    }

    /// Receipts that are not kept elsewhere yet.
    pub(crate) fn open_receipts(&self) -> usize {
        self.open.len()
    }

    /// Receipts that lost their times because there were too many, since this was asked last.
    pub(crate) fn forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }
}
