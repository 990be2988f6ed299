//! What a supervisor's task waits for: ends, news and times.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{Id, JoinError};
use tokio::time::{Instant, sleep_until};

use super::child::{Child, State};
use super::end::{Joined, discard};
use super::exit::Returned;
use super::inbox::Inbox;
use super::judge;
use super::shell::{Over, Shell};
use crate::event::Event;
use crate::scope::Reason;

/// When to look at a child again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Timer {
    pub(super) at: Instant,
    pub(super) key: u64,
    pub(super) epoch: u64,
    pub(super) what: Look,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Look {
    /// It is to be started.
    Restart,
    /// It was to be ready.
    Ready,
    /// Its heart was to beat.
    Beat,
}

/// What a supervisor waits for.
pub(super) enum Wake {
    Cancelled(Reason),
    Ended(u64, Joined),
    News,
    Time,
}

impl Shell {
    /// Waits for the next thing that happens, at most until then.
    pub(super) async fn wait(&mut self, until: Option<Instant>) -> Wake {
        if let Some(reason) = &self.reason {
            return Wake::Cancelled(reason.clone());
        }
        let inbox: &Inbox = &self.shared.inbox;
        let mut news = pin!(inbox.news.notified());
        let mut time = pin!(until.map(sleep_until));
        let (cancelled, reason, set) = (&mut self.cancelled, &mut self.reason, &mut self.set);
        loop {
            let next = std::future::poll_fn(|cx| {
                if let Poll::Ready(why) = cancelled.as_mut().poll(cx) {
                    *reason = Some(why.clone());
                    return Poll::Ready(Ok(Wake::Cancelled(why)));
                }
                if let Poll::Ready(Some(next)) = set.poll_join_next_with_id(cx) {
                    return Poll::Ready(Err(next));
                }
                if news.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(Wake::News));
                }
                if let Some(time) = time.as_mut().as_pin_mut()
                    && time.poll(cx).is_ready()
                {
                    return Poll::Ready(Ok(Wake::Time));
                }
                Poll::Pending
            })
            .await;
            match next {
                Ok(wake) => return wake,
                Err(next) => {
                    if let Some((key, joined)) = whose(&mut self.tasks, next) {
                        return Wake::Ended(key, joined);
                    }
                }
            }
        }
    }

    pub(super) fn whose(&mut self, next: Result<(Id, Returned), JoinError>) -> Option<(u64, Joined)> {
        whose(&mut self.tasks, next)
    }

    /// Looks at a child again, in so long if that is said.
    pub(super) fn look_again(&mut self, key: u64, after: Option<Duration>, what: Look) {
        if let Some(at) = after.and_then(|after| Instant::now().checked_add(after)) {
            self.look_at(key, at, what);
        }
    }

    pub(super) fn restart_at(&mut self, key: u64, at: Instant) {
        self.look_at(key, at, Look::Restart);
    }

    pub(super) fn look_at(&mut self, key: u64, at: Instant, what: Look) {
        if let Some(child) = self.children.get(&key) {
            let epoch = child.epoch;
            self.timers.push(Reverse(Timer { at, key, epoch, what }));
        }
        // Those that count no more are let go of when their time comes; a child that is restarted often leaves many.
        if self.timers.len() > 64 + 4 * self.children.len() {
            let children = &self.children;
            let counts = |timer: &Timer| children.get(&timer.key).is_some_and(|c| c.epoch == timer.epoch);
            self.timers.retain(|Reverse(timer)| counts(timer));
        }
    }

    /// Looks at the children whose time has come.
    pub(super) async fn look(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        while let Some(Reverse(timer)) = self.timers.peek().copied()
            && timer.at <= now
        {
            self.timers.pop();
            let Some(child) = self
                .children
                .get(&timer.key)
                .filter(|child| child.epoch == timer.epoch)
            else {
                continue;
            };
            match timer.what {
                Look::Restart => self.restart_group(timer.key).await?,
                Look::Ready => {
                    let limit = child.spec.readiness.limit().unwrap_or_default();
                    self.look_ready(timer, limit, now).await?;
                }
                Look::Beat => {
                    let interval = child.spec.heartbeat.unwrap_or_default();
                    self.look_beat(timer, interval, now);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn look_ready(
        &mut self,
        timer: Timer,
        limit: Duration,
        now: Instant,
    ) -> Result<(), Over> {
        let starting = |child: &Child| matches!(&child.state, State::Starting(run) if !run.is_ready());
        if !self.children.get(&timer.key).is_some_and(starting) {
            return Ok(());
        }
        if let judge::Due::Until(later) = judge::due(timer.at, limit, now) {
            self.look_at(timer.key, later, Look::Ready);
            return Ok(());
        }
        let failure = self.not_ready(timer.key).await?;
        self.recover(failure).await
    }

    pub(super) fn look_beat(&mut self, timer: Timer, interval: Duration, now: Instant) {
        let Some(State::Running(run)) = self.children.get(&timer.key).map(|child| &child.state) else {
            return;
        };
        let last = run.last_beat();
        let expected = last.checked_add(interval).filter(|at| *at > timer.at);
        let next = match expected {
            Some(at) => at,
            None => match judge::due(timer.at, interval, now) {
                judge::Due::Until(later) => later,
                judge::Due::Missed => {
                    if run.miss() {
                        run.emit(Event::Overdue {
                            silent: now.saturating_duration_since(last),
                        });
                    }
                    now + interval
                }
            },
        };
        self.look_at(timer.key, next, Look::Beat);
    }
}

fn whose(tasks: &mut HashMap<Id, u64>, next: Result<(Id, Returned), JoinError>) -> Option<(u64, Joined)> {
    let id = match &next {
        Ok((id, _)) => *id,
        Err(error) => error.id(),
    };
    let key = tasks.remove(&id);
    let joined = next.map(|(_, returned)| returned);
    if let Some(key) = key {
        return Some((key, joined));
    }
    discard(joined);
    None
}
