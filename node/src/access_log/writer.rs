//! The thread that writes lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, SystemTime},
};

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::{Message, line::Format};

/// Where lines are written.
pub(super) enum Output {
    Stdout,
    File { path: PathBuf, file: BufWriter<File> },
}

/// How long a line may wait in the buffer, and a moved file be written to.
const FLUSH: Duration = Duration::from_millis(200);

/// How often the program's log says that lines are lost.
const COMPLAINT: Duration = Duration::from_secs(60);

impl Output {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self::File { path, file: BufWriter::new(file) })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Self::File { file, .. } => file.write_all(line.as_bytes()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().flush(),
            Self::File { file, .. } => file.flush(),
        }
    }

    /// Opens the file again if its path leads elsewhere by now, as after a rotation.
    fn follow(&mut self) -> io::Result<()> {
        let Self::File { path, file } = self else {
            return Ok(());
        };
        let open = file.get_ref().metadata()?;
        let there = path.metadata().map(|there| (there.dev(), there.ino()));
        if there.is_ok_and(|there| there == (open.dev(), open.ino())) {
            return Ok(());
        }
        *self = Self::open(path.clone())?;
        Ok(())
    }
}

/// Writes lines until there can be no more.
pub(super) fn write_lines(
    lines: Receiver<Message>,
    mut output: Output,
    format: Format,
    dropped: &Counter,
) {
    let mut complained: Option<SystemTime> = None;
    let mut flushed = Instant::now();
    loop {
        let left = FLUSH.saturating_sub(flushed.elapsed());
        if left.is_zero() {
            flushed = Instant::now();
            complain(output.flush().and_then(|()| output.follow()), &mut complained);
        }
        let outcome = match lines.recv_timeout(left) {
            Ok(Message::Line(record)) => {
                let written = output.write(&format.line(&record));
                if written.is_err() {
                    dropped.inc();
                }
                written
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => {
                if let Err(error) = output.flush() {
                    tracing::warn!(%error, "the access log could not be written to its end");
                }
                return;
            }
        };
        complain(outcome, &mut complained);
    }
}

/// Tells the program's log of an error, unless it did so a moment ago.
fn complain(outcome: io::Result<()>, complained: &mut Option<SystemTime>) {
    let Err(error) = outcome else { return };
    let is_recent = |last: &SystemTime| last.elapsed().is_ok_and(|passed| passed < COMPLAINT);
    if !complained.as_ref().is_some_and(is_recent) {
        *complained = Some(SystemTime::now());
        tracing::warn!(%error, "the access log cannot be written; lines are dropped");
    }
}
