//! The pool: read, and changed as it is when the change arrives.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use wcdn_proto::{
    OriginName,
    pb::{
        admin::v1::{Change, GetOriginsRequest, SetOriginsRequest},
        edge::v1::{Origin, OriginPool},
    },
};

use crate::{
    args::{OneArgs, WaitArgs},
    client::{Admin, Client},
    commands::Outcome,
    failure::Failure,
    output::{Output, complain},
    receipt::{self, ChangeDocument},
    table::Table,
    text,
};

const WHAT: &str = "the change of the origins";

/// Thousands of origins.
const MAX_BYTES: u64 = 1 << 20;

/// How often a change is made anew because another one came between.
const TRIES: usize = 5;

/// Why the origins stay as they are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("cannot read origins from {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} is not what `wcdn origins get --json` prints", path.display())]
    Nonsense {
        path: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
    #[error("{url:?} is no origin: write http://host or https://host")]
    Url { url: String },
    #[error("origin {name} is there already, at {url}; remove it first")]
    Taken { name: OriginName, url: String },
    #[error("there is no origin {name}; `wcdn origins` lists them")]
    Missing { name: OriginName },
    #[error("{name} is the only origin, and there must be one; add another first")]
    Last { name: OriginName },
}

impl PoolError {
    /// Whether the command line or the file is wrong, whatever the origins are.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Nonsense { .. } | Self::Url { .. })
    }
}

/// A change of one origin.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Add(Origin),
    Remove,
    Eject { reason: String },
    Return,
    Weight(u32),
    Trust(bool),
}

/// Whom a change is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(super) name: OriginName,
    pub(super) is_publisher: bool,
}

/// The origins, as they are printed and read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pool {
    revision: u64,
    origins: Vec<OriginDocument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    publishers: Vec<OriginDocument>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OriginDocument {
    name: String,
    url: String,
    #[serde(default)]
    trusted: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    weight: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    ejected: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    reason: String,
    #[serde(default, skip_serializing_if = "is_default")]
    automatic: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    operator: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a change answers when it is not waited for.
#[derive(Debug, Serialize)]
struct Changed {
    change: ChangeDocument,
    pool: Pool,
}

impl From<&OneArgs> for Subject {
    fn from(args: &OneArgs) -> Self {
        Self { name: args.name.clone(), is_publisher: args.publisher }
    }
}

impl Edit {
    /// Makes the change of a pool as it is.
    fn apply(&self, subject: &Subject, pool: &mut OriginPool) -> Result<(), PoolError> {
        let is_only = !subject.is_publisher && pool.origins.len() == 1;
        let list = if subject.is_publisher { &mut pool.publishers } else { &mut pool.origins };
        let name = &subject.name;
        let place = list.iter().position(|origin| origin.name == name.as_str());
        if let Self::Add(origin) = self {
            return match place {
                Some(place) => {
                    Err(PoolError::Taken { name: name.clone(), url: list[place].url.clone() })
                }
                None => {
                    list.push(origin.clone());
                    Ok(())
                }
            };
        }
        let place = place.ok_or_else(|| PoolError::Missing { name: name.clone() })?;
        let origin = &mut list[place];
        match self {
            Self::Remove | Self::Eject { .. } if is_only => {
                return Err(PoolError::Last { name: name.clone() });
            }
            Self::Remove => {
                list.remove(place);
            }
            Self::Eject { reason } => {
                (origin.ejected, origin.automatic) = (true, false);
                origin.reason.clone_from(reason);
            }
            Self::Return => {
                (origin.ejected, origin.automatic) = (false, false);
                origin.reason.clear();
            }
            Self::Weight(weight) => origin.weight = *weight,
            Self::Trust(trusted) => origin.trusted = *trusted,
            Self::Add(_) => {}
        }
        Ok(())
    }
}

/// Makes a change, anew if somebody else made one meanwhile: it is about one origin, and what others did
/// to others stays.
pub(super) async fn edit(
    client: &mut Client,
    output: &Output,
    subject: &Subject,
    edit: &Edit,
    wait: &WaitArgs,
) -> Result<Outcome, Failure> {
    let mut tries = TRIES;
    loop {
        let mut pool = present(client).await?;
        if pool.revision == 0 && matches!(edit, Edit::Add(_)) && pool.origins.is_empty() {
            complain(&format!(
                "none were set until now: nodes leave those of their own configuration, and ask only {}",
                subject.name
            ));
        }
        edit.apply(subject, &mut pool)?;
        match send(client, pool).await {
            Err(failure) if tries > 1 && failure.is_conflict() => tries -= 1,
            Err(failure) => return Err(failure),
            Ok(changed) => return tell(client, output, changed, wait).await,
        }
    }
}

/// Replaces all of them.
pub(super) async fn replace(
    client: &mut Client,
    output: &Output,
    pool: Pool,
    wait: &WaitArgs,
) -> Result<Outcome, Failure> {
    let changed = send(client, pool.into()).await?;
    tell(client, output, changed, wait).await
}

async fn present(client: &mut Client) -> Result<OriginPool, Failure> {
    const WHAT: &str = "the origins";
    let rpc = async |admin: &mut Admin, request| admin.get_origins(request).await;
    let answer = client.call(WHAT, GetOriginsRequest {}, rpc).await?;
    client.present(WHAT, answer.pool, "no origins")
}

/// Prints them as they are set.
pub(super) async fn print(client: &mut Client, output: &Output) -> Result<Outcome, Failure> {
    let pool = present(client).await?;
    if output.is_json() {
        output.document(&Pool::from(pool))?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(["NAME", "KIND", "TRUSTED", "WEIGHT", "EJECTED", "URL"]);
    let kinds = [("aggregator", &pool.origins), ("publisher", &pool.publishers)];
    for (kind, origin) in
        kinds.iter().flat_map(|(kind, list)| list.iter().map(move |it| (kind, it)))
    {
        let yes = |is| if is { "yes" } else { "no" };
        let weight = if origin.weight == 0 { 100 } else { origin.weight }.to_string();
        table.row([
            (&origin.name).into(),
            kind.into(),
            yes(origin.trusted).into(),
            weight.into(),
            yes(origin.ejected).into(),
            (&origin.url).into(),
        ]);
    }
    output.table(&table)?;
    output.remark(&match pool.revision {
        0 => "none were set; every node asks those of its own configuration".to_owned(),
        revision => {
            let count = pool.origins.len() + pool.publishers.len();
            format!("{}; revision {revision}", text::count(count as u64, "origin"))
        }
    })?;
    Ok(Outcome::Done)
}

async fn send(client: &mut Client, pool: OriginPool) -> Result<(Change, OriginPool), Failure> {
    let rpc = async |admin: &mut Admin, request| admin.set_origins(request).await;
    let answer = client.call(WHAT, SetOriginsRequest { pool: Some(pool) }, rpc).await?;
    let change = client.present(WHAT, answer.change, "no change")?;
    Ok((change, client.present(WHAT, answer.pool, "no origins")?))
}

/// Tells of a change that was made.
pub(super) async fn tell(
    client: &mut Client,
    output: &Output,
    (change, pool): (Change, OriginPool),
    wait: &WaitArgs,
) -> Result<Outcome, Failure> {
    if output.is_json() && !wait.wait {
        output.document(&Changed { change: (&change).into(), pool: pool.into() })?;
        return Ok(Outcome::Done);
    }
    receipt::committed(client, output, change, wait).await
}

/// Reads what [`print()`] printed as JSON.
pub(super) fn read(path: &Path) -> Result<Pool, PoolError> {
    let text = text_of(path, MAX_BYTES)?;
    let pool: Pool = serde_json::from_str(&text)
        .map_err(|cause| PoolError::Nonsense { path: path.to_owned(), cause })?;
    for origin in pool.origins.iter().chain(&pool.publishers) {
        checked(origin.url.clone())?;
    }
    Ok(pool)
}

/// A file, or standard input; of one that is longer only the beginning.
pub(super) fn text_of(path: &Path, most: u64) -> Result<String, PoolError> {
    let unreadable = |cause| PoolError::Unreadable { path: path.to_owned(), cause };
    let source: Box<dyn io::Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let mut text = String::new();
    source.take(most).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// A URL that an origin can have.
pub(super) fn checked(url: String) -> Result<String, PoolError> {
    let parsed = url.parse::<tonic::transport::Uri>().ok();
    let is_web = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_web { Ok(url) } else { Err(PoolError::Url { url }) }
}

impl From<OriginPool> for Pool {
    fn from(pool: OriginPool) -> Self {
        let all = |origins: Vec<Origin>| origins.into_iter().map(OriginDocument::from).collect();
        Self {
            revision: pool.revision,
            origins: all(pool.origins),
            publishers: all(pool.publishers),
        }
    }
}

impl From<Pool> for OriginPool {
    fn from(pool: Pool) -> Self {
        let all = |origins: Vec<OriginDocument>| origins.into_iter().map(Origin::from).collect();
        Self {
            revision: pool.revision,
            origins: all(pool.origins),
            publishers: all(pool.publishers),
        }
    }
}

impl From<Origin> for OriginDocument {
    fn from(it: Origin) -> Self {
        let Origin { name, url, trusted, weight, ejected, reason, automatic, operator } = it;
        Self { name, url, trusted, weight, ejected, reason, automatic, operator }
    }
}

impl From<OriginDocument> for Origin {
    fn from(it: OriginDocument) -> Self {
        let OriginDocument { name, url, trusted, weight, ejected, reason, automatic, operator } =
            it;
        Self { name, url, trusted, weight, ejected, reason, automatic, operator }
    }
}
