//! The domain types every WCDN program shares: parsed once at the boundary, then never a string again.
//!
//! - [`BlobId`], [`QuiltPatchId`], [`ObjectId`]: what Walrus calls things
//! - [`Region`], [`NodeId`], [`OriginName`]: where things are
//! - [`Position`]: how far in the event log a node has applied
//! - [`ByteSize`], [`Span`]: sizes and durations as people write them (`"2 GiB"`, `"30s"`)

mod blob;
mod name;
mod object;
mod patch;
mod position;
mod size;
mod span;
mod text;

pub use blob::{BlobId, InvalidBlobId};
pub use name::{InvalidName, NodeId, OriginName, Region};
pub use object::{InvalidObjectId, ObjectId};
pub use patch::{InvalidPatchId, QuiltPatchId};
pub use position::Position;
pub use size::{ByteSize, InvalidByteSize};
pub use span::{InvalidSpan, Span};
