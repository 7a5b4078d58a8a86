//! Hearing at once that others wrote to the log.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Executor as _, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Place, Store, StoreError, Tx, place::Server};

/// What is listened to; each cluster has a database of its own.
const CHANNEL: &str = "wcdn_log";

/// After so long without a word the server is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(10);

/// Between two tries to connect.
const AGAIN: Duration = Duration::from_secs(1);

/// Tells the others once the transaction is committed; those who do not hear it look each second.
pub(super) async fn tell(tx: &mut Tx, teller: u64) -> Result<(), StoreError> {
    // What the function returns is of no type that is known for both databases.
    sqlx::query("SELECT CAST(1 AS BIGINT) FROM pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(teller.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// Notifies whenever another control plane has committed, or may have, until `shutdown`.
    pub(crate) async fn listen(self, wake: Arc<Notify>, shutdown: CancellationToken) {
        let Place::Server(server) = &self.place else { return };
        let listening = async {
            loop {
                let mut primaries = server.primaries();
                primaries.mark_unchanged();
                let heard = tokio::select! {
                    heard = hear(server, self.teller, &wake) => heard,
                    // A connection to the one before may stay silent for ever.
                    _ = primaries.changed() => continue,
                };
                if let Err(error) = heard {
                    tracing::warn!(%error, "commits of others are noticed late: no connection to listen on");
                }
                sleep(AGAIN).await;
            }
        };
        shutdown.run_until_cancelled(listening).await;
    }
}

async fn hear(server: &Server, teller: u64, wake: &Notify) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(QUIET);
    let pool: PgPool = pool.connect_lazy_with(server.listener()?);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // What was committed before was not told.
    wake.notify_one();
    let own = teller.to_string();
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(told))) if told.payload() == own => {}
            Ok(Ok(Some(_))) => wake.notify_one(),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let asked = timeout(AGAIN, listener.execute("SELECT 1")).await;
                asked.map_err(|_| sqlx::Error::PoolTimedOut)??;
            }
        }
    }
}
