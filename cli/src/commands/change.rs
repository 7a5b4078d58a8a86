//! Purge, block, unblock, pin, unpin, barrier: what goes into the log, and its receipt.

use wcdn_proto::{
    ContentId,
    pb::admin::v1::{
        BarrierRequest, BlockRequest, Change, GetReceiptRequest, PinRequest, PurgeRequest,
        UnblockRequest, UnpinRequest,
    },
};

use crate::{
    args::{BlockArgs, PinArgs, PurgeArgs, ReceiptArgs, UnblockArgs, UnpinArgs, WaitArgs},
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    ids::{self, InvalidIds},
    output::Output,
    receipt,
};

/// As the service limits it.
const MAX_PURGED: usize = 100_000;

/// As the service limits it.
const MAX_BLOCKED: usize = 10_000;

/// As the service limits it.
const MAX_PINNED: usize = 10_000;

/// A change that can be sent.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Purge(PurgeRequest),
    Block(BlockRequest),
    Unblock(UnblockRequest),
    Pin(PinRequest),
    Unpin(UnpinRequest),
    Barrier,
}

impl Asked {
    pub(super) fn purge(args: &PurgeArgs) -> Result<Self, InvalidIds> {
        let ids = if args.all { Vec::new() } else { texts(&ids::read(&args.ids, MAX_PURGED)?) };
        let idempotency_token = args.token.text();
        Ok(Self::Purge(PurgeRequest { ids, all: args.all, force: args.force, idempotency_token }))
    }

    pub(super) fn block(args: &BlockArgs) -> Result<Self, InvalidIds> {
        let ids = texts(&ids::read(&args.ids, MAX_BLOCKED)?);
        let (reason, idempotency_token) = (args.reason.clone(), args.token.text());
        Ok(Self::Block(BlockRequest { ids, reason, idempotency_token }))
    }

    pub(super) fn unblock(args: &UnblockArgs) -> Result<Self, InvalidIds> {
        let ids = texts(&ids::read(&args.ids, MAX_BLOCKED)?);
        Ok(Self::Unblock(UnblockRequest { ids, idempotency_token: args.token.text() }))
    }

    pub(super) fn pin(args: &PinArgs) -> Result<Self, InvalidIds> {
        let ids = texts(&ids::read(&args.ids, MAX_PINNED)?);
        let (note, idempotency_token) = (args.note.clone(), args.token.text());
        Ok(Self::Pin(PinRequest { ids, note, idempotency_token }))
    }

    pub(super) fn unpin(args: &UnpinArgs) -> Result<Self, InvalidIds> {
        let ids = texts(&ids::read(&args.ids, MAX_PINNED)?);
        Ok(Self::Unpin(UnpinRequest { ids, idempotency_token: args.token.text() }))
    }

    /// Sends it, and prints what became of it.
    pub(super) async fn make(
        self,
        client: &mut Client,
        output: &Output,
        wait: &WaitArgs,
    ) -> Result<Outcome, Failure> {
        let change = self.surely(client).await?;
        receipt::committed(client, output, change, wait).await
    }

    /// Sends it once more if the connection was lost or nothing came of it in time, to another control plane
    /// if there are several: under its token it is one change all the same.
    pub(super) async fn surely(self, client: &mut Client) -> Result<Change, Failure> {
        let Some(token) = self.token() else { return self.send(client).await };
        let sent = match self.clone().send(client).await {
            Err(failure) if failure.may_heal() => {
                client.turn().await;
                self.send(client).await
            }
            sent => sent,
        };
        sent.map_err(|failure| failure.in_doubt(token))
    }

    fn token(&self) -> Option<String> {
        match self {
            Self::Purge(PurgeRequest { idempotency_token, .. })
            | Self::Block(BlockRequest { idempotency_token, .. })
            | Self::Unblock(UnblockRequest { idempotency_token, .. })
            | Self::Pin(PinRequest { idempotency_token, .. })
            | Self::Unpin(UnpinRequest { idempotency_token, .. }) => {
                Some(idempotency_token.clone())
            }
            Self::Barrier => None,
        }
    }

    async fn send(self, client: &mut Client) -> Result<Change, Failure> {
        let (what, change) = match self {
            Self::Purge(asked) => {
                let rpc = async |admin: &mut Admin, request| admin.purge(request).await;
                ("purge", client.call("purge", asked, rpc).await?.change)
            }
            Self::Block(asked) => {
                let rpc = async |admin: &mut Admin, request| admin.block(request).await;
                ("block", client.call("block", asked, rpc).await?.change)
            }
            Self::Unblock(asked) => {
                let rpc = async |admin: &mut Admin, request| admin.unblock(request).await;
                ("unblock", client.call("unblock", asked, rpc).await?.change)
            }
            Self::Pin(asked) => {
                let rpc = async |admin: &mut Admin, request| admin.pin(request).await;
                ("pin", client.call("pin", asked, rpc).await?.change)
            }
            Self::Unpin(asked) => {
                let rpc = async |admin: &mut Admin, request| admin.unpin(request).await;
                ("unpin", client.call("unpin", asked, rpc).await?.change)
            }
            Self::Barrier => {
                let rpc = async |admin: &mut Admin, request| admin.barrier(request).await;
                ("barrier", client.call("barrier", BarrierRequest {}, rpc).await?.change)
            }
        };
        client.present(what, change, "no change")
    }
}

/// Shows the receipt of a change.
pub(super) async fn receipt(
    client: &mut Client,
    output: &Output,
    args: &ReceiptArgs,
) -> Result<Outcome, Failure> {
    const WHAT: &str = "the receipt";
    if args.wait.wait {
        return receipt::settled(client, output, &args.change, &args.wait, None).await;
    }
    let question = GetReceiptRequest { change_id: args.change.clone() };
    let rpc = async |admin: &mut Admin, request| admin.get_receipt(request).await;
    let answer = client.call(WHAT, question, rpc).await?;
    let receipt = client.present(WHAT, answer.receipt, "no receipt")?;
    receipt::print(output, &receipt)?;
    Ok(receipt::outcome(Some(&receipt)))
}

fn texts(ids: &[ContentId]) -> Vec<String> {
    ids.iter().map(ContentId::to_string).collect()
}
