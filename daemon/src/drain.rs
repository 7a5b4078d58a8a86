//! Waiting for tasks to end, but not for ever.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Tasks that ended by themselves.
    pub finished: usize,
    /// Tasks that were still running at the deadline.
    pub cut: usize,
}

/// Waits until every task of `tasks` has ended or `deadline` has passed, and says how many did
/// not. Whoever calls it ends those.
pub async fn finish(tasks: &TaskTracker, deadline: Duration) -> Drained {
    tasks.close();
    let running = tasks.len();
    let cut = match timeout(deadline, tasks.wait()).await {
        Ok(()) => 0,
        Err(_) => tasks.len(),
    };
    Drained { finished: running.saturating_sub(cut), cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_counts_what_ended_and_what_did_not() {
        let tasks = TaskTracker::new();
        tasks.spawn(tokio::time::sleep(Duration::from_secs(1)));
        tasks.spawn(tokio::time::sleep(Duration::from_secs(60)));
        let drained = finish(&tasks, Duration::from_secs(30)).await;
        assert_eq!(drained, Drained { finished: 1, cut: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_to_wait_for_takes_no_time() {
        let start = tokio::time::Instant::now();
        let drained = finish(&TaskTracker::new(), Duration::from_secs(30)).await;
        assert_eq!(drained, Drained { finished: 0, cut: 0 });
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
