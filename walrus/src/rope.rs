//! A blob as slices that follow each other, read as if it were one, with zeros behind its end.

use bytes::Bytes;

/// The bytes of a blob.
#[derive(Debug)]
pub(crate) struct Rope<'a> {
    slices: &'a [Bytes],
    /// Where each slice begins; one more for the end.
    starts: Vec<u64>,
}

impl<'a> Rope<'a> {
    pub(crate) fn new(slices: &'a [Bytes]) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        starts.extend(slices.iter().map(|slice| {
            end += slice.len() as u64;
            end
        }));
        Self { slices, starts }
    }

    /// Bytes of the blob.
    pub(crate) fn len(&self) -> u64 {
        *self.starts.last().expect("there is always an end")
    }

    /// Fills `to` from `offset` on; what lies behind the end is zero.
    pub(crate) fn read(&self, offset: u64, to: &mut [u8]) {
        let mut filled = 0;
        let mut index = self.starts.partition_point(|start| *start <= offset) - 1;
        let mut offset = offset;
        while filled < to.len() && index < self.slices.len() {
            let within = usize::try_from(offset - self.starts[index]).expect("within a slice");
            let slice = &self.slices[index][within..];
            let count = slice.len().min(to.len() - filled);
            to[filled..filled + count].copy_from_slice(&slice[..count]);
            filled += count;
            offset += count as u64;
            index += 1;
        }
        to[filled..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reading_pieces_is_reading_the_whole_with_zeros_behind(
            slices in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6),
            offset in 0usize..150,
            length in 0usize..150,
        ) {
            let whole: Vec<u8> = slices.concat();
            let slices: Vec<Bytes> = slices.into_iter().map(Bytes::from).collect();
            let mut read = vec![7; length];
            Rope::new(&slices).read(offset as u64, &mut read);
            let mut expected = whole.get(offset..).unwrap_or_default().to_vec();
            expected.resize(length, 0);
            prop_assert_eq!(read, expected);
        }
    }
}
