//! The PROXY header at the beginning of a connection, by which a load balancer says whom it
//! carries (HAProxy's specification, versions 1 and 2).
//!
//! ```text
//! v1   PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n          at most 107 bytes
//! v2   12 bytes of signature · version and command · family · length (2) · addresses · TLVs
//! ```

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The beginning of a header.
    Partial,
    /// A whole one.
    Whole {
        /// Bytes it takes.
        length: usize,
        /// Who is carried; nobody if the balancer speaks for itself, as its health checks do.
        source: Option<IpAddr>,
    },
}

/// Bytes that are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection begins with no valid PROXY header")]
pub struct NoHeader;

const V1: &[u8] = b"PROXY ";
const V1_MOST: usize = 107;
const V2: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n";
const V2_FIXED: usize = 16;

/// Bytes of addresses and of what balancers add to them.
const V2_MOST: usize = 2_048;

/// Reads the header that `bytes` begin with.
///
/// # Errors
/// [`NoHeader`].
pub fn parse(bytes: &[u8]) -> Result<Header, NoHeader> {
    if bytes.starts_with(V2) {
        version_2(bytes)
    } else if bytes.starts_with(V1) {
        version_1(bytes)
    } else if V2.starts_with(bytes) || V1.starts_with(bytes) {
        Ok(Header::Partial)
    } else {
        Err(NoHeader)
    }
}

/// Takes the header off a stream, and not a byte more: who is carried, if anybody is. Whoever calls says how
/// long it may take.
///
/// # Errors
/// Those of the stream, and [`NoHeader`] as `InvalidData`.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<IpAddr>> {
    let mut seen = Vec::with_capacity(V1_MOST);
    loop {
        // One by one: what follows is not ours. A header has some fifty bytes.
        seen.push(stream.read_u8().await?);
        match parse(&seen) {
            Ok(Header::Partial) => {}
            Ok(Header::Whole { source, .. }) => return Ok(source),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

fn version_1(bytes: &[u8]) -> Result<Header, NoHeader> {
    let Some(end) = bytes.iter().take(V1_MOST).position(|byte| *byte == b'\n') else {
        return if bytes.len() < V1_MOST { Ok(Header::Partial) } else { Err(NoHeader) };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(NoHeader)?;
    let line = std::str::from_utf8(line).map_err(|_| NoHeader)?;
    let length = end + 1;
    let words: Vec<&str> = line.split(' ').collect();
    let source = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family, source, target, from, to] => {
            let source: IpAddr = source.parse().map_err(|_| NoHeader)?;
            let target: IpAddr = target.parse().map_err(|_| NoHeader)?;
            let fits = match family {
                "TCP4" => source.is_ipv4() && target.is_ipv4(),
                "TCP6" => source.is_ipv6() && target.is_ipv6(),
                _ => false,
            };
            let ports = [from, to].iter().all(|port| port.parse::<u16>().is_ok());
            Some((fits && ports).then(|| source.to_canonical()).ok_or(NoHeader)?)
        }
        _ => return Err(NoHeader),
    };
    Ok(Header::Whole { length, source })
}

fn version_2(bytes: &[u8]) -> Result<Header, NoHeader> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        return Ok(Header::Partial);
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_MOST || command >> 4 != 2 {
        return Err(NoHeader);
    }
    let Some(addresses) = rest.get(..length) else {
        return Ok(Header::Partial);
    };
    let source = match (command & 15, family) {
        // LOCAL: the balancer itself.
        (0, _) => None,
        (1, 0x11) => Some(first::<4>(addresses, 12).map(Ipv4Addr::from)?.into()),
        (1, 0x21) => Some(first::<16>(addresses, 36).map(Ipv6Addr::from).map(IpAddr::V6)?),
        // Other families say nothing of an address that could be told apart.
        (1, _) => None,
        _ => return Err(NoHeader),
    };
    let source = source.map(|source| source.to_canonical());
    Ok(Header::Whole { length: V2_FIXED + length, source })
}

/// The first address of a block that has `needed` bytes.
fn first<const N: usize>(addresses: &[u8], needed: usize) -> Result<[u8; N], NoHeader> {
    let block = addresses.get(..needed).ok_or(NoHeader)?;
    block.first_chunk().copied().ok_or(NoHeader)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    fn v1(source: SocketAddr, target: SocketAddr) -> Vec<u8> {
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.port(), target.port());
        format!("PROXY {family} {} {} {from} {to}\r\n", source.ip(), target.ip()).into_bytes()
    }

    fn v2(source: SocketAddr, target: SocketAddr, extra: &[u8]) -> Vec<u8> {
        let (family, mut block) = match (source.ip(), target.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (0x11, [a.octets(), b.octets()].concat()),
            (IpAddr::V6(a), IpAddr::V6(b)) => (0x21, [a.octets(), b.octets()].concat()),
            _ => panic!("addresses of one family"),
        };
        block.extend(source.port().to_be_bytes());
        block.extend(target.port().to_be_bytes());
        block.extend_from_slice(extra);
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [V2, &[0x21, family], &length, &block].concat()
    }

    fn socket() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let ports = (any::<u16>(), any::<u16>());
        prop_oneof![
            (any::<[u8; 4]>(), any::<[u8; 4]>(), ports)
                .prop_map(|(a, b, (from, to))| ((a, from).into(), (b, to).into())),
            (any::<[u8; 16]>(), any::<[u8; 16]>(), ports)
                .prop_map(|(a, b, (from, to))| ((a, from).into(), (b, to).into())),
        ]
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            version in 0usize..3,
            tail in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [[b"".as_slice(), V1, V2][version], &tail].concat();
            if let Ok(Header::Whole { length, .. }) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn what_was_written_is_read_and_every_beginning_waits_for_the_rest(
            (source, target) in socket(),
            extra in prop::collection::vec(any::<u8>(), 0..100),
            after in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            for written in [v1(source, target), v2(source, target, &extra)] {
                for cut in 0..written.len() {
                    prop_assert_eq!(parse(&written[..cut]), Ok(Header::Partial));
                }
                let whole = Header::Whole {
                    length: written.len(),
                    source: Some(source.ip().to_canonical()),
                };
                prop_assert_eq!(parse(&[&written[..], &after].concat()), Ok(whole));
            }
        }
    }

    #[test]
    fn a_balancer_may_speak_for_itself() {
        let local = [V2, &[0x20, 0, 0, 0]].concat();
        assert_eq!(parse(&local), Ok(Header::Whole { length: 16, source: None }));
        let unknown = b"PROXY UNKNOWN\r\nGET /";
        assert_eq!(parse(unknown), Ok(Header::Whole { length: 15, source: None }));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = [V1, &[b'x'; V1_MOST]].concat();
        let huge = [V2, &[0x21, 0x11, 0xff, 0xff]].concat();
        let version_3 = [V2, &[0x31, 0x11, 0, 0]].concat();
        let short = [V2, &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            b"PROXY TCP4 1.2.3.4\r\n",
            &long,
            &huge,
            &version_3,
            &short,
        ] {
            assert_eq!(parse(bytes), Err(NoHeader), "{bytes:?}");
        }
    }
}
