//! The nodes, and how far each is.

use serde::Serialize;
use wcdn_proto::pb::{
    admin::v1::{ListNodesRequest, Node},
    event::v1::Position,
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
    head: Option<String>,
    nodes: Vec<NodeDocument<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeDocument<'a> {
    node: &'a str,
    region: &'a str,
    state: &'a str,
    applied: Option<String>,
    confirmed_ago_ms: u64,
    version: &'a str,
    has_session: bool,
    strict: bool,
    edge_url: &'a str,
}

pub(super) async fn list(client: &mut Client, output: &Output) -> Result<Outcome, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.list_nodes(request).await;
    let known = client.call("the list of nodes", ListNodesRequest {}, rpc).await?;
    if output.is_json() {
        let nodes = known.nodes.iter().map(NodeDocument::from).collect();
        output.document(&Document { head: text::wire_position(known.head), nodes })?;
        return Ok(Outcome::Done);
    }
    output.table(&table(&known.nodes, known.head))?;
    output.remark(&summary(&known.nodes, known.head))?;
    Ok(Outcome::Done)
}

fn table(nodes: &[Node], head: Option<Position>) -> Table<9> {
    let mut table = Table::new([
        "NODE",
        "REGION",
        "STATE",
        "APPLIED",
        "BEHIND",
        "CONFIRMED",
        "SESSION",
        "VERSION",
        "URL",
    ]);
    for node in nodes {
        let applied = text::wire_position(node.applied);
        let confirmed = format!("{} ago", text::after(node.confirmed_ago_ms.saturating_mul(1_000)));
        let state =
            if node.strict { format!("{} (strict)", node.state) } else { node.state.clone() };
        table.row([
            (&node.node).into(),
            (&node.region).into(),
            Cell::toned(&state, tone(&node.state)),
            applied.as_deref().unwrap_or(NOTHING).into(),
            behind(node.applied, head).into(),
            confirmed.into(),
            if node.has_session { "yes" } else { "no" }.into(),
            (&node.version).into(),
            (&node.edge_url).into(),
        ]);
    }
    table
}

/// Events that are still to come there, if it follows the same log.
fn behind(applied: Option<Position>, head: Option<Position>) -> String {
    match (applied, head) {
        (Some(applied), Some(head)) if applied.epoch == head.epoch => {
            head.seq.saturating_sub(applied.seq).to_string()
        }
        _ => NOTHING.to_owned(),
    }
}

fn summary(nodes: &[Node], head: Option<Position>) -> String {
    let live = nodes.iter().filter(|node| node.state == "live").count();
    let head = text::wire_position(head);
    let all = text::count(nodes.len() as u64, "node");
    format!("{live} of {all} live; the log is at {}", head.as_deref().unwrap_or(NOTHING))
}

fn tone(state: &str) -> Tone {
    match state {
        "live" => Tone::Good,
        "unconfirmed" | "fenced" => Tone::Doubtful,
        "lost" => Tone::Bad,
        _ => Tone::Plain,
    }
}

impl<'a> From<&'a Node> for NodeDocument<'a> {
    fn from(node: &'a Node) -> Self {
        Self {
            node: &node.node,
            region: &node.region,
            state: &node.state,
            applied: text::wire_position(node.applied),
            confirmed_ago_ms: node.confirmed_ago_ms,
            version: &node.version,
            has_session: node.has_session,
            strict: node.strict,
            edge_url: &node.edge_url,
        }
    }
}
