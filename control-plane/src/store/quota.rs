//! How many ids a table of ids may hold.

use std::collections::BTreeSet;

use super::{ROWS, StoreError, Tx, number, statement::Statement};

/// The rows of a table, counted within one transaction once somebody needs to know.
#[derive(Debug)]
pub(super) struct Quota {
    /// Counts them all.
    all: &'static str,
    /// Counts those whose id is in the list that follows.
    among: &'static str,
    most: usize,
    present: Option<u64>,
}

impl Quota {
    pub(super) fn of_blocks(most: usize) -> Self {
        let all = "SELECT COUNT(*) FROM blocks";
        Self { all, among: "SELECT COUNT(*) FROM blocks WHERE content IN ", most, present: None }
    }

    pub(super) fn of_pins(most: usize) -> Self {
        let all = "SELECT COUNT(*) FROM pins";
        Self { all, among: "SELECT COUNT(*) FROM pins WHERE content IN ", most, present: None }
    }

    /// The most rows.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Rows now.
    pub(super) async fn present(&mut self, tx: &mut Tx) -> Result<u64, StoreError> {
        if let Some(present) = self.present {
            return Ok(present);
        }
        let present = number(sqlx::query_scalar(self.all).fetch_one(&mut **tx).await?);
        self.present = Some(present);
        Ok(present)
    }

    /// Whether there is room for these, too; if so they count from now on.
    pub(super) async fn takes(
        &mut self,
        tx: &mut Tx,
        ids: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let present = self.present(tx).await?;
        let ids: Vec<Vec<u8>> = BTreeSet::from_iter(ids).into_iter().collect();
        let mut new = ids.len() as u64;
        for ids in ids.chunks(ROWS) {
            let mut count = Statement::new(tx, self.among);
            count.list(ids.iter().cloned());
            let known: i64 = count.build_scalar().fetch_one(&mut **tx).await?;
            new = new.saturating_sub(number(known));
        }
        let has_room = present + new <= self.most as u64;
        self.present = Some(if has_room { present + new } else { present });
        Ok(has_room)
    }

    /// So many rows are gone.
    pub(super) fn gone(&mut self, rows: u64) {
        self.present = self.present.map(|present| present.saturating_sub(rows));
    }
}
