//! Evidence from the moment of a spike, kept until somebody looks.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::spike::{Gauge, Spike, Trigger};
use super::{Leak, Leaks};
use crate::registry::{SiteStates, Sweep};

/// How many captures are kept; the oldest makes room.
pub const MAX_CAPTURES: usize = 8;

/// How many groups and sites a capture shows at most, of each.
pub const MAX_CAPTURED: usize = 100;

/// What was known at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capture {
    /// Counts the captures of the process, from 1.
    pub number: u64,
    /// When it was taken.
    pub at: SystemTime,
    /// Why.
    pub cause: String,
    /// Tasks that were alive.
    pub live: u64,
    /// The groups with a verdict, those of most tasks first; at most [`MAX_CAPTURED`].
    pub leaks: Vec<Leak>,
    /// How many there were.
    pub leaks_total: usize,
    /// The sites at which most tasks were spawned, those first; at most [`MAX_CAPTURED`].
    pub sites: Vec<SiteStates>,
    /// How many there were.
    pub sites_total: usize,
}

/// The captures that are kept, oldest first.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Captures {
    /// Those.
    pub captures: Vec<Arc<Capture>>,
    /// How many were taken; those that are not kept made room for later ones.
    pub taken: u64,
}

/// The numbers that are watched for a spike, and what was captured.
#[derive(Debug)]
pub(super) struct Watch {
    live: Gauge,
    leaked: Gauge,
    sampled: Option<Duration>,
    kept: VecDeque<Arc<Capture>>,
    taken: u64,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            live: Gauge::new(LIVE),
            leaked: Gauge::new(LEAKED),
            sampled: None,
            kept: VecDeque::with_capacity(MAX_CAPTURES),
            taken: 0,
        }
    }

    /// Takes a sample, if it is time, and a capture where that is a spike.
    pub(super) fn look(&mut self, sweep: &Sweep, leaks: &Leaks, now: Duration) {
        if self.sampled.is_some_and(|last| now.saturating_sub(last) < EVERY) {
            return;
        }
        self.sampled = Some(now);
        let (live, leaked) = (live(sweep), leaked(leaks));
        // Both take their sample.
        let spikes = [
            ("tasks are alive", live, LIVE, self.live.look(live, now)),
            (
                "tasks have a verdict",
                leaked,
                LEAKED,
                self.leaked.look(leaked, now),
            ),
        ];
        let causes: Vec<String> = spikes
            .iter()
            .filter_map(|(what, number, trigger, spike)| {
                let beyond = match (*spike)? {
                    Spike::Limit => format!("more than {}", trigger.limit),
                    Spike::Jump { average } => format!("after {average} on average"),
                };
                Some(format!("{number} {what}, {beyond}"))
            })
            .collect();
        if !causes.is_empty() {
            self.take(causes.join("; "), sweep, leaks);
        }
    }

    pub(super) fn take(&mut self, cause: String, sweep: &Sweep, leaks: &Leaks) -> Arc<Capture> {
        self.taken = self.taken.saturating_add(1);
        let mut sites: Vec<&SiteStates> = sweep.sites.iter().collect();
        sites.sort_by_key(|site| (Reverse(site.live), site.kind, site.spawned_at));
        let capture = Arc::new(Capture {
            number: self.taken,
            at: SystemTime::now(),
            cause,
            live: live(sweep),
            leaks: leaks.leaks.iter().take(MAX_CAPTURED).cloned().collect(),
            leaks_total: leaks.leaks.len(),
            sites: sites.into_iter().take(MAX_CAPTURED).cloned().collect(),
            sites_total: sweep.sites.len(),
        });
        if self.kept.len() == MAX_CAPTURES {
            self.kept.pop_front();
        }
        self.kept.push_back(Arc::clone(&capture));
        capture
    }

    pub(super) fn captures(&self) -> Captures {
        Captures {
            captures: self.kept.iter().cloned().collect(),
            taken: self.taken,
        }
    }
}

fn live(sweep: &Sweep) -> u64 {
    let at_sites: u64 = sweep.sites.iter().map(|site| site.live).sum();
    at_sites.saturating_add(sweep.elsewhere)
}

fn leaked(leaks: &Leaks) -> u64 {
    leaks.leaks.iter().map(|leak| leak.tasks).sum()
}

/// How far samples are apart at least.
const EVERY: Duration = Duration::from_secs(5);

const COOLDOWN: Duration = Duration::from_secs(10 * 60);

/// Twice as many tasks as in the last minute, if that is a thousand; or a hundred thousand.
const LIVE: Trigger = Trigger {
    min: 1_000,
    percent: 100,
    limit: 100_000,
    cooldown: COOLDOWN,
};

/// Twice as many tasks with a verdict, if that is ten; or a thousand.
const LEAKED: Trigger = Trigger {
    min: 10,
    percent: 100,
    limit: 1_000,
    cooldown: COOLDOWN,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;

    #[test]
    fn captures_are_bounded_and_counted() {
        let (mut watch, sweep) = (Watch::new(), registry::sweep());
        let leaks = Leaks::new(sweep.at, Vec::new(), 0);
        for number in 1..=20 {
            assert_eq!(watch.take("by hand".to_owned(), &sweep, &leaks).number, number);
        }
        let captures = watch.captures();
        assert_eq!(captures.taken, 20);
        let numbers: Vec<u64> = captures.captures.iter().map(|capture| capture.number).collect();
        assert_eq!(numbers, [13, 14, 15, 16, 17, 18, 19, 20]);
    }

    #[test]
    fn a_spike_of_tasks_is_captured_once() {
        let (mut watch, sweep) = (Watch::new(), registry::sweep());
        let leaks = Leaks::new(sweep.at, Vec::new(), 0);
        let with = |live| {
            let mut sweep = (*sweep).clone();
            sweep.sites.clear();
            sweep.elsewhere = live;
            sweep
        };
        for second in 0..300u64 {
            let live = if second < 150 { 600 } else { 1_500 };
            watch.look(&with(live), &leaks, Duration::from_secs(second));
        }
        let [capture] = &watch.captures().captures[..] else {
            panic!("not one capture")
        };
        assert_eq!(capture.cause, "1500 tasks are alive, after 600 on average");
        assert_eq!((capture.live, capture.leaks_total), (1_500, 0));
    }
}
