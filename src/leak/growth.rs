//! How a number grows whose floor is what counts: what comes and goes between two looks does not.

use std::time::Duration;

/// The floor of a number, window by window.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    /// Until when the window lasts, and the least that was seen in it.
    until: Duration,
    floor: u64,
    /// The highest floor of the windows before.
    record: u64,
    /// How often it was passed, and when that was first and last.
    records: u32,
    first: Duration,
    last: Duration,
    curve: Curve,
}

impl Growth {
    /// Begins a window.
    pub(super) fn new(now: Duration, window: Duration) -> Self {
        Self {
            until: now.saturating_add(window),
            floor: u64::MAX,
            record: 0,
            records: 0,
            first: now,
            last: now,
            curve: Curve::new(),
        }
    }

    /// Takes in the number as it is now.
    pub(super) fn look(&mut self, number: u64, now: Duration, window: Duration) {
        self.floor = self.floor.min(number);
        if now < self.until {
            return;
        }
        let floor = self.floor;
        if floor < self.record / 2 {
            // What has gone was no leak.
            *self = Self::new(now, window);
            self.record = floor;
            return;
        }
        if floor > self.record {
            if self.records == 0 {
                self.first = now;
            }
            self.records = self.records.saturating_add(1);
            self.last = now;
            self.record = floor;
        }
        if self.records > 0 {
            self.curve.add(now, floor);
        }
        self.until = now.saturating_add(window);
        self.floor = u64::MAX;
    }

    /// How often the floor was higher than ever before.
    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// How long it has been growing.
    pub(super) fn lasted(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }

    /// Whether it grows in the second half of its time at least half as much as in the first: what fills up slows down.
    pub(super) fn is_steady(&self) -> bool {
        self.curve.is_steady()
    }
}

/// Some floors over time. Where it is full, every second is left out, and of those to come as well.
#[derive(Clone, Debug)]
struct Curve {
    points: [(Duration, u64); POINTS],
    len: usize,
    /// One in so many is kept, and how many were passed over since.
    stride: u32,
    passed: u32,
}

const POINTS: usize = 16;

impl Curve {
    fn new() -> Self {
        Self {
            points: [(Duration::ZERO, 0); POINTS],
            len: 0,
            stride: 1,
            passed: 0,
        }
    }

    fn add(&mut self, at: Duration, floor: u64) {
        self.passed = self.passed.saturating_add(1);
        if self.passed < self.stride {
            return;
        }
        self.passed = 0;
        if self.len == POINTS {
            for place in 0..POINTS / 2 {
                self.points[place] = self.points[2 * place];
            }
            self.len = POINTS / 2;
            self.stride = self.stride.saturating_mul(2);
        }
        if let Some(point) = self.points.get_mut(self.len) {
            *point = (at, floor);
            self.len += 1;
        }
    }

    fn is_steady(&self) -> bool {
        let points = self.points.get(..self.len).unwrap_or_default();
        let (Some((from, low)), Some((to, high))) = (points.first(), points.last()) else {
            return false;
        };
        let middle = (*from + *to) / 2;
        let half = points
            .iter()
            .find(|(at, _)| *at >= middle)
            .map_or(*low, |(_, floor)| *floor);
        high.saturating_sub(half).saturating_mul(2) >= half.saturating_sub(*low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn grown(numbers: impl IntoIterator<Item = u64>) -> Growth {
        let mut growth = Growth::new(Duration::ZERO, WINDOW);
        for (minute, number) in (1u32..).zip(numbers) {
            growth.look(number, WINDOW * minute, WINDOW);
        }
        growth
    }

    #[test]
    fn only_what_was_never_so_many_counts() {
        assert_eq!(grown([5; 20]).records(), 1);
        assert_eq!(grown([5, 6, 5, 6, 5, 6]).records(), 2);
        let growth = grown(1..=60);
        assert_eq!((growth.records(), growth.lasted()), (60, WINDOW * 59));
        assert!(growth.is_steady());
    }

    #[test]
    fn what_goes_away_begins_anew() {
        assert_eq!(grown([10, 20, 30, 40, 19, 19]).records(), 0);
        assert_eq!(grown([10, 20, 30, 40, 25, 41]).records(), 5);
    }

    #[test]
    fn a_spike_within_a_window_is_not_seen() {
        let mut growth = Growth::new(Duration::ZERO, WINDOW);
        for second in 0..=600u64 {
            let number = if second % 30 == 7 { 1_000 } else { 3 };
            growth.look(number, Duration::from_secs(second), WINDOW);
        }
        assert_eq!(growth.records(), 1);
    }

    #[test]
    fn what_fills_up_slows_down() {
        let filling = (1..=100u64).map(|minute| 1_000 - 1_000 * 30 / (30 + minute));
        assert!(!grown(filling).is_steady());
        assert!(grown((1..=300).map(|minute| 3 * minute)).is_steady());
        assert!(!Curve::new().is_steady());
    }
}
