//! Hooks: listed, made and ended.

use serde::Serialize;
use wcdn_proto::pb::admin::v1::{CreateHookRequest, DeleteHookRequest, Hook, ListHooksRequest};

use crate::{
    args::{HooksArgs, HooksCommand},
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::Output,
    table::Table,
    text::{self, NOTHING},
};

#[derive(Debug, Serialize)]
struct Document {
    hooks: Vec<HookDocument>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HookDocument {
    id: String,
    name: String,
    all: bool,
    force: bool,
    created_at: Option<String>,
    created_by: String,
    used_at: Option<String>,
}

/// A hook with what is told this once.
#[derive(Debug, Serialize)]
struct MadeDocument {
    path: String,
    secret: String,
    hook: Option<HookDocument>,
}

pub(super) async fn run(
    client: &mut Client,
    output: &Output,
    args: HooksArgs,
) -> Result<Outcome, Failure> {
    match args.command {
        None => list(client, output).await,
        Some(HooksCommand::Create { name, all, force }) => {
            create(client, output, CreateHookRequest { name, all, force }).await
        }
        Some(HooksCommand::Delete { id }) => {
            let rpc = async |admin: &mut Admin, request| admin.hooks.delete_hook(request).await;
            client.call("the hook", DeleteHookRequest { id }, rpc).await?;
            output.remark("the hook has ended")?;
            Ok(Outcome::Done)
        }
    }
}

async fn list(client: &mut Client, output: &Output) -> Result<Outcome, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.hooks.list_hooks(request).await;
    let told = client.call("the list of hooks", ListHooksRequest {}, rpc).await?;
    let hooks: Vec<HookDocument> = told.hooks.into_iter().map(HookDocument::from).collect();
    if output.is_json() {
        output.document(&Document { hooks })?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(["ID", "NAME", "MAY", "USED", "BY"]);
    for hook in &hooks {
        let may = match (hook.all, hook.force) {
            (false, false) => "purge",
            (true, false) => "purge, all",
            (false, true) => "purge, pinned",
            (true, true) => "purge, all, pinned",
        };
        let used = hook.used_at.as_deref().unwrap_or(NOTHING);
        let (id, name, by) = (&hook.id, &hook.name, &hook.created_by);
        table.row([id.into(), name.into(), may.into(), used.into(), by.into()]);
    }
    output.table(&table)?;
    if hooks.is_empty() {
        output.remark("there is no hook")?;
    }
    Ok(Outcome::Done)
}

async fn create(
    client: &mut Client,
    output: &Output,
    question: CreateHookRequest,
) -> Result<Outcome, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.hooks.create_hook(request).await;
    let made = client.call("the hook", question, rpc).await?;
    let (path, secret) = (made.path, made.secret);
    if output.is_json() {
        let hook = made.hook.map(HookDocument::from);
        output.document(&MadeDocument { path, secret, hook })?;
        return Ok(Outcome::Done);
    }
    output.line(&text::plain(&format!("{:<15} {path}", "path")))?;
    output.line(&text::plain(&format!("{:<15} {secret}", "secret")))?;
    output.remark("keep both: they are shown this once")?;
    Ok(Outcome::Done)
}

impl From<Hook> for HookDocument {
    fn from(hook: Hook) -> Self {
        Self {
            id: hook.id,
            name: hook.name,
            all: hook.all,
            force: hook.force,
            created_at: text::time(hook.created_at_ms),
            created_by: hook.created_by,
            used_at: text::time(hook.used_at_ms).filter(|_| hook.used_at_ms > 0),
        }
    }
}
