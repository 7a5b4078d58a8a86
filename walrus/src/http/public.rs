//! Which addresses belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one that anybody may be asked to connect to: not of a private network, of this
/// machine, of a cloud's own services, or one that stands for such an address (RFC 6890 and the
/// registries that go with it).
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let is_special = match ip.octets() {
        // "This network", and 240/4 with the broadcast address.
        [0 | 240..=255, ..] => true,
        // Between providers and their customers.
        [100, 64..=127, ..] => true,
        // Assigned to protocols; benchmarks; relays from IPv6.
        [192, 0, 0, _] | [198, 18..=19, ..] | [192, 88, 99, _] => true,
        _ => false,
    };
    !(is_special
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast())
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    match [a, b] {
        // An IPv4 address in another form: NAT64, and 6to4.
        [0x64, 0xff9b] if [c, d, e, f] == [0; 4] => is_public_v4(embedded(g, h)),
        [0x2002, _] => is_public_v4(embedded(b, c)),
        // Protocols (Teredo among them), documentation.
        [0x2001, 0..=0x1ff | 0xdb8] | [0x3fff, 0..=0xfff] => false,
        // Only 2000::/3 is given out.
        _ => a & 0xe000 == 0x2000,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn what_leads_inside_is_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!public(text), "{text}");
        }
    }

    #[test]
    fn what_the_internet_has_is_public() {
        for text in [
            "1.1.1.1",
            "67.220.194.10",
            "100.128.0.1",
            "172.32.0.1",
            "192.1.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::101:101",
            "2002:101:101::",
            "2001:4860::1",
        ] {
            assert!(public(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_in_another_form_is_as_public_as_it_is_itself(bytes: [u8; 4]) {
            let v4 = Ipv4Addr::from(bytes);
            let [a, b, c, d] = bytes.map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low);
            let six_to_four = Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1);
            prop_assert_eq!(is_public(nat64.into()), is_public(v4.into()));
            prop_assert_eq!(is_public(six_to_four.into()), is_public(v4.into()));
            prop_assert!(!is_public(v4.to_ipv6_mapped().into()));
        }
    }
}
