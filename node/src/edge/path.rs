//! What a path asks for.

use std::ops::Range;

use percent_encoding::percent_decode_str;
use wcdn_proto::{BlobId, InvalidBlobId, InvalidObjectId, InvalidPatchId, ObjectId, QuiltPatchId};

/// Whose clients use a path, which decides the shape of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Ours.
    Cdn,
    /// Those of an aggregator.
    Aggregator,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A blob.
    Blob(BlobId),
    /// A part of a blob, told in the query and answered with 200.
    ByteRange(BlobId),
    /// The blob of a Sui object.
    Object(ObjectId),
    /// A file of a quilt, by its columns.
    Patch(QuiltPatchId),
    /// A file of a quilt, by its name.
    QuiltFile {
        /// The quilt.
        quilt: BlobId,
        /// The name, decoded.
        identifier: String,
    },
    /// The list of files of a quilt.
    QuiltPatches(BlobId),
    /// Whether the edge is alive.
    Status,
}

/// Why a path asks for nothing that is here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No such path.
    #[error("there is nothing at this path")]
    Unknown,
    /// An aggregator has it, an edge has not.
    #[error("an edge does not offer this route")]
    NotOffered,
    /// A blob id is malformed.
    #[error(transparent)]
    BlobId(#[from] InvalidBlobId),
    /// A quilt patch id is malformed.
    #[error(transparent)]
    PatchId(#[from] InvalidPatchId),
    /// An object id is malformed.
    #[error(transparent)]
    ObjectId(#[from] InvalidObjectId),
    /// A file's name is malformed.
    #[error("the file's name {0}")]
    Identifier(&'static str),
}

/// A name in a quilt has a length of 16 bits.
const MAX_IDENTIFIER: usize = 65_535;

impl Family {
    /// The family of a path.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/v1") { Self::Aggregator } else { Self::Cdn }
    }
}

/// Tells what a path asks for. Ids are told apart by their length, so nothing is tried twice.
///
/// # Errors
/// [`PathError`].
pub fn parse(path: &str) -> Result<Target, PathError> {
    if let Some(rest) = path.strip_prefix("/cdn/") {
        return cdn(rest);
    }
    if let Some(rest) = path.strip_prefix("/v1/blobs/") {
        return aggregator_blob(rest);
    }
    if let Some(rest) = path.strip_prefix("/v1/quilts/") {
        let quilt = rest.strip_suffix("/patches").ok_or(PathError::Unknown)?;
        return Ok(Target::QuiltPatches(quilt.parse()?));
    }
    match path {
        "/status" => Ok(Target::Status),
        _ if path.starts_with("/v1alpha/") => Err(PathError::NotOffered),
        _ => Err(PathError::Unknown),
    }
}

/// `{blob}`, `{patch}`, or `{quilt}/{name}`, where the name may have slashes of its own.
fn cdn(rest: &str) -> Result<Target, PathError> {
    match rest.split_once('/') {
        None if rest.len() == QuiltPatchId::TEXT_LEN => Ok(Target::Patch(rest.parse()?)),
        None => Ok(Target::Blob(rest.parse()?)),
        Some((_, "")) => Err(PathError::Unknown),
        Some((quilt, name)) => file(quilt, name),
    }
}

fn aggregator_blob(rest: &str) -> Result<Target, PathError> {
    match rest.split_once('/') {
        None => Ok(Target::Blob(rest.parse()?)),
        Some(("by-object-id", object)) => Ok(Target::Object(object.parse()?)),
        Some(("by-quilt-patch-id", patch)) => Ok(Target::Patch(patch.parse()?)),
        Some(("by-quilt-id", rest)) => match rest.split_once('/') {
            // As on an aggregator, slashes of a name are percent-encoded here.
            Some((quilt, name)) if !name.is_empty() && !name.contains('/') => file(quilt, name),
            _ => Err(PathError::Unknown),
        },
        Some((blob, "byte-range")) => Ok(Target::ByteRange(blob.parse()?)),
        Some(_) => Err(PathError::Unknown),
    }
}

fn file(quilt: &str, name: &str) -> Result<Target, PathError> {
    let quilt = quilt.parse()?;
    let name = percent_decode_str(name)
        .decode_utf8()
        .map_err(|_| PathError::Identifier("is not UTF-8"))?;
    if name.len() > MAX_IDENTIFIER {
        return Err(PathError::Identifier("is longer than 65,535 bytes"));
    }
    Ok(Target::QuiltFile { quilt, identifier: name.into_owned() })
}

/// Why the query of a byte range request makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is not there.
    #[error("the query lacks {0}; ask with ?start=…&length=…")]
    Missing(&'static str),
    /// It is no number.
    #[error("{0} is no whole number of bytes")]
    Number(&'static str),
    /// The range ends beyond all numbers.
    #[error("start and length exceed 2^64 together")]
    Overflow,
}

/// The bytes that `?start=…&length=…` asks for; other parameters are ignored.
///
/// # Errors
/// [`QueryError`].
pub fn byte_range_query(query: &str) -> Result<Range<u64>, QueryError> {
    let value = |name: &'static str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let text = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next();
        let text = text.ok_or(QueryError::Missing(name))?;
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if is_number { text.parse().ok() } else { None };
        number.ok_or(QueryError::Number(name))
    };
    let (start, length): (u64, u64) = (value("start")?, value("length")?);
    Ok(start..start.checked_add(length).ok_or(QueryError::Overflow)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk";
    const PATCH: &str = "6XUOE-Q5-nAXHRifN6n9nomVDtHZQbGuAkW3PjlBuKoBAQDQAA";

    #[test]
    fn both_families_name_the_same_things() {
        let blob = ID.parse().unwrap();
        let patch = PATCH.parse().unwrap();
        let object = "0x2a".parse().unwrap();
        let file = Target::QuiltFile { quilt: blob, identifier: "a b/c.txt".into() };
        for (path, target) in [
            (format!("/cdn/{ID}"), Target::Blob(blob)),
            (format!("/v1/blobs/{ID}"), Target::Blob(blob)),
            (format!("/cdn/{PATCH}"), Target::Patch(patch)),
            (format!("/v1/blobs/by-quilt-patch-id/{PATCH}"), Target::Patch(patch)),
            (format!("/cdn/{ID}/a%20b/c.txt"), file.clone()),
            (format!("/v1/blobs/by-quilt-id/{ID}/a%20b%2Fc.txt"), file),
            (format!("/v1/blobs/{ID}/byte-range"), Target::ByteRange(blob)),
            ("/v1/blobs/by-object-id/0x2a".into(), Target::Object(object)),
            (format!("/v1/quilts/{ID}/patches"), Target::QuiltPatches(blob)),
            ("/status".into(), Target::Status),
        ] {
            assert_eq!(parse(&path), Ok(target), "{path}");
        }
    }

    #[test]
    fn paths_that_are_almost_right_are_unknown() {
        for path in [
            "/",
            "/cdn",
            "/v1/blobs",
            &format!("/cdn/{ID}/"),
            &format!("/v1/blobs/{ID}/"),
            &format!("/v1/blobs/by-quilt-id/{ID}/"),
            &format!("/v1/blobs/by-quilt-id/{ID}/a/b"),
            &format!("/v1/quilts/{ID}"),
            "/status/",
        ] {
            assert_eq!(parse(path), Err(PathError::Unknown), "{path}");
        }
        assert_eq!(parse("/v1alpha/blobs/concat"), Err(PathError::NotOffered));
    }

    #[test]
    fn malformed_ids_are_told_apart_from_unknown_paths() {
        for path in ["/cdn/", "/cdn/x", "/cdn/favicon.ico", &format!("/v1/blobs/{ID}x")] {
            assert!(matches!(parse(path), Err(PathError::BlobId(_))), "{path}");
        }
        let forged = format!("/cdn/{}", "A".repeat(50));
        assert!(matches!(parse(&forged), Err(PathError::PatchId(_))));
        assert!(matches!(parse("/v1/blobs/by-object-id/7"), Err(PathError::ObjectId(_))));
        let name = format!("/cdn/{ID}/%ff");
        assert!(matches!(parse(&name), Err(PathError::Identifier(_))));
        let long = format!("/cdn/{ID}/{}", "x".repeat(65_536));
        assert!(matches!(parse(&long), Err(PathError::Identifier(_))));
    }

    #[test]
    fn byte_ranges_are_start_and_length() {
        assert_eq!(byte_range_query("start=5&length=10"), Ok(5..15));
        assert_eq!(byte_range_query("cb=1&length=0&start=7"), Ok(7..7));
        assert_eq!(byte_range_query("start=1"), Err(QueryError::Missing("length")));
        assert_eq!(byte_range_query("start=-1&length=2"), Err(QueryError::Number("start")));
        assert_eq!(byte_range_query("start=&length=2"), Err(QueryError::Number("start")));
        let most = u64::MAX;
        let query = format!("start={most}&length=1");
        assert_eq!(byte_range_query(&query), Err(QueryError::Overflow));
    }

    proptest! {
        #[test]
        fn no_path_or_query_makes_the_parsers_panic(path in "/(cdn|v1/blobs|v1/quilts)?/\\PC{0,80}") {
            let _parsed = parse(&path).is_ok();
            let _parsed = byte_range_query(&path).is_ok();
        }

        #[test]
        fn a_name_reaches_its_file_however_it_is_encoded(name in "\\PC{1,20}") {
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            for path in [format!("/cdn/{ID}/{encoded}"), format!("/v1/blobs/by-quilt-id/{ID}/{encoded}")] {
                let expected = Target::QuiltFile { quilt: ID.parse().unwrap(), identifier: name.clone() };
                prop_assert_eq!(parse(&path), Ok(expected));
            }
        }
    }
}
