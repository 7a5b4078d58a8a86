//! Something to look at: a blob and a quilt, stored through the publisher as a user would.

use std::collections::BTreeMap;

use anyhow::Context;
use bytes::Bytes;
use wcdn_proto::BlobId;
use wcdn_walrus::{
    BaseUrl, Encoding, HttpClient, HttpOptions, Publisher, QuiltPart, StoreOptions, blob_id,
};

/// What was stored.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// A text.
    pub blob: BlobId,
    /// Three small files.
    pub quilt: BlobId,
    /// The name of one of them.
    pub file: &'static str,
}

const TEXT: &str = "Hello from Walrus.\n\
    This blob was stored through a publisher and is served by every region from its own memory.\n\
    Its id is computed from these bytes, so no edge can be made to serve others under it.\n";

const PICTURE: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 80">
<rect width="120" height="80" fill="#0b7285"/><ellipse cx="60" cy="46" rx="30" ry="24" fill="#8d6e63"/>
<circle cx="50" cy="38" r="3"/><circle cx="70" cy="38" r="3"/>
<path d="M54 50l-3 18M66 50l3 18" stroke="#fff" stroke-width="4" stroke-linecap="round"/></svg>
"##;

/// The id of the demo blob, before it is stored.
///
/// # Errors
/// Never: a short text can be encoded.
pub fn demo_blob(encoding: Encoding) -> anyhow::Result<BlobId> {
    Ok(blob_id(encoding, &[Bytes::from_static(TEXT.as_bytes())])?)
}

/// Stores the demo blob and the demo quilt.
///
/// # Errors
/// When the publisher refuses.
pub async fn through_publisher(publisher: &BaseUrl) -> anyhow::Result<Seeded> {
    let publisher = Publisher::new(HttpClient::new(HttpOptions::default()), publisher.clone());
    let part = |identifier: &str, content: &'static str, media: &str| QuiltPart {
        identifier: identifier.to_owned(),
        content: Bytes::from_static(content.as_bytes()),
        tags: BTreeMap::from([("content-type".to_owned(), media.to_owned())]),
    };
    let parts = vec![
        part("hello.txt", "Hello from a quilt.\n", "text/plain"),
        part("walrus.svg", PICTURE, "image/svg+xml"),
        part("about.json", "{\"files\":3,\"in\":\"one quilt\"}\n", "application/json"),
    ];
    let (blob, quilt) = tokio::join!(
        publisher.store(Bytes::from_static(TEXT.as_bytes()), StoreOptions::default()),
        publisher.store_quilt(parts, StoreOptions::default()),
    );
    Ok(Seeded {
        blob: blob.context("cannot store the demo blob")?.blob_id(),
        quilt: quilt.context("cannot store the demo quilt")?.blob_id(),
        file: "hello.txt",
    })
}
