//! The supervisor's task: it waits for what happens, asks the pure parts what to do, and does it.
//!
//! # Invariants
//!
//! 1. A child has a run in at most one of its states, and a run is started only from a state without one. So a child never
//!    runs twice at a time.
//! 2. A run is let go of only when its scope is quiet: its task, and what that spawned, have ended.
//! 3. Of each child, `show` tells others after every change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};

use super::builder::{Builder, LastResort};
use super::child::Child;
use super::end::{Joined, discard};
use super::error::StartError;
use super::exit::{Exit, Returned};
use super::launch::Launch;
use super::shared::Shared;
use super::spec::{AutoShutdown, ChildSpec};
use super::strategy::Strategy;
use super::view::{ChildState, SupervisorState};
use super::wait::{Timer, Wake};
use super::{End, GaveUp};
use crate::event::{self, Event, Subject};
use crate::scope::{Reason, Scope};
use crate::task::panic;

/// A supervisor at work.
pub(super) struct Shell {
    pub(super) shared: Arc<Shared>,
    pub(super) scope: Scope,
    pub(super) cancelled: Pin<Box<dyn Future<Output = Reason> + Send>>,
    /// What that came to.
    pub(super) reason: Option<Reason>,
    pub(super) auto: AutoShutdown,
    pub(super) backtraces: bool,
    pub(super) set: JoinSet<Returned>,
    pub(super) tasks: HashMap<Id, u64>,
    pub(super) children: BTreeMap<u64, Child>,
    pub(super) next_key: u64,
    /// Ends that came while it waited for something else.
    pub(super) backlog: VecDeque<(u64, Joined)>,
    /// Starts that failed, to be dealt with.
    pub(super) failures: VecDeque<Failure>,
    pub(super) timers: BinaryHeap<Reverse<Timer>>,
    /// Children whose tasks do not end.
    pub(super) stuck: Vec<Arc<str>>,
}

/// Why a supervisor is over.
pub(super) enum Over {
    Cancelled(Reason),
    Finished,
    GaveUp(Arc<str>),
}

/// A start or a run that failed, of a child that is to be started again.
pub(super) struct Failure {
    pub(super) key: u64,
    pub(super) cause: Arc<str>,
    pub(super) ran: Duration,
}

/// The task of a supervisor that has none above it.
pub(super) async fn root(
    mut shell: Shell,
    children: Vec<ChildSpec>,
    tell: oneshot::Sender<Result<(), StartError>>,
    last_resort: LastResort,
    above: Scope,
) {
    if let Err(error) = shell.begin(children).await {
        shell
            .conclude(&Over::Cancelled(Reason::supervisor("it did not start")))
            .await;
        // Who gave up waiting for it does not mind.
        let _ = tell.send(Err(error));
        return;
    }
    // Who does not wait any more has cancelled the scope.
    let _ = tell.send(Ok(()));
    let over = shell.work().await;
    let shared = Arc::clone(&shell.shared);
    if let End::GaveUp(gave_up) = shell.conclude(&over).await {
        drop(shell);
        // The scope remembers it, for as long as there is one: see `exhausted`.
        let kept = Arc::clone(&shared);
        let _ = above.on_close("supervisor", Duration::from_secs(1), async move { drop(kept) });
        match last_resort {
            LastResort::CancelScope => {
                above.cancel(Reason::gave_up(&gave_up.to_string()));
            }
            LastResort::Call(act) => panic::contain(|| act(&gave_up)),
        }
    }
}

/// The task of a supervisor that is a child.
pub(super) fn nested(builder: Builder, launch: &Launch<'_>) -> impl Future<Output = Returned> + Send + use<> {
    let run = Arc::clone(launch.run());
    let parent = launch.supervisor();
    async move {
        if let Err(error) = builder.check() {
            return Err(Exit::restart(error));
        }
        let above = Some((parent, &*run.supervisor));
        let shared = Shared::new(&builder.name, above, builder.strategy, builder.intensity);
        let mut shell = Shell::new(shared, run.scope.clone(), builder.auto, builder.backtraces);
        if let Err(error) = shell.begin(builder.children).await {
            shell
                .conclude(&Over::Cancelled(Reason::supervisor("it did not start")))
                .await;
            return Err(Exit::restart(error));
        }
        run.set_ready();
        let over = shell.work().await;
        match shell.conclude(&over).await {
            End::GaveUp(gave_up) => Err(Exit::restart(gave_up)),
            End::Stopped | End::Finished => Ok(Exit::Done),
        }
    }
}

impl Shell {
    pub(super) fn new(shared: Arc<Shared>, scope: Scope, auto: AutoShutdown, backtraces: bool) -> Self {
        let context = scope.context();
        Self {
            shared,
            scope,
            cancelled: Box::pin(async move { context.cancelled().await }),
            reason: None,
            auto,
            backtraces,
            set: JoinSet::new(),
            tasks: HashMap::new(),
            children: BTreeMap::new(),
            next_key: 1,
            backlog: VecDeque::new(),
            failures: VecDeque::new(),
            timers: BinaryHeap::new(),
            stuck: Vec::new(),
        }
    }

    /// Starts the first children, in order.
    async fn begin(&mut self, children: Vec<ChildSpec>) -> Result<(), StartError> {
        let keys: Vec<u64> = children.into_iter().map(|spec| self.adopt(spec)).collect();
        for key in keys {
            self.start_first(key).await?;
        }
        self.shared.lock().state = SupervisorState::Running;
        Ok(())
    }

    /// Works until it is over.
    async fn work(&mut self) -> Over {
        loop {
            if let Err(over) = self.step().await {
                return over;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Over> {
        for message in self.shared.inbox.take() {
            self.answer(message).await?;
        }
        if let Some(failure) = self.failures.pop_front() {
            // Starts that fail one after the other never wait for anything.
            tokio::task::yield_now().await;
            if let Some(reason) = self.scope.reason() {
                return Err(Over::Cancelled(reason));
            }
            return self.recover(failure).await;
        }
        if let Some((key, joined)) = self.backlog.pop_front() {
            return self.ended(key, joined).await;
        }
        let until = self.timers.peek().map(|Reverse(timer)| timer.at);
        match self.wait(until).await {
            Wake::Cancelled(reason) => Err(Over::Cancelled(reason)),
            Wake::Ended(key, joined) => self.ended(key, joined).await,
            Wake::News => Ok(()),
            Wake::Time => self.look().await,
        }
    }

    /// Stops all children, the last started first, and says how it ended.
    async fn conclude(&mut self, over: &Over) -> End {
        self.shared.lock().state = SupervisorState::Stopping;
        let cause: Arc<str> = match over {
            Over::Cancelled(reason) => reason.message().into(),
            Over::Finished => "its significant children have ended".into(),
            Over::GaveUp(cause) => Arc::clone(cause),
        };
        let mut keys: Vec<u64> = self.children.keys().rev().copied().collect();
        if self.shared.strategy == Strategy::Dynamic {
            self.stop_children(&keys, &cause).await;
            keys.clear();
        }
        for key in keys {
            self.stop_children(&[key], &cause).await;
        }
        let end = match over {
            Over::Cancelled(_) => End::Stopped,
            Over::Finished => End::Finished,
            Over::GaveUp(cause) => End::GaveUp(GaveUp {
                supervisor: Arc::clone(&self.shared.path),
                cause: Arc::clone(cause),
                stuck: self.stuck.clone(),
            }),
        };
        if let End::GaveUp(_) = end {
            let above = self.shared.path.rsplit_once('/').map(|(above, _)| above.into());
            let to = above.filter(|_| self.shared.parent.is_some());
            self.emit(Event::Escalated { to, cause });
        }
        self.finish(end.clone());
        end
    }

    /// Tells that it has ended, once.
    fn finish(&self, end: End) {
        let runs = {
            let mut inner = self.shared.lock();
            if inner.end.is_some() {
                return;
            }
            inner.state = SupervisorState::Stopped;
            if let End::GaveUp(gave_up) = &end {
                inner.state = SupervisorState::Exhausted;
                inner.cause = Some(Arc::clone(&gave_up.cause));
            }
            inner.end = Some(end);
            // What is stuck is shown as such until it ends.
            let others = inner.children.values_mut();
            let others = others.filter(|facts| facts.state != ChildState::Stuck);
            let runs: Vec<_> = others
                .filter_map(|facts| {
                    facts.state = ChildState::Stopped;
                    facts.next = None;
                    facts.run.take()
                })
                .collect();
            runs
        };
        drop((runs, self.shared.inbox.close()));
        self.shared.ended.notify_waiters();
    }

    pub(super) fn emit(&self, event: Event) {
        let subject = Subject {
            supervisor: Some(Arc::clone(&self.shared.path)),
            ..Subject::default()
        };
        event::emit(subject, event);
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Where its task was aborted, nobody else would tell.
        self.finish(End::Stopped);
        // Payloads of panics and what children captured are the host's, and may panic again.
        while let Some(next) = self.set.try_join_next() {
            discard(next);
        }
        for (_, joined) in self.backlog.drain(..) {
            discard(joined);
        }
        for child in std::mem::take(&mut self.children).into_values() {
            panic::contain(|| drop(child));
        }
    }
}
