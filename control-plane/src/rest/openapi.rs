//! What the description of the API says beyond its handlers: who may call, what can go wrong with every
//! call, and how each is made in some languages.

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{ContactBuilder, InfoBuilder, OpenApi, OpenApiBuilder, ServerBuilder},
};

use super::{HOME, error::ProblemDocument, examples};
use crate::auth::Operation;

/// Calls whose name is another one than that of the operation that they are.
pub(super) const OPERATIONS: [(&str, Operation); 8] = [
    ("purgeOne", Operation::Purge),
    ("getPurge", Operation::GetReceipt),
    ("getBlob", Operation::Explain),
    ("getPreload", Operation::WatchPreload),
    ("getPin", Operation::ListPins),
    ("listEvents", Operation::TailEvents),
    ("liveEvents", Operation::TailEvents),
    ("socketEvents", Operation::TailEvents),
];

/// Calls that need no key.
pub(super) const FOR_EVERYBODY: [&str; 1] = ["health"];

/// What can go wrong with every call.
const ERRORS: [(&str, &str); 8] = [
    ("400", "the request makes no sense; each wrong field is named"),
    ("401", "there is no key, or it is not good"),
    ("403", "the key may not do this"),
    ("404", "there is nothing of this name"),
    ("409", "it cannot be done as things are"),
    ("429", "more than the minute's requests; see Retry-After"),
    ("503", "it cannot be done now; see Retry-After"),
    ("504", "it took too long"),
];

/// What is said of the whole.
pub(super) fn about() -> OpenApi {
    let info = InfoBuilder::new()
        .title("WCDN control plane")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "What must be true on every edge: what is removed, withheld and kept ready; where blobs come \
             from; who may say so.\n\nEvery call but `/health` needs an API key, as `X-API-Key` or as \
             `Authorization: Bearer …`. Times are RFC 3339, positions of the log `epoch:seq`. Lists come in \
             pages: send `next` as `cursor`. A change under an `Idempotency-Key` is made once, however often \
             it is sent. Errors are `application/problem+json`; `/docs/errors` explains every code.",
        ))
        .contact(Some(ContactBuilder::new().name(Some("WCDN")).build()))
        .build();
    let server = ServerBuilder::new().url(HOME).build();
    OpenApiBuilder::new().info(info).servers(Some([server])).build()
}

/// The description, with what is true of every call.
pub(super) fn finished(described: &OpenApi) -> String {
    let mut whole = serde_json::to_value(described).expect("a description is JSON");
    whole["components"]["securitySchemes"] = json!({
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "Bearer": {"type": "http", "scheme": "bearer"},
    });
    let mut named = Vec::new();
    ProblemDocument::schemas(&mut named);
    named.push((ProblemDocument::name().into_owned(), ProblemDocument::schema()));
    for (name, schema) in named {
        let schema = serde_json::to_value(schema).expect("a description is JSON");
        whole["components"]["schemas"][name] = schema;
    }
    whole["security"] = json!([{"ApiKey": []}, {"Bearer": []}]);
    let schemas = whole["components"]["schemas"].clone();
    let paths = whole["paths"].as_object_mut().expect("there are paths");
    for (path, methods) in paths {
        for (method, call) in methods.as_object_mut().expect("a path has methods") {
            finish(path, method, call, &schemas);
        }
    }
    let mut text = serde_json::to_string_pretty(&whole).expect("a description is JSON");
    text.push('\n');
    text
}

fn finish(path: &str, method: &str, call: &mut Value, schemas: &Value) {
    let id = call["operationId"].as_str().unwrap_or_default().to_owned();
    let is_open = FOR_EVERYBODY.contains(&id.as_str());
    let has_body = call["requestBody"].is_object();
    let responses = call["responses"].as_object_mut().expect("a call has responses");
    for (_, response) in responses.iter_mut() {
        describe(response);
    }
    let problem = json!({
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}
    });
    let mut errors: Vec<_> = ERRORS.to_vec();
    if has_body {
        errors.push(("413", "the body is too large"));
        errors.push(("415", "the body is no JSON"));
    }
    if call["parameters"].as_array().is_some_and(|it| it.iter().any(|it| it["name"] == "If-Match"))
    {
        errors.push(("412", "it is another revision by now"));
        errors.push(("428", "If-Match is missing"));
    }
    if path == "/events" || path == "/live" || path == "/ws" {
        errors.push(("410", "the log no longer reaches back so far"));
    }
    let responses = call["responses"].as_object_mut().expect("a call has responses");
    for (status, description) in errors {
        if is_open && matches!(status, "401" | "403" | "404" | "409") {
            continue;
        }
        let response = json!({"description": description, "content": problem});
        responses.entry(status).or_insert(response);
    }
    tell_patterns(call);
    tell_scopes(&id, call);
    if is_changing(method, &id) {
        add_idempotency_key(call);
    }
    call["x-codeSamples"] = examples::of(path, method, call, schemas);
}

/// A response needs words.
fn describe(response: &mut Value) {
    if response["description"].as_str().is_none_or(str::is_empty) {
        response["description"] = json!("as it should be");
    }
}

/// What ids look like: of a blob, 43 digits of base64url in canonical form; of a file of a quilt, 50.
const CONTENT: &str = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048](B[A-Za-z0-9_-]{5}[AQgw])?$";

/// Parameters whose form can be told.
fn tell_patterns(call: &mut Value) {
    let parameters = call.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let is_content =
            parameter["description"].as_str().is_some_and(|text| text.starts_with("a blob id"));
        if is_content {
            parameter["schema"]["pattern"] = json!(CONTENT);
        }
        if parameter["name"] == "If-Match" {
            parameter["schema"]["pattern"] = json!("^(\"r[0-9]{1,19}\"|\\*)$");
        }
        if parameter["name"] == "wait" {
            parameter["schema"]["pattern"] = json!("^[0-9]{1,4}(ms|s)$");
        }
    }
}

/// Which scopes admit to a call.
fn tell_scopes(id: &str, call: &mut Value) {
    let Some(operation) = operation(id) else { return };
    let scopes: Vec<String> = operation.scopes().iter().map(|it| format!("`{it}`")).collect();
    if scopes.is_empty() {
        return;
    }
    let before = call["description"].as_str().unwrap_or_default();
    let needs = format!("Needs the scope {}.", scopes.join(" or "));
    let description = if before.is_empty() { needs } else { format!("{before}\n\n{needs}") };
    call["description"] = json!(description);
    call["x-scopes"] = json!(operation.scopes().iter().map(|it| it.as_str()).collect::<Vec<_>>());
}

/// The operation that a call is.
pub(super) fn operation(id: &str) -> Option<Operation> {
    if let Some((_, operation)) = OPERATIONS.iter().find(|(name, _)| *name == id) {
        return Some(*operation);
    }
    let mut letters = id.chars();
    let first = letters.next()?.to_ascii_uppercase();
    Operation::of_method(&format!("{first}{}", letters.as_str()))
}

/// Whether a call becomes a change that is made once under one token.
fn is_changing(method: &str, id: &str) -> bool {
    let changes = ["purge", "purgeOne", "pin", "unpin", "block", "unblock"];
    method != "get" && changes.contains(&id)
}

fn add_idempotency_key(call: &mut Value) {
    let parameter = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "the same request under the same key is one change",
        "schema": {"type": "string", "maxLength": 128},
    });
    match call.get_mut("parameters").and_then(Value::as_array_mut) {
        Some(parameters) => parameters.push(parameter),
        None => call["parameters"] = json!([parameter]),
    }
}

/// An object's field, for whoever reads the description.
pub(super) fn field<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    path.iter().try_fold(object, |value, name| value.get(*name))?.as_object()
}
