//! What every live node holds of an id, and why.

use serde::Serialize;
use wcdn_proto::{
    ByteSize, ContentId,
    pb::{
        admin::v1::{ExplainRequest, ExplainResponse, NodeHolding},
        edge::v1::{Holding, Keeping, PinState},
    },
};

use crate::{
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::Output,
    table::{Cell, Table, Tone},
    text::{self, NOTHING},
};

#[derive(Debug, Serialize)]
struct Document<'a> {
    id: &'a str,
    blocked: bool,
    pinned: bool,
    nodes: Vec<NodeDocument<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeDocument<'a> {
    node: &'a str,
    region: &'a str,
    unanswered: Option<&'a str>,
    holding: Option<HoldingDocument<'a>>,
    pin: Option<PinDocument<'a>>,
}

#[derive(Debug, Serialize)]
struct PinDocument<'a> {
    state: &'static str,
    reason: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HoldingDocument<'a> {
    tier: Option<&'a str>,
    blocked: bool,
    pinned: bool,
    length: u64,
    verified: Option<&'a str>,
    content_type: Option<&'a str>,
    token: Option<String>,
    removed: Option<String>,
    fetched_at: Option<String>,
    applied: Option<String>,
}

pub(super) async fn id(
    client: &mut Client,
    output: &Output,
    id: ContentId,
) -> Result<Outcome, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.explain(request).await;
    let found = client.call("explain", ExplainRequest { id: id.to_string() }, rpc).await?;
    if output.is_json() {
        output.document(&Document::from(&found))?;
        return Ok(Outcome::Done);
    }
    output.table(&table(&found.nodes))?;
    output.remark(&summary(&found))?;
    Ok(Outcome::Done)
}

fn table(nodes: &[NodeHolding]) -> Table<9> {
    let mut table = Table::new([
        "NODE", "REGION", "HOLDS", "LENGTH", "VERIFIED", "TOKEN", "REMOVED", "FETCHED", "NOTE",
    ]);
    for node in nodes {
        let (name, region) = ((&node.node).into(), (&node.region).into());
        let Some(holding) = &node.holding else {
            let dash = || NOTHING.into();
            let why = format!("no answer: {}", node.unanswered);
            let why = Cell::toned(&why, Tone::Bad);
            table.row([name, region, "?".into(), dash(), dash(), dash(), dash(), dash(), why]);
            continue;
        };
        let [tier, length, verified, token, removed, fetched] = told(holding);
        let note = match &node.pin {
            _ if holding.blocked => Cell::toned("blocked", Tone::Doubtful),
            Some(pin) if pin.keeping() != Keeping::Held => {
                let reason = some(&pin.reason).map(|reason| format!(": {reason}"));
                let why = format!("pin {}{}", keeping(pin), reason.unwrap_or_default());
                Cell::toned(&why, Tone::Doubtful)
            }
            _ => (&holding.content_type).into(),
        };
        table.row([name, region, tier, length, verified, token, removed, fetched, note]);
    }
    table
}

fn told(holding: &Holding) -> [Cell; 6] {
    let held = holds(holding);
    let of_held = |text: Option<String>| cell(text.filter(|_| held.is_some()));
    [
        match held {
            Some(tier) if holding.pinned => format!("{tier} (pinned)").into(),
            Some(tier) => tier.into(),
            None => "nothing".into(),
        },
        of_held(Some(ByteSize::new(holding.length).to_string())),
        of_held(some(&holding.verified).map(str::to_owned)),
        of_held(text::wire_position(holding.token)),
        cell(text::wire_position(holding.removed)),
        of_held(fetched(holding)),
    ]
}

fn cell(text: Option<String>) -> Cell {
    text.as_deref().unwrap_or(NOTHING).into()
}

fn summary(found: &ExplainResponse) -> String {
    let holding = found.nodes.iter().filter_map(|node| node.holding.as_ref());
    let holders = holding.filter(|holding| holds(holding).is_some()).count();
    let all = text::count(found.nodes.len() as u64, "node");
    let blocked = if found.blocked { "; it is blocked" } else { "" };
    let pinned = if found.pinned { "; it is pinned" } else { "" };
    format!("{holders} of {all} hold {}{blocked}{pinned}", text::plain(&found.id))
}

fn keeping(pin: &PinState) -> &'static str {
    match pin.keeping() {
        Keeping::Unspecified => "unknown",
        Keeping::Filling => "filling",
        Keeping::Held => "held",
        Keeping::OverBudget => "over_budget",
        Keeping::Failed => "failed",
    }
}

fn holds(holding: &Holding) -> Option<&str> {
    some(&holding.tier)
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn fetched(holding: &Holding) -> Option<String> {
    Some(holding.inserted_at_ms).filter(|ms| *ms > 0).and_then(text::time)
}

impl<'a> From<&'a ExplainResponse> for Document<'a> {
    fn from(found: &'a ExplainResponse) -> Self {
        let nodes = found.nodes.iter().map(|node| NodeDocument {
            node: &node.node,
            region: &node.region,
            unanswered: some(&node.unanswered),
            holding: node.holding.as_ref().map(HoldingDocument::from),
            pin: node
                .pin
                .as_ref()
                .map(|pin| PinDocument { state: keeping(pin), reason: some(&pin.reason) }),
        });
        let (blocked, pinned) = (found.blocked, found.pinned);
        Self { id: &found.id, blocked, pinned, nodes: nodes.collect() }
    }
}

impl<'a> From<&'a Holding> for HoldingDocument<'a> {
    fn from(holding: &'a Holding) -> Self {
        Self {
            tier: holds(holding),
            blocked: holding.blocked,
            pinned: holding.pinned,
            length: holding.length,
            verified: some(&holding.verified),
            content_type: some(&holding.content_type),
            token: text::wire_position(holding.token),
            removed: text::wire_position(holding.removed),
            fetched_at: fetched(holding),
            applied: text::wire_position(holding.applied),
        }
    }
}
