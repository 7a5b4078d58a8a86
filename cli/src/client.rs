//! The connection to a control plane: the key in every call, a deadline on every answer, and another
//! one where the first is gone.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tonic::{
    Request, Response, Status, Streaming,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use wcdn_proto::pb::admin::v1::{
    admin_service_client::AdminServiceClient, audit_service_client::AuditServiceClient,
    hook_service_client::HookServiceClient, key_service_client::KeyServiceClient,
};

use crate::{
    config::{ApiKey, CONNECT_TIMEOUT, Connection, Way},
    failure::Failure,
};

type Keyed = InterceptedService<Channel, Key>;

/// The services, as generated, on one connection. Most calls are of the one that it stands for.
#[derive(Debug)]
pub(crate) struct Admin {
    service: AdminServiceClient<Keyed>,
    pub(crate) keys: KeyServiceClient<Keyed>,
    pub(crate) audit: AuditServiceClient<Keyed>,
    pub(crate) hooks: HookServiceClient<Keyed>,
}

impl Admin {
    fn new(channel: Channel, key: ApiKey) -> Self {
        let key = Key(key);
        Self {
            service: AdminServiceClient::with_interceptor(channel.clone(), key.clone()),
            keys: KeyServiceClient::with_interceptor(channel.clone(), key.clone()),
            audit: AuditServiceClient::with_interceptor(channel.clone(), key.clone()),
            hooks: HookServiceClient::with_interceptor(channel, key),
        }
    }
}

impl Deref for Admin {
    type Target = AdminServiceClient<Keyed>;

    fn deref(&self) -> &Self::Target {
        &self.service
    }
}

impl DerefMut for Admin {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.service
    }
}

/// The control planes, and the one that is asked.
#[derive(Debug)]
pub(crate) struct Client {
    admin: Admin,
    ways: Vec<Way>,
    /// Which of them is asked.
    at: usize,
    key: ApiKey,
    call_timeout: Duration,
}

/// Before something is asked again: a control plane that restarts is back within about a second.
const PAUSE: Duration = Duration::from_millis(500);

/// Puts the API key into a request.
#[derive(Debug, Clone)]
pub(crate) struct Key(ApiKey);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("x-api-key", self.0.header());
        Ok(request)
    }
}

impl Way {
    async fn connect(&self, key: ApiKey) -> Result<Admin, Failure> {
        let Self { endpoint, address } = self;
        // All of it together: looking up the name, too, which no limit of the endpoint covers.
        let Ok(connected) = timeout(CONNECT_TIMEOUT, endpoint.connect()).await else {
            return Err(Failure::Silent { address: address.clone(), waited: CONNECT_TIMEOUT });
        };
        match connected {
            Ok(channel) => Ok(Admin::new(channel, key)),
            Err(cause) => Err(Failure::Unreachable { address: address.clone(), cause }),
        }
    }
}

impl Client {
    /// Connects to the first control plane that can be reached.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] and [`Failure::Silent`], of the last one.
    pub(crate) async fn connect(connection: Connection) -> Result<Self, Failure> {
        let Connection { ways, key, call_timeout } = connection;
        let (at, admin) = any(&ways, 0, &key).await?;
        Ok(Self { admin, ways, at, key, call_timeout })
    }

    /// After a connection was lost: waits a moment, then turns to the next control plane that can be
    /// reached. Where there is one only, its connection comes back by itself.
    pub(crate) async fn turn(&mut self) {
        sleep(PAUSE).await;
        if self.ways.len() > 1
            && let Ok((at, admin)) = any(&self.ways, self.at + 1, &self.key).await
        {
            (self.at, self.admin) = (at, admin);
        }
    }

    /// Where the one is that is asked.
    pub(crate) fn address(&self) -> &str {
        &self.ways[self.at].address
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn call<Q, A>(
        &mut self,
        what: &'static str,
        question: Q,
        rpc: impl AsyncFnOnce(&mut Admin, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        let mut request = Request::new(question);
        // For the other side to know when nobody listens any more. It is a little longer, so that
        // the one who tells of it is always this side.
        request.set_timeout(self.call_timeout + Duration::from_secs(1));
        self.answered(what, request, rpc).await
    }

    /// Asks for a stream, and waits for its head; the stream itself may take any time.
    pub(crate) async fn open<Q, A>(
        &mut self,
        what: &'static str,
        question: Q,
        rpc: impl AsyncFnOnce(&mut Admin, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.answered(what, Request::new(question), rpc).await
    }

    async fn answered<Q, A>(
        &mut self,
        what: &'static str,
        request: Request<Q>,
        rpc: impl AsyncFnOnce(&mut Admin, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        match timeout(self.call_timeout, rpc(&mut self.admin, request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.refused(what, status)),
            Err(_elapsed) => Err(self.overdue(what)),
        }
    }

    fn overdue(&self, what: &'static str) -> Failure {
        Failure::Overdue { what, address: self.address().to_owned(), waited: self.call_timeout }
    }

    /// The next message of a stream; none at its end.
    ///
    /// # Cancel safety
    /// No message is lost.
    pub(crate) async fn next<A>(
        &self,
        what: &'static str,
        stream: &mut Streaming<A>,
    ) -> Result<Option<A>, Failure> {
        stream.message().await.map_err(|status| self.refused(what, status))
    }

    /// The same of a stream that waits for nothing, and so has no reason to be silent.
    ///
    /// # Cancel safety
    /// No message is lost.
    pub(crate) async fn next_in_time<A>(
        &self,
        what: &'static str,
        stream: &mut Streaming<A>,
    ) -> Result<Option<A>, Failure> {
        match timeout(self.call_timeout, self.next(what, stream)).await {
            Ok(next) => next,
            Err(_elapsed) => Err(self.overdue(what)),
        }
    }

    /// A part that every answer has.
    pub(crate) fn present<T>(
        &self,
        what: &'static str,
        part: Option<T>,
        wrong: &'static str,
    ) -> Result<T, Failure> {
        part.ok_or_else(|| Failure::Nonsense { what, address: self.address().to_owned(), wrong })
    }

    fn refused(&self, what: &'static str, status: Status) -> Failure {
        Failure::Refused { what, address: self.address().to_owned(), status: Box::new(status) }
    }
}

/// The first of them that can be reached, from one on.
async fn any(ways: &[Way], first: usize, key: &ApiKey) -> Result<(usize, Admin), Failure> {
    let mut at = first % ways.len();
    for _ in 1..ways.len() {
        match ways[at].connect(key.clone()).await {
            Ok(admin) => return Ok((at, admin)),
            Err(_) => at = (at + 1) % ways.len(),
        }
    }
    Ok((at, ways[at].connect(key.clone()).await?))
}
