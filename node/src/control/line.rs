//! The sessions that are open, for whoever needs one of them.

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use tokio::{sync::watch, time::timeout};

use super::Client;

/// The connections of open sessions, the preferred one first. Sessions write it; whoever reads the log
/// takes one, and says which was of use.
#[derive(Debug, Clone, Default)]
pub struct Line {
    open: Arc<watch::Sender<Vec<Open>>>,
}

/// One session.
#[derive(Debug)]
struct Open {
    /// No other open one has it.
    number: u64,
    /// Which start of which control plane it is with; 0 if that does not say.
    instance: u64,
    client: Client,
}

/// A session's place in the [`Line`], counted; dropped, it is over.
#[derive(Debug)]
pub(super) struct Place {
    line: Line,
    number: u64,
    count: Gauge,
}

/// How long whoever wants to read the log waits for a session: a node that starts has none yet, and
/// reads its first snapshot as soon as it does.
const PATIENCE: Duration = Duration::from_secs(30);

impl Line {
    /// A client of each open session with its number, the preferred one first, once there is any; none
    /// if there is none for some seconds.
    pub async fn clients(&self) -> Vec<(u64, Client)> {
        let mut open = self.open.subscribe();
        match timeout(PATIENCE, open.wait_for(|open| !open.is_empty())).await {
            Ok(Ok(open)) => open.iter().map(|open| (open.number, open.client.clone())).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// This one was of use: it is the first to be taken from now on.
    pub fn prefer(&self, number: u64) {
        self.open.send_if_modified(|open| {
            if let Some(place) = open.iter().position(|open| open.number == number) {
                open[..=place].rotate_right(1);
            }
            // Nobody waits for an order.
            false
        });
    }

    /// A session is open, and counts.
    pub(super) fn open(&self, client: Client, instance: u64, count: Gauge) -> Place {
        let mut number = 0;
        self.open.send_modify(|open| {
            number = open.iter().map(|open| open.number).max().unwrap_or_default() + 1;
            open.push(Open { number, instance, client });
        });
        count.inc();
        Place { line: self.clone(), number, count }
    }

    /// Whether there is a session with this start of a control plane.
    pub(super) fn is_with(&self, instance: u64) -> bool {
        is_with(&self.open.borrow(), instance)
    }

    /// Waits until there is no session with this start of a control plane.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn without(&self, instance: u64) {
        let mut open = self.open.subscribe();
        // Its sender is here.
        drop(open.wait_for(|open| !is_with(open, instance)).await);
    }
}

fn is_with(open: &[Open], instance: u64) -> bool {
    instance != 0 && open.iter().any(|open| open.instance == instance)
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.open.send_modify(|open| open.retain(|open| open.number != self.number));
        self.count.dec();
    }
}

#[cfg(test)]
mod tests {
    use tonic::{service::interceptor::InterceptedService, transport::Endpoint};

    use super::*;
    use crate::control::endpoint::Token;

    fn client() -> Client {
        let channel = Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
        Client::new(InterceptedService::new(channel, Token::new(&[1; 32])))
    }

    async fn numbers(line: &Line) -> Vec<u64> {
        line.clients().await.iter().map(|(number, _)| *number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_was_of_use_comes_first_and_one_that_is_over_is_gone() {
        let (line, count) = (Line::default(), Gauge::default());
        assert!(line.clients().await.is_empty(), "nobody comes for some seconds");
        let first = line.open(client(), 7, count.clone());
        let _second = line.open(client(), 8, count.clone());
        let _third = line.open(client(), 0, count.clone());
        assert_eq!((numbers(&line).await, count.get()), (vec![1, 2, 3], 3));
        line.prefer(3);
        line.prefer(9);
        assert_eq!(numbers(&line).await, [3, 1, 2]);
        drop(first);
        assert_eq!((numbers(&line).await, count.get()), (vec![3, 2], 2));
    }

    #[tokio::test]
    async fn it_is_known_which_control_planes_there_are_sessions_with() {
        let (line, count) = (Line::default(), Gauge::default());
        let place = line.open(client(), 7, count.clone());
        let _silent = line.open(client(), 0, count);
        assert!(line.is_with(7) && !line.is_with(8));
        assert!(!line.is_with(0), "whoever does not say may be another");
        let (waiting, ()) =
            tokio::join!(timeout(Duration::from_secs(10), line.without(7)), async { drop(place) });
        assert!(waiting.is_ok() && !line.is_with(7));
    }
}
