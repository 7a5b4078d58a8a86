//! Bytes as text that is easy to select, to dictate and to compare: base 32, lower case.

/// Crockford's digits: no i, l, o, u. They sort as their values do.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Five bits a digit, the last one filled up with zeros.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(digit(held >> bits));
        }
    }
    if bits > 0 {
        text.push(digit(held << (5 - bits)));
    }
    text
}

fn digit(value: u32) -> char {
    char::from(DIGITS[(value & 31) as usize])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_what_others_make_of_the_same_bytes() {
        assert_eq!(encode(b"foobar"), "csqpyrk1e8");
        assert_eq!(encode(b"f"), "cr");
        assert_eq!(encode(b""), "");
    }

    proptest! {
        #[test]
        fn text_sorts_as_its_bytes_do(a: [u8; 15], b: [u8; 15]) {
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
        }
    }
}
