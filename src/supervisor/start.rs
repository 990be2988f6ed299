//! How children are started, and what comes of it until they are ready.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::child::{Child, State};
use super::end::Joined;
use super::error::StartError;
use super::exit::{LastExit, shared};
use super::judge::{self, Ending, Next};
use super::launch::{Launch, Starter};
use super::shell::{Failure, Over, Shell};
use super::spec::Restart;
use super::strategy::Strategy;
use super::wait::{Look, Wake};
use crate::event::Event;
use crate::task::{Outcome, panic};

impl Shell {
    /// Starts a child for the first time, or by hand, and waits until it is ready.
    pub(super) async fn start_first(&mut self, key: u64) -> Result<(), StartError> {
        let failed = match self.start(key) {
            Ok(()) => match self.until_ready(key).await {
                Ok(None) | Err(Over::Finished) => return Ok(()),
                Ok(Some(failure)) => failure,
                Err(Over::Cancelled(reason)) => return Err(StartError::Cancelled(reason.message().into())),
                Err(Over::GaveUp(cause)) => Failure {
                    key,
                    cause,
                    ran: Duration::ZERO,
                },
            },
            Err(failure) => failure,
        };
        let child = self.children.get(&key).map(|child| Arc::clone(&child.spec.name));
        self.set_stopped(key, false);
        Err(StartError::Child {
            child: child.unwrap_or_else(|| "gone".into()),
            cause: failed.cause,
        })
    }

    /// Starts a child again.
    pub(super) fn start_again(&mut self, key: u64) -> Result<(), Failure> {
        if let Some(child) = self.children.get_mut(&key) {
            child.restarts = child.restarts.saturating_add(1);
            child.counter.fetch_add(1, Relaxed);
        }
        self.start(key)
    }

    /// Starts a child, which does not run.
    pub(super) fn start(&mut self, key: u64) -> Result<(), Failure> {
        let Some(child) = self.children.get_mut(&key) else {
            return Ok(());
        };
        debug_assert!(child.state.run().is_none(), "invariant 1");
        let starter = Starter {
            scope: &self.scope,
            shared: &self.shared,
            backtraces: self.backtraces,
        };
        let launch = Launch::new(starter, &child.spec, (key, child.restarts), &mut self.set);
        let run = Arc::clone(launch.run());
        let factory = &mut child.spec.factory;
        match catch_unwind(AssertUnwindSafe(|| factory.run(launch))) {
            Ok(task) => {
                self.tasks.insert(task, key);
                run.emit(Event::Spawned { restart: run.restart });
                let readiness = child.spec.readiness;
                let heartbeat = child.spec.heartbeat;
                if readiness.is_told() {
                    self.set(key, State::Starting(Arc::clone(&run)));
                } else {
                    self.set(key, State::Running(Arc::clone(&run)));
                }
                self.look_again(key, readiness.limit(), Look::Ready);
                self.look_again(key, heartbeat, Look::Beat);
                Ok(())
            }
            Err(payload) => {
                let told = panic::told(&*payload);
                panic::contain(|| drop(payload));
                run.scope.shut();
                let (message, location, backtrace) = shared(&told);
                let cause: Arc<str> = format!("its factory panicked: {message}").into();
                run.emit(Event::Panicked {
                    message,
                    location,
                    backtrace,
                });
                child.last = Some(LastExit {
                    outcome: Outcome::Panicked,
                    error: Some(Arc::clone(&cause)),
                    ran: Duration::ZERO,
                });
                self.set(key, State::Waiting(None));
                Err(Failure {
                    key,
                    cause,
                    ran: Duration::ZERO,
                })
            }
        }
    }

    /// Waits until a child that was started is ready, and says whether it failed instead. One that ended without a
    /// failure has been dealt with.
    pub(super) async fn until_ready(&mut self, key: u64) -> Result<Option<Failure>, Over> {
        let Some(State::Starting(run)) = self.children.get(&key).map(|child| &child.state) else {
            return Ok(None);
        };
        let run = Arc::clone(run);
        let limit = self
            .children
            .get(&key)
            .and_then(|child| child.spec.readiness.limit());
        let mut until = limit.and_then(|limit| run.since.checked_add(limit));
        loop {
            if run.is_ready() {
                self.now_ready(key);
                return Ok(None);
            }
            match self.wait(until).await {
                Wake::Cancelled(reason) => return Err(Over::Cancelled(reason)),
                Wake::Ended(ended, joined) if ended == key && !run.is_ready() => {
                    return self.ended_early(key, joined).await;
                }
                Wake::Ended(ended, joined) => self.backlog.push_back((ended, joined)),
                Wake::News => {}
                Wake::Time => {
                    let (Some(at), Some(limit)) = (until, limit) else {
                        continue;
                    };
                    match judge::due(at, limit, Instant::now()) {
                        judge::Due::Until(later) => until = Some(later),
                        judge::Due::Missed => return self.not_ready(key).await.map(Some),
                    }
                }
            }
        }
    }

    /// A child that was starting has ended.
    pub(super) async fn ended_early(&mut self, key: u64, joined: Joined) -> Result<Option<Failure>, Over> {
        let Some(settled) = self.settle(key, joined).await? else {
            return Ok(None);
        };
        let restart = self
            .children
            .get(&key)
            .map_or(Restart::Temporary, |child| child.spec.restart);
        let failed = settled.ending == Ending::Failed;
        let dynamic = self.shared.strategy == Strategy::Dynamic;
        match judge::next(restart, settled.ending) {
            Next::GiveUp => Err(Over::GaveUp(settled.cause)),
            Next::Gone if !failed => {
                self.forget(key);
                Ok(None)
            }
            Next::Rest | Next::Held if dynamic => {
                self.forget(key);
                Ok(None)
            }
            Next::Rest | Next::Held => {
                self.set_stopped(key, settled.ending == Ending::Stop);
                Ok(None)
            }
            Next::Again | Next::Gone => Ok(Some(Failure {
                key,
                cause: settled.cause,
                ran: settled.ran,
            })),
        }
    }

    /// A child was not ready in time: it is stopped, and its start has failed.
    pub(super) async fn not_ready(&mut self, key: u64) -> Result<Failure, Over> {
        let cause: Arc<str> = "it was not ready in time".into();
        if let Some(run) = self.children.get(&key).and_then(|child| child.state.run()) {
            self.shared.lock().budget.work(run.since.elapsed());
        }
        self.stop_children(&[key], &cause).await;
        self.refuse_stuck(key)?;
        self.set(key, State::Waiting(None));
        Ok(Failure {
            key,
            cause,
            ran: Duration::ZERO,
        })
    }

    pub(super) fn now_ready(&mut self, key: u64) {
        let Some(State::Starting(run)) = self.children.get(&key).map(|child| &child.state) else {
            return;
        };
        let run = Arc::clone(run);
        self.shared.lock().budget.work(run.since.elapsed());
        let heartbeat = self.children.get(&key).and_then(|child| child.spec.heartbeat);
        self.set(key, State::Running(run));
        self.look_again(key, heartbeat, Look::Beat);
    }

    /// A child says that it is ready.
    pub(super) fn told_ready(&mut self, key: u64) {
        let ready = |child: &Child| matches!(&child.state, State::Starting(run) if run.is_ready());
        if self.children.get(&key).is_some_and(ready) {
            self.now_ready(key);
        }
    }
}
