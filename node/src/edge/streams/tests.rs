use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Scene {
    standing: Arc<Standing>,
    streams: Arc<Streams>,
    watcher: Watcher,
    begin: Instant,
}

fn scene() -> Scene {
    let begin = Instant::now();
    let (standing, streams) = (Arc::default(), Arc::<Streams>::default());
    Scene { standing, streams, watcher: Watcher::new(begin), begin }
}

impl Scene {
    /// Looks every second from `from` on; when something was first found other than `Fine`.
    fn first(
        &mut self,
        seconds: std::ops::Range<u32>,
        mut each: impl FnMut(),
    ) -> Option<(u32, Finding)> {
        for second in seconds {
            each();
            let now = self.begin + second * SECOND;
            let found = self.watcher.look(&self.standing, &self.streams, &Limits::default(), now);
            if found != Finding::Fine {
                return Some((second, found));
            }
        }
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_nobody_takes_is_asked_to_go_and_then_cut() {
    let mut scene = scene();
    let stream = scene.streams.begin(None);
    stream.handed(1_000_000);
    assert_eq!(scene.first(0..100, || {}), Some((30, Finding::Close)));
    assert_eq!(scene.first(31..100, || {}), Some((60, Finding::Cut)));
}

#[tokio::test(start_paused = true)]
async fn others_may_finish_beside_it_but_not_for_ever() {
    let mut scene = scene();
    let (stuck, lively) = (scene.streams.begin(None), scene.streams.begin(None));
    stuck.handed(1_000_000);
    lively.handed(100_000_000);
    let standing = Arc::clone(&scene.standing);
    let take = || {
        lively.taken(50_000);
        standing.write(50_000);
    };
    assert_eq!(scene.first(0..100, take), Some((30, Finding::Close)));
    assert_eq!(scene.first(31..200, take), Some((120, Finding::Cut)));
}

#[tokio::test(start_paused = true)]
async fn one_that_trickles_through_a_full_socket_hides_none_that_takes_nothing() {
    let mut scene = scene();
    let (stuck, trickling) = (scene.streams.begin(None), scene.streams.begin(None));
    stuck.handed(1_000_000);
    trickling.handed(100_000_000);
    let standing = Arc::clone(&scene.standing);
    standing.block();
    let take = || {
        trickling.taken(20_000);
        standing.write(20_000);
    };
    assert_eq!(scene.first(0..100, take), Some((30, Finding::Close)));
    assert_eq!(scene.first(31..200, take), Some((120, Finding::Cut)));
}

#[tokio::test(start_paused = true)]
async fn many_streams_of_a_slow_viewer_are_as_good_as_one() {
    for is_blocked in [true, false] {
        let mut scene = scene();
        let streams: Vec<_> = (0..100).map(|_| scene.streams.begin(None)).collect();
        streams.iter().for_each(|stream| stream.handed(100_000_000));
        let standing = Arc::clone(&scene.standing);
        if is_blocked {
            standing.block();
        }
        let mut turns = streams.iter().cycle();
        let take = || {
            turns.next().unwrap().taken(20_000);
            standing.write(20_000);
        };
        assert_eq!(scene.first(0..2_000, take), None, "{is_blocked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_takes_hardly_a_byte_is_cut() {
    let mut scene = scene();
    let stream = scene.streams.begin(None);
    stream.handed(1_000_000);
    let standing = Arc::clone(&scene.standing);
    standing.block();
    let take = || {
        stream.taken(100);
        standing.write(100);
    };
    assert_eq!(scene.first(0..100, take), Some((30, Finding::Cut)));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_does_not_end_is_waited_for_no_longer_than_a_head() {
    let mut scene = scene();
    let _waiting = scene.streams.begin(None);
    let standing = Arc::clone(&scene.standing);
    let mut frames = 1..;
    let each = || standing.begin(frames.next().unwrap());
    assert_eq!(scene.first(0..60, each), None, "each has ended");
    assert_eq!(scene.first(60..100, || standing.begin(1_000)), Some((70, Finding::Cut)));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_origin_is_not_the_viewers_fault() {
    let mut scene = scene();
    let stream = scene.streams.begin(None);
    stream.handed(1_000);
    stream.taken(1_000);
    assert_eq!(scene.first(0..600, || {}), None);
}

#[tokio::test(start_paused = true)]
async fn a_full_socket_is_no_streams_fault() {
    let mut scene = scene();
    let stream = scene.streams.begin(None);
    stream.handed(100_000_000);
    let standing = Arc::clone(&scene.standing);
    standing.block();
    let take = || {
        stream.taken(20_000);
        standing.write(20_000);
    };
    assert_eq!(scene.first(0..600, take), None);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_cut_if_it_does_not_go() {
    let mut scene = scene();
    drop(scene.streams.begin(None));
    assert_eq!(scene.first(0..100, || {}), Some((60, Finding::Close)));
    scene.first(61..70, || {});
    assert_eq!(scene.first(70..71, || {}), Some((70, Finding::Cut)));
}

#[test]
fn a_request_is_open_until_its_last_piece_is_gone() {
    let streams = Arc::<Streams>::default();
    let stream = streams.begin(None);
    let piece = Arc::clone(&stream);
    drop(stream);
    assert_eq!(streams.open(), 1);
    drop(piece);
    assert_eq!(streams.open(), 0);
}
