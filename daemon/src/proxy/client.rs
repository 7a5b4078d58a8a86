//! Whose request it is, where proxies stand between: read from headers of trusted proxies only.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use super::{ClientHeader, Proxy};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of proxies whose word is taken, and where it stands.
#[derive(Debug, Clone)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    header: ClientHeader,
}

/// Addresses looked at in one request; whoever has more proxies in a row is nobody's client.
const MAX_HOPS: usize = 64;

impl Proxies {
    /// Those of a configuration.
    pub fn new(config: &Proxy) -> Self {
        Self { trusted: config.trusted.clone(), header: config.header }
    }

    /// Whether an address is one of them.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// The client of a request that came from a trusted proxy at `peer`.
    ///
    /// Each proxy adds the address it was asked from at the end, so from there on back the first
    /// address that is no trusted proxy's is the client: whatever stands before, it may have made
    /// up. Where a proxy withholds an address (`unknown`, `_hidden`), the proxy itself is the last
    /// one known.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut last = peer;
        for hop in hops(headers, self.header).into_iter().take(MAX_HOPS) {
            let Some(address) = hop else { return last };
            last = address;
            if !self.trust(address) {
                return address;
            }
        }
        last
    }
}

/// The addresses that proxies noted, the latest first; `None` for one that is withheld or
/// malformed. The other header is not read: a proxy that does not know it lets a client write it.
fn hops(headers: &HeaderMap, header: ClientHeader) -> Vec<Option<IpAddr>> {
    let (name, address): (_, fn(&str) -> Option<IpAddr>) = match header {
        ClientHeader::XForwardedFor => (&X_FORWARDED_FOR, |element| node(element.trim())),
        ClientHeader::Forwarded => (&header::FORWARDED, forwarded_for),
    };
    let elements = lines(headers, name).rev().flat_map(|line| latest(line, b','));
    elements.take(MAX_HOPS).map(address).collect()
}

/// The lines of a header; one that is no text names nobody.
fn lines<'a>(
    headers: &'a HeaderMap,
    name: &'a HeaderName,
) -> impl DoubleEndedIterator<Item = &'a str> {
    headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?"))
}

/// What stands between separators outside of quotes, the last first.
fn latest(line: &str, separator: u8) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                parts.extend(line.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(line.get(start..));
    parts.reverse();
    parts
}

/// The `for` of one element of `Forwarded`. All of the element must be well-formed: otherwise a
/// client could open a quote that swallows what the proxy adds, and have its own `for` read.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in latest(element, b';') {
        let (name, text) = pair.trim().split_once('=')?;
        let text = value(text)?;
        if name.eq_ignore_ascii_case("for") && found.replace(text).is_some() {
            return None;
        }
    }
    node(found?)
}

/// A value without its quotes; `None` if it is neither a token nor one whole quoted string.
fn value(text: &str) -> Option<&str> {
    let Some(rest) = text.strip_prefix('"') else {
        return (!text.contains(['"', ',', ' '])).then_some(text);
    };
    let inner = rest.strip_suffix('"')?;
    let mut escaped = false;
    for byte in inner.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return None,
            _ => {}
        }
    }
    (!escaped).then_some(inner)
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, and, as
/// `X-Forwarded-For` has it, `2001:db8::1`.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    if let Some(rest) = text.strip_prefix('[') {
        // A port may be a name that hides it: `[2001:db8::1]:_port`.
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return is_port(port).then(|| IpAddr::V6(address).to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    port.starts_with('_').then(|| address.parse().ok())?
}

/// Nothing, or a colon and a port or a name that hides it.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| {
            port.starts_with('_')
                || (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    use ClientHeader::{Forwarded, XForwardedFor};

    fn proxies(header: ClientHeader) -> Proxies {
        let trusted = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Proxies::new(&Proxy { trusted, header, protocol: false })
    }

    fn client(header: ClientHeader, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        proxies(header).client([10, 0, 0, 1].into(), &map).to_string()
    }

    #[test]
    fn the_latest_address_that_is_no_proxys_is_the_client() {
        for (forwarded, expected) in [
            ("", "10.0.0.1"),
            ("198.51.100.7", "198.51.100.7"),
            ("1.2.3.4, 198.51.100.7", "198.51.100.7"),
            ("1.2.3.4, 198.51.100.7, 10.2.2.2", "198.51.100.7"),
            ("10.2.2.2", "10.2.2.2"),
            ("198.51.100.7:4711, 10.9.9.9:80", "198.51.100.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]:80", "2001:db8::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("198.51.100.7, nonsense", "10.0.0.1"),
            ("198.51.100.7, unknown, 10.3.3.3", "10.3.3.3"),
        ] {
            // A proxy that knows only the one passes the other on as its client wrote it.
            let both = [("x-forwarded-for", forwarded), ("forwarded", "for=7.7.7.7")];
            assert_eq!(client(XForwardedFor, &both), expected, "{forwarded}");
        }
        let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2, 10.1.1.1")];
        assert_eq!(client(XForwardedFor, &lines), "2.2.2.2");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (forwarded, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
            ("for=192.0.2.43,for=\"10.1.1.1:80\"", "192.0.2.43"),
            ("proto=https;for=\"192.0.2.1:_secret\"", "192.0.2.1"),
            ("for=\"[2001:db8::1]:_x\"", "2001:db8::1"),
            ("for=_hidden, for=10.1.1.1", "10.1.1.1"),
            ("for=unknown", "10.0.0.1"),
            ("by=10.0.0.1", "10.0.0.1"),
            ("for=1.1.1.1;for=2.2.2.2", "10.0.0.1"),
            ("for=9.9.9.9, by=\"a,for=1.1.1.1\";for=2.2.2.2", "2.2.2.2"),
            ("for=1.1.1.1;by=\", for=\"[2001:db8::1]:80\"", "10.0.0.1"),
            ("for=1.1.1.1;by=\", for=2.2.2.2", "10.0.0.1"),
            ("for=9.9.9.9, by=\"a\\\",for=1.1.1.1\";for=2.2.2.2", "2.2.2.2"),
        ] {
            let both = [("forwarded", forwarded), ("x-forwarded-for", "7.7.7.7")];
            assert_eq!(client(Forwarded, &both), expected, "{forwarded}");
        }
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()).to_canonical()),
        ]
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            values in prop::collection::vec(
                ("(forwarded|x-forwarded-for)", prop::collection::vec(any::<u8>(), 0..200)), 0..5)
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                let name = HeaderName::try_from(name).unwrap();
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(name, value);
                }
            }
            for header in [XForwardedFor, Forwarded] {
                proxies(header).client([10, 0, 0, 1].into(), &headers);
            }
        }

        #[test]
        fn an_address_is_read_as_it_was_written(address in address(), port in any::<u16>()) {
            prop_assert_eq!(node(&address.to_string()), Some(address));
            prop_assert_eq!(node(&SocketAddr::new(address, port).to_string()), Some(address));
            let element = format!("for=\"{}\"", SocketAddr::new(address, port));
            prop_assert_eq!(forwarded_for(&element), Some(address));
        }

        #[test]
        fn whatever_a_client_makes_up_the_proxys_word_decides(
            made_up in "[ -~]{0,60}",
            other in "[ -~]{0,60}",
            real in any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        ) {
            let proxies = proxies(XForwardedFor);
            prop_assume!(!proxies.trust(real));
            let mut headers = HeaderMap::new();
            headers.append(header::FORWARDED, HeaderValue::from_str(&other).unwrap());
            headers.append(&X_FORWARDED_FOR, HeaderValue::from_str(&made_up).unwrap());
            headers.append(&X_FORWARDED_FOR, HeaderValue::from_str(&real.to_string()).unwrap());
            prop_assert_eq!(proxies.client([10, 0, 0, 1].into(), &headers), real);
        }
    }
}
