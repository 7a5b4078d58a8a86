//! Putting files together into a quilt.

use bytes::Bytes;

use super::{
    HAS_TAGS, INDEX_PREFIX, MAX_INDEX_COLUMNS, PATCH_HEADER, QuiltIndex, QuiltPatch, Tags, VERSION,
    bcs::{put_length, put_map, put_string},
};
use crate::Encoding;

/// A file to be put into a quilt.
#[derive(Debug, Clone)]
pub struct NewPatch {
    /// Its name: not empty, no control characters, no blank at its end.
    pub identifier: String,
    /// Its labels.
    pub tags: Tags,
    /// Its content.
    pub data: Bytes,
}

/// A quilt, ready to be stored.
#[derive(Debug, Clone)]
pub struct BuiltQuilt {
    /// The blob.
    pub blob: Bytes,
    /// Where its files are.
    pub index: QuiltIndex,
}

/// Why files make no quilt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// There are none.
    #[error("a quilt needs at least one file")]
    Empty,
    /// More files than columns.
    #[error("a quilt holds at most {most} files, not {count}")]
    TooMany {
        /// Files given.
        count: usize,
        /// Files that fit.
        most: usize,
    },
    /// A name that is not allowed.
    #[error("{identifier:?} cannot name a file of a quilt: {rule}")]
    Identifier {
        /// The name.
        identifier: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// Two files of one name.
    #[error("{identifier:?} names two files")]
    Duplicate {
        /// The name.
        identifier: String,
    },
    /// Tags of more bytes than their length field can tell.
    #[error("the tags of {identifier:?} are too long")]
    Tags {
        /// Whose tags.
        identifier: String,
    },
    /// More bytes than the largest quilt holds.
    #[error("the files are too large for one quilt")]
    TooLarge,
}

/// Puts files together into a quilt, by identifier.
///
/// # Errors
/// [`BuildError`] names the file at fault.
pub fn build(encoding: Encoding, mut files: Vec<NewPatch>) -> Result<BuiltQuilt, BuildError> {
    let columns = usize::from(encoding.columns());
    if files.is_empty() {
        return Err(BuildError::Empty);
    }
    if files.len() >= columns {
        return Err(BuildError::TooMany { count: files.len(), most: columns - 1 });
    }
    files.sort_by(|one, other| one.identifier.cmp(&other.identifier));
    check(&files)?;
    let pieces: Vec<Vec<u8>> = files.iter().map(piece).collect::<Result<_, _>>()?;
    let size = symbol_size(encoding, &files, &pieces).ok_or(BuildError::TooLarge)?;
    let column = usize::from(encoding.rows()) * size;
    let (index_bytes, index) = index(&files, &pieces, column).ok_or(BuildError::TooLarge)?;
    let blob = lay_out(encoding, size, &index_bytes, &index, &pieces);
    Ok(BuiltQuilt { blob, index })
}

fn check(files: &[NewPatch]) -> Result<(), BuildError> {
    for NewPatch { identifier, .. } in files {
        let rule = if identifier.is_empty() {
            "it is empty"
        } else if identifier.len() > usize::from(u16::MAX) - 3 {
            "it is too long"
        } else if identifier.ends_with(char::is_whitespace) {
            "it ends with white space"
        } else if identifier.contains(char::is_control) {
            "it has control characters"
        } else {
            continue;
        };
        return Err(BuildError::Identifier { identifier: identifier.clone(), rule });
    }
    match files.windows(2).find(|pair| pair[0].identifier == pair[1].identifier) {
        Some(pair) => Err(BuildError::Duplicate { identifier: pair[0].identifier.clone() }),
        None => Ok(()),
    }
}

/// A file with its header, as it stands in its columns.
fn piece(file: &NewPatch) -> Result<Vec<u8>, BuildError> {
    let mut body = Vec::new();
    let sized = |body: &mut Vec<u8>, bytes: &[u8]| {
        let size = u16::try_from(bytes.len())
            .map_err(|_| BuildError::Tags { identifier: file.identifier.clone() })?;
        body.extend_from_slice(&size.to_le_bytes());
        body.extend_from_slice(bytes);
        Ok(())
    };
    let mut name = Vec::new();
    put_string(&mut name, &file.identifier);
    sized(&mut body, &name)?;
    let mask = if file.tags.is_empty() { 0 } else { HAS_TAGS };
    if mask == HAS_TAGS {
        let mut tags = Vec::new();
        put_map(&mut tags, &file.tags);
        sized(&mut body, &tags)?;
    }
    let length = u32::try_from(body.len() + file.data.len()).map_err(|_| BuildError::TooLarge)?;
    let mut piece = Vec::with_capacity(PATCH_HEADER + body.len() + file.data.len());
    piece.push(VERSION);
    piece.extend_from_slice(&length.to_le_bytes());
    piece.push(mask);
    piece.extend_from_slice(&body);
    piece.extend_from_slice(&file.data);
    Ok(piece)
}

/// The smallest even symbol with which everything fits into the columns.
fn symbol_size(encoding: Encoding, files: &[NewPatch], pieces: &[Vec<u8>]) -> Option<usize> {
    let fits = |half: usize| {
        let column = usize::from(encoding.rows()) * 2 * half;
        index(files, pieces, column).is_some_and(|(_, index)| {
            index.patches.last().is_some_and(|last| last.end <= encoding.columns())
        })
    };
    let (mut low, mut high) = (1, 32_767);
    if !fits(high) {
        return None;
    }
    while low < high {
        let middle = low.midpoint(high);
        if fits(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(2 * low)
}

/// The index for columns of this many bytes, written and read.
fn index(files: &[NewPatch], pieces: &[Vec<u8>], column: usize) -> Option<(Vec<u8>, QuiltIndex)> {
    // The columns' numbers have a fixed width, so the length of the index is known beforehand.
    let length = write_index(files, std::iter::repeat(0)).len();
    let index_columns = (INDEX_PREFIX + length).div_ceil(column);
    if index_columns > MAX_INDEX_COLUMNS {
        return None;
    }
    let mut at = u16::try_from(index_columns).ok()?;
    let mut patches = Vec::with_capacity(files.len());
    for (file, piece) in files.iter().zip(pieces) {
        let start = at;
        at = at.checked_add(u16::try_from(piece.len().div_ceil(column)).ok()?)?;
        let (identifier, tags) = (file.identifier.clone(), file.tags.clone());
        patches.push(QuiltPatch { identifier, start, end: at, tags });
    }
    let bytes = write_index(files, patches.iter().map(|patch| patch.end));
    Some((bytes, QuiltIndex { patches }))
}

fn write_index(files: &[NewPatch], ends: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_length(&mut bytes, files.len());
    for (file, end) in files.iter().zip(ends) {
        bytes.extend_from_slice(&end.to_le_bytes());
        put_string(&mut bytes, &file.identifier);
        put_map(&mut bytes, &file.tags);
    }
    bytes
}

fn lay_out(
    encoding: Encoding,
    size: usize,
    index_bytes: &[u8],
    index: &QuiltIndex,
    pieces: &[Vec<u8>],
) -> Bytes {
    let (rows, columns) = (usize::from(encoding.rows()), usize::from(encoding.columns()));
    let mut blob = vec![0; rows * columns * size];
    let mut put = |column: usize, bytes: &[u8]| {
        for (n, symbol) in bytes.chunks(size).enumerate() {
            let (row, column) = (n % rows, column + n / rows);
            let at = (row * columns + column) * size;
            blob[at..at + symbol.len()].copy_from_slice(symbol);
        }
    };
    let length = u32::try_from(index_bytes.len()).expect("an index fits ten columns");
    put(0, &[&[VERSION], &length.to_le_bytes()[..], index_bytes].concat());
    for (patch, piece) in index.patches.iter().zip(pieces) {
        put(usize::from(patch.start), piece);
    }
    blob.into()
}
