//! Requests that are wrong, by accident or on purpose.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wcdn_dev::Topology;
use wcdn_proto::{ByteSize, Span};
use wcdn_tests::{Fleet, bytes, eventually};

pub(super) async fn connect(fleet: &Fleet) -> TcpStream {
    let address = fleet.edge(0, "").replace("http://", "");
    TcpStream::connect(address).await.expect("the edge listens")
}

/// Sends bytes as they are; what comes back until the connection closes.
pub(super) async fn raw(fleet: &Fleet, request: &[u8]) -> String {
    let mut stream = connect(fleet).await;
    // The edge may hang up while we still send: what it said before is the answer.
    let _cut_short = stream.write_all(request).await.is_err();
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await.is_err();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn malformed_ids_are_told_what_an_id_is() {
    let fleet = Fleet::start().await;
    let right = "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk";
    for wrong in [
        "x",
        &right[..42],
        &format!("{right}="),
        "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUl",
        "M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK+W7.4BUk",
        &"A".repeat(5_000),
        "%4D4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk",
    ] {
        let ours = fleet.get(&format!("/cdn/{wrong}")).await;
        assert_eq!((ours.status, ours.code().as_str()), (StatusCode::BAD_REQUEST, "INVALID_ID"));
        let theirs = fleet.get(&format!("/v1/blobs/{wrong}")).await;
        assert_eq!(theirs.status, StatusCode::BAD_REQUEST);
        assert_eq!(theirs.json()["error"]["status"], "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn heads_too_large_or_with_too_many_fields_are_refused() {
    let fleet = Fleet::start().await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    assert!(raw(&fleet, long.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(500));
    assert!(raw(&fleet, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert_eq!(fleet.get("/status").await.status, StatusCode::OK);
}

#[tokio::test]
async fn messages_with_two_lengths_are_refused() {
    let fleet = Fleet::start().await;
    for lengths in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: -1\r\n",
        "content-length: 5\r\ntransfer-encoding: gzip\r\n",
    ] {
        let request = format!("GET /status HTTP/1.1\r\nhost: x\r\n{lengths}\r\nhello");
        let answer = raw(&fleet, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{lengths}: {answer}");
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    let fleet = Fleet::start().await;
    for hosts in ["", "host: a\r\nhost: b\r\n"] {
        let request = format!("GET /status HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        assert!(raw(&fleet, request.as_bytes()).await.starts_with("HTTP/1.1 400"), "{hosts}");
    }
    let old = raw(&fleet, b"GET /status HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
}

#[tokio::test]
async fn a_body_that_nothing_wants_is_answered_and_never_taken_for_a_request() {
    let fleet = Fleet::start().await;
    let smuggled = "GET /cdn/smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    let request = format!(
        "GET /status HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let answer = raw(&fleet, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("OK"), "{answer}");
    assert!(answer.contains("connection: close") && answer.matches("HTTP/1.1").count() == 1);
    let upload = format!(
        "PUT /v1/blobs HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n{}",
        "x".repeat(500_000)
    );
    let refused = raw(&fleet, upload.as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let fleet = Fleet::start().await;
    for nonsense in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"hello there\r\n\r\n"] {
        let answer = raw(&fleet, nonsense).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert_eq!(fleet.get("/status").await.status, StatusCode::OK);
}

fn quick(topology: &mut Topology) {
    let limits = &mut topology.edge.limits;
    limits.first_byte_timeout = Span::millis(200);
    limits.head_timeout = Span::millis(300);
    limits.idle_timeout = Span::millis(400);
    limits.send_timeout = Span::millis(400);
    limits.min_send_rate = ByteSize::mib(1);
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_too_slowly_is_closed() {
    let fleet = Fleet::with(quick).await;
    assert_eq!(raw(&fleet, b"").await, "");
    let mut stream = connect(&fleet).await;
    let dripping = async {
        for byte in b"GET /status HTTP/1.1\r\nhost: some.very.long.name.example\r\n".iter().cycle()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), dripping).await.expect("it is cut");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let fleet = Fleet::with(quick).await;
    let answer = raw(&fleet, b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("OK"), "{answer}");
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_is_cut_and_its_memory_returned() {
    let fleet = Fleet::with(|topology| {
        quick(topology);
        topology.max_body = 64 << 20;
    })
    .await;
    let id = fleet.store(bytes(1, 20_000_000)).await;
    fleet.get(&format!("/cdn/{id}")).await;
    let mut stream = connect(&fleet).await;
    let request = format!("GET /cdn/{id} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually("the response is cut", || async {
        fleet.metric("wcdn_responses_cut_total", "").await == 1.0
    })
    .await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_when_to_come_back() {
    let fleet = Fleet::with(|topology| topology.edge.limits.max_connections = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&fleet).await;
        stream.write_all(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(stream);
    }
    let refused = raw(&fleet, b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: 1"));
    assert_eq!(fleet.metric("wcdn_shed_total", "reason=\"connections\"").await, 1.0);
    drop(held);
    eventually("there is room again", || async {
        raw(&fleet, b"GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let fleet = Fleet::start().await;
    let body = bytes(1, 100);
    let id = fleet.store(body).await;
    let requests = format!(
        "GET /cdn/{id} HTTP/1.1\r\nhost: x\r\n\r\nGET /status HTTP/1.1\r\nhost: x\r\n\r\n\
         GET /cdn/nonsense HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    );
    let answer = raw(&fleet, requests.as_bytes()).await;
    let statuses: Vec<&str> =
        answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "400"]);
}
