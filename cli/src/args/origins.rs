//! What can be said of origins.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use wcdn_proto::OriginName;

use super::WaitArgs;

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OriginsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<OriginsCommand>,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// Which of them to list.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct ListArgs {
    /// Only the healthy ones
    #[arg(long)]
    pub(crate) healthy: bool,
    /// Only so many, those that do best first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) best: Option<u32>,
    /// Only publishers
    #[arg(long, conflicts_with = "aggregators")]
    pub(crate) publishers: bool,
    /// Only aggregators
    #[arg(long)]
    pub(crate) aggregators: bool,
}

/// One of them, and what to do about it.
#[derive(Debug, ClapArgs)]
pub(crate) struct OneArgs {
    /// What it is called
    pub(crate) name: OriginName,
    /// It is a publisher, not an aggregator
    #[arg(long)]
    pub(crate) publisher: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OriginsCommand {
    /// Print them as `set` takes them
    Get,
    /// Replace all of them by what `wcdn origins get --json` printed and somebody edited
    Set {
        /// The file, or "-" for standard input
        file: PathBuf,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Show how some do, with their last probes, regions and changes
    Show {
        /// What they are called
        #[arg(required = true)]
        names: Vec<OriginName>,
    },
    /// Ask them now, and print each answer as it comes
    Probe {
        /// What they are called; all if none is named
        names: Vec<OriginName>,
    },
    /// Add one
    Add {
        /// What to call it
        name: OriginName,
        /// Where it is
        url: String,
        /// Believe its word alone for "no such blob", and check none of its bytes
        #[arg(long)]
        trusted: bool,
        /// Its share of blobs among others that are as fast
        #[arg(long, value_name = "1..1000", default_value_t = 100, value_parser = weight())]
        weight: u32,
        /// It is a publisher, not an aggregator
        #[arg(long)]
        publisher: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove one
    Remove {
        #[command(flatten)]
        one: OneArgs,
    },
    /// Have one asked only where no other serves, until it is returned by hand
    Eject {
        #[command(flatten)]
        one: OneArgs,
        /// Why, for people who look at the list
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
    },
    /// Have one asked as any other again
    Return {
        #[command(flatten)]
        one: OneArgs,
    },
    /// Set the share of blobs that one gets among others that are as fast; 100 is usual
    Weight {
        /// What it is called
        name: OriginName,
        /// Its weight
        #[arg(value_name = "1..1000", value_parser = weight())]
        weight: u32,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Believe the word of one alone for "no such blob", and check none of its bytes
    Trust {
        #[command(flatten)]
        one: OneArgs,
        /// No longer
        #[arg(long)]
        off: bool,
    },
    /// Bring them up to date with a list of public operators
    Refresh {
        /// operators.json of the Walrus documentation: a file, "-" for standard input, or a URL that the
        /// control plane asks
        #[arg(value_name = "FILE|URL")]
        from: String,
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
        /// Also if more than half of the aggregators would leave
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

fn weight() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000)
}
