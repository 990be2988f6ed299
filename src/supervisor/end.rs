//! How a run ends, by itself or stopped, and what that is taken for.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::child::{Child, State, is_stuck};
use super::exit::{self, Exit, LastExit, Returned, shared};
use super::judge::{self, Ending, Next};
use super::launch::Run;
use super::shell::{Failure, Over, Shell};
use super::spec::Shutdown;
use super::strategy::Strategy;
use super::{GaveUp, stop};
use crate::event::Event;
use crate::scope::Reason;
use crate::task::{Outcome, panic};

/// What a task of the set came to.
pub(super) type Joined = Result<Returned, JoinError>;

/// How a run ended.
pub(super) struct Settled {
    pub(super) ending: Ending,
    pub(super) cause: Arc<str>,
    pub(super) ran: Duration,
}

impl Shell {
    /// A child has ended by itself, or at last.
    pub(super) async fn ended(&mut self, key: u64, joined: Joined) -> Result<(), Over> {
        let Some(settled) = self.settle(key, joined).await? else {
            return Ok(());
        };
        let Some(child) = self.children.get(&key) else {
            return Ok(());
        };
        let significant = child.spec.significant;
        let dynamic = self.shared.strategy == Strategy::Dynamic;
        match judge::next(child.spec.restart, settled.ending) {
            Next::Again => {
                return self
                    .recover(Failure {
                        key,
                        cause: settled.cause,
                        ran: settled.ran,
                    })
                    .await;
            }
            Next::GiveUp => return Err(Over::GaveUp(settled.cause)),
            Next::Gone => self.forget(key),
            Next::Rest | Next::Held if dynamic => self.forget(key),
            Next::Rest => self.set_stopped(key, false),
            Next::Held => self.set_stopped(key, true),
        }
        let lives = |child: &Child| child.spec.significant && !matches!(child.state, State::Stopped { .. });
        if significant && judge::is_over(self.auto, self.children.values().any(lives)) {
            return Err(Over::Finished);
        }
        Ok(())
    }

    /// Takes in how a run ended, and waits for what it left behind; `None` where that changes nothing.
    pub(super) async fn settle(&mut self, key: u64, joined: Joined) -> Result<Option<Settled>, Over> {
        let Some(child) = self.children.get(&key) else {
            discard(joined);
            return Ok(None);
        };
        let (Some(run), stuck) = (child.state.run().cloned(), is_stuck(child)) else {
            discard(joined);
            return Ok(None);
        };
        let shutdown = match child.spec.shutdown {
            // What it left was aborted before.
            _ if left_stuck(&joined) => Shutdown::Abort,
            // Nobody could wait for ever for what nobody looks after.
            Shutdown::Infinite => Shutdown::default(),
            limited => limited,
        };
        if matches!(child.state, State::Starting(_)) {
            self.shared.lock().budget.work(run.since.elapsed());
        }
        // Only the supervisor and a close of the scope abort a run, and both cancel its scope before.
        let lost = joined.as_ref().is_err_and(JoinError::is_cancelled) && run.scope.reason().is_none();
        let settled = self.record(&run, joined);
        if lost {
            return Err(Over::Cancelled(Reason::supervisor("its runtime shuts down")));
        }
        if stuck {
            if run.scope.is_quiet() {
                self.set(key, State::Stopped { held: true });
            }
            return Ok(None);
        }
        if !run.scope.retire() {
            self.set(key, State::Stopping(Arc::clone(&run)));
            let start = Instant::now();
            let left = stop::stop(vec![(run, shutdown)], "its task has ended").await;
            self.shared.lock().budget.work(start.elapsed());
            if !left.is_empty() {
                self.set_stuck(key);
                return self.refuse_stuck(key).map(|()| None);
            }
        }
        self.set(key, State::Waiting(None));
        Ok(Some(settled))
    }

    /// Tells how a run ended.
    pub(super) fn record(&mut self, run: &Arc<Run>, joined: Joined) -> Settled {
        let ran = run.since.elapsed();
        // Of its own scope, and not of an error that it makes up, one knows that it was to stop.
        let asked = run.scope.reason().is_some();
        let (ending, outcome, error) = match joined {
            Ok(Ok(Exit::Done)) => (Ending::Done, Outcome::Completed, None),
            Ok(Ok(_)) => (Ending::Stop, Outcome::Completed, None),
            Ok(Err(Exit::Escalate(error))) => (Ending::Escalate, Outcome::Failed, Some(exit::say(error))),
            Ok(Err(Exit::Restart(error))) => {
                let ending = if asked { Ending::Done } else { Ending::Failed };
                (ending, Outcome::Failed, Some(exit::say(error)))
            }
            Ok(Err(_)) => (Ending::Failed, Outcome::Failed, None),
            Err(error) => lost(run, error),
        };
        run.emit(Event::Stopped {
            outcome,
            ran,
            error: error.clone(),
        });
        if let Some(child) = self.children.get_mut(&run.key) {
            child.last = Some(LastExit {
                outcome,
                error: error.clone(),
                ran,
            });
        }
        Settled {
            ending,
            cause: error.unwrap_or_else(|| "it ended".into()),
            ran,
        }
    }

    /// Stops those children that run, together.
    pub(super) async fn stop_children(&mut self, keys: &[u64], cause: &str) {
        let mut runs = Vec::new();
        for key in keys {
            let Some(child) = self.children.get(key) else {
                continue;
            };
            let (shutdown, is_stuck) = (child.spec.shutdown, is_stuck(child));
            match child.state.run().cloned().filter(|_| !is_stuck) {
                Some(run) => {
                    runs.push((Arc::clone(&run), shutdown));
                    self.set(*key, State::Stopping(run));
                }
                None if !is_stuck => self.set(*key, State::Stopped { held: false }),
                None => {}
            }
        }
        if runs.is_empty() {
            return;
        }
        let start = Instant::now();
        let stopping: Vec<u64> = runs.iter().map(|(run, _)| run.key).collect();
        let stuck = stop::stop(runs, cause).await;
        self.shared.lock().budget.work(start.elapsed());
        for key in stopping {
            if stuck.contains(&key) {
                self.set_stuck(key);
            } else {
                self.take_end(key).await;
                self.set(key, State::Stopped { held: false });
            }
        }
    }

    /// Takes in the end of a run whose scope is quiet: it has ended, or is about to tell so.
    pub(super) async fn take_end(&mut self, key: u64) {
        let mut joined = None;
        if let Some(at) = self.backlog.iter().position(|(ended, _)| *ended == key) {
            joined = self.backlog.remove(at).map(|(_, joined)| joined);
        }
        while joined.is_none() {
            let Some(next) = self.set.join_next_with_id().await else {
                return;
            };
            match self.whose(next) {
                Some((ended, next)) if ended == key => joined = Some(next),
                Some(other) => self.backlog.push_back(other),
                None => {}
            }
        }
        let run = self
            .children
            .get(&key)
            .and_then(|child| child.state.run().cloned());
        if let (Some(run), Some(joined)) = (run, joined) {
            self.record(&run, joined);
        }
    }

    pub(super) fn set_stuck(&mut self, key: u64) {
        let Some(child) = self.children.get(&key) else {
            return;
        };
        self.stuck.push(Arc::clone(&child.spec.name));
        if let Some(run) = child.state.run().cloned() {
            self.set(key, State::Stuck(run));
        }
    }

    /// Gives up where a child that was to have been stopped is stuck.
    pub(super) fn refuse_stuck(&self, key: u64) -> Result<(), Over> {
        match self.children.get(&key) {
            Some(Child {
                spec,
                state: State::Stuck(_),
                ..
            }) => Err(Over::GaveUp(stuck(&spec.name))),
            _ => Ok(()),
        }
    }
}

pub(super) fn stuck(name: &str) -> Arc<str> {
    format!("child `{name}` is stuck: its task does not end though it was aborted").into()
}

/// Whether a supervisor gave up, and a task below it does not end.
fn left_stuck(joined: &Joined) -> bool {
    let Ok(Err(Exit::Restart(error))) = joined else {
        return false;
    };
    error
        .downcast_ref::<GaveUp>()
        .is_some_and(|gave_up| !gave_up.stuck.is_empty())
}

/// Drops what a child returned or panicked with, which is the host's.
pub(super) fn discard(joined: Joined) {
    match joined {
        Err(error) => {
            if let Ok(payload) = error.try_into_panic() {
                panic::contain(|| drop(payload));
            }
        }
        returned => panic::contain(|| drop(returned)),
    }
}

/// How a run ended that returned nothing.
fn lost(run: &Run, error: JoinError) -> (Ending, Outcome, Option<Arc<str>>) {
    let told = run.take_panic();
    let Ok(payload) = error.try_into_panic() else {
        return (Ending::Done, Outcome::Cancelled, Some("it was aborted".into()));
    };
    // Known to its record, unless it has none, or panicked as it was dropped.
    let told = told.unwrap_or_else(|| panic::told(&*payload));
    panic::contain(|| drop(payload));
    let (message, location, backtrace) = shared(&told);
    run.emit(Event::Panicked {
        message: Arc::clone(&message),
        location,
        backtrace,
    });
    let cause = format!("it panicked: {message}").into();
    (Ending::Failed, Outcome::Panicked, Some(cause))
}
