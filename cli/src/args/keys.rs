//! What can be said of API keys and hooks.

use clap::{Args as ClapArgs, Subcommand};
use wcdn_proto::{Scope, Span};

use super::WaitArgs;
use crate::text::{self, Moment};

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) command: Option<KeysCommand>,
    /// Also those that are revoked or have expired
    #[arg(long)]
    pub(crate) ended: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key, and print it: it is shown this once
    Create {
        /// Unique among all keys there ever were: changes and the audit log name it
        name: String,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Show one
    Show {
        /// Its id or its name
        key: String,
    },
    /// Change what a key may do: what is not given stays
    Set {
        /// Its id or its name
        key: String,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Give a key another text, and print it: it is shown this once
    Rotate {
        /// Its id or its name
        key: String,
        /// How long the text before is good yet, such as 24h; 0s ends it at once, as in an emergency
        #[arg(long, value_name = "SPAN")]
        grace: Option<Span>,
        /// When that time begins, such as 2026-12-31T00:00:00Z; now if it is left out
        #[arg(long, value_name = "TIME", value_parser = text::parse_moment)]
        at: Option<Moment>,
    },
    /// End a key, everywhere and for good
    Revoke {
        /// Its id or its name
        key: String,
        /// Why, for people who read the audit log
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Show the key that this program uses
    Me,
}

/// What a key may do.
#[derive(Debug, ClapArgs)]
pub(crate) struct SettingsArgs {
    /// What it may do, such as cache:purge; can be given several times; "*" is everything
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    pub(crate) scopes: Vec<String>,
    /// A vault that it is restricted to; can be given several times
    #[arg(long = "vault", value_name = "VAULT")]
    pub(crate) vaults: Vec<String>,
    /// A network that it is good from, such as 10.0.0.0/8; can be given several times
    #[arg(long = "network", value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
    /// Requests a minute; 0 for what every key may
    #[arg(long, value_name = "N")]
    pub(crate) per_minute: Option<u32>,
    /// When it ends: after a span such as 90d, at a time such as 2026-12-31T00:00:00Z, or never
    #[arg(long, value_name = "WHEN", value_parser = text::parse_end)]
    pub(crate) expires: Option<Moment>,
}

fn scope(text: &str) -> Result<String, wcdn_proto::InvalidScope> {
    if text != "*" {
        text.parse::<Scope>()?;
    }
    Ok(text.to_owned())
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HooksArgs {
    #[command(subcommand)]
    pub(crate) command: Option<HooksCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HooksCommand {
    /// Make a hook, and print its path and its secret: they are shown this once
    Create {
        /// Unique
        name: String,
        /// It may purge everything
        #[arg(long)]
        all: bool,
        /// It may purge what is pinned
        #[arg(long)]
        force: bool,
    },
    /// End a hook
    Delete {
        /// Its id
        id: String,
    },
}
