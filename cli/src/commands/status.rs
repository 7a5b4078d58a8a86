//! The control plane itself.

use serde::Serialize;
use wcdn_proto::pb::admin::v1::GetStatusRequest;

use crate::{
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::Output,
    table::Table,
    text::{self, NOTHING},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    endpoint: &'a str,
    version: &'a str,
    head: Option<String>,
    floor_seq: u64,
    nodes_live: u64,
}

pub(super) async fn show(client: &mut Client, output: &Output) -> Result<Outcome, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.get_status(request).await;
    let status = client.call("status", GetStatusRequest {}, rpc).await?;
    let head = text::wire_position(status.head);
    if output.is_json() {
        output.document(&Document {
            endpoint: client.address(),
            version: &status.version,
            head,
            floor_seq: status.floor_seq,
            nodes_live: status.nodes_live,
        })?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(["CONTROL PLANE", "VERSION", "LOG", "SINCE SEQ", "LIVE NODES"]);
    table.row([
        client.address().into(),
        (&status.version).into(),
        head.as_deref().unwrap_or(NOTHING).into(),
        status.floor_seq.to_string().into(),
        status.nodes_live.to_string().into(),
    ]);
    output.table(&table)?;
    Ok(Outcome::Done)
}
