//! A purge at every point at which a fill waits.
//!
//! All runs on one thread, so a purge after so many turns of it falls between two steps, and whatever
//! a task does without waiting is one step. The origin takes its version before it answers, which is
//! the worst that an origin may do. What a purge removes is every version before it.

use std::{
    cell::Cell,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering::SeqCst,
    time::Duration,
};

use futures_util::TryStreamExt as _;
use tempfile::TempDir;
use tokio::{net::UnixStream, task::yield_now, time::timeout};
use tokio_util::task::TaskTracker;

use super::{
    super::*,
    scene::{LENGTH, Origin, PATIENCE, Parts, Scene, at, events, id, id_of, version},
};
use crate::{
    cache::{
        entry::{Key, Part},
        fill::{Had, Ready, Want},
    },
    events::Follows,
};

/// Gets the blob as a request does, to the end; its version. `begun` is called in the very step in
/// which it is decided what is sent. Where bytes are checked they cannot have versions: then the token
/// says how new they are.
async fn request(scene: &Scene, want: Want, begun: impl FnOnce()) -> u64 {
    let checks = scene.fills.checks();
    let key = Key { id: if checks { id_of(0) } else { id(7) }, part: Part::Whole };
    let had = scene.fills.have(key, None, &scene.payer(), want, PATIENCE).await.unwrap();
    begun();
    match had {
        Had::Hit(entry) | Had::Filled { ready: Ready::Entry(entry, _), .. } if checks => {
            entry.record().token.seq
        }
        Had::Hit(entry) | Had::Filled { ready: Ready::Entry(entry, _), .. } => {
            version(&entry.slices().concat())
        }
        Had::Filled { ready: Ready::Streaming(_), reader, .. } => {
            let pieces: Vec<_> = reader.stream(0..LENGTH as u64).try_collect().await.unwrap();
            version(&pieces.concat())
        }
        Had::Filled { ready: Ready::Large { .. }, .. } => panic!("it is small"),
    }
}

fn purge(scene: &Scene) {
    let change = Change::Purge(Purge::Ids(vec![id(7), id_of(0)]));
    scene.applier.apply(&events(at(1, 1), vec![change]));
}

/// Purges after so many turns; whether the request had begun by then.
async fn purge_after(turns: u32, scene: &Scene, origin: &Origin, want: Want) -> bool {
    let (is_purged, has_begun) = (Cell::new(false), Cell::new(false));
    let requesting = async {
        let began_after = Cell::new(false);
        let begun = || {
            began_after.set(is_purged.get());
            has_begun.set(true);
        };
        let sent = request(scene, want, begun).await;
        assert!(!began_after.get() || sent == 1, "began after the purge, {turns} turns: {sent}");
    };
    let purging = async {
        for _ in 0..turns {
            yield_now().await;
        }
        // The commit, and then the event.
        origin.version.store(u64::from(!scene.fills.checks()), SeqCst);
        purge(scene);
        is_purged.set(true);
        let had_begun = has_begun.get();
        let sent = request(scene, want, || {}).await;
        assert_eq!(sent, 1, "asked for after the purge, {turns} turns");
        had_begun
    };
    let ((), had_begun) = tokio::join!(requesting, purging);
    assert_eq!(request(scene, Want::Whole, || {}).await, 1, "afterwards, {turns} turns");
    had_begun
}

/// Numbers of turns, until the request has long begun. Each of the first ones; of many, some.
async fn sweep(want: Want, redis: Option<&str>, checks: bool) {
    let tasks = TaskTracker::new();
    let (mut turns, mut points, mut begun) = (0, 0, 0);
    // With Redis, what is written to it goes on for a while.
    let enough = if redis.is_some() { 30 } else { 10 };
    while begun < enough {
        let origin = Origin::start(&tasks).await;
        let (follows, url) = (Follows::None, &origin.url);
        let parts = Parts { follows, origin: url, redis, disk: None, checks };
        let scene = Scene::of(&parts).await;
        begun += u32::from(purge_after(turns, &scene, &origin, want).await);
        if redis.is_some() {
            neighbour_is_not_served_old_bytes(turns, &parts).await;
        }
        turns += 1 + turns / 20;
        points += 1;
        assert!(points < 1_000, "it begins some time");
    }
    assert!(points > 15, "{points} points are too few to mean anything");
}

/// Another node of the region, which applied the purge, and then looks into Redis.
async fn neighbour_is_not_served_old_bytes(turns: u32, parts: &Parts<'_>) {
    let neighbour = Scene::of(parts).await;
    purge(&neighbour);
    assert_eq!(request(&neighbour, Want::Whole, || {}).await, 1, "from Redis, {turns} turns");
    let redis = neighbour.fills.redis().unwrap();
    assert!(redis.record(&id(7)).await.is_none_or(|record| record.token >= at(1, 1)));
    // The next round begins with nothing.
    let _was_there = redis.remove(&id(7)).await;
}

#[tokio::test]
async fn nothing_that_begins_after_a_purge_is_older_wherever_it_falls_in_a_whole_fill() {
    sweep(Want::Whole, None, false).await;
}

#[tokio::test]
async fn nothing_that_begins_after_a_purge_is_older_wherever_it_falls_before_the_check() {
    sweep(Want::Whole, None, true).await;
}

#[tokio::test]
async fn nothing_that_begins_after_a_purge_is_older_wherever_it_falls_in_a_stream() {
    sweep(Want::Beginning, None, false).await;
}

/// A Redis of its own.
struct Server {
    child: Child,
    _home: TempDir,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill().is_err();
        let _reaped = self.child.wait().is_err();
    }
}

impl Server {
    async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket);
        let child = command.current_dir(&home).stdout(Stdio::null()).spawn();
        let child = child.expect("redis-server is installed (make test does that)");
        let answering = async {
            while UnixStream::connect(&socket).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, answering).await.expect("redis answers");
        Self { child, _home: home, url: format!("redis+unix://{}", socket.display()) }
    }
}

#[tokio::test]
async fn redis_brings_nothing_back_that_was_purged_while_it_was_written() {
    let server = Server::start().await;
    sweep(Want::Whole, Some(&server.url), false).await;
}

#[tokio::test]
async fn redis_keeps_what_was_fetched_after_the_purge_however_late_the_removal_comes() {
    let (server, tasks) = (Server::start().await, TaskTracker::new());
    let origin = Origin::start(&tasks).await;
    let (follows, redis) = (Follows::None, Some(server.url.as_str()));
    let parts = Parts { follows, origin: &origin.url, redis, disk: None, checks: false };
    let scene = Scene::of(&parts).await;
    request(&scene, Want::Whole, || {}).await;
    let redis = scene.fills.redis().unwrap();
    let writing = async {
        while !redis.holds(&id(7)).await {
            yield_now().await;
        }
    };
    timeout(PATIENCE, writing).await.expect("it is shared");
    assert_eq!(redis.remove(&id(7)).await, Some(false));
    assert!(redis.holds(&id(7)).await, "no event removed it");
    scene.log.positions.hear(at(1, 1));
    scene.log.removed.remove(&[id(7)], at(1, 1));
    assert_eq!(redis.still_holds(&id(7)).await, Some(true));
    assert_eq!(redis.remove(&id(7)).await, Some(true));
    assert_eq!(redis.remove(&id(7)).await, Some(false));
}

#[tokio::test]
async fn a_purge_of_everything_tells_what_was_looked_for_and_claims_no_more() {
    use wcdn_proto::pb::edge::v1::{ReadBack, RedisOutcome};
    let server = Server::start().await;
    let url = server.url.clone();
    let told = async |scene: &Scene, seq| {
        let purge = Change::Purge(Purge::All);
        scene.applier.apply(&events(at(1, seq), vec![purge]));
        let mut last = scene.outcomes.watch();
        let waiting = timeout(PATIENCE, last.wait_for(|last| *last == seq)).await;
        drop(waiting.expect("it is told").unwrap());
        let told = scene.outcomes.after(seq - 1, 1).outcomes[0];
        (told.memory_removed, told.redis(), told.read_back())
    };
    let parts = Parts {
        follows: Follows::None,
        origin: "http://127.0.0.1:9",
        redis: Some(&url),
        disk: None,
        checks: false,
    };
    let scene = Scene::of(&parts).await;
    assert_eq!(told(&scene, 1).await, (0, RedisOutcome::Unspecified, ReadBack::Unknown));
    scene.admit(id(1), Part::Slice(4), at(1, 1));
    assert_eq!(told(&scene, 2).await, (1, RedisOutcome::Unspecified, ReadBack::Clean));
    drop(server);
    scene.admit(id(1), Part::Slice(4), at(1, 2));
    assert_eq!(told(&scene, 3).await, (1, RedisOutcome::Unreachable, ReadBack::Unknown));
    let alone = Scene::of(&Parts { redis: None, ..parts }).await;
    assert_eq!(told(&alone, 1).await, (0, RedisOutcome::None, ReadBack::Clean));
}
