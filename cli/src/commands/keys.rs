//! API keys: listed, made, changed, rotated and ended.

use serde::Serialize;
use wcdn_proto::pb::admin::v1::{
    ApiKey, CreateKeyRequest, GetCallerRequest, GetKeyRequest, KeySettings, ListKeysRequest,
    RevokeKeyRequest, RotateKeyRequest, UpdateKeyRequest,
};

use crate::{
    args::{KeysArgs, KeysCommand, SettingsArgs, WaitArgs},
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::Output,
    receipt,
    table::Table,
    text::{self, Moment, NOTHING},
};

const LIST: &str = "the list of keys";
const KEY: &str = "the key";

/// The most that the service gives at once, and a bound for how many pages there may be.
const PAGE: u32 = 1_000;
const MAX_PAGES: usize = 1_000;

#[derive(Debug, Serialize)]
struct Document {
    keys: Vec<KeyDocument>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyDocument {
    id: String,
    name: String,
    scopes: Vec<String>,
    vaults: Vec<String>,
    networks: Vec<String>,
    per_minute: Option<u32>,
    expires_at: Option<String>,
    created_at: Option<String>,
    created_by: String,
    rotated_at: Option<String>,
    previous_until: Option<String>,
    revoked_at: Option<String>,
    used_at: Option<String>,
    used_from: String,
}

/// A key with its text, which is told this once.
#[derive(Debug, Serialize)]
struct MadeDocument {
    key: String,
    about: KeyDocument,
}

pub(super) async fn run(
    client: &mut Client,
    output: &Output,
    args: KeysArgs,
) -> Result<Outcome, Failure> {
    match args.command {
        None => list(client, output, args.ended).await,
        Some(KeysCommand::Create { name, settings }) => {
            create(client, output, name, settings).await
        }
        Some(KeysCommand::Show { key }) => {
            let key = get(client, key).await?;
            show(output, key)
        }
        Some(KeysCommand::Set { key, settings }) => set(client, output, key, settings).await,
        Some(KeysCommand::Rotate { key, grace, at }) => {
            let grace_ms = grace.map(|grace| text::millis(grace.duration()));
            let at_ms = at.map_or(0, Moment::unix_ms);
            rotate(client, output, RotateKeyRequest { key, grace_ms, at_ms }).await
        }
        Some(KeysCommand::Revoke { key, reason, wait }) => {
            revoke(client, output, RevokeKeyRequest { key, reason }, &wait).await
        }
        Some(KeysCommand::Me) => {
            let rpc = async |admin: &mut Admin, request| admin.keys.get_caller(request).await;
            let told = client.call(KEY, GetCallerRequest {}, rpc).await?;
            let key = client.present(KEY, told.key, "no key")?;
            show(output, key)
        }
    }
}

async fn list(client: &mut Client, output: &Output, ended: bool) -> Result<Outcome, Failure> {
    let (mut keys, mut page_token) = (Vec::new(), String::new());
    let mut pages = 0..MAX_PAGES;
    while pages.next().is_some() {
        let question = ListKeysRequest { page_size: PAGE, page_token, ended };
        let rpc = async |admin: &mut Admin, request| admin.keys.list_keys(request).await;
        let page = client.call(LIST, question, rpc).await?;
        keys.extend(page.keys);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if output.is_json() {
        output.document(&Document { keys: keys.into_iter().map(KeyDocument::from).collect() })?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(["ID", "NAME", "STATE", "USED", "FROM", "SCOPES"]);
    for key in keys {
        let (state, used) = (state(&key), moment(key.used_at_ms));
        let scopes = key.settings.unwrap_or_default().scopes.join(" ");
        let used = used.as_deref().unwrap_or(NOTHING);
        let from = if key.used_from.is_empty() { NOTHING } else { &key.used_from };
        table.row([
            (&key.id).into(),
            (&key.name).into(),
            state.into(),
            used.into(),
            from.into(),
            scopes.into(),
        ]);
    }
    output.table(&table)?;
    Ok(Outcome::Done)
}

async fn create(
    client: &mut Client,
    output: &Output,
    name: String,
    args: SettingsArgs,
) -> Result<Outcome, Failure> {
    let settings = Some(applied(args, KeySettings::default()));
    let question = CreateKeyRequest { name, settings };
    let rpc = async |admin: &mut Admin, request| admin.keys.create_key(request).await;
    let made = client.call(KEY, question, rpc).await?;
    let key = client.present(KEY, made.key, "no key")?;
    print_made(output, made.text, key)
}

async fn get(client: &mut Client, key: String) -> Result<ApiKey, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.keys.get_key(request).await;
    let told = client.call(KEY, GetKeyRequest { key }, rpc).await?;
    client.present(KEY, told.key, "no key")
}

async fn set(
    client: &mut Client,
    output: &Output,
    key: String,
    args: SettingsArgs,
) -> Result<Outcome, Failure> {
    let before = get(client, key.clone()).await?;
    let revision = before.revision;
    let settings = Some(applied(args, before.settings.unwrap_or_default()));
    let question = UpdateKeyRequest { key, revision, settings };
    let rpc = async |admin: &mut Admin, request| admin.keys.update_key(request).await;
    let told = client.call(KEY, question, rpc).await?;
    let key = client.present(KEY, told.key, "no key")?;
    show(output, key)
}

async fn rotate(
    client: &mut Client,
    output: &Output,
    question: RotateKeyRequest,
) -> Result<Outcome, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.keys.rotate_key(request).await;
    let made = client.call(KEY, question, rpc).await?;
    let key = client.present(KEY, made.key, "no key")?;
    print_made(output, made.text, key)
}

async fn revoke(
    client: &mut Client,
    output: &Output,
    question: RevokeKeyRequest,
    wait: &WaitArgs,
) -> Result<Outcome, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.keys.revoke_key(request).await;
    let told = client.call(KEY, question, rpc).await?;
    let change = client.present(KEY, told.change, "no change")?;
    receipt::committed(client, output, change, wait).await
}

/// What is given in the place of what was.
fn applied(args: SettingsArgs, before: KeySettings) -> KeySettings {
    let some = |given: Vec<String>, before| if given.is_empty() { before } else { given };
    KeySettings {
        scopes: some(args.scopes, before.scopes),
        vaults: some(args.vaults, before.vaults),
        networks: some(args.networks, before.networks),
        per_minute: args.per_minute.unwrap_or(before.per_minute),
        expires_at_ms: args.expires.map_or(before.expires_at_ms, Moment::unix_ms),
    }
}

fn print_made(output: &Output, key: String, about: ApiKey) -> Result<Outcome, Failure> {
    if output.is_json() {
        output.document(&MadeDocument { key, about: about.into() })?;
        return Ok(Outcome::Done);
    }
    output.line(&key)?;
    let until = Some(about.previous_until_ms).filter(|until| *until > Moment::now().unix_ms());
    if let Some(until) = until.and_then(moment) {
        output.remark(&format!("the one before is good until {until}"))?;
    }
    output.remark("keep it: it is shown this once")?;
    Ok(Outcome::Done)
}

fn show(output: &Output, key: ApiKey) -> Result<Outcome, Failure> {
    if output.is_json() {
        output.document(&KeyDocument::from(key))?;
        return Ok(Outcome::Done);
    }
    let state = state(&key);
    let document = KeyDocument::from(key);
    let or_nothing = |time: Option<String>| time.unwrap_or_else(|| NOTHING.to_owned());
    let list = |texts: Vec<String>, none: &str| {
        if texts.is_empty() { none.to_owned() } else { texts.join(" ") }
    };
    let per_minute = document.per_minute.map_or("as every key".to_owned(), |n| n.to_string());
    for (what, value) in [
        ("id", document.id),
        ("name", document.name),
        ("state", state),
        ("scopes", list(document.scopes, NOTHING)),
        ("vaults", list(document.vaults, "all")),
        ("networks", list(document.networks, "all")),
        ("per minute", per_minute),
        ("expires", document.expires_at.unwrap_or_else(|| "never".to_owned())),
        ("created", or_nothing(document.created_at)),
        ("created by", document.created_by),
        ("rotated", or_nothing(document.rotated_at)),
        ("previous until", or_nothing(document.previous_until)),
        ("used", or_nothing(document.used_at)),
        ("used from", document.used_from),
    ] {
        let value = if value.is_empty() { NOTHING } else { &value };
        output.line(&text::plain(&format!("{what:<15} {value}")))?;
    }
    Ok(Outcome::Done)
}

fn state(key: &ApiKey) -> String {
    let expires_at_ms = key.settings.as_ref().map_or(0, |it| it.expires_at_ms);
    let now_ms = Moment::now().unix_ms();
    if key.revoked_at_ms > 0 {
        "revoked".to_owned()
    } else if expires_at_ms > 0 && expires_at_ms <= now_ms {
        "expired".to_owned()
    } else if key.previous_until_ms > now_ms {
        "good, rotated".to_owned()
    } else {
        "good".to_owned()
    }
}

/// A time; none for 0.
fn moment(unix_ms: u64) -> Option<String> {
    text::time(unix_ms).filter(|_| unix_ms > 0)
}

impl From<ApiKey> for KeyDocument {
    fn from(key: ApiKey) -> Self {
        let settings = key.settings.unwrap_or_default();
        Self {
            id: key.id,
            name: key.name,
            scopes: settings.scopes,
            vaults: settings.vaults,
            networks: settings.networks,
            per_minute: Some(settings.per_minute).filter(|count| *count > 0),
            expires_at: moment(settings.expires_at_ms),
            created_at: moment(key.created_at_ms),
            created_by: key.created_by,
            rotated_at: moment(key.rotated_at_ms),
            previous_until: moment(key.previous_until_ms),
            revoked_at: moment(key.revoked_at_ms),
            used_at: moment(key.used_at_ms),
            used_from: key.used_from,
        }
    }
}
