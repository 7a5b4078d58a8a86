//! What callers are told apart by.

use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 address, or the IPv6 network of 64 bits that one customer of a provider has at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Customer {
    /// An address.
    V4(Ipv4Addr),
    /// The beginning of many addresses.
    V6([u8; 8]),
}

impl From<IpAddr> for Customer {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}
