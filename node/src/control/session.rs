//! The session: with one control plane at a time, for as long as it answers.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use wcdn_gossip::driver::EdgePlane;
use wcdn_proto::pb::edge::v1::{
    OriginPool, Register, Report, SessionRequest, SessionResponse, Welcome,
    session_request::Kind as Up, session_response::Kind as Down,
};

use super::{Client, Line, endpoint::Endpoints, holding::Shelf};
use crate::{
    config::OriginSpec,
    events::{
        Log,
        disk::{Disk, Origins},
        outcome::Outcomes,
    },
    origin::Pool,
};

/// Keeps a session, and what it brings up to date.
#[derive(Debug)]
pub struct Session {
    /// Control planes.
    pub endpoints: Endpoints,
    /// Who this node is; its position and its proof are filled in.
    pub register: Register,
    /// The connection, for whoever reads the log.
    pub line: Line,
    /// The event plane, once it runs: it has proof of what the node knows.
    pub plane: Arc<OnceLock<EdgePlane>>,
    /// What is known of the log.
    pub log: Arc<Log>,
    /// What is to be reported.
    pub outcomes: Arc<Outcomes>,
    /// What is asked about.
    pub shelf: Shelf,
    /// The origins.
    pub pool: Pool,
    /// Where they are kept.
    pub disk: Option<Arc<Disk>>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot connect")]
    Unreachable(#[from] tonic::transport::Error),
    #[error("the control plane refuses, or is gone")]
    Refused(#[from] Status),
    #[error("the control plane does not answer")]
    Silent,
    #[error("the control plane ended the session")]
    Closed,
}

/// What goes up.
#[derive(Debug)]
enum Upward {
    /// As it is.
    Kind(Up),
    /// A report, made up when the connection takes it: what no connection takes is told by the next.
    Report,
}

/// How long a report waits for more to tell.
const COALESCE: Duration = Duration::from_millis(20);

/// A node that has nothing to tell tells so this often: where there is no gossip, it is by its reports
/// that a control plane knows that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Outcomes in one report.
const MAX_OUTCOMES: usize = 1000;

/// Messages on their way up.
const MAX_WAITING: usize = 64;

/// Questions that are being answered at once; the next is read after.
const MAX_ASKS: usize = 16;

/// From calling to being welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two attempts: twice as long after each, and anything from half of it, so that nodes do not
/// come back all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Session {
    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let serving = async {
            let (mut number, mut pause, mut was_told) = (0, FIRST_PAUSE, false);
            loop {
                let mut was_welcome = false;
                let ended = self.converse(number, &mut was_welcome).await;
                self.line.close();
                self.log.metrics.session.set(0);
                if was_welcome {
                    (pause, was_told) = (FIRST_PAUSE, false);
                } else {
                    number += 1;
                }
                if !std::mem::replace(&mut was_told, true) {
                    let error: &dyn std::error::Error = &ended;
                    tracing::warn!(error, "no session with a control plane; serving goes on");
                }
                sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        let _cancelled = shutdown.run_until_cancelled(serving).await;
        self.line.close();
    }

    async fn converse(&self, number: usize, was_welcome: &mut bool) -> Ended {
        let opened = timeout(WELCOME_TIMEOUT, self.open(number)).await;
        let (client, up, mut down, welcome) = match opened.unwrap_or(Err(Ended::Silent)) {
            Ok(opened) => opened,
            Err(ended) => return ended,
        };
        *was_welcome = true;
        self.line.open(client);
        self.log.metrics.session.set(1);
        self.log.positions.head(welcome.head.into());
        tracing::info!(version = welcome.version, "session with a control plane");
        self.talk(&up, &mut down).await
    }

    async fn open(
        &self,
        number: usize,
    ) -> Result<(Client, mpsc::Sender<Upward>, Streaming<SessionResponse>, Welcome), Ended> {
        let mut client = self.endpoints.connect(number).await?;
        let (up, sent) = mpsc::channel(MAX_WAITING);
        let applied = Some(self.log.positions.applied().into());
        let proof = self.plane.get().and_then(EdgePlane::newest).unwrap_or_default();
        let register = Register { applied, proof, ..self.register.clone() };
        up.send(Upward::Kind(Up::Register(register))).await.map_err(|_| Ended::Closed)?;
        let sent = requests(sent, Arc::clone(&self.log), Arc::clone(&self.outcomes));
        let mut down = client.session(sent).await?.into_inner();
        match down.message().await?.and_then(|first| first.kind) {
            Some(Down::Welcome(welcome)) => Ok((client, up, down, welcome)),
            _ => Err(Ended::Closed),
        }
    }

    async fn talk(
        &self,
        up: &mpsc::Sender<Upward>,
        down: &mut Streaming<SessionResponse>,
    ) -> Ended {
        let mut applied = self.log.positions.watch();
        let mut answers = FuturesUnordered::new();
        // At once: what was applied or done while there was no session.
        let mut report_at = Instant::now();
        let soon = |at: Instant| at.min(Instant::now() + COALESCE);
        loop {
            tokio::select! {
                message = down.message(), if answers.len() < MAX_ASKS => {
                    match message {
                        Ok(Some(SessionResponse { kind })) => match kind {
                            Some(Down::Origins(pool)) => self.take_origins(pool),
                            Some(Down::Head(head)) => self.log.positions.head(head.into()),
                            Some(Down::Ask(ask)) => answers.push(self.shelf.answer(ask)),
                            Some(Down::Welcome(_)) | None => {}
                        },
                        Ok(None) => return Ended::Closed,
                        Err(status) => return status.into(),
                    }
                }
                Some(answer) = answers.next() => {
                    // A control plane that does not read asks in vain.
                    let _was_sent = up.try_send(Upward::Kind(Up::Answer(answer))).is_ok();
                }
                Ok(()) = applied.changed() => report_at = soon(report_at),
                () = self.outcomes.wait() => report_at = soon(report_at),
                () = sleep_until(report_at) => {
                    let pause = if up.try_send(Upward::Report).is_ok() { HEARTBEAT } else { COALESCE };
                    report_at = Instant::now() + pause;
                }
            }
        }
    }

    fn take_origins(&self, OriginPool { revision, origins }: OriginPool) {
        if revision == 0 {
            return;
        }
        let mut specs = Vec::new();
        for origin in origins {
            match (origin.name.parse(), origin.url.parse()) {
                (Ok(name), Ok(url)) => {
                    specs.push(OriginSpec { name, url, trusted: origin.trusted });
                }
                _ => tracing::warn!(
                    origin = origin.name,
                    url = origin.url,
                    "the control plane names an origin that this node cannot ask"
                ),
            }
        }
        if specs.is_empty() {
            tracing::warn!(revision, "the control plane gives no origin; the old ones stay");
            return;
        }
        tracing::info!(revision, origins = specs.len(), "origins of the control plane");
        self.pool.manage(specs.clone());
        if let Some(disk) = &self.disk {
            disk.keep_origins(Origins { revision, specs });
        }
    }
}

/// What is sent, reports filled in as they leave.
fn requests(
    sent: mpsc::Receiver<Upward>,
    log: Arc<Log>,
    outcomes: Arc<Outcomes>,
) -> impl Stream<Item = SessionRequest> {
    ReceiverStream::new(sent).map(move |upward| {
        let kind = match upward {
            Upward::Kind(kind) => kind,
            Upward::Report => {
                // Before the position is read: what an event did is told with it, or before.
                let outcomes = outcomes.take(MAX_OUTCOMES);
                let applied = Some(log.positions.applied().into());
                Up::Report(Report { applied, outcomes })
            }
        };
        SessionRequest { kind: Some(kind) }
    })
}

#[cfg(test)]
mod tests {
    use wcdn_proto::Position;

    use super::*;
    use crate::events::outcome::Did;

    #[tokio::test]
    async fn outcomes_that_no_connection_took_are_told_by_the_next() {
        let (log, outcomes) = (Log::none(), Arc::new(Outcomes::new(Arc::default())));
        let at = Position { epoch: 1, seq: 7 };
        outcomes.done(at, Did::default(), None);
        for is_taken in [false, true] {
            let (up, sent) = mpsc::channel(4);
            let mut requests =
                std::pin::pin!(requests(sent, Arc::clone(&log), Arc::clone(&outcomes)));
            up.send(Upward::Report).await.unwrap();
            if is_taken {
                let Some(SessionRequest { kind: Some(Up::Report(report)) }) = requests.next().await
                else {
                    panic!("it is a report");
                };
                assert_eq!(report.outcomes[0].position, Some(at.into()));
            }
        }
        assert!(outcomes.take(1).is_empty());
    }
}
