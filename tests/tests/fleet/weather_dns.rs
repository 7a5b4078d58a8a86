//! DNS that is silent, and hosts of which some addresses are dead.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use wcdn_dev::Topology;
use wcdn_node::config::OriginSpec;
use wcdn_proto::{BlobId, Span};
use wcdn_tests::{
    Fleet, bytes,
    dns::NameServer,
    eventually,
    script::{self, ScriptedOrigin},
};
use wcdn_walrus::blob_id;

/// An origin that knows one blob, found by the name `origin.test`.
struct Named {
    origin: ScriptedOrigin,
    dns: NameServer,
    body: bytes::Bytes,
    id: BlobId,
}

impl Named {
    async fn start() -> Self {
        let body = bytes(7, 5_000);
        let id = blob_id(Topology::for_tests().encoding, std::slice::from_ref(&body)).unwrap();
        let answer = script::ok(&body);
        let origin = ScriptedOrigin::start(move |_| answer.clone()).await;
        Self { origin, dns: NameServer::start().await, body, id }
    }

    fn port(&self) -> u16 {
        self.origin.url().rsplit(':').next().unwrap().parse().unwrap()
    }

    /// A fleet that finds the origin by its name.
    async fn fleet(&self, timeout: Span) -> Fleet {
        let url = format!("http://origin.test:{}", self.port());
        Fleet::with(|topology| {
            let name = "named".parse().unwrap();
            topology.edge.origins = vec![OriginSpec::new(name, url.parse().unwrap())];
            topology.edge.dns.servers = vec![self.dns.address()];
            topology.edge.dns.timeout = timeout;
        })
        .await
    }

    /// Has every edge fetch the blob, each over connections of its own.
    async fn is_served_everywhere(&self, fleet: &Fleet) {
        for edge in 0..3 {
            let url = fleet.edge(edge, &format!("/cdn/{}", self.id));
            let reply = fleet.client.get(&url).await;
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
            assert_eq!(reply.body, self.body);
        }
        let unreachable = "outcome=\"unreachable\"";
        assert_eq!(fleet.metric("wcdn_origin_requests_total", unreachable).await, 0.0);
    }
}

#[tokio::test]
async fn a_silent_dns_fails_misses_in_time_by_name_and_heals() {
    let named = Named::start().await;
    named.dns.name("origin.test", &["127.0.0.1"]);
    named.dns.silent(true);
    let fleet = named.fleet(Span::millis(300)).await;
    let path = format!("/cdn/{}", named.id);
    let start = Instant::now();
    let reply = fleet.get(&path).await;
    assert!(start.elapsed() < Duration::from_secs(5), "its deadline is 300 ms");
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "ORIGINS_FAILED"));
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    let why = "named: the addresses of origin.test cannot be found: no answer for 300ms";
    assert!(message.contains(why), "{message}");
    assert!(named.dns.questions() > 0 && named.origin.requests() == 0);

    named.dns.silent(false);
    eventually("the origin is found", async || fleet.get(&path).await.status == StatusCode::OK)
        .await;
    named.dns.silent(true);
    let hit = fleet.get(&path).await;
    assert!(hit.status == StatusCode::OK && hit.body == named.body, "hits need no DNS");
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_over() {
    let named = Named::start().await;
    // The whole of 127/8 is this host, and nobody listens at the second address.
    named.dns.name("origin.test", &["127.0.0.2", "127.0.0.1"]);
    let fleet = named.fleet(Span::secs(2)).await;
    named.is_served_everywhere(&fleet).await;
}

#[tokio::test]
async fn an_ipv6_address_that_swallows_connections_costs_a_moment() {
    let named = Named::start().await;
    let _hole = BlackHole::at(&format!("[::1]:{}", named.port())).await;
    named.dns.name("origin.test", &["::1", "127.0.0.1"]);
    let fleet = named.fleet(Span::secs(2)).await;
    named.is_served_everywhere(&fleet).await;
    let waited = fleet.metric("wcdn_origin_latency_seconds", "").await;
    assert!(waited < 0.9, "{waited} s, where the other family is tried after 0.25");
}

/// A listener that accepts nothing and whose queue is full: the kernel drops what else comes.
struct BlackHole {
    _listener: tokio::net::TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// `None` where there is no IPv6: then the address is unreachable by itself.
    async fn at(address: &str) -> Option<Self> {
        let address = address.parse().unwrap();
        let socket = TcpSocket::new_v6().ok()?;
        socket.bind(address).ok()?;
        let listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) =
            timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            queued.push(stream.unwrap());
        }
        Some(Self { _listener: listener, _queued: queued })
    }
}
