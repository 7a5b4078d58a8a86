//! Receipts: as they are now, and as they grow.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use wcdn_proto::pb::admin::v1 as admin;

use super::stream::{self, Feed, Sent};
use crate::{auth::Caller, desk::Desk, refusal::Refusal};

/// Between two messages, unless the second one settles it, so that a receipt of many nodes does not become many messages.
const COALESCE: Duration = Duration::from_millis(20);

/// How long a stream stays open after the receipt is settled for what nodes still have to tell, such as
/// what Redis did.
const TELL: Duration = Duration::from_millis(500);

/// Between two looks at a receipt that memory had no room for: nothing rings for it.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn get(
    desk: &Desk,
    _: &Caller,
    request: admin::GetReceiptRequest,
) -> Result<admin::GetReceiptResponse, Refusal> {
    hear_of(desk, &request.change_id).await;
    let open = desk.tracker.lock().receipt(&request.change_id);
    let receipt = match open {
        Some((receipt, _)) => receipt,
        None => kept(desk, &request.change_id).await?,
    };
    Ok(admin::GetReceiptResponse { receipt: Some(receipt) })
}

pub(crate) async fn watch(
    desk: &Arc<Desk>,
    caller: &Caller,
    request: admin::WatchReceiptRequest,
) -> Result<Sent<admin::WatchReceiptResponse>, Refusal> {
    let room = desk.room_to_watch()?;
    let id = request.change_id;
    hear_of(desk, &id).await;
    if desk.tracker.lock().bell(&id).is_none() {
        // It is told at once if there is no such change.
        kept(desk, &id).await?;
    }
    Ok(stream::begin(desk, room, caller.deadline, |desk, feed| async move {
        follow(&desk, &feed, id).await
    }))
}

/// Makes sure that a change is open here which another control plane committed a moment ago.
async fn hear_of(desk: &Desk, id: &str) {
    if desk.tracker.lock().bell(id).is_none() {
        desk.log.look().await;
    }
}

/// The receipt of a change that is no longer open.
async fn kept(desk: &Desk, id: &str) -> Result<admin::Receipt, Refusal> {
    match desk.store.change(id).await? {
        Some((_, Some(mut receipt))) => {
            desk.tracker.lock().bring_up(&mut receipt);
            Ok(receipt)
        }
        Some((change, None)) => Ok(desk.tracker.lock().late_receipt(change, Instant::now())),
        None => Err(Refusal::NoChange { id: id.chars().take(80).collect() }),
    }
}

async fn follow(
    desk: &Desk,
    feed: &Feed<admin::WatchReceiptResponse>,
    id: String,
) -> Result<(), Refusal> {
    let mut until = None;
    let mut sent = None;
    loop {
        let (open, mut bell) = {
            let mut tracker = desk.tracker.lock();
            (tracker.receipt(&id), tracker.bell(&id))
        };
        let (receipt, is_final) = match open {
            Some(open) => open,
            // What memory had no room for may not be settled yet.
            None => {
                let receipt = kept(desk, &id).await?;
                let is_settled = receipt.settled;
                (receipt, is_settled)
            }
        };
        if receipt.settled && until.is_none() {
            until = Some(Instant::now() + TELL);
        }
        if sent.as_ref() != Some(&receipt) {
            send(feed, receipt.clone()).await?;
            sent = Some(receipt);
        }
        if is_final {
            return Ok(());
        }
        let Some(bell) = &mut bell else {
            sleep(AGAIN).await;
            continue;
        };
        if !rings(bell, until).await {
            return Ok(());
        }
        gather(desk, &id, bell, until.is_some()).await;
    }
}

/// Waits a little for more to tell, but not if a receipt has just been settled: that is news.
async fn gather(desk: &Desk, id: &str, bell: &mut watch::Receiver<()>, was_settled: bool) {
    let news = async {
        while was_settled || !desk.tracker.lock().is_settled(id) {
            if bell.changed().await.is_err() {
                return;
            }
        }
    };
    drop(timeout(COALESCE, news).await);
}

/// Waits for the bell; false if it is no use to wait any longer.
async fn rings(bell: &mut watch::Receiver<()>, until: Option<Instant>) -> bool {
    match until {
        Some(until) => timeout_at(until, bell.changed()).await.is_ok(),
        // The receipt has been kept meanwhile if its bell is gone: that is looked up.
        None => {
            drop(bell.changed().await);
            true
        }
    }
}

async fn send(
    feed: &Feed<admin::WatchReceiptResponse>,
    receipt: admin::Receipt,
) -> Result<(), Refusal> {
    feed.send(admin::WatchReceiptResponse { receipt: Some(receipt) }).await
}
