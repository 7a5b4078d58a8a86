//! Asking a process that runs whether it is ready: what a container without a shell is probed by.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// Why a process does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody listens there.
    #[error("nobody answers at {admin}; does it run, with the same configuration?")]
    Unreachable {
        /// The admin port.
        admin: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// What listens there speaks no HTTP, or broke off.
    #[error("{admin} does not answer as an admin port does")]
    Garbled {
        /// The admin port.
        admin: SocketAddr,
        /// What was wrong.
        #[source]
        cause: hyper::Error,
    },
    /// It took too long.
    #[error("{admin} did not answer within {PATIENCE:?}")]
    Silent {
        /// The admin port.
        admin: SocketAddr,
    },
    /// It starts, or drains.
    #[error("{admin} answers /readyz with {status}")]
    NotReady {
        /// The admin port.
        admin: SocketAddr,
        /// The answer.
        status: StatusCode,
    },
}

/// For the whole question; runtimes give a probe a few seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns if the process whose admin port this is says that it is ready.
///
/// # Errors
/// [`ProbeError`] says how it does not.
pub async fn ready(admin: SocketAddr) -> Result<(), ProbeError> {
    let admin = within(admin);
    let asked = timeout(PATIENCE, ask(admin)).await;
    match asked.map_err(|_| ProbeError::Silent { admin })?? {
        StatusCode::OK => Ok(()),
        status => Err(ProbeError::NotReady { admin, status }),
    }
}

async fn ask(admin: SocketAddr) -> Result<StatusCode, ProbeError> {
    let stream = TcpStream::connect(admin).await;
    let stream = stream.map_err(|cause| ProbeError::Unreachable { admin, cause })?;
    let garbled = |cause| ProbeError::Garbled { admin, cause };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(garbled)?;
    let request = Request::get("/readyz").header(header::HOST, admin.to_string());
    let request = request.body(Empty::<Bytes>::new()).expect("an address makes a header");
    let asking = sender.send_request(request);
    tokio::pin!(connection, asking);
    tokio::select! {
        answer = asking.as_mut() => answer.map(|answer| answer.status()).map_err(garbled),
        // It ends first when the other side hangs up; the sender knows why.
        _ = connection.as_mut() => asking.await.map(|answer| answer.status()).map_err(garbled),
    }
}

/// Where a port that listens everywhere is reached from its own machine.
fn within(admin: SocketAddr) -> SocketAddr {
    let ip = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, admin.port())
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        admin::{self, Admin},
        health::Health,
    };

    async fn bind(address: &str) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind(address).await.unwrap();
        let admin = listener.local_addr().unwrap();
        (listener, admin)
    }

    /// What is told while a process is like this that listens at this address.
    async fn told(address: &str, health: Health) -> Result<(), ProbeError> {
        let (listener, admin) = bind(address).await;
        let stop = CancellationToken::new();
        let serving = admin::serve(listener, Admin::new(Registry::default(), health), stop.clone());
        let asking = async {
            let told = ready(admin).await;
            stop.cancel();
            told
        };
        tokio::join!(serving, asking).1
    }

    #[tokio::test]
    async fn a_process_is_ready_once_it_says_so_wherever_it_listens() {
        let health = Health::new();
        let starting = told("127.0.0.1:0", health.clone()).await.unwrap_err();
        let ProbeError::NotReady { status, .. } = starting else { panic!("{starting:?}") };
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        health.ready();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            told(address, health.clone()).await.unwrap();
        }
        health.draining();
        assert!(told("127.0.0.1:0", health).await.is_err());
    }

    #[tokio::test]
    async fn nobody_is_not_ready() {
        let (listener, admin) = bind("127.0.0.1:0").await;
        drop(listener);
        let error = ready(admin).await.unwrap_err();
        assert!(matches!(error, ProbeError::Unreachable { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn whoever_hangs_up_or_babbles_is_not_ready() {
        for said in [&b""[..], b"SSH-2.0-nonsense\r\n"] {
            let (listener, admin) = bind("127.0.0.1:0").await;
            let answering = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(said).await.unwrap();
            };
            let (_, told) = tokio::join!(answering, ready(admin));
            assert!(matches!(told, Err(ProbeError::Garbled { .. })), "{told:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_silent_is_not_ready() {
        let (_listener, admin) = bind("127.0.0.1:0").await;
        let told = ready(admin).await;
        assert!(matches!(told, Err(ProbeError::Silent { .. })), "{told:?}");
    }
}
