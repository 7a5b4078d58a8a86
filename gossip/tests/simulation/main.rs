//! The brains of a cluster against random schedules of everything that goes wrong.
//!
//! Time, network and disks are simulated, so a failure is replayed from what proptest prints.

use std::time::Duration;

use proptest::prelude::*;
use wcdn_gossip::edge_brain::EdgeBrain;
use wcdn_proto::{Change, ContentId};

mod checks;
mod cluster;
mod log;
mod schedule;
mod script;
mod sink;
mod timing;
mod world;

use self::{
    schedule::{Step, schedule},
    script::blob,
    world::{Shape, Weather, World},
};

/// The time from when all is well to when everybody has everything, at most: the longest back-off
/// before the log is read again, and some round trips.
const CONVERGENCE: Duration = Duration::from_secs(5);

const HOUR: Duration = Duration::from_secs(3_600);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn calm(delay: Duration) -> Weather {
    Weather { loss: 0.0, twice: 0.0, delay }
}

fn shape() -> impl Strategy<Value = Shape> {
    (1..5_usize, 1..3_usize, 1..3_usize).prop_map(|(edges, issuers, regions)| Shape {
        edges,
        issuers,
        regions,
    })
}

fn survive(shape: Shape, seed: u64, schedule: &[Step]) {
    let mut world = World::new(shape, calm(ms(30)), seed);
    world.run(ms(500));
    world.play(schedule);
    world.heal();
    // Whoever is down comes back within four seconds.
    world.run(Duration::from_secs(4) + CONVERGENCE);
    world.check_converged();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 4,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_goes_wrong_positions_receipts_and_leases_are_true_and_all_converges(
        shape in shape(),
        seed in any::<u64>().no_shrink(),
        schedule in schedule(),
    ) {
        survive(shape, seed, &schedule);
    }

    #[test]
    fn a_log_that_begins_anew_unread_while_nodes_crash_lets_nothing_pass(
        shape in shape(),
        seed in any::<u64>().no_shrink(),
        schedule in schedule::new_epoch(),
    ) {
        survive(shape, seed, &schedule);
    }
}

/// An edge that hears of a block while its disk is well or hangs, and crashes.
fn crashed_after_a_block(disk_hangs: bool) -> World {
    let mut world = World::new(Shape { edges: 1, issuers: 1, regions: 1 }, calm(ms(30)), 1);
    world.run(ms(500));
    let lasts = if disk_hangs { HOUR } else { Duration::ZERO };
    world.nodes[0].disk_away = world.now + lasts;
    let block = Change::Block(vec![ContentId::Blob(blob(0))]);
    world.commit(0, vec![block, Change::Barrier]);
    world.run(ms(500));
    assert!(world.nodes[0].sink.is_blocked(blob(0)), "it is in force at once");
    let applied = world.edge(0).map(EdgeBrain::applied);
    assert_eq!(applied == Some(world.log.head), !disk_hangs, "{applied:?}");
    world.log_away = world.now + HOUR;
    world.cuts.insert((1, 0), world.now + HOUR);
    world.crash(0, ms(100), true);
    world.run(ms(500));
    world
}

#[test]
fn a_block_that_was_told_outlasts_a_crash_and_one_that_was_not_comes_again() {
    let world = crashed_after_a_block(false);
    assert!(world.nodes[0].sink.is_blocked(blob(0)));
    let mut world = crashed_after_a_block(true);
    assert!(!world.nodes[0].sink.is_blocked(blob(0)), "nothing said that it would");
    world.heal();
    world.run(CONVERGENCE);
    world.check_converged();
}
