//! How a failed child is started again, with its group.

use tokio::time::Instant;

use super::backoff;
use super::child::{Child, State};
use super::intensity::Spent;
use super::shell::{Failure, Over, Shell};
use super::spec::Restart;
use super::strategy::{Peer, Plan, plan};
use crate::event::{Event, Subject};

impl Shell {
    /// Deals with a failure. One that this brings is dealt with in its turn: a child whose starts fail, one after the
    /// other, must not keep others from being heard.
    pub(super) async fn recover(&mut self, failure: Failure) -> Result<(), Over> {
        let waits = |child: &Child| matches!(child.state, State::Waiting(_));
        if !self.children.get(&failure.key).is_some_and(waits) {
            return Ok(()); // terminated meanwhile
        }
        let now = Instant::now();
        let (spent, allowed, period) = {
            let mut inner = self.shared.lock();
            let spent = inner.budget.fail(now);
            (spent, inner.budget.allowed(), inner.budget.period())
        };
        let Some(child) = self.children.get_mut(&failure.key) else {
            return Ok(());
        };
        let subject = Subject {
            kind: Some(child.spec.kind_id()),
            supervisor: Some(self.shared.path.clone()),
            child: Some(child.spec.name.clone()),
            ..Subject::default()
        };
        let Spent::Within(restart) = spent else {
            let cause = format!(
                "child `{}` failed once too often: {}",
                child.spec.name, failure.cause
            );
            crate::event::emit(subject, Event::BudgetExhausted { allowed, period });
            return Err(Over::GaveUp(cause.into()));
        };
        let backoff = child.spec.backoff;
        let random = backoff.map_or(0, |_| backoff::random());
        let delay = child.row.fail(backoff.as_ref(), failure.ran, random);
        let of = allowed;
        crate::event::emit(subject, Event::RestartScheduled { delay, restart, of });
        let plan = self.plan(failure.key);
        self.stop_group(&plan.stop, failure.key).await?;
        let own = (!delay.is_zero()).then(|| now.checked_add(delay)).flatten();
        // A wait that it takes over is not shortened.
        let waited = plan
            .start
            .iter()
            .filter_map(|key| match self.children.get(key)?.state {
                State::Waiting(until) => until,
                _ => None,
            });
        let until = own.max(waited.max());
        for key in &plan.start {
            let own = until.filter(|_| *key == failure.key);
            self.set(*key, State::Waiting(own));
        }
        if let Some(until) = until {
            self.restart_at(failure.key, until);
            return Ok(());
        }
        self.start_group(&plan.start).await
    }

    fn plan(&self, failed: u64) -> Plan {
        let peers = self.children.iter().map(|(key, child)| Peer {
            key: *key,
            runs: child.state.run().is_some(),
            returns: child.spec.restart != Restart::Temporary && child.state.returns(),
        });
        plan(self.shared.strategy, peers, failed)
    }

    /// Stops those that go with a child that failed, one after the other.
    async fn stop_group(&mut self, keys: &[u64], failed: u64) -> Result<(), Over> {
        let name = self.children.get(&failed).map(|child| child.spec.name.clone());
        let cause = format!("child `{}` failed", name.as_deref().unwrap_or_default());
        for key in keys {
            self.stop_children(&[*key], &cause).await;
            self.refuse_stuck(*key)?;
            let temporary = |child: &Child| child.spec.restart == Restart::Temporary;
            if self.children.get(key).is_some_and(temporary) {
                self.forget(*key);
            }
        }
        Ok(())
    }

    /// Starts a child whose wait is over, with those that wait for it.
    pub(super) async fn restart_group(&mut self, key: u64) -> Result<(), Over> {
        let waiting = self.children.iter().map(|(key, child)| Peer {
            key: *key,
            runs: false,
            returns: matches!(child.state, State::Waiting(_)),
        });
        let start = plan(self.shared.strategy, waiting, key).start;
        self.start_group(&start).await
    }

    /// Starts children in order, each when the one before it is ready; the last one need not be when this returns.
    async fn start_group(&mut self, keys: &[u64]) -> Result<(), Over> {
        for (at, key) in keys.iter().enumerate() {
            if let Err(failure) = self.start_again(*key) {
                self.failures.push_back(failure);
                break;
            }
            if at + 1 < keys.len()
                && let Some(failure) = self.until_ready(*key).await?
            {
                self.failures.push_back(failure);
                break;
            }
        }
        Ok(())
    }
}
