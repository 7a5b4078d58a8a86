//! The edge before viewers that others wrote: HTTP/2 to the letter, and slowness with a purpose.

use wcdn_proto::Span;
use wcdn_tests::{
    Fleet, bytes, eventually,
    nghttp2::{Count, h2load, nghttp},
    slowhttptest::{Slow, VIEWERS, begin},
    tls::{Deployed, Issued},
};

const ALL: Count = Count { succeeded: 2000, failed: 0, errored: 0, timeout: 0 };

/// A fleet with TLS, and the two ways to its first edge.
async fn fleet() -> (Fleet, [String; 2], Deployed) {
    let deployed = Deployed::new(&Issued::new());
    let fleet = Fleet::with(|topology| deployed.serve(topology)).await;
    let ways = [fleet.edge(0, ""), fleet.tls("")];
    (fleet, ways, deployed)
}

#[tokio::test]
async fn nghttp_sees_every_stream_answered_and_ended() {
    let (fleet, ways, _deployed) = fleet().await;
    let id = fleet.store(bytes(1, 200_000)).await;
    let (blob, etag) = (format!("/cdn/{id}"), format!("if-none-match: \"{id}\""));
    let cases: [(&str, &[&str], u16); 6] = [
        (&blob, &[], 200),
        (&blob, &["range: bytes=5-99999"], 206),
        (&blob, &["range: bytes=0-9,100-120"], 206),
        (&blob, &[&etag], 304),
        ("/cdn/nonsense", &[], 400),
        ("/nowhere", &[], 404),
    ];
    for (path, headers, status) in cases {
        for way in &ways {
            let mut session = nghttp(&format!("{way}{path}"), 20, headers).await;
            assert_eq!(session.broken, [""; 0], "{way}{path} {headers:?}");
            let statuses: Vec<u16> = session.statuses.values().copied().collect();
            assert_eq!(statuses, [status; 20], "{way}{path} {headers:?}");
            session.ended.sort_unstable();
            assert!(session.ended.iter().eq(session.statuses.keys()), "{session:?}");
        }
    }
}

#[tokio::test]
async fn h2load_gets_all_that_it_asks_for() {
    let (fleet, ways, _deployed) = fleet().await;
    let id = fleet.store(bytes(2, 20_000)).await;
    for way in ways {
        assert_eq!(h2load(&format!("{way}/cdn/{id}")).await, ALL, "{way}");
    }
    assert_eq!(fleet.fetches(&id).await, 1);
}

#[tokio::test]
async fn slow_viewers_are_cut_while_others_are_served() {
    let fleet = Fleet::with(|topology| {
        topology.edge.limits.head_timeout = Span::secs(2);
        topology.edge.limits.send_timeout = Span::secs(2);
    })
    .await;
    let body = bytes(3, 3_000_000);
    let id = fleet.store(body.clone()).await;
    let url = fleet.edge(0, &format!("/cdn/{id}"));
    for slow in [Slow::Head, Slow::Read] {
        let attack = begin(slow, &url);
        eventually("most of them are here", || async {
            fleet.metric("wcdn_connections", "").await >= f64::from(VIEWERS / 2)
        })
        .await;
        eventually("all of them are gone", || async {
            let reply = fleet.client.get(&url).await;
            assert!(reply.complete && reply.body == body, "{slow:?}");
            // The one that is left is the client's.
            fleet.metric("wcdn_connections", "").await <= 1.0
        })
        .await;
        drop(attack);
    }
}
