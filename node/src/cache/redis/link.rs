//! The connections to the region's Redis, of one server or of a cluster.

use std::{convert::Infallible, sync::Arc, time::Duration};

use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisError, ServerErrorKind,
    TlsCertificates, aio::MultiplexedConnection, cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
};
use tokio::sync::Notify;

use super::Settings;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// One connection, or one to each node of a cluster. Clones share it; what it is asked is
/// pipelined.
#[derive(Clone)]
pub(super) enum Link {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Link::Server",
            Self::Cluster(_) => "Link::Cluster",
        })
    }
}

impl Link {
    /// Connects. `lost` is woken when the connection to a server ends; that to a cluster heals by
    /// itself.
    pub(super) async fn connect(
        settings: &Settings,
        lost: &Arc<Notify>,
    ) -> Result<Self, RedisError> {
        if settings.cluster {
            let client = cluster(settings)?;
            return Ok(Self::Cluster(client.get_async_connection().await?));
        }
        let url = settings.urls.first().map(String::as_str).unwrap_or_default();
        let info = identified(url.into_connection_info()?, settings);
        let client = match info.addr() {
            ConnectionAddr::TcpTls { .. } => Client::build_with_tls(info, certificates(settings))?,
            _ => Client::open(info)?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // Whoever asks has a deadline of its own.
            .set_response_timeout(None)
            .set_push_sender(tell(lost));
        Ok(Self::Server(client.get_multiplexed_async_connection_with_config(&config).await?))
    }

    /// Asks something.
    pub(super) async fn ask<T: FromRedisValue>(
        &mut self,
        command: &impl Ask,
    ) -> Result<T, RedisError> {
        command.ask(self).await
    }
}

/// What can be asked: a command, or several about one blob.
pub(super) trait Ask {
    fn ask<T: FromRedisValue>(
        &self,
        link: &mut Link,
    ) -> impl Future<Output = Result<T, RedisError>> + Send;
}

impl Ask for Cmd {
    async fn ask<T: FromRedisValue>(&self, link: &mut Link) -> Result<T, RedisError> {
        match link {
            Link::Server(connection) => self.query_async(connection).await,
            Link::Cluster(connection) => self.query_async(connection).await,
        }
    }
}

impl Ask for Pipeline {
    async fn ask<T: FromRedisValue>(&self, link: &mut Link) -> Result<T, RedisError> {
        match link {
            Link::Server(connection) => self.query_async(connection).await,
            Link::Cluster(connection) => self.query_async(connection).await,
        }
    }
}

/// Passes on that a connection has ended, and no other message that was not asked for.
fn tell(lost: &Arc<Notify>) -> impl Fn(PushInfo) -> Result<(), Infallible> + use<> {
    let lost = Arc::clone(lost);
    move |push| {
        if push.kind == PushKind::Disconnection {
            lost.notify_one();
        }
        Ok(())
    }
}

fn cluster(settings: &Settings) -> Result<redis::cluster::ClusterClient, RedisError> {
    let mut builder = ClusterClientBuilder::new(settings.urls.iter().map(String::as_str))
        .connection_timeout(CONNECT_TIMEOUT)
        // One attempt; whoever asks has a deadline of its own for all of them.
        .response_timeout(settings.timeout * super::WRITE_PATIENCE)
        .overall_response_timeout(Some(settings.timeout * super::WRITE_PATIENCE))
        .retries(2)
        .tcp_settings(at_once())
        .use_protocol(ProtocolVersion::RESP3);
    if settings.ca.is_some() {
        builder = builder.certs(certificates(settings));
    }
    if let Some(password) = &settings.password {
        builder = builder.password(password);
    }
    if !settings.username.is_empty() {
        builder = builder.username(&settings.username);
    }
    builder.build()
}

fn identified(info: ConnectionInfo, settings: &Settings) -> ConnectionInfo {
    let mut login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    if let Some(password) = &settings.password {
        login = login.set_password(password);
    }
    if !settings.username.is_empty() {
        login = login.set_username(&settings.username);
    }
    info.set_redis_settings(login).set_tcp_settings(at_once())
}

/// What is asked leaves at once. By default it may wait for the acknowledgement of what was asked
/// before, 40 ms where the other side delays those.
fn at_once() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn certificates(settings: &Settings) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: settings.ca.clone() }
}

/// Whether an error means that nothing can be had for now, rather than that this one value cannot.
pub(super) fn is_outage(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
        ),
        ErrorKind::Parse
        | ErrorKind::AuthenticationFailed
        | ErrorKind::Io
        | ErrorKind::ClusterConnectionNotFound => true,
        _ => error.is_io_error() || error.is_timeout() || error.is_connection_dropped(),
    }
}
