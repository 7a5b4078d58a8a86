//! A quilt read down its columns.

use bytes::Bytes;

use super::QuiltError;
use crate::{Encoding, rope::Rope};

/// The bytes of a quilt in the order of its columns: down the first one, then the next.
pub(super) struct Columns<'a> {
    rope: Rope<'a>,
    rows: usize,
    columns: usize,
    /// Bytes of a symbol.
    size: usize,
}

impl<'a> Columns<'a> {
    /// # Errors
    /// [`QuiltError::Shape`] unless the blob fills its matrix to the last symbol.
    pub(super) fn of(encoding: Encoding, quilt: &'a [Bytes]) -> Result<Self, QuiltError> {
        let rope = Rope::new(quilt);
        let length = rope.len();
        let shape = QuiltError::Shape { length };
        let size = encoding.symbol_size(length).map_err(|_| shape.clone())?;
        if length != encoding.symbols() * size as u64 {
            return Err(shape);
        }
        let (rows, columns) = (usize::from(encoding.rows()), usize::from(encoding.columns()));
        Ok(Self { rope, rows, columns, size })
    }

    /// Bytes of one column.
    pub(super) fn len(&self) -> usize {
        self.rows * self.size
    }

    /// Bytes of all columns.
    pub(super) fn total(&self) -> usize {
        self.columns * self.len()
    }

    /// Fills `to` with the bytes from `at` on, counted down the columns.
    pub(super) fn read(&self, at: usize, to: &mut [u8]) {
        let mut filled = 0;
        while filled < to.len() {
            let (column, within) = ((at + filled) / self.len(), (at + filled) % self.len());
            let (row, byte) = (within / self.size, within % self.size);
            let count = (self.size - byte).min(to.len() - filled);
            let offset = (row * self.columns + column) * self.size + byte;
            self.rope.read(offset as u64, &mut to[filled..filled + count]);
            filled += count;
        }
    }
}
