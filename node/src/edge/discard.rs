//! What is done with the body of a request, which nothing here wants.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Bytes of an unwanted body that are read.
const MAX_DISCARDED: usize = 1 << 20;

/// How long an unwanted body is waited for.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the beginning of a body that nothing wants: a client whose connection is reset while it
/// sends does not see the answer that tells it so.
pub(super) async fn discard(mut body: Incoming) {
    let reading = async {
        let mut read = 0;
        while read <= MAX_DISCARDED
            && let Some(Ok(frame)) = body.frame().await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Too long, too slow or broken off: the connection closes after the answer in any case.
    let _unread = tokio::time::timeout(DISCARD_TIMEOUT, reading).await.is_err();
}
