//! The dumps that are shown: taken once for all who want the same.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::dump::{Ask, Dump, Refused, Task, Waits, dump};
use super::share::Shared;
use crate::clock;
use crate::registry::{self, Row};
use crate::task::{State, TaskId};

/// Which tasks are shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum View {
    /// All that live.
    All,
    /// Those with a verdict.
    Leaked,
    /// These, in order.
    Tasks(Vec<TaskId>),
}

impl View {
    /// These tasks.
    pub(crate) fn of(mut ids: Vec<TaskId>) -> Self {
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
pub(crate) struct Busy;

/// Dumps the live tasks. Whoever wants the same while a dump is under way gets that one.
///
/// # Errors
///
/// Where a dump of other tasks is under way.
///
/// # Cancel safety
///
/// It can be dropped at any time. The work ends there, unless others wait for it: then one of them begins anew.
pub(crate) async fn take(view: View) -> Result<Arc<Dump>, Busy> {
    static SHARED: Shared<View, Option<Arc<Dump>>> = Shared::new();
    let taken = SHARED.get(view.clone(), || collect(view.clone())).await;
    taken.and_then(|taken| (*taken).clone()).ok_or(Busy)
}

/// Takes a dump on another thread: the first one reads the symbols of the program, and the agent has else to do
/// meanwhile. Dropping it ends the dump, at the latest when a batch has been named.
async fn apart(ask: Ask) -> Result<Arc<Dump>, Refused> {
    let (_wanted, mut dropped) = oneshot::channel::<()>();
    let here = Handle::current();
    let taken = spawn_blocking(move || {
        here.block_on(async {
            tokio::select! {
                taken = dump(&ask) => taken,
                // Nobody is there to be told.
                _ = &mut dropped => Err(Refused::Busy),
            }
        })
    });
    // It panics only where the runtime ends under it.
    taken.await.unwrap_or(Err(Refused::Busy))
}

/// Asks the tasks of a view; `None` where a dump of somebody else is under way.
async fn collect(view: View) -> Option<Arc<Dump>> {
    let mut ask = Ask {
        most: MAX_TASKS,
        ..Ask::default()
    };
    ask.tasks = match &view {
        View::All => Vec::new(),
        View::Leaked => leaked().await,
        View::Tasks(ids) => ids.clone(),
    };
    // To ask no tasks would be to ask all.
    if ask.tasks.is_empty() && view != View::All {
        return Some(Arc::new(Dump::empty()));
    }
    match apart(ask).await {
        Ok(dump) => Some(dump),
        Err(Refused::Busy) => None,
        Err(Refused::Unsupported(why)) => Some(Arc::new(recorded(&view, why).await)),
        Err(Refused::Unreadable) => {
            let why = "the loaded modules cannot be read";
            Some(Arc::new(recorded(&view, why).await))
        }
    }
}

/// The tasks with a verdict.
async fn leaked() -> Vec<TaskId> {
    let mut ids = Vec::new();
    each(|row| {
        if row.verdict().is_some() && ids.len() < MAX_TASKS {
            ids.push(row.id);
        }
    })
    .await;
    ids
}

/// Walks over the live tasks in turns.
async fn each(mut each: impl FnMut(Row)) {
    let mut rows = registry::rows();
    loop {
        for _ in 0..TURN {
            match rows.next() {
                Some(row) => each(row),
                None => return,
            }
        }
        tokio::task::yield_now().await;
    }
}

/// What records alone say, where no task can be asked.
async fn recorded(view: &View, why: &'static str) -> Dump {
    let start = clock::ticks();
    let mut dump = Dump::empty();
    each(|row| {
        if !view.wants(&row) {
            return;
        }
        dump.live += 1;
        let waits = match row.state {
            State::Running => Waits::Running,
            State::Scheduled => Waits::Scheduled,
            State::Idle if row.orphaned => Waits::NoWaker,
            State::Idle => {
                dump.not_asked += 1;
                Waits::NotAsked(why)
            }
        };
        if dump.tasks.len() < MAX_TASKS {
            dump.tasks.push(Task { row, waits });
        }
    })
    .await;
    dump.took = clock::between(start, clock::ticks());
    dump
}

/// Tasks that a dump shows at most.
const MAX_TASKS: usize = 100_000;
/// Rows that are looked at before other work of the thread gets its turn: about a millisecond.
const TURN: usize = 2_048;
