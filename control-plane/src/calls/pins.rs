//! What is pinned, and how far it is.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::sleep;
use wcdn_proto::{
    BlobId,
    pb::admin::v1::{self as admin, PinState},
};

use super::{
    parse, queries,
    stream::{self, Feed, Sent},
};
use crate::{
    auth::Caller,
    desk::Desk,
    pins::{self, Counts, Pins},
    refusal::Refusal,
    store::pins::Pinned,
};

/// Rows of the store that are read at once for a list of some state, and how often for one page.
const ROWS: u32 = 1_000;
const READS: usize = 10;

/// Pins in trouble that are told of in one message.
const TROUBLED: usize = 100;

/// Between two messages: each looks at all that is watched.
const BETWEEN: Duration = Duration::from_millis(200);

pub(crate) async fn list(
    desk: &Desk,
    _: &Caller,
    request: admin::ListPinsRequest,
) -> Result<admin::ListPinsResponse, Refusal> {
    let (mut after, size) = queries::page(request.page_size, &request.page_token)?;
    let wanted = match request.state() {
        PinState::Unspecified if request.state != 0 => {
            return Err(Refusal::invalid("state", format!("is {}, which is none", request.state)));
        }
        PinState::Unspecified => None,
        state => Some(state),
    };
    let most = if wanted.is_some() { ROWS } else { size };
    let mut page = Vec::new();
    for _ in 0..READS {
        let rows = desk.store.list_pins(&after, most).await?;
        let is_last = rows.len() < most as usize;
        for row in rows {
            if page.len() == size as usize {
                return Ok(response(page, &after));
            }
            after = row.id.as_bytes().to_vec();
            let pin = told(&desk.pins.lock(), row);
            let state = pin.standing.as_ref().map(admin::PinStanding::state);
            if wanted.is_none_or(|wanted| state == Some(wanted)) {
                page.push(pin);
            }
        }
        if is_last {
            return Ok(response(page, &[]));
        }
        if page.len() == size as usize {
            break;
        }
    }
    Ok(response(page, &after))
}

/// One pin.
pub(crate) async fn get(desk: &Desk, _: &Caller, id: BlobId) -> Result<admin::PinnedId, Refusal> {
    let row = desk.store.in_time(desk.store.pin(&id)).await?;
    let row = row.ok_or_else(|| Refusal::NotPinned { id: id.to_string() })?;
    Ok(told(&desk.pins.lock(), row))
}

fn response(pins: Vec<admin::PinnedId>, next: &[u8]) -> admin::ListPinsResponse {
    admin::ListPinsResponse { pins, next_page_token: queries::page_token(next) }
}

fn told(pins: &Pins, Pinned { id, note, by, at_ms }: Pinned) -> admin::PinnedId {
    let standing = Some(pins.standing(&id));
    admin::PinnedId { id: id.to_string(), note, by, pinned_at_ms: at_ms, standing }
}

pub(crate) fn watch(
    desk: &Arc<Desk>,
    caller: &Caller,
    request: admin::WatchPinsRequest,
) -> Result<Sent<admin::WatchPinsResponse>, Refusal> {
    let ids = parse::pinned(&request.ids)?;
    let room = desk.room_to_watch()?;
    Ok(stream::begin(desk, room, caller.deadline, move |desk, feed| async move {
        follow(&desk, &feed, &ids).await
    }))
}

async fn follow(
    desk: &Desk,
    feed: &Feed<admin::WatchPinsResponse>,
    ids: &[BlobId],
) -> Result<(), Refusal> {
    let mut bell = desk.pins.lock().bell();
    let mut sent = None;
    loop {
        bell.mark_unchanged();
        let (told, is_settled) = {
            let state = desk.log.state().read();
            look(&desk.pins.lock(), state.pins(), ids)
        };
        if sent.as_ref() != Some(&told) {
            feed.send(told.clone()).await?;
            sent = Some(told);
        }
        if is_settled {
            return Ok(());
        }
        sleep(BETWEEN).await;
        // The desk has its other end.
        drop(bell.changed().await);
    }
}

/// How far they are, and whether nothing more is to be expected of them.
fn look(
    pins: &Pins,
    pinned: &BTreeSet<BlobId>,
    ids: &[BlobId],
) -> (admin::WatchPinsResponse, bool) {
    let (mut counts, mut unpinned, mut is_settled) = (Counts::default(), 0, true);
    let mut troubled = Vec::new();
    for id in ids {
        if !pinned.contains(id) {
            unpinned += 1;
            continue;
        }
        let standing = pins.standing(id);
        counts.add(standing.state());
        is_settled &= pins::is_settled(&standing);
        let is_in_trouble = matches!(standing.state(), PinState::Degraded | PinState::OverBudget);
        if is_in_trouble && troubled.len() < TROUBLED {
            let (id, standing) = (id.to_string(), Some(standing));
            troubled.push(admin::PinnedId { id, standing, ..admin::PinnedId::default() });
        }
    }
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let told = admin::WatchPinsResponse {
        requested: count(counts.requested),
        filling: count(counts.filling),
        held: count(counts.held),
        degraded: count(counts.degraded),
        over_budget: count(counts.over_budget),
        unpinned,
        troubled,
    };
    (told, is_settled)
}
