//! What can be said of pins, and of preloads.

use clap::{Args as ClapArgs, ValueEnum};
use wcdn_proto::{Region, Span};

use super::{IdArgs, TokenArgs, WaitArgs};

#[derive(Debug, ClapArgs)]
pub(crate) struct PinArgs {
    #[command(flatten)]
    pub(crate) ids: IdArgs,
    /// What for, for people who look at the list
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) note: String,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    /// Wait until every node that should hold them does, or says why not
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value_t = Span::secs(300))]
    pub(crate) timeout: Span,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UnpinArgs {
    #[command(flatten)]
    pub(crate) ids: IdArgs,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PinsArgs {
    /// Only those in this state
    #[arg(long)]
    pub(crate) state: Option<PinWord>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PreloadArgs {
    #[command(flatten)]
    pub(crate) ids: IdArgs,
    /// Only in this region; may be given again. All without it
    #[arg(long = "region", value_name = "REGION")]
    pub(crate) regions: Vec<Region>,
    /// Look at a preload that was begun before, instead of beginning one
    #[arg(long, value_name = "JOB", conflicts_with_all = ["ids", "from_file", "regions"])]
    pub(crate) job: Option<String>,
    /// Wait until every blob is there or has failed
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value_t = Span::secs(300))]
    pub(crate) timeout: Span,
}

/// How far a pin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PinWord {
    /// No node has told of it yet
    Requested,
    /// Nodes are fetching it
    Filling,
    /// Every node that should hold it does
    Held,
    /// It was held and is less so now, or some node cannot get it
    Degraded,
    /// Some node has no memory left for it
    OverBudget,
}
