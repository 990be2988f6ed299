//! The last exits: a bounded ring of what tasks left behind.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::snapshot::Nature;
use crate::clock;
use crate::task::kind::KindId;
use crate::task::record::flag;
use crate::task::{self, Outcome, TaskId, exit};

/// How many exits are kept by default, and beside them a quarter as many that panicked.
pub const DEFAULT_EXITS: usize = 1_024;

/// A task that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exit {
    /// Its id.
    pub id: TaskId,
    /// Its kind.
    pub kind: KindId,
    /// The name that it was given, if it was.
    pub name: Option<Box<str>>,
    /// Whether it was meant to live as long as the process.
    pub long_lived: bool,
    /// What it was made of.
    pub nature: Nature,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub ended_at: SystemTime,
    /// From its spawn to its end.
    pub lifetime: Duration,
    /// In polls.
    pub busy: Duration,
    /// How often it was polled.
    pub polls: u64,
    /// How often it was woken.
    pub wakes: u64,
    /// How often it woke itself.
    pub self_wakes: u64,
    /// The task that spawned it.
    pub parent: Option<TaskId>,
    /// The path of the scope that it ran in, if it did in one.
    pub scope: Option<Arc<str>>,
    /// The path of the supervisor whose child it was, if it was one.
    pub supervisor: Option<Arc<str>>,
    /// The runtime that it ran in, where that is known.
    pub runtime: Option<&'static str>,
    /// Where it was spawned.
    pub spawned_at: Option<&'static Location<'static>>,
    /// The size of its future, or of its closure.
    pub future_bytes: u64,
    /// What its spawner said of it.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// What it died of, if it panicked.
    pub panic: Option<PanicFacts>,
}

/// What is known of a panic.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PanicFacts {
    /// Its message, cut to 1 KiB.
    pub message: String,
    /// Where it happened; known while an agent runs.
    pub location: Option<String>,
}

/// The last exits, oldest first.
///
/// Kept while an agent runs; without one nothing is copied when a task ends. All that ended while it ran were
/// either drained or dropped: `drained + dropped` of two moments differ by the number of tasks that ended between
/// them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct History {
    /// The exits.
    pub exits: VecDeque<Exit>,
    /// How many the history has taken in.
    pub drained: u64,
    /// How many were taken in and made room for later ones.
    pub evicted: u64,
    /// How many found no room on the way here.
    pub dropped: u64,
}

/// Takes in what ended since the last time, and returns the last exits.
#[must_use]
pub fn exits() -> History {
    drain();
    ring().history()
}

/// Takes in what ended since the last time.
pub(crate) fn drain() {
    let mut ring = ring();
    let (now, ticks) = (SystemTime::now(), clock::ticks());
    exit::drain(|exit| {
        if let Some(exit) = Exit::new(exit, now, ticks) {
            ring.take_in(exit);
        }
    });
}

/// Takes the exits that are told of as events, since the last time.
pub(crate) fn take_notable() -> Notable {
    std::mem::take(&mut ring().notable)
}

/// Exits that are told of: of tasks that panicked, and of those that were meant to live for ever.
#[derive(Debug, Default)]
pub(crate) struct Notable {
    /// In the order in which they were taken in.
    pub(crate) exits: Vec<Exit>,
    /// Those that found no room.
    pub(crate) dropped: u64,
}

/// How many of them wait to be told of.
const MOST_NOTABLE: usize = 1_024;

/// How many the history has taken in.
pub(crate) fn drained() -> u64 {
    ring().drained
}

/// How many made room for later ones.
pub(crate) fn evicted() -> u64 {
    ring().evicted
}

/// Sets how many exits are kept.
pub(crate) fn set_capacity(capacity: usize) {
    let mut ring = ring();
    ring.capacity = capacity;
    ring.evict();
}

/// The last exits, and apart from them the last that panicked: a busy service ends a thousand tasks in seconds, and
/// what one of them died of must be there still when somebody looks.
struct Ring {
    ordinary: VecDeque<(u64, Exit)>,
    panicked: VecDeque<(u64, Exit)>,
    capacity: usize,
    drained: u64,
    evicted: u64,
    notable: Notable,
}

impl Ring {
    fn take_in(&mut self, exit: Exit) {
        self.drained += 1;
        if exit.long_lived || exit.outcome == Outcome::Panicked {
            if self.notable.exits.len() < MOST_NOTABLE {
                self.notable.exits.push(exit.clone());
            } else {
                self.notable.dropped += 1;
            }
        }
        let exits = match exit.outcome {
            Outcome::Panicked => &mut self.panicked,
            Outcome::Completed | Outcome::Failed | Outcome::Cancelled => &mut self.ordinary,
        };
        exits.push_back((self.drained, exit));
        self.evict();
    }

    fn evict(&mut self) {
        let rings = [
            (&mut self.ordinary, self.capacity),
            (&mut self.panicked, self.capacity / 4),
        ];
        for (exits, capacity) in rings {
            while exits.len() > capacity {
                exits.pop_front();
                self.evicted += 1;
            }
        }
    }

    fn history(&self) -> History {
        let mut exits: Vec<&(u64, Exit)> = self.ordinary.iter().chain(&self.panicked).collect();
        exits.sort_unstable_by_key(|(number, _)| *number);
        History {
            exits: exits.into_iter().map(|(_, exit)| exit.clone()).collect(),
            drained: self.drained,
            evicted: self.evicted,
            dropped: exit::dropped(),
        }
    }
}

fn ring() -> std::sync::MutexGuard<'static, Ring> {
    RING.lock().unwrap_or_else(PoisonError::into_inner)
}

static RING: Mutex<Ring> = Mutex::new(Ring {
    ordinary: VecDeque::new(),
    panicked: VecDeque::new(),
    capacity: DEFAULT_EXITS,
    drained: 0,
    evicted: 0,
    notable: Notable {
        exits: Vec::new(),
        dropped: 0,
    },
});

impl Exit {
    fn new(exit: exit::Exit, now: SystemTime, ticks: u64) -> Option<Self> {
        let detail = exit.detail.map(|detail| *detail).unwrap_or_default();
        Some(Self {
            id: TaskId::new(exit.id)?,
            kind: KindId::from_index(exit.kind),
            name: detail.facts.name,
            long_lived: exit.flags & flag::LONG_LIVED != 0,
            nature: Nature::of(exit.flags),
            outcome: exit.outcome,
            ended_at: now - clock::between(exit.ended, ticks),
            lifetime: clock::between(exit.born, exit.ended),
            busy: Duration::from_nanos(clock::nanos(exit.busy)),
            polls: exit.polls,
            wakes: exit.wakes.saturating_sub(1),
            self_wakes: exit.self_wakes.into(),
            parent: TaskId::new(exit.parent),
            scope: detail.scope,
            supervisor: detail.supervisor,
            runtime: task::runtime::name(exit.runtime),
            spawned_at: exit.site,
            future_bytes: exit.size.into(),
            attributes: detail.facts.attributes,
            panic: detail.panic.map(|panic| PanicFacts {
                message: panic.message,
                location: panic.location,
            }),
        })
    }
}
