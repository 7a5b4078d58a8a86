//! The pool follows a list of public operators.

use std::time::Duration;

use tokio::time::sleep;
use wcdn_proto::pb::edge::v1::OriginPool;

use super::{BY, Monitor, operators::ListError};
use crate::{auth::Author, change::Recorded, log::LogError};

/// Why the pool does not follow a list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
    /// The list is the reason.
    #[error(transparent)]
    List(#[from] ListError),
    /// The pool cannot be changed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Monitor {
    /// Brings the pool up to date with a list, if there is one, again and again.
    pub(super) async fn refresh(&self, from: &str, every: Duration) {
        while !from.is_empty() {
            match self.refresh_once(from).await {
                Ok(None) => {}
                Ok(Some(change)) => {
                    tracing::info!(
                        from,
                        change = change.id,
                        "origins follow the list of operators"
                    );
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(from, error, "origins do not follow the list of operators");
                }
            }
            sleep(every).await;
        }
    }

    async fn refresh_once(&self, from: &str) -> Result<Option<Recorded>, RefreshError> {
        let operators = self.lists.read(from).await?;
        let merge =
            |pool: &mut OriginPool| Ok(!self.lists.merge(pool, &operators, false)?.is_empty());
        self.pools.edit(&Author::program(BY), merge).await
    }
}
