//! The form in which the files of a quilt come.

use std::collections::BTreeMap;

use axum::{
    extract::{DefaultBodyLimit, FromRequest, Multipart, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use wcdn_walrus::quilt::{NewPatch, Tags};

use super::answer::malformed;

/// The field that holds tags instead of a file.
const METADATA: &str = "_metadata";

#[derive(Debug, Deserialize)]
struct FileTags {
    identifier: String,
    #[serde(default)]
    tags: BTreeMap<String, Value>,
}

/// Reads the files and their tags. A field's name is the name of the file; a file name is ignored.
pub(super) async fn read(
    mut request: Request,
    limit: usize,
) -> Result<Vec<NewPatch>, Box<Response>> {
    DefaultBodyLimit::max(limit).apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|rejection| Box::new(rejection.into_response()))?;
    let refuse = |why: &str| Box::new(malformed("MALFORMED_REQUEST", why));
    let (mut files, mut tags) = (Vec::<(String, Bytes)>::new(), Vec::new());
    while let Some(field) =
        form.next_field().await.map_err(|error| Box::new(error.into_response()))?
    {
        let name = field.name().unwrap_or_default().to_owned();
        let content = field.bytes().await.map_err(|error| Box::new(error.into_response()))?;
        if name == METADATA {
            tags = serde_json::from_slice(&content)
                .map_err(|error| refuse(&format!("invalid metadata: {error}")))?;
        } else {
            files.push((name, content));
        }
    }
    let mut by_name = BTreeMap::new();
    for FileTags { identifier, tags } in tags {
        if by_name.insert(identifier, as_text(tags)).is_some() {
            return Err(refuse("duplicate identifier in the metadata"));
        }
    }
    let files = files.into_iter().map(|(identifier, data)| {
        let tags = by_name.get(&identifier).cloned().unwrap_or_default();
        NewPatch { identifier, tags, data }
    });
    Ok(files.collect())
}

/// Values that are no strings are written as JSON.
fn as_text(tags: BTreeMap<String, Value>) -> Tags {
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    tags.into_iter().map(|(name, value)| (name, text(value))).collect()
}
