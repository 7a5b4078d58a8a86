//! What one client may take, and who it is.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
};

use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::Instant,
};
use wcdn_daemon::proxy::ClientHeader;
use wcdn_dev::Topology;
use wcdn_proto::{BlobId, ByteSize};
use wcdn_tests::{
    Fleet, bytes,
    client::{Client, Protocol},
    eventually,
};

/// Another address of this machine.
fn neighbour(n: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, n).into()
}

/// Sends bytes from an address as they are; what comes back until the connection closes.
async fn raw(fleet: &Fleet, from: IpAddr, request: &[u8]) -> String {
    let mut stream = connect(fleet, from).await;
    let _cut_short = stream.write_all(request).await.is_err();
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await.is_err();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn connect(fleet: &Fleet, from: IpAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(fleet.address()).await.unwrap()
}

/// Who asked, by the access log of a system that has seen only requests for this.
async fn logged(change: impl FnOnce(&mut Topology), requests: &[&[u8]]) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("access.log");
    let fleet = Fleet::with(|topology| {
        topology.edge.access_log.to = path.clone();
        change(topology);
    })
    .await;
    for request in requests {
        raw(&fleet, neighbour(1), request).await;
    }
    fleet.stop().await;
    let client = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["client"].as_str().unwrap().to_owned()
    };
    std::fs::read_to_string(path).unwrap().lines().map(client).collect()
}

fn request(headers: &str) -> Vec<u8> {
    format!("GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").into_bytes()
}

fn behind_proxies(topology: &mut Topology) {
    topology.edge.proxy.trusted = vec!["127.0.0.0/8".parse().unwrap()];
}

fn proxy_v2(source: [u8; 4]) -> Vec<u8> {
    let signature = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c";
    [&signature[..], &source, &[127, 0, 0, 1], &[0, 80, 0, 80]].concat()
}

#[tokio::test]
async fn a_viewer_behind_a_proxy_is_told_apart_by_its_own_address() {
    let headers = [
        "x-forwarded-for: 198.51.100.7\r\n",
        "x-forwarded-for: 1.1.1.1, 198.51.100.8, 127.0.0.9\r\n",
        "",
    ]
    .map(request);
    let clients = logged(behind_proxies, &headers.each_ref().map(|head| &head[..])).await;
    assert_eq!(clients, ["198.51.100.7", "198.51.100.8", "127.0.0.1"]);
}

#[tokio::test]
async fn a_header_that_proxies_do_not_add_to_names_nobody() {
    let both = request("forwarded: for=198.51.100.7\r\nx-forwarded-for: 198.51.100.8\r\n");
    let only = request("forwarded: for=\"[2001:db8::9]:4711\";proto=https\r\n");
    assert_eq!(logged(behind_proxies, &[&both, &only]).await, ["198.51.100.8", "127.0.0.1"]);
    let by_forwarded = |topology: &mut Topology| {
        behind_proxies(topology);
        topology.edge.proxy.header = ClientHeader::Forwarded;
    };
    assert_eq!(logged(by_forwarded, &[&both, &only]).await, ["198.51.100.7", "2001:db8::9"]);
}

#[tokio::test]
async fn nobody_else_can_say_that_it_is_another() {
    let spoofed = request("forwarded: for=1.1.1.1\r\nx-forwarded-for: 1.1.1.1\r\n");
    let clients = logged(|_| {}, &[&spoofed]).await;
    assert_eq!(clients, ["127.0.0.1"]);
    let elsewhere = |topology: &mut Topology| {
        topology.edge.proxy.trusted = vec!["10.0.0.0/8".parse().unwrap()];
        topology.edge.proxy.protocol = true;
    };
    let carried = [proxy_v2([1, 1, 1, 1]), request("")].concat();
    let clients = logged(elsewhere, &[&spoofed, &carried]).await;
    assert_eq!(clients, ["127.0.0.1"], "and the PROXY header is no request");
}

#[tokio::test]
async fn a_balancer_says_whom_it_carries_before_anything_else() {
    let with_protocol = |topology: &mut Topology| {
        behind_proxies(topology);
        topology.edge.proxy.protocol = true;
    };
    let requests = [
        [proxy_v2([198, 51, 100, 1]), request("")].concat(),
        [b"PROXY TCP4 198.51.100.2 127.0.0.1 1 2\r\n".to_vec(), request("")].concat(),
        // What it carries is no proxy, so that its headers are its own invention.
        [proxy_v2([198, 51, 100, 3]), request("x-forwarded-for: 1.1.1.1\r\n")].concat(),
        request(""),
    ];
    let clients = logged(with_protocol, &requests.each_ref().map(|head| &head[..])).await;
    assert_eq!(clients, ["198.51.100.1", "198.51.100.2", "198.51.100.3"], "the last is cut");
}

#[tokio::test]
async fn one_client_cannot_have_all_connections() {
    let fleet = Fleet::with(|topology| topology.edge.limits.max_connections_per_client = 2).await;
    let request = request("");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&fleet, neighbour(1)).await;
        stream.write_all(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        held.push(stream);
    }
    let refused = raw(&fleet, neighbour(1), &request).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert_eq!(fleet.metric("wcdn_shed_total", "connections_per_client").await, 1.0);
    assert!(raw(&fleet, neighbour(2), &request).await.starts_with("HTTP/1.1 200"));
    drop(held);
    eventually("there is room again", || async {
        raw(&fleet, neighbour(1), &request).await.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn connections_of_a_proxy_are_not_one_clients() {
    let fleet = Fleet::with(|topology| {
        behind_proxies(topology);
        topology.edge.limits.max_connections_per_client = 1;
    })
    .await;
    let _held = connect(&fleet, neighbour(1)).await;
    eventually("it is connected", || async { fleet.metric("wcdn_connections", "").await == 1.0 })
        .await;
    assert!(raw(&fleet, neighbour(1), &request("")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_http2_client_turned_away_is_told_so_in_its_own_words() {
    use wcdn_tests::frames::{Line, kind};
    let fleet = Fleet::with(|topology| topology.edge.limits.max_connections = 1).await;
    let _held = connect(&fleet, neighbour(1)).await;
    eventually("it is connected", || async { fleet.metric("wcdn_connections", "").await == 1.0 })
        .await;
    let mut line = Line::open(fleet.address(), &[]).await;
    assert_eq!(line.next().await.unwrap().kind, kind::SETTINGS);
    let goaway = line.next().await.unwrap();
    assert_eq!((goaway.kind, &goaway.payload[4..]), (kind::GOAWAY, &[0, 0, 0, 11][..]));
}

#[tokio::test]
async fn requests_under_way_of_one_client_have_a_limit_over_http2() {
    let fleet = Fleet::with(|topology| topology.edge.limits.max_streams_per_client = 2).await;
    let id = fleet.store(bytes(1, 1_000)).await;
    fleet.fault_all(json!({"latency_ms": 500})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let (one, another) = (Client::http2(), Client::http2());
    let running = async { tokio::join!(one.get(&url), another.get(&url)) };
    let refused = async {
        eventually("both run", || async { fleet.metric("wcdn_fills_in_flight", "").await == 1.0 })
            .await;
        eventually("a third is refused", || async {
            let reply = one.get(&fleet.edge(0, "/status")).await;
            reply.status == StatusCode::TOO_MANY_REQUESTS && reply.code() == "RATE_LIMITED"
        })
        .await;
        let elsewhere = Client::at(neighbour(2), Protocol::Http2);
        assert_eq!(elsewhere.get(&fleet.edge(0, "/status")).await.status, StatusCode::OK);
    };
    let ((first, second), ()) = tokio::join!(running, refused);
    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(one.get(&url).await.header("x-cache"), "HIT");
}

#[tokio::test]
async fn the_rate_of_requests_is_limited_and_a_reload_changes_it() {
    let fleet =
        Fleet::with(|topology| topology.edge.limits.requests_per_second_per_client = 1).await;
    for _ in 0..2 {
        assert_eq!(fleet.get("/status").await.status, StatusCode::OK);
    }
    let refused = fleet.get("/status").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("RATE_LIMITED", "1"));
    assert_eq!(refused.header("access-control-allow-origin"), "*");
    let node = fleet.cluster.edges()[0].node();
    let mut config = node.config().clone();
    config.limits.requests_per_second_per_client = 0;
    config.cache.memory = wcdn_proto::ByteSize::mib(512);
    assert_eq!(node.reload(&config).unwrap().needs_restart, ["cache.memory"]);
    for _ in 0..20 {
        assert_eq!(fleet.get("/status").await.status, StatusCode::OK);
    }
    config.limits.requests_per_second_per_client = 1;
    config.limits.max_headers = 0;
    let told = node.reload(&config).unwrap_err().to_string();
    assert_eq!(told, "limits.max_headers is 0; the least is 1");
    assert_eq!(fleet.get("/status").await.status, StatusCode::OK, "the old limits stay");
}

#[tokio::test]
async fn the_body_of_a_request_beyond_a_limit_is_not_waited_for() {
    let fleet =
        Fleet::with(|topology| topology.edge.limits.requests_per_second_per_client = 1).await;
    // One of which nothing comes is waited for two seconds.
    let upload = request("content-length: 100000\r\n");
    let mut took = Vec::new();
    for _ in 0..2 {
        let began = Instant::now();
        let answer = raw(&fleet, neighbour(1), &upload).await;
        took.push((answer.starts_with("HTTP/1.1 200"), began.elapsed().as_secs() < 2));
        raw(&fleet, neighbour(1), &request("")).await;
        raw(&fleet, neighbour(1), &request("")).await;
    }
    assert_eq!(took, [(true, false), (false, true)]);
}

#[tokio::test]
async fn twenty_thousand_random_ids_from_one_address_reach_no_origin_beyond_its_budget() {
    const BURST: u32 = 200;
    const RATE: u32 = 50;
    let fleet = Fleet::with(|topology| {
        let limits = &mut topology.edge.limits;
        (limits.misses_per_client, limits.miss_burst_per_client) = (RATE, BURST);
    })
    .await;
    let body = bytes(1, 10_000);
    let ids = [fleet.store(body.clone()).await, fleet.store(bytes(2, 10_000)).await];
    let urls = ids.map(|id| fleet.edge(0, &format!("/cdn/{id}")));
    let attacker = Client::at(neighbour(9), Protocol::Http2);
    assert_eq!(attacker.get(&urls[0]).await.body, body);
    let began = Instant::now();
    let mut statuses = HashSet::new();
    let asked = stream::iter(0..20_000u32).map(|n| {
        let id = BlobId::from_bytes(*blake_like(n).first_chunk().unwrap());
        let (attacker, url) = (&attacker, fleet.edge(0, &format!("/cdn/{id}")));
        async move { attacker.get(&url).await.status }
    });
    let mut asked = asked.buffer_unordered(90);
    let mut count = 0;
    while let Some(status) = asked.next().await {
        statuses.insert(status);
        count += 1;
        if count == 10_000 {
            assert_eq!(attacker.get(&urls[0]).await.header("x-cache"), "HIT", "hits go on");
            let other = fleet.client.get(&urls[1]).await;
            assert_eq!((other.status, other.header("x-cache")), (StatusCode::OK, "MISS"));
        }
    }
    let most = f64::from(BURST) + f64::from(RATE) * began.elapsed().as_secs_f64();
    let fills = fleet.metric("wcdn_fills_total", "").await;
    assert!(fills >= f64::from(BURST) && fills <= most + 2.0, "{fills} fills, {most} allowed");
    let expected = [StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS];
    assert_eq!(statuses, HashSet::from(expected));
    let shed = fleet.metric("wcdn_shed_total", "misses_per_client").await;
    assert!(shed >= 20_000.0 - most, "{shed} were shed");
}

/// Bytes that differ for each `n`.
fn blake_like(n: u32) -> Vec<u8> {
    bytes(u64::from(n) + 1_000_000, 32).to_vec()
}

#[tokio::test]
async fn a_herd_after_one_blob_is_charged_once_and_hits_are_free() {
    let fleet = Fleet::with(|topology| topology.edge.limits.miss_burst_per_client = 1).await;
    let body = bytes(3, 50_000);
    let id = fleet.store(body.clone()).await;
    fleet.fault_all(json!({"latency_ms": 200})).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    let herd = (0..50).map(|_| fleet.client.get(&url));
    let replies = futures_util::future::join_all(herd).await;
    assert!(replies.iter().all(|reply| reply.body == body));
    for _ in 0..50 {
        assert_eq!(fleet.client.get(&url).await.header("x-cache"), "HIT");
    }
}

#[tokio::test]
async fn a_large_blob_slows_down_with_its_viewers_budget_but_is_not_cut() {
    let fleet = Fleet::with(|topology| {
        topology.edge.cache.memory = ByteSize::mib(16);
        topology.edge.fetch.slice = ByteSize::mib(1);
        let limits = &mut topology.edge.limits;
        (limits.misses_per_client, limits.miss_burst_per_client) = (20, 3);
    })
    .await;
    let body = bytes(4, 8_000_000);
    let id = fleet.store(body.clone()).await;
    let reply = fleet.get(&format!("/cdn/{id}")).await;
    assert!(reply.complete && reply.body == body, "{} bytes came", reply.body.len());
    assert!(fleet.metric("wcdn_shed_total", "misses_per_client").await >= 1.0);
}

#[tokio::test]
async fn a_large_blob_waits_for_the_budget_of_the_node_and_is_not_cut() {
    let fleet = Fleet::with(|topology| {
        topology.edge.cache.memory = ByteSize::mib(16);
        topology.edge.fetch.slice = ByteSize::new(64 << 10);
        let limits = &mut topology.edge.limits;
        (limits.misses_per_client, limits.misses_per_second) = (0, 20);
    })
    .await;
    let body = bytes(5, 8_000_000);
    let id = fleet.store(body.clone()).await;
    let reply = fleet.get(&format!("/cdn/{id}")).await;
    assert!(reply.complete && reply.body == body, "{} bytes came", reply.body.len());
    assert!(fleet.metric("wcdn_shed_total", "reason=\"misses\"").await >= 1.0);
}

#[tokio::test]
async fn a_client_with_many_fills_under_way_leaves_room_for_others() {
    let fleet = Fleet::with(|topology| {
        (topology.edge.fetch.max_fills, topology.edge.limits.fills_per_client) = (8, 2);
    })
    .await;
    let mut urls = Vec::new();
    for n in 0..12 {
        let id = fleet.store(bytes(200 + n, 1_000)).await;
        urls.push(fleet.edge(0, &format!("/cdn/{id}")));
    }
    fleet.fault_all(json!({"latency_ms": 500})).await;
    let greedy = Client::at(neighbour(3), Protocol::Http2);
    let modest = Client::at(neighbour(4), Protocol::Http2);
    let asked = futures_util::future::join_all(urls[..11].iter().map(|url| greedy.get(url)));
    let another = async {
        eventually("its fills run", || async {
            fleet.metric("wcdn_fills_in_flight", "").await == 2.0
        })
        .await;
        modest.get(&urls[11]).await.status
    };
    let (replies, status) = tokio::join!(asked, another);
    assert_eq!(status, StatusCode::OK);
    let served = replies.iter().filter(|reply| reply.status == StatusCode::OK).count();
    let refused =
        replies.iter().filter(|reply| reply.status == StatusCode::TOO_MANY_REQUESTS).count();
    assert_eq!((served, refused), (2, 9));
    assert_eq!(fleet.metric("wcdn_shed_total", "fills_per_client").await, 9.0);
}

#[tokio::test]
async fn all_clients_together_have_a_budget_of_the_node() {
    let fleet = Fleet::with(|topology| {
        let limits = &mut topology.edge.limits;
        (limits.misses_per_client, limits.misses_per_second) = (0, 1);
    })
    .await;
    let mut statuses = Vec::new();
    for n in 0..6u8 {
        let client = Client::at(neighbour(10 + n), Protocol::Http1);
        let id = fleet.store(bytes(100 + u64::from(n), 100)).await;
        let asking = client.request(Method::GET, &fleet.edge(0, &format!("/cdn/{id}")));
        statuses.push(asking.send().await.status.as_u16());
    }
    assert_eq!(statuses[..4], [200; 4]);
    assert_eq!(statuses[5], 503);
    assert!(fleet.metric("wcdn_shed_total", "reason=\"misses\"").await >= 1.0);
}
