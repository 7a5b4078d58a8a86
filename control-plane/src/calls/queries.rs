//! Calls that only look.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use tokio::time::Instant;
use wcdn_proto::pb::admin::v1 as admin;

use super::parse;
use crate::{
    auth::Caller,
    desk::Desk,
    refusal::Refusal,
    tracker::{Standing, State},
};

/// Entries of a page, if the caller does not say.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;

/// How long a node may take to say what it holds.
const ANSWER: Duration = Duration::from_secs(2);

pub(crate) async fn list_blocks(
    desk: &Desk,
    _: &Caller,
    request: admin::ListBlocksRequest,
) -> Result<admin::ListBlocksResponse, Refusal> {
    let (after, size) = page(request.page_size, &request.page_token)?;
    let mut blocks = desk.store.list_blocks(&after, size + 1).await?;
    let has_more = blocks.len() > size as usize;
    blocks.truncate(size as usize);
    let last = blocks.last().filter(|_| has_more);
    let next = last.map(|last| page_token(&last.content.to_vec())).unwrap_or_default();
    let blocks = blocks.into_iter().map(|blocked| admin::BlockedId {
        id: blocked.content.to_string(),
        reason: blocked.reason,
        by: blocked.by,
        blocked_at_ms: blocked.at_ms,
    });
    Ok(admin::ListBlocksResponse { blocks: blocks.collect(), next_page_token: next })
}

/// What the rows of a page follow, and how many of them there are.
pub(crate) fn page(size: u32, token: &str) -> Result<(Vec<u8>, u32), Refusal> {
    let after = URL_SAFE_NO_PAD.decode(token);
    let after = after.map_err(|_| Refusal::invalid("page_token", "is none of this list"))?;
    let size = match size {
        0 => PAGE,
        size => size.min(MAX_PAGE),
    };
    Ok((after, size))
}

/// Of the page that follows the one that ends with this row.
pub(crate) fn page_token(last: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

pub(crate) fn list_nodes(
    desk: &Desk,
    _: &Caller,
    _: admin::ListNodesRequest,
) -> Result<admin::ListNodesResponse, Refusal> {
    let nodes = desk.tracker.lock().nodes(Instant::now());
    let node = |Standing { who, applied, state, confirmed_ago, has_session }| admin::Node {
        node: who.node.to_string(),
        region: who.region.to_string(),
        version: who.version,
        edge_url: who.edge_url,
        applied: Some(applied.into()),
        state: state.as_str().to_owned(),
        confirmed_ago_ms: u64::try_from(confirmed_ago.as_millis()).unwrap_or(u64::MAX),
        has_session,
        strict: who.strict,
    };
    Ok(admin::ListNodesResponse {
        head: Some(desk.log.head().into()),
        nodes: nodes.into_iter().map(node).collect(),
    })
}

pub(crate) async fn explain(
    desk: &Desk,
    _: &Caller,
    request: admin::ExplainRequest,
) -> Result<admin::ExplainResponse, Refusal> {
    let content = parse::content("id", &request.id)?;
    let (blocked, pinned) = {
        let state = desk.log.state().read();
        let blob = content.blob();
        let is_blocked = |content| state.blocks().contains(content);
        let blocked = is_blocked(&content) || is_blocked(&wcdn_proto::ContentId::Blob(blob));
        (blocked, state.pins().contains(&blob))
    };
    let nodes = desk.tracker.lock().nodes(Instant::now());
    let asked = nodes.into_iter().filter(|node| node.state != State::Lost).map(|node| async move {
        let answer = desk.sessions.ask(&node.who.node, content, ANSWER).await;
        let (holding, unanswered) = match answer {
            Ok(holding) => (Some(holding), String::new()),
            Err(why) => (None, why.to_string()),
        };
        let pin = desk.pins.lock().told(&node.who.node, &content.blob());
        let (name, region) = (node.who.node.to_string(), node.who.region.to_string());
        admin::NodeHolding { node: name, region, holding, unanswered, pin }
    });
    let nodes = join_all(asked).await;
    Ok(admin::ExplainResponse { id: content.to_string(), blocked, pinned, nodes })
}

pub(crate) async fn status(
    desk: &Desk,
    _: &Caller,
    _: admin::GetStatusRequest,
) -> Result<admin::GetStatusResponse, Refusal> {
    let pruned = desk.store.pruned().await?;
    let nodes = desk.tracker.lock().nodes(Instant::now());
    let live = nodes.iter().filter(|node| node.state == State::Live).count();
    Ok(admin::GetStatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        head: Some(desk.log.head().into()),
        floor_seq: pruned + 1,
        nodes_live: live as u64,
    })
}
