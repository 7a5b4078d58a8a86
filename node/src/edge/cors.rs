//! What other origins' pages may do with our responses: read them, all of them or those of some.

use http::{
    HeaderMap, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
    },
};

use wcdn_daemon::origins::Origins;

use crate::config;

/// Whose pages may read responses.
#[derive(Debug)]
pub(crate) enum Cors {
    /// Everybody's: the answer is the same for all.
    Everybody,
    /// Theirs: the answer depends on who asks, and says so to caches.
    Listed {
        /// Who they are.
        origins: Origins,
        /// Whether browsers may send cookies.
        credentials: bool,
    },
}

/// Headers that scripts may read, beyond the few that they always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "accept-ranges, age, cache-status, content-length, content-range, etag, retry-after, \
     server-timing, x-cache, x-quilt-patch-identifier, x-request-id, x-source",
);

impl Cors {
    /// As configured.
    pub(crate) fn new(config: &config::Cors) -> Self {
        if config.origins.is_everybody() {
            return Self::Everybody;
        }
        Self::Listed { origins: config.origins.clone(), credentials: config.credentials }
    }

    /// Lets pages read the response to a request with these headers; errors too, or a missing blob
    /// looks like a broken server.
    pub(super) fn allow(&self, headers: &mut HeaderMap, of_request: &HeaderMap) {
        let credentials = match self {
            Self::Everybody => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                false
            }
            Self::Listed { origins, credentials } => {
                headers.append(VARY, HeaderValue::from_static("origin"));
                let mut asking = of_request.get_all(ORIGIN).iter();
                let (Some(origin), None) = (asking.next(), asking.next()) else { return };
                let Some(origin) = origins.allow(origin) else { return };
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                *credentials
            }
        };
        if credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }

    /// Whether what an answer says depends on the request.
    pub(super) fn depends_on_origin(&self) -> bool {
        matches!(self, Self::Listed { .. })
    }

    /// The same as lines of an answer that is written by hand, to a head as far as it has come.
    pub(super) fn lines(&self, head: &[u8]) -> String {
        let mut answer = HeaderMap::new();
        self.allow(&mut answer, &origins_in(head));
        let mut lines = String::new();
        for (name, value) in &answer {
            // All of it was compared with visible ASCII, or is ours.
            let value = value.to_str().unwrap_or_default();
            lines.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        lines
    }
}

/// The `Origin` of a head of HTTP/1.1 that nobody has parsed.
fn origins_in(head: &[u8]) -> HeaderMap {
    let mut found = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = HeaderValue::from_bytes(value[1..].trim_ascii());
        if let Ok(value) = value
            && name.eq_ignore_ascii_case(b"origin")
        {
            found.append(ORIGIN, value);
        }
    }
    found
}

/// The answer to "may I?", good for a day.
pub(super) fn preflight(headers: &mut HeaderMap) {
    let of_requests = "range, if-none-match, if-match, if-range, x-request-id";
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_HEADERS, of_requests),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(credentials: bool) -> Cors {
        let origins = ["https://app.example", "https://*.example.org"];
        let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        Cors::new(&config::Cors { origins, credentials })
    }

    fn said(cors: &Cors, origins: &[&'static str]) -> (HeaderMap, Option<String>) {
        let (mut request, mut answer) = (HeaderMap::new(), HeaderMap::new());
        for origin in origins {
            request.append(ORIGIN, HeaderValue::from_static(origin));
        }
        cors.allow(&mut answer, &request);
        let to = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN);
        let to = to.map(|origin| origin.to_str().unwrap().to_owned());
        (answer, to)
    }

    #[test]
    fn everybody_is_told_the_same_and_never_with_credentials() {
        let cors = Cors::new(&config::Cors::default());
        for origins in [&[][..], &["https://app.example"], &["null"]] {
            let (answer, to) = said(&cors, origins);
            assert_eq!(to.as_deref(), Some("*"));
            assert_eq!(answer.len(), 2, "{answer:?}");
            assert!(answer.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
        }
    }

    #[test]
    fn listed_origins_see_their_name_others_nothing_and_caches_are_told() {
        for credentials in [false, true] {
            let cors = listed(credentials);
            for origin in ["https://app.example", "https://a.b.example.org"] {
                let (answer, to) = said(&cors, &[origin]);
                assert_eq!(
                    (to.as_deref(), &answer[VARY]),
                    (Some(origin), &"origin".parse().unwrap())
                );
                assert_eq!(answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS), credentials);
            }
            for origins in [
                &[][..],
                &["null"],
                &["https://example.org"],
                &["https://evil.example"],
                &["https://app.example", "https://app.example"],
            ] {
                let (answer, to) = said(&cors, origins);
                assert_eq!((to, answer.len()), (None, 1), "{origins:?}");
                assert_eq!(answer[VARY], "origin");
            }
        }
    }

    #[test]
    fn an_answer_by_hand_says_what_others_say() {
        let cors = listed(false);
        let head = b"GET / HTTP/1.1\r\nhost: a\r\nORIGIN:  https://app.example \r\n\r\n";
        let lines = cors.lines(head);
        assert!(
            lines.starts_with(
                "vary: origin\r\naccess-control-allow-origin: https://app.example\r\n"
            ),
            "{lines}"
        );
        let other = b"GET /origin: https://app.example HTTP/1.1\r\norigin: https://evil.example\r\n\r\norigin: https://app.example\r\n";
        assert_eq!(cors.lines(other), "vary: origin\r\n");
    }

    proptest! {
        #[test]
        fn whatever_a_head_is_the_answer_keeps_its_lines(head in "(\\PC|[\\r\\n: ]|(?i:origin: )|https://a\\.example\\.org){0,20}") {
            let lines = listed(true).lines(head.as_bytes());
            prop_assert!(lines.ends_with("\r\n"));
            for line in lines.trim_end().split("\r\n") {
                let is_known = line.starts_with("access-control-") || line == "vary: origin";
                prop_assert!(is_known && !line.contains(['\r', '\n']), "{lines:?}");
            }
        }
    }
}
