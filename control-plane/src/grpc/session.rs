//! One edge's session: it registers, reports and answers; it hears of the origin pool and of questions.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::{Request, Status, Streaming};
use wcdn_proto::{
    KeyState, Position,
    pb::edge::v1::{
        self as edge, Holding, OriginPool, session_request::Kind as Up,
        session_response::Kind as Down,
    },
};

use super::admit;
use crate::{
    audit::Draft,
    calls::{
        parse,
        stream::{Feed, Sent},
    },
    desk::Desk,
    refusal::Refusal,
    sessions::{Entered, Question},
    tracker::Registered,
};

/// From the begin of the call to the registration.
const REGISTER: Duration = Duration::from_secs(10);

/// Between two tellings of the head: datagrams are faster, and this is for nodes that they miss.
const BETWEEN_HEADS: Duration = Duration::from_millis(100);

/// Keys of one message: at most 1 MB, of five texts each.
const KEYS: usize = 4_096;

/// Questions to one node that are not answered yet.
const MAX_PENDING: usize = 64;

/// How long a report waits for the log, if it tells of an event that cannot be read here yet: what an
/// event did is told to a receipt that is there.
const BEHIND: Duration = Duration::from_secs(3);

/// Outcomes, pins and preloads of one report: several times what nodes send.
const MAX_OUTCOMES: usize = 4_096;
const MAX_PINS: usize = 4_096;
const MAX_PRELOADS: usize = 1_024;

/// Origins and lies of one report: several times what nodes have.
const MAX_ORIGINS: usize = 4_096;
const MAX_LIES: usize = 1_024;

/// The task of a session.
struct Session {
    desk: Arc<Desk>,
    who: Registered,
    entered: Entered,
    /// The last outcome that was known when it registered.
    last_outcome: u64,
    up: Streaming<edge::SessionRequest>,
    down: Feed<edge::SessionResponse>,
    pools: watch::Receiver<OriginPool>,
    heads: watch::Receiver<Position>,
    preloads: watch::Receiver<()>,
    pending: HashMap<u64, oneshot::Sender<Holding>>,
    asked: u64,
    tells_keys: bool,
}

pub(super) async fn open(
    desk: &Arc<Desk>,
    request: Request<Streaming<edge::SessionRequest>>,
) -> Result<Sent<edge::SessionResponse>, Refusal> {
    admit::edge(&request)?;
    let mut up = request.into_inner();
    let first = timeout(REGISTER, up.message()).await.map_err(|_| Refusal::Deadline)?;
    let Ok(Some(edge::SessionRequest { kind: Some(Up::Register(register)) })) = first else {
        return Err(Refusal::invalid("kind", "must be register in the first message"));
    };
    let (proof, preloads, tells_keys) = (register.proof.clone(), register.preloads, register.keys);
    let (who, applied) = parse::register(register)?;
    desk.believe(applied, proof).await?;
    let entered = desk.sessions.enter(&who)?;
    tracing::info!(node = %who.node, region = %who.region, epoch = applied.epoch, seq = applied.seq, "edge registered");
    let detail = json!({"region": who.region.to_string(), "version": who.version});
    let draft = Draft::system("node.registered", who.node.to_string(), detail);
    desk.audit.note_often(draft, Instant::now());
    desk.hear(&who, applied);
    desk.pins.lock().registered(&who, entered.number);
    let last_outcome =
        desk.tracker.lock().registered(who.clone(), applied, entered.number, Instant::now());
    desk.metrics.sessions.inc();
    let (down, sent) = Feed::new(desk);
    let session = Session {
        desk: Arc::clone(desk),
        who,
        entered,
        last_outcome,
        up,
        down,
        pools: desk.log.pools(),
        heads: desk.log.heads(),
        preloads: desk.preloads.lock().bell(),
        pending: HashMap::new(),
        asked: 0,
        tells_keys,
    };
    if preloads {
        let Session { who, entered, .. } = &session;
        desk.preloads.lock().entered(&who.node, &who.region, entered.number);
    }
    desk.tasks.spawn(session.run());
    Ok(sent)
}

impl Session {
    async fn run(mut self) {
        let ended = self.converse().await;
        let Self { desk, who, entered, down, .. } = self;
        let node = who.node;
        desk.tracker.lock().left(&node, entered.number, Instant::now());
        desk.preloads.lock().left(&node, entered.number);
        desk.metrics.sessions.dec();
        drop(entered);
        match ended {
            Ok(()) => tracing::info!(%node, "edge left"),
            Err(refusal) => {
                tracing::info!(%node, reason = refusal.reason(), "session ended");
                down.end(&desk, refusal).await;
            }
        }
    }

    async fn converse(&mut self) -> Result<(), Refusal> {
        let head = *self.heads.borrow_and_update();
        let epoch = head.epoch;
        let head = Some(head.into());
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let (last_outcome, instance) = (Some(self.last_outcome), self.desk.instance);
        let welcome = edge::Welcome { head, version, last_outcome, instance };
        self.send(Down::Welcome(welcome)).await?;
        let pool = self.pools.borrow_and_update().clone();
        self.send(Down::Origins(pool)).await?;
        if self.tells_keys {
            self.tell_keys().await?;
        }
        let mut next_head = Instant::now();
        loop {
            let heads = &mut self.heads;
            let moved = async {
                sleep_until(next_head).await;
                heads.changed().await
            };
            tokio::select! {
                biased;
                () = self.desk.ending.cancelled() => return Err(Refusal::Draining),
                () = self.entered.superseded.cancelled() => return Err(Refusal::Superseded),
                Ok(()) = self.pools.changed() => {
                    let pool = self.pools.borrow_and_update().clone();
                    self.send(Down::Origins(pool)).await?;
                }
                Ok(()) = moved => {
                    let head = *self.heads.borrow_and_update();
                    if head.epoch != epoch {
                        return Err(Refusal::EpochRaised);
                    }
                    self.send(Down::Head(head.into())).await?;
                    next_head = Instant::now() + BETWEEN_HEADS;
                }
                Some(question) = self.entered.questions.recv() => self.ask(question).await?,
                message = self.up.message() => {
                    if !self.hear(message).await? {
                        return Ok(());
                    }
                }
                Ok(()) = self.preloads.changed() => self.preload().await?,
            }
        }
    }

    /// Tells of every key; events tell of the rest.
    async fn tell_keys(&self) -> Result<(), Refusal> {
        let (position, keys): (_, Vec<_>) = {
            let state = self.desk.log.state().read();
            (state.position(), state.keys().map(KeyState::to_wire).collect())
        };
        let pepper = Bytes::copy_from_slice(self.desk.keys.edge_pepper().as_bytes());
        let mut parts = keys.chunks(KEYS).peekable();
        loop {
            let keys = parts.next().unwrap_or_default().to_vec();
            let more = parts.peek().is_some();
            let (position, pepper) = (Some(position.into()), pepper.clone());
            self.send(Down::Keys(edge::ApiKeys { position, pepper, keys, more })).await?;
            if !more {
                return Ok(());
            }
        }
    }

    async fn send(&self, kind: Down) -> Result<(), Refusal> {
        self.down.send(edge::SessionResponse { kind: Some(kind) }).await
    }

    async fn ask(&mut self, question: Question) -> Result<(), Refusal> {
        self.pending.retain(|_, answer| !answer.is_closed());
        if self.pending.len() >= MAX_PENDING {
            // Whoever asks hears that nobody answers.
            return Ok(());
        }
        self.asked += 1;
        self.pending.insert(self.asked, question.answer);
        let content = question.content.to_vec().into();
        self.send(Down::Ask(edge::Ask { id: self.asked, content })).await
    }

    /// Gives the node what is to be preloaded, as much as it takes.
    async fn preload(&self) -> Result<(), Refusal> {
        let (node, session) = (&self.who.node, self.entered.number);
        let next = || self.desk.preloads.lock().take(node, session);
        while let Some(piece) = next() {
            self.send(Down::Preload(piece)).await?;
        }
        Ok(())
    }

    /// Takes a message in; false at the end.
    async fn hear(
        &mut self,
        message: Result<Option<edge::SessionRequest>, Status>,
    ) -> Result<bool, Refusal> {
        // A connection that breaks is an end like any other.
        let Ok(Some(message)) = message else { return Ok(false) };
        match message.kind {
            Some(Up::Report(report)) => self.report(report).await?,
            Some(Up::Answer(answer)) => {
                let waiting = self.pending.remove(&answer.id);
                if let (Some(waiting), Some(holding)) = (waiting, answer.holding) {
                    // Whoever asked may have left.
                    drop(waiting.send(holding));
                }
            }
            Some(Up::Register(_)) => {
                return Err(Refusal::invalid("kind", "is register, which comes first and once"));
            }
            // Of a later version.
            None => {}
        }
        Ok(true)
    }

    async fn report(&mut self, report: edge::Report) -> Result<(), Refusal> {
        let applied = Position::from(report.applied);
        bounded("report.outcomes", report.outcomes.len(), MAX_OUTCOMES)?;
        bounded("report.origins", report.origins.len(), MAX_ORIGINS)?;
        bounded("report.lies", report.lies.len(), MAX_LIES)?;
        self.desk.health.heard(&self.who, &report.origins, &report.lies);
        let places = report.outcomes.iter().map(|outcome| Position::from(outcome.position));
        self.catch_up(places.fold(applied, Position::max)).await;
        // Whoever is ahead shows its proof when it registers.
        self.desk.believe(applied, Bytes::new()).await?;
        self.desk.hear(&self.who, applied);
        let (node, session) = (&self.who.node, self.entered.number);
        if let Some(pins) = &report.pins {
            bounded("report.pins.states", pins.states.len(), MAX_PINS)?;
            self.desk.pins.lock().reported(node, session, pins)?;
        }
        bounded("report.preloads", report.preloads.len(), MAX_PRELOADS)?;
        let settled = self.desk.preloads.lock().reported(node, session, &report.preloads);
        self.desk.metrics.preloaded(settled);
        let mut tracker = self.desk.tracker.lock();
        tracker.reported(node, session, &report, Instant::now());
        Ok(())
    }

    /// Knows what a report tells of, also if another control plane wrote it, if that is soon.
    async fn catch_up(&self, last: Position) {
        if self.desk.catch_up(last).await {
            return;
        }
        let mut heads = self.desk.log.heads();
        let known = timeout(BEHIND, heads.wait_for(|head| *head >= last));
        drop(self.desk.ending.run_until_cancelled(known).await);
    }
}

fn bounded(field: &'static str, count: usize, most: usize) -> Result<(), Refusal> {
    match count <= most {
        true => Ok(()),
        false => Err(Refusal::invalid(field, format!("has {count} entries; the most is {most}"))),
    }
}
