//! Which protocol a connection speaks, told from its first bytes.

/// How a viewer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1, or something that will be refused as such.
    Http1,
    /// HTTP/2, as agreed in the handshake or with prior knowledge.
    Http2,
}

/// What every HTTP/2 connection begins with (RFC 9113 §3.4). No HTTP/1 request does: there is no
/// method PRI.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection that begins with `bytes`; `None` where more must be seen.
pub(super) fn protocol(bytes: &[u8]) -> Option<Protocol> {
    if bytes.starts_with(PREFACE) {
        Some(Protocol::Http2)
    } else if PREFACE.starts_with(bytes) {
        None
    } else {
        Some(Protocol::Http1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_byte_that_differs_decides(
            same in 0usize..24,
            rest in prop::collection::vec(any::<u8>(), 1..50),
        ) {
            let bytes = [&PREFACE[..same], &rest].concat();
            let expected = match bytes.iter().zip(PREFACE).all(|(a, b)| a == b) {
                true if bytes.len() < PREFACE.len() => None,
                true => Some(Protocol::Http2),
                false => Some(Protocol::Http1),
            };
            prop_assert_eq!(protocol(&bytes), expected);
        }
    }

    #[test]
    fn the_preface_is_waited_for_to_its_last_byte() {
        assert!((0..24).all(|cut| protocol(&PREFACE[..cut]).is_none()));
        assert_eq!(protocol(PREFACE), Some(Protocol::Http2));
        assert_eq!(protocol(b"POST / HTTP/1.1\r\n"), Some(Protocol::Http1));
    }
}
