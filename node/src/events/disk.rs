//! What a node must still know after a crash, in two files of its folder; a third says whose it is.
//!
//! `events.state` is the whole: position, removals, blocks, pins, origins. It is written anew at most each
//! second, a large one less often, beside the old one, which it then replaces. Its position may lag
//! behind what is true, never lead: what is missing comes from the log again.
//!
//! ```text
//! events.state    = "wcdn events 2\n" | epoch | seq | floor | pool length u32, pool as JSON
//!                 | slots u32, (slot u32, seq u64) each | words u32, a record each
//!                 | pins u32, (id (32), epoch, seq, pinned u8) each | BLAKE3 of all (32)
//! blocks.journal  = a record for each block and each end of one, as they come
//! node            = the node's name, a space, the number of its latest start
//! record (64)     = kind u8 | id (37) | epoch | seq | 0 u16 | first 8 bytes of the BLAKE3 of these
//! kind            = 1 blob blocked, 2 file blocked, 3 blob no more, 4 file no more
//! ```
//!
//! Numbers are little-endian, of 64 bits where nothing is said. Blocks stand in both files: in the
//! journal before the event counts as applied, however long the disk takes, so that the loss of either
//! leaves the other. A record
//! that is torn or damaged is passed over, and those after it count; of a damaged state nothing does,
//! and the node begins as one that knows only what it withholds. So it does with what a version wrote
//! that knew of no pins: it passed over them, so that its position does not tell what is pinned.

mod journal;
mod owner;
mod state;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use wcdn_proto::{BlobId, ContentId, NodeId, Position};

pub(crate) use self::owner::by_clock;
use super::{Log, removed::Removals, words::Word};
use crate::{config::OriginSpec, metrics::events::EventMetrics};

/// What was kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    /// Everything up to here is in it.
    pub position: Position,
    /// What was removed.
    pub removals: Removals,
    /// What is withheld, and what no longer is.
    pub words: Vec<(ContentId, Word)>,
    /// What is pinned, and what no longer is.
    pub pins: Vec<(BlobId, Word)>,
    /// The origins, if the control plane gave some.
    pub origins: Option<Origins>,
}

/// Origins as a control plane gave them.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Origins {
    /// Of the log that they are of; 0 if that is not known.
    #[serde(default)]
    pub epoch: u64,
    /// Larger is newer, within an epoch.
    pub revision: u64,
    /// At least one.
    pub specs: Vec<OriginSpec>,
}

/// The folder.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    incarnation: u64,
    metrics: Arc<EventMetrics>,
    /// Held by the thread that writes the journal: while it hangs, others wait without one of theirs.
    turn: Arc<tokio::sync::Mutex<()>>,
    journal: Mutex<Journal>,
    origins: Mutex<Option<Origins>>,
    changed: Notify,
}

/// How long the journal is.
#[derive(Debug)]
struct Journal {
    records: usize,
    /// Records after the last rewriting: it is rewritten when there are many more.
    rewritten: usize,
}

/// How often the state is written at most: a small one each second, and so that a large one costs no
/// more than [`BYTES_A_SECOND`], but never later than the longest.
const PACE: Duration = Duration::from_secs(1);
const LONGEST_PACE: Duration = Duration::from_secs(30);
const BYTES_A_SECOND: u64 = 512 << 10;

/// A file that a process began to write and left is thrown away after this.
const LEFT_AFTER: Duration = Duration::from_secs(60);

/// How often one write of a block is tried; a disk that is full may be cleared.
const TRIES: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// A disk that takes longer to write some records hangs: busy ones need some hundred milliseconds.
const HANGS_AFTER: Duration = Duration::from_secs(2);

/// A journal with fewer records than this beyond those needed is left as it is.
const SPARE_RECORDS: usize = 4096;

const STATE: &str = "events.state";
const JOURNAL: &str = "blocks.journal";
const BESIDE: &str = "new";

const RECORD: u64 = journal::RECORD as u64;

impl Disk {
    /// Opens the folder of this node, making it if need be, and reads what was kept.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or is another node's. What is damaged in it is no error.
    pub fn open(dir: &Path, node: &NodeId, metrics: Arc<EventMetrics>) -> io::Result<(Self, Kept)> {
        fs::create_dir_all(dir)?;
        let incarnation = owner::claim(dir, node)?;
        tidy(dir)?;
        let journal = read(&dir.join(JOURNAL))?;
        let records = journal.len() / journal::RECORD;
        let kept = merged(state::decode(&read(&dir.join(STATE))?), journal::decode(&journal));
        let disk = Self {
            dir: dir.to_owned(),
            incarnation,
            metrics,
            turn: Arc::default(),
            journal: Mutex::new(Journal { records, rewritten: kept.words.len() }),
            origins: Mutex::new(kept.origins.clone()),
            changed: Notify::new(),
        };
        Ok((disk, kept))
    }

    /// The number of this start: larger than of any before.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Keeps these origins.
    pub fn keep_origins(&self, origins: Origins) {
        *self.origins.lock() = Some(origins);
        self.changed.notify_one();
    }

    /// Writes words on blocks; they are on the disk when this returns. A disk that refuses is told to
    /// the operator: the block stands as long as the process, and comes from the log again.
    pub async fn journal(self: &Arc<Self>, words: Vec<(ContentId, Word)>) {
        self.write("block", move |disk| disk.append(&words)).await;
    }

    /// Writes the journal anew, with what is known alone.
    pub async fn rewrite_journal(self: &Arc<Self>, log: &Arc<Log>) {
        let log = Arc::clone(log);
        self.write("blocks", move |disk| disk.rewrite(&mut disk.journal.lock(), &log)).await;
    }

    async fn write(
        self: &Arc<Self>,
        what: &'static str,
        write: impl Fn(&Self) -> io::Result<()> + Send + Sync + 'static,
    ) {
        let write = Arc::new(write);
        for attempt in 1..=TRIES {
            let (disk, write) = (Arc::clone(self), Arc::clone(&write));
            let turn = Arc::clone(&self.turn).lock_owned().await;
            let writing = tokio::task::spawn_blocking(move || {
                let written = write(&disk);
                drop(turn);
                written
            });
            match self.written(writing).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, what, attempt, dir = %self.dir.display(), "cannot keep what is withheld");
                }
            }
            sleep(RETRY_AFTER).await;
        }
        self.metrics.blocks_not_kept.inc();
    }

    /// Waits for as long as it takes, and says so if that is long.
    async fn written(&self, mut writing: JoinHandle<io::Result<()>>) -> io::Result<()> {
        let written = match timeout(HANGS_AFTER, &mut writing).await {
            Ok(written) => written,
            Err(_elapsed) => {
                self.metrics.disk_hangs.set(1);
                tracing::warn!(
                    dir = %self.dir.display(), waited = ?HANGS_AFTER,
                    "disk hangs; what is withheld is, and is not confirmed until it is written"
                );
                let written = writing.await;
                self.metrics.disk_hangs.set(0);
                written
            }
        };
        written.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn append(&self, words: &[(ContentId, Word)]) -> io::Result<()> {
        let mut journal = self.journal.lock();
        // Opened each time, for a process that takes over may have replaced it.
        let path = self.dir.join(JOURNAL);
        let is_new = !path.exists();
        let mut file = File::options().create(true).append(true).open(path)?;
        // What another process or a failure left of a record: the next one must begin where they do.
        let length = file.metadata()?.len();
        let whole = length / RECORD * RECORD;
        if whole < length {
            file.set_len(whole)?;
        }
        let written = file.write_all(&journal::encode(words)).and_then(|()| file.sync_data());
        if let Err(error) = written {
            file.set_len(whole)?;
            return Err(error);
        }
        if is_new {
            sync_dir(&self.dir)?;
        }
        journal.records += words.len();
        Ok(())
    }

    /// The lock is held from before the words are read until they are written: what is appended
    /// comes before, and is among them, or after.
    fn rewrite(&self, journal: &mut Journal, log: &Log) -> io::Result<()> {
        let words = log.blocked.export();
        replace(&self.dir, JOURNAL, &journal::encode(&words))?;
        *journal = Journal { records: words.len(), rewritten: words.len() };
        Ok(())
    }

    /// Writes all that is known; how many bytes that are. It blocks on the disk.
    ///
    /// Nothing between two epochs: no place in the new one says that its beginning is lacked, so that
    /// a node would go on from there without it. The old state leads to a snapshot.
    ///
    /// # Errors
    /// The disk's; then the old state stays.
    pub fn save(&self, log: &Log) -> io::Result<usize> {
        // First of all: what is exported after may hold more than up to here, never less.
        let position = log.positions.applied();
        let removals = log.removed.export();
        if position.epoch != removals.epoch {
            return Ok(0);
        }
        log.blocked.forget_ends(position);
        log.pins.forget_ends(position);
        let (words, pins) = (log.blocked.export(), log.pins.export());
        let kept = Kept { position, removals, words, pins, origins: self.origins.lock().clone() };
        let bytes = state::encode(&kept);
        replace(&self.dir, STATE, &bytes)?;
        let mut journal = self.journal.lock();
        if journal.records > journal.rewritten + SPARE_RECORDS {
            self.rewrite(&mut journal, log)?;
        }
        Ok(bytes.len())
    }

    /// Saves whatever changes, until `shutdown`, and then once more.
    pub async fn keep(self: Arc<Self>, log: Arc<Log>, shutdown: CancellationToken) {
        let mut applied = log.positions.watch();
        loop {
            let is_over = tokio::select! {
                Ok(()) = applied.changed() => false,
                () = self.changed.notified() => false,
                () = shutdown.cancelled() => true,
            };
            let (disk, saved) = (Arc::clone(&self), Arc::clone(&log));
            let saving = tokio::task::spawn_blocking(move || disk.save(&saved));
            let bytes = saving.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            if let Err(error) = &bytes {
                tracing::warn!(%error, dir = %self.dir.display(), "cannot keep what is known of the log");
            }
            if is_over {
                return;
            }
            let pause = pace(bytes.unwrap_or_default());
            let _stops = shutdown.run_until_cancelled(sleep(pause)).await.is_none();
        }
    }
}

/// How long nothing is written after so many bytes.
fn pace(bytes: usize) -> Duration {
    Duration::from_secs(bytes as u64 / BYTES_A_SECOND).clamp(PACE, LONGEST_PACE)
}

/// What both files say together.
fn merged(state: Option<Kept>, journal: Vec<(ContentId, Word)>) -> Kept {
    let Some(mut kept) = state else { return Kept { words: journal, ..Kept::default() } };
    // What the state holds no word on, though it was written later, has ended.
    let position = kept.position;
    kept.words.extend(journal.into_iter().filter(|(_, word)| word.at > position));
    kept
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// Removes what a process that is gone began to write. One that just hands over may still write.
fn tidy(dir: &Path) -> io::Result<()> {
    for file in fs::read_dir(dir)? {
        let file = file?;
        let is_beside = Path::new(&file.file_name()).extension().is_some_and(|it| it == BESIDE);
        let age = file.metadata().and_then(|it| it.modified()).map(|at| at.elapsed());
        if is_beside && age.is_ok_and(|age| age.is_ok_and(|age| age > LEFT_AFTER)) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Puts a file in the place of another, whole or not at all. Two processes that hand over to each
/// other write beside it under names of their own.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!("{name}.{}.{BESIDE}", process::id()));
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, dir.join(name))?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
