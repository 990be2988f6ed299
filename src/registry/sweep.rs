//! One walk in the background that feeds all that needs a look at each record.

use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::ages::{self, Ages, Steps};
use super::snapshot::{JUDGED, is_forsaken, is_orphaned, is_overdue, mark};
use crate::clock;
use crate::task::extra;
use crate::task::kind::KindId;
use crate::task::record::{Look, RUNNING, Record, flag};
use crate::task::{State, TaskId, slab};

/// What one sweep has seen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sweep {
    /// When it began.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Live tasks by kind; kinds with none are left out.
    pub kinds: Vec<KindStates>,
    /// Live tasks by kind and spawn site, for the first 1,024 pairs.
    pub sites: Vec<SiteStates>,
    /// Tasks at other sites.
    pub elsewhere: u64,
    /// Where the tasks are that are meant to live for ever: the first [`MOST_LONG_LIVED`].
    pub(crate) long_lived: Vec<Spot>,
    /// The age from which on the [`ages`](SiteStates::ages) of tasks were counted.
    pub young: Duration,
    /// Futures that tokio polls as tasks, by runtime's number; those of unknown runtimes are first.
    roots: Vec<u64>,
}

/// How many tasks that are meant to live for ever a sweep notes.
pub(crate) const MOST_LONG_LIVED: usize = 4_096;

/// A task, and where its record is: to find it among a million without a walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) id: TaskId,
    pub(super) slab: usize,
    pub(super) place: usize,
}

#[cfg(test)]
impl Spot {
    /// For tests of those who only look at ids.
    pub(crate) fn nowhere(id: TaskId) -> Self {
        Self {
            id,
            slab: 0,
            place: 0,
        }
    }
}

impl Sweep {
    /// Futures that the runtime of that number polls as tasks; 0 for those of which the runtime is not known.
    pub(crate) fn roots_in(&self, runtime: u8) -> u64 {
        self.roots.get(usize::from(runtime)).copied().unwrap_or_default()
    }
}

/// Live tasks of one kind, as a sweep saw them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KindStates {
    /// The kind.
    pub kind: KindId,
    /// Tasks by state, in the order of [`State::ALL`].
    states: [u64; State::ALL.len()],
    /// Tasks with the verdict *orphaned*.
    pub orphaned: u64,
    /// Tasks with the verdict *overstayed*.
    pub overstayed: u64,
    /// Tasks with the verdict *overdue*.
    pub overdue: u64,
    /// The age of the oldest.
    pub oldest: Duration,
}

impl KindStates {
    /// How many tasks are in that state.
    #[must_use]
    pub fn with(&self, state: State) -> u64 {
        self.states.get(state as usize).copied().unwrap_or_default()
    }
}

/// Live tasks of one kind that were spawned at one place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SiteStates {
    /// The kind.
    pub kind: KindId,
    /// The place.
    pub spawned_at: &'static Location<'static>,
    /// How many live.
    pub live: u64,
    /// How many of them have the verdict *orphaned*.
    pub orphaned: u64,
    /// How many of them have the verdict *overstayed*.
    pub overstayed: u64,
    /// How many of them have the verdict *overdue*.
    pub overdue: u64,
    /// The age of the oldest.
    pub oldest: Duration,
    /// The ages of those that are no longer young, without a verdict, and not meant to live as long as the service.
    pub ages: Ages,
}

impl SiteStates {
    /// A site at which no task lives, for who counts tasks in other ways than by a sweep.
    #[must_use]
    pub fn empty(kind: KindId, spawned_at: &'static Location<'static>) -> Self {
        Self {
            kind,
            spawned_at,
            live: 0,
            orphaned: 0,
            overstayed: 0,
            overdue: 0,
            oldest: Duration::ZERO,
            ages: Ages::default(),
        }
    }

    /// Adds what was seen of the same site under another address: each codegen unit can have its own.
    fn merge(&mut self, other: &Self) {
        self.live += other.live;
        self.orphaned += other.orphaned;
        self.overstayed += other.overstayed;
        self.overdue += other.overdue;
        self.oldest = self.oldest.max(other.oldest);
        self.ages.merge(&other.ages);
    }
}

/// Looks at every live task, and remembers those that wait without a waker: the next sweep, or row, that finds one
/// of them unchanged calls it orphaned.
///
/// The agent does this every second. Call it where there is no agent, or in a test.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let _task = lifespan::spawn("stuck", std::future::pending::<()>());
/// tokio::task::yield_now().await;
/// lifespan::registry::sweep();
/// let sweep = lifespan::registry::sweep();
/// assert_eq!(sweep.kinds.iter().map(|kind| kind.orphaned).sum::<u64>(), 1);
/// # }
/// ```
pub fn sweep() -> Arc<Sweep> {
    extra::sweep_unlinked();
    // One at a time, since two would take each other's first look for their own.
    let sweeping = SWEEPING.lock().unwrap_or_else(PoisonError::into_inner);
    let (at, start) = (SystemTime::now(), clock::ticks());
    let (mut counts, steps) = (Counts::new(start), Steps::new(ages::young()));
    for slab in 0..slab::slabs() {
        for (place, record) in slab::records(slab).iter().enumerate() {
            let Some(look) = record.look() else { continue };
            let mut verdicts = Verdicts::default();
            if look.flags & (flag::SCOPED | flag::LIMITED) != 0 {
                verdicts = by_extra(record, look.id, clock::between(look.born, start));
            }
            verdicts.orphaned = verdict(slab, place, &look);
            counts.add(&look, verdicts, &steps);
            if look.flags & flag::LONG_LIVED != 0 && counts.long_lived.len() < MOST_LONG_LIVED {
                let id = TaskId::new(look.id);
                counts.long_lived.extend(id.map(|id| Spot { id, slab, place }));
            }
        }
    }
    let sweep = Arc::new(counts.finish(at, clock::between(start, clock::ticks()), steps.young()));
    drop(sweeping);
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&sweep));
    slab::trim();
    sweep
}

/// The last sweep, if there was one.
#[must_use]
pub fn last() -> Option<Arc<Sweep>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// How long to wait after a sweep: a second, or so long that sweeps take at most 0.5 % of a core.
pub(crate) fn pace(took: Duration) -> Duration {
    took.saturating_mul(200).max(Duration::from_secs(1))
}

/// Whether this look and one before say the same of a task: that it waits, and nothing can wake it.
fn verdict(slab: usize, place: usize, look: &Look) -> bool {
    if !is_forsaken(look) {
        // One look at its counts tells all others that they are not.
        return look.probes > 0 && is_orphaned(look, slab::mark(slab, place));
    }
    let Some(left) = slab::marks(slab).get(place) else {
        return false;
    };
    let orphaned = is_orphaned(look, left.load(Relaxed));
    left.store(if orphaned { mark(look) | JUDGED } else { mark(look) }, Relaxed);
    orphaned
}

/// What follows from the scope of a task and from what it declared. Few have an `Extra` that says either: out of the way
/// of the others; and not handed the look, of which all would have to be put together then.
#[inline(never)]
fn by_extra(record: &Record, id: u64, age: Duration) -> Verdicts {
    let verdicts = record.pin(id, |extra| Verdicts {
        orphaned: false,
        overstayed: extra.scope().is_some_and(|scope| scope.overstays()),
        overdue: is_overdue(extra, age),
    });
    verdicts.unwrap_or_default()
}

/// What a sweep says of one task.
#[derive(Clone, Copy, Default)]
struct Verdicts {
    orphaned: bool,
    overstayed: bool,
    overdue: bool,
}

impl Verdicts {
    fn any(self) -> bool {
        self.orphaned || self.overstayed || self.overdue
    }
}

static SWEEPING: Mutex<()> = Mutex::new(());
static LAST: Mutex<Option<Arc<Sweep>>> = Mutex::new(None);

const SITES: usize = 1_024;
/// Places for them: a power of two, so that a hash becomes a place without a division, which would be a tenth of
/// what a record costs.
const PLACES: usize = 4 * SITES;
const _: () = assert!(PLACES.is_power_of_two());
/// Numbers that a runtime can have.
const RUNTIMES: usize = 256;

/// What a sweep adds up.
struct Counts {
    now: u64,
    kinds: Vec<Count>,
    /// By hash of kind and site, with free places behind; at most `SITES` are taken.
    sites: Vec<Option<Site>>,
    taken: usize,
    elsewhere: u64,
    long_lived: Vec<Spot>,
    roots: [u64; RUNTIMES],
}

#[derive(Clone)]
struct Site {
    kind: u16,
    spawned_at: &'static Location<'static>,
    count: Count,
    ages: Ages,
}

#[derive(Clone, Copy)]
struct Count {
    states: [u64; State::ALL.len()],
    orphaned: u64,
    overstayed: u64,
    overdue: u64,
    /// When the oldest was spawned.
    born: u64,
}

impl Count {
    const NONE: Self = Self {
        states: [0; State::ALL.len()],
        orphaned: 0,
        overstayed: 0,
        overdue: 0,
        born: u64::MAX,
    };

    #[inline]
    fn add(&mut self, state: State, verdicts: Verdicts, born: u64) {
        self.states[state as usize] += 1;
        // Few have a verdict, and few are older than the oldest so far: a branch is cheaper here than a store.
        if verdicts.any() {
            self.judge(verdicts);
        }
        if born < self.born {
            self.born = born;
        }
    }

    #[cold]
    fn judge(&mut self, verdicts: Verdicts) {
        self.orphaned += u64::from(verdicts.orphaned);
        self.overstayed += u64::from(verdicts.overstayed);
        self.overdue += u64::from(verdicts.overdue);
    }
}

impl Counts {
    fn new(now: u64) -> Self {
        Self {
            now,
            kinds: Vec::new(),
            sites: vec![None; PLACES],
            taken: 0,
            elsewhere: 0,
            long_lived: Vec::new(),
            roots: [0; RUNTIMES],
        }
    }

    #[inline]
    fn add(&mut self, look: &Look, verdicts: Verdicts, steps: &Steps) {
        let known = look.flags & (flag::PASS | flag::FOREIGN) == 0;
        let state = if look.phase == RUNNING {
            State::Running
        } else if look.scheduled && (known || look.polls == 0) {
            State::Scheduled
        } else {
            State::Idle
        };
        let kind = usize::from(look.kind);
        if kind >= self.kinds.len() {
            self.kinds.resize(kind + 1, Count::NONE);
        }
        self.kinds[kind].add(state, verdicts, look.born);
        let now = self.now;
        match self.site(look) {
            Some(site) => {
                site.count.add(state, verdicts, look.born);
                // Few are old, as a rule; only those are looked at more closely.
                let age = now.saturating_sub(look.born);
                let judged = verdicts.any() || look.flags & flag::LONG_LIVED != 0;
                if steps.is_old(age) && !judged {
                    site.ages.add_ticks(age, now.saturating_sub(look.last), steps);
                }
            }
            None => self.elsewhere += 1,
        }
        // What a runtime counts as a task of its own, too.
        let elsewhere = flag::BLOCKING | flag::THREAD | flag::LOCAL | flag::FOREIGN;
        if look.flags & elsewhere == 0 && (look.flags & flag::OUTERMOST != 0 || look.polls == 0) {
            self.roots[usize::from(look.runtime)] += 1;
        }
    }

    #[inline]
    fn site(&mut self, look: &Look) -> Option<&mut Site> {
        let site = look.site?;
        let hash =
            (std::ptr::from_ref(site).addr() >> 3 ^ usize::from(look.kind) << 7).wrapping_mul(0x9e37_79b9);
        let mut at = (hash >> 8) % PLACES;
        loop {
            match &self.sites[at] {
                Some(known) if known.kind == look.kind && std::ptr::eq(known.spawned_at, site) => break,
                Some(_) => at = (at + 1) % PLACES,
                None if self.taken < SITES => {
                    self.sites[at] = Some(Site {
                        kind: look.kind,
                        spawned_at: site,
                        count: Count::NONE,
                        ages: Ages::default(),
                    });
                    self.taken += 1;
                    break;
                }
                None => return None,
            }
        }
        self.sites[at].as_mut()
    }

    /// Sites in their order, each once.
    fn sites(&self) -> Vec<SiteStates> {
        let mut sites: Vec<SiteStates> = (self.sites.iter().flatten())
            .map(|site| SiteStates {
                kind: KindId::from_index(site.kind),
                spawned_at: site.spawned_at,
                live: site.count.states.iter().sum(),
                orphaned: site.count.orphaned,
                overstayed: site.count.overstayed,
                overdue: site.count.overdue,
                oldest: clock::between(site.count.born, self.now),
                ages: site.ages.clone(),
            })
            .collect();
        sites.sort_unstable_by_key(|site| (site.kind, site.spawned_at));
        sites.dedup_by(|again, first| {
            let same = (again.kind, again.spawned_at) == (first.kind, first.spawned_at);
            if same {
                first.merge(again);
            }
            same
        });
        sites
    }

    fn finish(self, at: SystemTime, took: Duration, young: Duration) -> Sweep {
        let age = |count: &Count| clock::between(count.born, self.now);
        let kinds = self
            .kinds
            .iter()
            .enumerate()
            .filter(|(_, count)| count.born != u64::MAX);
        let most = self.roots.iter().rposition(|&tasks| tasks > 0);
        let roots = self.roots[..most.map_or(0, |most| most + 1)].to_vec();
        Sweep {
            at,
            took,
            kinds: kinds
                .map(|(kind, count)| KindStates {
                    kind: KindId::from_index(u16::try_from(kind).unwrap_or_default()),
                    states: count.states,
                    orphaned: count.orphaned,
                    overstayed: count.overstayed,
                    overdue: count.overdue,
                    oldest: age(count),
                })
                .collect(),
            sites: self.sites(),
            elsewhere: self.elsewhere,
            long_lived: self.long_lived,
            young,
            roots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_take_at_most_a_two_hundredth_of_a_core() {
        assert_eq!(pace(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(pace(Duration::from_millis(5)), Duration::from_secs(1));
        assert_eq!(pace(Duration::from_millis(50)), Duration::from_secs(10));
    }
}
