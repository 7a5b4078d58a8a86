//! A client of a publisher: the HTTP daemon that stores blobs.

mod answer;
mod error;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};

pub use self::{
    answer::{Stored, StoredPatch, StoredQuilt},
    error::PublisherError,
};
use crate::{BaseUrl, HttpClient, http::error_text};

/// One publisher. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    http: HttpClient,
    base: BaseUrl,
}

/// For how long and how a blob is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Epochs, up to 53; the publisher's default is 1.
    pub epochs: Option<u32>,
    /// Whether nobody may delete it.
    pub permanent: bool,
    /// A Sui address to give the object to.
    pub send_object_to: Option<String>,
}

/// A file to be stored in a quilt.
#[derive(Debug, Clone)]
pub struct QuiltPart {
    /// Its name.
    pub identifier: String,
    /// Its content.
    pub content: Bytes,
    /// Its labels.
    pub tags: BTreeMap<String, String>,
}

/// Bytes of an answer that are read: a quilt of 666 files takes some 100 kB.
const MAX_ANSWER: usize = 4 << 20;

impl Publisher {
    /// The publisher at this URL.
    pub fn new(http: HttpClient, base: BaseUrl) -> Self {
        Self { http, base }
    }

    /// Asks whether anybody is there, by HEAD of its root: any status will do.
    ///
    /// # Errors
    /// [`PublisherError::Connect`].
    pub async fn presence(&self) -> Result<StatusCode, PublisherError> {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.method_mut() = Method::HEAD;
        *request.uri_mut() = self.base.join("/");
        let response = self.http.send(request).await.map_err(PublisherError::from_send)?;
        Ok(response.status())
    }

    /// Stores a blob.
    ///
    /// # Errors
    /// [`PublisherError`].
    pub async fn store(
        &self,
        blob: Bytes,
        options: StoreOptions,
    ) -> Result<Stored, PublisherError> {
        let media = HeaderValue::from_static("application/octet-stream");
        let answer = self.put("/v1/blobs", &options, media, blob).await?;
        answer::stored(&answer)
    }

    /// Stores files together as a quilt.
    ///
    /// # Errors
    /// [`PublisherError`].
    pub async fn store_quilt(
        &self,
        parts: Vec<QuiltPart>,
        options: StoreOptions,
    ) -> Result<StoredQuilt, PublisherError> {
        let boundary = boundary();
        let body = form(&boundary, &parts)?;
        let media = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
            .expect("a boundary is visible ASCII");
        let answer = self.put("/v1/quilts", &options, media, body).await?;
        answer::stored_quilt(&answer)
    }

    async fn put(
        &self,
        path: &str,
        options: &StoreOptions,
        media: HeaderValue,
        body: Bytes,
    ) -> Result<Bytes, PublisherError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = self.base.join(&format!("{path}{}", query(options)));
        request.headers_mut().insert(header::CONTENT_TYPE, media);
        let response = self.http.send(request).await.map_err(PublisherError::from_send)?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(PublisherError::from_parts(head.status, &error_text(body).await));
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        Ok(body
            .map_err(|_| PublisherError::Answer { why: "it breaks off or has no end" })?
            .to_bytes())
    }
}

fn query(options: &StoreOptions) -> String {
    let encoded = |text: &String| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let parameters = [
        options.epochs.map(|epochs| format!("epochs={epochs}")),
        options.permanent.then(|| "permanent=true".to_owned()),
        options.send_object_to.as_ref().map(|to| format!("send_object_to={}", encoded(to))),
    ];
    let parameters: Vec<String> = parameters.into_iter().flatten().collect();
    if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) }
}

/// A boundary that no honest file has in it, different each time.
fn boundary() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("wcdn-{since:032x}-{:016x}", COUNT.fetch_add(1, Relaxed))
}

/// The field that holds tags instead of a file.
const METADATA: &str = "_metadata";

/// The files as a form. The publisher takes the field name for the file's name, and tags from a
/// field of their own.
fn form(boundary: &str, parts: &[QuiltPart]) -> Result<Bytes, PublisherError> {
    let mut body = BytesMut::new();
    for part in parts {
        let name = field_name(&part.identifier)?;
        field(&mut body, boundary, &name, &part.content);
    }
    let metadata: Vec<_> = parts
        .iter()
        .filter(|part| !part.tags.is_empty())
        .map(|part| serde_json::json!({"identifier": part.identifier, "tags": part.tags}))
        .collect();
    if !metadata.is_empty() {
        let metadata = serde_json::Value::from(metadata).to_string();
        field(&mut body, boundary, METADATA, metadata.as_bytes());
    }
    body.put(format!("--{boundary}--\r\n").as_bytes());
    Ok(body.freeze())
}

/// A file's name as the name of a field.
///
/// The publisher undoes `\"` and nothing else, neither `%22` nor `\\`: so what browsers do with
/// quotes (HTML §4.10.21.8) would give the file another name, and a backslash at the end would eat
/// the quote behind it.
fn field_name(identifier: &str) -> Result<String, PublisherError> {
    let rule = if identifier == METADATA {
        "the publisher takes it for the tags"
    } else if identifier.ends_with('\\') {
        "a form cannot carry a backslash at the end of a name"
    } else if identifier.contains(char::is_control) {
        "it has control characters"
    } else {
        return Ok(identifier.replace('"', "\\\""));
    };
    Err(PublisherError::Identifier { identifier: identifier.chars().take(200).collect(), rule })
}

fn field(body: &mut BytesMut, boundary: &str, name: &str, content: &[u8]) {
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    body.put(head.as_bytes());
    body.put(content);
    body.put(&b"\r\n"[..]);
}

#[cfg(test)]
mod tests;
