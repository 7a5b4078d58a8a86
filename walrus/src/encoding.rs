//! The shape of a blob's code: how many rows, columns and bytes a symbol.

/// The parameters of Walrus's two-dimensional Reed–Solomon code (encoding type RS2) for a number
/// of shards.
///
/// A blob is cut into a matrix of `rows × columns` symbols, row by row, padded with zeros; rows
/// and columns are then extended to `n_shards` symbols each. With f = ⌊(n−1)/3⌋ faulty shards
/// tolerated, rows = n − 2f and columns = n − f.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    n_shards: u16,
}

/// A number of shards that makes no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is {0}; a code needs at least {LEAST_SHARDS} shards")]
pub struct InvalidShards(u16);

/// A blob longer than the code can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a blob of {length} bytes is longer than the {most} that {n_shards} shards encode")]
pub struct BlobTooLarge {
    /// Bytes of the blob.
    pub length: u64,
    /// The most bytes.
    pub most: u64,
    /// The number of shards.
    pub n_shards: u16,
}

/// Below it no shard may fail, and with one shard there is nothing to recover.
const LEAST_SHARDS: u16 = 4;

/// The largest symbol: symbols have an even number of bytes that fits 16 bits.
const LARGEST_SYMBOL: u16 = 65_534;

impl Encoding {
    /// The public networks: mainnet and testnet have 1000 shards.
    pub const PUBLIC: Self = Self { n_shards: 1000 };

    /// The code for this many shards.
    ///
    /// # Errors
    /// [`InvalidShards`] below four.
    pub fn new(n_shards: u16) -> Result<Self, InvalidShards> {
        if n_shards < LEAST_SHARDS { Err(InvalidShards(n_shards)) } else { Ok(Self { n_shards }) }
    }

    /// Shards; also the symbols of an extended row or column.
    pub const fn n_shards(self) -> u16 {
        self.n_shards
    }

    const fn faulty(self) -> u16 {
        (self.n_shards - 1) / 3
    }

    /// Rows of the source matrix.
    pub const fn rows(self) -> u16 {
        self.n_shards - 2 * self.faulty()
    }

    /// Columns of the source matrix.
    pub const fn columns(self) -> u16 {
        self.n_shards - self.faulty()
    }

    /// Symbols of the source matrix.
    pub const fn symbols(self) -> u64 {
        self.rows() as u64 * self.columns() as u64
    }

    /// The longest blob.
    pub const fn max_blob_len(self) -> u64 {
        self.symbols() * LARGEST_SYMBOL as u64
    }

    /// Bytes of a symbol in a blob of `length` bytes: even, and at least 2.
    ///
    /// # Errors
    /// [`BlobTooLarge`] when the length needs symbols beyond 65,534 bytes.
    pub fn symbol_size(self, length: u64) -> Result<usize, BlobTooLarge> {
        let size = length.max(1).div_ceil(self.symbols()).next_multiple_of(2);
        if size > u64::from(LARGEST_SYMBOL) {
            let most = self.max_blob_len();
            return Err(BlobTooLarge { length, most, n_shards: self.n_shards });
        }
        Ok(usize::try_from(size).expect("a symbol is at most 65,534 bytes"))
    }

    /// Bytes that all shards together store for a blob of `length` bytes: the symbols of both
    /// slivers of every shard, and the metadata each shard keeps.
    ///
    /// # Errors
    /// [`BlobTooLarge`].
    pub fn encoded_len(self, length: u64) -> Result<u64, BlobTooLarge> {
        let n = u64::from(self.n_shards);
        let slivers = u64::from(self.rows()) + u64::from(self.columns());
        Ok(n * slivers * self.symbol_size(length)? as u64 + n * (64 * n + 32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_follow_from_the_number_of_shards() {
        for (n, rows, columns) in [(1000, 334, 667), (13, 5, 9), (10, 4, 7), (7, 3, 5), (4, 2, 3)] {
            let encoding = Encoding::new(n).unwrap();
            assert_eq!((encoding.rows(), encoding.columns()), (rows, columns), "n = {n}");
        }
    }

    #[test]
    fn symbols_grow_by_two_bytes_at_each_boundary() {
        let size = |length| Encoding::PUBLIC.symbol_size(length).unwrap();
        assert_eq!([size(0), size(1), size(445_556), size(445_557)], [2, 2, 2, 4]);
        assert_eq!(size(14_599_533_452), 65_534);
    }

    #[test]
    fn too_long_a_blob_is_refused_with_the_limit() {
        let error = Encoding::PUBLIC.symbol_size(14_599_533_453).unwrap_err();
        assert_eq!(error.most, 14_599_533_452);
    }

    #[test]
    fn too_few_shards_make_no_code() {
        assert!((0..4).all(|n| Encoding::new(n).is_err()));
    }
}
