//! How long the tasks of one kind lived that have ended, and how many of the living that explains.

use std::time::Duration;

use crate::registry::KindSummary;
use crate::task::cells::{BUCKETS, LIFETIME_BOUNDS};

/// How long tasks of a kind usually live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Usual {
    /// All but one in a thousand lived at most so long.
    pub(super) longest: Duration,
    /// How many did.
    pub(super) within: u64,
    /// How many have ended.
    pub(super) ended: u64,
}

/// What is remembered of one kind: its lifetimes now, and at two moments before.
#[derive(Clone, Debug)]
pub(super) struct Lived {
    earlier: Mark,
    later: Mark,
    now: Mark,
}

const _: () = assert!(size_of::<Lived>() < 1_024);

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Duration,
    spawned: u64,
    ended: [u64; BUCKETS],
}

impl Mark {
    fn new(kind: &KindSummary, now: Duration) -> Self {
        Self {
            at: now,
            spawned: kind.spawned,
            ended: *kind.lifetime.counts(),
        }
    }
}

impl Lived {
    pub(super) fn new(kind: &KindSummary, now: Duration) -> Self {
        let mark = Mark::new(kind, now);
        Self {
            earlier: mark,
            later: mark,
            now: mark,
        }
    }

    /// Takes in what the registry says now. What has ended lately is that of one to two `window`s.
    pub(super) fn look(&mut self, kind: &KindSummary, now: Duration, window: Duration) {
        self.now = Mark::new(kind, now);
        if now.saturating_sub(self.later.at) >= window {
            self.earlier = self.later;
            self.later = self.now;
        }
    }

    /// How many were spawned.
    pub(super) fn spawned(&self) -> u64 {
        self.now.spawned
    }

    /// How many have ended.
    pub(super) fn ended(&self) -> u64 {
        sum(&self.now.ended)
    }

    /// How long they usually live; `None` where too few have ended to say, or more than one in a thousand live longer
    /// than can be told apart.
    pub(super) fn usual(&self) -> Option<Usual> {
        let ended = self.ended();
        if ended < FEWEST {
            return None;
        }
        let mut within = 0u64;
        for (count, bound) in self.now.ended.iter().zip(LIFETIME_BOUNDS) {
            within = within.saturating_add(*count);
            if ended.saturating_sub(within) <= ended / 1_000 {
                return Some(Usual {
                    longest: Duration::from_nanos(bound),
                    within,
                    ended,
                });
            }
        }
        None
    }

    /// How many have ended lately that had lived longer than that.
    pub(super) fn ended_beyond(&self, limit: Duration) -> u64 {
        self.tail(limit).map(|(count, _)| count).sum()
    }

    /// How many tasks older than that should be alive.
    ///
    /// By what has ended lately, it is Little's law for those that pass the limit: as many as pass it in a second, times
    /// the seconds that they had left, taken from the upper bounds of their buckets. And since not even the usual holds
    /// for one in a thousand, one in a thousand of those that were spawned lately is forgiven.
    pub(super) fn explained(&self, limit: Duration) -> f64 {
        let lately = self
            .now
            .at
            .saturating_sub(self.earlier.at)
            .max(limit)
            .as_secs_f64();
        let left = self
            .tail(limit)
            .map(|(count, left)| float(count) * left.as_secs_f64());
        let forgiven = float(self.now.spawned.saturating_sub(self.earlier.spawned)) / 1_000.0;
        if lately > 0.0 {
            left.sum::<f64>() / lately + forgiven
        } else {
            forgiven
        }
    }

    /// How many have ended lately that had lived longer than that, by bucket, and how long they did after it at most.
    /// Where the limit is within a bucket, all of the bucket is taken: rather too many.
    fn tail(&self, limit: Duration) -> impl Iterator<Item = (u64, Duration)> {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let first = LIFETIME_BOUNDS.partition_point(|&bound| bound <= nanos);
        let longest = Duration::from_nanos(LIFETIME_BOUNDS[BUCKETS - 2]).saturating_mul(4);
        let bounds = LIFETIME_BOUNDS
            .into_iter()
            .map(Duration::from_nanos)
            .chain([longest]);
        let counts = self.now.ended.into_iter().zip(self.earlier.ended);
        counts.zip(bounds).skip(first).map(move |((now, before), bound)| {
            (now.saturating_sub(before), bound.saturating_sub(limit).max(limit))
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(count: u64) -> f64 {
    count as f64
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// Fewer lifetimes than these say nothing of what is usual.
pub(super) const FEWEST: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::KindId;

    fn kind(lifetimes: &[(u64, u64)]) -> KindSummary {
        let mut kind = KindSummary::empty(KindId::OTHER);
        for (millis, count) in lifetimes {
            for _ in 0..*count {
                kind.spawned += 1;
                kind.lifetime.record(Duration::from_millis(*millis));
            }
        }
        kind
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_in_a_thousand_is_not_usual() {
        let lived = |lifetimes: &[(u64, u64)]| Lived::new(&kind(lifetimes), secs(0)).usual();
        assert_eq!(lived(&[(80, 19)]), None);
        let usual = lived(&[(80, 999), (3_000, 1)]).unwrap();
        assert_eq!(
            (usual.longest, usual.within, usual.ended),
            (Duration::from_millis(100), 999, 1_000)
        );
        assert_eq!(lived(&[(80, 998), (3_000, 2)]).unwrap().longest, secs(5));
        assert_eq!(lived(&[(80, 100), (4_000_000, 1)]), None);
    }

    #[test]
    fn what_ends_explains_what_lives() {
        let before = kind(&[(80, 100), (400_000, 100)]);
        let mut lived = Lived::new(&before, secs(0));
        assert!(
            lived.explained(secs(300)).abs() < f64::EPSILON,
            "what ended before was no news"
        );
        // One in ten seconds lives longer than 300 s, and 3,300 s after that at most: 330 should be alive. Of 1,180 that
        // were spawned one in a thousand is forgiven.
        let after = kind(&[(80, 1_100), (400_000, 280)]);
        lived.look(&after, secs(1_800), secs(1_800));
        assert!((lived.explained(secs(300)) - 331.18).abs() < 0.01);
        // Two windows later all that is forgotten.
        lived.look(&after, secs(3_600), secs(1_800));
        lived.look(&after, secs(5_400), secs(1_800));
        assert_eq!(lived.ended_beyond(secs(300)), 0);
    }
}
