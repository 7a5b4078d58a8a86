//! Whether bytes are the blob they claim to be, found out without hurting those who are served.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use wcdn_proto::BlobId;
use wcdn_walrus::{Encoding, blob_id};

use crate::{
    config::{self, Mode},
    metrics::{Checked, Metrics},
};

/// Threads that compute blob ids, and the bounded queue before them.
///
/// Few threads (half of the cores), of low priority: computing one id takes a core for tens to
/// hundreds of milliseconds, and a storm of misses must not slow down hits. Dropping the verifier
/// ends its threads once the queue is empty.
#[derive(Debug)]
pub struct Verifier {
    jobs: mpsc::Sender<Job>,
    mode: Mode,
    wait: Duration,
    metrics: Arc<Metrics>,
}

/// What a check found.
#[derive(Debug)]
pub enum Verdict {
    /// The id was computed from the bytes.
    Match,
    /// The bytes are something else.
    Mismatch,
    /// Nothing was checked: the mode says so.
    Skipped,
    /// No worker was free in time; the check is queued, and its finding comes here.
    Late(oneshot::Receiver<bool>),
    /// No worker was free in time, and the mode is strict or the queue full.
    Busy,
}

#[derive(Debug)]
struct Job {
    id: BlobId,
    slices: Vec<Bytes>,
    begun: oneshot::Sender<()>,
    found: oneshot::Sender<bool>,
}

/// How much the kernel prefers other threads, on its scale to 19.
const NICENESS: i32 = 10;

impl Verifier {
    /// Starts the threads.
    pub fn start(
        config: &config::Verify,
        encoding: Encoding,
        metrics: &Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(config.max_queue);
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..workers(config) {
            let (queue, metrics) = (Arc::clone(&queue), Arc::clone(metrics));
            std::thread::Builder::new().name(format!("verify-{n}")).spawn(move || {
                if let Err(error) = rustix::process::nice(NICENESS) {
                    tracing::warn!(%error, "cannot lower the priority of a verifying thread");
                }
                work(&queue, encoding, &metrics);
            })?;
        }
        let wait = config.wait.duration();
        Ok(Self { jobs, mode: config.mode, wait, metrics: Arc::clone(metrics) })
    }

    /// Checks `slices`, which follow each other, against `id`.
    pub async fn check(&self, id: BlobId, slices: Vec<Bytes>) -> Verdict {
        if self.mode == Mode::Off {
            self.count("skipped");
            return Verdict::Skipped;
        }
        let (begun, begins) = oneshot::channel();
        let (found, mut finds) = oneshot::channel();
        if self.jobs.try_send(Job { id, slices, begun, found }).is_err() {
            self.count("skipped");
            return Verdict::Busy;
        }
        self.metrics.verify_queue.inc();
        if timeout(self.wait, begins).await.is_err() {
            if self.mode == Mode::Strict {
                finds.close();
                return Verdict::Busy;
            }
            self.count("late");
            return Verdict::Late(finds);
        }
        match finds.await {
            Ok(true) => Verdict::Match,
            Ok(false) => Verdict::Mismatch,
            Err(_) => Verdict::Busy,
        }
    }

    fn count(&self, result: &'static str) {
        self.metrics.verified.get_or_create(&Checked { result }).inc();
    }
}

fn workers(config: &config::Verify) -> usize {
    match config.workers {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1),
        given => given,
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>, encoding: Encoding, metrics: &Metrics) {
    loop {
        let Some(job) = queue.lock().blocking_recv() else {
            return;
        };
        metrics.verify_queue.dec();
        if job.found.is_closed() {
            continue;
        }
        // Nobody waits for the beginning of a late check any more; its finding is still wanted.
        let _late = job.begun.send(()).is_err();
        let start = Instant::now();
        let matches = blob_id(encoding, &job.slices).is_ok_and(|id| id == job.id);
        metrics.verify_seconds.observe(start.elapsed().as_secs_f64());
        let result = if matches { "match" } else { "mismatch" };
        metrics.verified.get_or_create(&Checked { result }).inc();
        drop(job.slices);
        let _abandoned = job.found.send(matches).is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(mode: Mode, workers: usize) -> (Verifier, Encoding) {
        let encoding = Encoding::new(10).unwrap();
        let config = config::Verify { mode, workers, max_queue: 2, ..Default::default() };
        let (metrics, _) = Metrics::new("test", "test");
        (Verifier::start(&config, encoding, &Arc::new(metrics)).unwrap(), encoding)
    }

    #[tokio::test]
    async fn the_blob_matches_and_one_flipped_bit_does_not() {
        let (verifier, encoding) = verifier(Mode::Auto, 1);
        let body = vec![Bytes::from_static(b"some"), Bytes::from_static(b" bytes")];
        let id = blob_id(encoding, &body).unwrap();
        assert!(matches!(verifier.check(id, body).await, Verdict::Match));
        let flipped = vec![Bytes::from_static(b"some bytez")];
        assert!(matches!(verifier.check(id, flipped).await, Verdict::Mismatch));
    }

    #[tokio::test]
    async fn nothing_is_checked_when_off() {
        let (verifier, _) = verifier(Mode::Off, 1);
        let verdict = verifier.check(BlobId::from_bytes([0; 32]), vec![]).await;
        assert!(matches!(verdict, Verdict::Skipped));
    }
}
