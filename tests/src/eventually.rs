//! Waiting for something to become true.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// How long a test waits for what should take milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Returns once `holds` is true.
///
/// # Panics
/// Names `what` when it has not become true in time.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
