//! Chance, the same in every run.
//!
//! A demo needs variety and nothing that an adversary must not guess, so that a counter and a mixing function
//! do, and no crate for random numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// True once in so many times.
pub(super) fn one_in(times: u64) -> bool {
    below(times) == 0
}

/// A time between the two, most of them near the shorter.
pub(super) fn between(least: Duration, most: Duration) -> Duration {
    let spread = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX);
    let first = below(1_001) * below(1_001);
    least + Duration::from_micros(spread / 1_000_000 * first + spread % 1_000_000 * first / 1_000_000)
}

/// A number below the bound; 0 where that is 0.
pub(super) fn below(bound: u64) -> u64 {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    mix(DRAWN.fetch_add(1, Relaxed)).checked_rem(bound).unwrap_or(0)
}

/// SplitMix64's output function.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_between_their_bounds() {
        let (least, most) = (Duration::from_millis(2), Duration::from_millis(40));
        for _ in 0..1_000 {
            let time = between(least, most);
            assert!(least <= time && time <= most, "{time:?}");
        }
    }

    #[test]
    fn one_in_ten_is_about_a_tenth() {
        let times = (0..10_000).filter(|_| one_in(10)).count();
        assert!((800..1_200).contains(&times), "{times}");
    }
}
