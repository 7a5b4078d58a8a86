//! The order in which origins are asked for a blob.

use std::{cmp::Reverse, time::Duration};

use tokio::time::Instant;

use super::standing::Availability;
use crate::rendezvous;

/// One origin as the choice sees it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// How strongly the blob belongs to it.
    pub affinity: u64,
    /// Its share of blobs among others that are as fast: one of twice the weight gets twice as many.
    pub weight: u32,
    /// Whether it is to be asked only where no other serves: a control plane ejected it for all.
    pub is_banned: bool,
    /// How long it is expected to let us wait; `None` while nobody knows.
    pub cost: Option<Duration>,
    /// Whether it should be asked now.
    pub availability: Availability,
    /// Requests to it under way.
    pub in_flight: usize,
    /// Whether it is known to refuse blobs as long as this one.
    pub refuses: bool,
}

/// An origin this many times slower than the median is no longer among the best, however few
/// there are: what its cache would save is less than what its answers cost.
const TOO_SLOW: u32 = 4;

/// Below this, twice or four times as slow is no difference that a viewer notices.
const FAST: Duration = Duration::from_millis(50);

/// Every candidate, by its place in the slice, in the order in which they should be asked.
///
/// 1. Of those that pass, the `spread` cheapest, by rendezvous hashing: every node asks the same
///    origin first for the same blob, so that the caches of the aggregators warm up. One that has
///    more than its share of requests under way comes behind the others (bounded load). Shares are
///    by weight.
/// 2. The others that pass, by cost.
/// 3. Those that have no room or failed, in the order in which their time-outs end: they are asked
///    only if no other serves.
/// 4. Those that are ejected for all.
/// 5. Those that refuse blobs of this size.
///
/// If more than half of all are ejected, those whose time-outs end first count as passing until
/// half of them pass: otherwise the few that are left would get the load of all.
pub fn order(candidates: &[Candidate], spread: usize) -> Vec<usize> {
    let indices = 0..candidates.len();
    let (serving, refusing): (Vec<_>, Vec<_>) = indices.partition(|n| !candidates[*n].refuses);
    let (mut banned, serving): (Vec<_>, Vec<_>) =
        serving.into_iter().partition(|n| candidates[*n].is_banned);
    banned.sort_by_key(|n| (until(&candidates[*n]), Reverse(pull(&candidates[*n]))));
    let (mut passing, mut away): (Vec<_>, Vec<_>) =
        serving.into_iter().partition(|n| candidates[*n].availability == Availability::Passing);
    away.sort_by_key(|n| until(&candidates[*n]));
    readmit(candidates, &mut passing, &mut away);

    let median = median_cost(candidates, &passing);
    let cost = |n: &usize| quantised(candidates[*n].cost.unwrap_or(median));
    let limit = quantised(median.max(FAST) * TOO_SLOW);
    passing.sort_by_key(|n| (cost(n), Reverse(pull(&candidates[*n]))));
    let near = passing.partition_point(|n| cost(n) <= limit);
    let rest = passing.split_off(near.min(spread.max(1)));
    let best = by_affinity(candidates, passing);
    [best, rest, away, banned, refusing].concat()
}

/// Those that belong together with the blob first, but not if they are busier than the others.
fn by_affinity(candidates: &[Candidate], mut best: Vec<usize>) -> Vec<usize> {
    let in_flight: usize = best.iter().map(|n| candidates[*n].in_flight).sum();
    let all: u64 = best.iter().map(|n| weight(&candidates[*n])).sum();
    best.sort_by_key(|n| {
        let candidate = &candidates[*n];
        let share = rendezvous::share(in_flight, weight(candidate), all);
        (candidate.in_flight as u64 > share, Reverse(pull(candidate)))
    });
    best
}

fn weight(candidate: &Candidate) -> u64 {
    u64::from(candidate.weight.max(1))
}

/// How strongly a blob is drawn to an origin: among origins of the same weight by affinity, among
/// others so that each gets its share (weighted rendezvous hashing: the weight over the logarithm
/// of a uniform number). Larger is stronger; the bits of positive numbers are in their order.
fn pull(candidate: &Candidate) -> (u64, u64) {
    let uniform = (candidate.affinity as f64 + 0.5) / (u64::MAX as f64);
    let pull = f64::from(candidate.weight.max(1)) / -uniform.min(1.0).ln();
    (pull.abs().to_bits(), candidate.affinity)
}

/// Moves ejected ones back among those that pass while fewer than half of all do.
fn readmit(candidates: &[Candidate], passing: &mut Vec<usize>, away: &mut Vec<usize>) {
    let is_ejected = |n: &usize| matches!(candidates[*n].availability, Availability::Ejected(_));
    let ejected = away.iter().filter(|n| is_ejected(n)).count();
    let all = passing.len() + away.len();
    if ejected * 2 <= all {
        return;
    }
    let mut missing = all.div_ceil(2).saturating_sub(passing.len());
    away.retain(|n| {
        let returns = missing > 0 && is_ejected(n);
        if returns {
            missing -= 1;
            passing.push(*n);
        }
        !returns
    });
}

fn until(candidate: &Candidate) -> Option<Instant> {
    match candidate.availability {
        Availability::Passing => None,
        Availability::BackingOff(until) | Availability::Ejected(until) => Some(until),
    }
}

/// The lower median of the known costs: what an origin nobody knows is taken to cost, so that
/// new ones are tried.
fn median_cost(candidates: &[Candidate], passing: &[usize]) -> Duration {
    let mut known: Vec<_> = passing.iter().filter_map(|n| candidates[*n].cost).collect();
    known.sort_unstable();
    known.get(known.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The cost in steps of the root of two, so that small differences do not change the order.
fn quantised(cost: Duration) -> u32 {
    let ms = u64::try_from(cost.as_millis()).unwrap_or(u64::MAX).max(1);
    // The square doubles the steps of the binary logarithm.
    u128::from(ms).pow(2).ilog2()
}

#[cfg(test)]
mod tests;
