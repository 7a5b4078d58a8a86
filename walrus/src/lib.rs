//! What Walrus is: how its blobs are named and checked, how quilts hold files, and how its
//! aggregators and publishers are spoken to.
//!
//! - [`blob_id`], [`SliverHashes`]: the name of a blob, computed from its bytes
//! - [`quilt`]: many small files in one blob
//! - [`Aggregator`], [`Publisher`]: the HTTP interfaces, with an error for each of their answers
//! - [`Network`], [`Operators`]: the public networks and who runs aggregators and publishers
//!
//! No caching of blobs, no policy: no timeout but those of names and connections, no retry but
//! that of a request which met a connection being closed.

mod aggregator;
mod base_url;
mod blob_id;
mod encoding;
mod http;
mod merkle;
mod networks;
mod operators;
mod publisher;
pub mod quilt;
mod rope;
mod sliver_hashes;

pub use aggregator::{
    Aggregator, AggregatorError, BlobResponse, BodyError, InvalidAnswer, ResolvedObject,
};
pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use blob_id::blob_id;
pub use encoding::{BlobTooLarge, Encoding, InvalidShards};
pub use http::{
    HttpClient, HttpOptions,
    dns::{DnsOptions, Resolver, Unresolved},
    outage::Outage,
    public::is_public,
};
pub use networks::{KNOWN_LIVE_BLOB, Network, NetworkOperator};
pub use operators::{InvalidOperators, MAX_OPERATORS_DOCUMENT, Operators, OperatorsError};
pub use publisher::{
    Publisher, PublisherError, QuiltPart, StoreOptions, Stored, StoredPatch, StoredQuilt,
};
pub use sliver_hashes::{InvalidMetadata, RowMismatch, SliverHashes};
pub use wcdn_proto::{BlobId, ObjectId, QuiltPatchId};
