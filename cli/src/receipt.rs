//! Receipts: waiting for one, and printing it.

use std::io;

use tokio::time::{Duration, MissedTickBehavior, interval, timeout};
use wcdn_proto::pb::admin::v1::{Change, Receipt, WatchReceiptRequest};

use crate::{
    args::WaitArgs,
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::{Output, complain},
    progress::Progress,
    text,
};

mod document;
mod table;

pub(crate) use document::{ChangeDocument, Committed, ReceiptDocument};

/// The receipt of one change, as it grows.
#[derive(Debug)]
struct Wait<'a> {
    client: &'a mut Client,
    change: &'a str,
    progress: Progress,
    receipt: Option<Receipt>,
}

/// Why waiting came to an end.
#[derive(Debug)]
enum Ended {
    Settled,
    Elapsed,
    Interrupted,
}

/// Prints a change that was committed, and its receipt if it is to be waited for.
pub(crate) async fn committed(
    client: &mut Client,
    output: &Output,
    change: Change,
    wait: &WaitArgs,
) -> Result<Outcome, Failure> {
    announce(output, &change)?;
    if wait.wait {
        return settled(client, output, &change.id, wait, Some(&change)).await;
    }
    if output.is_json() {
        output.document(&Committed::from(&change))?;
    }
    Ok(Outcome::Done)
}

/// Tells people which change was committed.
pub(crate) fn announce(output: &Output, change: &Change) -> io::Result<()> {
    match (output.is_json(), output.is_quiet()) {
        (true, _) => Ok(()),
        (false, true) => output.line(&text::plain(&change.id)),
        (false, false) => output.line(&sentence(change)),
    }
}

/// Waits for the receipt of a change, and prints it as far as it came.
pub(crate) async fn settled(
    client: &mut Client,
    output: &Output,
    change: &str,
    wait: &WaitArgs,
    committed: Option<&Change>,
) -> Result<Outcome, Failure> {
    let progress = Progress::new(output.is_quiet());
    let mut waiting = Wait { client, change, progress, receipt: None };
    let ended = waiting.follow(wait.timeout.duration()).await;
    waiting.progress.clear();
    // Whatever happened, the caller learns what is known.
    match (&waiting.receipt, committed) {
        (Some(_), Some(_)) if output.is_quiet() && !output.is_json() => {}
        (Some(receipt), _) => print(output, receipt)?,
        (None, Some(change)) if output.is_json() => output.document(&Committed::from(change))?,
        (None, _) => {}
    }
    let known = waiting.receipt.as_ref();
    let standing = known.map_or_else(|| "nothing is known of it".to_owned(), table::standing);
    match ended? {
        Ended::Settled => Ok(outcome(known)),
        Ended::Elapsed => {
            let waited = wait.timeout;
            complain(&format!(
                "{change} is not settled after {waited}: {standing}; wait on by: wcdn receipt {change} --wait"
            ));
            Ok(Outcome::Incomplete)
        }
        Ended::Interrupted => {
            complain(&format!(
                "interrupted, but {change} goes on: {standing}; see it by: wcdn receipt {change}"
            ));
            Ok(Outcome::Interrupted)
        }
    }
}

/// Prints a receipt as it stands.
pub(crate) fn print(output: &Output, receipt: &Receipt) -> io::Result<()> {
    if output.is_json() {
        return output.document(&ReceiptDocument::from(receipt));
    }
    output.table(&table::of(receipt))?;
    output.remark(&table::summary(receipt))
}

/// What a receipt means for scripts.
pub(crate) fn outcome(receipt: Option<&Receipt>) -> Outcome {
    let is_complete = receipt.is_some_and(|receipt| receipt.complete);
    if is_complete { Outcome::Done } else { Outcome::Incomplete }
}

/// What was asked for, and under which name its receipt is found.
fn sentence(change: &Change) -> String {
    let what = match change.kind.as_str() {
        "purge" if change.ids == 0 => "purge of everything".to_owned(),
        "origins" => "change of the origins".to_owned(),
        kind @ ("purge" | "block" | "unblock" | "pin" | "unpin") => {
            format!("{kind} of {}", text::count(change.ids, "id"))
        }
        kind => kind.to_owned(),
    };
    let at = text::wire_position(change.last);
    let at = at.as_deref().unwrap_or(text::NOTHING);
    text::plain(&format!("{what} is committed at {at} as {}", change.id))
}

impl Wait<'_> {
    async fn follow(&mut self, limit: Duration) -> Result<Ended, Failure> {
        tokio::select! {
            biased;
            signal = tokio::signal::ctrl_c() => Ok(signal.map(|()| Ended::Interrupted)?),
            settled = timeout(limit, self.until_settled()) => match settled {
                Ok(settled) => settled.map(|()| Ended::Settled),
                Err(_elapsed) => Ok(Ended::Elapsed),
            }
        }
    }

    /// Watches again after the control plane broke off: the change is in its log, and waits there. What
    /// bounds the tries is how long the caller is willing to wait.
    async fn until_settled(&mut self) -> Result<(), Failure> {
        loop {
            match self.watch().await {
                Ok(()) if self.receipt.as_ref().is_some_and(|receipt| receipt.settled) => {
                    return Ok(());
                }
                Err(failure) if !failure.may_heal() => return Err(failure),
                Ok(()) | Err(_) => self.client.turn().await,
            }
        }
    }

    /// One stream, to its end.
    async fn watch(&mut self) -> Result<(), Failure> {
        const WHAT: &str = "the receipt";
        let question = WatchReceiptRequest { change_id: self.change.to_owned() };
        let rpc = async |admin: &mut Admin, request| admin.watch_receipt(request).await;
        let mut stream = self.client.open(WHAT, question, rpc).await?;
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seconds.tick().await;
        loop {
            tokio::select! {
                message = self.client.next(WHAT, &mut stream) => match message? {
                    Some(message) => {
                        let receipt = message.receipt;
                        let receipt = self.client.present(WHAT, receipt, "no receipt")?;
                        self.progress.changed(&line(self.change, &receipt));
                        self.receipt = Some(receipt);
                    }
                    None => return Ok(()),
                },
                _ = seconds.tick() => {
                    if let Some(receipt) = &self.receipt {
                        self.progress.elapsed(&line(self.change, receipt));
                    }
                }
            }
        }
    }
}

fn line(change: &str, receipt: &Receipt) -> String {
    format!("{change}: {}", table::standing(receipt))
}
