//! A session with one control plane, again and again.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream, stream::FuturesUnordered};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use wcdn_gossip::driver::EdgePlane;
use wcdn_proto::{
    Position,
    pb::edge::v1::{
        Register, Report, SessionRequest, SessionResponse, Welcome, session_request::Kind as Up,
        session_response::Kind as Down,
    },
};

use super::{
    Client, Line,
    endpoint::{Endpoint, Way},
    holding::Shelf,
    keys::ToldKeys,
    origins::Choice,
    report::{Marks, Reporter, Sources},
};
use crate::{
    cache::fill::ahead::Ahead,
    preload::{PreloadMetrics, Preloads},
};

/// What every session needs.
#[derive(Debug)]
pub struct Means {
    /// Who this node is; its position and its proof are filled in.
    pub register: Register,
    /// The connections, for whoever reads the log.
    pub line: Line,
    /// The event plane, once it runs: it has proof of what the node knows.
    pub plane: Arc<OnceLock<EdgePlane>>,
    /// What is to be reported.
    pub sources: Sources,
    /// What is asked about.
    pub shelf: Shelf,
    /// Where origins go.
    pub origins: Choice,
    /// How what is to be preloaded is fetched.
    pub ahead: Ahead,
    /// Where that is counted.
    pub preloads: Arc<PreloadMetrics>,
}

/// A session with one control plane.
#[derive(Debug)]
pub(super) struct Session {
    endpoint: Arc<Endpoint>,
    way: Way,
    means: Arc<Means>,
    /// The start of the control plane that answered last.
    instance: u64,
    /// How far it was told.
    marks: Marks,
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

/// Both directions of a session.
struct Opened {
    client: Client,
    welcome: Welcome,
    down: Streaming<SessionResponse>,
    answers: mpsc::Sender<SessionRequest>,
    reports: mpsc::Sender<SessionRequest>,
}

/// How long a report waits for more to tell.
const COALESCE: Duration = Duration::from_millis(20);

/// A node that has nothing to tell tells so this often: where there is no gossip, it is by its reports
/// that a control plane knows that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Answers on their way up.
const MAX_WAITING: usize = 64;

/// Questions that are being answered at once; the next is read after.
const MAX_ASKS: usize = 16;

/// Preloaded blobs in one report.
const MAX_PRELOADED: usize = 500;

/// From calling to being welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two attempts: twice as long after each, and anything from half of it, so that nodes do not
/// come back all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A session that lasts for so long has succeeded: the next attempt is a first one.
const STEADY: Duration = Duration::from_secs(5);

impl Session {
    /// None yet.
    pub(super) fn new(endpoint: Arc<Endpoint>, way: Way, means: Arc<Means>) -> Self {
        Self { endpoint, way, means, instance: 0, marks: Marks::default() }
    }

    /// Keeps it until it ends after `unlisted`; rings the bell whenever it ends.
    pub(super) async fn keep(mut self, unlisted: CancellationToken, bell: Arc<Notify>) {
        let (mut pause, mut was_told) = (FIRST_PAUSE, false);
        while !unlisted.is_cancelled() {
            let (ended, lasted) = self.converse().await;
            bell.notify_one();
            if lasted.is_some() {
                was_told = false;
            }
            if lasted.is_some_and(|lasted| lasted >= STEADY) {
                pause = FIRST_PAUSE;
            }
            let pausing = sleep(pause.mul_f64(rand::random_range(0.5..1.0)));
            pause = (pause * 2).min(LONGEST_PAUSE);
            if unlisted.run_until_cancelled(pausing).await.is_none() {
                break;
            }
            if self.means.line.is_with(self.instance) {
                // It has one session with a node, and took the later one.
                self.tell_of_another();
                let alone = self.means.line.without(self.instance);
                let _unlisted = unlisted.run_until_cancelled(alone).await.is_none();
            } else if !std::mem::replace(&mut was_told, true) {
                self.warn(&ended);
            }
        }
        tracing::info!(endpoint = self.endpoint.url(), way = %self.way, "this control plane is no longer listed");
    }

    fn tell_of_another(&self) {
        tracing::info!(
            endpoint = self.endpoint.url(), way = %self.way,
            "another address leads to the same control plane; waiting for that session to end"
        );
    }

    fn warn(&self, ended: &Ended) {
        let error: &dyn std::error::Error = ended;
        tracing::warn!(
            endpoint = self.endpoint.url(), way = %self.way, error,
            "no session with a control plane; serving goes on"
        );
    }

    /// One session to its end, and how long it lasted, if it began.
    async fn converse(&mut self) -> (Ended, Option<Duration>) {
        let opened = timeout(WELCOME_TIMEOUT, self.open()).await;
        let mut opened = match opened.unwrap_or(Err(Ended::Silent)) {
            Ok(opened) => opened,
            Err(ended) => return (ended, None),
        };
        let Means { line, sources, .. } = &*self.means;
        let (began, welcome) = (Instant::now(), &opened.welcome);
        let count = sources.log.metrics.sessions(self.endpoint.url());
        let _place = line.open(opened.client.clone(), welcome.instance, count);
        self.instance = welcome.instance;
        let mut reporter = Reporter::new(sources.clone(), welcome, self.marks);
        tracing::info!(
            endpoint = self.endpoint.url(), way = %self.way, version = welcome.version,
            "session with a control plane"
        );
        let ended = self.talk(&mut opened, &mut reporter).await;
        self.marks = reporter.marks();
        (ended, Some(began.elapsed()))
    }

    async fn open(&self) -> Result<Opened, Ended> {
        let Means { register, plane, sources, .. } = &*self.means;
        let mut client = self.endpoint.connect(self.way).await?;
        let applied = Some(sources.log.positions.applied().into());
        let proof = plane.get().and_then(EdgePlane::newest).unwrap_or_default();
        let register = Register { applied, proof, ..register.clone() };
        // One report: another is made when it has left, and tells what is true then.
        let ((answers, answered), (reports, reported)) =
            (mpsc::channel(MAX_WAITING), mpsc::channel(1));
        let mut down = client.session(requests(register, answered, reported)).await?.into_inner();
        match down.message().await?.and_then(|first| first.kind) {
            Some(Down::Welcome(welcome)) => Ok(Opened { client, welcome, down, answers, reports }),
            _ => Err(Ended::Closed),
        }
    }

    async fn talk(&self, opened: &mut Opened, reporter: &mut Reporter) -> Ended {
        let Means { sources, shelf, origins, ahead, preloads, .. } = &*self.means;
        let mut preloads = Preloads::new(ahead.clone(), Arc::clone(preloads));
        let mut keys = ToldKeys::default();
        let Opened { welcome, down, answers, reports, .. } = opened;
        let mut head = Position::from(welcome.head);
        sources.log.positions.head(head);
        let mut asks = FuturesUnordered::new();
        // At once: what was applied or done while there was no session.
        let mut report_at = Instant::now();
        loop {
            tokio::select! {
                message = down.message(), if asks.len() < MAX_ASKS => {
                    match message {
                        Ok(Some(SessionResponse { kind })) => match kind {
                            Some(Down::Origins(pool)) => origins.take(head.epoch, pool),
                            Some(Down::Head(at)) => {
                                head = head.max(at.into());
                                sources.log.positions.head(head);
                            }
                            Some(Down::Ask(ask)) => asks.push(shelf.answer(ask)),
                            Some(Down::Preload(piece)) => preloads.take(piece),
                            Some(Down::Keys(part)) => keys.take(part, &sources.log.keys),
                            Some(Down::Welcome(_)) | None => {}
                        },
                        Ok(None) => return Ended::Closed,
                        Err(status) => return status.into(),
                    }
                }
                Some(answer) = asks.next() => {
                    // A control plane that does not read asks in vain.
                    let _was_sent = answers.try_send(upward(Up::Answer(answer))).is_ok();
                }
                () = reporter.news() => report_at = report_at.min(Instant::now() + COALESCE),
                () = preloads.work() => report_at = report_at.min(Instant::now() + COALESCE),
                () = sleep_until(report_at) => {
                    report_at = Instant::now() + tell(reports, reporter, &mut preloads);
                }
            }
        }
    }
}

/// Sends a report, if the last one has left; says when the next one is due.
fn tell(
    reports: &mpsc::Sender<SessionRequest>,
    reporter: &mut Reporter,
    preloads: &mut Preloads,
) -> Duration {
    let Ok(place) = reports.try_reserve() else { return COALESCE };
    let (report, is_all) = reporter.report();
    let (preloaded, are_all) = preloads.report(MAX_PRELOADED);
    let report = Report { preloads: preloaded, ..report };
    place.send(upward(Up::Report(report)));
    if is_all && are_all { HEARTBEAT } else { COALESCE }
}

fn upward(kind: Up) -> SessionRequest {
    SessionRequest { kind: Some(kind) }
}

fn requests(
    register: Register,
    answers: mpsc::Receiver<SessionRequest>,
    reports: mpsc::Receiver<SessionRequest>,
) -> impl Stream<Item = SessionRequest> {
    let first = stream::iter([upward(Up::Register(register))]);
    first.chain(stream::select(ReceiverStream::new(answers), ReceiverStream::new(reports)))
}
