//! A dump: which tasks live, and where each of them waits.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::choose;
use super::interned::{Interned, Stack};
use super::lost::{self, Suspect};
use super::tools::{Known, Taken, Tools};
use crate::clock;
use crate::leak::Leaks;
use crate::registry::{self, Place, Row};
use crate::stack;
use crate::task::kind::KindId;
use crate::task::probe::{Answer, Asking, Held, Refusal, Said, Tape, refusal};
use crate::task::record::Look;
use crate::task::{State, TaskId};

/// What a dump is to be of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ask {
    /// Only tasks of these kinds. By default, there are none here, which means all.
    pub kinds: Vec<KindId>,
    /// Only these tasks. By default, there are none here, which means all.
    pub tasks: Vec<TaskId>,
    /// How many tasks are shown at most, by default [`DEFAULT_MOST`]. Where more live, they are chosen evenly among
    /// kinds and spawn sites, so that one site that leaks does not hide the others.
    pub most: usize,
    /// After how long the dump ends, whoever has not answered; by default [`DEFAULT_DEADLINE`].
    pub deadline: Duration,
    /// A task that was idle for so long, and that a probe moves on, may have lost a wakeup; by default [`LONG_IDLE`].
    ///
    /// A task that has not run since it was asked is not asked again within this time either: what it said still holds.
    pub long_idle: Duration,
}

/// See [`Ask::most`].
pub const DEFAULT_MOST: usize = 10_000;

/// See [`Ask::deadline`].
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// See [`Ask::long_idle`].
pub const LONG_IDLE: Duration = Duration::from_secs(10);

impl Default for Ask {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            tasks: Vec::new(),
            most: DEFAULT_MOST,
            deadline: DEFAULT_DEADLINE,
            long_idle: LONG_IDLE,
        }
    }
}

/// The tasks that are asked for.
struct Wanted {
    kinds: HashSet<u16>,
    tasks: HashSet<u64>,
}

impl Wanted {
    fn of(ask: &Ask) -> Self {
        Self {
            kinds: ask.kinds.iter().map(|kind| kind.index()).collect(),
            tasks: ask.tasks.iter().map(|task| task.get()).collect(),
        }
    }

    fn has(&self, look: &Look) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&look.kind))
            && (self.tasks.is_empty() || self.tasks.contains(&look.id))
    }
}

/// The live tasks, each as it was when it was asked.
#[derive(Debug)]
#[non_exhaustive]
pub struct Dump {
    /// When it began.
    pub sampled_at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Tasks that were there, of those that the dump is for.
    pub live: u64,
    /// Those shown. A task that has ended meanwhile is not.
    pub tasks: Vec<Task>,
    /// Tasks that were not asked since there were too many, or no time was left.
    pub not_asked: u64,
    /// Stacks of which something is missing: outer frames, or all of it.
    pub cut: u64,
    /// The verdicts on groups when it began.
    pub(crate) leaks: Arc<Leaks>,
}

/// One task of a dump.
#[derive(Debug)]
#[non_exhaustive]
pub struct Task {
    /// What is known of it without asking, from just before it was asked.
    pub row: Row,
    /// Where it waits.
    pub waits: Waits,
}

/// Where a task waits, or why that is not known.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Waits {
    /// In these places: one for each branch that waits. None where the future keeps a waker from an earlier poll without
    /// a look at the new one.
    At(Vec<Arc<Stack>>),
    /// It has no waker: what it waits for, such as `pending()`, took none, and nothing can wake it.
    NoWaker,
    /// It is being polled, or is a thread or a blocking job that runs: see [`Row::running`].
    Running,
    /// It has been woken, or spawned, and no worker has come to it.
    Scheduled,
    /// It was not asked, and why.
    NotAsked(&'static str),
    /// It was asked and has not answered in time: its workers are blocked, or busy.
    Silent,
}

/// Why there is no dump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// Another dump runs: ask again later.
    Busy,
    /// This platform has no stacks, for the reason that is given.
    Unsupported(&'static str),
    /// The process cannot see which code is loaded into it.
    Unreadable,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.pad("another dump of await points runs: ask again later"),
            Self::Unsupported(why) => write!(f, "no dump of await points: {why}"),
            Self::Unreadable => f.pad("no dump of await points: the loaded modules cannot be read"),
        }
    }
}

impl std::error::Error for Refused {}

/// Asks tasks where they wait.
///
/// Call it where the workers that it asks do not keep it from running: on the agent's thread, or any other. It asks in
/// batches, up to 200,000 tasks a second, one dump at a time.
///
/// # Errors
///
/// See [`Refused`].
///
/// # Cancel safety
///
/// A dump that is dropped asks nobody any more, and leaves nothing behind.
///
/// # Panics
///
/// Outside of a tokio runtime with time enabled.
pub async fn dump(ask: &Ask) -> Result<Arc<Dump>, Refused> {
    stack::supported().map_err(Refused::Unsupported)?;
    let mut tools = Taken::take()?;
    let refreshed = tools.get().unwinder.refresh();
    refreshed.map_err(|_| Refused::Unreadable)?;
    let start = clock::ticks();
    lost::settle(start);
    let mut dumping = Dumping {
        ask,
        tools: tools.get(),
        interned: Interned::default(),
        dump: Dump::empty(),
    };
    let chosen = dumping.choose();
    dumping.ask_all(chosen, start).await;
    let mut dump = dumping.dump;
    tools.get().end(clock::ticks());
    dump.took = clock::between(start, clock::ticks());
    Ok(Arc::new(dump))
}

/// A dump that is being made.
struct Dumping<'a> {
    ask: &'a Ask,
    tools: &'a mut Tools,
    interned: Interned,
    dump: Dump,
}

/// A task to be asked: where its record was, and its id.
type Chosen = (Place, u64);

impl Dumping<'_> {
    /// Chooses among the live tasks, in an order in which all groups come early.
    fn choose(&mut self) -> Vec<Chosen> {
        let mut groups: HashMap<(u16, usize), usize> = HashMap::new();
        let mut sizes: Vec<u64> = Vec::new();
        let wanted = Wanted::of(self.ask);
        let group = |look: &Look| {
            (
                look.kind,
                look.site.map_or(0, |site| std::ptr::from_ref(site).addr()),
            )
        };
        registry::looks(|_, look| {
            if wanted.has(look) {
                let place = *groups.entry(group(look)).or_insert_with(|| {
                    sizes.push(0);
                    sizes.len() - 1
                });
                sizes[place] += 1;
            }
        });
        self.dump.live = sizes.iter().sum();
        let most = u64::try_from(self.ask.most).unwrap_or(u64::MAX);
        let shares = choose::shares(&sizes, most);
        self.dump.not_asked = self.dump.live.saturating_sub(most);
        let mut seen = vec![0; sizes.len()];
        let mut chosen: Vec<(u64, Chosen)> = Vec::new();
        registry::looks(|place, look| {
            // One that has come since is left out.
            let Some(&at) = groups.get(&group(look)).filter(|_| wanted.has(look)) else {
                return;
            };
            if choose::is_chosen(seen[at], sizes[at], shares[at]) && seen[at] < sizes[at] {
                chosen.push((seen[at], (place, look.id)));
            }
            seen[at] += 1;
        });
        chosen.sort_by_key(|(nth, _)| *nth);
        chosen.into_iter().map(|(_, chosen)| chosen).collect()
    }

    async fn ask_all(&mut self, chosen: Vec<Chosen>, start: u64) {
        let mut tape = Tape::new();
        let mut asked = 0;
        for batch in chosen.chunks(BATCH) {
            let elapsed = clock::between(start, clock::ticks());
            let left = self.ask.deadline.saturating_sub(elapsed);
            let held = self.prepare(batch, left.is_zero());
            if held.is_empty() {
                tokio::task::yield_now().await;
                continue;
            }
            asked += u64::try_from(held.len()).unwrap_or(u64::MAX);
            let (rows, held): (Vec<_>, Vec<_>) = held.into_iter().unzip();
            let Some(asking) = Asking::begin(held, tape) else {
                return;
            };
            let _ = tokio::time::timeout(left.min(PATIENCE), asking.answered()).await;
            let (answers, captured) = asking.finish();
            tape = captured;
            self.take_in(rows, answers, &tape);
            tape.wipe();
            let elapsed = clock::between(start, clock::ticks());
            let left = self.ask.deadline.saturating_sub(elapsed);
            tokio::time::sleep(choose::pause(asked, elapsed).min(left)).await;
        }
    }

    /// Shows those of a batch that need not be asked, and holds the others.
    fn prepare(&mut self, batch: &[Chosen], late: bool) -> Vec<((Place, Row), Held)> {
        let mut held = Vec::with_capacity(batch.len());
        let now = clock::ticks();
        for &(place, id) in batch {
            let Some((row, look, record)) = place.row(id) else {
                continue;
            };
            let waits = match self.unasked(&row, &look, now) {
                Some(waits) => waits,
                None if late => {
                    self.dump.not_asked += 1;
                    Waits::NotAsked("out of time")
                }
                None => match Held::of(record, &look) {
                    Some(task) => {
                        held.push(((place, row), task));
                        continue;
                    }
                    None if record.look().is_none_or(|now| now.id != id) => continue,
                    None => Waits::NotAsked("it was asked a moment ago"),
                },
            };
            self.dump.tasks.push(Task { row, waits });
        }
        // As `Asking` has them.
        held.sort_by_key(|(_, held)| held.address());
        held
    }

    /// What is said of a task without asking it; `None` where it has to be asked.
    fn unasked(&self, row: &Row, look: &Look, now: u64) -> Option<Waits> {
        if row.state == State::Running {
            return Some(Waits::Running);
        }
        if let Some(refusal) = refusal(look) {
            return Some(match refusal {
                Refusal::NeverPolled | Refusal::NotPolled => Waits::Scheduled,
                Refusal::OptedOut => Waits::NotAsked("by request, it is never probed"),
                Refusal::PassesThrough => Waits::NotAsked("another executor's waker passes through"),
            });
        }
        if row.state == State::Idle && look.wakers == 0 && look.clones == 0 {
            return Some(Waits::NoWaker);
        }
        let known = self.tools.known.get(&look.id)?;
        let holds = row.state == State::Idle
            && known.polls == look.polls
            && clock::between(known.at, now) < self.ask.long_idle;
        holds.then(|| Waits::At(known.stacks.clone()))
    }

    /// Shows what came of a batch. Rows and answers are in one order.
    fn take_in(&mut self, rows: Vec<(Place, Row)>, answers: Vec<Answer>, tape: &Tape) {
        let now = clock::ticks();
        let mut stacks: Vec<Vec<Arc<Stack>>> = rows.iter().map(|_| Vec::new()).collect();
        for (capture, words) in tape.stacks() {
            let tools = (&mut self.tools.unwinder, &mut self.tools.symbols);
            let stack = self.interned.stack(tools, &capture.registers, words, capture.cut);
            self.dump.cut += u64::from(stack.cut);
            if let Some(stacks) = stacks.get_mut(capture.place) {
                stacks.push(stack);
            }
        }
        for (((place, row), answer), stacks) in rows.into_iter().zip(answers).zip(stacks) {
            let waits = match answer.said {
                Said::Waits { woken } => {
                    self.remember(&row, answer, woken, &stacks, now);
                    Waits::At(stacks)
                }
                Said::Ended { woken } => {
                    if !woken {
                        self.moved_on(&row, answer.held, now);
                    }
                    continue;
                }
                Said::Nothing | Said::Runs => {
                    drop(answer);
                    self.tell_again(place, row.id);
                    continue;
                }
            };
            self.dump.tasks.push(Task { row, waits });
        }
    }

    /// Shows a task that has not answered, as it is by now.
    fn tell_again(&mut self, place: Place, id: TaskId) {
        let Some((row, ..)) = place.row(id.get()) else {
            return;
        };
        let waits = match row.state {
            State::Running => Waits::Running,
            State::Scheduled => Waits::Scheduled,
            State::Idle => Waits::Silent,
        };
        self.dump.tasks.push(Task { row, waits });
    }

    /// Remembers what a task said, and suspects it where it said something else before and has not run since.
    fn remember(&mut self, row: &Row, answer: Answer, woken: bool, stacks: &[Arc<Stack>], now: u64) {
        let look = answer.held.look;
        let before = self
            .tools
            .known
            .get(&look.id)
            .filter(|known| known.polls == look.polls);
        let moved = !woken && before.is_some_and(|known| !same(&known.stacks, stacks));
        if moved {
            self.moved_on(row, answer.held, now);
        }
        let polls = look.polls + u64::from(woken);
        let known = Known {
            polls,
            at: now,
            stacks: stacks.to_vec(),
        };
        self.tools.known.insert(look.id, known);
    }

    /// Suspects a task that nothing but a probe has moved on, if it was idle for long.
    fn moved_on(&self, row: &Row, held: Held, now: u64) {
        if row.idle < self.ask.long_idle {
            return;
        }
        let known = self.tools.known.get(&row.id.get());
        let known = known.filter(|known| known.polls == held.look.polls);
        lost::suspect(Suspect {
            id: row.id,
            kind: row.kind,
            name: row.name.clone(),
            waited_at: known.and_then(|known| known.stacks.first().cloned()),
            idle: row.idle,
            at: now,
            held,
        });
    }
}

/// Whether two answers say the same, in whatever order: a `select!` draws lots.
fn same(one: &[Arc<Stack>], two: &[Arc<Stack>]) -> bool {
    let among = |stack: &Arc<Stack>, all: &[Arc<Stack>]| all.iter().any(|other| stack.says_as(other));
    one.len() == two.len()
        && one.iter().all(|stack| among(stack, two))
        && two.iter().all(|stack| among(stack, one))
}

/// Tasks that are asked at a time: as many as a worker polls in a fraction of a millisecond.
const BATCH: usize = 256;

/// How long a batch is waited for. Tasks whose worker is blocked are told as they are then, and hold nobody else up for
/// longer.
const PATIENCE: Duration = Duration::from_millis(100);
