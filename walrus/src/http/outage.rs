//! Why a request was not answered at all, told apart by who must do something about it.

use std::error::Error;

use super::{
    causes,
    dial::{NotConnected, PrivateHost},
    dns::Unresolved,
};

/// Why a request was not answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Nobody says which address the host has.
    Name,
    /// No connection over TCP.
    Connect,
    /// A connection, but no TLS over it: a certificate, or a server that speaks something else.
    Tls,
    /// The connection ended before a head came.
    Broken,
    /// The host does not stand in the public internet, and only such may be asked
    /// ([`HttpOptions::public_only`](crate::HttpOptions)). That says nothing about the host.
    Private,
}

impl Outage {
    pub(crate) fn of(error: &hyper_util::client::legacy::Error) -> Self {
        let among = |is: fn(&(dyn Error + 'static)) -> bool| causes(error).any(is);
        if among(is_private) {
            Self::Private
        } else if among(|error| error.is::<Unresolved>()) {
            Self::Name
        } else if among(|error| error.is::<NotConnected>()) {
            Self::Connect
        } else if error.is_connect() {
            Self::Tls
        } else {
            Self::Broken
        }
    }
}

fn is_private(error: &(dyn Error + 'static)) -> bool {
    // Where the host was written as an address, there is nothing between the two.
    matches!(error.downcast_ref(), Some(NotConnected::Private(_))) || error.is::<PrivateHost>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{Aggregator, BlobId, HttpClient, HttpOptions};

    async fn met(url: String, public_only: bool) -> Option<Outage> {
        let options = HttpOptions { public_only, ..HttpOptions::default() };
        let aggregator = Aggregator::new(HttpClient::new(options), url.parse().unwrap());
        let id = BlobId::from_bytes([1; 32]);
        let asking = aggregator.presence(&id);
        let asked = tokio::time::timeout(Duration::from_secs(10), asking).await.unwrap();
        asked.err().and_then(|error| error.outage())
    }

    #[tokio::test]
    async fn each_kind_of_outage_is_told_from_the_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = closed.local_addr().unwrap().port();
        drop(closed);
        let speaking_something_else = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut some = [0; 1];
                // A client that hangs up is welcome to.
                if stream.read_exact(&mut some).await.is_ok() && some == *b"\x16" {
                    drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
                }
            }
        };
        let asking = async {
            assert_eq!(met(format!("http://127.0.0.1:{gone}"), false).await, Some(Outage::Connect));
            assert_eq!(met(format!("https://127.0.0.1:{port}"), false).await, Some(Outage::Tls));
            assert_eq!(met(format!("http://127.0.0.1:{port}"), false).await, Some(Outage::Broken));
            assert_eq!(met("http://no.invalid".to_owned(), false).await, Some(Outage::Name));
        };
        tokio::select! {
            () = speaking_something_else => {}
            () = asking => {}
        }
    }

    #[tokio::test]
    async fn what_may_not_be_asked_is_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let told = met(format!("http://{host}:{port}"), true).await;
            assert_eq!(told, Some(Outage::Private), "{host}");
        }
        let accepted = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(accepted.is_err(), "somebody connected");
    }
}
