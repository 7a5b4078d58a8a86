//! What a publisher answers.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequest, Query, Request, State},
    response::{IntoResponse, Response},
    routing::put,
};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use wcdn_walrus::quilt;

use super::{
    Daemon,
    answer::{internal, json_response, malformed},
    form,
    store::{KeepError, Kept},
};

pub(super) fn routes() -> Router<Arc<Daemon>> {
    Router::new().route("/v1/blobs", put(store)).route("/v1/quilts", put(store_quilt))
}

/// The parameters of storing; any other is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Parameters {
    epochs: u32,
    permanent: bool,
    deletable: bool,
    send_object_to: Option<String>,
    share: bool,
    force: bool,
    reuse_resources: bool,
    encoding_type: Option<String>,
    quilt_version: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            epochs: 1,
            permanent: false,
            deletable: false,
            send_object_to: None,
            share: false,
            force: false,
            reuse_resources: false,
            encoding_type: None,
            quilt_version: None,
        }
    }
}

/// Epochs ahead that can be paid for.
const MAX_EPOCHS: u32 = 53;

/// The epoch the stand-in always is in.
const EPOCH: u32 = 34;

impl Parameters {
    fn refusal(&self) -> Option<Response> {
        let persistence = |why| Some(malformed("INVALID_BLOB_PERSISTENCE", why));
        if self.permanent && self.deletable {
            return persistence("cannot be both deletable and permanent");
        }
        if self.share && self.send_object_to.is_some() {
            return Some(malformed("MALFORMED_REQUEST", "cannot both share and send the object"));
        }
        if self.encoding_type.as_deref().is_some_and(|kind| kind != "RS2") {
            return Some(malformed("MALFORMED_REQUEST", "the only encoding type is RS2"));
        }
        (self.epochs == 0 || self.epochs > MAX_EPOCHS)
            .then(|| malformed("MALFORMED_REQUEST", "epochs must be between 1 and 53"))
    }
}

async fn store(
    State(daemon): State<Arc<Daemon>>,
    Query(parameters): Query<Parameters>,
    mut request: Request,
) -> Response {
    if let Some(refusal) = parameters.refusal() {
        return refusal;
    }
    let limit = daemon.faults.lock().max_body.unwrap_or(daemon.max_body);
    DefaultBodyLimit::max(limit).apply(&mut request);
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(rejection) => return rejection.into_response(),
    };
    match keep(&daemon, body, &parameters).await {
        Ok(stored) => json_response(StatusCode::OK, &stored),
        Err(refusal) => *refusal,
    }
}

async fn store_quilt(
    State(daemon): State<Arc<Daemon>>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    if let Some(refusal) = parameters.refusal() {
        return refusal;
    }
    let limit = daemon.faults.lock().max_body.unwrap_or(daemon.max_quilt_body);
    let files = match form::read(request, limit).await {
        Ok(files) => files,
        Err(refusal) => return *refusal,
    };
    let built = match quilt::build(daemon.store.encoding(), files) {
        Ok(built) => built,
        Err(error) => return malformed("MALFORMED_REQUEST", &error.to_string()),
    };
    let kept = match daemon.store.put(built.blob.clone()).await {
        Ok(kept) => kept,
        Err(error) => return failed(&error),
    };
    let files: BTreeMap<&str, Value> = built
        .index
        .patches()
        .iter()
        .map(|patch| {
            let id = patch.id(kept.id).to_string();
            let name = patch.identifier.as_str();
            (name, json!({"identifier": name, "quiltPatchId": id}))
        })
        .collect();
    let stored = result(&daemon, &kept, built.blob.len(), &parameters);
    let files: Vec<Value> = files.into_values().collect();
    let answer = json!({"blobStoreResult": stored, "storedQuiltBlobs": files});
    json_response(StatusCode::OK, &answer)
}

async fn keep(
    daemon: &Daemon,
    body: Bytes,
    parameters: &Parameters,
) -> Result<Value, Box<Response>> {
    let length = body.len();
    let kept = daemon.store.put(body).await.map_err(|error| Box::new(failed(&error)))?;
    Ok(result(daemon, &kept, length, parameters))
}

fn failed(error: &KeepError) -> Response {
    tracing::warn!(error = error as &dyn std::error::Error, "the stand-in cannot store a blob");
    internal()
}

/// The JSON of a stored blob.
fn result(daemon: &Daemon, kept: &Kept, length: usize, parameters: &Parameters) -> Value {
    let end = EPOCH + parameters.epochs;
    let id = kept.id.to_string();
    if kept.is_old && !parameters.force {
        let event =
            json!({"txDigest": "4XQHFa9S324wTzYHF3vsBSwpUZuLpmwTHYMFv9nsttSs", "eventSeq": "0"});
        return json!({"alreadyCertified": {"blobId": id, "event": event, "endEpoch": end}});
    }
    let encoded = daemon.store.encoding().encoded_len(length as u64).unwrap_or_default();
    let object = kept.object.to_string();
    let mut created = json!({
        "blobObject": {
            "id": object,
            "registeredEpoch": EPOCH,
            "blobId": id,
            "size": length,
            "encodingType": "RS2",
            "certifiedEpoch": EPOCH,
            "storage": {
                "id": format!("0x{}", object.trim_start_matches("0x").chars().rev().collect::<String>()),
                "startEpoch": EPOCH,
                "endEpoch": end,
                "storageSize": encoded,
            },
            "deletable": !parameters.permanent,
        },
        "resourceOperation": {
            "registerFromScratch": {"encodedLength": encoded, "epochsAhead": parameters.epochs},
        },
        "cost": encoded.div_ceil(1 << 20) * 2_100 * u64::from(parameters.epochs),
    });
    if parameters.share {
        created["sharedBlobObject"] = Value::from(object);
    }
    json!({"newlyCreated": created})
}
