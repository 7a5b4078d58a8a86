//! The origins of every edge: reading them, and changing the revision that was read.

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
    args::{OriginsArgs, OriginsCommand, WaitArgs},
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

/// What is to happen to the origins.
#[derive(Debug)]
pub(super) enum Edit {
    None,
    Replace { pool: Pool, wait: WaitArgs },
    Add { name: OriginName, origin: Origin, wait: WaitArgs },
    Remove { name: OriginName, wait: WaitArgs },
}

/// The origins, as they are printed and read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pool {
    revision: u64,
    origins: Vec<OriginDocument>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OriginDocument {
    name: String,
    url: String,
    #[serde(default)]
    trusted: bool,
}

/// What a change answers when it is not waited for.
#[derive(Debug, Serialize)]
struct Changed {
    change: ChangeDocument,
    pool: Pool,
}

impl Edit {
    pub(super) fn read(args: OriginsArgs) -> Result<Self, PoolError> {
        Ok(match args.command {
            None | Some(OriginsCommand::Get) => Self::None,
            Some(OriginsCommand::Set { file, wait }) => Self::Replace { pool: read(&file)?, wait },
            Some(OriginsCommand::Remove { name, wait }) => Self::Remove { name, wait },
            Some(OriginsCommand::Add { name, url, trusted, wait }) => {
                let url = checked(url)?;
                Self::Add { origin: Origin { name: name.to_string(), url, trusted }, name, wait }
            }
        })
    }
}

pub(super) async fn run(
    client: &mut Client,
    output: &Output,
    edit: Edit,
) -> Result<Outcome, Failure> {
    match edit {
        Edit::None => show(output, present(client).await?),
        Edit::Replace { pool, wait } => set(client, output, pool.into(), &wait).await,
        Edit::Add { name, origin, wait } => {
            let mut pool = present(client).await?;
            if let Some(there) = pool.origins.iter().find(|there| there.name == origin.name) {
                return Err(PoolError::Taken { name, url: there.url.clone() }.into());
            }
            if pool.revision == 0 {
                complain(&format!(
                    "none were set until now: nodes leave those of their own configuration, and ask only {name}"
                ));
            }
            pool.origins.push(origin);
            set(client, output, pool, &wait).await
        }
        Edit::Remove { name, wait } => {
            let mut pool = present(client).await?;
            let before = pool.origins.len();
            pool.origins.retain(|origin| origin.name != name.as_str());
            match pool.origins.len() {
                after if after == before => Err(PoolError::Missing { name }.into()),
                0 => Err(PoolError::Last { name }.into()),
                _ => set(client, output, pool, &wait).await,
            }
        }
    }
}

async fn present(client: &mut Client) -> Result<OriginPool, Failure> {
    const WHAT: &str = "the origins";
    let rpc = async |admin: &mut Admin, request| admin.get_origins(request).await;
    let answer = client.call(WHAT, GetOriginsRequest {}, rpc).await?;
    client.present(WHAT, answer.pool, "no origins")
}

fn show(output: &Output, pool: OriginPool) -> Result<Outcome, Failure> {
    if output.is_json() {
        output.document(&Pool::from(pool))?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(["NAME", "TRUSTED", "URL"]);
    for origin in &pool.origins {
        let trusted = if origin.trusted { "yes" } else { "no" };
        table.row([(&origin.name).into(), trusted.into(), (&origin.url).into()]);
    }
    output.table(&table)?;
    output.remark(&match pool.revision {
        0 => "none were set; every node asks those of its own configuration".to_owned(),
        revision => {
            format!("{}; revision {revision}", text::count(pool.origins.len() as u64, "origin"))
        }
    })?;
    Ok(Outcome::Done)
}

async fn set(
    client: &mut Client,
    output: &Output,
    pool: OriginPool,
    wait: &WaitArgs,
) -> Result<Outcome, Failure> {
    let rpc = async |admin: &mut Admin, request| admin.set_origins(request).await;
    let answer = client.call(WHAT, SetOriginsRequest { pool: Some(pool) }, rpc).await?;
    let change: Change = client.present(WHAT, answer.change, "no change")?;
    let pool = client.present(WHAT, answer.pool, "no origins")?;
    if output.is_json() && !wait.wait {
        output.document(&Changed { change: (&change).into(), pool: pool.into() })?;
        return Ok(Outcome::Done);
    }
    receipt::committed(client, output, change, wait).await
}

fn read(path: &Path) -> Result<Pool, PoolError> {
    let unreadable = |cause| PoolError::Unreadable { path: path.to_owned(), cause };
    let source: Box<dyn io::Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let mut text = String::new();
    source.take(MAX_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    let pool: Pool = serde_json::from_str(&text)
        .map_err(|cause| PoolError::Nonsense { path: path.to_owned(), cause })?;
    for origin in &pool.origins {
        checked(origin.url.clone())?;
    }
    Ok(pool)
}

fn checked(url: String) -> Result<String, PoolError> {
    let parsed = url.parse::<tonic::transport::Uri>().ok();
    let is_web = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_web { Ok(url) } else { Err(PoolError::Url { url }) }
}

impl From<OriginPool> for Pool {
    fn from(pool: OriginPool) -> Self {
        let origin = |Origin { name, url, trusted }| OriginDocument { name, url, trusted };
        Self { revision: pool.revision, origins: pool.origins.into_iter().map(origin).collect() }
    }
}

impl From<Pool> for OriginPool {
    fn from(pool: Pool) -> Self {
        let origin = |OriginDocument { name, url, trusted }| Origin { name, url, trusted };
        Self { revision: pool.revision, origins: pool.origins.into_iter().map(origin).collect() }
    }
}
