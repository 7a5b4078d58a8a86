//! The domain types every WCDN program shares: parsed once at the boundary, then never a string again.
//!
//! - [`BlobId`], [`QuiltPatchId`], [`ObjectId`]: what Walrus calls things
//! - [`Region`], [`NodeId`], [`OriginName`]: where things are
//! - [`Position`]: how far in the event log a node has applied
//! - [`ContentId`], [`Change`], [`Event`]: what becomes true everywhere
//! - [`Scope`], [`KeyState`]: what API keys may do, and what nodes know of them
//! - [`audit`]: who did what, as a chain
//! - [`removal_slot`]: where an id stands in the table of removals
//! - [`head_class`]: how long origins let nodes wait, so that it can be added up
//! - [`ByteSize`], [`Span`]: sizes and durations as people write them (`"2 GiB"`, `"30s"`)
//! - [`pb`]: the gRPC services, and what travels

pub mod audit;
mod blob;
mod content;
mod event;
mod heads;
mod key;
mod name;
mod object;
mod patch;
pub mod pb;
mod position;
mod scope;
mod size;
mod slot;
mod span;
mod text;

pub use blob::{BlobId, InvalidBlobId};
pub use content::{ContentId, InvalidContentId, MAX_BLOCKS, MAX_PINS};
pub use event::{Change, Event, Events, InvalidEvents, Purge};
pub use heads::{HEAD_BOUNDS_MS, HEAD_CLASSES, head_class, head_quantile_ms};
pub use key::{InvalidKey, InvalidKeyId, KeyId, KeySecret, KeyState};
pub use name::{InvalidName, NodeId, OriginName, Region};
pub use object::{InvalidObjectId, ObjectId};
pub use patch::{InvalidPatchId, QuiltPatchId};
pub use position::Position;
pub use scope::{InvalidScope, Scope, Scopes};
pub use size::{ByteSize, InvalidByteSize};
pub use slot::{REMOVAL_SLOTS, removal_slot};
pub use span::{InvalidSpan, Span};
