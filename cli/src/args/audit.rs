//! What can be said of the audit log.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use wcdn_proto::audit::AuditHash;

use crate::text::{self, Moment};

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// The latest so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Write entries to a file or standard output, the oldest first
    Export {
        #[command(flatten)]
        filter: FilterArgs,
        /// JSON Lines, which can be verified if there is no filter, or CSV
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
        /// Where to; standard output if it is left out
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Check an exported file, away from any control plane
    Verify {
        /// The file, or "-" for standard input
        file: PathBuf,
        /// The public key of the control plane, as `wcdn-control-plane issuer-key` prints it
        #[arg(long, value_name = "KEY")]
        issuer_key: Option<String>,
        /// The last entry of an earlier file, as it was printed: what follows it must follow
        #[arg(long, value_name = "SEQ:HASH", value_parser = parse_end)]
        after: Option<ChainEnd>,
    },
}

/// Which entries: all that is given must hold.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct FilterArgs {
    /// From then on: a time, or a span back from now, such as 24h
    #[arg(long, value_name = "WHEN", value_parser = text::parse_past)]
    pub(crate) from: Option<Moment>,
    /// Before then
    #[arg(long, value_name = "WHEN", value_parser = text::parse_past)]
    pub(crate) until: Option<Moment>,
    /// authentication, operation or system
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) class: String,
    /// Such as purge; with a dot at the end, all that begin so: "key."
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) action: String,
    /// done, refused or failed
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) outcome: String,
    /// The id or the name of a key
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) key: String,
    /// Such as a change, a key or a node
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) target: String,
    /// By which a request is found in other logs
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) request_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Jsonl,
    Csv,
}

/// An entry, and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChainEnd {
    pub(crate) seq: u64,
    pub(crate) hash: AuditHash,
}

fn parse_end(text: &str) -> Result<ChainEnd, String> {
    let parts = text.split_once(':');
    let end = parts.and_then(|(seq, hash)| {
        Some(ChainEnd { seq: seq.parse().ok()?, hash: hash.parse().ok()? })
    });
    end.ok_or_else(|| "write SEQ:HASH, as `wcdn audit verify` printed it".to_owned())
}
