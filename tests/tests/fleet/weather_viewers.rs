//! Viewers who misbehave, and viewers who leave: others are served, and nothing stays behind.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wcdn_dev::Topology;
use wcdn_proto::{ByteSize, Span};
use wcdn_tests::{
    Fleet, bytes,
    client::Client,
    eventually,
    frames::{END, Line, PREFACE, frame, get, kind},
};

/// Serves a request while a connection is flooded, and sees that connection end.
async fn flood(name: &str, bytes: impl Fn(u32) -> Vec<u8>) {
    let fleet = Fleet::start().await;
    let line = Line::open(fleet.address(), &[]).await;
    let others = async {
        for _ in 0..20 {
            assert_eq!(fleet.get("/status").await.body, "OK", "{name}");
        }
    };
    let (ended, ()) = tokio::join!(line.flood(bytes, 1_000_000), others);
    assert!(ended, "{name}: the connection goes on");
    eventually("nothing stays behind", || async {
        // The one that is left is the client's, which asked for the status.
        fleet.metric("wcdn_connections", "").await <= 1.0
    })
    .await;
}

#[tokio::test]
async fn requests_that_are_reset_at_once_end_the_connection() {
    let block = get(Some("a"), "/status", &[]);
    flood("rapid reset", |n| {
        let stream = 2 * n + 1;
        let reset = frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
        [frame(kind::HEADERS, END, stream, &block), reset].concat()
    })
    .await;
}

#[tokio::test]
async fn requests_that_are_reset_once_answered_end_the_connection() {
    let fleet = Fleet::start().await;
    let mut line = Line::open(fleet.address(), &[]).await;
    let block = get(Some("a"), "/status", &[]);
    let mut answered = 0;
    for stream in (1..8_000).step_by(2) {
        let sent = line.send(&frame(kind::HEADERS, END, stream, &block)).await;
        if sent.is_err() || line.next_of(kind::HEADERS).await.is_none() {
            break;
        }
        answered += 1;
        let _ended = line.send(&frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])).await.is_err();
    }
    assert!((400..2_000).contains(&answered), "{answered} were answered");
    assert_eq!(fleet.metric("wcdn_shed_total", "reason=\"flood\"").await, 1.0);
}

#[tokio::test]
async fn settings_without_end_end_the_connection() {
    flood("settings", |_| frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])).await;
}

#[tokio::test]
async fn pings_without_end_end_the_connection() {
    flood("ping", |_| frame(kind::PING, 0, 0, &[0; 8])).await;
}

#[tokio::test]
async fn windows_that_grow_without_end_end_the_connection() {
    flood("window updates", |_| frame(kind::WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())).await;
}

#[tokio::test]
async fn heads_that_go_on_without_end_end_the_connection() {
    flood("continuation", |n| match n {
        0 => frame(kind::HEADERS, 0x1, 1, &get(Some("a"), "/status", &[])),
        _ => frame(kind::CONTINUATION, 0, 1, &[0x00, 0x01, b'x', 0x01, b'y']),
    })
    .await;
}

#[tokio::test]
async fn empty_bodies_without_end_end_the_connection() {
    flood("empty data", |n| match n {
        0 => frame(kind::HEADERS, 0x4, 1, &get(Some("a"), "/status", &[])),
        _ => frame(kind::DATA, 0, 1, &[]),
    })
    .await;
}

#[tokio::test]
async fn requests_beyond_the_limit_end_the_connection() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(1, 100)).await;
    fleet.fault_all(json!({"latency_ms": 60_000})).await;
    let block = get(Some("a"), &format!("/cdn/{id}"), &[]);
    let line = Line::open(fleet.address(), &[]).await;
    let requests = |n: u32| frame(kind::HEADERS, END, 2 * n + 1, &block);
    assert!(line.flood(requests, 10_000).await, "the connection goes on");
}

fn quick(topology: &mut Topology) {
    let limits = &mut topology.edge.limits;
    limits.send_timeout = Span::millis(400);
    limits.min_send_rate = ByteSize::mib(1);
    topology.max_body = 64 << 20;
}

#[tokio::test]
async fn a_viewer_that_gives_no_window_is_cut_and_its_memory_returned() {
    let fleet = Fleet::with(quick).await;
    let id = fleet.store(bytes(1, 20_000_000)).await;
    let url = format!("/cdn/{id}");
    fleet.get(&url).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    let mut line = Line::open(fleet.address(), &[(4, 0)]).await;
    for stream in [1, 3, 5] {
        let block = get(Some("a"), &url, &[]);
        line.send(&frame(kind::HEADERS, END, stream, &block)).await.unwrap();
    }
    assert!(line.next_of(kind::GOAWAY).await.is_some(), "it is asked to go");
    while line.next().await.is_some() {}
    eventually("the responses are cut", || async {
        fleet.metric("wcdn_responses_cut_total", "").await == 3.0
    })
    .await;
    assert_eq!(fleet.get(&url).await.header("x-cache"), "HIT");
}

#[tokio::test]
async fn a_frame_that_does_not_end_ends_the_connection() {
    let fleet = Fleet::with(|topology| topology.edge.limits.head_timeout = Span::millis(300)).await;
    let request = frame(kind::HEADERS, END, 1, &get(Some("a"), "/status", &[]));
    let open = frame(kind::HEADERS, 0x1, 1, &get(Some("a"), "/status", &[]));
    for beginning in [&request[..request.len() - 1], &request[..3], &open] {
        let mut line = Line::open(fleet.address(), &[]).await;
        line.send(beginning).await.unwrap();
        while line.next().await.is_some() {}
    }
}

#[tokio::test]
async fn a_viewer_that_waits_for_an_origin_is_not_cut_for_it() {
    let fleet = Fleet::with(quick).await;
    let body = bytes(2, 50_000);
    let id = fleet.store(body.clone()).await;
    fleet.fault_all(json!({"latency_ms": 2_000})).await;
    let reply = Client::http2().get(&fleet.edge(0, &format!("/cdn/{id}"))).await;
    assert_eq!((reply.complete, reply.body), (true, body));
}

/// Sees that nobody is connected and nothing is fetched.
async fn nothing_is_left(fleet: &Fleet, stage: &str) {
    eventually(stage, || async {
        let mut left = 0.0;
        for gauge in ["wcdn_connections", "wcdn_fills_in_flight"] {
            left += fleet.metric(gauge, "").await;
        }
        left == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_viewer_may_leave_at_any_stage_and_nothing_stays_behind() {
    let fleet = Fleet::start().await;
    let id = fleet.store(bytes(3, 30_000_000 / 10)).await;
    let path = format!("/cdn/{id}");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let connect = || async { TcpStream::connect(fleet.address()).await.unwrap() };

    drop(connect().await);
    nothing_is_left(&fleet, "while connecting").await;

    for beginning in [&request.as_bytes()[..10], &PREFACE[..10], PREFACE] {
        connect().await.write_all(beginning).await.unwrap();
        nothing_is_left(&fleet, "in the middle of a head").await;
    }

    // Origins that stall in the middle: a fill that nobody reads any more is given up.
    fleet.fault_all(json!({"stall_at": 1_500_000})).await;
    let mut line = Line::open(fleet.address(), &[]).await;
    line.send(&frame(kind::HEADERS, END, 1, &get(Some("a"), &path, &[]))).await.unwrap();
    assert!(line.next_of(kind::DATA).await.is_some());
    line.send(&frame(kind::RST_STREAM, 0, 1, &8u32.to_be_bytes())).await.unwrap();
    eventually("after a reset of its stream", || async {
        fleet.metric("wcdn_fills_in_flight", "").await == 0.0
    })
    .await;
    line.send(&frame(kind::HEADERS, END, 3, &get(Some("a"), "/status", &[]))).await.unwrap();
    assert!(line.next_of(kind::HEADERS).await.is_some(), "the connection lives on");
    drop(line);
    nothing_is_left(&fleet, "after leaving HTTP/2").await;

    let mut stream = connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 100_000]).await.unwrap();
    drop(stream);
    nothing_is_left(&fleet, "in the middle of a body").await;

    fleet.fault_all(json!({"latency_ms": 300})).await;
    let small = fleet.store(bytes(4, 1_000)).await;
    let mut line = Line::open(fleet.address(), &[]).await;
    let block = get(Some("a"), &format!("/cdn/{small}"), &[]);
    line.send(&frame(kind::HEADERS, END, 1, &block)).await.unwrap();
    eventually("the fill runs", || async { fleet.metric("wcdn_fills_in_flight", "").await == 1.0 })
        .await;
    drop(line);
    nothing_is_left(&fleet, "before the first byte").await;

    let held = fleet.metric("wcdn_cache_bytes", "").await;
    let limit = fleet.metric("wcdn_cache_limit_bytes", "").await;
    assert!(held < limit / 100.0, "{held} of {limit} bytes are still held");
    assert_eq!(fleet.get("/status").await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_response_that_began_before_a_drain_ends_whole() {
    let fleet = Fleet::with(|topology| topology.max_body = 64 << 20).await;
    let body = bytes(5, 8_000_000);
    let id = fleet.store(body.clone()).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    fleet.client.get(&url).await;
    let clients: Vec<Client> =
        (0..20).map(|n| if n % 2 == 0 { Client::default() } else { Client::http2() }).collect();
    let began = join_all(
        clients
            .iter()
            .map(|client| async { client.request(Method::GET, &url).open().await.unwrap() }),
    )
    .await;
    fleet.cluster.edges()[0].drain();
    let admin = fleet.cluster.edges()[0].admin_url.clone();
    eventually("it drains", || async {
        let ready = fleet.client.get(&format!("{admin}/readyz")).await;
        ready.status == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    // Slow enough that the drain is under way for all of them.
    let read = join_all(began.into_iter().map(|(status, _, mut rest)| async move {
        let mut length = 0;
        while let Some(frame) = rest.frame().await {
            length += frame.unwrap().data_ref().map_or(0, bytes::Bytes::len);
            tokio::task::yield_now().await;
        }
        (status, length)
    }));
    for (status, length) in read.await {
        assert_eq!((status, length), (StatusCode::OK, body.len()));
    }
    tokio::time::timeout(Duration::from_secs(20), fleet.stop()).await.expect("the drain ends");
}
