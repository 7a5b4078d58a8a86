//! Which parts of the region's Redis are asked, and which are left alone until they heal.
//!
//! Pure: whoever asks Redis says what came of it. A lane is a sixteenth of a cluster's slots, so
//! that a master that fails takes its own slots out and no others; one server is one lane. An
//! operation that goes unanswered closes its lane: nobody else pays for the same silence. It opens
//! again once a probe, which no viewer waits for, was answered.

use std::time::Duration;

use tokio::time::Instant;
use wcdn_proto::BlobId;

use super::record::Place;

/// Lanes of a cluster.
const CLUSTER_LANES: usize = 16;

/// From the first failed probe to the next; doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a lane must stay open before it is trusted as before.
const TRUST: Duration = Duration::from_secs(10);

/// How long after so many probes the next one is due.
fn pause(probes: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << probes.min(8)).min(LONGEST_PAUSE)
}

/// The slot of a blob in a cluster: CRC-16/XMODEM of the hash tag (Redis Cluster specification).
fn slot(id: &BlobId) -> u16 {
    let key = Place { generation: 0, id: *id }.record();
    let tag = key.split(['{', '}']).nth(1).unwrap_or(&key);
    let crc = tag.bytes().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

/// How each lane stands.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
}

#[derive(Debug, Clone, Copy)]
enum Lane {
    Open {
        /// When it was opened again, and how many probes that had taken.
        reopened: Option<(Instant, u32)>,
    },
    Closed {
        /// A blob that was not answered for; probes ask for it.
        id: BlobId,
        probes: u32,
        next: Instant,
    },
}

impl Lanes {
    /// All open: one, or those of a cluster.
    pub(super) fn new(cluster: bool) -> Self {
        Self { lanes: vec![Lane::Open { reopened: None }; if cluster { CLUSTER_LANES } else { 1 }] }
    }

    /// The lane of a blob.
    pub(super) fn of(&self, id: &BlobId) -> usize {
        usize::from(slot(id)) * self.lanes.len() / 16_384
    }

    /// Whether Redis may be asked for this blob.
    pub(super) fn is_open(&self, id: &BlobId) -> bool {
        matches!(self.lanes[self.of(id)], Lane::Open { .. })
    }

    /// Whether nothing is closed.
    pub(super) fn all_open(&self) -> bool {
        self.lanes.iter().all(|lane| matches!(lane, Lane::Open { .. }))
    }

    /// Whether everything is closed.
    pub(super) fn all_closed(&self) -> bool {
        self.lanes.iter().all(|lane| matches!(lane, Lane::Closed { .. }))
    }

    /// The share of lanes that are open, 0 to 1.
    pub(super) fn share_open(&self) -> f64 {
        let open = self.lanes.iter().filter(|lane| matches!(lane, Lane::Open { .. })).count();
        let of = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        of(open) / of(self.lanes.len())
    }

    /// An operation for `id` was not answered; `true` if its lane was open until now. One that was
    /// opened a moment ago is probed as rarely as before: it answers probes, but not more.
    pub(super) fn close(&mut self, id: BlobId, now: Instant) -> bool {
        let lane = self.of(&id);
        let Lane::Open { reopened } = self.lanes[lane] else { return false };
        let probes = match reopened {
            Some((since, probes)) if now < since + TRUST => probes,
            _ => 0,
        };
        self.lanes[lane] = Lane::Closed { id, probes, next: now + pause(probes) };
        true
    }

    /// Probes that are due: blobs to ask for. Each is put off until the next.
    pub(super) fn due(&mut self, now: Instant) -> Vec<BlobId> {
        let mut due = Vec::new();
        for lane in &mut self.lanes {
            if let Lane::Closed { id, probes, next } = lane
                && *next <= now
            {
                due.push(*id);
                *probes = probes.saturating_add(1);
                *next = now + pause(*probes);
            }
        }
        due
    }

    /// A probe for this blob was answered.
    pub(super) fn open(&mut self, id: &BlobId, now: Instant) {
        let lane = self.of(id);
        if let Lane::Closed { probes, .. } = self.lanes[lane] {
            self.lanes[lane] = Lane::Open { reopened: Some((now, probes)) };
        }
    }

    /// When the next probe is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let closed = self.lanes.iter().filter_map(|lane| match lane {
            Lane::Open { .. } => None,
            Lane::Closed { next, .. } => Some(*next),
        });
        closed.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> BlobId {
        BlobId::from_bytes([n; 32])
    }

    #[test]
    fn slots_are_those_of_a_cluster() {
        // `CLUSTER KEYSLOT` of the record keys of these blobs, as redis-server 7.0 counts.
        for (n, expected) in [(0, 5_699), (1, 8_424), (255, 5_066)] {
            assert_eq!(slot(&id(n)), expected, "blob {n}");
        }
    }

    #[test]
    fn one_server_is_one_lane() {
        let lanes = Lanes::new(false);
        assert!((0..=255).all(|n| lanes.of(&id(n)) == 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_closes_its_lane_and_no_other() {
        let (mut lanes, now) = (Lanes::new(true), Instant::now());
        assert!(lanes.close(id(1), now));
        assert!(!lanes.close(id(1), now), "it is told once");
        assert!(!lanes.is_open(&id(1)) && !lanes.all_open());
        assert_eq!(lanes.share_open(), 15.0 / 16.0);
        assert!((0..=255).any(|n| lanes.is_open(&id(n))));
    }

    #[tokio::test(start_paused = true)]
    async fn probes_come_ever_more_rarely_until_one_is_answered() {
        let (mut lanes, start) = (Lanes::new(true), Instant::now());
        lanes.close(id(1), start);
        let mut waits = Vec::new();
        let mut now = start;
        for _ in 0..7 {
            let next = lanes.next().unwrap();
            assert!(lanes.due(next - Duration::from_millis(1)).is_empty());
            assert_eq!(lanes.due(next), [id(1)]);
            waits.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        lanes.open(&id(1), now);
        assert!(lanes.is_open(&id(1)) && lanes.next().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_answers_nothing_but_probes_is_probed_ever_more_rarely() {
        let (mut lanes, mut now) = (Lanes::new(false), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..4 {
            lanes.close(id(1), now);
            let next = lanes.next().unwrap();
            waits.push((next - now).as_millis());
            assert_eq!(lanes.due(next).len(), 1);
            lanes.open(&id(1), next);
            now = next + Duration::from_millis(1);
        }
        assert_eq!(waits, [100, 200, 400, 800]);
        lanes.close(id(1), now + TRUST);
        assert_eq!(lanes.next(), Some(now + TRUST + FIRST_PAUSE), "it is trusted again");
    }
}
