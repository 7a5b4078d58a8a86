//! The brains of a cluster against random schedules of everything that goes wrong.
//!
//! Time, network and disks are simulated, so a failure is replayed from what proptest prints.

use std::time::Duration;

use proptest::prelude::*;

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
    world::{Shape, Weather, World},
};

/// The time from when all is well to when everybody has everything, at most: the longest back-off
/// before the log is read again, and some round trips.
const CONVERGENCE: Duration = Duration::from_secs(5);

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
