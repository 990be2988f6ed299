//! The engine: what the sweep saw, look after look, made into verdicts on groups. Pure: `now` is an argument.

use std::collections::HashMap;
use std::panic::Location;
use std::time::Duration;

use super::evidence;
use super::lived::Lived;
use super::standing::{Standing, Turn};
use super::suspicion::{Evidence, Suspicion};
use super::{Leak, News, Verdict};
use crate::registry::{KindSummary, SiteStates};
use crate::task::KindId;

/// How many groups are remembered at most; each takes less than a kilobyte.
pub const MAX_GROUPS: usize = 1_024;

/// The rules, and what they remember of groups and kinds.
///
/// Their memory is bounded by [`MAX_GROUPS`] and [`MAX_KINDS`](crate::MAX_KINDS), and a look costs a few microseconds a
/// thousand groups, however many tasks there are: those were counted by the sweep.
///
/// The agent runs one of these over what the registry says. One of your own is for other data and other clocks.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use lifespan::leak::Rules;
/// use lifespan::registry::{self, DEFAULT_YOUNG};
///
/// let mut rules = Rules::new(DEFAULT_YOUNG);
/// let sweep = registry::sweep();
/// let found = rules.look(&registry::kinds(), &sweep.sites, Duration::ZERO);
/// assert!(found.leaks.is_empty());
/// ```
#[derive(Debug)]
pub struct Rules {
    young: Duration,
    kinds: HashMap<KindId, Lived>,
    groups: HashMap<Key, Group>,
    refused: u64,
}

/// What one look has found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Findings {
    /// Groups with a verdict, those of most tasks first. A group with two verdicts is here twice.
    pub leaks: Vec<Leak>,
    /// What has changed since the look before. An exact verdict is news when it has been true for a thirtieth of the
    /// age below which tasks are young (10 s), a suspicion after a fifth (1 min); and both are over when they have not
    /// been true for as long as that age (5 min).
    pub news: Vec<News>,
    /// How many groups were passed over, since as many as can be were known.
    pub refused: u64,
}

const _: () = assert!(size_of::<Group>() < 1_024);

type Key = (KindId, &'static Location<'static>);

#[derive(Debug)]
struct Group {
    /// When a task of it was alive last.
    seen: Duration,
    suspicion: Suspicion,
    /// What was last said against it.
    evidence: Option<Evidence>,
    /// In the order of [`Verdict::ALL`].
    standings: [Standing; Verdict::ALL.len()],
}

impl Rules {
    /// Rules for which a task is young below that age. All other times are multiples of it: see the
    /// [module](super).
    #[must_use]
    pub fn new(young: Duration) -> Self {
        Self {
            young: young.max(Duration::from_millis(1)),
            kinds: HashMap::new(),
            groups: HashMap::new(),
            refused: 0,
        }
    }

    /// The age below which a task is young.
    #[must_use]
    pub fn young(&self) -> Duration {
        self.young
    }

    /// Takes in what is seen at `now`, which counts from any moment and never runs backwards. Tasks are to be counted
    /// [by age](SiteStates::ages) with the same [`young`](Self::young).
    pub fn look(&mut self, kinds: &[KindSummary], sites: &[SiteStates], now: Duration) -> Findings {
        for kind in kinds {
            let lived = self
                .kinds
                .entry(kind.kind)
                .or_insert_with(|| Lived::new(kind, now));
            lived.look(kind, now, self.young.saturating_mul(6));
        }
        let mut found = Findings::default();
        for site in sites {
            let key = (site.kind, site.spawned_at);
            if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
                self.refused = self.refused.saturating_add(1);
                continue;
            }
            let group = self
                .groups
                .entry(key)
                .or_insert_with(|| Group::new(now, self.young));
            group.seen = now;
            if let Some(lived) = self.kinds.get(&site.kind) {
                group.look(site, lived, self.young, now, &mut found);
            }
        }
        // Of these no task is alive.
        for ((kind, place), group) in self.groups.iter_mut().filter(|(_, group)| group.seen != now) {
            if let Some(lived) = self.kinds.get(kind) {
                group.look(
                    &SiteStates::empty(*kind, place),
                    lived,
                    self.young,
                    now,
                    &mut found,
                );
            }
        }
        let memory = self.young.saturating_mul(12);
        self.groups.retain(|_, group| {
            let is_raised = group.standings.iter().any(Standing::is_raised);
            is_raised || now.saturating_sub(group.seen) <= memory
        });
        found.leaks.sort_by_key(|leak| {
            let place = leak.spawned_at;
            (std::cmp::Reverse(leak.tasks), leak.verdict, leak.kind, place)
        });
        found.refused = self.refused;
        found
    }
}

impl Group {
    fn new(now: Duration, young: Duration) -> Self {
        Self {
            seen: now,
            suspicion: Suspicion::new(now, young),
            evidence: None,
            standings: Default::default(),
        }
    }

    fn look(
        &mut self,
        site: &SiteStates,
        lived: &Lived,
        young: Duration,
        now: Duration,
        found: &mut Findings,
    ) {
        let suspect = self.suspicion.look(&site.ages, lived, young, now);
        self.evidence = suspect.or(self.evidence);
        for (standing, verdict) in self.standings.iter_mut().zip(Verdict::ALL) {
            let evidence = self.evidence.filter(|_| verdict == Verdict::Suspected);
            let (tasks, raise) = match verdict {
                Verdict::Orphaned => (site.orphaned, young / 30),
                Verdict::Overstayed => (site.overstayed, young / 30),
                Verdict::Overdue => (site.overdue, young / 30),
                Verdict::Suspected => (suspect.map_or(0, |evidence| evidence.tasks), young / 5),
            };
            let after = if standing.is_raised() { young } else { raise };
            let turn = standing.look(tasks > 0, now, after);
            let leak = |lasted| Leak {
                kind: site.kind,
                spawned_at: site.spawned_at,
                verdict,
                tasks,
                oldest: site.oldest,
                lasted,
                older_than: evidence.map(|evidence| evidence.limit).unwrap_or_default(),
                silent: evidence.is_some_and(|evidence| evidence.ground.is_silent()),
                evidence: evidence::words(site, verdict, tasks, evidence.as_ref()),
            };
            // An exact verdict is a fact at once, and a suspicion is none before it is raised.
            if tasks > 0 && (verdict.is_exact() || standing.is_raised()) {
                found.leaks.push(leak(standing.lasted(now)));
            }
            match turn {
                Some(Turn::Raised) => found.news.push(News::Raised(leak(standing.lasted(now)))),
                Some(Turn::Resolved(lasted)) => found.news.push(News::Resolved(leak(lasted))),
                None => {}
            }
        }
        if !self.standings[Verdict::Suspected as usize].is_raised() && suspect.is_none() {
            self.evidence = None;
        }
    }
}
