//! What was spent at all control planes together, in a Redis.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};

use parking_lot::RwLock;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, Script,
    aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use wcdn_daemon::{gcra::Rate, proxy::Customer};

use super::Payer;

/// A Redis that counts.
#[derive(Debug)]
pub(super) struct Shared {
    client: Client,
    script: Script,
    /// With its number.
    connection: RwLock<Option<(u64, MultiplexedConnection)>>,
    is_up: AtomicBool,
    lost: Notify,
}

/// The generic cell rate algorithm, by the clock of the Redis. Times are microseconds; the one number that
/// is kept is when all that was spent will have been earned again. What a clock that was ahead has left
/// there costs no more than a whole budget, and what is no number is written over.
const SCRIPT: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local every, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.pcall('GET', KEYS[1])
local spent = math.max(type(kept) == 'string' and tonumber(kept) or 0, now)
spent = math.min(spent, now + room + every)
if spent - now > room then
  return { 0, spent - now, spent - now - room }
end
spent = spent + every
redis.call('SET', KEYS[1], string.format('%.0f', spent), 'PX', math.ceil((spent - now) / 1000) + 1000)
return { 1, spent - now, 0 }
";

/// How long a request may wait for it.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long connecting may take, and between two attempts.
const CONNECT: Duration = Duration::from_secs(1);

impl Shared {
    /// Not connected yet.
    pub(super) fn new(url: &str, password: Option<&str>) -> Result<Self, RedisError> {
        let info = url.into_connection_info()?;
        let mut login = info.redis_settings().clone();
        if let Some(password) = password {
            login = login.set_password(password);
        }
        Ok(Self {
            client: Client::open(info.set_redis_settings(login).set_tcp_settings(at_once()))?,
            script: Script::new(SCRIPT),
            connection: RwLock::default(),
            is_up: AtomicBool::new(false),
            lost: Notify::new(),
        })
    }

    /// Whether it answered last time.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(SeqCst)
    }

    /// Takes a request: how far what is spent lies ahead, in nanoseconds, and how long to wait if it is too
    /// much. None if it does not answer.
    pub(super) async fn take(
        &self,
        payer: &Payer,
        rate: Rate,
    ) -> Option<Result<u64, (u64, Duration)>> {
        let (number, mut connection) = self.connection.read().clone()?;
        let mut call = self.script.key(name(payer));
        call.arg(rate.every().div_ceil(1_000)).arg(rate.ahead() / 1_000);
        let asked = timeout(PATIENCE, call.invoke_async::<(u8, u64, u64)>(&mut connection)).await;
        match asked {
            Ok(Ok((1, ahead, _))) => Some(Ok(ahead.saturating_mul(1_000))),
            Ok(Ok((_, ahead, wait))) => {
                Some(Err((ahead.saturating_mul(1_000), Duration::from_micros(wait))))
            }
            Ok(Err(error)) => {
                self.down(number, &error.to_string());
                None
            }
            Err(_elapsed) => {
                self.down(number, "it does not answer in time");
                None
            }
        }
    }

    /// That connection is no good any more; another one may have taken its place.
    fn down(&self, number: u64, why: &str) {
        let mut connection = self.connection.write();
        if connection.as_ref().is_none_or(|(current, _)| *current != number) {
            return;
        }
        *connection = None;
        drop(connection);
        if self.is_up.swap(false, SeqCst) {
            tracing::warn!(
                why,
                "the Redis of the limits is away: each control plane counts by itself"
            );
        }
        self.lost.notify_one();
    }

    /// Connects, and again whenever that is lost.
    pub(super) async fn keep_connected(&self, shutdown: CancellationToken) {
        let keeping = async {
            for number in 0.. {
                match timeout(CONNECT, self.connect()).await {
                    Ok(Ok(connection)) => {
                        *self.connection.write() = Some((number, connection));
                        self.is_up.store(true, SeqCst);
                        tracing::info!("limits are counted in Redis");
                        self.lost.notified().await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "no Redis for the limits"),
                    Err(_elapsed) => tracing::debug!("the Redis of the limits does not answer"),
                }
                sleep(CONNECT).await;
            }
        };
        // It never ends by itself.
        let _ended = shutdown.run_until_cancelled(keeping).await.is_none();
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(CONNECT));
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // One that hangs takes connections all the same.
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(connection)
    }
}

/// What is asked leaves at once: by default it may wait for the acknowledgement of what was asked before,
/// for nearly as long as is waited for an answer.
fn at_once() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// Where the count of a payer is kept.
fn name(payer: &Payer) -> String {
    match payer {
        Payer::Address(Customer::V4(address)) => format!("wcdn:limit:{{{address}}}"),
        Payer::Address(Customer::V6(network)) => {
            format!("wcdn:limit:{{{:016x}}}", u64::from_be_bytes(*network))
        }
        Payer::Key(id) => format!("wcdn:limit:{{key-{id}}}"),
    }
}
