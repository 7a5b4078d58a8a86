//! Whether a public network can be reached from here, found out before anything starts.

use std::time::Duration;

use anyhow::bail;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use wcdn_walrus::{Aggregator, HttpClient, HttpOptions, Network};

/// How long one aggregator may take to say that it is alive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Aggregators asked at once.
const AT_ONCE: usize = 16;

/// Returns as soon as one aggregator answers.
///
/// # Errors
/// When none does, with the reason of one of them and what to do.
pub async fn any_aggregator(network: Network) -> anyhow::Result<()> {
    let http = HttpClient::new(HttpOptions::default());
    let operators = network.aggregators();
    let asked = operators.len();
    let mut answers = stream::iter(operators)
        .map(|operator| {
            let aggregator = Aggregator::new(http.clone(), operator.url.clone());
            async move {
                match timeout(PATIENCE, aggregator.status()).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err((operator.url, with_causes(&error))),
                    Err(_) => Err((operator.url, format!("no answer for {PATIENCE:?}"))),
                }
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut example = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(()) => return Ok(()),
            Err(failure) => example = Some(failure),
        }
    }
    let (url, why) = example.map_or_else(Default::default, |(url, why)| (url.to_string(), why));
    bail!(
        "none of the {asked} {network} aggregators can be reached (for one, {url}: {why}); \
         this machine seems to have no way to the internet. Without WCDN_NETWORK, `make run` \
         brings its own Walrus"
    )
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
