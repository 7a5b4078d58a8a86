//! The events of the log: some of them, and as they come.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::{
        FromRequestParts as _, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::time::{interval, timeout};
use utoipa::{IntoParams, ToSchema};
use wcdn_proto::{Change, Position, pb::admin::v1 as admin};

use super::{
    error::Problem,
    model::{Page, position, time},
    read::{self, Limit},
    visit::Door,
};
use crate::{
    auth::{Caller, Operation},
    calls::{stream::Sent, tail},
    refusal::Refusal,
};

/// How often a stream without news says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a message may take to leave.
const STALL: Duration = Duration::from_secs(30);

/// An event of the log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogEvent {
    #[schema(example = "1764000000000:42")]
    position: Option<String>,
    #[schema(format = DateTime)]
    committed_at: Option<String>,
    /// "purge", "block", "unblock", "pin", "unpin", "origins", "key", "barrier" or "unknown".
    #[schema(example = "purge")]
    kind: &'static str,
    /// Whether it is of everything.
    all: bool,
    ids: Vec<String>,
    /// Of the origin pool.
    revision: Option<u64>,
    /// The id of an API key.
    key: Option<String>,
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Those after this position, `epoch:seq`; the oldest that there are if it is left out.
    #[serde(default)]
    #[param(required = false)]
    after: String,
    /// `next` of the page before.
    #[serde(default)]
    #[param(required = false)]
    cursor: String,
    /// Items of a page: 100 if it is left out, 1,000 at most.
    #[serde(default)]
    #[param(required = false, maximum = 1_000, value_type = u32)]
    limit: Limit,
}

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// Events after this position, `epoch:seq`; only those that come if it is left out. `Last-Event-ID` has
    /// the same meaning, and comes before it.
    #[serde(default)]
    #[param(required = false)]
    after: String,
}

/// Events of the log
#[utoipa::path(get, path = "/events", tag = "events", operation_id = "listEvents",
    params(EventsQuery), responses((status = 200, body = Page<LogEvent>)))]
pub(super) async fn page(door: Door) -> Result<Json<Page<LogEvent>>, Problem> {
    let caller = door.admit(Operation::TailEvents).await?;
    let EventsQuery { after, cursor, limit } = read::query(&door.head.uri)?;
    let after = match (after.is_empty(), cursor.is_empty()) {
        (false, false) => {
            return Err(Refusal::invalid("cursor", "cannot stand beside after").into());
        }
        (false, true) => Some(parse("after", &after)?),
        (true, false) => Some(decoded(&cursor)?),
        (true, true) => None,
    };
    let limit = if limit.0 == 0 { 100 } else { limit.0 };
    let (events, next) = tail::page(&door.desk, &caller, after, limit as usize).await?;
    let next = next.map(encoded).unwrap_or_default();
    Ok(Json(Page::new(events, next)))
}

/// Events as they come (server-sent events)
///
/// Each has its position as `id`: whoever connects again with `Last-Event-ID` misses none. The stream ends when
/// the control plane stops, or a new log begins.
#[utoipa::path(get, path = "/live", tag = "events", operation_id = "liveEvents",
    params(After, ("Last-Event-ID" = Option<String>, Header, description = "the last position that is known")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(super) async fn live(door: Door) -> Result<Response, Problem> {
    let (_, told) = follow(&door).await?;
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    Ok(Sse::new(events(told)).keep_alive(keep_alive).into_response())
}

fn events(told: Sent<admin::TailEventsResponse>) -> impl Stream<Item = Result<Event, Infallible>> {
    told.map(|next| {
        let event = match next {
            Ok(event) => {
                let event = LogEvent::from(event);
                let id = event.position.clone().unwrap_or_default();
                Event::default().id(id).event(event.kind).json_data(event)
            }
            Err(refusal) => {
                let ended = serde_json::json!({
                    "code": refusal.reason(), "message": refusal.message()
                });
                Event::default().event("end").json_data(ended)
            }
        };
        Ok(event.unwrap_or_default())
    })
}

/// Events as they come (WebSocket)
///
/// Each is a text message of the same JSON that `/live` has. The key is sent as a header; browsers, which
/// cannot, use `/live` with `fetch`.
#[utoipa::path(get, path = "/ws", tag = "events", operation_id = "socketEvents", params(After),
    responses((status = 101, description = "a WebSocket begins")))]
pub(super) async fn socket(door: Door) -> Result<Response, Problem> {
    let (_, told) = follow(&door).await?;
    let mut head = door.head.clone();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut head, &()).await;
    let upgrade = upgrade.map_err(|_| Refusal::invalid("Upgrade", "must be websocket"))?;
    let tasks = door.desk.tasks.clone();
    let upgrade = upgrade.max_message_size(4_096).max_frame_size(4_096);
    Ok(upgrade.on_upgrade(move |socket| tasks.track_future(send(socket, told))))
}

async fn send(mut socket: WebSocket, mut told: Sent<admin::TailEventsResponse>) {
    let mut heartbeat = interval(HEARTBEAT);
    loop {
        let message = tokio::select! {
            next = told.next() => match next {
                Some(Ok(event)) => {
                    let text = serde_json::to_string(&LogEvent::from(event));
                    Message::text(text.unwrap_or_default())
                }
                Some(Err(_)) | None => break,
            },
            _ = heartbeat.tick() => Message::Ping(bytes::Bytes::new()),
            // What viewers say is passed over; that they are gone is not.
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => continue,
            },
        };
        if !matches!(timeout(STALL, socket.send(message)).await, Ok(Ok(()))) {
            break;
        }
    }
    // Whoever is gone does not hear it.
    drop(timeout(STALL, socket.send(Message::Close(None))).await);
}

async fn follow(door: &Door) -> Result<(Caller, Sent<admin::TailEventsResponse>), Problem> {
    let caller = door.admit(Operation::TailEvents).await?;
    let After { after } = read::query(&door.head.uri)?;
    let last = door.head.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = match (last, after.as_str()) {
        (Some(last), _) => Some(parse("Last-Event-ID", last)?),
        (None, "") => None,
        (None, after) => Some(parse("after", after)?),
    };
    let request = admin::TailEventsRequest { after: after.map(Into::into), follow: true };
    let told = tail::tail(&door.desk, &caller, request).await?;
    Ok((caller, told))
}

fn parse(field: &str, text: &str) -> Result<Position, Problem> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten()
    };
    let parts = text.split_once(':').and_then(|(epoch, seq)| Some((number(epoch)?, number(seq)?)));
    let shown: String = text.chars().take(60).collect();
    let problem = format!("is {shown:?}; a position is epoch:seq, such as 1764000000000:42");
    let (epoch, seq) = parts.ok_or_else(|| Refusal::invalid(field, problem))?;
    Ok(Position { epoch, seq })
}

fn encoded(Position { epoch, seq }: Position) -> String {
    URL_SAFE_NO_PAD.encode([epoch.to_be_bytes(), seq.to_be_bytes()].as_flattened())
}

fn decoded(cursor: &str) -> Result<Position, Problem> {
    let bytes =
        URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let number = bytes.map(u128::from_be_bytes);
    let number = number.ok_or_else(|| Refusal::invalid("cursor", "is none of this list"))?;
    let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
    Ok(Position { epoch: half(number >> 64), seq: half(number) })
}

impl From<admin::TailEventsResponse> for LogEvent {
    fn from(told: admin::TailEventsResponse) -> Self {
        let change = told.event.and_then(|event| Change::from_wire(event).ok());
        let change = change.unwrap_or(Change::Unknown { is_ignorable: true });
        let (mut revision, mut key) = (None, None);
        match &change {
            Change::Origins { revision: number } => revision = Some(*number),
            Change::Key(state) => key = Some(state.id.to_string()),
            _ => {}
        }
        Self {
            position: position(told.position),
            committed_at: time(told.committed_at_ms),
            kind: change.kind(),
            all: change.is_of_all(),
            ids: change.ids(),
            revision,
            key,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_told(epoch: u64, seq: u64) {
            let at = Position { epoch, seq };
            prop_assert_eq!(decoded(&encoded(at)).unwrap(), at);
            prop_assert_eq!(parse("after", &format!("{epoch}:{seq}")).unwrap(), at);
        }

        #[test]
        fn any_text_is_a_position_or_none(text: String) {
            let _read_or_refused = (parse("after", &text).is_ok(), decoded(&text).is_ok());
        }
    }
}
