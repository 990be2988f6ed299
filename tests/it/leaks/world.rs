//! Programs on a clock of their own: hours pass in a moment, and the rules see of their tasks what a sweep would.
//!
//! A program is tokio code on a paused clock. Its tasks are spawned through lifespan, so that what is exact about them
//! (orphaned, overstayed) comes from the registry itself. Only how old they are, how long idle, and how long they lived
//! is counted here, since a record counts that in the processor's time.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use lifespan::leak::{Leak, News, Rules, Verdict};
use lifespan::registry::{self, DEFAULT_YOUNG, KindSummary, SiteStates};
use lifespan::{Builder, KindId, Scope, TaskId};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

pub(super) type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One program of the corpus.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Where the pattern comes from.
    pub(super) source: &'static str,
    /// For how long it runs.
    pub(super) hours: u32,
    /// The kinds of task that it leaks, and the verdict that they must get.
    pub(super) leaks: &'static [(&'static str, Verdict)],
    pub(super) run: fn(World) -> Boxed,
}

/// A verdict on tasks of a program, as it was raised.
#[derive(Clone, Debug)]
pub(super) struct Raised {
    pub(super) after: Duration,
    pub(super) leak: Leak,
}

impl Program {
    /// Runs it, and says what was raised.
    pub(super) fn judge(&self) -> Vec<Raised> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(self.judge_here())
    }

    async fn judge_here(&self) -> Vec<Raised> {
        let world = World::new(self.name);
        let mut rules = Rules::new(DEFAULT_YOUNG);
        let (start, mut raised) = (Instant::now(), Vec::new());
        let mut program = (self.run)(world.clone());
        let mut ended = false;
        // As rarely as an agent with many millions of tasks looks.
        for look in 0..self.hours * 60 {
            let until = start + MINUTE * look;
            while !ended && Instant::now() < until {
                tokio::select! {
                    biased;
                    () = &mut program => ended = true,
                    () = sleep_until(until) => {}
                }
            }
            sleep_until(until).await;
            let (kinds, sites) = world.seen();
            let found = rules.look(&kinds, &sites, start.elapsed());
            for news in found.news {
                if let News::Raised(leak) = news {
                    let after = start.elapsed();
                    raised.push(Raised { after, leak });
                }
            }
        }
        raised
    }
}

/// What a program spawns through, and is watched by.
#[derive(Clone)]
pub(super) struct World(Arc<Mutex<State>>);

struct State {
    kinds: HashMap<KindId, KindSummary>,
    live: HashMap<u64, Live>,
    next: u64,
    /// What the program never lets go of.
    kept: Vec<Box<dyn Any + Send>>,
    dice: u64,
    /// Tasks with an exact verdict, and when they were looked for.
    orphaned: HashSet<TaskId>,
    overstayed: HashSet<TaskId>,
    looked: Instant,
}

/// A task, as the program's own clock has it.
struct Live {
    id: Option<TaskId>,
    kind: KindId,
    place: &'static Location<'static>,
    born: Instant,
    polled: Instant,
    long_lived: bool,
    limit: Option<Duration>,
}

impl World {
    fn new(name: &str) -> Self {
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(Arc::new(Mutex::new(State {
            kinds: HashMap::new(),
            live: HashMap::new(),
            next: 0,
            kept: Vec::new(),
            dice: seed,
            orphaned: HashSet::new(),
            overstayed: HashSet::new(),
            looked: Instant::now(),
        })))
    }

    /// Spawns a task.
    #[track_caller]
    pub(super) fn spawn<F>(&self, kind: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        lifespan::spawn(kind, self.watch(kind, future, Location::caller(), false, None))
    }

    /// Spawns one that is to live as long as the service.
    #[track_caller]
    pub(super) fn spawn_long_lived<F>(&self, kind: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = self.watch(kind, future, Location::caller(), true, None);
        Builder::new(kind).long_lived().spawn(task)
    }

    /// Spawns one that says how long it lives at most.
    #[track_caller]
    pub(super) fn spawn_limited<F>(
        &self,
        kind: &'static str,
        limit: Duration,
        future: F,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        lifespan::spawn(
            kind,
            self.watch(kind, future, Location::caller(), false, Some(limit)),
        )
    }

    /// Spawns one in a scope.
    #[track_caller]
    pub(super) fn spawn_in<F>(&self, scope: &Scope, kind: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = self.watch(kind, future, Location::caller(), false, None);
        scope.spawn(kind, |_| task)
    }

    fn watch<F: Future>(
        &self,
        kind: &'static str,
        future: F,
        place: &'static Location<'static>,
        long_lived: bool,
        limit: Option<Duration>,
    ) -> Watched<F> {
        let (kind, now) = (KindId::named(kind), Instant::now());
        let mut state = self.lock();
        state.next += 1;
        let key = state.next;
        state.summary(kind).spawned += 1;
        let live = Live {
            id: None,
            kind,
            place,
            born: now,
            polled: now,
            long_lived,
            limit,
        };
        state.live.insert(key, live);
        Watched {
            future: Box::pin(future),
            key,
            world: self.clone(),
        }
    }

    /// Never lets go of something: a table of connections from which nobody removes it.
    pub(super) fn keep(&self, value: impl Send + 'static) {
        self.lock().kept.push(Box::new(value));
    }

    /// Does something again and again, at random moments that are so far apart on average.
    pub(super) async fn each(&self, apart: Duration, mut act: impl FnMut()) {
        loop {
            sleep(self.around(apart)).await;
            act();
        }
    }

    /// A random time, exponential around a mean.
    pub(super) fn around(&self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.roll()).ln())
    }

    /// A random time between two.
    pub(super) fn between(&self, least: Duration, most: Duration) -> Duration {
        least + (most - least).mul_f64(self.roll())
    }

    /// Whether a die of so many sides falls on 1.
    pub(super) fn one_in(&self, sides: u32) -> bool {
        self.roll() * f64::from(sides) < 1.0
    }

    /// One of so many numbers, from 0.
    pub(super) fn below(&self, many: usize) -> usize {
        let place = self.dice() % (many as u64);
        place.try_into().unwrap()
    }

    /// From 0 to 1.
    pub(super) fn roll(&self) -> f64 {
        self.dice() as f64 / (1u64 << 53) as f64
    }

    fn dice(&self) -> u64 {
        let mut state = self.lock();
        // As in Knuth's MMIX.
        state.dice = state
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.dice >> 11
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What a sweep would see.
    fn seen(&self) -> (Vec<KindSummary>, Vec<SiteStates>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.look_closely(now);
        let mut sites: HashMap<(KindId, &'static Location<'static>), SiteStates> = HashMap::new();
        for live in state.live.values() {
            let site = sites.entry((live.kind, live.place));
            let site = site.or_insert_with(|| SiteStates::empty(live.kind, live.place));
            let (age, idle) = (now - live.born, now - live.polled);
            let has = |ids: &HashSet<TaskId>| live.id.is_some_and(|id| ids.contains(&id));
            let (orphaned, overstayed) = (has(&state.orphaned), has(&state.overstayed));
            let overdue = live.limit.is_some_and(|limit| age > limit);
            site.live += 1;
            site.orphaned += u64::from(orphaned);
            site.overstayed += u64::from(overstayed);
            site.overdue += u64::from(overdue);
            site.oldest = site.oldest.max(age);
            if !(orphaned || overstayed || overdue || live.long_lived) {
                site.ages.add(age, idle, DEFAULT_YOUNG);
            }
        }
        (
            state.kinds.values().cloned().collect(),
            sites.into_values().collect(),
        )
    }
}

impl State {
    fn summary(&mut self, kind: KindId) -> &mut KindSummary {
        self.kinds.entry(kind).or_insert_with(|| KindSummary::empty(kind))
    }

    /// Asks the registry for exact verdicts, where a task is no longer young.
    fn look_closely(&mut self, now: Instant) {
        let is_old = |live: &Live| now - live.born >= DEFAULT_YOUNG / 2;
        let is_time = now - self.looked >= DEFAULT_YOUNG || self.looked == now;
        if !is_time || !self.live.values().any(is_old) {
            return;
        }
        self.looked = now;
        registry::sweep();
        registry::sweep();
        let ours: HashSet<TaskId> = self.live.values().filter_map(|live| live.id).collect();
        self.orphaned.clear();
        self.overstayed.clear();
        for row in registry::rows().filter(|row| ours.contains(&row.id)) {
            if row.orphaned {
                self.orphaned.insert(row.id);
            }
            if row.overstayed {
                self.overstayed.insert(row.id);
            }
        }
    }
}

/// A task's future, which says when it is polled and when it is gone.
struct Watched<F> {
    future: Pin<Box<F>>,
    key: u64,
    world: World,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(live) = self.world.lock().live.get_mut(&self.key) {
            live.id = lifespan::current();
            live.polled = Instant::now();
        }
        self.future.as_mut().poll(cx)
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        if let Some(live) = state.live.remove(&self.key) {
            state.summary(live.kind).lifetime.record(live.born.elapsed());
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn boxed(future: impl Future<Output = ()> + Send + 'static) -> Boxed {
    Box::pin(future)
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn mins(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

pub(super) fn hours(hours: u64) -> Duration {
    Duration::from_secs(3_600 * hours)
}
