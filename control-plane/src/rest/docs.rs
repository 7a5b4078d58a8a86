//! What a browser shows: the description of the API, to be tried, and what errors mean.

use std::sync::Arc;

use axum::{
    Router,
    extract::Path,
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use http::{
    HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
        REFERRER_POLICY, X_FRAME_OPTIONS,
    },
};
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::{HOME, error::Problem};
use crate::desk::Desk;

/// What errors mean, as the repository has it.
const ERRORS: &str = include_str!("../../../docs/errors.md");

/// Scripts and styles of our own, and no frames around us. Swagger UI sets styles of elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Pages for people.
pub(super) fn pages() -> Router<Arc<Desk>> {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/docs/") }))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(|| async { file("index.html") }))
        .route("/docs/errors", get(errors))
        .route("/docs/{file}", get(|Path(name): Path<String>| async move { file(&name) }))
}

/// The description of the API.
pub(super) fn described(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// A file of Swagger UI.
fn file(name: &str) -> Response {
    let config = Config::from(format!("{HOME}/openapi.json"))
        .try_it_out_enabled(true)
        .display_request_duration(true)
        .filter(true)
        .validator_url("none")
        .deep_linking(true)
        .persist_authorization(false);
    let found = utoipa_swagger_ui::serve(name, Arc::new(config));
    let Ok(Some(SwaggerFile { bytes, content_type, gzpipped: is_packed, .. })) = found else {
        return Problem::NoPath.into_response();
    };
    let mut response = ([(CONTENT_TYPE, content_type)], bytes.into_owned()).into_response();
    if is_packed {
        let packed = HeaderValue::from_static("gzip");
        response.headers_mut().insert(CONTENT_ENCODING, packed);
    }
    guard(&mut response);
    response
}

async fn errors() -> Response {
    let mut response = Html(page(ERRORS)).into_response();
    guard(&mut response);
    response
}

/// Nothing of others runs here, and nobody puts us into a frame.
fn guard(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.remove(ETAG);
}

/// The reference as a page: headings, paragraphs, and tables whose rows can be linked to by their code.
fn page(markdown: &str) -> String {
    let mut body = String::new();
    let mut is_table = false;
    for line in markdown.lines() {
        let is_row = line.starts_with('|');
        match (is_table, is_row) {
            (false, true) => body.push_str("<table>\n"),
            (true, false) => body.push_str("</table>\n"),
            _ => {}
        }
        is_table = is_row;
        if is_row {
            body.push_str(&row(line));
        } else if let Some(title) = line.strip_prefix("# ") {
            body.push_str(&format!("<h1>{}</h1>\n", text(title)));
        } else if line.is_empty() {
            body.push_str("<p>\n");
        } else if !line.starts_with("```") {
            body.push_str(&format!("{}\n", text(line)));
        }
    }
    if is_table {
        body.push_str("</table>\n");
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>WCDN: errors</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>body{{font:16px/1.5 system-ui;\
         max-width:70rem;margin:2rem auto;padding:0 1rem}}table{{border-collapse:collapse}}\
         td{{border-top:1px solid #ccc;padding:.3rem .6rem;vertical-align:top}}tr:target{{background:#ffd}}\
         </style>{body}</html>"
    )
}

fn row(line: &str) -> String {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    if cells.iter().all(|cell| cell.bytes().all(|byte| byte == b'-')) {
        return String::new();
    }
    let code = cells.first().map(|cell| cell.trim_matches('`')).unwrap_or_default();
    let is_code = !code.is_empty() && code.bytes().all(|c| c.is_ascii_uppercase() || c == b'_');
    let id = if is_code { format!(" id=\"{code}\"") } else { String::new() };
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", text(cell))).collect();
    format!("<tr{id}>{cells}</tr>\n")
}

/// Text with code in it.
fn text(markdown: &str) -> String {
    let escaped = markdown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut parts = escaped.split('`');
    let mut html = parts.next().unwrap_or_default().to_owned();
    for (n, part) in parts.enumerate() {
        html.push_str(if n % 2 == 0 { "<code>" } else { "</code>" });
        html.push_str(part);
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_reference_can_be_linked_to() {
        let page = page(ERRORS);
        assert!(page.contains("<tr id=\"SCOPE_MISSING\"><td><code>SCOPE_MISSING</code></td>"));
        assert!(page.contains("<h1>Errors of the control plane</h1>"));
        assert_eq!(page.matches("<table>").count(), page.matches("</table>").count());
        assert_eq!(text("a <b> & `c|<d>`"), "a &lt;b&gt; &amp; <code>c|&lt;d&gt;</code>");
    }
}
