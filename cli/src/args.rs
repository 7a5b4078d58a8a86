//! What can be said on the command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;
use wcdn_proto::{ContentId, Position, Span};

pub(crate) use self::{
    audit::{AuditArgs, AuditCommand, ChainEnd, FilterArgs, Format},
    keys::{HooksArgs, HooksCommand, KeysArgs, KeysCommand, SettingsArgs},
    origins::{ListArgs, OneArgs, OriginsArgs, OriginsCommand},
};
use crate::text;

mod audit;
mod help;
mod keys;
mod origins;
mod pins;
#[cfg(test)]
mod tests;

pub(crate) use pins::{PinArgs, PinWord, PinsArgs, PreloadArgs, UnpinArgs};

/// Tells every edge of a WCDN network what to do, and shows what became of it.
#[derive(Debug, Parser)]
#[command(name = "wcdn", version, max_term_width = 100, after_long_help = help::PROGRAM)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach the control plane.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// The gRPC address of the control plane: a URL, or host:port for one without TLS, with it where
    /// --ca-file is given; of several, with commas between, the next is asked where one is gone [env:
    /// WCDN_ENDPOINT] [default: http://127.0.0.1:4501]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// A file with the API key and nothing else [env: WCDN_API_KEY, the key itself]
    #[arg(long, global = true, value_name = "FILE", long_help = help::API_KEY)]
    pub(crate) api_key_file: Option<PathBuf>,
    /// A PEM file of the authorities to trust instead of the public ones [env: WCDN_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// A [profile.NAME] of the configuration file; it counts more than the environment
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// How long the control plane may take to answer a call
    #[arg(long, global = true, value_name = "SPAN", default_value_t = Span::secs(10))]
    pub(crate) call_timeout: Span,
}

/// What to print.
#[derive(Debug, Clone, Copy, ClapArgs)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print JSON: one document, or one line per event
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no progress and no headings; of a change, only its id
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Remove bytes from every edge
    #[command(after_long_help = help::PURGE)]
    Purge(PurgeArgs),
    /// Withhold ids on every edge: 451 at once, running responses are cut
    #[command(after_long_help = help::CHANGE)]
    Block(BlockArgs),
    /// Serve blocked ids again
    #[command(after_long_help = help::CHANGE)]
    Unblock(UnblockArgs),
    /// List what is blocked
    #[command(after_long_help = help::BLOCKS)]
    Blocks,
    /// Keep blobs ready in every region: in its Redis, and in the memory of two of its nodes
    #[command(after_long_help = help::PIN)]
    Pin(PinArgs),
    /// Keep pinned blobs no longer than others
    #[command(after_long_help = help::CHANGE)]
    Unpin(UnpinArgs),
    /// List what is pinned, and how far it is
    #[command(after_long_help = help::PINS)]
    Pins(PinsArgs),
    /// Have blobs fetched in every region before anybody asks
    #[command(after_long_help = help::PRELOAD)]
    Preload(PreloadArgs),
    /// Write an event that changes nothing, to prove that all edges hear
    #[command(after_long_help = help::CHANGE)]
    Barrier(WaitArgs),
    /// Show which node has applied a change, and when
    #[command(after_long_help = help::RECEIPT)]
    Receipt(ReceiptArgs),
    /// List every node that is known, alive or not
    #[command(after_long_help = help::NODES)]
    Nodes,
    /// Show how the origins of every edge do, or change which there are
    #[command(after_long_help = help::ORIGINS)]
    Origins(OriginsArgs),
    /// Show the events of the log
    #[command(after_long_help = help::EVENTS)]
    Events(EventsArgs),
    /// Show what every live node holds of an id, and why
    #[command(after_long_help = help::EXPLAIN)]
    Explain(ExplainArgs),
    /// List API keys, make, change, rotate and revoke them
    #[command(after_long_help = help::KEYS)]
    Keys(KeysArgs),
    /// List hooks, by which other systems purge; make and end them
    #[command(after_long_help = help::HOOKS)]
    Hooks(HooksArgs),
    /// Show who did what; take it away as a file, and check that
    #[command(after_long_help = help::AUDIT)]
    Audit(Box<AuditArgs>),
    /// Show how the control plane itself is
    #[command(after_long_help = help::STATUS)]
    Status,
    /// Print a script that completes this program's command line in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Which ids.
#[derive(Debug, ClapArgs)]
pub(crate) struct IdArgs {
    /// Blob ids (43 characters) or quilt patch ids (50 characters)
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Read ids from a file, or from standard input if it is "-": between them white space, and
    /// what follows a "#" is left out
    #[arg(long, alias = "file", value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,
}

/// Whether to wait for the nodes.
#[derive(Debug, ClapArgs)]
pub(crate) struct WaitArgs {
    /// Wait until every node has applied it or is given up, and print the receipt
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value_t = Span::secs(30))]
    pub(crate) timeout: Span,
}

/// What makes it safe to send a change again.
#[derive(Debug, ClapArgs)]
pub(crate) struct TokenArgs {
    /// The same request under the same token is one change, however often it is sent; without one
    /// this program makes one up, and shows it if it does not know what became of the change
    #[arg(long, value_name = "TOKEN")]
    pub(crate) idempotency_token: Option<String>,
}

impl TokenArgs {
    /// As it is sent.
    pub(crate) fn text(&self) -> String {
        let made_up = || format!("cli-{:032x}", rand::random::<u128>());
        self.idempotency_token.clone().unwrap_or_else(made_up)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PurgeArgs {
    #[command(flatten)]
    pub(crate) ids: IdArgs,
    /// Remove everything
    #[arg(long, conflicts_with_all = ["ids", "from_file"])]
    pub(crate) all: bool,
    /// Remove what is pinned, too: it stays pinned, and is fetched anew
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BlockArgs {
    #[command(flatten)]
    pub(crate) ids: IdArgs,
    /// Why, for people who look at the list
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UnblockArgs {
    #[command(flatten)]
    pub(crate) ids: IdArgs,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReceiptArgs {
    /// The id of the change, such as chg_…
    pub(crate) change: String,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EventsArgs {
    /// Begin after this position, such as 1:42; without it with the last 20
    #[arg(long, value_name = "EPOCH:SEQ", value_parser = text::parse_position)]
    pub(crate) after: Option<Position>,
    /// Go on with what comes, until it is stopped
    #[arg(long, short)]
    pub(crate) follow: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// A blob id or quilt patch id
    pub(crate) id: ContentId,
}

/// The same arguments, with ids that look like options put behind "--".
///
/// One id in 64 begins with "-", and nobody who pastes it should have to know. No option can be
/// taken for an id: none has 43 or 50 characters of base64url.
pub(crate) fn shielded(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let (ids, mut others): (Vec<_>, Vec<_>) = args.drain(..end).partition(looks_like_an_option);
    if ids.is_empty() {
        others.append(&mut args);
        return others;
    }
    others.push("--".into());
    others.extend(ids);
    others.extend(args.into_iter().skip(1));
    others
}

fn looks_like_an_option(arg: &OsString) -> bool {
    let id = arg.to_str().filter(|text| text.starts_with('-'));
    id.is_some_and(|text| text.parse::<ContentId>().is_ok())
}
