//! The origins: how they do, and changing which there are.

use wcdn_proto::{
    OriginName,
    pb::{admin::v1::RefreshOriginsRequest, edge::v1::Origin},
};

use self::pool::{Edit, Pool, Subject};
use crate::{
    args::{ListArgs, OriginsArgs, OriginsCommand, WaitArgs},
    client::Client,
    commands::Outcome,
    failure::Failure,
    output::Output,
};

mod document;
mod health;
mod pool;
mod refresh;
mod strip;

pub(crate) use pool::PoolError;

/// What is asked for, as far as it can be known without a control plane.
#[derive(Debug)]
pub(super) enum Asked {
    List(ListArgs),
    Show(Vec<OriginName>),
    Probe(Vec<OriginName>),
    Print,
    Replace { pool: Pool, wait: WaitArgs },
    Edit { subject: Subject, edit: Edit, wait: WaitArgs },
    Refresh { request: RefreshOriginsRequest, wait: WaitArgs },
}

impl Asked {
    pub(super) fn read(args: OriginsArgs) -> Result<Self, PoolError> {
        use OriginsCommand as C;
        let Some(command) = args.command else { return Ok(Self::List(args.list)) };
        let one = |one: crate::args::OneArgs, edit| Self::Edit {
            subject: (&one).into(),
            edit,
            wait: one.wait,
        };
        Ok(match command {
            C::Get => Self::Print,
            C::Set { file, wait } => Self::Replace { pool: pool::read(&file)?, wait },
            C::Show { names } => Self::Show(names),
            C::Probe { names } => Self::Probe(names),
            C::Add { name, url, trusted, weight, publisher, wait } => {
                let origin = Origin {
                    name: name.to_string(),
                    url: pool::checked(url)?,
                    trusted,
                    weight: if weight == 100 { 0 } else { weight },
                    ..Origin::default()
                };
                let subject = Subject { name, is_publisher: publisher };
                Self::Edit { subject, edit: Edit::Add(origin), wait }
            }
            C::Remove { one: args } => one(args, Edit::Remove),
            C::Eject { one: args, reason } => one(args, Edit::Eject { reason }),
            C::Return { one: args } => one(args, Edit::Return),
            C::Weight { name, weight, wait } => {
                let subject = Subject { name, is_publisher: false };
                Self::Edit { subject, edit: Edit::Weight(weight), wait }
            }
            C::Trust { one: args, off } => one(args, Edit::Trust(!off)),
            C::Refresh { from, dry_run, force, wait } => {
                let source = Some(refresh::source(&from)?);
                Self::Refresh { request: RefreshOriginsRequest { source, dry_run, force }, wait }
            }
        })
    }
}

pub(super) async fn run(
    client: &mut Client,
    output: &Output,
    asked: Asked,
) -> Result<Outcome, Failure> {
    match asked {
        Asked::List(args) => health::list(client, output, &args).await,
        Asked::Show(names) => health::show(client, output, &names).await,
        Asked::Probe(names) => health::probe(client, output, &names).await,
        Asked::Print => pool::print(client, output).await,
        Asked::Replace { pool, wait } => pool::replace(client, output, pool, &wait).await,
        Asked::Edit { subject, edit, wait } => {
            pool::edit(client, output, &subject, &edit, &wait).await
        }
        Asked::Refresh { request, wait } => refresh::run(client, output, request, &wait).await,
    }
}
