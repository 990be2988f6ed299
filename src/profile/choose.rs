//! Whom to ask, and how fast: pure.

use std::time::Duration;

/// How many of each group are asked, where `most` are in all: each as many as any other, unless it has fewer.
///
/// So one site that leaks a million tasks leaves room for all others.
pub(super) fn shares(sizes: &[u64], most: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&group| sizes[group]);
    let mut shares = vec![0; sizes.len()];
    let mut left = most;
    for (done, &group) in order.iter().enumerate() {
        let groups = u64::try_from(sizes.len() - done).unwrap_or(u64::MAX);
        // Rounded up, so that none is left over; the smallest groups come first and take what they are.
        let fair = left.div_ceil(groups);
        shares[group] = sizes[group].min(fair);
        left -= shares[group];
    }
    shares
}

/// Whether the one at a place of a group is among those asked, who are spread evenly over it.
pub(super) fn is_chosen(place: u64, size: u64, share: u64) -> bool {
    let up_to = |place: u64| u128::from(place) * u128::from(share) / u128::from(size.max(1));
    up_to(place.saturating_add(1)) > up_to(place)
}

/// How long to wait before more tasks are asked, so that no more than [`BUDGET`] are a second.
pub(super) fn pause(asked: u64, elapsed: Duration) -> Duration {
    Duration::from_nanos(asked.saturating_mul(1_000_000_000 / BUDGET)).saturating_sub(elapsed)
}

/// Tasks that are asked in a second, at most: a third of a core or so.
pub(super) const BUDGET: u64 = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_fair() {
        assert_eq!(shares(&[1_000_000, 3, 500], 100), [48, 3, 49]);
        assert_eq!(shares(&[5, 6, 7], 100), [5, 6, 7]);
        assert_eq!(shares(&[10, 10, 10], 1), [1, 0, 0]);
        assert_eq!(shares(&[], 10), [0; 0]);
        assert_eq!(shares(&[4, 4], 0), [0, 0]);
    }

    #[test]
    fn as_many_are_chosen_as_the_share_and_evenly() {
        for (size, share) in [(10, 3), (7, 7), (1_000, 1), (5, 0), (100, 99)] {
            let chosen = (0..size).filter(|&place| is_chosen(place, size, share));
            assert_eq!(chosen.count() as u64, share, "{share} of {size}");
        }
        let halves = [0..50, 50..100].map(|half| half.filter(|&place| is_chosen(place, 100, 10)).count());
        assert_eq!(halves, [5, 5]);
    }

    #[test]
    fn the_budget_is_kept() {
        assert_eq!(
            pause(BUDGET, Duration::from_millis(400)),
            Duration::from_millis(600)
        );
        assert_eq!(pause(BUDGET, Duration::from_secs(2)), Duration::ZERO);
        assert_eq!(pause(0, Duration::ZERO), Duration::ZERO);
    }
}
