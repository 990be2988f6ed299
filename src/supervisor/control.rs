//! What a supervisor does when it is asked to.

use std::sync::Arc;

use super::child::{State, is_stuck};
use super::error::{ControlError, SpecError, StartError, check};
use super::inbox::{Message, Verb, Which};
use super::shell::{Over, Shell};
use super::spec::{ChildSpec, Restart};
use super::strategy::Strategy;
use super::view::ChildId;

impl Shell {
    pub(super) async fn answer(&mut self, message: Message) -> Result<(), Over> {
        match message {
            Message::Ready(key) => {
                self.told_ready(key);
                Ok(())
            }
            Message::Add(spec, to) => {
                let answer = self.add(*spec).await;
                // Who does not wait any more does not mind.
                let _ = to.send(answer);
                Ok(())
            }
            Message::Control(verb, which, to) => {
                let answer = self.control(verb, &which).await;
                let _ = to.send(answer);
                Ok(())
            }
        }
    }

    async fn add(&mut self, spec: ChildSpec) -> Result<ChildId, ControlError> {
        let start = |error: SpecError| ControlError::Start(StartError::Spec(error));
        check(&spec, self.auto).map_err(start)?;
        let dynamic = self.shared.strategy == Strategy::Dynamic;
        if !dynamic && self.find(&Which::Name((*spec.name).to_owned())).is_some() {
            return Err(start(SpecError::DuplicateName(spec.name)));
        }
        let key = self.adopt(spec);
        if let Err(error) = self.start_first(key).await {
            if self
                .children
                .get(&key)
                .is_some_and(|child| child.state.run().is_none())
            {
                self.forget(key);
            }
            return Err(ControlError::Start(error));
        }
        Ok(ChildId(key))
    }

    async fn control(&mut self, verb: Verb, which: &Which) -> Result<(), ControlError> {
        let key = self.find(which).ok_or(ControlError::NoSuchChild)?;
        match verb {
            Verb::Terminate => self.terminate(key).await,
            Verb::Restart => self.restart(key).await,
            Verb::Delete => self.delete(key),
        }
    }

    async fn terminate(&mut self, key: u64) -> Result<(), ControlError> {
        self.stop_children(&[key], "it was terminated").await;
        let child = self.children.get(&key).ok_or(ControlError::NoSuchChild)?;
        if is_stuck(child) {
            return Err(ControlError::Stuck);
        }
        let forgotten = child.spec.restart == Restart::Temporary || self.shared.strategy == Strategy::Dynamic;
        if forgotten {
            self.forget(key);
        } else {
            self.set_stopped(key, true);
        }
        Ok(())
    }

    async fn restart(&mut self, key: u64) -> Result<(), ControlError> {
        self.at_rest(key)?;
        self.start_first(key).await.map_err(ControlError::Start)
    }

    fn delete(&mut self, key: u64) -> Result<(), ControlError> {
        self.at_rest(key)?;
        self.forget(key);
        Ok(())
    }

    /// Whether a child can be started or forgotten by hand.
    fn at_rest(&self, key: u64) -> Result<(), ControlError> {
        if self.shared.strategy == Strategy::Dynamic {
            return Err(ControlError::Dynamic);
        }
        match self.children.get(&key).map(|child| &child.state) {
            None => Err(ControlError::NoSuchChild),
            Some(State::Stopped { .. }) => Ok(()),
            Some(State::Waiting(_)) => Err(ControlError::Restarting),
            Some(State::Stuck(_)) => Err(ControlError::Stuck),
            Some(State::Starting(_) | State::Running(_) | State::Stopping(_)) => Err(ControlError::Running),
        }
    }

    fn find(&self, which: &Which) -> Option<u64> {
        match which {
            Which::Id(ChildId(key)) => self.children.contains_key(key).then_some(*key),
            Which::Name(name) => {
                let named = |child: &Arc<str>| **child == **name;
                let mut all = self.children.iter();
                all.find(|(_, child)| named(&child.spec.name))
                    .map(|(key, _)| *key)
            }
        }
    }
}
