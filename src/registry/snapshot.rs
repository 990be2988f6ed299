//! What is alive now: exact counts by kind, and a row for each task.

use std::panic::Location;
use std::sync::Arc;
#[cfg(feature = "profile")]
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use super::lost;
use super::sweep::Spot;
use crate::clock;
use crate::task::cells::{Histogram, SLOW_POLL, Totals};
use crate::task::extra::{self, Extra, Facts};
use crate::task::kind::{self, KindId};
use crate::task::record::{Look, RUNNING, Record, WAITING, flag};
use crate::task::{self, Outcome, State, TaskId, local, slab};

/// What is known of one kind: counts since the process started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KindSummary {
    /// The kind.
    pub kind: KindId,
    /// Tasks ever spawned.
    pub spawned: u64,
    /// Tasks that have ended, by outcome.
    pub finished: Finished,
    /// How long those that have ended lived.
    pub lifetime: Histogram,
    /// How long polls took. Its sum is the kind's busy time.
    pub poll: Histogram,
    /// Tasks that waited for what had come, without a wake: see [`Event::LostWakeup`](crate::event::Event::LostWakeup).
    pub lost_wakeups: u64,
    /// How long tasks that were woken waited for a worker; of a sample of wakes.
    pub schedule_delay: Histogram,
}

impl KindSummary {
    /// Tasks alive: exactly those spawned less those finished, and so never negative.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.spawned.saturating_sub(self.finished.total())
    }

    /// Polls that took longer than 10 ms.
    #[must_use]
    pub fn slow_polls(&self) -> u64 {
        self.poll.above(SLOW_POLL)
    }

    /// Adds what is known of another kind.
    pub fn merge(&mut self, other: &Self) {
        self.spawned = self.spawned.wrapping_add(other.spawned);
        for (to, from) in self.finished.0.iter_mut().zip(other.finished.0) {
            *to = to.wrapping_add(from);
        }
        self.lost_wakeups = self.lost_wakeups.wrapping_add(other.lost_wakeups);
        self.lifetime.merge(&other.lifetime);
        self.poll.merge(&other.poll);
        self.schedule_delay.merge(&other.schedule_delay);
    }

    /// A kind of which there never was a task, for who counts tasks in other ways than the registry.
    #[must_use]
    pub fn empty(kind: KindId) -> Self {
        Self::new(kind, Totals::new())
    }

    fn new(kind: KindId, totals: Totals) -> Self {
        Self {
            kind,
            spawned: totals.spawned,
            finished: Finished(totals.finished),
            lost_wakeups: lost::count(kind),
            lifetime: totals.lifetime,
            poll: totals.poll,
            schedule_delay: totals.delay,
        }
    }
}

/// Tasks that have ended, by outcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Finished([u64; Outcome::ALL.len()]);

impl Finished {
    /// How many ended so.
    #[must_use]
    pub fn with(&self, outcome: Outcome) -> u64 {
        self.0.get(outcome as usize).copied().unwrap_or_default()
    }

    /// How many have ended.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }
}

/// Summaries of all kinds of the process, in the order in which they were first used; `other` comes first.
///
/// Their numbers belong together: see [`KindSummary::live`]. Takes as long as there are pairs of a kind and a
/// thread that spawned or polled tasks of it, however many tasks there are.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// lifespan::spawn("summed", async {}).await.expect("no panic");
/// let kinds = lifespan::registry::kinds();
/// let kind = kinds.iter().find(|kind| kind.kind.name() == "summed").expect("it was used");
/// assert_eq!((kind.spawned, kind.live()), (1, 0));
/// # }
/// ```
#[must_use]
pub fn kinds() -> Vec<KindSummary> {
    kind::all()
        .zip(local::totals())
        .map(|(kind, totals)| KindSummary::new(kind, totals))
        .collect()
}

/// What a task is made of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Nature {
    /// A future, polled by a runtime.
    Future,
    /// A closure on tokio's pool for blocking code. Nothing can abort it once it runs.
    Blocking,
    /// An OS thread. Nothing can abort it.
    Thread,
}

impl Nature {
    /// The name that rows show.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Future => "future",
            Self::Blocking => "blocking",
            Self::Thread => "thread",
        }
    }

    pub(crate) fn of(flags: u16) -> Self {
        if flags & flag::BLOCKING != 0 {
            Self::Blocking
        } else if flags & flag::THREAD != 0 {
            Self::Thread
        } else {
            Self::Future
        }
    }
}

/// One live task, as it was at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// When it was looked at.
    pub sampled_at: SystemTime,
    /// Its id.
    pub id: TaskId,
    /// Its kind.
    pub kind: KindId,
    /// The name that it was given, if it was.
    pub name: Option<Box<str>>,
    /// What it is made of.
    pub nature: Nature,
    /// What it is doing. Where wakers pass through, a task that was woken still counts as idle.
    pub state: State,
    /// Since it was spawned.
    pub age: Duration,
    /// Since its last poll ended; zero while it runs.
    pub idle: Duration,
    /// In polls, the running one included.
    pub busy: Duration,
    /// Since the running poll began; zero unless it runs.
    pub running: Duration,
    /// Polls that have ended.
    pub polls: u64,
    /// How often it was woken; `None` where its waker passes through.
    pub wakes: Option<u64>,
    /// How often it woke itself while it was polled; `None` where its waker passes through.
    pub self_wakes: Option<u64>,
    /// Wakers of it that are alive: how many ways there are to wake it. `None` where its waker passes through.
    pub wakers: Option<u64>,
    /// Wakers of it ever made; `None` where its waker passes through.
    pub waker_clones: Option<u64>,
    /// The task that woke it last; `None` where that was none, such as a timer or a socket. Until it was woken, the
    /// task that spawned it.
    pub woken_by: Option<TaskId>,
    /// The task that spawned it.
    pub parent: Option<TaskId>,
    /// The path of the [scope](crate::scope) that it runs in, if it does in one.
    pub scope: Option<Arc<str>>,
    /// The path of the [supervisor](crate::supervisor) whose child it is, if it is one.
    pub supervisor: Option<Arc<str>>,
    /// The runtime that it runs in, where that is known: see the crate's documentation.
    pub runtime: Option<&'static str>,
    /// Where it was spawned.
    pub spawned_at: Option<&'static Location<'static>>,
    /// The size of its future, or of its closure.
    pub future_bytes: u64,
    /// What its spawner said of it.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// How long it was declared to live at most.
    pub max_lifetime: Option<Duration>,
    /// Whether it was declared to live as long as the service.
    pub long_lived: bool,
    /// It waits, and no waker of it is alive, as a sweep has found as well: only whoever holds its handle can still
    /// end it, by aborting it.
    pub orphaned: bool,
    /// Its scope was closed or cancelled, and the time that it had to stop has passed.
    pub overstayed: bool,
    /// It has lived longer than it was declared to, or the heartbeat that it promised to its supervisor has not come.
    pub overdue: bool,
}

/// The live tasks, one after the other. Ends; holds the rows of one slab at a time.
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct Rows {
    slab: usize,
    place: usize,
    /// When the walk came to this slab.
    start: Moment,
}

/// The same moment on both clocks, so that a row costs a reading of the cheap one alone.
#[derive(Clone, Copy, Debug)]
struct Moment {
    time: SystemTime,
    ticks: u64,
}

impl Moment {
    fn now() -> Self {
        Self {
            time: SystemTime::now(),
            ticks: clock::ticks(),
        }
    }

    fn time_at(self, ticks: u64) -> SystemTime {
        self.time + clock::between(self.ticks, ticks)
    }
}

/// Walks the live tasks, in no order.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let task = lifespan::spawn("waiting", std::future::pending::<()>());
/// let row = lifespan::registry::rows().find(|row| row.kind.name() == "waiting").expect("it lives");
/// assert_eq!(row.state, lifespan::State::Scheduled);
/// # task.abort();
/// # }
/// ```
pub fn rows() -> Rows {
    extra::sweep_unlinked();
    Rows {
        slab: 0,
        place: 0,
        start: Moment::now(),
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        while self.slab < slab::slabs() {
            let records = slab::records(self.slab);
            while let Some(record) = records.get(self.place) {
                let at = (self.slab, self.place);
                self.place += 1;
                if let Some(row) = read(record, at, self.start, |_| true) {
                    return Some(row);
                }
            }
            self.slab += 1;
            self.place = 0;
            self.start = Moment::now();
        }
        None
    }
}

/// The row of one task; `None` where it has ended, or there never was one. Looks at every record.
#[must_use]
pub fn row(id: TaskId) -> Option<Row> {
    let start = Moment::now();
    (0..slab::slabs()).find_map(|slab| {
        let mut records = slab::records(slab).iter().enumerate();
        records.find_map(|(place, record)| read(record, (slab, place), start, |look| look.id == id.get()))
    })
}

/// The row of a task that a sweep has seen, if it is still alive.
pub(crate) fn row_at(spot: Spot) -> Option<Row> {
    let Spot { id, slab, place } = spot;
    let record = slab::records(slab).get(place)?;
    read(record, (slab, place), Moment::now(), |look| look.id == id.get())
}

/// Whether what one look says of a task would make it an orphan, if a second look says the same.
///
/// It is exact only for the root of a task, of which the record knows every waker; and no verdict is given for a
/// task that is meant to live for ever, since a guard that waits to be aborted looks so.
pub(crate) fn is_forsaken(look: &Look) -> bool {
    let exact = flag::ROOT | flag::PASS | flag::FOREIGN | flag::LONG_LIVED;
    look.forsaken && look.flags & exact == flag::ROOT
}

/// Whether a second look makes a task an orphan, given the mark that the first one left.
///
/// A task that is asked where it waits is polled for that, and may make a new waker then. It is an orphan all the same,
/// until it runs for another reason.
pub(super) fn is_orphaned(look: &Look, left: u32) -> bool {
    if is_forsaken(look) {
        left & !JUDGED == mark(look)
    } else {
        look.probes > 0 && look.phase == WAITING && !look.scheduled && left == mark(look) | JUDGED
    }
}

/// Whether a task of that age has lived longer than it was declared to, or owes a sign of life.
pub(super) fn is_overdue(extra: &Extra, age: Duration) -> bool {
    extra.facts.max_lifetime.is_some_and(|limit| age > limit)
        || extra.scope().is_some_and(|scope| scope.is_silent())
}

/// Stands for one task at one count of polls, without the bit [`JUDGED`]; never 0.
pub(crate) fn mark(look: &Look) -> u32 {
    let mixed = (look.id ^ look.polls.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mark = (mixed >> 32) as u32;
    (mark | 1) & !JUDGED
}

/// Of a mark: two looks have said the same, and the verdict was given.
pub(super) const JUDGED: u32 = 2;

/// Shows each live task as one look, with its place.
#[cfg(feature = "profile")]
pub(crate) fn looks(mut each: impl FnMut(Place, &Look)) {
    for slab in 0..slab::slabs() {
        for (place, record) in slab::records(slab).iter().enumerate() {
            if let Some(look) = record.look() {
                each(Place { slab, place }, &look);
            }
        }
    }
}

/// Where a task's record is.
#[cfg(feature = "profile")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    slab: usize,
    place: usize,
}

#[cfg(feature = "profile")]
impl Place {
    /// The row of the task `id`, if it still is here, for somebody who is about to ask it: a verdict that the row gives
    /// is kept, see [`is_orphaned`].
    pub(crate) fn row(self, id: u64) -> Option<(Row, Look, &'static Record)> {
        let Self { slab, place } = self;
        let record = slab::records(slab).get(place)?;
        let mut seen = None;
        let row = read(record, (slab, place), Moment::now(), |look| {
            seen = Some(*look);
            look.id == id
        })?;
        let look = seen?;
        if row.orphaned
            && let Some(left) = slab::marks(slab).get(place)
        {
            left.store(mark(&look) | JUDGED, Relaxed);
        }
        Some((row, look, record))
    }
}

fn read(
    record: &Record,
    (slab, place): (usize, usize),
    start: Moment,
    wanted: impl FnOnce(&Look) -> bool,
) -> Option<Row> {
    let look = record.look().filter(wanted)?;
    let id = TaskId::new(look.id)?;
    let now = clock::ticks();
    let age = clock::between(look.born, now);
    let said = record
        .pin(look.id, |extra| Said::of(extra, age))
        .unwrap_or_default();
    let orphaned = is_orphaned(&look, slab::mark(slab, place));
    Some(Row::new(id, &look, (start.time_at(now), now), said, orphaned))
}

/// What stands beside a record, for the few tasks that have more than one.
#[derive(Default)]
struct Said {
    facts: Facts,
    scope: Option<Arc<str>>,
    supervisor: Option<Arc<str>>,
    overstayed: bool,
    overdue: bool,
}

impl Said {
    fn of(extra: &Extra, age: Duration) -> Self {
        let scope = extra.scope();
        Self {
            facts: extra.facts.clone(),
            scope: scope.map(|scope| scope.path()),
            supervisor: scope.and_then(|scope| scope.supervisor()),
            overstayed: scope.is_some_and(|scope| scope.overstays()),
            overdue: is_overdue(extra, age),
        }
    }
}

impl Row {
    fn new(id: TaskId, look: &Look, (time, now): (SystemTime, u64), said: Said, orphaned: bool) -> Self {
        let facts = said.facts;
        let runs = look.phase == RUNNING;
        let since = clock::between(look.last, now);
        let busy = Duration::from_nanos(clock::nanos(look.busy));
        let known = look.flags & (flag::PASS | flag::FOREIGN) == 0;
        let nature = Nature::of(look.flags);
        let state = if runs {
            State::Running
        } else if look.scheduled && (known || look.polls == 0) {
            State::Scheduled
        } else {
            State::Idle
        };
        Self {
            sampled_at: time,
            id,
            kind: KindId::from_index(look.kind),
            name: facts.name,
            nature,
            state,
            age: clock::between(look.born, now),
            idle: if runs { Duration::ZERO } else { since },
            busy: if runs { busy + since } else { busy },
            running: if runs { since } else { Duration::ZERO },
            polls: look.polls,
            // The spawn is the first wake of a record, and no wake to a reader.
            wakes: known.then(|| look.wakes.saturating_sub(1)),
            self_wakes: known.then_some(look.self_wakes.into()),
            wakers: known.then_some(look.wakers.into()),
            waker_clones: known.then_some(look.clones.into()),
            woken_by: TaskId::new(look.by),
            parent: TaskId::new(look.parent),
            scope: said.scope,
            supervisor: said.supervisor,
            runtime: task::runtime::name(look.runtime),
            spawned_at: look.site,
            future_bytes: look.size.into(),
            attributes: facts.attributes,
            max_lifetime: facts.max_lifetime,
            long_lived: look.flags & flag::LONG_LIVED != 0,
            orphaned,
            overstayed: said.overstayed,
            overdue: said.overdue,
        }
    }
}
