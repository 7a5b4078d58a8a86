//! The little of BCS that quilts use: lengths, strings, and maps of strings.

use super::Tags;

/// Reads values off the front of bytes; `None` at the first that is malformed.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A ULEB128 number below 2³².
    pub(super) fn length(&mut self) -> Option<usize> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let is_shortest = byte != 0 || shift == 0;
                return usize::try_from(u32::try_from(value).ok()?).ok().filter(|_| is_shortest);
            }
        }
        None
    }

    pub(super) fn string(&mut self) -> Option<String> {
        let length = self.length()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    pub(super) fn map(&mut self) -> Option<Tags> {
        let count = self.length()?;
        let mut map = Tags::new();
        // Every pair takes two bytes at least, so a count that lies ends soon.
        for _ in 0..count {
            if map.insert(self.string()?, self.string()?).is_some() {
                return None;
            }
        }
        Some(map)
    }

    /// A value in so many bytes as the u16 before it says, and no fewer.
    pub(super) fn sized<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let size = usize::from(self.u16()?);
        let mut inner = Self::new(self.take(size)?);
        let value = read(&mut inner)?;
        inner.is_at_end().then_some(value)
    }
}

pub(super) fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).expect("seven bits"));
}

pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Maps stand in the order of their keys' bytes as written, length first.
pub(super) fn put_map(out: &mut Vec<u8>, map: &Tags) {
    put_length(out, map.len());
    let mut pairs: Vec<(Vec<u8>, &String)> = map
        .iter()
        .map(|(key, value)| {
            let mut written = Vec::new();
            put_string(&mut written, key);
            (written, value)
        })
        .collect();
    pairs.sort();
    for (key, value) in pairs {
        out.extend_from_slice(&key);
        put_string(out, value);
    }
}
