//! The session: with one control plane at a time, for as long as it answers.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use wcdn_gossip::seam::Catchup as _;
use wcdn_proto::{
    Position,
    pb::edge::v1::{
        OriginPool, Register, Report, SessionRequest, SessionResponse, Welcome,
        session_request::Kind as Up, session_response::Kind as Down,
    },
};

use super::{
    Client, ControlCatchup, Line, endpoint::Endpoints, from_wire, holding::Shelf, to_wire,
};
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
    /// Who this node is; its position is filled in.
    pub register: Register,
    /// The connection, for whoever reads the log.
    pub line: Line,
    /// Brings the first snapshot.
    pub catchup: Arc<ControlCatchup>,
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
        self.log.positions.head(from_wire(welcome.head));
        tracing::info!(version = welcome.version, "session with a control plane");
        let talking = self.talk(&up, &mut down);
        let beginning = self.begin();
        tokio::pin!(talking);
        tokio::select! {
            ended = &mut talking => ended,
            () = beginning => talking.await,
        }
    }

    async fn open(
        &self,
        number: usize,
    ) -> Result<(Client, mpsc::Sender<SessionRequest>, Streaming<SessionResponse>, Welcome), Ended>
    {
        let mut client = self.endpoints.connect(number).await?;
        let (up, sent) = mpsc::channel(MAX_WAITING);
        let applied = Some(to_wire(self.log.positions.applied()));
        let register = Register { applied, ..self.register.clone() };
        up.send(request(Up::Register(register))).await.map_err(|_| Ended::Closed)?;
        let mut down = client.session(ReceiverStream::new(sent)).await?.into_inner();
        match down.message().await?.and_then(|first| first.kind) {
            Some(Down::Welcome(welcome)) => Ok((client, up, down, welcome)),
            _ => Err(Ended::Closed),
        }
    }

    /// A node that knows nothing yet does not wait for gossip to find out that it does not.
    async fn begin(&self) {
        while !self.log.has_begun() {
            match self.catchup.catch_up(Position::ORIGIN).await {
                Ok(_) => return,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "no first snapshot from the control plane");
                }
            }
            sleep(FIRST_PAUSE).await;
        }
    }

    async fn talk(
        &self,
        up: &mpsc::Sender<SessionRequest>,
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
                            Some(Down::Head(head)) => self.log.positions.head(from_wire(Some(head))),
                            Some(Down::Ask(ask)) => answers.push(self.shelf.answer(ask)),
                            Some(Down::Welcome(_)) | None => {}
                        },
                        Ok(None) => return Ended::Closed,
                        Err(status) => return status.into(),
                    }
                }
                Some(answer) = answers.next() => {
                    // A control plane that does not read asks in vain.
                    let _was_sent = up.try_send(request(Up::Answer(answer))).is_ok();
                }
                Ok(()) = applied.changed() => report_at = soon(report_at),
                () = self.outcomes.wait() => report_at = soon(report_at),
                () = sleep_until(report_at) => {
                    let pause = if self.report(up) { HEARTBEAT } else { COALESCE };
                    report_at = Instant::now() + pause;
                }
            }
        }
    }

    /// Reports what is true and what was done; `false` if there is no room on the way up.
    fn report(&self, up: &mpsc::Sender<SessionRequest>) -> bool {
        let Ok(room) = up.try_reserve() else { return false };
        let outcomes = self.outcomes.take(MAX_OUTCOMES);
        let applied = Some(to_wire(self.log.positions.applied()));
        room.send(request(Up::Report(Report { applied, outcomes })));
        true
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

fn request(kind: Up) -> SessionRequest {
    SessionRequest { kind: Some(kind) }
}
