//! How long response heads took, counted so that counts of many nodes can be added.

/// The upper ends of the first ten classes, in milliseconds; what is longer is the last one.
pub const HEAD_BOUNDS_MS: [u64; 10] = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/// Classes.
pub const HEAD_CLASSES: usize = HEAD_BOUNDS_MS.len() + 1;

/// The class of a head that took so long.
pub fn head_class(micros: u64) -> usize {
    HEAD_BOUNDS_MS.iter().position(|ms| micros <= ms * 1_000).unwrap_or(HEAD_BOUNDS_MS.len())
}

/// What `share` of the heads did not exceed, in milliseconds, rounded up to the end of a class; none if
/// there were none. Of what exceeds all ends only the last end is known.
pub fn head_quantile_ms(heads: &[u64; HEAD_CLASSES], share: f64) -> Option<u64> {
    let total: u64 = heads.iter().fold(0, |sum, count| sum.saturating_add(*count));
    let wanted = total as f64 * share;
    let mut below = 0_u64;
    let class = heads.iter().position(|count| {
        below = below.saturating_add(*count);
        below > 0 && below as f64 >= wanted
    })?;
    let last = HEAD_BOUNDS_MS.len() - 1;
    Some(HEAD_BOUNDS_MS[class.min(last)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quantile_is_the_end_of_the_class_of_the_true_one(
            mut micros in prop::collection::vec(0_u64..9_000_000, 1..200),
            percent in 1_usize..=100,
        ) {
            let mut heads = [0; HEAD_CLASSES];
            micros.iter().for_each(|micros| heads[head_class(*micros)] += 1);
            micros.sort_unstable();
            let truth = micros[(micros.len() * percent).div_ceil(100) - 1];
            let told = head_quantile_ms(&heads, percent as f64 / 100.0).unwrap();
            prop_assert_eq!(told, HEAD_BOUNDS_MS[head_class(truth)]);
        }
    }

    #[test]
    fn without_heads_there_is_no_quantile_and_the_longest_is_ten_seconds() {
        let mut heads = [0; HEAD_CLASSES];
        assert_eq!(head_quantile_ms(&heads, 0.5), None);
        heads[head_class(u64::MAX)] = 1;
        assert_eq!(head_quantile_ms(&heads, 0.5), Some(10_000));
    }
}
