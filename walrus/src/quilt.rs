//! Quilts: many small files in one blob.
//!
//! A quilt has the matrix of a blob, but is written column by column, so that a file occupies
//! whole columns:
//!
//! ```text
//! column 0…   0x01 ‖ u32 LE length ‖ BCS index
//! each file   0x01 ‖ u32 LE length of what follows the header ‖ mask (bit 0: has tags)
//!             ‖ u16 LE ‖ BCS name ‖ [u16 LE ‖ BCS tags] ‖ data
//! ```

mod bcs;
mod build;
mod columns;

use std::collections::BTreeMap;

use bytes::Bytes;
use wcdn_proto::{BlobId, QuiltPatchId};

pub use self::build::{BuildError, BuiltQuilt, NewPatch, build};
use self::{bcs::Reader, columns::Columns};
use crate::Encoding;

/// Labels of a file, such as its content type.
pub type Tags = BTreeMap<String, String>;

/// The table of contents of a quilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuiltIndex {
    /// By identifier, as the index has them.
    patches: Vec<QuiltPatch>,
}

/// One file of a quilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuiltPatch {
    /// Its name, unique in the quilt.
    pub identifier: String,
    /// Its first column.
    pub start: u16,
    /// One past its last column.
    pub end: u16,
    /// Its labels.
    pub tags: Tags,
}

/// A file taken out of a quilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Its name.
    pub identifier: String,
    /// Its labels.
    pub tags: Tags,
    /// Its content.
    pub data: Bytes,
}

/// Bytes that are no quilt, or columns that hold no file of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuiltError {
    /// The blob does not have the length that a quilt's matrix has.
    #[error("a blob of {length} bytes has not the shape of a quilt")]
    Shape {
        /// Bytes of the blob.
        length: u64,
    },
    /// A version other than 1.
    #[error("quilt version {0} is unknown")]
    Version(u8),
    /// What should be there is not.
    #[error("the quilt's {what} is malformed")]
    Malformed {
        /// What was being read.
        what: &'static str,
    },
    /// The columns are none of this quilt's.
    #[error("columns {start}..{end} are not in a quilt of {columns}")]
    Columns {
        /// First column.
        start: u16,
        /// One past the last.
        end: u16,
        /// Columns of the quilt.
        columns: u16,
    },
}

/// The only version there is.
const VERSION: u8 = 1;

/// Version and length before the index.
const INDEX_PREFIX: usize = 5;

/// Version, length and mask before a file.
const PATCH_HEADER: usize = 6;

/// In the mask: the file has tags.
const HAS_TAGS: u8 = 1;

/// Columns an index may take.
const MAX_INDEX_COLUMNS: usize = 10;

impl QuiltIndex {
    /// Reads the index of a quilt given as slices that follow each other.
    ///
    /// # Errors
    /// [`QuiltError`] when the blob is no quilt.
    pub fn read(encoding: Encoding, quilt: &[Bytes]) -> Result<Self, QuiltError> {
        let columns = Columns::of(encoding, quilt)?;
        let mut prefix = [0; INDEX_PREFIX];
        columns.read(0, &mut prefix);
        if prefix[0] != VERSION {
            return Err(QuiltError::Version(prefix[0]));
        }
        let malformed = QuiltError::Malformed { what: "index" };
        let length = u32::from_le_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        let length = usize::try_from(length).map_err(|_| malformed.clone())?;
        if length > MAX_INDEX_COLUMNS * columns.len() - INDEX_PREFIX
            || length > columns.total() - INDEX_PREFIX
        {
            return Err(malformed);
        }
        let mut bytes = vec![0; length];
        columns.read(INDEX_PREFIX, &mut bytes);
        let first = (INDEX_PREFIX + length).div_ceil(columns.len());
        let first = u16::try_from(first).map_err(|_| malformed.clone())?;
        let patches = read_patches(&bytes, first, encoding.columns()).ok_or(malformed)?;
        Ok(Self { patches })
    }

    /// Every file, in the order of the index.
    pub fn patches(&self) -> &[QuiltPatch] {
        &self.patches
    }

    /// The file of this name. Readers go by the first one if a hostile index repeats a name.
    pub fn find(&self, identifier: &str) -> Option<&QuiltPatch> {
        self.patches.iter().find(|patch| patch.identifier == identifier)
    }
}

fn read_patches(bytes: &[u8], first: u16, columns: u16) -> Option<Vec<QuiltPatch>> {
    let mut reader = Reader::new(bytes);
    let count = reader.length()?;
    let mut patches = Vec::new();
    let mut start = first;
    // A file takes at least one column, so there are no more of them than columns.
    for _ in 0..count.min(usize::from(columns) + 1) {
        let end = reader.u16()?;
        let (identifier, tags) = (reader.string()?, reader.map()?);
        if end <= start || end > columns {
            return None;
        }
        patches.push(QuiltPatch { identifier, start, end, tags });
        start = end;
    }
    (patches.len() == count && reader.is_at_end()).then_some(patches)
}

impl QuiltPatch {
    /// The id of this file in the quilt `quilt`.
    pub fn id(&self, quilt: BlobId) -> QuiltPatchId {
        QuiltPatchId::new(quilt, self.start, self.end).expect("an index has files in order")
    }
}

/// Takes the file at columns `start..end` out of a quilt, without its index.
///
/// # Errors
/// [`QuiltError`] when the blob is no quilt or there is no file at these columns.
pub fn read_patch(
    encoding: Encoding,
    quilt: &[Bytes],
    start: u16,
    end: u16,
) -> Result<Patch, QuiltError> {
    let columns = Columns::of(encoding, quilt)?;
    if start >= end || end > encoding.columns() {
        return Err(QuiltError::Columns { start, end, columns: encoding.columns() });
    }
    let at = usize::from(start) * columns.len();
    let room = usize::from(end - start) * columns.len();
    let malformed = QuiltError::Malformed { what: "file" };
    if room < PATCH_HEADER {
        return Err(malformed);
    }
    let mut header = [0; PATCH_HEADER];
    columns.read(at, &mut header);
    if header[0] != VERSION {
        return Err(QuiltError::Version(header[0]));
    }
    let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
    let length = usize::try_from(length).map_err(|_| malformed.clone())?;
    if length > room - PATCH_HEADER {
        return Err(malformed);
    }
    let mut bytes = vec![0; length];
    columns.read(at + PATCH_HEADER, &mut bytes);
    parse_patch(bytes.into(), header[5]).ok_or(malformed)
}

fn parse_patch(bytes: Bytes, mask: u8) -> Option<Patch> {
    let mut reader = Reader::new(&bytes);
    let identifier = reader.sized(|inner| inner.string())?;
    let tags = match mask & HAS_TAGS {
        0 => Tags::new(),
        _ => reader.sized(|inner| inner.map())?,
    };
    let data = bytes.slice(reader.position()..);
    Some(Patch { identifier, tags, data })
}

#[cfg(test)]
mod tests;
