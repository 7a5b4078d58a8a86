//! What a node answers its peers.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use wcdn_proto::{BlobId, ContentId};

use super::{
    origin::Origin,
    scene::{FakePeer, KEY, PATIENCE, Reply, Scene, at, blob},
};
use crate::{
    cache::{
        entry::{Key, Level, Part},
        fill::error::FillError,
    },
    edge::response::Source,
    events::words::Word,
    peer::{
        attestation::Voucher,
        server::{Server, serve},
        tls,
    },
};

/// A node that is asked, the origin that it asks, and another that asks it.
struct Pair {
    owner: Scene,
    origin: Origin,
    asker: Scene,
    /// Of the one that asks.
    own_origin: Origin,
    refuse: CancellationToken,
    _cut: DropGuard,
}

/// Nobody is there.
const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

impl Pair {
    async fn new(id: &BlobId, body: &Bytes) -> Self {
        Self::before(id, body, NOWHERE.into()).await
    }

    /// The same, with the owner in its turn taking the node at `peer` for the owner.
    async fn before(id: &BlobId, body: &Bytes, peer: SocketAddr) -> Self {
        let (owner, origin) = Scene::new(id, body.clone(), peer).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_, tls) = tls::configs(&KEY, None).unwrap();
        let voucher = Arc::new(Voucher::new(&KEY, None));
        let Scene { config, cache, fills, metrics, tasks, .. } = &owner;
        let server = Server::new(config, cache, fills, &metrics.peer, tls, voucher);
        let (refuse, cut) = (CancellationToken::new(), CancellationToken::new());
        let trackers = (tasks.clone(), tasks.clone());
        let serving = serve(Arc::new(server), listener, trackers, refuse.clone(), cut.clone());
        tasks.spawn(serving);
        let (asker, own_origin) = Scene::new(id, body.clone(), address).await;
        Self { owner, origin, asker, own_origin, refuse, _cut: cut.drop_guard() }
    }

    /// Requests to the origin of the owner, and to that of the one that asks.
    fn fetches(&self) -> (usize, usize) {
        (self.origin.asked.lock().len(), self.own_origin.asked.lock().len())
    }
}

#[tokio::test]
async fn one_fetch_and_one_check_are_enough_for_both() {
    for length in [0, 5, 60_000, 1_800_000] {
        let (id, body) = blob(1, length);
        let pair = Pair::new(&id, &body).await;
        let got = pair.asker.get(id).await.unwrap();
        assert_eq!((got.source, got.level()), (Source::Peer, Level::Attested), "{length} bytes");
        assert!(got.bytes() == body);
        assert_eq!(pair.fetches(), (1, 0));
        assert_eq!((pair.owner.checks("match"), pair.asker.checks("match")), (1, 0));
        let held = pair.owner.get(id).await.unwrap();
        assert_eq!((held.source, held.level()), (Source::Memory, Level::Full));
        assert_eq!(pair.owner.metrics.peer.serving.get(), 0);
    }
}

#[tokio::test]
async fn what_lies_in_memory_is_given_and_parts_are_cut_from_the_whole() {
    use crate::cache::fill::{Had, Ready, Want};
    let (id, body) = blob(2, 60_000);
    let pair = Pair::new(&id, &body).await;
    pair.owner.get(id).await.unwrap();
    for (part, range) in [(Part::Probe, 0..1), (Part::Beginning, 0..512)] {
        let (key, payer) = (Key { id, part }, pair.asker.payer());
        let had = pair.asker.fills.have(key, Some(60_000), &payer, Want::Whole, PATIENCE).await;
        let Had::Filled { ready: Ready::Entry(entry, source), .. } = had.unwrap() else {
            panic!("{part:?} is filled");
        };
        assert_eq!((source, entry.record().total), (Source::Peer, 60_000), "{part:?}");
        assert_eq!(entry.slices().concat(), body[range]);
    }
    assert_eq!(pair.asker.get(id).await.unwrap().source, Source::Peer);
    assert_eq!(pair.fetches(), (1, 0));
}

#[tokio::test]
async fn a_node_that_lags_behind_is_passed_over() {
    let (id, body) = blob(3, 5_000);
    let pair = Pair::new(&id, &body).await;
    pair.owner.get(id).await.unwrap();
    pair.asker.purge(id, at(1, 5));
    let got = pair.asker.get(id).await.unwrap();
    assert_eq!((got.source, got.entry.record().token), (Source::Walrus, at(1, 5)));
}

#[tokio::test]
async fn what_is_older_than_a_peer_may_serve_is_fetched_anew() {
    let (id, body) = blob(4, 5_000);
    let pair = Pair::new(&id, &body).await;
    pair.owner.get(id).await.unwrap();
    pair.asker.purge(id, at(1, 5));
    // It knows that there is an event, but has not applied it.
    pair.owner.log.positions.hear(at(1, 6));
    let got = pair.asker.get(id).await.unwrap();
    assert_eq!((got.source, got.entry.record().token), (Source::Peer, at(1, 5)));
    assert_eq!(pair.fetches(), (2, 0));
    assert_eq!(pair.owner.get(id).await.unwrap().entry.record().token, at(1, 6));
}

#[tokio::test]
async fn withheld_bytes_are_not_given_to_peers_either() {
    let (id, body) = blob(5, 5_000);
    let pair = Pair::new(&id, &body).await;
    pair.owner.get(id).await.unwrap();
    let block = |scene: &Scene| {
        let word = Word { at: at(1, 0), is_set: true };
        scene.log.blocked.hear(&[ContentId::Blob(id)], word);
        scene.log.cut();
    };
    block(&pair.owner);
    assert_eq!(pair.asker.get(id).await.unwrap().source, Source::Walrus, "it knows of no block");
    let (id, body) = blob(6, 5_000);
    let pair = Pair::new(&id, &body).await;
    let word = Word { at: at(1, 0), is_set: true };
    for scene in [&pair.owner, &pair.asker] {
        scene.log.blocked.hear(&[ContentId::Blob(id)], word);
    }
    assert!(matches!(*pair.asker.get(id).await.unwrap_err(), FillError::Withheld));
    assert_eq!(pair.fetches(), (0, 0));
}

#[tokio::test]
async fn who_is_asked_asks_no_other_peer_in_turn() {
    let (id, body) = blob(7, 5_000);
    let silent = FakePeer::start(&TaskTracker::new(), |_: &_| Reply::Nothing).await;
    let pair = Pair::before(&id, &body, silent.address).await;
    assert!(pair.owner.asks_peers(id), "it takes another for the owner");
    let got = pair.asker.get(id).await.unwrap();
    assert_eq!((got.source, silent.asked.lock().len()), (Source::Peer, 0));
    assert_eq!(pair.fetches(), (1, 0));
}

#[tokio::test]
async fn a_fill_that_waits_for_a_peer_goes_to_origins_once_it_is_asked_for_itself() {
    let (id, body) = blob(8, 5_000);
    let silent = FakePeer::start(&TaskTracker::new(), |_: &_| Reply::Nothing).await;
    let pair = Pair::before(&id, &body, silent.address).await;
    let waiting = pair.owner.get(id);
    let asking = async {
        while silent.asked.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        pair.asker.get(id).await
    };
    let began = tokio::time::Instant::now();
    let (waited, asked) = tokio::join!(waiting, asking);
    assert_eq!((waited.unwrap().source, asked.unwrap().source), (Source::Walrus, Source::Peer));
    assert_eq!(pair.fetches(), (1, 0));
    // It would have waited for a second before it asked an origin too.
    assert!(began.elapsed() < std::time::Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_origin_that_was_asked_while_a_peer_was_silent_is_asked_again() {
    let (id, body) = blob(11, 5_000);
    let silent = FakePeer::start(&TaskTracker::new(), |_: &_| Reply::Nothing).await;
    let pair = Pair::before(&id, &body, silent.address).await;
    pair.origin.holds_first.store(true, Relaxed);
    let waiting = pair.owner.get(id);
    let asking = async {
        while pair.origin.asked.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        pair.asker.get(id).await
    };
    let (waited, asked) = tokio::join!(waiting, asking);
    assert_eq!((waited.unwrap().source, asked.unwrap().source), (Source::Walrus, Source::Peer));
    assert_eq!(pair.fetches(), (2, 0));
}

#[tokio::test]
async fn a_node_that_stops_gives_what_it_has_begun_and_nothing_more() {
    let (id, body) = blob(9, 1_800_000);
    let pair = Pair::new(&id, &body).await;
    assert_eq!(pair.asker.get(id).await.unwrap().source, Source::Peer);
    pair.refuse.cancel();
    pair.asker.cache.remove_all_of(&id);
    let again = async {
        loop {
            let got = pair.asker.get(id).await.unwrap();
            pair.asker.cache.remove_all_of(&id);
            assert!(got.bytes() == body);
            if got.source == Source::Walrus {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it is asked no more");
}

#[tokio::test]
async fn strangers_are_counted_and_get_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (id, body) = blob(10, 5_000);
    let pair = Pair::new(&id, &body).await;
    let address = pair.asker.peers.route(&Key { id, part: Part::Whole })[0].address();
    let mut stranger = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v1/{id}/whole HTTP/1.1\r\nhost: x\r\n\r\n");
    stranger.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    drop(stranger.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(pair.owner.metrics.peer.strangers.get(), 1);
}

#[tokio::test]
async fn strangers_that_say_nothing_keep_no_peer_out() {
    let (id, body) = blob(12, 5_000);
    let pair = Pair::new(&id, &body).await;
    let address = pair.asker.peers.route(&Key { id, part: Part::Whole })[0].address();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(pair.asker.get(id).await.unwrap().source, Source::Peer);
    assert_eq!(pair.fetches(), (1, 0));
    let counted = async {
        while pair.owner.metrics.peer.strangers.get() < 200 - 64 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("the oldest ones are dropped");
}
