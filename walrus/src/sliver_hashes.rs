//! The metadata of a blob: the hash of every sliver, which together give the blob id.
//!
//! As storage nodes send it (BCS):
//!
//! ```text
//! blob id (32) ‖ 0x00 (V1) ‖ 0x01 (RS2) ‖ length u64 LE ‖ ULEB128 n ‖ n × (primary ‖ secondary)
//! each hash: 0x01 ‖ 32 bytes
//! ```

use std::ops::Range;

use bytes::Bytes;
use reed_solomon_simd::ReedSolomonEncoder;
use wcdn_proto::BlobId;

use crate::{
    encoding::{BlobTooLarge, Encoding},
    merkle::{self, Digest, Forest, Nodes},
    rope::Rope,
};

/// The root hash of every row and column of a blob's extended matrix.
///
/// It proves itself: [`SliverHashes::blob_id`] is computed from it. And it lets rows of a blob be
/// checked one by one, without the rest of the blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliverHashes {
    encoding: Encoding,
    length: u64,
    /// Roots of rows, by row.
    primary: Vec<Digest>,
    /// Roots of columns; the one of column c stands at n − 1 − c.
    secondary: Vec<Digest>,
}

/// A row that is not the blob's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("row {row} is not the blob's")]
pub struct RowMismatch {
    /// The row.
    pub row: u16,
}

/// Bytes that are no metadata of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// They are not laid out as metadata is.
    #[error("the metadata is malformed at byte {at}")]
    Malformed {
        /// Where they cease to make sense.
        at: usize,
    },
    /// They hold hashes for another number of shards.
    #[error("the metadata has {found} pairs of hashes; the network has {expected} shards")]
    Shards {
        /// How many they hold.
        found: u64,
        /// How many there should be.
        expected: u16,
    },
    /// They are well formed and give another id.
    #[error("the metadata is of blob {actual}")]
    OtherBlob {
        /// The id that follows from them.
        actual: BlobId,
    },
}

/// The encoding type in ids and metadata.
const RS2: u8 = 1;

impl SliverHashes {
    /// The hashes of a blob given as slices that follow each other.
    ///
    /// # Errors
    /// [`BlobTooLarge`].
    pub fn compute(encoding: Encoding, slices: &[Bytes]) -> Result<Self, BlobTooLarge> {
        let rope = Rope::new(slices);
        let length = rope.len();
        let matrix = Matrix::new(encoding, rope)?;
        let (primary, secondary) = matrix.roots();
        Ok(Self { encoding, length, primary, secondary })
    }

    /// Bytes of the blob.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The root over all pairs of hashes.
    pub fn root(&self) -> [u8; 32] {
        let pairs: Vec<u8> = self
            .primary
            .iter()
            .zip(&self.secondary)
            .flat_map(|(primary, secondary)| [*primary, *secondary].concat())
            .collect();
        merkle::root(&merkle::leaves(&pairs, 64))
    }

    /// The hashes of row i and of column n − 1 − i.
    pub fn pair(&self, i: u16) -> Option<([u8; 32], [u8; 32])> {
        let i = usize::from(i);
        Some((*self.primary.get(i)?, *self.secondary.get(i)?))
    }

    /// The id that follows from the hashes and the length.
    pub fn blob_id(&self) -> BlobId {
        let mut input = [0; 41];
        input[0] = RS2;
        input[1..9].copy_from_slice(&self.length.to_le_bytes());
        input[9..].copy_from_slice(&self.root());
        BlobId::from_bytes(merkle::hash(&input))
    }

    /// Checks all rows of a blob: that its bytes are those its writer committed to.
    ///
    /// # Errors
    /// The first row that differs; row 0 when the length differs.
    pub fn check(&self, slices: &[Bytes]) -> Result<(), RowMismatch> {
        let rope = Rope::new(slices);
        if rope.len() != self.length {
            return Err(RowMismatch { row: 0 });
        }
        self.check_rows(0..self.encoding.rows(), |row, to| {
            rope.read(u64::from(row) * to.len() as u64, to);
        })
    }

    /// Checks the rows that a range of a blob lies in. `rows` are the bytes of those rows, as
    /// [`SliverHashes::rows_of`] tells them, cut off at the end of the blob.
    ///
    /// # Errors
    /// The first row that differs.
    pub fn check_range(&self, range: &Range<u64>, rows: &[Bytes]) -> Result<(), RowMismatch> {
        let covering = self.rows_of(range);
        let row_len = self.row_len() as u64;
        let rope = Rope::new(rows);
        let end = (u64::from(covering.end) * row_len).min(self.length);
        if rope.len() != end.saturating_sub(u64::from(covering.start) * row_len) {
            return Err(RowMismatch { row: covering.start });
        }
        let first = covering.start;
        self.check_rows(covering, |row, to| {
            rope.read(u64::from(row - first) * row_len, to);
        })
    }

    /// The rows that the bytes of `range` lie in.
    pub fn rows_of(&self, range: &Range<u64>) -> Range<u16> {
        let row_len = self.row_len() as u64;
        let clamp = |row: u64| u16::try_from(row).unwrap_or(u16::MAX).min(self.encoding.rows());
        let end = range.end.min(self.length);
        clamp(range.start / row_len)..clamp(end.div_ceil(row_len))
    }

    /// Bytes of a row.
    pub fn row_len(&self) -> usize {
        usize::from(self.encoding.columns()) * self.symbol_size()
    }

    fn symbol_size(&self) -> usize {
        self.encoding.symbol_size(self.length).expect("checked when the hashes were made")
    }

    fn check_rows(
        &self,
        rows: Range<u16>,
        read: impl Fn(u16, &mut [u8]),
    ) -> Result<(), RowMismatch> {
        let size = self.symbol_size();
        let mut coder = Coder::new(self.encoding.columns(), self.encoding.n_shards(), size);
        let mut bytes = vec![0; self.row_len()];
        let mut zero_root = None;
        for row in rows {
            read(row, &mut bytes);
            let mut root = || merkle::root(&merkle::leaves(&coder.extended(&bytes), size));
            let found = if is_zero(&bytes) { *zero_root.get_or_insert_with(root) } else { root() };
            if found != self.primary[usize::from(row)] {
                return Err(RowMismatch { row });
            }
        }
        Ok(())
    }

    /// The metadata as storage nodes send it.
    pub fn to_bcs(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(44 + self.primary.len() * 66);
        out.extend_from_slice(self.blob_id().as_bytes());
        out.extend_from_slice(&[0, RS2]);
        out.extend_from_slice(&self.length.to_le_bytes());
        let mut count = self.primary.len();
        while count >= 0x80 {
            out.push(u8::try_from(count & 0x7f).expect("seven bits") | 0x80);
            count >>= 7;
        }
        out.push(u8::try_from(count).expect("seven bits"));
        for digest in self.primary.iter().zip(&self.secondary).flat_map(|(p, s)| [p, s]) {
            out.push(1);
            out.extend_from_slice(digest);
        }
        out
    }

    /// Reads metadata and proves that it is of blob `id`.
    ///
    /// # Errors
    /// [`InvalidMetadata`].
    pub fn from_bcs(
        encoding: Encoding,
        id: &BlobId,
        bytes: &[u8],
    ) -> Result<Self, InvalidMetadata> {
        let hashes = parse(encoding, bytes)?;
        let actual = hashes.blob_id();
        if actual == *id { Ok(hashes) } else { Err(InvalidMetadata::OtherBlob { actual }) }
    }
}

fn parse(encoding: Encoding, bytes: &[u8]) -> Result<SliverHashes, InvalidMetadata> {
    let mut rest = bytes;
    let total = bytes.len();
    let mut take = |count: usize| {
        let at = total - rest.len();
        let (taken, left) =
            rest.split_at_checked(count).ok_or(InvalidMetadata::Malformed { at })?;
        rest = left;
        Ok((taken, at))
    };
    take(32)?;
    let (kind, at) = take(2)?;
    if kind != [0, RS2] {
        return Err(InvalidMetadata::Malformed { at });
    }
    let (length, at) = take(8)?;
    let length = u64::from_le_bytes(length.try_into().expect("eight bytes were taken"));
    encoding.symbol_size(length).map_err(|_| InvalidMetadata::Malformed { at })?;
    let expected = encoding.n_shards();
    let mut found = 0_u64;
    for shift in [0, 7, 14] {
        let (byte, at) = take(1)?;
        found |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            break;
        }
        if shift == 14 {
            return Err(InvalidMetadata::Malformed { at });
        }
    }
    if found != u64::from(expected) {
        return Err(InvalidMetadata::Shards { found, expected });
    }
    let mut digests = [Vec::new(), Vec::new()];
    for n in 0..2 * usize::from(expected) {
        let (node, at) = take(33)?;
        if node[0] != 1 {
            return Err(InvalidMetadata::Malformed { at });
        }
        digests[n % 2].push(node[1..].try_into().expect("32 bytes are left"));
    }
    if !rest.is_empty() {
        return Err(InvalidMetadata::Malformed { at: total - rest.len() });
    }
    let [primary, secondary] = digests;
    Ok(SliverHashes { encoding, length, primary, secondary })
}

/// A blob laid out in rows and columns of symbols.
struct Matrix<'a> {
    encoding: Encoding,
    rope: Rope<'a>,
    /// Bytes of a symbol.
    size: usize,
}

impl<'a> Matrix<'a> {
    fn new(encoding: Encoding, rope: Rope<'a>) -> Result<Self, BlobTooLarge> {
        let size = encoding.symbol_size(rope.len())?;
        Ok(Self { encoding, rope, size })
    }

    /// The roots of all rows, and of all columns in reverse.
    ///
    /// Column by column: a column's symbols are extended, hashed, and folded into its own tree and
    /// into the trees of all rows. Neither the extended matrix nor its leaf hashes ever exist.
    fn roots(&self) -> (Vec<Digest>, Vec<Digest>) {
        let (n, rows) = (usize::from(self.encoding.n_shards()), usize::from(self.encoding.rows()));
        let recovery = self.recovery_columns();
        let mut coder = Coder::new(self.encoding.rows(), self.encoding.n_shards(), self.size);
        let zero_leaf = merkle::leaves(&vec![0; self.size], self.size)[0];
        let zero_root = merkle::root(&vec![zero_leaf; n]);
        let (mut forest, mut secondary) = (Forest::default(), Vec::with_capacity(n));
        let mut column = vec![0; rows * self.size];
        for c in 0..n {
            self.read_column(c, &recovery, &mut column);
            if is_zero(&column) {
                forest.push(Nodes::Same(zero_leaf));
                secondary.push(zero_root);
            } else {
                let leaves = merkle::leaves(&coder.extended(&column), self.size);
                secondary.push(merkle::root(&leaves));
                forest.push(Nodes::Each(leaves));
            }
        }
        secondary.reverse();
        (forest.roots().each(n), secondary)
    }

    /// The symbols that extend each row, row by row.
    fn recovery_columns(&self) -> Vec<u8> {
        let columns = usize::from(self.encoding.columns());
        let extra = usize::from(self.encoding.n_shards()) - columns;
        let rows = usize::from(self.encoding.rows());
        let mut coder = Coder::new(self.encoding.columns(), self.encoding.n_shards(), self.size);
        let mut recovery = vec![0; rows * extra * self.size];
        let mut row = vec![0; columns * self.size];
        for (r, to) in recovery.chunks_exact_mut(extra * self.size).enumerate() {
            self.rope.read((r * row.len()) as u64, &mut row);
            if !is_zero(&row) {
                to.copy_from_slice(&coder.extended(&row)[row.len()..]);
            }
        }
        recovery
    }

    fn read_column(&self, c: usize, recovery: &[u8], to: &mut [u8]) {
        let (size, columns) = (self.size, usize::from(self.encoding.columns()));
        let extra = usize::from(self.encoding.n_shards()) - columns;
        for (r, symbol) in to.chunks_exact_mut(size).enumerate() {
            if c < columns {
                self.rope.read(((r * columns + c) * size) as u64, symbol);
            } else {
                let at = (r * extra + c - columns) * size;
                symbol.copy_from_slice(&recovery[at..at + size]);
            }
        }
    }
}

/// Extends rows or columns to the number of shards.
struct Coder {
    encoder: ReedSolomonEncoder,
    size: usize,
}

impl Coder {
    fn new(originals: u16, n_shards: u16, size: usize) -> Self {
        let recovery = usize::from(n_shards - originals);
        let encoder = ReedSolomonEncoder::new(usize::from(originals), recovery, size)
            .expect("every encoding has a supported code");
        Self { encoder, size }
    }

    /// The symbols given, followed by those that extend them.
    fn extended(&mut self, symbols: &[u8]) -> Vec<u8> {
        const INVARIANT: &str = "as many symbols as the code was made for";
        let mut extended = symbols.to_vec();
        for symbol in symbols.chunks_exact(self.size) {
            self.encoder.add_original_shard(symbol).expect(INVARIANT);
        }
        let result = self.encoder.encode().expect(INVARIANT);
        result.recovery_iter().for_each(|symbol| extended.extend_from_slice(symbol));
        extended
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
