//! Opening a port.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

/// How many connections may wait to be accepted; the system cuts it to `net.core.somaxconn`, which
/// is 4,096 since Linux 5.4. std asks for 128, which a burst fills before a busy process looks.
const BACKLOG: u32 = 4096;

/// Listens at `address`.
///
/// With `reuse_port`, other processes of the same user that ask for it too may listen there at the
/// same time, and the system spreads new connections over them: a new version starts beside the
/// old one, which then drains. Connections that wait in the queue of a listener when it closes are
/// reset, unless `net.ipv4.tcp_migrate_req` is 1 (Linux 5.14).
///
/// # Errors
/// What the system says; the caller knows which key of the configuration the address came from.
pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As std does: without it a restart waits for connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Closes a listener, and gives whoever waits in its queue to `admit` before: they would be reset
/// with it, though another process may listen on the same port. The system is asked, for the runtime
/// may not know of the latest yet.
pub fn close(listener: TcpListener, admit: impl Fn(TcpStream, SocketAddr)) {
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream))
        {
            admit(stream, peer);
        }
    }
}

/// Binds a UDP socket, in the context of a runtime.
///
/// # Errors
/// What the system says, such as that the address is taken.
pub fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn any_port() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    #[tokio::test]
    async fn two_that_agree_share_a_port_and_one_goes_on_when_the_other_leaves() {
        let old = bind(any_port(), true).unwrap();
        let address = old.local_addr().unwrap();
        let new = bind(address, true).unwrap();
        drop(old);
        let mut viewer = TcpStream::connect(address).await.unwrap();
        drop(new.accept().await.unwrap());
        assert_eq!(viewer.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn whoever_waits_in_the_queue_of_a_port_that_closes_is_let_in() {
        let listener = bind(any_port(), false).unwrap();
        let address = listener.local_addr().unwrap();
        let mut viewers = Vec::new();
        for _ in 0..3 {
            viewers.push(TcpStream::connect(address).await.unwrap());
        }
        let admitted = std::sync::Mutex::new(Vec::new());
        close(listener, |stream, _| admitted.lock().unwrap().push(stream));
        assert!(TcpStream::connect(address).await.is_err());
        for (mut stream, mut viewer) in admitted.into_inner().unwrap().into_iter().zip(viewers) {
            stream.write_all(&[7]).await.unwrap();
            assert_eq!(viewer.read_u8().await.unwrap(), 7);
        }
    }

    #[tokio::test]
    async fn a_port_is_shared_only_if_both_agree() {
        for (first, second) in [(false, false), (false, true), (true, false)] {
            let held = bind(any_port(), first).unwrap();
            let refused = bind(held.local_addr().unwrap(), second).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse, "{first} {second}");
        }
    }

    #[tokio::test]
    async fn it_listens_on_ipv6_too() {
        let listener = bind((Ipv6Addr::LOCALHOST, 0).into(), false).unwrap();
        assert!(listener.local_addr().unwrap().is_ipv6());
    }
}
