//! What the agent tells of tasks that nobody else tells of: that one began or ended that is meant to live for ever,
//! and that one panicked. It is made from the sweep and from the exits, so that no task does anything for it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::event::{self, Event, Subject};
use crate::registry::{self, Exit, MOST_LONG_LIVED, Notable, Row, Spot, Sweep};
use crate::task::TaskId;

/// Tells of the tasks that a sweep has found to live on, each once.
pub(super) fn tell_begun(sweep: &Sweep) {
    let new = lock().begin(&sweep.long_lived);
    for spot in new {
        match registry::row_at(spot) {
            // A supervisor tells of its children itself.
            Some(row) if row.supervisor.is_some() => {}
            Some(row) => event::emit(subject_of(&row), Event::Spawned { restart: 0 }),
            // It ended meanwhile, and both are told when its exit comes.
            None => drop(lock().began.remove(&spot.id)),
        }
    }
}

/// Tells of the ends that were taken in since the last time.
pub(super) fn tell_ended() {
    let Notable { exits, dropped } = registry::take_notable();
    for exit in &exits {
        let began = lock().began.remove(&exit.id).is_some();
        if exit.supervisor.is_some() {
            continue;
        }
        for event in events_of(exit, began) {
            event::emit(subject_of_exit(exit), event);
        }
    }
    event::count_unheard(dropped);
}

/// Those whose begin was told, and whose end was not.
#[derive(Debug)]
struct Lives {
    /// With the number of sweeps in a row that did not find them.
    began: HashMap<TaskId, u8>,
}

impl Lives {
    /// Which of those that a sweep has seen are new. Those that are gone and whose exit got lost are forgotten.
    fn begin(&mut self, seen: &[Spot]) -> Vec<Spot> {
        // A sweep that has not noted all says nothing of those that it has not.
        if seen.len() < MOST_LONG_LIVED {
            let seen: HashSet<TaskId> = seen.iter().map(|spot| spot.id).collect();
            self.began.retain(|id, absent| {
                *absent = if seen.contains(id) {
                    0
                } else {
                    absent.saturating_add(1)
                };
                // The exit of one that has just ended may still be on its way.
                *absent < 3
            });
        }
        let mut new = Vec::new();
        for spot in seen {
            if self.began.len() < MOST_LONG_LIVED && !self.began.contains_key(&spot.id) {
                self.began.insert(spot.id, 0);
                new.push(*spot);
            }
        }
        new
    }
}

/// What an exit tells: a begin that was not told in time as well, so that there are always both.
fn events_of(exit: &Exit, began: bool) -> Vec<Event> {
    let begun = (exit.long_lived && !began).then_some(Event::Spawned { restart: 0 });
    let panicked = exit.panic.as_ref().map(|panic| Event::Panicked {
        message: panic.message.as_str().into(),
        location: panic.location.as_deref().map(Arc::from),
        backtrace: None,
    });
    let stopped = Event::Stopped {
        outcome: exit.outcome,
        ran: exit.lifetime,
        error: None,
    };
    begun.into_iter().chain(panicked).chain([stopped]).collect()
}

fn subject_of(row: &Row) -> Subject {
    Subject {
        task: Some(row.id),
        kind: Some(row.kind),
        name: row.name.as_deref().map(Arc::from),
        ..Subject::default()
    }
}

fn subject_of_exit(exit: &Exit) -> Subject {
    Subject {
        task: Some(exit.id),
        kind: Some(exit.kind),
        name: exit.name.as_deref().map(Arc::from),
        ..Subject::default()
    }
}

/// Of the process, like the tasks: of two agents, one tells.
static LIVES: LazyLock<Mutex<Lives>> = LazyLock::new(|| {
    Mutex::new(Lives {
        began: HashMap::new(),
    })
});

fn lock() -> MutexGuard<'static, Lives> {
    LIVES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spots(ids: std::ops::Range<u64>) -> Vec<Spot> {
        let ids = ids.filter_map(TaskId::new);
        ids.map(Spot::nowhere).collect()
    }

    fn new(lives: &mut Lives, ids: std::ops::Range<u64>) -> Vec<u64> {
        let new = lives.begin(&spots(ids));
        new.iter().map(|spot| spot.id.get()).collect()
    }

    #[test]
    fn each_is_told_once() {
        let mut lives = Lives {
            began: HashMap::new(),
        };
        assert_eq!(new(&mut lives, 1..3), [1, 2]);
        assert_eq!(new(&mut lives, 1..4), [3]);
        assert!(new(&mut lives, 1..4).is_empty());
    }

    #[test]
    fn one_whose_exit_got_lost_is_forgotten() {
        let mut lives = Lives {
            began: HashMap::new(),
        };
        new(&mut lives, 1..3);
        for _ in 0..2 {
            new(&mut lives, 2..3);
        }
        assert_eq!(lives.began.len(), 2);
        new(&mut lives, 2..3);
        assert_eq!(lives.began.len(), 1);
    }

    #[test]
    fn they_are_bounded() {
        let most = MOST_LONG_LIVED as u64;
        let mut lives = Lives {
            began: HashMap::new(),
        };
        assert_eq!(new(&mut lives, 1..most).len(), MOST_LONG_LIVED - 1);
        assert_eq!(new(&mut lives, 1..most + 1).len(), 1);
        // Of a sweep that is full, nobody is taken for gone.
        assert!(new(&mut lives, most..2 * most).is_empty());
        assert_eq!(lives.began.len(), MOST_LONG_LIVED);
    }
}
