//! A dump: every live task, and where each waits.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::share::Shared;
use crate::clock;
use crate::registry::{self, Row};
use crate::task::{State, TaskId};

/// What one look at the live tasks saw.
#[derive(Debug)]
pub(crate) struct Dump {
    /// When it began.
    pub(crate) sampled_at: SystemTime,
    /// How long it took.
    pub(crate) took: Duration,
    /// Live tasks that were asked for: those in `tasks`, and those cut.
    pub(crate) live: u64,
    /// The tasks.
    pub(crate) tasks: Vec<Task>,
    /// Tasks in `tasks` that nobody asked where they wait.
    pub(crate) not_asked: u64,
    /// Tasks that found no room in `tasks`.
    pub(crate) cut: u64,
}

impl Dump {
    /// How many tasks it is of, and what it left out.
    pub(crate) fn remark(&self) -> String {
        let (shown, took) = (self.tasks.len(), self.took.as_secs_f64());
        format!(
            "{shown} of {} live tasks in {took:.3} s, {} of them not asked where they wait, {} left out",
            self.live, self.not_asked, self.cut
        )
    }
}

/// One task, and where it waits.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) row: Row,
    pub(crate) waits: Waits,
}

impl Task {
    /// A task that is not asked: what its record alone says.
    fn unasked(row: Row) -> Self {
        let waits = match row.state {
            State::Running => Waits::Running,
            State::Scheduled => Waits::Scheduled,
            State::Idle if row.orphaned => Waits::NoWaker,
            State::Idle => Waits::NotAsked("this version does not capture stacks yet"),
        };
        Self { row, waits }
    }
}

/// Where a task waits, or why that is not known.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Waits {
    /// There; one stack a branch of it that waits.
    At(Vec<Arc<Stack>>),
    /// For nothing that could wake it.
    NoWaker,
    /// It does not: it runs.
    Running,
    /// It was woken, and no worker has taken it yet.
    Scheduled,
    /// It was not asked, for that reason.
    NotAsked(&'static str),
    /// It was asked, and did not answer in time.
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing asks yet"))]
    Silent,
}

impl Waits {
    /// Why there is no stack; `None` where there is one.
    pub(crate) fn why(&self) -> Option<Cow<'static, str>> {
        let why = match self {
            Self::At(_) => return None,
            Self::NoWaker => "no waker",
            Self::Running => "running",
            Self::Scheduled => "scheduled",
            Self::NotAsked(why) => return Some(format!("not asked: {why}").into()),
            Self::Silent => "no answer in time",
        };
        Some(why.into())
    }

    /// The same with each stack once: to wait twice at one place is to wait there.
    pub(crate) fn distinct(&self) -> Self {
        let Self::At(stacks) = self else {
            return self.clone();
        };
        let mut distinct: Vec<Arc<Stack>> = Vec::with_capacity(stacks.len());
        for stack in stacks {
            if !distinct.contains(stack) {
                distinct.push(Arc::clone(stack));
            }
        }
        Self::At(distinct)
    }

    /// The frames that all its stacks end with.
    pub(crate) fn trunk(&self) -> &[Frame] {
        let Self::At(stacks) = self else { return &[] };
        let Some((first, others)) = stacks.split_first() else {
            return &[];
        };
        let shares = |frame: &Frame, at: usize| {
            others
                .iter()
                .all(|stack| stack.frames.iter().rev().nth(at) == Some(frame))
        };
        let shared = first.frames.iter().rev().enumerate();
        let shared = shared.take_while(|(at, frame)| shares(frame, *at)).count();
        first
            .frames
            .get(first.frames.len() - shared..)
            .unwrap_or_default()
    }
}

/// The frames of one await point.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Stack {
    /// The leaf first, and at the end the task's own future.
    pub(crate) frames: Vec<Frame>,
    /// The frames go on beyond the last.
    pub(crate) cut: bool,
}

/// Its addresses tell it from others.
impl Hash for Stack {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for frame in &self.frames {
            frame.address.hash(state);
        }
    }
}

/// One function of a stack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) address: u64,
    pub(crate) function: Arc<str>,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: Option<u32>,
    pub(crate) inlined: bool,
}

/// Which tasks a dump is of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    /// All that live.
    All,
    /// Those with a verdict.
    Leaked,
    /// These, in order.
    Tasks(Vec<TaskId>),
}

impl Ask {
    /// These tasks.
    pub(crate) fn tasks(mut ids: Vec<TaskId>) -> Self {
        ids.sort_unstable();
        Self::Tasks(ids)
    }

    fn wants(&self, row: &Row) -> bool {
        match self {
            Self::All => true,
            Self::Leaked => row.verdict().is_some(),
            Self::Tasks(ids) => ids.binary_search(&row.id).is_ok(),
        }
    }
}

/// A dump of other tasks is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;

/// Dumps the live tasks. Whoever asks the same while a dump is under way gets that one.
///
/// # Errors
///
/// Where a dump of other tasks is under way.
///
/// # Cancel safety
///
/// It can be dropped at any time. The work ends there, unless others wait for it: then one of them begins anew.
pub(crate) async fn dump(ask: Ask) -> Result<Arc<Dump>, Refused> {
    static SHARED: Shared<Ask, Dump> = Shared::new();
    SHARED
        .get(ask.clone(), || collect(ask.clone()))
        .await
        .ok_or(Refused)
}

async fn collect(ask: Ask) -> Dump {
    let (sampled_at, start) = (SystemTime::now(), clock::ticks());
    let (mut tasks, mut live) = (Vec::new(), 0u64);
    let mut rows = registry::rows();
    'walk: loop {
        for _ in 0..TURN {
            let Some(row) = rows.next() else { break 'walk };
            if ask.wants(&row) {
                live += 1;
                if tasks.len() < MAX_TASKS {
                    tasks.push(Task::unasked(row));
                }
            }
        }
        tokio::task::yield_now().await;
    }
    let kept = u64::try_from(tasks.len()).unwrap_or(u64::MAX);
    let not_asked = tasks
        .iter()
        .filter(|task| matches!(task.waits, Waits::NotAsked(_)))
        .count();
    Dump {
        sampled_at,
        took: clock::between(start, clock::ticks()),
        live,
        tasks,
        not_asked: u64::try_from(not_asked).unwrap_or(u64::MAX),
        cut: live.saturating_sub(kept),
    }
}

/// Tasks that a dump holds at most.
pub(crate) const MAX_TASKS: usize = 100_000;
/// Rows that are looked at before other work of the thread gets its turn: about a millisecond.
const TURN: usize = 2_048;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::task::Track;

    pub(crate) fn frame(address: u64, function: &str) -> Frame {
        Frame {
            address,
            function: function.into(),
            file: Some("src/a.rs".into()),
            line: Some(7),
            inlined: false,
        }
    }

    /// A stack of functions, the leaf first, each at an address of its own.
    pub(crate) fn stack(functions: &[&str]) -> Arc<Stack> {
        let address = |name: &str| {
            name.bytes()
                .fold(1, |sum, byte| sum * 31 % 65_521 + u64::from(byte))
        };
        let frames = functions.iter().map(|name| frame(address(name), name)).collect();
        Arc::new(Stack { frames, cut: false })
    }

    /// A task that is as many seconds old as its id says.
    pub(crate) fn task(id: u64, waits: Waits) -> Task {
        let tracked = Track::tracked(std::future::pending::<()>(), "profile-unit");
        let row = registry::row(tracked.id().unwrap()).unwrap();
        let row = Row {
            id: TaskId::new(id).unwrap(),
            age: Duration::from_secs(id),
            idle: Duration::from_secs(id),
            ..row
        };
        Task { row, waits }
    }

    pub(crate) fn dump_of(tasks: Vec<Task>) -> Dump {
        Dump {
            sampled_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_504_983),
            took: Duration::from_millis(12),
            live: tasks.len() as u64,
            tasks,
            not_asked: 0,
            cut: 0,
        }
    }
}
