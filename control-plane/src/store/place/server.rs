//! A PostgreSQL database, on the one of several servers that is the primary.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{
    AnyConnection, AnyPool, Connection as _, Executor as _,
    any::{AnyConnectOptions, AnyPoolOptions},
    pool::PoolConnectionMetadata,
    postgres::PgConnectOptions,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use wcdn_daemon::secret::Secret;

use super::Pools;
use crate::config;

/// Whatever the server's default is, what was acknowledged is on its disk; what is stricter stays.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off'";

/// How long a server may take to say that it is there.
const PING: Duration = Duration::from_secs(1);

/// A PostgreSQL database.
pub(crate) struct Server {
    url: config::StoreUrl,
    password: Option<Secret>,
    max_connections: u32,
    acquire_timeout: Duration,
    statement_timeout: Duration,
    /// Which of the URL's hosts is the primary, and since when.
    primary: watch::Sender<(usize, Instant)>,
}

impl Server {
    pub(super) fn new(
        config: &config::Store,
        url: config::StoreUrl,
        password: Option<Secret>,
    ) -> Self {
        Self {
            url,
            password,
            max_connections: config.max_connections,
            acquire_timeout: config.acquire_timeout.duration(),
            statement_timeout: config.statement_timeout.duration(),
            primary: watch::Sender::new((0, Instant::now())),
        }
    }

    /// How long a transaction may take: waiting for a connection, and its statements.
    pub(super) fn patience(&self) -> Duration {
        self.acquire_timeout + self.statement_timeout
    }

    /// Connects to the primary, without a limit for statements.
    pub(super) async fn seek(&self) -> Result<AnyConnection, sqlx::Error> {
        let (present, _) = *self.primary.borrow();
        let count = self.url.hosts().count();
        let mut failed = None;
        for host in (0..count).map(|n| (present + n) % count) {
            match timeout(self.acquire_timeout, self.try_host(host)).await {
                Ok(Ok(connection)) => {
                    if host != present {
                        tracing::warn!(host = self.host(host), "the store has another primary");
                        self.primary.send_replace((host, Instant::now()));
                    }
                    return Ok(connection);
                }
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = failed.or(Some(sqlx::Error::PoolTimedOut)),
            }
        }
        Err(failed.unwrap_or(sqlx::Error::PoolTimedOut))
    }

    async fn try_host(&self, host: usize) -> Result<AnyConnection, sqlx::Error> {
        let options = self.options(host, Duration::ZERO)?;
        let mut connection = AnyConnection::connect_with(&options).await?;
        begin(&mut connection).await?;
        Ok(connection)
    }

    /// Looks which host is the primary by now, if there are several; connections to another one are not
    /// used any more.
    pub(in super::super) async fn look(&self, pools: [&AnyPool; 2]) -> Result<(), sqlx::Error> {
        if !self.has_choice() {
            return Ok(());
        }
        let (before, _) = *self.primary.borrow();
        self.seek().await?.close().await?;
        let (host, _) = *self.primary.borrow();
        if host != before {
            let options = self.options(host, self.statement_timeout)?;
            for pool in pools {
                pool.set_connect_options(options.clone());
            }
        }
        Ok(())
    }

    pub(super) fn pools(self: &Arc<Self>) -> Result<Pools, sqlx::Error> {
        let writers = (self.max_connections / 4).max(2);
        let (host, _) = *self.primary.borrow();
        let options = self.options(host, self.statement_timeout)?;
        let pool = |most| self.pool(most).connect_lazy_with(options.clone());
        Ok(Pools { writer: pool(writers), readers: pool(self.max_connections - writers) })
    }

    /// Each connection is looked at before and after it is used: one that is cut off would keep those
    /// who use it, and its place, for as long as the system hopes.
    fn pool(self: &Arc<Self>, most: u32) -> AnyPoolOptions {
        let server = Arc::clone(self);
        AnyPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(self.acquire_timeout)
            .test_before_acquire(false)
            .after_connect(|connection, _| Box::pin(begin(connection)))
            .before_acquire(move |connection, meta| {
                let is_left = server.is_left(&meta);
                Box::pin(async move {
                    if is_left {
                        return Err(sqlx::Error::PoolClosed);
                    }
                    if meta.idle_for < PING { Ok(true) } else { answers(connection).await }
                })
            })
            .after_release(|connection, _| Box::pin(answers(connection)))
    }

    /// Whether a connection may be one to a host that is the primary no longer.
    fn is_left(&self, meta: &PoolConnectionMetadata) -> bool {
        let (_, since) = *self.primary.borrow();
        self.has_choice() && meta.age > since.elapsed()
    }

    /// What hears of commits connects by itself.
    pub(in super::super) fn listener(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let (host, _) = *self.primary.borrow();
        self.text(host, self.statement_timeout).parse()
    }

    /// Tells whenever another host is the primary.
    pub(in super::super) fn primaries(&self) -> watch::Receiver<(usize, Instant)> {
        self.primary.subscribe()
    }

    fn options(&self, host: usize, limit: Duration) -> Result<AnyConnectOptions, sqlx::Error> {
        self.text(host, limit).parse()
    }

    /// Whoever holds the log's lock and hangs, or is cut off, is ended by the server, so that others
    /// can go on.
    fn text(&self, host: usize, limit: Duration) -> String {
        let settings = [
            ("statement_timeout", limit.as_millis().to_string()),
            ("lock_timeout", self.statement_timeout.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", self.statement_timeout.as_millis().to_string()),
        ];
        let password = self.password.as_ref().map(Secret::expose);
        self.url.reveal(self.host(host), password, &settings)
    }

    fn has_choice(&self) -> bool {
        self.url.hosts().count() > 1
    }

    fn host(&self, n: usize) -> &str {
        self.url.hosts().nth(n).unwrap_or_default()
    }
}

/// Makes a connection fit for use, if it is one to a primary.
async fn begin(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let standby: i64 =
        sqlx::query_scalar("SELECT CAST(CAST(pg_is_in_recovery() AS INT) AS BIGINT)")
            .fetch_one(&mut *connection)
            .await?;
    if standby != 0 {
        return Err(sqlx::Error::Configuration("it is a standby, which cannot be written".into()));
    }
    connection.execute(DURABLE).await.map(drop)
}

async fn answers(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    timeout(PING, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)?.map(|()| true)
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}
