//! What is blocked.

use serde::Serialize;
use wcdn_proto::pb::admin::v1::{BlockedId, ListBlocksRequest};

use crate::{
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::Output,
    table::Table,
    text::{self, NOTHING},
};

const WHAT: &str = "the list of blocks";

/// The most that the service gives at once.
const PAGE: u32 = 1_000;

/// Ten million ids: beyond that it does not come to an end.
const MAX_PAGES: usize = 10_000;

#[derive(Debug, Serialize)]
struct Document<'a> {
    blocks: Vec<BlockDocument<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockDocument<'a> {
    id: &'a str,
    reason: &'a str,
    by: &'a str,
    blocked_at: Option<String>,
}

pub(super) async fn list(client: &mut Client, output: &Output) -> Result<Outcome, Failure> {
    let blocks = all(client).await?;
    if output.is_json() {
        output.document(&Document { blocks: blocks.iter().map(BlockDocument::from).collect() })?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(["ID", "SINCE", "BY", "REASON"]);
    for block in &blocks {
        let since = text::time(block.blocked_at_ms);
        let since = since.as_deref().unwrap_or(NOTHING);
        table.row([(&block.id).into(), since.into(), (&block.by).into(), (&block.reason).into()]);
    }
    output.table(&table)?;
    if blocks.is_empty() {
        output.remark("nothing is blocked")?;
    }
    Ok(Outcome::Done)
}

async fn all(client: &mut Client) -> Result<Vec<BlockedId>, Failure> {
    let (mut blocks, mut page_token) = (Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let question = ListBlocksRequest { page_size: PAGE, page_token };
        let rpc = async |admin: &mut Admin, request| admin.list_blocks(request).await;
        let page = client.call(WHAT, question, rpc).await?;
        blocks.extend(page.blocks);
        if page.next_page_token.is_empty() {
            return Ok(blocks);
        }
        page_token = page.next_page_token;
    }
    client.present(WHAT, None, "no last page")
}

impl<'a> From<&'a BlockedId> for BlockDocument<'a> {
    fn from(block: &'a BlockedId) -> Self {
        Self {
            id: &block.id,
            reason: &block.reason,
            by: &block.by,
            blocked_at: text::time(block.blocked_at_ms),
        }
    }
}
