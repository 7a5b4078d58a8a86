//! What may happen, as proptest draws and shrinks it.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

/// A pause, then something.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) pause: Duration,
    pub(crate) happening: Happening,
}

/// Something that happens. Numbers of nodes and ids are taken modulo what there is.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Purge {
        by: usize,
        ids: Vec<u8>,
        copies: usize,
    },
    PurgeAll {
        by: usize,
    },
    Block {
        by: usize,
        id: u8,
        is_blocked: bool,
    },
    /// Committed by an issuer that dies before it tells anybody.
    LastWord {
        by: usize,
        id: u8,
        down: Duration,
    },
    View {
        edge: usize,
        id: u8,
        fill: Duration,
    },
    Persist {
        edge: usize,
    },
    Crash {
        node: usize,
        down: Duration,
        keeps_disk: bool,
    },
    Cut {
        from: usize,
        to: usize,
        lasts: Duration,
    },
    Partition {
        mask: u8,
        lasts: Duration,
    },
    LogAway {
        lasts: Duration,
    },
    /// The disk of an edge takes nothing in.
    DiskAway {
        edge: usize,
        lasts: Duration,
    },
    Weather {
        loss: f64,
        twice: f64,
        delay: Duration,
    },
    Truncate,
    Restore {
        lost: usize,
        seq_goes_on: bool,
    },
    /// Membership tells of a head, or of one that does not exist.
    Hint {
        edge: usize,
        beyond: u64,
    },
}

fn ms(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let node = || 0..16_usize;
    prop_oneof![
        8 => (node(), vec(any::<u8>(), 1..3), 1..4_usize)
            .prop_map(|(by, ids, copies)| Purge { by, ids, copies }),
        1 => node().prop_map(|by| PurgeAll { by }),
        3 => (node(), any::<u8>(), any::<bool>())
            .prop_map(|(by, id, is_blocked)| Block { by, id, is_blocked }),
        1 => (node(), any::<u8>(), ms(0..3000)).prop_map(|(by, id, down)| LastWord { by, id, down }),
        12 => (node(), any::<u8>(), ms(0..1500)).prop_map(|(edge, id, fill)| View { edge, id, fill }),
        2 => node().prop_map(|edge| Persist { edge }),
        3 => (node(), ms(0..4000), any::<bool>())
            .prop_map(|(node, down, keeps_disk)| Crash { node, down, keeps_disk }),
        2 => (node(), node(), ms(0..5000)).prop_map(|(from, to, lasts)| Cut { from, to, lasts }),
        2 => (any::<u8>(), ms(0..5000)).prop_map(|(mask, lasts)| Partition { mask, lasts }),
        1 => ms(0..4000).prop_map(|lasts| LogAway { lasts }),
        2 => (node(), ms(0..4000)).prop_map(|(edge, lasts)| DiskAway { edge, lasts }),
        3 => (0.0..0.6, 0.0..0.3, ms(1..150))
            .prop_map(|(loss, twice, delay)| Weather { loss, twice, delay }),
        1 => Just(Truncate),
        1 => (0..4_usize, any::<bool>())
            .prop_map(|(lost, seq_goes_on)| Restore { lost, seq_goes_on }),
        1 => (node(), 0..3_u64).prop_map(|(edge, beyond)| Hint { edge, beyond }),
    ]
}

pub(crate) fn schedule() -> impl Strategy<Value = Vec<Step>> {
    let step = (ms(0..400), happening()).prop_map(|(pause, happening)| Step { pause, happening });
    vec(step, 1..60)
}

/// A log that begins anew while it cannot be read, and nodes start anew before it can: each step is
/// there, only its time is drawn.
pub(crate) fn new_epoch() -> impl Strategy<Value = Vec<Step>> {
    use Happening::*;
    let pause = || prop_oneof![ms(0..30), ms(0..600)];
    let purge = |id| Purge { by: 0, ids: vec![id], copies: 1 };
    let block = |id| Block { by: 0, id, is_blocked: true };
    let first = [block(0), purge(1), Persist { edge: 0 }, block(2)];
    let drawn = (0..3_usize, any::<bool>(), ms(500..4000), ms(0..2000), any::<bool>(), 0..3_usize);
    (drawn, vec(pause(), 14)).prop_map(
        move |((lost, seq_goes_on, lasts, down, keeps_disk, node), pauses)| {
            let crash = |node| Crash { node, down, keeps_disk };
            let view = |id| View { edge: 0, id, fill: down / 2 };
            let rest = vec![
                view(1),
                LogAway { lasts },
                Restore { lost, seq_goes_on },
                block(3),
                purge(1),
                Persist { edge: 0 },
                crash(0),
                crash(node),
                view(2),
                purge(3),
            ];
            let all = first.iter().cloned().chain(rest);
            pauses.iter().zip(all).map(|(&pause, happening)| Step { pause, happening }).collect()
        },
    )
}
