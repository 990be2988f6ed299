//! One walk in the background that feeds all that needs a look at each record.

use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::snapshot::{JUDGED, is_forsaken, is_orphaned, mark};
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
    /// The age of the oldest.
    pub oldest: Duration,
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
    let mut counts = Counts::new(start);
    for slab in 0..slab::slabs() {
        for (place, record) in slab::records(slab).iter().enumerate() {
            let Some(look) = record.look() else { continue };
            let verdicts = Verdicts {
                orphaned: verdict(slab, place, &look),
                overstayed: overstays(record, &look),
            };
            counts.add(&look, verdicts);
            if look.flags & flag::LONG_LIVED != 0 && counts.long_lived.len() < MOST_LONG_LIVED {
                let id = TaskId::new(look.id);
                counts.long_lived.extend(id.map(|id| Spot { id, slab, place }));
            }
        }
    }
    let sweep = Arc::new(counts.finish(at, clock::between(start, clock::ticks())));
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

/// Whether the task has outlived its scope. Only a task that is in one has its `Extra` looked at.
fn overstays(record: &Record, look: &Look) -> bool {
    look.flags & flag::SCOPED != 0
        && record.pin(look.id, |extra| {
            extra.scope().is_some_and(|scope| scope.overstays())
        }) == Some(true)
}

/// What a sweep says of one task.
#[derive(Clone, Copy)]
struct Verdicts {
    orphaned: bool,
    overstayed: bool,
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
    sites: Vec<Option<(u16, &'static Location<'static>, Count)>>,
    taken: usize,
    elsewhere: u64,
    long_lived: Vec<Spot>,
    roots: [u64; RUNTIMES],
}

#[derive(Clone, Copy)]
struct Count {
    states: [u64; State::ALL.len()],
    orphaned: u64,
    overstayed: u64,
    /// When the oldest was spawned.
    born: u64,
}

impl Count {
    const NONE: Self = Self {
        states: [0; State::ALL.len()],
        orphaned: 0,
        overstayed: 0,
        born: u64::MAX,
    };

    fn add(&mut self, state: State, verdicts: Verdicts, born: u64) {
        self.states[state as usize] += 1;
        // Few have a verdict, and few are older than the oldest so far: a branch is cheaper here than a store.
        if verdicts.orphaned {
            self.orphaned += 1;
        }
        if verdicts.overstayed {
            self.overstayed += 1;
        }
        if born < self.born {
            self.born = born;
        }
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
    fn add(&mut self, look: &Look, verdicts: Verdicts) {
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
        match self.site(look) {
            Some(count) => count.add(state, verdicts, look.born),
            None => self.elsewhere += 1,
        }
        // What a runtime counts as a task of its own, too.
        let elsewhere = flag::BLOCKING | flag::THREAD | flag::LOCAL | flag::FOREIGN;
        if look.flags & elsewhere == 0 && (look.flags & flag::OUTERMOST != 0 || look.polls == 0) {
            self.roots[usize::from(look.runtime)] += 1;
        }
    }

    #[inline]
    fn site(&mut self, look: &Look) -> Option<&mut Count> {
        let site = look.site?;
        let hash =
            (std::ptr::from_ref(site).addr() >> 3 ^ usize::from(look.kind) << 7).wrapping_mul(0x9e37_79b9);
        let mut at = (hash >> 8) % PLACES;
        loop {
            match &self.sites[at] {
                Some((kind, known, _)) if *kind == look.kind && std::ptr::eq(*known, site) => break,
                Some(_) => at = (at + 1) % PLACES,
                None if self.taken < SITES => {
                    self.sites[at] = Some((look.kind, site, Count::NONE));
                    self.taken += 1;
                    break;
                }
                None => return None,
            }
        }
        self.sites[at].as_mut().map(|(_, _, count)| count)
    }

    fn finish(self, at: SystemTime, took: Duration) -> Sweep {
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
                    oldest: age(count),
                })
                .collect(),
            sites: (self.sites.iter().flatten())
                .map(|(kind, spawned_at, count)| SiteStates {
                    kind: KindId::from_index(*kind),
                    spawned_at,
                    live: count.states.iter().sum(),
                    orphaned: count.orphaned,
                    overstayed: count.overstayed,
                    oldest: age(count),
                })
                .collect(),
            elsewhere: self.elsewhere,
            long_lived: self.long_lived,
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
