//! How fast events are everywhere, and at what cost, in simulated time: no box is too slow for it.
//!
//! The log cannot be read meanwhile unless a test says so, so that only the event plane mends.

use std::time::Duration;

use wcdn_gossip::{edge_brain::EdgeBrain, receipts::Confirmation};

use crate::{
    calm, ms,
    world::{Shape, WINDOW, Weather, World},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// A cluster in which everybody has begun and nobody can read the log any more.
fn begun(shape: Shape, weather: Weather) -> World {
    let mut world = World::new(shape, calm(ms(5)), 1);
    world.run(Duration::from_secs(3));
    world.check_converged();
    world.log_away = world.now + HOUR;
    world.weather = weather;
    world
}

fn is_everywhere(world: &World) -> bool {
    let applied = (0..world.shape.edges).filter_map(|edge| world.edge(edge));
    applied.map(EdgeBrain::applied).all(|applied| applied == world.log.head)
}

fn is_receipted(world: &World) -> bool {
    let issuers = world.shape.edges..world.nodes.len();
    issuers.filter_map(|n| world.issuer(n)).all(|issuer| {
        let progress = issuer.progress(world.log.head);
        progress.iter().all(|node| matches!(node.state, Confirmation::Applied { .. }))
    })
}

/// How long it takes until something holds.
fn until(world: &mut World, holds: impl Fn(&World) -> bool) -> Duration {
    let begin = world.now;
    while !holds(world) {
        world.run(ms(1));
        assert!(world.now < begin + Duration::from_secs(20), "it never holds");
    }
    world.now - begin
}

/// The times of purges, one after the other, to all edges and to the receipts of all issuers, sorted.
fn purge_times(world: &mut World, purges: u8) -> (Vec<Duration>, Vec<Duration>) {
    let (mut everywhere, mut receipted) = (Vec::new(), Vec::new());
    for n in 0..purges {
        world.purge(n.into(), n);
        let first = until(world, is_everywhere);
        everywhere.push(first);
        receipted.push(first + until(world, is_receipted));
        world.run(ms(50));
    }
    everywhere.sort_unstable();
    receipted.sort_unstable();
    (everywhere, receipted)
}

#[test]
fn at_a_fifth_of_loss_a_purge_is_everywhere_and_receipted_within_260_ms() {
    let shape = Shape { edges: 20, issuers: 1, regions: 2 };
    let mut world = begun(shape, Weather { loss: 0.2, twice: 0.0, delay: ms(2) });
    let (everywhere, receipted) = purge_times(&mut world, 40);
    assert!(everywhere[39] <= ms(260), "{everywhere:?}");
    assert!(receipted[38] <= ms(260), "{receipted:?}");
}

#[test]
fn over_a_wide_area_at_one_percent_of_loss_a_purge_is_everywhere_and_receipted_in_time() {
    let shape = Shape { edges: 20, issuers: 1, regions: 3 };
    let mut world = begun(shape, Weather { loss: 0.01, twice: 0.0, delay: ms(120) });
    let (everywhere, receipted) = purge_times(&mut world, 40);
    assert!(everywhere[39] <= ms(250), "{everywhere:?}");
    assert!(receipted[39] <= ms(450), "{receipted:?}");
}

#[test]
fn at_half_of_loss_nothing_is_lost() {
    let shape = Shape { edges: 10, issuers: 2, regions: 2 };
    let mut world = begun(shape, Weather { loss: 0.5, twice: 0.1, delay: ms(40) });
    for n in 0..40 {
        world.purge(n.into(), n);
        world.run(ms(20));
    }
    let time = until(&mut world, |world| is_everywhere(world) && is_receipted(world));
    assert!(time <= Duration::from_secs(3), "{time:?}");
}

#[test]
fn a_partition_that_heals_is_mended_within_150_ms() {
    let shape = Shape { edges: 10, issuers: 1, regions: 2 };
    let mut world = begun(shape, calm(ms(5)));
    world.partition(0b0001_1111, Duration::from_secs(10));
    for n in 0..16 {
        world.purge(0, n);
        world.run(ms(500));
    }
    world.run(Duration::from_secs(2));
    assert!(!is_everywhere(&world));
    let time = until(&mut world, is_everywhere);
    assert!(time <= ms(150), "{time:?}");
}

#[test]
fn where_no_datagram_comes_through_the_log_is_read_every_few_seconds() {
    let shape = Shape { edges: 5, issuers: 1, regions: 1 };
    let mut world = begun(shape, Weather { loss: 1.0, ..calm(ms(5)) });
    world.log_away = Duration::ZERO;
    world.run(Duration::from_secs(10));
    for n in 0..5 {
        world.purge(0, n);
        let time = until(&mut world, is_everywhere);
        assert!(time <= WINDOW * 3 / 5 + ms(150), "{time:?}");
        assert!((0..5).all(|edge| world.holds_lease(edge)));
    }
}

#[test]
fn what_an_issuer_told_one_edge_before_it_died_reaches_all() {
    let shape = Shape { edges: 8, issuers: 1, regions: 2 };
    let mut world = begun(shape, calm(ms(5)));
    for edge in 1..8 {
        world.cuts.insert((8, edge), world.now + HOUR);
    }
    world.purge(0, 1);
    world.run(ms(3));
    world.crash(8, HOUR, false);
    let time = until(&mut world, is_everywhere);
    assert!(time <= Duration::from_secs(1), "{time:?}");
}

#[test]
fn every_issuer_of_a_log_can_give_every_receipt() {
    let shape = Shape { edges: 5, issuers: 2, regions: 1 };
    let mut world = begun(shape, calm(ms(2)));
    for n in 0..10 {
        world.purge(n.into(), n);
        let time = until(&mut world, is_receipted);
        assert!(time <= ms(20), "{time:?}");
    }
}

#[test]
fn links_without_loss_carry_frames_twice_however_long_and_uneven_they_are() {
    for delay in [2, 30, 120] {
        let shape = Shape { edges: 10, issuers: 1, regions: 3 };
        let mut world = begun(shape, calm(ms(delay)));
        for n in 0..40 {
            world.purge(0, n);
            world.run(ms(40 * u64::from(n % 3)));
        }
        world.run(ms(1_000));
        let counts = world.issuer(10).unwrap().counts();
        // Delays are drawn from a quarter to all: some round trips are longer than any before.
        assert!(counts.resends <= 10 * 40 / 100, "{} over {delay} ms", counts.resends);
        assert!(counts.pushes <= 2 * 10 * 40, "{} over {delay} ms", counts.pushes);
    }
}

#[test]
fn an_idle_cluster_says_little() {
    let shape = Shape { edges: 30, issuers: 1, regions: 3 };
    let mut world = begun(shape, calm(ms(40)));
    let (datagrams, bytes) = (world.datagrams, world.bytes);
    world.run(Duration::from_secs(10));
    // Ten digests, and the simulation's two and a half polls with their leases.
    let per_node = |count: u64| count / 31 / 10;
    assert!(per_node(world.datagrams - datagrams) <= 15, "{}", world.datagrams - datagrams);
    assert!(per_node(world.bytes - bytes) <= 800, "{}", world.bytes - bytes);
}

#[test]
fn a_storm_of_purges_reaches_all_without_the_log() {
    let shape = Shape { edges: 5, issuers: 1, regions: 1 };
    let mut world = begun(shape, Weather { loss: 0.05, twice: 0.0, delay: ms(5) });
    for n in 0..300_u32 {
        world.purge(0, u8::try_from(n % 200).unwrap());
        world.run(ms(2));
    }
    let time = until(&mut world, |world| is_everywhere(world) && is_receipted(world));
    assert!(time <= ms(500), "{time:?}");
}
