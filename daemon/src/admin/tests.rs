use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::*;

fn admin(health: &Health) -> Admin {
    let (mut registry, counter) = (Registry::default(), Counter::<u64>::default());
    registry.register("things", "Things", counter.clone());
    counter.inc_by(7);
    Admin::new(registry, health.clone())
}

/// One request on a connection of its own; the whole answer.
async fn ask(admin: Admin, request: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let shutdown = CancellationToken::new();
    let client = async {
        let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        shutdown.cancel();
        answer
    };
    tokio::join!(serve(listener, admin, shutdown.clone()), client).1
}

/// A client, and the server's end of its connection.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

/// Whether a request on this connection is answered; the connection stays open.
async fn is_answered(stream: &mut TcpStream) -> bool {
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut head = [0; 12];
    stream.write_all(request).await.is_ok()
        && stream.read_exact(&mut head).await.is_ok()
        && &head == b"HTTP/1.1 200"
}

#[tokio::test]
async fn readiness_follows_the_life_of_the_process() {
    let health = Health::new();
    let starting = ask(admin(&health), "GET /readyz").await;
    assert!(starting.starts_with("HTTP/1.1 503") && starting.ends_with("\r\n\r\nstarting\n"));
    health.ready();
    let ready = ask(admin(&health), "GET /readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("\r\n\r\nready\n"));
    health.draining();
    let draining = ask(admin(&health), "GET /readyz").await;
    assert!(draining.starts_with("HTTP/1.1 503") && draining.ends_with("\r\n\r\ndraining\n"));
    let alive = ask(admin(&health), "GET /livez").await;
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
}

#[tokio::test]
async fn metrics_are_told_in_the_format_that_scrapers_ask_for() {
    let told = ask(admin(&Health::new()), "GET /metrics").await;
    assert!(told.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(told.contains("\nthings_total 7\n") && told.ends_with("# EOF\n"), "{told}");
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_no_body() {
    let told = ask(admin(&Health::new()), "HEAD /livez").await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    assert!(told.contains("content-length: 6\r\n") && told.ends_with("\r\n\r\n"), "{told}");
}

#[tokio::test]
async fn an_added_page_is_shown_as_it_is_now_and_named_where_paths_are() {
    let page = || {
        let seen = std::sync::atomic::AtomicU8::new(0);
        admin(&Health::new()).page("/debug/origins", move || {
            let before = seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            format!("{{\"seen\":{before}}}")
        })
    };
    let shown = ask(page(), "GET /debug/origins?x=1").await;
    assert!(shown.contains("content-type: application/json") && shown.ends_with("{\"seen\":0}"));
    let missing = ask(page(), "GET /debug/origin").await;
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
    let body: serde_json::Value =
        serde_json::from_str(missing.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["error"]["code"], "not_found");
    assert_eq!(body["error"]["message"], "there are /livez, /readyz, /metrics, /debug/origins");
}

#[tokio::test]
async fn other_methods_are_refused_helpfully() {
    let post = ask(admin(&Health::new()), "POST /metrics").await;
    assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"));
    assert!(post.contains("\"code\":\"method_not_allowed\""));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let request = format!("GET /{}", "x".repeat(MAX_HEAD));
    let refused = ask(admin(&Health::new()), &request).await;
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_ends_its_head_is_cut() {
    let (mut client, server) = connected().await;
    client.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    let start = Instant::now();
    let admin = Arc::new(admin(&Health::new()));
    converse(server, admin, CancellationToken::new()).await;
    assert!(start.elapsed() >= HEAD_TIMEOUT);
    assert!(start.elapsed() <= HEAD_TIMEOUT + DRAIN_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut() {
    let (mut client, server) = connected().await;
    let request = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    let start = Instant::now();
    // More than the two sockets' buffers hold.
    let large = admin(&Health::new()).page("/large", || "x".repeat(64 << 20));
    converse(server, Arc::new(large), CancellationToken::new()).await;
    assert!(start.elapsed() >= CONNECTION_TIMEOUT);
    assert!(start.elapsed() <= CONNECTION_TIMEOUT + 2 * DRAIN_TIMEOUT);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_until_one_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let clients = async {
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(is_answered(&mut stream).await);
            held.push(stream);
        }
        let mut late = TcpStream::connect(address).await.unwrap();
        assert!(!is_answered(&mut late).await);
        held.pop();
        let served =
            async { while !is_answered(&mut TcpStream::connect(address).await.unwrap()).await {} };
        let served = timeout(HEAD_TIMEOUT, served).await;
        assert!(served.is_ok(), "the room of a closed connection is free");
        shutdown.cancel();
    };
    let admin = admin(&Health::new());
    tokio::join!(serve(listener, admin, shutdown.clone()), clients);
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let client = async {
        let mut idle = TcpStream::connect(address).await.unwrap();
        assert!(is_answered(&mut idle).await);
        shutdown.cancel();
        idle
    };
    let serving = serve(listener, admin(&Health::new()), shutdown.clone());
    let ended = timeout(HEAD_TIMEOUT / 2, async { tokio::join!(serving, client) });
    assert!(ended.await.is_ok());
}

#[tokio::test]
async fn whoever_has_connected_when_it_ends_is_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let serving = serve(listener, admin(&Health::new()), shutdown);
    let (answered, ()) = tokio::join!(is_answered(&mut stream), serving);
    assert!(answered);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"alive\n"), "and then the connection ends");
}
