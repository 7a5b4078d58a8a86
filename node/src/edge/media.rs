//! What bytes are, decided by us: from what is stored with them, else from how they begin.
//!
//! Never from what a viewer asks for: an aggregator copies `Accept` into `Content-Type`, and a
//! cache that passed it on could be made to call a picture a page, for everybody.

use http::HeaderValue;

/// A media type, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    value: HeaderValue,
    active: bool,
}

/// Bytes at the beginning that decide.
pub const SNIFFED: usize = 512;

/// The longest media type that is believed.
const MAX_DECLARED: usize = 127;

/// Kinds of which a browser runs nothing, with the exceptions in [`ACTIVE`]. Everything else gets a
/// sandbox, so that a blob cannot act in the name of the host it is served from: what is missing
/// here costs a download, what were missing in a list of dangerous types would cost a hole.
const INERT_KINDS: [&str; 4] = ["image/", "audio/", "video/", "font/"];

/// Single types of which a browser runs nothing.
const INERT: [&str; 13] = [
    "text/plain",
    "text/css",
    "text/csv",
    "text/markdown",
    "application/json",
    "application/octet-stream",
    "application/wasm",
    "application/zip",
    "application/gzip",
    "application/x-tar",
    "application/zstd",
    "application/x-7z-compressed",
    "application/vnd.sqlite3",
];

/// What is of an inert kind and yet may carry script.
const ACTIVE: [&str; 1] = ["image/svg+xml"];

impl MediaType {
    /// Bytes of no known kind.
    pub const OCTET_STREAM: Self =
        Self { value: HeaderValue::from_static("application/octet-stream"), active: false };

    fn known(name: &'static str) -> Self {
        Self { value: HeaderValue::from_static(name), active: is_active(name) }
    }

    /// A type that somebody stored; `None` if it is not one.
    ///
    /// It is written anew from what was understood: a browser splits the header at commas and takes
    /// the last type it knows, so nothing may pass that was not looked at.
    fn declared(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next()?.to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if text.len() > MAX_DECLARED || !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let charset = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let value = value.trim_matches('"');
            (name.eq_ignore_ascii_case("charset") && is_token(value)).then_some(value)
        });
        let value = match charset {
            Some(charset) => format!("{essence}; charset={charset}"),
            None => essence,
        };
        let active = is_active(&value);
        Some(Self { value: HeaderValue::try_from(value).ok()?, active })
    }

    /// The type as text.
    pub fn as_str(&self) -> &str {
        self.value.to_str().unwrap_or("application/octet-stream")
    }

    /// The type as a header.
    pub fn header_value(&self) -> HeaderValue {
        self.value.clone()
    }

    /// Whether a browser may run it.
    pub fn is_active(&self) -> bool {
        self.active
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

fn is_active(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_inert = INERT.contains(&essence.as_str())
        || INERT_KINDS.into_iter().any(|kind| essence.starts_with(kind));
    !is_inert || ACTIVE.contains(&essence.as_str()) || essence.ends_with("+xml")
}

/// What the bytes that begin so are.
///
/// A declared type is taken if it is well formed. Otherwise magic numbers decide, then what a
/// browser would take for a page, then whether it is text at all.
pub fn sniff(beginning: &[u8], declared: Option<&str>) -> MediaType {
    if let Some(media) = declared.and_then(MediaType::declared) {
        return media;
    }
    let beginning = &beginning[..beginning.len().min(SNIFFED)];
    // Markup first: it is what must not be missed.
    if let Some(name) = markup(beginning) {
        return MediaType::known(name);
    }
    if let Some(found) = infer::get(beginning) {
        return MediaType::known(match found.mime_type() {
            // Registered since (RFC 8081); the library has one name for both.
            "application/font-woff" if beginning.starts_with(b"wOF2") => "font/woff2",
            "application/font-woff" => "font/woff",
            other => other,
        });
    }
    match text(beginning) {
        Some(name) => MediaType::known(name),
        None => MediaType::OCTET_STREAM,
    }
}

/// Beginnings that browsers take for a page (WHATWG MIME Sniffing §7.1), and what else is markup.
fn markup(beginning: &[u8]) -> Option<&'static str> {
    const PAGE: [&[u8]; 17] = [
        b"<!doctype html",
        b"<html",
        b"<head",
        b"<script",
        b"<iframe",
        b"<h1",
        b"<div",
        b"<font",
        b"<table",
        b"<a",
        b"<style",
        b"<title",
        b"<b",
        b"<body",
        b"<br",
        b"<p",
        b"<!--",
    ];
    let trimmed = beginning.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(beginning).trim_ascii_start();
    let begins =
        |tag: &[u8]| trimmed.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag));
    let ends_there = |tag: &[u8]| {
        matches!(trimmed.get(tag.len()), None | Some(b' ' | b'>' | b'\t' | b'\n' | b'\r' | b'/'))
    };
    let is_svg = || trimmed.windows(4).any(|four| four.eq_ignore_ascii_case(b"<svg"));
    if begins(b"<svg") || (begins(b"<?xml") && is_svg()) {
        Some("image/svg+xml")
    } else if begins(b"<?xml") {
        Some("text/xml; charset=utf-8")
    } else if begins(b"<!--") && is_svg() {
        Some("image/svg+xml")
    } else if PAGE.into_iter().any(|tag| begins(tag) && (tag == b"<!--" || ends_there(tag))) {
        Some("text/html; charset=utf-8")
    } else {
        None
    }
}

/// JSON and plain text; `None` for bytes that are no UTF-8 or have control characters.
fn text(beginning: &[u8]) -> Option<&'static str> {
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // The last character may have been cut in two.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_binary =
        |c: char| c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0C' | '\x1B');
    if text.is_empty() || text.contains(is_binary) {
        return None;
    }
    let trimmed = text.trim_start();
    let is_json = trimmed
        .strip_prefix('{')
        .is_some_and(|rest| rest.trim_start().starts_with(['"', '}']))
        || trimmed.strip_prefix('[').is_some_and(|rest| {
            rest.trim_start().starts_with(|c: char| c.is_ascii_digit() || "{[\"]-tfn".contains(c))
        });
    Some(if is_json { "application/json" } else { "text/plain; charset=utf-8" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn well_known_files_are_told_by_how_they_begin() {
        let mp4 = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
        let webp = b"RIFF\x24\0\0\0WEBPVP8 ";
        let samples: [(&[u8], &str); 16] = [
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
            (b"\xFF\xD8\xFF\xE0\0\x10JFIF\0", "image/jpeg"),
            (b"GIF89a\x01\0\x01\0", "image/gif"),
            (webp, "image/webp"),
            (mp4, "video/mp4"),
            (b"ID3\x03\0\0\0\0\0\0", "audio/mpeg"),
            (b"%PDF-1.7\n", "application/pdf"),
            (b"\x1f\x8b\x08\0\0\0\0\0", "application/gzip"),
            (b"PK\x03\x04\x14\0\0\0", "application/zip"),
            (b"wOF2\0\x01\0\0", "font/woff2"),
            (b"\0asm\x01\0\0\0", "application/wasm"),
            (b"{\"a\": 1}", "application/json"),
            (b"[1, 2]", "application/json"),
            (b"plain words", "text/plain; charset=utf-8"),
            (b"\x00\x01\x02\x03\x04\x05", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ];
        for (bytes, expected) in samples {
            assert_eq!(sniff(bytes, None).as_str(), expected);
        }
    }

    #[test]
    fn whatever_a_browser_would_run_is_active() {
        for page in [
            "<!DOCTYPE html><p>",
            " \n<html>",
            "\u{feff}<script>alert(1)</script>",
            "<svg onload=x>",
            "<?xml version='1.0'?><svg/>",
            "<!-- x --><b>",
            "<?xml version='1.0'?><a/>",
            "%PDF-1.7",
            "<a href=x>",
            "<BODY onload=x>",
        ] {
            assert!(sniff(page.as_bytes(), None).is_active(), "{page}");
        }
        for text in ["<apple>", "< html>", "a <script>", "<pre", "GIF89a<script>"] {
            assert!(!sniff(text.as_bytes(), None).is_active(), "{text}");
        }
        for declared in [
            "text/html; charset=utf-8",
            "Image/SVG+xml",
            "application/atom+xml",
            "text/xsl",
            "text/rdf",
            "application/unheard-of",
        ] {
            assert!(sniff(b"x", Some(declared)).is_active(), "{declared}");
        }
    }

    #[test]
    fn a_declared_type_is_taken_only_if_it_is_one() {
        assert_eq!(sniff(b"{}", Some("text/css")).as_str(), "text/css");
        let charset = sniff(b"{}", Some("Text/Plain;x=y; Charset=\"utf-8\""));
        assert_eq!(charset.as_str(), "text/plain; charset=utf-8");
        let long = format!("text/{}", "x".repeat(200));
        for declared in ["", "css", "/", "text/", "text/c ss", "text/css\r\nx: y", "text/ä", &long]
        {
            assert_eq!(sniff(b"{}", Some(declared)).as_str(), "application/json", "{declared}");
        }
    }

    #[test]
    fn nothing_of_a_declared_type_passes_that_was_not_looked_at() {
        for declared in ["text/plain; x=x, text/html", "text/plain;charset=a,text/html"] {
            let media = sniff(b"<script>", Some(declared));
            assert_eq!(media.as_str(), "text/plain", "{declared}");
        }
        assert!(sniff(b"<script>", Some("text/plain, text/html")).is_active());
    }

    #[test]
    fn text_that_is_cut_within_a_character_is_text() {
        let text = "grüße".as_bytes();
        assert_eq!(sniff(&text[..3], None).as_str(), "text/plain; charset=utf-8");
        assert_eq!(sniff(b"gr\xfc\xdfe", None).as_str(), "application/octet-stream");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_sniffer_panic(bytes: Vec<u8>, declared in "\\PC{0,40}") {
            prop_assert!(sniff(&bytes, Some(&declared)).as_str().contains('/'));
            prop_assert!(sniff(&bytes, None).as_str().contains('/'));
        }
    }
}
