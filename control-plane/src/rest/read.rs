//! Bodies, queries and headers: read with bounds, and refused with the field named.

use axum::body::Body;
use http::{HeaderMap, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, de::DeserializeOwned};

use super::error::Problem;
use crate::refusal::Refusal;

/// Bytes of a body, where nothing else is said.
pub(super) const BODY: usize = 1 << 20;

/// Bytes of the largest body: a hundred thousand ids.
pub(super) const LARGE_BODY: usize = 8 << 20;

/// How many items are wanted: 1,000 at most.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Limit(pub(super) u32);

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        match count {
            0..=1_000 => Ok(Self(count)),
            _ => Err(format!("{count} is too many; the most is 1000")),
        }
    }
}

/// Reads a body of JSON.
///
/// # Errors
/// [`Problem`] names the field.
pub(super) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<T, Problem> {
    if !is_json(headers) {
        return Err(Problem::MediaType);
    }
    parsed(&bytes(body, most).await?)
}

/// The same, where the body may be left out.
///
/// # Errors
/// [`Problem`] names the field.
pub(super) async fn json_or_nothing<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let bytes = bytes(body, BODY).await?;
    match bytes.is_empty() {
        true => Ok(T::default()),
        false if !is_json(headers) => Err(Problem::MediaType),
        false => parsed(&bytes),
    }
}

/// Reads a body.
///
/// # Errors
/// [`Problem::TooLarge`], [`Problem::Broken`].
pub(super) async fn bytes(body: Body, most: usize) -> Result<bytes::Bytes, Problem> {
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::TooLarge { most }),
        Err(_) => Err(Problem::Broken),
    }
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // The parser would take a list of values for an object whose names it knows.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::invalid("body", "must be a JSON object").into());
    }
    serde_json::from_slice(bytes).map_err(|error| wrong(&error.to_string(), "body"))
}

/// Reads the query of a request.
///
/// # Errors
/// [`Problem`] names the parameter.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let read = axum::extract::Query::<T>::try_from_uri(uri);
    let told = |error: axum::extract::rejection::QueryRejection| {
        let text = error.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        wrong(text, "query")
    };
    read.map(|query| query.0).map_err(told)
}

/// What a parser says, with the field that it names, or that of all.
fn wrong(text: &str, whole: &str) -> Problem {
    let named = |mark: &str| {
        let (_, rest) = text.split_once(mark)?;
        rest.split_once('`').map(|(field, _)| field.to_owned())
    };
    let field = named("unknown field `").or_else(|| named("missing field `"));
    // "ids: invalid type …", as queries tell it.
    let is_name = |field: &str| field.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (prefix, text) = match text.split_once(": ") {
        Some((prefix, rest)) if is_name(prefix) => (Some(prefix.to_owned()), rest),
        _ => (None, text),
    };
    let field = field.or(prefix).unwrap_or_else(|| whole.to_owned());
    Refusal::invalid(field, format!("is wrong: {text}")).into()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
        || kind.eq_ignore_ascii_case("application/merge-patch+json")
}

/// The caller's own token for a change; empty if there is none.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(String::new()) };
    let text = value.to_str().ok().filter(|text| !text.is_empty());
    let invalid = || Refusal::invalid("Idempotency-Key", "must be some visible characters");
    // As the draft has it: a string in quotes; as most have it: without.
    let text = text.ok_or_else(invalid)?;
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Ok(bare.to_owned())
}

/// The revision that `If-Match` names; none for `*`.
///
/// # Errors
/// [`Problem::PreconditionMissing`], or what it is not.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("if-match") else { return Err(Problem::PreconditionMissing) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let tag = text.strip_prefix("W/").unwrap_or(text);
    if !(tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"')) {
        let shown: String = text.chars().take(60).collect();
        let problem = format!("is {shown:?}; send an ETag with its quotes, or *");
        return Err(Refusal::invalid("If-Match", problem).into());
    }
    let digits = text.strip_prefix("\"r").and_then(|text| text.strip_suffix('"'));
    let number = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let revision = number.and_then(|text| text.parse().ok());
    // A tag of something else fits nothing.
    revision.map(Some).ok_or_else(|| Problem::PreconditionFailed {
        message: "If-Match names none of these; read it, and change it again".to_owned(),
    })
}

/// The tag of a revision.
pub(super) fn tag(revision: u64) -> String {
    format!("\"r{revision}\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[serde(default)]
        #[expect(dead_code, reason = "that it is read is enough")]
        limit: u32,
    }

    fn field(problem: Problem) -> String {
        match problem {
            Problem::Refused(refusal) => refusal.violations()[0].field.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_field_that_is_wrong_is_named() {
        assert_eq!(field(parsed::<Asked>(b"{\"limits\":1}").unwrap_err()), "limits");
        assert_eq!(field(parsed::<Asked>(b"nonsense").unwrap_err()), "body");
        let of = |uri: &str| query::<Asked>(&uri.parse().unwrap());
        assert_eq!(field(of("/a?limits=1").unwrap_err()), "limits");
        assert_eq!(field(of("/a?limit=x").unwrap_err()), "limit");
        assert!(of("/a?limit=3").is_ok() && of("/a").is_ok());
    }

    #[test]
    fn a_revision_comes_as_it_was_told() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("if-match", text.parse().unwrap());
            if_match(&headers)
        };
        assert_eq!(of(&tag(7)).unwrap(), Some(7));
        assert_eq!(of("*").unwrap(), None);
        assert!(matches!(of("\"7\""), Err(Problem::PreconditionFailed { .. })));
        assert!(matches!(of("W/\"r7\""), Err(Problem::PreconditionFailed { .. })));
        assert_eq!(field(of("7").unwrap_err()), "If-Match");
        assert!(matches!(if_match(&HeaderMap::new()), Err(Problem::PreconditionMissing)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~]{0,60}", body: Vec<u8>) {
            let mut headers = HeaderMap::new();
            headers.insert("if-match", text.parse().unwrap());
            headers.insert("idempotency-key", text.parse().unwrap());
            let _read_or_refused = (if_match(&headers).is_ok(), idempotency_key(&headers).is_ok());
            let _read_or_refused = parsed::<Asked>(&body).is_ok();
            if let Ok(uri) = format!("/a?{text}").parse() {
                let _read_or_refused = query::<Asked>(&uri).is_ok();
            }
        }
    }
}
