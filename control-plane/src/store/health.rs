//! How origins are doing: what is known of each, its last probes, its last day, and changes of state.

use std::{collections::HashMap, time::Duration};

use sqlx::FromRow;

use super::{ROWS, Store, StoreError, Tx, jobs::Fence, number, sql, statement::Statement};
use crate::{
    change,
    health::{
        probe::{self, Asked, Probe},
        record::{Change, LAST, Origin, Record, State},
        target::{Key, Kind},
    },
};

/// Cells of a day, and how long one is in milliseconds.
const CELLS: u64 = 96;
const CELL_MS: u64 = 15 * 60 * 1_000;

/// Changes of state that are kept: a month, and so many that are read at once.
const CHANGES_MS: u64 = 30 * 86_400_000;
const MOST_CHANGES: i64 = 2_000;

/// A quarter of an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Its beginning: Unix time in milliseconds.
    pub(crate) from_ms: u64,
    pub(crate) good: u64,
    pub(crate) bad: u64,
}

/// Which note is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revision(i64);

/// What a round found, and what followed from it.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) noted: Vec<Noted>,
    pub(crate) changes: Vec<Change>,
    /// Origins that are no more.
    pub(crate) gone: Vec<Key>,
}

/// An origin, and those of its probes that are new.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) origin: Origin,
    /// In the order in which they were asked.
    pub(crate) new: Vec<Probe>,
}

#[derive(FromRow)]
struct OriginRow {
    kind: String,
    name: String,
    url: String,
    state: String,
    since_ms: i64,
    reason: String,
    score: i64,
    probes: i64,
    record: String,
}

#[derive(FromRow)]
struct ProbeRow {
    kind: String,
    name: String,
    at_ms: i64,
    asked: String,
    result: String,
    reason: String,
    took_us: i64,
}

#[derive(FromRow)]
struct ChangeRow {
    at_ms: i64,
    kind: String,
    name: String,
    from_state: String,
    to_state: String,
    reason: String,
}

fn damaged() -> StoreError {
    StoreError::Damaged { what: "record of an origin" }
}

fn key(kind: &str, name: &str) -> Result<Key, StoreError> {
    let kind = Kind::read(kind).ok_or_else(damaged)?;
    Ok(Key { kind, name: name.parse().map_err(|_| damaged())? })
}

impl OriginRow {
    fn origin(self) -> Result<Origin, StoreError> {
        Ok(Origin {
            key: key(&self.kind, &self.name)?,
            url: self.url,
            state: State::read(&self.state).ok_or_else(damaged)?,
            since_ms: number(self.since_ms),
            reason: self.reason,
            score: u8::try_from(self.score).map_err(|_| damaged())?,
            probes: Vec::new(),
            probed: number(self.probes),
            record: serde_json::from_str::<Record>(&self.record).map_err(|_| damaged())?,
        })
    }
}

impl ProbeRow {
    fn probe(self) -> Result<(Key, Probe), StoreError> {
        let outcome = probe::read_outcome(&self.result, self.reason).ok_or_else(damaged)?;
        let probe = Probe {
            at_ms: number(self.at_ms),
            asked: Asked::read(&self.asked).ok_or_else(damaged)?,
            took: Duration::from_micros(number(self.took_us)),
            outcome,
            about: None,
        };
        Ok((key(&self.kind, &self.name)?, probe))
    }
}

impl Store {
    /// Every origin of which something is known.
    pub(crate) async fn origins(&self) -> Result<HashMap<Key, Origin>, StoreError> {
        Ok(self.origins_to_note().await?.1)
    }

    /// The same, for whoever is about to note more of them.
    pub(crate) async fn origins_to_note(
        &self,
    ) -> Result<(Revision, HashMap<Key, Origin>), StoreError> {
        let mut tx = self.read_at_once().await?;
        let revision =
            sqlx::query_scalar("SELECT revision FROM origin_notes").fetch_one(&mut *tx).await?;
        let rows: Vec<OriginRow> = sqlx::query_as(
            "SELECT kind, name, url, state, since_ms, reason, score, probes, record \
             FROM origin_health",
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut origins = HashMap::new();
        for row in rows {
            let origin = row.origin()?;
            origins.insert(origin.key.clone(), origin);
        }
        // Those asked at the same time follow each other in their places.
        let rows: Vec<ProbeRow> = sqlx::query_as(
            "SELECT kind, name, at_ms, asked, result, reason, took_us FROM origin_probes \
             ORDER BY at_ms DESC, place DESC",
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in rows {
            let (key, probe) = row.probe()?;
            origins.entry(key).and_modify(|origin| origin.probes.push(probe));
        }
        Ok((Revision(revision), origins))
    }

    /// The last day of every origin, as far as something is known of it, the oldest first.
    pub(crate) async fn strips(&self, now_ms: u64) -> Result<HashMap<Key, Vec<Cell>>, StoreError> {
        let first = (now_ms / CELL_MS).saturating_sub(CELLS - 1);
        let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
            "SELECT kind, name, quarter, good, bad FROM origin_cells WHERE quarter >= $1 \
             ORDER BY quarter",
        )
        .bind(sql(first))
        .fetch_all(&self.readers)
        .await?;
        let mut strips: HashMap<Key, Vec<Cell>> = HashMap::new();
        for (kind, name, quarter, good, bad) in rows {
            let empty = || {
                let quarters = first..first + CELLS;
                quarters.map(|at| Cell { from_ms: at * CELL_MS, ..Cell::default() }).collect()
            };
            let strip = strips.entry(key(&kind, &name)?).or_insert_with(empty);
            let place = usize::try_from(number(quarter) - first).unwrap_or(usize::MAX);
            if let Some(cell) = strip.get_mut(place) {
                (cell.good, cell.bad) = (number(good), number(bad));
            }
        }
        Ok(strips)
    }

    /// The latest changes of state, the latest first.
    pub(crate) async fn origin_changes(&self) -> Result<Vec<Change>, StoreError> {
        let rows: Vec<ChangeRow> = sqlx::query_as(
            "SELECT at_ms, kind, name, from_state, to_state, reason FROM origin_changes \
             ORDER BY at_ms DESC, id DESC LIMIT $1",
        )
        .bind(MOST_CHANGES)
        .fetch_all(&self.readers)
        .await?;
        let change = |row: ChangeRow| {
            Ok(Change {
                key: key(&row.kind, &row.name)?,
                at_ms: number(row.at_ms),
                from: State::read(&row.from_state).ok_or_else(damaged)?,
                to: State::read(&row.to_state).ok_or_else(damaged)?,
                reason: row.reason,
            })
        };
        rows.into_iter().map(change).collect()
    }

    /// Keeps notes that were made of what was known at a revision, and forgets origins that are gone. Says
    /// whether they are kept: they are not if somebody noted something since.
    pub(crate) async fn keep_origins(
        &self,
        Revision(revision): Revision,
        Notes { noted, changes, gone }: &Notes,
        turn: Option<Fence>,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        if let Some(turn) = turn {
            turn.hold(&mut tx).await?;
        }
        let next =
            sqlx::query("UPDATE origin_notes SET revision = revision + 1 WHERE revision = $1")
                .bind(revision)
                .execute(&mut *tx)
                .await?;
        if next.rows_affected() == 0 {
            return Ok(false);
        }
        for noted in noted.chunks(ROWS) {
            keep_rows(&mut tx, noted).await?;
        }
        keep_probes(&mut tx, noted).await?;
        keep_cells(&mut tx, noted).await?;
        keep_changes(&mut tx, changes, now_ms).await?;
        for key in gone {
            forget(&mut tx, key).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

async fn keep_rows(tx: &mut Tx, noted: &[Noted]) -> Result<(), StoreError> {
    if noted.is_empty() {
        return Ok(());
    }
    let mut upsert = Statement::new(
        tx,
        "INSERT INTO origin_health (kind, name, url, state, since_ms, reason, score, probes, record) VALUES ",
    );
    upsert.rows(noted, |row, Noted { origin, .. }| {
        let record = serde_json::to_string(&origin.record).expect("a record has no maps");
        row.bind(origin.key.kind.as_str())
            .bind(origin.key.name.as_str())
            .bind(&origin.url)
            .bind(origin.state.as_str())
            .bind(sql(origin.since_ms))
            .bind(&origin.reason)
            .bind(i64::from(origin.score))
            .bind(sql(origin.probed))
            .bind(record);
    });
    upsert.push(
        " ON CONFLICT (kind, name) DO UPDATE SET url = excluded.url, state = excluded.state, \
         since_ms = excluded.since_ms, reason = excluded.reason, score = excluded.score, \
         probes = excluded.probes, record = excluded.record",
    );
    upsert.build().execute(&mut **tx).await?;
    Ok(())
}

async fn keep_probes(tx: &mut Tx, noted: &[Noted]) -> Result<(), StoreError> {
    let rows: Vec<(&Key, u64, &Probe)> = noted
        .iter()
        .flat_map(|Noted { origin, new }| {
            let first = origin.probed.saturating_sub(new.len() as u64);
            let places = (first..).map(|nth| nth % LAST as u64);
            // Of very many only the last have places of their own.
            let skipped = new.len().saturating_sub(LAST);
            places.zip(new).skip(skipped).map(|(place, probe)| (&origin.key, place, probe))
        })
        .collect();
    for rows in rows.chunks(ROWS) {
        let mut upsert = Statement::new(
            tx,
            "INSERT INTO origin_probes (kind, name, place, at_ms, asked, result, reason, took_us) VALUES ",
        );
        upsert.rows(rows, |row, (key, place, probe)| {
            let took = u64::try_from(probe.took.as_micros()).unwrap_or(u64::MAX);
            row.bind(key.kind.as_str())
                .bind(key.name.as_str())
                .bind(sql(*place))
                .bind(sql(probe.at_ms))
                .bind(probe.asked.as_str())
                .bind(probe.result())
                .bind(probe.reason())
                .bind(sql(took));
        });
        upsert.push(
            " ON CONFLICT (kind, name, place) DO UPDATE SET at_ms = excluded.at_ms, \
             asked = excluded.asked, result = excluded.result, reason = excluded.reason, \
             took_us = excluded.took_us",
        );
        upsert.build().execute(&mut **tx).await?;
    }
    Ok(())
}

async fn keep_cells(tx: &mut Tx, noted: &[Noted]) -> Result<(), StoreError> {
    let mut cells: HashMap<(&Key, u64), (i64, i64)> = HashMap::new();
    for Noted { origin, new } in noted {
        for probe in new {
            let Some(is_good) = probe.is_good() else { continue };
            let cell = cells.entry((&origin.key, probe.at_ms / CELL_MS)).or_default();
            cell.0 += i64::from(is_good);
            cell.1 += i64::from(!is_good);
        }
    }
    let cells: Vec<_> = cells.into_iter().collect();
    for cells in cells.chunks(ROWS) {
        let mut upsert = Statement::new(
            tx,
            "INSERT INTO origin_cells (kind, name, place, quarter, good, bad) VALUES ",
        );
        upsert.rows(cells, |row, ((key, quarter), (good, bad))| {
            row.bind(key.kind.as_str())
                .bind(key.name.as_str())
                .bind(sql(quarter % CELLS))
                .bind(sql(*quarter))
                .bind(*good)
                .bind(*bad);
        });
        upsert.push(
            " ON CONFLICT (kind, name, place) DO UPDATE SET \
             good = CASE WHEN origin_cells.quarter = excluded.quarter \
               THEN origin_cells.good + excluded.good ELSE excluded.good END, \
             bad = CASE WHEN origin_cells.quarter = excluded.quarter \
               THEN origin_cells.bad + excluded.bad ELSE excluded.bad END, \
             quarter = excluded.quarter",
        );
        upsert.build().execute(&mut **tx).await?;
    }
    Ok(())
}

async fn keep_changes(tx: &mut Tx, changes: &[Change], now_ms: u64) -> Result<(), StoreError> {
    for changes in changes.chunks(ROWS) {
        let mut insert = Statement::new(
            tx,
            "INSERT INTO origin_changes (id, at_ms, kind, name, from_state, to_state, reason) VALUES ",
        );
        insert.rows(changes, |row, change| {
            row.bind(change::new_id(change.at_ms))
                .bind(sql(change.at_ms))
                .bind(change.key.kind.as_str())
                .bind(change.key.name.as_str())
                .bind(change.from.as_str())
                .bind(change.to.as_str())
                .bind(&change.reason);
        });
        insert.build().execute(&mut **tx).await?;
    }
    sqlx::query("DELETE FROM origin_changes WHERE at_ms < $1")
        .bind(sql(now_ms.saturating_sub(CHANGES_MS)))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn forget(tx: &mut Tx, key: &Key) -> Result<(), StoreError> {
    for table in [
        "DELETE FROM origin_health WHERE kind = $1 AND name = $2",
        "DELETE FROM origin_probes WHERE kind = $1 AND name = $2",
        "DELETE FROM origin_cells WHERE kind = $1 AND name = $2",
    ] {
        sqlx::query(table)
            .bind(key.kind.as_str())
            .bind(key.name.as_str())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
