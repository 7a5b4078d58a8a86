//! The events of the log, as they were written or as they come.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use wcdn_proto::{
    Change, KeyState, Position, Purge,
    pb::admin::v1::{GetStatusRequest, TailEventsRequest, TailEventsResponse},
};

use crate::{
    args::EventsArgs,
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::Output,
    text::{self, NOTHING, count},
};

const WHAT: &str = "the events";

/// As many as fit on a screen.
const LAST: u64 = 20;

/// How long a control plane may be away while its events are followed: a restart, even a slow one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the tail is, so that it can go on there.
#[derive(Debug)]
struct Tail<'a> {
    client: &'a mut Client,
    output: &'a Output,
    after: Position,
    follow: bool,
    /// When an event last came, or a stream that lasted broke off.
    heard: Instant,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    position: String,
    committed_at: Option<String>,
    kind: &'static str,
    all: bool,
    ids: Vec<String>,
    revision: Option<u64>,
    /// The id of an API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

pub(super) async fn tail(
    client: &mut Client,
    output: &Output,
    args: &EventsArgs,
) -> Result<Outcome, Failure> {
    let after = match args.after {
        Some(after) => after,
        None => before_the_last(client, args.follow).await?,
    };
    let mut tail = Tail { client, output, after, follow: args.follow, heard: Instant::now() };
    loop {
        let began = Instant::now();
        let failure = match tail.stream().await {
            Ok(()) if !args.follow => return Ok(Outcome::Done),
            // A control plane that stops ends its streams; the next one has the rest.
            Ok(()) => None,
            Err(failure) if !args.follow || !failure.may_heal() => return Err(failure),
            Err(failure) => Some(failure),
        };
        // A stream that was quiet for so long was well all the same.
        if began.elapsed() > PATIENCE {
            tail.heard = Instant::now();
        }
        if tail.heard.elapsed() > PATIENCE {
            return failure.map_or(Ok(Outcome::Done), Err);
        }
        tail.client.turn().await;
    }
}

/// The position before the last few events; the head of the log if only new ones are wanted.
async fn before_the_last(client: &mut Client, follow: bool) -> Result<Position, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.get_status(request).await;
    let status = client.call("status", GetStatusRequest {}, rpc).await?;
    let Position { epoch, seq } = client.present("status", status.head, "no head")?.into();
    let last = if follow { seq } else { seq.saturating_sub(LAST) };
    Ok(Position { epoch, seq: last.max(status.floor_seq.saturating_sub(1)) })
}

impl Tail<'_> {
    /// One stream, to its end.
    async fn stream(&mut self) -> Result<(), Failure> {
        let after = Some(self.after.into());
        let question = TailEventsRequest { after, follow: self.follow };
        let rpc = async |admin: &mut Admin, request| admin.tail_events(request).await;
        let mut stream = self.client.open(WHAT, question, rpc).await?;
        loop {
            let next = match self.follow {
                true => self.client.next(WHAT, &mut stream).await?,
                false => self.client.next_in_time(WHAT, &mut stream).await?,
            };
            let Some(event) = next else { return Ok(()) };
            self.show(event)?;
            self.heard = Instant::now();
        }
    }

    fn show(&mut self, told: TailEventsResponse) -> Result<(), Failure> {
        let (position, event) = (told.position, told.event);
        let position = self.client.present(WHAT, position, "no position")?;
        let event = self.client.present(WHAT, event, "no event")?;
        let change = Change::from_wire(event).ok();
        let change = self.client.present(WHAT, change, "an event that names nothing")?;
        self.after = position.into();
        if self.output.is_json() {
            self.output.document(&Document::of(self.after, told.committed_at_ms, &change))?;
        } else {
            self.output.line(&line(self.after, told.committed_at_ms, &change))?;
        }
        Ok(())
    }
}

/// A line that stands under those before it without knowing those that follow.
fn line(position: Position, committed_at_ms: u64, change: &Change) -> String {
    let (position, time) = (text::position(position), text::time(committed_at_ms));
    let (time, what) = (time.as_deref().unwrap_or(NOTHING), subject(change));
    format!("{position:<12}  {time:<24}  {:<7}  {what}", change.kind()).trim_end().to_owned()
}

fn subject(change: &Change) -> String {
    /// More are counted only.
    const MAX_NAMED: usize = 2;
    match change {
        Change::Purge(Purge::All) => return "everything".to_owned(),
        Change::Origins { revision } => return format!("revision {revision}"),
        Change::Key(key) => return key_subject(key),
        Change::Unknown { .. } => return "this program is too old to know it".to_owned(),
        _ => {}
    }
    let ids = change.ids();
    match ids.len() {
        0..=MAX_NAMED => ids.join(" "),
        all => format!("{} and {}", ids[0], count(all as u64 - 1, "other id")),
    }
}

fn key_subject(key: &KeyState) -> String {
    let id = &key.id;
    if key.secrets.is_empty() { format!("{id} has ended") } else { id.to_string() }
}

impl Document {
    fn of(position: Position, committed_at_ms: u64, change: &Change) -> Self {
        let revision =
            if let Change::Origins { revision } = change { Some(*revision) } else { None };
        Self {
            position: text::position(position),
            committed_at: text::time(committed_at_ms),
            kind: change.kind(),
            all: change.is_of_all(),
            ids: change.ids(),
            revision,
            key: if let Change::Key(key) = change { Some(key.id.to_string()) } else { None },
        }
    }
}
